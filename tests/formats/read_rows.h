// Reading a whole file of rows, for tests.

#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "client/formats/row_reader.h"

namespace quire::formats::testing {

struct WholeFile {
  RowFileInfo info;
  RowBlock all;
};

// In blocks of two rows.
inline absl::StatusOr<WholeFile> ReadWhole(RowReader& reader) {
  WholeFile whole = {.info = reader.info(), .all = {}};
  for (RowBlock block;;) {
    if (absl::Status status = reader.Read(2, block); !status.ok()) {
      return status;
    }
    if (block.row_count == 0) {
      return whole;
    }
    const auto append = [](auto& target, const auto& source) {
      target.insert(target.end(), source.begin(), source.end());
    };
    whole.all.row_count += block.row_count;
    append(whole.all.values, block.values);
    append(whole.all.state, block.state);
    append(whole.all.labels, block.labels);
  }
}

inline absl::StatusOr<WholeFile> ReadFile(std::string bytes,
                                          const RowReaderOptions& options = {},
                                          std::string_view name = "file") {
  auto reader = OpenRows(SourceOf(std::move(bytes), name), options);
  if (!reader.ok()) {
    return reader.status();
  }
  return ReadWhole(**reader);
}

// The sentence of the refusal; empty if there is none.
inline std::string Refusal(std::string bytes,
                           const RowReaderOptions& options = {},
                           std::string_view name = "file") {
  return std::string(
      ReadFile(std::move(bytes), options, name).status().message());
}

}  // namespace quire::formats::testing
