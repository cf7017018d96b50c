// Writers of files of tensors: a table's rows, and beside them its optimizer
// state and its labels (client/formats/tensor_file.h has their names).

#pragma once

#include <memory>

#include "client/formats/row_writer.h"

namespace quire::formats {

// Whether `info` makes several tensors, which are written side by side.
bool WritesSideBySide(const RowFileInfo& info);

// safetensors, npz or torch. `file` takes any order if WritesSideBySide.
std::unique_ptr<RowWriter> MakeTensorWriter(const RowFileInfo& info,
                                            OutputFile& file);

}  // namespace quire::formats
