// The options that say what a new table is.

#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/optimizer_options.h"
#include "quire/v1/table.pb.h"

namespace quire::cli {

// "normal", "normal:mean,stddev", "zeros", "uniform:low,high", "constant:x".
absl::StatusOr<v1::Initializer> ParseInitializer(std::string_view text);

// Options of `table create` and `import`. Lives as long as the verb.
class SpecOptions {
 public:
  // Adds the options that a table from a file has, too.
  void AddTo(CLI::App& verb);
  // Adds --init and --seed.
  void AddInitializerTo(CLI::App& verb);

  // Sets what was asked for; the rest stays as it is, or is left to the
  // server's defaults. A hyperparameter belongs to --optimizer, or to sgd; a
  // learning rate alone to the optimizer that `spec` has.
  absl::Status Apply(v1::TableSpec& spec) const;

 private:
  void AddRules(CLI::App& verb);
  void ApplyRules(v1::TableSpec& spec) const;

  std::string optimizer_ = "sgd";
  bool optimizer_given_ = false;
  std::optional<double> learning_rate_;
  std::vector<Hyperparameter> hyperparameters_;
  std::optional<int64_t> padding_idx_;
  std::optional<double> max_norm_;
  std::optional<double> norm_type_;
  bool scale_grad_by_freq_ = false;
  v1::NonFinitePolicy non_finite_policy_ = v1::NON_FINITE_POLICY_UNSPECIFIED;
  std::optional<double> clip_value_;
  std::optional<double> clip_row_norm_;
  std::optional<double> clip_push_norm_;
  std::optional<int32_t> shard_count_;
  bool is_memory_ = false;
  bool is_logged_ = false;
  bool is_frozen_ = false;
  std::optional<std::string> initializer_;
  std::optional<uint64_t> seed_;
};

// What is done to gradients before the optimizer has them: "divided by
// frequency, clipped to norm 1 each row"; "" for nothing.
std::string RulesText(const v1::TableSpec& spec);

// "normal(0, 1)"
std::string InitializerText(const v1::Initializer& initializer);

}  // namespace quire::cli
