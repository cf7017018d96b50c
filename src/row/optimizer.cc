#include "row/optimizer.h"

namespace quire {
namespace {

using kernels::Kernels;
using kernels::RowUpdate;
using kernels::Stripes;

// The rows of one call, as kernels take them.
struct Batch {
  const RowUpdate* rows;
  size_t count;
  size_t ahead;
  size_t dim;
  Stripes* stripes;
};

struct Rule {
  std::string_view name;
  int64_t (*state_floats)(int64_t dim);
  void (*apply)(const Kernels& kernels, const OptimizerStep& step,
                const Batch& batch);
};

void ApplySgd(const Kernels& kernels, const OptimizerStep& step,
              const Batch& batch) {
  kernels.sgd(batch.rows, batch.count, batch.ahead, batch.dim, batch.stripes,
              {.negative_lr = static_cast<float>(-step.learning_rate)});
}

// torch.optim.Adagrad: clr = lr / (1 + (step - 1) * lr_decay), in double.
void ApplyAdagrad(const Kernels& kernels, const OptimizerStep& step,
                  const Batch& batch) {
  const double clr =
      step.learning_rate /
      (1.0 + static_cast<double>(step.step - 1) * step.optimizer.lr_decay);
  kernels.adagrad(batch.rows, batch.count, batch.ahead, batch.dim,
                  batch.stripes,
                  {.negative_clr = static_cast<float>(-clr),
                   .eps = static_cast<float>(step.optimizer.eps)});
}

void ApplyRowwiseAdagrad(const Kernels& kernels, const OptimizerStep& step,
                         const Batch& batch) {
  kernels.rowwise_adagrad(batch.rows, batch.count, batch.ahead, batch.dim,
                          batch.stripes,
                          {.lr = static_cast<float>(step.learning_rate),
                           .eps = static_cast<float>(step.optimizer.eps)});
}

// In the order of OptimizerKind.
constexpr Rule kRules[] = {
    {"sgd", [](int64_t) -> int64_t { return 0; }, ApplySgd},
    {"adagrad", [](int64_t dim) { return dim; }, ApplyAdagrad},
    {"rowwise_adagrad", [](int64_t) -> int64_t { return 1; },
     ApplyRowwiseAdagrad},
};

const Rule& RuleOf(OptimizerKind kind) {
  return kRules[static_cast<size_t>(kind)];
}

}  // namespace

int64_t Optimizer::StateFloats(int64_t dim) const {
  return RuleOf(kind).state_floats(dim);
}

float Optimizer::InitialState() const {
  return static_cast<float>(initial_accumulator_value);
}

std::string_view Optimizer::name() const { return RuleOf(kind).name; }

void OptimizerStep::Apply(const Kernels& kernels, Stripes& stripes,
                          std::span<const RowUpdate> rows, size_t ahead,
                          int64_t dim) const {
  RuleOf(optimizer.kind)
      .apply(kernels, *this,
             {.rows = rows.data(),
              .count = rows.size() - ahead,
              .ahead = ahead,
              .dim = static_cast<size_t>(dim),
              .stripes = &stripes});
}

}  // namespace quire
