// The options that say what a new table is.

#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "quire/v1/table.pb.h"

namespace quire::cli {

// "normal", "normal:mean,stddev", "zeros", "uniform:low,high", "constant:x".
absl::StatusOr<v1::Initializer> ParseInitializer(std::string_view text);

// An optimizer and its hyperparameters, as typed: name and value. The names
// are those of the API (quire/v1/table.proto). One that the optimizer does not
// have is refused by name, with those that it has.
struct Hyperparameter {
  std::string name;
  std::string value;
};
absl::StatusOr<v1::Optimizer> ParseOptimizer(
    std::string_view name, const std::vector<Hyperparameter>& parameters);

// Options of `table create` and `import`. Lives as long as the verb.
class SpecOptions {
 public:
  // Adds the options that a table from a file has, too.
  void AddTo(CLI::App& verb);
  // Adds --init and --seed.
  void AddInitializerTo(CLI::App& verb);

  // Sets what was asked for; the rest stays to the server's defaults.
  absl::Status Apply(v1::TableSpec& spec) const;

 private:
  void AddHyperparameters(CLI::App& verb);

  std::string optimizer_ = "sgd";
  bool optimizer_given_ = false;
  std::optional<double> learning_rate_;
  std::vector<Hyperparameter> hyperparameters_;
  std::optional<int32_t> shard_count_;
  bool is_memory_ = false;
  bool is_logged_ = false;
  bool is_frozen_ = false;
  std::optional<std::string> initializer_;
  std::optional<uint64_t> seed_;
};

// "adagrad, lr 0.01, eps 1e-10": what is set.
std::string OptimizerText(const v1::Optimizer& optimizer);

// "adagrad, lr 0.01"
std::string OptimizerSummary(const v1::Optimizer& optimizer);

// "normal(0, 1)"
std::string InitializerText(const v1::Initializer& initializer);

}  // namespace quire::cli
