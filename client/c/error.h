// Errors on their way to C: no exception goes further than this.

#pragma once

#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "base/status.h"
#include "client/client_c.h"

// Constant after construction.
struct quire_error {
  int32_t code;
  std::string code_name;
  std::string reason;
  std::string field;
  std::string message;
  int64_t retry_after_ms;
};

namespace quire::c {

// `status` as C has it; NULL if it is OK.
quire_error* ToC(const absl::Status& status);

// The error of a process without memory; never freed.
quire_error* OutOfMemory();

// The error of an exception that some library threw.
quire_error* Thrown(std::string_view what);

// The error of an argument that is NULL or below 0, by its name.
absl::Status BadArgument(std::string_view name, std::string_view sentence);

// OK unless `pointer` is NULL.
absl::Status CheckThere(const void* pointer, std::string_view name);

// Runs the body of a function of the C ABI: what it returns, or what was thrown
// in it, is the error that C sees.
template <typename Body>
quire_error* Guard(Body body) noexcept {
  try {
    try {
      return ToC(body());
    } catch (const std::bad_alloc&) {
      return OutOfMemory();
    } catch (const std::exception& exception) {
      return Thrown(exception.what());
    } catch (...) {
      return Thrown("an exception of an unknown type");
    }
  } catch (...) {
    return OutOfMemory();
  }
}

}  // namespace quire::c
