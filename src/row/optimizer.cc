#include "row/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/faults.h"

namespace quire {
namespace {

using kernels::Kernels;
using kernels::StepBatch;

float ToFloat(double x) { return static_cast<float>(x); }

// beta^step by squaring: the same bytes on any machine, which pow is not.
double PowerOfStep(double beta, int64_t step) {
  double power = 1.0;
  for (double square = beta; step > 0; step >>= 1, square *= square) {
    power *= (step & 1) != 0 ? square : 1.0;
  }
  return power;
}

// What Adam and its kin derive from their betas: in double, cast once.
struct Moments {
  float beta1;
  float one_minus_beta1;
  float beta2;
  float one_minus_beta2;
  // 1 - beta^step
  double correction1;
  double correction2;

  explicit Moments(const OptimizerStep& push)
      : Moments(push.optimizer.beta1, push.optimizer.beta2, push.step) {}

  Moments(double first, double second, int64_t step)
      : beta1(ToFloat(first)),
        one_minus_beta1(ToFloat(1.0 - first)),
        beta2(ToFloat(second)),
        one_minus_beta2(ToFloat(1.0 - second)),
        correction1(1.0 - PowerOfStep(first, step)),
        correction2(1.0 - PowerOfStep(second, step)) {
    if (QUIRE_FAULT("float_hyperparameters")) {
      one_minus_beta1 = 1.0f - beta1;
      one_minus_beta2 = 1.0f - beta2;
    }
  }
};

// --- The numbers of one push, for each optimizer's kernel ---

size_t ApplySgd(const Kernels& kernels, const OptimizerStep& push,
                const StepBatch& batch) {
  const Optimizer& o = push.optimizer;
  const bool is_first =
      (push.step == 1 && !QUIRE_FAULT("dampening_on_first_step")) ||
      QUIRE_FAULT("momentum_ignored");
  return kernels.sgd(
      batch, {.negative_lr = ToFloat(-push.learning_rate),
              .weight_decay = ToFloat(o.weight_decay),
              .momentum = ToFloat(o.momentum),
              .one_minus_dampening = ToFloat(1.0 - o.dampening),
              .nesterov = o.nesterov && !QUIRE_FAULT("nesterov_ignored"),
              .is_first = is_first});
}

size_t ApplyAdagrad(const Kernels& kernels, const OptimizerStep& push,
                    const StepBatch& batch) {
  const Optimizer& o = push.optimizer;
  const int64_t decays =
      push.step - (QUIRE_FAULT("lr_decay_off_by_one") ? 0 : 1);
  const double clr =
      push.learning_rate / (1.0 + static_cast<double>(decays) * o.lr_decay);
  return kernels.adagrad(batch, {.negative_clr = ToFloat(-clr),
                                 .eps = ToFloat(o.eps),
                                 .weight_decay = ToFloat(o.weight_decay)});
}

size_t ApplySparseAdam(const Kernels& kernels, const OptimizerStep& push,
                       const StepBatch& batch) {
  const Moments moments(push);
  const double step_size =
      push.learning_rate * std::sqrt(moments.correction2) / moments.correction1;
  return kernels.sparse_adam(batch, {.one_minus_beta1 = moments.one_minus_beta1,
                                     .one_minus_beta2 = moments.one_minus_beta2,
                                     .negative_step_size = ToFloat(-step_size),
                                     .eps = ToFloat(push.optimizer.eps)});
}

size_t ApplyAdam(const Kernels& kernels, const OptimizerStep& push,
                 const StepBatch& batch) {
  const Optimizer& o = push.optimizer;
  const Moments moments(push);
  const bool decoupled =
      o.kind == OptimizerKind::kAdamW || QUIRE_FAULT("weight_decay_decoupled");
  const double shrink = 1.0 - push.learning_rate * o.weight_decay;
  return kernels.adam(
      batch,
      {.beta1 = moments.beta1,
       .one_minus_beta1 = moments.one_minus_beta1,
       .beta2 = moments.beta2,
       .one_minus_beta2 = moments.one_minus_beta2,
       .negative_step_size = ToFloat(-push.learning_rate / moments.correction1),
       .root_of_correction = ToFloat(std::sqrt(moments.correction2)),
       .eps = ToFloat(o.eps),
       .weight_decay = decoupled ? 0.0f : ToFloat(o.weight_decay),
       .shrink = decoupled ? ToFloat(shrink) : 1.0f,
       .amsgrad = o.amsgrad});
}

size_t ApplyRowwiseAdagrad(const Kernels& kernels, const OptimizerStep& push,
                           const StepBatch& batch) {
  const Optimizer& o = push.optimizer;
  const bool l2 = o.weight_decay_mode == WeightDecayMode::kL2;
  const bool decoupled = o.weight_decay_mode == WeightDecayMode::kDecouple;
  return kernels.rowwise_adagrad(
      batch, {.lr = ToFloat(push.learning_rate),
              .eps = ToFloat(o.eps),
              .gradient_decay = l2 ? ToFloat(o.weight_decay) : 0.0f,
              .decoupled_shrink =
                  decoupled ? ToFloat(1.0 - push.learning_rate * o.weight_decay)
                            : 1.0f});
}

size_t ApplyRowwiseRmsprop(const Kernels& kernels, const OptimizerStep& push,
                           const StepBatch& batch) {
  const Optimizer& o = push.optimizer;
  return kernels.rowwise_rmsprop(batch,
                                 {.lr = ToFloat(push.learning_rate),
                                  .eps = ToFloat(o.eps),
                                  .beta = ToFloat(o.beta),
                                  .one_minus_beta = ToFloat(1.0 - o.beta),
                                  .lr_alpha = push.learning_rate * o.alpha,
                                  .min_shrinkage = o.min_shrinkage,
                                  .step = push.step});
}

kernels::PartialRowwiseAdamStep StepOfAdamsKin(const OptimizerStep& push) {
  const Moments moments(push);
  return {.lr = ToFloat(push.learning_rate),
          .beta1 = moments.beta1,
          .one_minus_beta1 = moments.one_minus_beta1,
          .beta2 = moments.beta2,
          .one_minus_beta2 = moments.one_minus_beta2,
          .correction1 = ToFloat(moments.correction1),
          .correction2 = ToFloat(moments.correction2),
          .eps = ToFloat(push.optimizer.eps),
          .weight_decay = ToFloat(push.optimizer.weight_decay)};
}

size_t ApplyPartialRowwiseAdam(const Kernels& kernels,
                               const OptimizerStep& push,
                               const StepBatch& batch) {
  return kernels.partial_rowwise_adam(batch, StepOfAdamsKin(push));
}

size_t ApplyLamb(const Kernels& kernels, const OptimizerStep& push,
                 const StepBatch& batch) {
  return kernels.lamb(batch, StepOfAdamsKin(push));
}

size_t ApplyPartialRowwiseLamb(const Kernels& kernels,
                               const OptimizerStep& push,
                               const StepBatch& batch) {
  return kernels.partial_rowwise_lamb(batch, StepOfAdamsKin(push));
}

size_t ApplyLarsSgd(const Kernels& kernels, const OptimizerStep& push,
                    const StepBatch& batch) {
  const Optimizer& o = push.optimizer;
  return kernels.lars_sgd(batch, {.lr_eta = ToFloat(push.learning_rate * o.eta),
                                  .momentum = ToFloat(o.momentum),
                                  .weight_decay = ToFloat(o.weight_decay)});
}

size_t ApplyFtrl(const Kernels& kernels, const OptimizerStep& push,
                 const StepBatch& batch) {
  const Optimizer& o = push.optimizer;
  return kernels.ftrl(batch, {.lr = ToFloat(push.learning_rate),
                              .l1 = ToFloat(o.l1),
                              .twice_l2 = ToFloat(2.0 * o.l2),
                              .beta = ToFloat(o.beta),
                              .power = -o.learning_rate_power});
}

// --- The table of optimizers ---

// A part of a row's state: `dim` floats, or one.
struct Part {
  std::string_view name;
  bool is_one_float = false;
};
using Parts = std::span<const Part>;

constexpr Part kMomentum[] = {{"momentum_buffer"}};
constexpr Part kSum[] = {{"sum"}};
constexpr Part kRowSum[] = {{"sum", true}};
constexpr Part kMoments[] = {{"exp_avg"}, {"exp_avg_sq"}};
constexpr Part kMomentsAndMax[] = {
    {"exp_avg"}, {"exp_avg_sq"}, {"max_exp_avg_sq"}};
constexpr Part kPartialMoments[] = {{"exp_avg"}, {"exp_avg_sq", true}};
constexpr Part kMeanSquare[] = {{"mean_square", true}, {"last_step", true}};
constexpr Part kFtrl[] = {{"accumulator"}, {"linear"}};

struct Rule {
  OptimizerKind kind;
  std::string_view name;
  Parts (*state)(const Optimizer&);
  size_t (*apply)(const Kernels&, const OptimizerStep&, const StepBatch&);
};

template <const auto& kParts>
Parts Always(const Optimizer&) {
  return kParts;
}

Parts SgdState(const Optimizer& o) {
  return ToFloat(o.momentum) == 0.0f ? Parts() : kMomentum;
}

Parts AdamState(const Optimizer& o) {
  return o.amsgrad ? Parts(kMomentsAndMax) : kMoments;
}

// In the order of OptimizerKind.
constexpr Rule kRules[] = {
    {OptimizerKind::kSgd, "sgd", SgdState, ApplySgd},
    {OptimizerKind::kAdagrad, "adagrad", Always<kSum>, ApplyAdagrad},
    {OptimizerKind::kRowwiseAdagrad, "rowwise_adagrad", Always<kRowSum>,
     ApplyRowwiseAdagrad},
    {OptimizerKind::kSparseAdam, "sparse_adam", Always<kMoments>,
     ApplySparseAdam},
    {OptimizerKind::kAdam, "adam", AdamState, ApplyAdam},
    {OptimizerKind::kAdamW, "adamw", AdamState, ApplyAdam},
    {OptimizerKind::kRowwiseRmsprop, "rowwise_rmsprop", Always<kMeanSquare>,
     ApplyRowwiseRmsprop},
    {OptimizerKind::kPartialRowwiseAdam, "partial_rowwise_adam",
     Always<kPartialMoments>, ApplyPartialRowwiseAdam},
    {OptimizerKind::kLamb, "lamb", Always<kMoments>, ApplyLamb},
    {OptimizerKind::kPartialRowwiseLamb, "partial_rowwise_lamb",
     Always<kPartialMoments>, ApplyPartialRowwiseLamb},
    {OptimizerKind::kLarsSgd, "lars_sgd", Always<kMomentum>, ApplyLarsSgd},
    {OptimizerKind::kFtrl, "ftrl", Always<kFtrl>, ApplyFtrl},
};

constexpr bool RulesAreInOrder() {
  for (size_t i = 0; i < std::size(kRules); ++i) {
    if (static_cast<size_t>(kRules[i].kind) != i) {
      return false;
    }
  }
  return true;
}
static_assert(RulesAreInOrder());

const Rule& RuleOf(OptimizerKind kind) {
  return kRules[static_cast<size_t>(kind)];
}

}  // namespace

int64_t Optimizer::StateFloats(int64_t dim) const {
  int64_t floats = 0;
  for (const Part& part : RuleOf(kind).state(*this)) {
    floats += part.is_one_float ? 1 : dim;
  }
  return floats;
}

std::vector<Optimizer::StatePart> Optimizer::StateParts(int64_t dim) const {
  std::vector<StatePart> parts;
  for (const Part& part : RuleOf(kind).state(*this)) {
    parts.push_back({.name = part.name, .floats = part.is_one_float ? 1 : dim});
  }
  return parts;
}

// The accumulator, where there is one, is what comes first; FTRL's linear term
// and all moments begin at 0.
void Optimizer::FillInitialState(std::span<float> state, int64_t dim) const {
  const float first = QUIRE_FAULT("initial_accumulator_ignored")
                          ? 0.0f
                          : ToFloat(initial_accumulator_value);
  const size_t accumulator = std::min(state.size(), static_cast<size_t>(dim));
  std::ranges::fill(state.first(accumulator), first);
  std::ranges::fill(state.subspan(accumulator), 0.0f);
}

std::string_view Optimizer::name() const { return RuleOf(kind).name; }

size_t OptimizerStep::Apply(const Kernels& kernels, StepBatch batch) const {
  batch.gradient_sign = optimizer.maximize ? -1.0f : 1.0f;
  if (QUIRE_FAULT("step_not_counted")) {
    OptimizerStep first = *this;
    first.step = 1;
    return RuleOf(optimizer.kind).apply(kernels, first, batch);
  }
  return RuleOf(optimizer.kind).apply(kernels, *this, batch);
}

}  // namespace quire
