#include "client/formats/npy_header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "base/status.h"
#include "client/formats/input_error.h"

namespace quire::formats {
namespace {

// numpy itself refuses headers over 10,000 bytes unless told otherwise.
constexpr size_t kHeaderBytesMax = size_t{64} << 10;

// numpy allows 32 dims; nobody's embeddings have so many.
constexpr size_t kDimsMax = 32;

struct TypeEntry {
  std::string_view descr;
  NumberType type;
};

constexpr auto kTypes = std::to_array<TypeEntry>({
    {"<f4", NumberType::kFloat32},
    {"<f2", NumberType::kFloat16},
    {"<f8", NumberType::kFloat64},
    {"<i4", NumberType::kInt32},
    {"<i8", NumberType::kInt64},
});

absl::StatusOr<NumberType> TypeOf(std::string_view descr) {
  const auto entry = std::ranges::find(kTypes, descr, &TypeEntry::descr);
  if (entry != kTypes.end()) {
    return entry->type;
  }
  if (descr.ends_with('O')) {
    return InputError(
        "holds Python objects (pickle), which Quire does not load; save the "
        "array as float32");
  }
  if (descr.starts_with('>')) {
    return InputError(
        fmt::format("is big-endian ('{}'); save it as a.astype('<{}')", descr,
                    descr.substr(1)));
  }
  return InputError(fmt::format(
      "has the element type '{}'; Quire reads <f4, <f2, <f8, <i4 and <i8",
      descr));
}

// Reads the few forms of Python that a header is made of.
class DictParser {
 public:
  explicit DictParser(std::string_view text) : rest_(text) {}

  absl::StatusOr<NpyHeader> Parse() {
    if (!Take("{")) {
      return Malformed("a dict");
    }
    while (!Take("}")) {
      QUIRE_RETURN_IF_ERROR(ParseEntry());
      if (!Take(",") && !Sees("}")) {
        return Malformed("a comma or '}'");
      }
    }
    SkipSpace();
    if (!rest_.empty()) {
      return Malformed("the end of the header");
    }
    if (!has_descr_ || !has_order_ || !has_shape_) {
      return InputError(
          "has a header without 'descr', 'fortran_order' or 'shape'");
    }
    return header_;
  }

 private:
  absl::Status ParseEntry() {
    QUIRE_ASSIGN_OR_RETURN(const std::string_view key, ParseString());
    if (!Take(":")) {
      return Malformed("a colon");
    }
    if (key == "descr" && !has_descr_) {
      has_descr_ = true;
      return ParseDescr();
    }
    if (key == "fortran_order" && !has_order_) {
      has_order_ = true;
      return ParseOrder();
    }
    if (key == "shape" && !has_shape_) {
      has_shape_ = true;
      return ParseShape();
    }
    return InputError(
        fmt::format("has an unknown or repeated key '{}' in its header", key));
  }

  absl::Status ParseDescr() {
    if (Sees("[")) {
      return InputError("holds records (a structured dtype), not numbers");
    }
    QUIRE_ASSIGN_OR_RETURN(const std::string_view descr, ParseString());
    QUIRE_ASSIGN_OR_RETURN(header_.type, TypeOf(descr));
    return absl::OkStatus();
  }

  absl::Status ParseOrder() {
    header_.fortran_order = Take("True");
    return header_.fortran_order || Take("False") ? absl::OkStatus()
                                                  : Malformed("True or False");
  }

  absl::Status ParseShape() {
    if (!Take("(")) {
      return Malformed("a tuple");
    }
    while (!Take(")")) {
      QUIRE_RETURN_IF_ERROR(ParseDim());
      if (!Take(",") && !Sees(")")) {
        return Malformed("a comma or ')'");
      }
    }
    return CountElements();
  }

  absl::Status ParseDim() {
    SkipSpace();
    int64_t dim = 0;
    const auto [end, error] =
        std::from_chars(rest_.data(), rest_.data() + rest_.size(), dim);
    if (error != std::errc() || dim < 0) {
      return Malformed("a dim: 0 or more, below 2^63");
    }
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
    Take("L");  // Python 2 wrote (3L, 2L)
    if (header_.dims.size() == kDimsMax) {
      return InputError(fmt::format("has more than {} dims", kDimsMax));
    }
    header_.dims.push_back(dim);
    return absl::OkStatus();
  }

  absl::Status CountElements() {
    const bool empty = std::ranges::find(header_.dims, 0) != header_.dims.end();
    int64_t bytes = static_cast<int64_t>(sizeof(double));
    for (const int64_t dim : header_.dims) {
      if (!empty && __builtin_mul_overflow(bytes, dim, &bytes)) {
        return InputError(fmt::format("has an impossible shape: ({})",
                                      fmt::join(header_.dims, ", ")));
      }
    }
    header_.element_count =
        empty ? 0 : bytes / static_cast<int64_t>(sizeof(double));
    return absl::OkStatus();
  }

  absl::StatusOr<std::string_view> ParseString() {
    SkipSpace();
    const char quote = rest_.empty() ? '\0' : rest_[0];
    const size_t end = rest_.find(quote, 1);
    if ((quote != '\'' && quote != '"') || end == std::string_view::npos) {
      return Malformed("a string");
    }
    const std::string_view text = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return text;
  }

  void SkipSpace() {
    rest_.remove_prefix(
        std::min(rest_.find_first_not_of(" \t\n"), rest_.size()));
  }

  bool Sees(std::string_view token) {
    SkipSpace();
    return rest_.starts_with(token);
  }

  bool Take(std::string_view token) {
    if (!Sees(token)) {
      return false;
    }
    rest_.remove_prefix(token.size());
    return true;
  }

  absl::Status Malformed(std::string_view expected) const {
    return InputError(
        fmt::format("has a damaged header: {} was expected, {} bytes before "
                    "its end",
                    expected, rest_.size()));
  }

  std::string_view rest_;
  NpyHeader header_;
  bool has_descr_ = false;
  bool has_order_ = false;
  bool has_shape_ = false;
};

}  // namespace

absl::StatusOr<size_t> NpyDataOffset(std::string_view preamble) {
  if (!preamble.starts_with(kNpyMagic) || preamble.size() < kNpyPreambleBytes) {
    return InputError("is no .npy file");
  }
  const auto byte = [&](size_t i) {
    return static_cast<size_t>(static_cast<unsigned char>(preamble[i]));
  };
  const size_t major = byte(6);
  if (major < 1 || major > 3 || byte(7) != 0) {
    return InputError(
        fmt::format("is of .npy version {}.{}; Quire reads 1.0, 2.0 and 3.0",
                    major, byte(7)));
  }
  const size_t short_length = byte(8) | byte(9) << 8;
  const size_t dict_bytes =
      major == 1 ? short_length
                 : short_length | byte(10) << 16 | byte(11) << 24;
  if (dict_bytes > kHeaderBytesMax) {
    return InputError(
        fmt::format("has a header of {} bytes; at most {} are "
                    "read",
                    dict_bytes, kHeaderBytesMax));
  }
  return (major == 1 ? 10 : 12) + dict_bytes;
}

absl::StatusOr<NpyHeader> ParseNpyHeader(std::string_view bytes) {
  QUIRE_ASSIGN_OR_RETURN(const size_t data_offset, NpyDataOffset(bytes));
  if (bytes.size() < data_offset) {
    return InputError("ends within its header");
  }
  const size_t dict_offset = bytes[6] == 1 ? 10 : 12;
  DictParser parser(bytes.substr(dict_offset, data_offset - dict_offset));
  QUIRE_ASSIGN_OR_RETURN(NpyHeader header, parser.Parse());
  header.data_offset = data_offset;
  return header;
}

std::string MakeNpyHeader(std::span<const int64_t> dims, NumberType type) {
  const std::string shape =
      fmt::format("({}{})", fmt::join(dims, ", "), dims.size() == 1 ? "," : "");
  std::string dict =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}",
                  type == NumberType::kInt64 ? "<i8" : "<f4", shape);
  if (!dims.empty()) {
    // numpy leaves room for the first dim to grow to 21 digits.
    dict.append(21 - fmt::formatted_size("{}", dims[0]), ' ');
  }
  constexpr size_t kPreamble = 10;
  const size_t unpadded = kPreamble + dict.size() + 1;
  // Where nothing is missing to a multiple of 64, numpy adds 64.
  dict.append(64 - unpadded % 64, ' ');
  dict += '\n';

  std::string header(kNpyMagic);
  header += {'\x01', '\x00', static_cast<char>(dict.size() & 0xff),
             static_cast<char>(dict.size() >> 8)};
  return header + dict;
}

}  // namespace quire::formats
