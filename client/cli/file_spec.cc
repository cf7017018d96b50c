#include "client/cli/file_spec.h"

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <charconv>

#include "client/formats/input_error.h"

namespace quire::cli {
namespace {

constexpr const char* kSpecKey = "quire.spec";
constexpr const char* kStepKey = "quire.step";

}  // namespace

Metadata MetadataOf(const v1::Table& table) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  Metadata metadata = {{kStepKey, std::to_string(table.step())}};
  const auto status = google::protobuf::util::MessageToJsonString(
      table.spec(), &metadata[kSpecKey], options);
  if (!status.ok()) {
    metadata.erase(kSpecKey);
  }
  return metadata;
}

absl::StatusOr<v1::TableSpec> TrainingSpecOf(const Metadata& metadata,
                                             std::string_view file) {
  v1::TableSpec spec;
  const auto found = metadata.find(kSpecKey);
  if (found == metadata.end()) {
    return spec;
  }
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  v1::TableSpec whole;
  if (!google::protobuf::util::JsonStringToMessage(found->second, &whole,
                                                   options)
           .ok()) {
    return formats::InputError(fmt::format(
        "'{}' has a damaged {} in its metadata: a TableSpec as JSON is needed",
        file, kSpecKey));
  }
  *spec.mutable_optimizer() = whole.optimizer();
  if (whole.has_padding_idx()) {
    spec.set_padding_idx(whole.padding_idx());
  }
  if (whole.has_max_norm()) {
    spec.set_max_norm(whole.max_norm());
  }
  if (whole.has_norm_type()) {
    spec.set_norm_type(whole.norm_type());
  }
  spec.set_scale_grad_by_freq(whole.scale_grad_by_freq());
  spec.set_non_finite_policy(whole.non_finite_policy());
  if (whole.has_clip()) {
    *spec.mutable_clip() = whole.clip();
  }
  return spec;
}

absl::StatusOr<std::optional<int64_t>> StepOf(const Metadata& metadata,
                                              std::string_view file) {
  const auto found = metadata.find(kStepKey);
  if (found == metadata.end()) {
    return std::nullopt;
  }
  const std::string& text = found->second;
  const char* const last = text.data() + text.size();
  int64_t step = 0;
  const auto [end, error] = std::from_chars(text.data(), last, step);
  if (error != std::errc() || end != last || step < 0) {
    return formats::InputError(fmt::format(
        "'{}' has a damaged {} in its metadata: a number is needed, 0 or more",
        file, kStepKey));
  }
  return step;
}

}  // namespace quire::cli
