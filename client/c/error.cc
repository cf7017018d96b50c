#include "client/c/error.h"

#include <fmt/format.h>

#include <memory>
#include <optional>

namespace quire::c {
namespace {

// Made when the library is loaded: later there might be no memory for it.
quire_error& out_of_memory = *new quire_error{
    .code = static_cast<int32_t>(absl::StatusCode::kResourceExhausted),
    .code_name = "RESOURCE_EXHAUSTED",
    .reason = "",
    .field = "",
    .message = "this process is out of memory",
    .retry_after_ms = -1};

}  // namespace

quire_error* ToC(const absl::Status& status) {
  if (status.ok()) {
    return nullptr;
  }
  const std::optional<Reason> reason = ReasonOf(status);
  return std::make_unique<quire_error>(
             quire_error{
                 .code = static_cast<int32_t>(status.code()),
                 .code_name = absl::StatusCodeToString(status.code()),
                 .reason = std::string(reason ? ReasonName(*reason) : ""),
                 .field = FieldOf(status),
                 .message = std::string(status.message()),
                 .retry_after_ms = RetryAfterMsOf(status).value_or(-1)})
      .release();
}

quire_error* OutOfMemory() { return &out_of_memory; }

quire_error* Thrown(std::string_view what) {
  return ToC(Error(Reason::kBug, fmt::format("the client library: {}", what)));
}

absl::Status BadArgument(std::string_view name, std::string_view sentence) {
  return Error(Reason::kBadValue, sentence, name);
}

absl::Status CheckThere(const void* pointer, std::string_view name) {
  return pointer != nullptr
             ? absl::OkStatus()
             : BadArgument(name, fmt::format("{} is NULL", name));
}

}  // namespace quire::c

using quire::c::OutOfMemory;

int32_t quire_error_code(const quire_error* error) { return error->code; }

const char* quire_error_code_name(const quire_error* error) {
  return error->code_name.c_str();
}

const char* quire_error_reason(const quire_error* error) {
  return error->reason.c_str();
}

const char* quire_error_field(const quire_error* error) {
  return error->field.c_str();
}

const char* quire_error_message(const quire_error* error) {
  return error->message.c_str();
}

int64_t quire_error_retry_after_ms(const quire_error* error) {
  return error->retry_after_ms;
}

void quire_error_free(quire_error* error) {
  if (error != OutOfMemory()) {
    delete error;
  }
}
