#include "client/formats/row_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/status.h"
#include "client/formats/bytes.h"
#include "client/formats/fvecs_rows.h"
#include "client/formats/input_error.h"
#include "client/formats/npy_header.h"
#include "client/formats/npy_rows.h"
#include "client/formats/npz_file.h"
#include "client/formats/safetensors_file.h"
#include "client/formats/tensor_rows.h"
#include "client/formats/text_rows.h"
#include "client/formats/torch_file.h"
#include "client/formats/word2vec_rows.h"
#include "client/formats/zip_archive.h"

namespace quire::formats {
namespace {

struct EndingEntry {
  std::string_view ending;
  RowFormat format;
};

constexpr auto kEndings = std::to_array<EndingEntry>({
    {".safetensors", RowFormat::kSafetensors},
    {".npy", RowFormat::kNpy},
    {".npz", RowFormat::kNpz},
    {".pt", RowFormat::kTorch},
    {".pth", RowFormat::kTorch},
    {".txt", RowFormat::kGlove},
    {".vec", RowFormat::kWord2vec},
    {".bin", RowFormat::kWord2vecBinary},
    {".fvecs", RowFormat::kFvecs},
    {".csv", RowFormat::kCsv},
});

std::string_view WithoutGz(std::string_view path) {
  constexpr std::string_view kGz = ".gz";
  if (path.size() > kGz.size() && path.ends_with(kGz)) {
    path.remove_suffix(kGz.size());
  }
  return path;
}

bool IsText(RowFormat format) {
  return format == RowFormat::kGlove || format == RowFormat::kWord2vec;
}

// The format that the first bytes show. nullopt for text of either kind, and
// for what is of no format.
absl::StatusOr<std::optional<RowFormat>> FormatOfContent(ByteSource& source) {
  QUIRE_ASSIGN_OR_RETURN(const std::string head,
                         Peek(source, kWord2vecHeadBytes));
  if (head.starts_with(kNpyMagic)) {
    return RowFormat::kNpy;
  }
  if (ZipArchive::LooksLike(head)) {
    return RowFormat::kNpz;  // or torch's: OpenArchive looks into it
  }
  if (LooksLikeSafetensors(head)) {
    return RowFormat::kSafetensors;
  }
  if (LooksLikeOldTorch(head)) {
    return InputError(fmt::format(
        "'{}' was written by a torch before 1.6, as pickles that only Python "
        "can read; torch.save it again with a newer one",
        source.name()));
  }
  if (LooksLikeWord2vecBinary(head)) {
    return RowFormat::kWord2vecBinary;
  }
  // What is packed has no size yet, and no text begins with such bytes.
  const size_t size =
      source.descriptor() >= 0 ? source.size_max() : head.size();
  if (LooksLikeFvecs(head, size)) {
    return RowFormat::kFvecs;
  }
  return std::nullopt;
}

// .npz and torch's files are archives: what is in them tells which it is.
absl::StatusOr<std::unique_ptr<RowReader>> OpenArchive(
    std::shared_ptr<Bytes> bytes, RowReaderOptions options, bool is_given) {
  QUIRE_ASSIGN_OR_RETURN(ZipArchive archive,
                         ZipArchive::Open(std::move(bytes)));
  if (!is_given) {
    options.format =
        HoldsTorchPickle(archive) ? RowFormat::kTorch : RowFormat::kNpz;
  }
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<TensorFile> file,
                         options.format == RowFormat::kTorch
                             ? OpenTorch(std::move(archive))
                             : OpenNpz(std::move(archive)));
  return OpenTensorRows(std::move(file), options);
}

absl::StatusOr<std::unique_ptr<RowReader>> OpenTensors(
    std::unique_ptr<ByteSource> source, const RowReaderOptions& options,
    bool is_given) {
  QUIRE_ASSIGN_OR_RETURN(std::shared_ptr<Bytes> bytes,
                         BytesOf(std::move(source)));
  if (options.format != RowFormat::kSafetensors) {
    return OpenArchive(std::move(bytes), options, is_given);
  }
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<TensorFile> file,
                         OpenSafetensors(std::move(bytes)));
  return OpenTensorRows(std::move(file), options);
}

// What a format that holds one table has no use for.
absl::Status CheckOptions(const RowReaderOptions& options) {
  if (options.tensor) {
    return InputError(
        fmt::format("a file of format {} holds one table, and none named '{}'",
                    RowFormatName(*options.format), *options.tensor));
  }
  if (options.state) {
    return InputError(
        fmt::format("a file of format {} has no room for optimizer state",
                    RowFormatName(*options.format)));
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view RowFormatName(RowFormat format) {
  switch (format) {
    case RowFormat::kSafetensors:
      return "safetensors";
    case RowFormat::kNpy:
      return "npy";
    case RowFormat::kNpz:
      return "npz";
    case RowFormat::kTorch:
      return "torch";
    case RowFormat::kGlove:
      return "glove";
    case RowFormat::kWord2vec:
      return "word2vec";
    case RowFormat::kWord2vecBinary:
      return "word2vec-binary";
    case RowFormat::kFvecs:
      return "fvecs";
    case RowFormat::kCsv:
      return "csv";
  }
  return "?";
}

std::optional<RowFormat> RowFormatOfEnding(std::string_view path) {
  const auto found =
      std::ranges::find_if(kEndings, [path](const EndingEntry& entry) {
        return path.ends_with(entry.ending);
      });
  return found == kEndings.end() ? std::nullopt : std::optional(found->format);
}

int64_t StateFloats(const std::vector<StatePart>& parts) {
  int64_t floats = 0;
  for (const StatePart& part : parts) {
    floats += part.floats;
  }
  return floats;
}

absl::StatusOr<std::unique_ptr<RowReader>> OpenRows(
    std::string_view path, const RowReaderOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenSource(path));
  return OpenRows(std::move(source), options);
}

absl::StatusOr<std::unique_ptr<RowReader>> OpenRows(
    std::unique_ptr<ByteSource> source, RowReaderOptions options) {
  const bool is_given = options.format.has_value();
  if (!is_given) {
    QUIRE_ASSIGN_OR_RETURN(options.format, FormatOfContent(*source));
  }
  if (!options.format) {
    options.format = RowFormatOfEnding(WithoutGz(source->name()));
    // Of the two texts the first line tells; CSV is only written.
    if (options.format &&
        (IsText(*options.format) || *options.format == RowFormat::kCsv)) {
      options.format.reset();
    }
  }
  switch (options.format.value_or(RowFormat::kGlove)) {
    case RowFormat::kSafetensors:
    case RowFormat::kNpz:
    case RowFormat::kTorch:
      return OpenTensors(std::move(source), options, is_given);
    case RowFormat::kNpy:
      QUIRE_RETURN_IF_ERROR(CheckOptions(options));
      return OpenNpyRows(std::move(source), options);
    case RowFormat::kWord2vecBinary:
      QUIRE_RETURN_IF_ERROR(CheckOptions(options));
      return OpenWord2vecBinary(std::move(source), options);
    case RowFormat::kFvecs:
      QUIRE_RETURN_IF_ERROR(CheckOptions(options));
      return OpenFvecs(std::move(source), options);
    default:
      break;
  }
  RowReaderOptions named = options;
  named.format = options.format.value_or(RowFormat::kGlove);
  QUIRE_RETURN_IF_ERROR(CheckOptions(named));
  return OpenTextRows(std::move(source), options);
}

std::string TableNameFromPath(std::string_view path) {
  path.remove_prefix(path.find_last_of('/') + 1);  // npos + 1 is 0
  path = WithoutGz(path);
  for (const EndingEntry& entry : kEndings) {
    if (entry.format != RowFormat::kCsv && path.size() > entry.ending.size() &&
        path.ends_with(entry.ending)) {
      path.remove_suffix(entry.ending.size());
      break;
    }
  }
  return std::string(path);
}

}  // namespace quire::formats
