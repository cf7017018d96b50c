#include "client/formats/row_reader.h"

#include <algorithm>
#include <array>

#include "base/status.h"
#include "client/formats/npy_header.h"
#include "client/formats/npy_rows.h"
#include "client/formats/text_rows.h"

namespace quire::formats {

std::string_view RowFormatName(RowFormat format) {
  switch (format) {
    case RowFormat::kNpy:
      return "npy";
    case RowFormat::kGlove:
      return "glove";
    case RowFormat::kWord2vec:
      return "word2vec";
    case RowFormat::kCsv:
      return "csv";
  }
  return "?";
}

absl::StatusOr<std::unique_ptr<RowReader>> OpenRows(
    std::string_view path, const RowReaderOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenSource(path));
  QUIRE_ASSIGN_OR_RETURN(const std::string head,
                         Peek(*source, kNpyMagic.size()));
  const bool is_npy =
      options.format ? *options.format == RowFormat::kNpy : head == kNpyMagic;
  return is_npy ? OpenNpyRows(std::move(source), options)
                : OpenTextRows(std::move(source), options);
}

std::string TableNameFromPath(std::string_view path) {
  path.remove_prefix(path.find_last_of('/') + 1);  // npos + 1 is 0
  const auto strip = [&path](std::string_view ending) {
    const bool strips = path.size() > ending.size() && path.ends_with(ending);
    path.remove_suffix(strips ? ending.size() : 0);
    return strips;
  };
  strip(".gz");
  constexpr auto kEndings =
      std::to_array<std::string_view>({".txt", ".vec", ".npy"});
  std::ranges::any_of(kEndings, strip);
  return std::string(path);
}

}  // namespace quire::formats
