// Rows to a file, in a format that others read.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/formats/output_file.h"
#include "client/formats/row_reader.h"

namespace quire::formats {

// Writes the rows of `info` in order of their ids, all of them; numbers read
// back as the same float32.
//
//   npy       as numpy.save writes a float32 matrix; labels are left out
//   glove     a label and its vector on each line
//   word2vec  the same after a line with the number of rows and the dim
//   csv       "id,label,0,1,…", then the rows (RFC 4180); without "label" if
//             the table has none
//
// A row without a label has its id in the place of the word in glove and
// word2vec. There, a label with a line end is refused: no reader could tell
// its row.
class RowWriter {
 public:
  virtual ~RowWriter() = default;

  // Writes what precedes the rows.
  virtual absl::Status Begin() = 0;

  // Writes the next rows.
  //   values  [n, dim]
  //   labels  [n], or empty for none
  virtual absl::Status Write(int64_t first_id, std::span<const float> values,
                             std::span<const std::string_view> labels) = 0;
};

// Appends one field of a CSV line, quoted where it must be.
void AppendCsvField(std::string_view field, std::string& out);

// `file` outlives the writer, and is committed by the caller.
std::unique_ptr<RowWriter> MakeRowWriter(const RowFileInfo& info,
                                         OutputFile& file);

}  // namespace quire::formats
