// Optimizer state on its way from a file into a new table.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/formats/row_reader.h"
#include "quire/v1/table.pb.h"

namespace quire::cli {

// Rows of files read and sent at a time.
int64_t RowsPerBlock(const formats::RowFileInfo& info);

// Where in the state of a row of a file is what its table has, float by float.
// Thread safety: one thread at a time.
class StateOrder {
 public:
  // An error if the file's parts are not those of the optimizer of `spec`, by
  // name and size. A file without state has none to order.
  static absl::StatusOr<StateOrder> Of(const formats::RowFileInfo& info,
                                       const v1::TableSpec& spec);

  // The same rows in the table's order; until the next call.
  //   state  [n, StateFloats()]
  std::span<const float> Arrange(const std::vector<float>& state);

 private:
  explicit StateOrder(std::vector<size_t> places);

  const std::vector<size_t> places_;
  // The file's order is the table's.
  const bool is_same_;
  std::vector<float> arranged_;
};

// How many pushes the state of a file has seen: as `given`, or as the file
// says. 0 where nobody says so and the optimizer does not count them, an error
// where it does.
absl::StatusOr<int64_t> StepOf(std::optional<int64_t> given,
                               const formats::RowFileInfo& info,
                               const v1::TableSpec& spec,
                               std::string_view file);

}  // namespace quire::cli
