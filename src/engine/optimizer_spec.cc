#include "engine/optimizer_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <variant>

#include "base/check.h"
#include "base/status.h"
#include "engine/number_range.h"

namespace quire {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// --- What an entry says ---

// A double, cast to float once per push.
struct Number {
  std::string_view field;
  double Optimizer::*member;
  double default_value;
  NumberRange range = kAtLeastZero;
};

// A bool, by default false.
struct Flag {
  std::string_view field;
  bool Optimizer::*member;
};

// The enums: unspecified means the value that comes first.
struct ScopeChoice {
  std::string_view field = "scope";
};
struct WeightDecayChoice {
  std::string_view field = "weight_decay_mode";
};

using Hyperparameter =
    std::variant<Number, Flag, ScopeChoice, WeightDecayChoice>;

// What no single range says; `path` is the optimizer's message.
using Rule = absl::Status (*)(const Optimizer&, std::string_view path);

struct Entry {
  v1::Optimizer::KindCase message;
  OptimizerKind kind;
  double learning_rate;
  std::span<const Hyperparameter> hyperparameters;
  Rule rule = nullptr;
  NumberRange learning_rate_range = kAtLeastZero;
};

// --- The hyperparameters of each optimizer ---

constexpr Number kMomentum = {"momentum", &Optimizer::momentum, 0.0};
constexpr Number kWeightDecay = {"weight_decay", &Optimizer::weight_decay, 0.0};
constexpr Number kBeta1 = {"beta1", &Optimizer::beta1, 0.9, kBelowOne};
constexpr Number kBeta2 = {"beta2", &Optimizer::beta2, 0.999, kBelowOne};
constexpr Number kEps = {"eps", &Optimizer::eps, 1e-8};
constexpr Flag kNesterov = {"nesterov", &Optimizer::nesterov};
constexpr Flag kMaximize = {"maximize", &Optimizer::maximize};
constexpr Flag kAmsgrad = {"amsgrad", &Optimizer::amsgrad};

constexpr Number InitialAccumulator(double value) {
  return {"initial_accumulator_value", &Optimizer::initial_accumulator_value,
          value};
}

constexpr Hyperparameter kSgd[] = {
    kMomentum, Number{"dampening", &Optimizer::dampening, 0.0, kAnyFinite},
    kNesterov, kWeightDecay,
    kMaximize, ScopeChoice{}};

constexpr Hyperparameter kAdagrad[] = {
    Number{"lr_decay", &Optimizer::lr_decay, 0.0}, InitialAccumulator(0.0),
    Number{"eps", &Optimizer::eps, 1e-10}, kWeightDecay, kMaximize};

constexpr Hyperparameter kRowwiseAdagrad[] = {
    kEps, InitialAccumulator(0.0), kWeightDecay, WeightDecayChoice{}};

// torch.optim.SparseAdam: "Invalid epsilon value" also for 0.
constexpr Hyperparameter kSparseAdam[] = {
    kBeta1, kBeta2, Number{"eps", &Optimizer::eps, 1e-8, kAboveZero},
    kMaximize};

constexpr Hyperparameter kAdam[] = {
    kBeta1, kBeta2, kEps, kWeightDecay, kAmsgrad, kMaximize, ScopeChoice{}};

constexpr Hyperparameter kAdamW[] = {
    kBeta1,       kBeta2,
    kEps,         Number{"weight_decay", &Optimizer::weight_decay, 0.01},
    kAmsgrad,     kMaximize,
    ScopeChoice{}};

constexpr Hyperparameter kRowwiseRmsprop[] = {
    Number{"beta", &Optimizer::beta, 0.9, kBelowOne}, kEps,
    Number{"alpha", &Optimizer::alpha, 0.0},
    Number{"min_shrinkage", &Optimizer::min_shrinkage, 0.0, kShare}};

// Partial row-wise Adam, LAMB, partial row-wise LAMB.
constexpr Hyperparameter kAdamsKin[] = {kBeta1, kBeta2, kEps, kWeightDecay};

constexpr Hyperparameter kLarsSgd[] = {
    Number{"momentum", &Optimizer::momentum, 0.9},
    Number{"eta", &Optimizer::eta, 0.001}, kWeightDecay};

// An accumulator of 0 is no harm: the power that it is raised to is 0 or more.
constexpr Hyperparameter kFtrl[] = {
    Number{"l1", &Optimizer::l1, 0.0}, Number{"l2", &Optimizer::l2, 0.0},
    Number{"beta", &Optimizer::beta, 0.0}, InitialAccumulator(0.1),
    Number{"learning_rate_power", &Optimizer::learning_rate_power, -0.5,
           kAtMostZero}};

// --- What no single range says ---

// torch.optim.SGD: "Nesterov momentum requires a momentum and zero dampening".
absl::Status CheckNesterov(const Optimizer& optimizer, std::string_view path) {
  if (!optimizer.nesterov ||
      (optimizer.momentum > 0 && optimizer.dampening == 0)) {
    return absl::OkStatus();
  }
  return Error(
      Reason::kBadValue,
      fmt::format("{}.nesterov requires a momentum and zero dampening; "
                  "momentum is {}, dampening {}",
                  path, optimizer.momentum, optimizer.dampening),
      fmt::format("{}.nesterov", path));
}

// FBGEMM ignores the weight decay then.
absl::Status CheckWeightDecayMode(const Optimizer& optimizer,
                                  std::string_view path) {
  if (optimizer.weight_decay == 0 ||
      optimizer.weight_decay_mode != WeightDecayMode::kNone) {
    return absl::OkStatus();
  }
  return Error(Reason::kBadValue,
               fmt::format("{0}.weight_decay is {1} and would have no effect; "
                           "set {0}.weight_decay_mode to L2 or DECOUPLE",
                           path, optimizer.weight_decay),
               fmt::format("{}.weight_decay_mode", path));
}

// --- The table of optimizers ---

constexpr double kLrAdam = 0.001;
constexpr double kLrOthers = 0.01;

constexpr Entry kEntries[] = {
    {v1::Optimizer::kSgd, OptimizerKind::kSgd, kLrOthers, kSgd, CheckNesterov},
    {v1::Optimizer::kAdagrad, OptimizerKind::kAdagrad, kLrOthers, kAdagrad},
    {v1::Optimizer::kRowwiseAdagrad, OptimizerKind::kRowwiseAdagrad, kLrOthers,
     kRowwiseAdagrad, CheckWeightDecayMode},
    {v1::Optimizer::kSparseAdam, OptimizerKind::kSparseAdam, kLrAdam,
     kSparseAdam},
    {v1::Optimizer::kAdam, OptimizerKind::kAdam, kLrAdam, kAdam},
    {v1::Optimizer::kAdamw, OptimizerKind::kAdamW, kLrAdam, kAdamW},
    {v1::Optimizer::kRowwiseRmsprop, OptimizerKind::kRowwiseRmsprop, kLrOthers,
     kRowwiseRmsprop},
    {v1::Optimizer::kPartialRowwiseAdam, OptimizerKind::kPartialRowwiseAdam,
     kLrAdam, kAdamsKin},
    {v1::Optimizer::kLamb, OptimizerKind::kLamb, kLrAdam, kAdamsKin},
    {v1::Optimizer::kPartialRowwiseLamb, OptimizerKind::kPartialRowwiseLamb,
     kLrAdam, kAdamsKin},
    {v1::Optimizer::kLarsSgd, OptimizerKind::kLarsSgd, kLrOthers, kLarsSgd},
    // TensorFlow: "lr is not a positive scalar"; the formula divides by it.
    {v1::Optimizer::kFtrl, OptimizerKind::kFtrl, kLrOthers, kFtrl, nullptr,
     kAboveZero},
};

// The place of an optimizer in its message's oneof: its name and its type.
const FieldDescriptor& KindOf(const v1::Optimizer& message) {
  return *v1::Optimizer::descriptor()->FindFieldByNumber(
      static_cast<int>(message.kind_case()));
}

const Entry& EntryOf(const v1::Optimizer& message) {
  const auto* entry =
      std::ranges::find(kEntries, message.kind_case(), &Entry::message);
  QUIRE_CHECK(entry != std::end(kEntries),
              "a filled optimizer is of a kind that kEntries has");
  return *entry;
}

std::string_view NameOf(const Hyperparameter& parameter) {
  return std::visit([](const auto& which) { return which.field; }, parameter);
}

// --- Filling in: each by the field of its name in the optimizer's message ---

absl::Status Fill(const Number& number, const FieldDescriptor& field,
                  std::string_view path, Message& message) {
  const auto& reflection = *message.GetReflection();
  const double value = reflection.HasField(message, &field)
                           ? reflection.GetDouble(message, &field)
                           : number.default_value;
  QUIRE_RETURN_IF_ERROR(CheckNumber(value, number.range, path));
  if (!std::isfinite(static_cast<float>(value))) {
    return Error(
        Reason::kBadValue,
        fmt::format("{} is {}; as a float32 it is infinite", path, value),
        path);
  }
  reflection.SetDouble(&message, &field, value);
  return absl::OkStatus();
}

absl::Status Fill(const Flag&, const FieldDescriptor& field, std::string_view,
                  Message& message) {
  const auto& reflection = *message.GetReflection();
  reflection.SetBool(&message, &field, reflection.GetBool(message, &field));
  return absl::OkStatus();
}

// Unspecified, which is 0, means the value that comes first, which is 1.
absl::Status FillEnum(const FieldDescriptor& field, std::string_view path,
                      Message& message) {
  const auto& reflection = *message.GetReflection();
  const int value = std::max(1, reflection.GetEnumValue(message, &field));
  if (field.enum_type()->FindValueByNumber(value) == nullptr) {
    return Error(Reason::kBadValue,
                 fmt::format("{} is {}, which is no {}", path, value,
                             field.enum_type()->name()),
                 path);
  }
  reflection.SetEnumValue(&message, &field, value);
  return absl::OkStatus();
}

absl::Status Fill(const ScopeChoice&, const FieldDescriptor& field,
                  std::string_view path, Message& message) {
  return FillEnum(field, path, message);
}

absl::Status Fill(const WeightDecayChoice&, const FieldDescriptor& field,
                  std::string_view path, Message& message) {
  return FillEnum(field, path, message);
}

// --- Reading what is filled in ---

void Read(const Number& number, const FieldDescriptor& field,
          const Message& message, Optimizer& optimizer) {
  optimizer.*number.member =
      message.GetReflection()->GetDouble(message, &field);
}

void Read(const Flag& flag, const FieldDescriptor& field,
          const Message& message, Optimizer& optimizer) {
  optimizer.*flag.member = message.GetReflection()->GetBool(message, &field);
}

void Read(const ScopeChoice&, const FieldDescriptor& field,
          const Message& message, Optimizer& optimizer) {
  optimizer.all_rows =
      message.GetReflection()->GetEnumValue(message, &field) == v1::SCOPE_ALL;
}

void Read(const WeightDecayChoice&, const FieldDescriptor& field,
          const Message& message, Optimizer& optimizer) {
  switch (message.GetReflection()->GetEnumValue(message, &field)) {
    case v1::RowwiseAdagrad::WEIGHT_DECAY_MODE_L2:
      optimizer.weight_decay_mode = WeightDecayMode::kL2;
      return;
    case v1::RowwiseAdagrad::WEIGHT_DECAY_MODE_DECOUPLE:
      optimizer.weight_decay_mode = WeightDecayMode::kDecouple;
      return;
    default:
      optimizer.weight_decay_mode = WeightDecayMode::kNone;
  }
}

// Calls f(hyperparameter, its field) for each that the entry has.
template <typename F>
void ForEach(const Entry& entry, const FieldDescriptor& kind, F f) {
  for (const Hyperparameter& parameter : entry.hyperparameters) {
    const FieldDescriptor* field =
        kind.message_type()->FindFieldByName(std::string(NameOf(parameter)));
    QUIRE_CHECK(field != nullptr, "kEntries names fields of the message");
    std::visit([&](const auto& which) { f(which, *field); }, parameter);
  }
}

}  // namespace

absl::Status FillOptimizer(v1::Optimizer& optimizer, std::string_view path) {
  if (optimizer.kind_case() == v1::Optimizer::KIND_NOT_SET) {
    optimizer.mutable_sgd();
  }
  const Entry& entry = EntryOf(optimizer);
  if (!optimizer.has_learning_rate()) {
    optimizer.set_learning_rate(entry.learning_rate);
  }
  QUIRE_RETURN_IF_ERROR(CheckNumber(optimizer.learning_rate(),
                                    entry.learning_rate_range,
                                    fmt::format("{}.learning_rate", path)));
  const FieldDescriptor& kind = KindOf(optimizer);
  Message& message =
      *optimizer.GetReflection()->MutableMessage(&optimizer, &kind);
  const std::string place = fmt::format("{}.{}", path, kind.name());
  absl::Status status;
  ForEach(entry, kind, [&](const auto& parameter, const auto& field) {
    status.Update(Fill(parameter, field,
                       fmt::format("{}.{}", place, field.name()), message));
  });
  QUIRE_RETURN_IF_ERROR(status);
  return entry.rule == nullptr ? absl::OkStatus()
                               : entry.rule(MakeOptimizer(optimizer), place);
}

Optimizer MakeOptimizer(const v1::Optimizer& message) {
  const Entry& entry = EntryOf(message);
  const FieldDescriptor& kind = KindOf(message);
  const Message& parameters =
      message.GetReflection()->GetMessage(message, &kind);
  Optimizer optimizer = {.kind = entry.kind};
  ForEach(entry, kind, [&](const auto& parameter, const auto& field) {
    Read(parameter, field, parameters, optimizer);
  });
  const bool moves_all = optimizer.kind != OptimizerKind::kSgd ||
                         optimizer.momentum != 0 || optimizer.weight_decay != 0;
  optimizer.all_rows = optimizer.all_rows && moves_all;
  return optimizer;
}

ScopeSpec ScopeOf(const v1::Optimizer& message) {
  const FieldDescriptor& kind = KindOf(message);
  const FieldDescriptor* field =
      kind.message_type()->FindFieldByName(std::string(ScopeChoice{}.field));
  if (field == nullptr) {
    return {};
  }
  const Message& parameters =
      message.GetReflection()->GetMessage(message, &kind);
  return {.scope = static_cast<v1::Scope>(
              parameters.GetReflection()->GetEnumValue(parameters, field)),
          .field = fmt::format("{}.{}", kind.name(), field->name())};
}

}  // namespace quire
