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

// Consecutive rows to write.
struct RowSpan {
  int64_t first_id = 0;
  std::span<const float> values;                  // [n, dim]
  std::span<const float> state = {};              // [n, StateFloats()]
  std::span<const std::string_view> labels = {};  // [n], or none
};

// Writes the rows of `info` in order of their ids, all of them; numbers read
// back as the same float32.
//
//   safetensors      "weight", F32 [rows, dim]; its metadata; labels as
//                    "labels.bytes" and "labels.ends"; state as "optimizer.…"
//   npy              as numpy.save writes a float32 matrix
//   npz              "weight", and state as "optimizer.…", its step as
//                    "optimizer.step"
//   torch            a state_dict of the same
//   glove            a label and its vector on each line
//   word2vec         the same after a line with the number of rows and the dim
//   word2vec-binary  the same with the bytes of float32
//   fvecs            the dim, then the bytes of float32
//   csv              "id,label,0,1,…", then the rows (RFC 4180); without
//                    "label" if the table has none
//
// Others leave labels out. In glove and word2vec a row without a label has its
// id in the place of the word. There, a label with a line end is refused, in
// word2vec-binary one with a space: no reader could tell its row.
class RowWriter {
 public:
  virtual ~RowWriter() = default;

  // Writes what precedes the rows.
  virtual absl::Status Begin() = 0;

  // Writes the next rows.
  virtual absl::Status Write(const RowSpan& rows) = 0;

  // Writes what follows them.
  virtual absl::Status Finish() { return absl::OkStatus(); }
};

// Whether a format has room for optimizer state.
bool HasRoomForState(RowFormat format);

// Whether a format has room for labels.
bool HasRoomForLabels(RowFormat format);

// What a file of `info` has to be opened with.
OutputFile::Order OrderOf(const RowFileInfo& info);

// Appends one field of a CSV line, quoted where it must be.
void AppendCsvField(std::string_view field, std::string& out);

// `file` outlives the writer, and is committed by the caller. info.state is
// empty unless HasRoomForState.
std::unique_ptr<RowWriter> MakeRowWriter(const RowFileInfo& info,
                                         OutputFile& file);

}  // namespace quire::formats
