#include "client/cli/state_import.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "base/status.h"
#include "client/cli/file_spec.h"
#include "client/cli/optimizer_options.h"
#include "client/formats/input_error.h"

namespace quire::cli {
namespace {

using formats::StatePart;

constexpr int64_t kBlockBytes = int64_t{4} << 20;

std::vector<StatePart> AdamParts(const v1::Optimizer& optimizer, int64_t dim) {
  std::vector<StatePart> parts = {{"exp_avg", dim}, {"exp_avg_sq", dim}};
  if (optimizer.adam().amsgrad() || optimizer.adamw().amsgrad()) {
    parts.push_back({"max_exp_avg_sq", dim});
  }
  return parts;
}

// The state of a row, in the order of ReadRows: docs/OPTIMIZERS.
std::vector<StatePart> PartsOf(const v1::Optimizer& optimizer, int64_t dim) {
  switch (optimizer.kind_case()) {
    case v1::Optimizer::kAdagrad:
      return {{"sum", dim}};
    case v1::Optimizer::kRowwiseAdagrad:
      return {{"sum", 1}};
    case v1::Optimizer::kAdam:
    case v1::Optimizer::kAdamw:
    case v1::Optimizer::kSparseAdam:
    case v1::Optimizer::kLamb:
      return AdamParts(optimizer, dim);
    case v1::Optimizer::kRowwiseRmsprop:
      return {{"mean_square", 1}, {"last_step", 1}};
    case v1::Optimizer::kPartialRowwiseAdam:
    case v1::Optimizer::kPartialRowwiseLamb:
      return {{"exp_avg", dim}, {"exp_avg_sq", 1}};
    case v1::Optimizer::kLarsSgd:
      return {{"momentum_buffer", dim}};
    case v1::Optimizer::kFtrl:
      return {{"accumulator", dim}, {"linear", dim}};
    case v1::Optimizer::kSgd:
    case v1::Optimizer::KIND_NOT_SET:
      break;
  }
  return optimizer.sgd().momentum() != 0
             ? std::vector<StatePart>{{"momentum_buffer", dim}}
             : std::vector<StatePart>{};
}

// Whether the formula of a push has the number of steps in it: docs/OPTIMIZERS.
bool CountsSteps(const v1::Optimizer& optimizer) {
  switch (optimizer.kind_case()) {
    case v1::Optimizer::kAdagrad:
      return optimizer.adagrad().lr_decay() != 0;
    case v1::Optimizer::kRowwiseAdagrad:
    case v1::Optimizer::kLarsSgd:
    case v1::Optimizer::kFtrl:
      return false;
    default:
      return true;
  }
}

std::string TextOf(const std::vector<StatePart>& parts) {
  std::vector<std::string> texts;
  for (const StatePart& part : parts) {
    texts.push_back(fmt::format("{} [{}]", part.name, part.floats));
  }
  return texts.empty() ? "none" : fmt::format("{}", fmt::join(texts, ", "));
}

}  // namespace

int64_t RowsPerBlock(const formats::RowFileInfo& info) {
  const int64_t floats = info.dim + formats::StateFloats(info.state);
  return std::max<int64_t>(
      1, kBlockBytes / (floats * static_cast<int64_t>(sizeof(float))));
}

StateOrder::StateOrder(std::vector<size_t> places)
    : places_(std::move(places)), is_same_(std::ranges::is_sorted(places_)) {}

absl::StatusOr<StateOrder> StateOrder::Of(const formats::RowFileInfo& info,
                                          const v1::TableSpec& spec) {
  const std::vector<StatePart>& found = info.state;
  std::vector<size_t> places;
  if (found.empty()) {
    return StateOrder(std::move(places));
  }
  if (!spec.has_optimizer()) {
    return formats::InputError(
        "the file does not say whose its optimizer state is: give --optimizer");
  }
  const std::vector<StatePart> wanted =
      PartsOf(spec.optimizer(), spec.embedding_dim());
  for (const StatePart& part : wanted) {
    size_t begin = 0;
    const auto same = std::ranges::find_if(found, [&](const StatePart& other) {
      begin += other == part ? 0 : static_cast<size_t>(other.floats);
      return other == part;
    });
    if (same == found.end()) {
      break;
    }
    const size_t end = places.size();
    places.resize(end + static_cast<size_t>(part.floats));
    std::iota(places.begin() + static_cast<std::ptrdiff_t>(end), places.end(),
              begin);
  }
  if (std::ssize(places) != formats::StateFloats(found) ||
      found.size() != wanted.size()) {
    return formats::InputError(fmt::format(
        "the file has the optimizer state {}; the table's optimizer needs {}",
        TextOf(found), TextOf(wanted)));
  }
  return StateOrder(std::move(places));
}

std::span<const float> StateOrder::Arrange(const std::vector<float>& state) {
  if (is_same_) {
    return state;
  }
  arranged_.clear();
  for (size_t begin = 0; begin < state.size(); begin += places_.size()) {
    for (const size_t place : places_) {
      arranged_.push_back(state[begin + place]);
    }
  }
  return arranged_;
}

absl::StatusOr<int64_t> StepOf(std::optional<int64_t> given,
                               const formats::RowFileInfo& info,
                               const v1::TableSpec& spec,
                               std::string_view file) {
  if (given) {
    return *given;
  }
  QUIRE_ASSIGN_OR_RETURN(const std::optional<int64_t> said,
                         StepOf(info.metadata, file));
  if (info.step || said) {
    return info.step ? *info.step : *said;
  }
  if (!CountsSteps(spec.optimizer())) {
    return 0;
  }
  const std::string summary = OptimizerSummary(spec.optimizer());
  return formats::InputError(fmt::format(
      "the steps of {} depend on how many there were, and '{}' does not say: "
      "give --step N",
      summary.substr(0, summary.find(',')), file));
}

}  // namespace quire::cli
