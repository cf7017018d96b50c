// Rows from a file, whatever its format.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/formats/byte_source.h"

namespace quire::formats {

enum class RowFormat { kNpy, kGlove, kWord2vec, kCsv };

std::string_view RowFormatName(RowFormat format);  // "npy"

// What is known of a file before its rows are read.
struct RowFileInfo {
  RowFormat format = RowFormat::kNpy;
  int64_t row_count = 0;
  int64_t dim = 0;
  // Its rows bring words.
  bool labelled = false;
};

// Consecutive rows.
struct RowBlock {
  int64_t row_count = 0;
  std::vector<float> values;        // [row_count, dim], finite
  std::vector<std::string> labels;  // [row_count], or none: see RowFileInfo
};

// Reads a file from its first row to its last. Thread safety: one thread at a
// time.
class RowReader {
 public:
  virtual ~RowReader() = default;

  virtual const RowFileInfo& info() const = 0;

  // Reads the next rows into `block`, at most `rows_max` and at least one,
  // until info().row_count rows are read; then none. An error names the file
  // and the line or row, what was found and what was needed.
  virtual absl::Status Read(int64_t rows_max, RowBlock& block) = 0;
};

struct RowReaderOptions {
  // Absent: seen from the first bytes and lines.
  std::optional<RowFormat> format = {};
  // Floats in a row. Absent: from the file.
  std::optional<int64_t> dim = {};
};

// Opens a .npy file, or a text in GloVe's or word2vec's format; also packed by
// gzip, also standard input ("-").
absl::StatusOr<std::unique_ptr<RowReader>> OpenRows(
    std::string_view path, const RowReaderOptions& options);

// A table's name from a file's: without directories, .gz, and the ending of a
// format. "data/glove.5k.100d.txt.gz" gives "glove.5k.100d".
std::string TableNameFromPath(std::string_view path);

}  // namespace quire::formats
