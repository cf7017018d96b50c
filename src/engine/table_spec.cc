#include "engine/table_spec.h"

#include <fmt/format.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/status.h"
#include "base/xxh3.h"
#include "engine/number_range.h"
#include "engine/optimizer_spec.h"

namespace quire {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using v1::TableSpec;

// A bound of 0 would drop every gradient: a table that wants none is frozen.
constexpr NumberRange kClipBound = {
    .low = 0,
    .has_low = false,
    .text = "finite and more than 0 (to take no gradients, freeze the table)"};

// --- Refusals ---

absl::Status NotBuilt(std::string_view field, std::string_view what) {
  return Error(
      Reason::kNotBuilt,
      fmt::format("{} is not built yet ({}); leave it out", field, what),
      field);
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
      return CheckNumber(initializer.constant().value(), kAnyFinite,
                         "spec.initializer.constant.value");
    case v1::Initializer::kUniform: {
      const auto& uniform = initializer.uniform();
      QUIRE_RETURN_IF_ERROR(CheckNumber(uniform.low(), kAnyFinite,
                                        "spec.initializer.uniform.low"));
      QUIRE_RETURN_IF_ERROR(CheckNumber(uniform.high(), kAnyFinite,
                                        "spec.initializer.uniform.high"));
      // Their distance is what the values are scaled by.
      QUIRE_RETURN_IF_ERROR(CheckNumber(uniform.high() - uniform.low(),
                                        kAnyFinite,
                                        "spec.initializer.uniform"));
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
      QUIRE_RETURN_IF_ERROR(CheckNumber(normal.mean(), kAnyFinite,
                                        "spec.initializer.normal.mean"));
      return CheckNumber(normal.stddev(), kAtLeastZero,
                         "spec.initializer.normal.stddev");
    }
  }
  return absl::OkStatus();
}

absl::Status NormalizeDurability(TableSpec& spec, bool has_log) {
  if (spec.persistence() == v1::PERSISTENCE_UNSPECIFIED) {
    spec.set_persistence(has_log ? v1::PERSISTENCE_LOGGED
                                 : v1::PERSISTENCE_MEMORY);
  }
  if (!v1::Persistence_IsValid(spec.persistence())) {
    return Error(Reason::kBadValue,
                 fmt::format("spec.persistence is {}, which this version does "
                             "not know",
                             static_cast<int>(spec.persistence())),
                 "spec.persistence");
  }
  const bool is_logged = spec.persistence() == v1::PERSISTENCE_LOGGED;
  if (is_logged && !has_log) {
    return Error(Reason::kUnsupportedDurability,
                 "spec.persistence is LOGGED, and this server has no data "
                 "directory; start it with --data-dir, or make a MEMORY table",
                 "spec.persistence");
  }
  if (spec.default_durability() == v1::DURABILITY_UNSPECIFIED) {
    spec.set_default_durability(is_logged ? v1::DURABILITY_WRITTEN
                                          : v1::DURABILITY_MEMORY);
  }
  return CheckDefaultDurability(spec.default_durability(), spec.persistence(),
                                "spec.default_durability");
}

// torch.nn.Embedding: from -num_embeddings; a negative one counts from the end.
absl::Status NormalizePadding(TableSpec& spec) {
  if (!spec.has_padding_idx()) {
    return absl::OkStatus();
  }
  const int64_t row_count = spec.num_embeddings();
  const int64_t padding_idx = spec.padding_idx();
  if (padding_idx < -row_count || padding_idx >= row_count) {
    return Error(
        Reason::kBadValue,
        row_count == 0
            ? fmt::format("spec.padding_idx is {}; a table of 0 rows "
                          "has no padding row",
                          padding_idx)
            : fmt::format("spec.padding_idx is {}; it must be within "
                          "the {} rows, {} through {}",
                          padding_idx, row_count, -row_count, row_count - 1),
        "spec.padding_idx");
  }
  spec.set_padding_idx(padding_idx < 0 ? padding_idx + row_count : padding_idx);
  return absl::OkStatus();
}

// torch checks neither; a negative max_norm flips the signs of rows there.
absl::Status NormalizeNorm(TableSpec& spec) {
  if (spec.has_max_norm()) {
    QUIRE_RETURN_IF_ERROR(
        CheckNumber(spec.max_norm(), kAtLeastZero, "spec.max_norm"));
    if (!spec.has_norm_type()) {
      spec.set_norm_type(2.0);
    }
  }
  if (std::isnan(spec.norm_type())) {
    return Error(Reason::kBadValue,
                 "spec.norm_type is nan; it must be a number or an infinity",
                 "spec.norm_type");
  }
  return absl::OkStatus();
}

absl::Status NormalizeClip(TableSpec& spec) {
  const v1::GradientClip& clip = spec.clip();
  switch (clip.kind_case()) {
    case v1::GradientClip::KIND_NOT_SET:
      spec.clear_clip();
      return absl::OkStatus();
    case v1::GradientClip::kValue:
      return CheckNumber(clip.value(), kClipBound, "spec.clip.value");
    case v1::GradientClip::kRowNorm:
      return CheckNumber(clip.row_norm(), kClipBound, "spec.clip.row_norm");
    case v1::GradientClip::kPushNorm:
      return CheckNumber(clip.push_norm(), kClipBound, "spec.clip.push_norm");
  }
  return absl::OkStatus();
}

absl::Status NormalizeNonFinitePolicy(TableSpec& spec) {
  if (spec.non_finite_policy() == v1::NON_FINITE_POLICY_UNSPECIFIED) {
    spec.set_non_finite_policy(v1::NON_FINITE_POLICY_REJECT);
  }
  if (!v1::NonFinitePolicy_IsValid(spec.non_finite_policy())) {
    return Error(Reason::kBadValue,
                 fmt::format("spec.non_finite_policy is {}, which is no "
                             "NonFinitePolicy",
                             static_cast<int>(spec.non_finite_policy())),
                 "spec.non_finite_policy");
  }
  return absl::OkStatus();
}

// RULINGS 1 and 4: what a step of every row can be.
absl::Status CheckScope(const TableSpec& spec) {
  const ScopeSpec scope = ScopeOf(spec.optimizer());
  if (scope.scope != v1::SCOPE_ALL) {
    return absl::OkStatus();
  }
  const std::string field = "spec.optimizer." + scope.field;
  if (spec.has_max_norm()) {
    return Error(Reason::kBadValue,
                 fmt::format("{} is ALL and spec.max_norm is {}; a table has "
                             "one of them: take TOUCHED, or no max_norm",
                             field, spec.max_norm()),
                 field);
  }
  const int64_t elements = spec.num_embeddings() * spec.embedding_dim();
  if (!MakeOptimizer(spec.optimizer()).all_rows ||
      elements <= kAllScopeElementsMax) {
    return absl::OkStatus();
  }
  return Error(Reason::kTooLarge,
               fmt::format("{} is ALL, so that each push writes all {} x {} = "
                           "{} elements; it may be {} at most: take TOUCHED, "
                           "or fewer rows",
                           field, spec.num_embeddings(), spec.embedding_dim(),
                           elements, kAllScopeElementsMax),
               field);
}

// --- What a normalized specification makes ---

Initializer InitializerOf(const TableSpec& spec) {
  const v1::Initializer& message = spec.initializer();
  Initializer initializer = {.kind = InitializerKind::kConstant,
                             .a = message.constant().value(),
                             .seed = spec.seed()};
  if (message.has_uniform()) {
    initializer.kind = InitializerKind::kUniform;
    initializer.a = message.uniform().low();
    initializer.b = message.uniform().high();
  } else if (message.has_normal()) {
    initializer.kind = InitializerKind::kNormal;
    initializer.a = message.normal().mean();
    initializer.b = message.normal().stddev();
  }
  return initializer;
}

NonFinitePolicy PolicyOf(v1::NonFinitePolicy policy) {
  switch (policy) {
    case v1::NON_FINITE_POLICY_SKIP_ROW:
      return NonFinitePolicy::kSkipRow;
    case v1::NON_FINITE_POLICY_ALLOW:
      return NonFinitePolicy::kAllow;
    default:
      return NonFinitePolicy::kReject;
  }
}

GradientClip ClipOf(const v1::GradientClip& clip) {
  switch (clip.kind_case()) {
    case v1::GradientClip::kValue:
      return {.kind = GradientClip::Kind::kValue, .bound = clip.value()};
    case v1::GradientClip::kRowNorm:
      return {.kind = GradientClip::Kind::kRowNorm, .bound = clip.row_norm()};
    case v1::GradientClip::kPushNorm:
      return {.kind = GradientClip::Kind::kPushNorm, .bound = clip.push_norm()};
    case v1::GradientClip::KIND_NOT_SET:
      break;
  }
  return {};
}

// --- Comparing ---

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
  return CheckNumber(learning_rate, kAtLeastZero, field);
}

absl::Status CheckDefaultDurability(v1::Durability durability,
                                    v1::Persistence persistence,
                                    std::string_view field) {
  const bool is_logged = persistence == v1::PERSISTENCE_LOGGED;
  if (is_logged ? durability == v1::DURABILITY_WRITTEN ||
                      durability == v1::DURABILITY_SYNCED
                : durability == v1::DURABILITY_MEMORY) {
    return absl::OkStatus();
  }
  return Error(Reason::kUnsupportedDurability,
               fmt::format("{} is {}; a {} table acknowledges {}", field,
                           v1::Durability_IsValid(durability)
                               ? v1::Durability_Name(durability)
                               : fmt::format("{}", int{durability}),
                           is_logged ? "LOGGED" : "MEMORY",
                           is_logged ? "WRITTEN or SYNCED" : "MEMORY"),
               field);
}

absl::StatusOr<TableSpec> Normalize(const TableSpec& spec, bool has_log) {
  TableSpec full = spec;
  QUIRE_RETURN_IF_ERROR(CheckNoUnknownFields(full, "spec"));
  QUIRE_RETURN_IF_ERROR(WithFieldPrefix(CheckTableName(full.name()), "spec."));
  QUIRE_RETURN_IF_ERROR(NormalizeKind(full));
  QUIRE_RETURN_IF_ERROR(NormalizeSizes(full));
  QUIRE_RETURN_IF_ERROR(NormalizeInitializer(full));
  QUIRE_RETURN_IF_ERROR(NormalizePadding(full));
  QUIRE_RETURN_IF_ERROR(NormalizeNorm(full));
  QUIRE_RETURN_IF_ERROR(
      FillOptimizer(*full.mutable_optimizer(), "spec.optimizer"));
  QUIRE_RETURN_IF_ERROR(CheckScope(full));
  QUIRE_RETURN_IF_ERROR(NormalizeNonFinitePolicy(full));
  QUIRE_RETURN_IF_ERROR(NormalizeClip(full));
  QUIRE_RETURN_IF_ERROR(NormalizeDurability(full, has_log));
  return full;
}

TableConfig ConfigOf(const TableSpec& spec) {
  TableConfig config = {.num_embeddings = spec.num_embeddings(),
                        .dim = spec.embedding_dim(),
                        .shard_count = spec.shard_count()};
  config.initializer = InitializerOf(spec);
  config.optimizer = MakeOptimizer(spec.optimizer());
  if (spec.has_padding_idx()) {
    config.padding_idx = spec.padding_idx();
  }
  if (spec.has_max_norm()) {
    config.max_norm = spec.max_norm();
    config.norm_type = spec.norm_type();
  }
  config.scale_grad_by_freq = spec.scale_grad_by_freq();
  config.non_finite_policy = PolicyOf(spec.non_finite_policy());
  config.clip = ClipOf(spec.clip());
  return config;
}

absl::Status CheckSame(const TableSpec& existing, const TableSpec& wanted) {
  return CheckSameMessage(existing, wanted, "spec");
}

}  // namespace quire
