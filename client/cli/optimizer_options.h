// An optimizer, as it is typed and as it is shown. Names, types and
// hyperparameters are those of the API (quire/v1/table.proto), found by its
// descriptors: a further optimizer there is a further one here.

#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "quire/v1/table.pb.h"

namespace quire::cli {

// "sgd", "adagrad", …: in the order of the API.
std::vector<std::string> OptimizerNames();

// A hyperparameter as typed. A name that the optimizer does not have is refused
// with those that it has.
struct Hyperparameter {
  std::string name;
  std::string value;
};
absl::StatusOr<v1::Optimizer> ParseOptimizer(
    std::string_view name, const std::vector<Hyperparameter>& parameters);

// An option for each hyperparameter of any optimizer: "--weight-decay X",
// "--nesterov". What is typed goes to `typed`, which outlives the verb.
void AddHyperparameters(CLI::App& verb, std::vector<Hyperparameter>& typed);

// "adagrad, lr 0.01, eps 1e-10": a hyperparameter that is 0 or off is left out.
std::string OptimizerText(const v1::Optimizer& optimizer);

// "adagrad, lr 0.01"
std::string OptimizerSummary(const v1::Optimizer& optimizer);

// "initial_accumulator_value" is typed --initial-accumulator-value.
std::string Dashed(std::string name);

// "none|l2|decouple": the values of an enum but the one that means unset.
std::vector<std::string> ShortNames(
    const google::protobuf::EnumDescriptor& type);

}  // namespace quire::cli
