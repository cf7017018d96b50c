#include "client/terminal/numbers_input.h"

#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <optional>
#include <utility>

#include "base/status.h"
#include "client/formats/input_error.h"
#include "client/formats/npy_file.h"

namespace quire::terminal {
namespace {

using formats::ByteSource;
using formats::InputError;
using formats::NpyFile;

// "-" or a path, if that is what an argument means.
std::optional<std::string_view> SourceIn(std::string_view argument) {
  if (argument.starts_with('@') && argument.size() > 1) {
    return argument.substr(1);
  }
  if (argument == "-" || argument.ends_with(".npy")) {
    return argument;
  }
  return std::nullopt;
}

bool IsNested(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '[';
}

// The error of a literal, with where it stood.
absl::Status In(std::string_view name, const absl::Status& status) {
  return InputError(fmt::format("{} {}", name, formats::SentenceOf(status)));
}

template <typename T>
absl::StatusOr<NestedNumbers<T>> ReadNpy(std::unique_ptr<ByteSource> source) {
  QUIRE_ASSIGN_OR_RETURN(const NpyFile file, NpyFile::Open(std::move(source)));
  NestedNumbers<T> numbers = {.dims = file.header().dims, .values = {}};
  numbers.values.resize(static_cast<size_t>(file.header().element_count));
  QUIRE_RETURN_IF_ERROR(file.Read(0, std::span(numbers.values)));
  return numbers;
}

absl::StatusOr<IdBatch> BatchOf(NestedNumbers<int64_t> numbers) {
  QUIRE_ASSIGN_OR_RETURN(const Shape shape, Shape::Make(numbers.dims));
  for (const int64_t id : numbers.values) {
    if (id < 0) {
      return InputError(fmt::format("{} is no id: ids are 0 or more", id));
    }
  }
  return IdBatch{.shape = shape, .ids = std::move(numbers.values)};
}

// Shapes are refused with a Reason, as a server would; here a person typed
// them.
absl::StatusOr<IdBatch> TypedBatchOf(NestedNumbers<int64_t> numbers) {
  absl::StatusOr<IdBatch> batch = BatchOf(std::move(numbers));
  return batch.ok() ? std::move(batch)
                    : InputError(formats::SentenceOf(batch.status()));
}

IdBatch FlatBatch(std::vector<int64_t> ids) {
  const Shape shape = {static_cast<int64_t>(ids.size())};
  return {.shape = shape, .ids = std::move(ids)};
}

absl::StatusOr<std::vector<IdBatch>> ReadNestedText(std::string_view name,
                                                    std::string_view text) {
  std::vector<IdBatch> batches;
  size_t position = 0;
  while (text.find_first_not_of(" \t\r\n", position) !=
         std::string_view::npos) {
    absl::StatusOr<NestedNumbers<int64_t>> numbers =
        ParseNestedIds(text, position);
    if (!numbers.ok()) {
      return In(name, numbers.status());
    }
    QUIRE_ASSIGN_OR_RETURN(IdBatch batch, TypedBatchOf(*std::move(numbers)));
    batches.push_back(std::move(batch));
  }
  return batches;
}

absl::StatusOr<std::vector<IdBatch>> ReadPlainText(std::string_view name,
                                                   std::string_view text) {
  constexpr std::string_view kSeparators = ", \t\r\n";
  std::vector<int64_t> ids;
  for (size_t begin = text.find_first_not_of(kSeparators);
       begin != std::string_view::npos;
       begin = text.find_first_not_of(kSeparators, begin)) {
    const size_t end =
        std::min(text.find_first_of(kSeparators, begin), text.size());
    absl::Status status = AppendPlainIds(text.substr(begin, end - begin), ids);
    if (!status.ok()) {
      const auto line =
          1 + std::count(text.begin(), text.begin() + ptrdiff_t(begin), '\n');
      return In(fmt::format("{} line {}:", name, line), status);
    }
    begin = end;
  }
  return std::vector{FlatBatch(std::move(ids))};
}

absl::StatusOr<std::vector<IdBatch>> ReadIdsFrom(std::string_view path) {
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source,
                         formats::OpenSource(path));
  QUIRE_ASSIGN_OR_RETURN(const std::string head,
                         formats::Peek(*source, formats::kNpyMagic.size()));
  if (head == formats::kNpyMagic) {
    QUIRE_ASSIGN_OR_RETURN(NestedNumbers<int64_t> numbers,
                           ReadNpy<int64_t>(std::move(source)));
    QUIRE_ASSIGN_OR_RETURN(IdBatch batch, TypedBatchOf(std::move(numbers)));
    return std::vector{std::move(batch)};
  }
  const std::string name = source->name();
  QUIRE_ASSIGN_OR_RETURN(const std::string text, formats::ReadAll(*source));
  return IsNested(text) ? ReadNestedText(name, text)
                        : ReadPlainText(name, text);
}

}  // namespace

absl::StatusOr<std::vector<IdBatch>> ReadIds(
    std::span<const std::string> arguments) {
  std::vector<int64_t> plain;
  for (const std::string& argument : arguments) {
    const std::optional<std::string_view> source = SourceIn(argument);
    if (!source && !IsNested(argument)) {
      QUIRE_RETURN_IF_ERROR(AppendPlainIds(argument, plain));
      continue;
    }
    if (arguments.size() > 1) {
      return InputError(fmt::format(
          "'{}' is a whole batch: give it alone, without other ids", argument));
    }
    if (source) {
      return ReadIdsFrom(*source);
    }
    QUIRE_ASSIGN_OR_RETURN(NestedNumbers<int64_t> numbers,
                           ParseNestedIds(argument));
    QUIRE_ASSIGN_OR_RETURN(IdBatch batch, TypedBatchOf(std::move(numbers)));
    return std::vector{std::move(batch)};
  }
  return std::vector{FlatBatch(std::move(plain))};
}

absl::StatusOr<NestedNumbers<float>> ReadFloats(std::string_view argument) {
  const std::optional<std::string_view> path = SourceIn(argument);
  if (!path) {
    return ParseNestedFloats(argument);
  }
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source,
                         formats::OpenSource(*path));
  QUIRE_ASSIGN_OR_RETURN(const std::string head,
                         formats::Peek(*source, formats::kNpyMagic.size()));
  if (head == formats::kNpyMagic) {
    return ReadNpy<float>(std::move(source));
  }
  const std::string name = source->name();
  QUIRE_ASSIGN_OR_RETURN(const std::string text, formats::ReadAll(*source));
  absl::StatusOr<NestedNumbers<float>> numbers = ParseNestedFloats(text);
  return numbers.ok() ? std::move(numbers) : In(name, numbers.status());
}

absl::StatusOr<Shape> ParseShape(std::string_view text) {
  std::string_view rest = text;
  if (rest.starts_with('(') && rest.ends_with(')')) {
    rest = rest.substr(1, rest.size() - 2);
  }
  std::vector<int64_t> dims;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find_first_of(",x"), rest.size());
    std::string_view field = rest.substr(0, end);
    field.remove_prefix(std::min(field.find_first_not_of(' '), field.size()));
    int64_t dim = -1;
    const auto [last, error] =
        std::from_chars(field.data(), field.data() + field.size(), dim);
    if (error != std::errc() || last != field.data() + field.size()) {
      return InputError(
          fmt::format("'{}' is no shape; 2,3 would be one", text));
    }
    dims.push_back(dim);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  absl::StatusOr<Shape> shape = Shape::Make(dims);
  return shape.ok() ? std::move(shape)
                    : InputError(formats::SentenceOf(shape.status()));
}

absl::StatusOr<IdBatch> Reshape(IdBatch batch, const Shape& shape) {
  if (shape.element_count() != static_cast<int64_t>(batch.ids.size())) {
    return InputError(
        fmt::format("{} ids do not have the shape {}, which has "
                    "{} elements",
                    batch.ids.size(), shape.ToString(), shape.element_count()));
  }
  batch.shape = shape;
  return batch;
}

}  // namespace quire::terminal
