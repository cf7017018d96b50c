// Optimizer state on its way from a file into a new table.

#pragma once

#include "absl/status/status.h"
#include "client/cli/session.h"
#include "client/formats/row_reader.h"
#include "quire/v1/table.pb.h"

namespace quire::cli {

// Rows of files read and sent at a time.
int64_t RowsPerBlock(const formats::RowFileInfo& info);

// Whether a table of `spec` can go on from state that is brought to it. Pushes
// of some optimizers count the table's steps, and no import can set that
// number: those are refused by name.
absl::Status CheckStateImport(const v1::TableSpec& spec);

// Writes rows with their state into a table that an import has just made of the
// same rows, frozen so that nothing is pushed before its state is whole; then
// thaws it, unless `spec` is frozen. If that fails the table is dropped.
absl::Status ImportState(formats::RowReader& reader, const v1::TableSpec& spec,
                         Session& session);

}  // namespace quire::cli
