// From quire.v1.Optimizer, as people write it, to quire::Optimizer.
//
// optimizer_spec.cc has a table with one entry for each optimizer: its message,
// its learning rate, and its hyperparameters with defaults and ranges. All else
// follows from the table; docs/OPTIMIZERS.md says how to add one.
//
// Thread safety: free functions.

#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "quire/v1/table.pb.h"
#include "row/optimizer.h"

namespace quire {

// Fills in what is absent: SGD, and each default of the optimizer. BAD_VALUE
// names the first hyperparameter that is out of its range, or that another one
// forbids.
//   path  of the message: "spec.optimizer"
absl::Status FillOptimizer(v1::Optimizer& optimizer, std::string_view path);

// What a filled message says. `all_rows` only where it makes a difference: a
// row that is not named in a push stays as it is in plain SGD.
Optimizer MakeOptimizer(const v1::Optimizer& message);

// The scope that a filled message has, SCOPE_TOUCHED for an optimizer that has
// none to choose, and the field that says so: "adam.scope".
struct ScopeSpec {
  v1::Scope scope = v1::SCOPE_TOUCHED;
  std::string field;
};
ScopeSpec ScopeOf(const v1::Optimizer& message);

}  // namespace quire
