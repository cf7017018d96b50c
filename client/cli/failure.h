// How a failure ends: what is printed, and the program's status.
//
//   0    it went well
//   1    the server said no
//   2    usage or input: what was typed, or a file
//   3    no connection, or no answer in time
//   130  interrupted
//
// and of a data directory, as quire-server has it:
//
//   65   it is damaged
//   74   the disk failed, or is full
//   75   a server has it
//   78   it is none, or of a later version

#pragma once

#include <string>

#include "absl/status/status.h"

namespace quire::cli {

// What a verb returns that was stopped by a signal.
absl::Status InterruptedError();

// An error of a data directory that the verb has opened by itself.
absl::Status DataError(absl::Status status);

int ExitCodeOf(const absl::Status& status);

// The sentence of an error and, on lines of their own, the field at fault and
// what to do next, where known. Ends with \n.
std::string FailureText(const absl::Status& status);

}  // namespace quire::cli
