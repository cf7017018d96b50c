// What C gives, as the client takes it: spans, options, messages of JSON.

#pragma once

#include <google/protobuf/message.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/c/error.h"
#include "client/client.h"
#include "client/client_c.h"

namespace quire::c {

// The end of a call that starts now; nullopt for QUIRE_DEFAULT_TIMEOUT.
std::optional<absl::Time> DeadlineIn(int64_t timeout_ms);

// `count` elements. INVALID_ARGUMENT if it is below 0, or they are at NULL.
template <typename T>
absl::StatusOr<std::span<T>> SpanOf(T* data, int64_t count,
                                    std::string_view name) {
  if (count < 0) {
    return BadArgument(name, "a count is below 0");
  }
  if (count > 0) {
    QUIRE_RETURN_IF_ERROR(CheckThere(data, name));
  }
  return std::span<T>(data, static_cast<size_t>(count));
}

// What is left out by a caller of an earlier version, or altogether, is zeros.
// INVALID_ARGUMENT if struct_size is less than its own field.
template <typename Options>
absl::StatusOr<Options> OptionsOf(const Options* given) {
  Options options = {};
  if (given != nullptr) {
    if (given->struct_size < sizeof(given->struct_size)) {
      return BadArgument("options.struct_size",
                         "struct_size is too small: set it to the struct's "
                         "size");
    }
    std::memcpy(&options, given, std::min(given->struct_size, sizeof(Options)));
  }
  return options;
}

// Views of what the items point to.
//   options  arrays of [item_count], or NULL
absl::StatusOr<std::vector<LookupItem>> LookupItems(
    const quire_lookup_item* items, int64_t item_count,
    const quire_lookup_options& options);
absl::StatusOr<std::vector<GradientItem>> GradientItems(
    const quire_gradient_item* items, int64_t item_count,
    const quire_push_options& options);

// Copies; `count` of them are needed.
absl::StatusOr<Labels> LabelsOf(const quire_labels* labels, int64_t count);

// Reads JSON; INVALID_ARGUMENT, naming what is no field of the message.
absl::Status ReadJson(const char* json, std::string_view name,
                      google::protobuf::Message& message);

}  // namespace quire::c
