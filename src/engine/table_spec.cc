#include "engine/table_spec.h"

#include <fmt/format.h>
#include <google/protobuf/text_format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/status.h"

namespace quire {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using v1::TableSpec;

// --- Refusals ---

absl::Status NotBuilt(std::string_view field, std::string_view what) {
  return Error(
      Reason::kNotBuilt,
      fmt::format("{} is not built yet ({}); leave it out", field, what),
      field);
}

// A number that a field must have unless it is absent, because nothing else is
// built.
template <typename T>
absl::Status OnlyDefault(bool present, T value, T only,
                         std::string_view field) {
  if (!present || value == only) {
    return absl::OkStatus();
  }
  return NotBuilt(field, fmt::format("found {}, only {} works", value, only));
}

absl::Status InRange(int64_t value, int64_t low, int64_t high,
                     std::string_view field) {
  if (value >= low && value <= high) {
    return absl::OkStatus();
  }
  return Error(
      Reason::kBadValue,
      fmt::format("{} is {}; it must be in [{}, {}]", field, value, low, high),
      field);
}

absl::Status FiniteAtLeastZero(double value, std::string_view field) {
  if (std::isfinite(value) && value >= 0) {
    return absl::OkStatus();
  }
  return Error(
      Reason::kBadValue,
      fmt::format("{} is {}; it must be finite and 0 or more", field, value),
      field);
}

absl::Status Finite(double value, std::string_view field) {
  if (std::isfinite(value)) {
    return absl::OkStatus();
  }
  return Error(Reason::kBadValue,
               fmt::format("{} is {}; it must be finite", field, value), field);
}

// A field of a later version, which must not be ignored: RULINGS 19.
absl::Status CheckNoUnknownFields(const Message& message,
                                  const std::string& path) {
  const auto& unknown = message.GetReflection()->GetUnknownFields(message);
  if (!unknown.empty()) {
    return Error(Reason::kNotBuilt,
                 fmt::format("{} has a field with number {}, which this "
                             "version does not know",
                             path, unknown.field(0).number()),
                 path);
  }
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      QUIRE_RETURN_IF_ERROR(CheckNoUnknownFields(
          message.GetReflection()->GetMessage(message, field),
          path + "." + field->name()));
    }
  }
  return absl::OkStatus();
}

// --- The parts of a specification: each fills in what is absent ---

absl::Status NormalizeKind(TableSpec& spec) {
  if (spec.kind() == v1::TABLE_KIND_UNSPECIFIED) {
    spec.set_kind(v1::TABLE_KIND_DENSE);
  }
  if (spec.kind() != v1::TABLE_KIND_DENSE) {
    return NotBuilt("spec.kind", "only DENSE works");
  }
  if (spec.storage_dtype() == v1::ELEMENT_TYPE_UNSPECIFIED) {
    spec.set_storage_dtype(v1::ELEMENT_TYPE_FLOAT32);
  }
  if (spec.storage_dtype() != v1::ELEMENT_TYPE_FLOAT32) {
    return NotBuilt("spec.storage_dtype", "only FLOAT32 works");
  }
  return absl::OkStatus();
}

absl::Status NormalizeSizes(TableSpec& spec) {
  QUIRE_RETURN_IF_ERROR(InRange(spec.num_embeddings(), 0, kNumEmbeddingsMax,
                                "spec.num_embeddings"));
  QUIRE_RETURN_IF_ERROR(
      InRange(spec.embedding_dim(), 1, kDimMax, "spec.embedding_dim"));
  if (spec.shard_count() == 0) {
    spec.set_shard_count(kShardCountDefault);
  }
  QUIRE_RETURN_IF_ERROR(
      InRange(spec.shard_count(), 1, kShardCountMax, "spec.shard_count"));
  if (!std::has_single_bit(static_cast<uint32_t>(spec.shard_count()))) {
    return Error(Reason::kBadValue,
                 fmt::format("spec.shard_count is {}; it must be a power of "
                             "two",
                             spec.shard_count()),
                 "spec.shard_count");
  }
  return absl::OkStatus();
}

absl::Status NormalizeInitializer(TableSpec& spec) {
  if (!spec.has_seed()) {
    spec.set_seed(XXH3_64bits(spec.name().data(), spec.name().size()));
  }
  v1::Initializer& initializer = *spec.mutable_initializer();
  switch (initializer.kind_case()) {
    case v1::Initializer::kZeros:
      return absl::OkStatus();
    case v1::Initializer::kConstant:
      return Finite(initializer.constant().value(),
                    "spec.initializer.constant.value");
    case v1::Initializer::kUniform: {
      const auto& uniform = initializer.uniform();
      QUIRE_RETURN_IF_ERROR(
          Finite(uniform.low(), "spec.initializer.uniform.low"));
      QUIRE_RETURN_IF_ERROR(
          Finite(uniform.high(), "spec.initializer.uniform.high"));
      // Their distance is what the values are scaled by.
      QUIRE_RETURN_IF_ERROR(
          Finite(uniform.high() - uniform.low(), "spec.initializer.uniform"));
      if (uniform.low() > uniform.high()) {
        return Error(Reason::kBadValue,
                     fmt::format("spec.initializer.uniform is from {} to {}; "
                                 "low must not exceed high",
                                 uniform.low(), uniform.high()),
                     "spec.initializer.uniform.low");
      }
      return absl::OkStatus();
    }
    case v1::Initializer::KIND_NOT_SET:
    case v1::Initializer::kNormal: {
      auto& normal = *initializer.mutable_normal();
      if (!normal.has_stddev()) {
        normal.set_stddev(1.0f);
      }
      QUIRE_RETURN_IF_ERROR(
          Finite(normal.mean(), "spec.initializer.normal.mean"));
      return FiniteAtLeastZero(normal.stddev(),
                               "spec.initializer.normal.stddev");
    }
  }
  return absl::OkStatus();
}

absl::Status NormalizeSgd(v1::Sgd& sgd) {
  QUIRE_RETURN_IF_ERROR(OnlyDefault(sgd.has_momentum(), sgd.momentum(), 0.0,
                                    "spec.optimizer.sgd.momentum"));
  QUIRE_RETURN_IF_ERROR(OnlyDefault(sgd.has_dampening(), sgd.dampening(), 0.0,
                                    "spec.optimizer.sgd.dampening"));
  QUIRE_RETURN_IF_ERROR(OnlyDefault(sgd.has_nesterov(), sgd.nesterov(), false,
                                    "spec.optimizer.sgd.nesterov"));
  QUIRE_RETURN_IF_ERROR(OnlyDefault(sgd.has_weight_decay(), sgd.weight_decay(),
                                    0.0, "spec.optimizer.sgd.weight_decay"));
  QUIRE_RETURN_IF_ERROR(OnlyDefault(sgd.has_maximize(), sgd.maximize(), false,
                                    "spec.optimizer.sgd.maximize"));
  if (sgd.scope() != v1::SCOPE_UNSPECIFIED &&
      sgd.scope() != v1::SCOPE_TOUCHED) {
    return NotBuilt("spec.optimizer.sgd.scope", "only TOUCHED works");
  }
  sgd.Clear();
  return absl::OkStatus();
}

absl::Status NormalizeAdagrad(v1::Adagrad& adagrad) {
  QUIRE_RETURN_IF_ERROR(OnlyDefault(adagrad.has_weight_decay(),
                                    adagrad.weight_decay(), 0.0,
                                    "spec.optimizer.adagrad.weight_decay"));
  QUIRE_RETURN_IF_ERROR(OnlyDefault(adagrad.has_maximize(), adagrad.maximize(),
                                    false, "spec.optimizer.adagrad.maximize"));
  adagrad.clear_weight_decay();
  adagrad.clear_maximize();
  adagrad.set_lr_decay(adagrad.lr_decay());
  adagrad.set_initial_accumulator_value(adagrad.initial_accumulator_value());
  if (!adagrad.has_eps()) {
    adagrad.set_eps(1e-10);
  }
  QUIRE_RETURN_IF_ERROR(
      FiniteAtLeastZero(adagrad.lr_decay(), "spec.optimizer.adagrad.lr_decay"));
  QUIRE_RETURN_IF_ERROR(
      FiniteAtLeastZero(adagrad.initial_accumulator_value(),
                        "spec.optimizer.adagrad.initial_accumulator_value"));
  return FiniteAtLeastZero(adagrad.eps(), "spec.optimizer.adagrad.eps");
}

absl::Status NormalizeRowwiseAdagrad(v1::RowwiseAdagrad& adagrad) {
  QUIRE_RETURN_IF_ERROR(
      OnlyDefault(adagrad.has_weight_decay(), adagrad.weight_decay(), 0.0,
                  "spec.optimizer.rowwise_adagrad.weight_decay"));
  if (adagrad.weight_decay_mode() !=
          v1::RowwiseAdagrad::WEIGHT_DECAY_MODE_UNSPECIFIED &&
      adagrad.weight_decay_mode() !=
          v1::RowwiseAdagrad::WEIGHT_DECAY_MODE_NONE) {
    return NotBuilt("spec.optimizer.rowwise_adagrad.weight_decay_mode",
                    "only NONE works");
  }
  adagrad.clear_weight_decay();
  adagrad.set_weight_decay_mode(v1::RowwiseAdagrad::WEIGHT_DECAY_MODE_NONE);
  adagrad.set_initial_accumulator_value(adagrad.initial_accumulator_value());
  if (!adagrad.has_eps()) {
    adagrad.set_eps(1e-8);
  }
  QUIRE_RETURN_IF_ERROR(FiniteAtLeastZero(
      adagrad.initial_accumulator_value(),
      "spec.optimizer.rowwise_adagrad.initial_accumulator_value"));
  return FiniteAtLeastZero(adagrad.eps(), "spec.optimizer.rowwise_adagrad.eps");
}

absl::Status NormalizeOptimizer(TableSpec& spec) {
  v1::Optimizer& optimizer = *spec.mutable_optimizer();
  if (!optimizer.has_learning_rate()) {
    optimizer.set_learning_rate(0.01);
  }
  QUIRE_RETURN_IF_ERROR(CheckLearningRate(optimizer.learning_rate(),
                                          "spec.optimizer.learning_rate"));
  switch (optimizer.kind_case()) {
    case v1::Optimizer::KIND_NOT_SET:
    case v1::Optimizer::kSgd:
      return NormalizeSgd(*optimizer.mutable_sgd());
    case v1::Optimizer::kAdagrad:
      return NormalizeAdagrad(*optimizer.mutable_adagrad());
    case v1::Optimizer::kRowwiseAdagrad:
      return NormalizeRowwiseAdagrad(*optimizer.mutable_rowwise_adagrad());
    default: {
      const FieldDescriptor* kind =
          optimizer.GetDescriptor()->FindFieldByNumber(
              static_cast<int>(optimizer.kind_case()));
      return NotBuilt("spec.optimizer." + kind->name(),
                      "sgd, adagrad and rowwise_adagrad work");
    }
  }
}

absl::Status NormalizeDurability(TableSpec& spec) {
  if (spec.persistence() == v1::PERSISTENCE_UNSPECIFIED) {
    spec.set_persistence(v1::PERSISTENCE_MEMORY);
  }
  if (spec.persistence() != v1::PERSISTENCE_MEMORY) {
    return NotBuilt("spec.persistence", "only MEMORY works");
  }
  if (spec.default_durability() == v1::DURABILITY_UNSPECIFIED) {
    spec.set_default_durability(v1::DURABILITY_MEMORY);
  }
  if (spec.default_durability() != v1::DURABILITY_MEMORY) {
    return NotBuilt("spec.default_durability",
                    "a MEMORY table has no other than MEMORY");
  }
  return absl::OkStatus();
}

absl::Status CheckRulesNotBuilt(TableSpec& spec) {
  if (spec.has_padding_idx()) {
    return NotBuilt("spec.padding_idx", "torch's padding row");
  }
  if (spec.has_max_norm()) {
    return NotBuilt("spec.max_norm", "torch's renormalisation");
  }
  QUIRE_RETURN_IF_ERROR(OnlyDefault(spec.has_norm_type(), spec.norm_type(), 2.0,
                                    "spec.norm_type"));
  spec.clear_norm_type();
  if (spec.scale_grad_by_freq()) {
    return NotBuilt("spec.scale_grad_by_freq", "torch's division by frequency");
  }
  if (spec.has_clip()) {
    return NotBuilt("spec.clip", "gradient clipping");
  }
  if (spec.non_finite_policy() == v1::NON_FINITE_POLICY_UNSPECIFIED) {
    spec.set_non_finite_policy(v1::NON_FINITE_POLICY_REJECT);
  }
  if (spec.non_finite_policy() != v1::NON_FINITE_POLICY_REJECT) {
    return NotBuilt("spec.non_finite_policy", "only REJECT works");
  }
  return absl::OkStatus();
}

std::string ValueOf(const Message& message, const FieldDescriptor* field) {
  if (!field->is_repeated() && field->has_presence() &&
      !message.GetReflection()->HasField(message, field)) {
    return "absent";
  }
  std::string text;
  google::protobuf::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  printer.PrintFieldValueToString(message, field, -1, &text);
  return text;
}

// The first difference, outermost names first.
absl::Status CheckSameMessage(const Message& existing, const Message& wanted,
                              const std::string& path) {
  const auto* descriptor = existing.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    const std::string name = path + "." + field->name();
    const bool both_messages =
        field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
        existing.GetReflection()->HasField(existing, field) &&
        wanted.GetReflection()->HasField(wanted, field);
    if (both_messages) {
      QUIRE_RETURN_IF_ERROR(CheckSameMessage(
          existing.GetReflection()->GetMessage(existing, field),
          wanted.GetReflection()->GetMessage(wanted, field), name));
      continue;
    }
    const std::string has = ValueOf(existing, field);
    const std::string wants = ValueOf(wanted, field);
    if (has != wants) {
      return Error(Reason::kTableDiffers,
                   fmt::format("the table exists with another {}: it has {}, "
                               "the request wants {}",
                               name, has, wants),
                   name);
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool IsTableName(std::string_view name) {
  const auto is_alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9');
  };
  return !name.empty() && name.size() <= kTableNameBytesMax &&
         is_alphanumeric(name.front()) &&
         std::ranges::all_of(name, [&](char c) {
           return is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
         });
}

absl::Status CheckTableName(std::string_view name) {
  if (IsTableName(name)) {
    return absl::OkStatus();
  }
  // What came may be anything: it is shown escaped, and not whole.
  return Error(Reason::kBadName,
               fmt::format("a table name of {} bytes, {:?}, is not "
                           "[A-Za-z0-9][A-Za-z0-9._-]{{0,127}}",
                           name.size(), name.substr(0, 40)),
               "name");
}

absl::Status CheckLearningRate(double learning_rate, std::string_view field) {
  return FiniteAtLeastZero(learning_rate, field);
}

absl::StatusOr<TableSpec> Normalize(const TableSpec& spec) {
  TableSpec full = spec;
  QUIRE_RETURN_IF_ERROR(CheckNoUnknownFields(full, "spec"));
  QUIRE_RETURN_IF_ERROR(WithFieldPrefix(CheckTableName(full.name()), "spec."));
  QUIRE_RETURN_IF_ERROR(NormalizeKind(full));
  QUIRE_RETURN_IF_ERROR(NormalizeSizes(full));
  QUIRE_RETURN_IF_ERROR(NormalizeInitializer(full));
  QUIRE_RETURN_IF_ERROR(NormalizeOptimizer(full));
  QUIRE_RETURN_IF_ERROR(NormalizeDurability(full));
  QUIRE_RETURN_IF_ERROR(CheckRulesNotBuilt(full));
  return full;
}

TableConfig ConfigOf(const TableSpec& spec) {
  TableConfig config = {.num_embeddings = spec.num_embeddings(),
                        .dim = spec.embedding_dim(),
                        .shard_count = spec.shard_count()};

  const v1::Initializer& initializer = spec.initializer();
  config.initializer.seed = spec.seed();
  if (initializer.has_uniform()) {
    config.initializer.kind = InitializerKind::kUniform;
    config.initializer.a = initializer.uniform().low();
    config.initializer.b = initializer.uniform().high();
  } else if (initializer.has_normal()) {
    config.initializer.kind = InitializerKind::kNormal;
    config.initializer.a = initializer.normal().mean();
    config.initializer.b = initializer.normal().stddev();
  } else {
    config.initializer.kind = InitializerKind::kConstant;
    config.initializer.a = initializer.constant().value();
  }

  const v1::Optimizer& optimizer = spec.optimizer();
  if (optimizer.has_adagrad()) {
    config.optimizer = {.kind = OptimizerKind::kAdagrad,
                        .lr_decay = optimizer.adagrad().lr_decay(),
                        .initial_accumulator_value =
                            optimizer.adagrad().initial_accumulator_value(),
                        .eps = optimizer.adagrad().eps()};
  } else if (optimizer.has_rowwise_adagrad()) {
    const auto& rowwise = optimizer.rowwise_adagrad();
    config.optimizer = {
        .kind = OptimizerKind::kRowwiseAdagrad,
        .initial_accumulator_value = rowwise.initial_accumulator_value(),
        .eps = rowwise.eps()};
  }
  return config;
}

absl::Status CheckSame(const TableSpec& existing, const TableSpec& wanted) {
  return CheckSameMessage(existing, wanted, "spec");
}

}  // namespace quire
