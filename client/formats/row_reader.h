// Rows from a file, whatever its format.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/formats/byte_source.h"

namespace quire::formats {

enum class RowFormat {
  kSafetensors,
  kNpy,
  kNpz,
  kTorch,
  kGlove,
  kWord2vec,
  kWord2vecBinary,
  kFvecs,
  kCsv,
};

std::string_view RowFormatName(RowFormat format);  // "npy"

// What a file's name says of its format; nullopt if it says nothing.
std::optional<RowFormat> RowFormatOfEnding(std::string_view path);

// A part of the optimizer state of each row.
struct StatePart {
  std::string name;  // as in docs/OPTIMIZERS.md: "exp_avg"
  int64_t floats = 0;

  bool operator==(const StatePart&) const = default;
};

// Parts of one optimizer: three, at most, have been thought of.
inline constexpr size_t kStatePartsMax = 16;

// Floats of all parts together.
int64_t StateFloats(const std::vector<StatePart>& parts);

// What is known of a file before its rows are read.
struct RowFileInfo {
  RowFormat format = RowFormat::kNpy;
  int64_t row_count = 0;
  int64_t dim = 0;
  // Its rows bring labels.
  bool labelled = false;
  // Its rows bring optimizer state, in this order.
  std::vector<StatePart> state = {};
  // Pushes that this state has seen, if a tensor says so.
  std::optional<int64_t> step = {};
  // What safetensors say of the table (docs/FILES.md): "quire.spec".
  std::map<std::string, std::string> metadata = {};
};

// Consecutive rows.
struct RowBlock {
  int64_t row_count = 0;
  std::vector<float> values;        // [row_count, dim], finite
  std::vector<float> state;         // [row_count, StateFloats()], finite
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
  // Absent: seen from the first bytes and lines; where they leave it open, from
  // the file's name.
  std::optional<RowFormat> format = {};
  // Floats in a row. Absent: from the file.
  std::optional<int64_t> dim = {};
  // Which tensor of a file that holds several (client/formats/tensor_file.h).
  std::optional<std::string> tensor = {};
  // Its optimizer state is wanted too; an error if there is none.
  bool state = false;
};

// Opens a file of any format but CSV; also packed by gzip, also standard input
// ("-").
absl::StatusOr<std::unique_ptr<RowReader>> OpenRows(
    std::string_view path, const RowReaderOptions& options);
// The same for bytes that are here; their name may have an ending.
absl::StatusOr<std::unique_ptr<RowReader>> OpenRows(
    std::unique_ptr<ByteSource> source, RowReaderOptions options);

// A table's name from a file's: without directories, .gz, and the ending of a
// format. "data/glove.5k.100d.txt.gz" gives "glove.5k.100d".
std::string TableNameFromPath(std::string_view path);

}  // namespace quire::formats
