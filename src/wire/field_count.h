// What a message would cost as a generated object, before it becomes one.
//
// An empty submessage or an unknown field is two bytes on the wire and a
// hundred in memory: a message of a few MiB could fill the machine. So fields
// are counted, and bounded, while they are still bytes.

#pragma once

#include <span>

#include "absl/status/status.h"
#include "base/byte_range.h"

namespace google::protobuf {
class Descriptor;
}

namespace quire::wire {

// INVALID_ARGUMENT (TOO_LARGE) if the message has more than
// kFieldsPerMessageMax fields at all depths, elements of arrays included, or
// more than kTablesPerRequestMax entries of `tables`. Elements of fixed size
// (ids, floats) are free: they weigh in memory what they weigh on the wire.
// Offsets of bags have a bound of their own: kIdsPerRequestMax.
//
// OK says nothing else about the message: bytes that the generated code will
// refuse are counted up to where it stops.
//   message  of a type that does not contain itself
absl::Status CheckFieldCount(std::span<const Bytes> pieces,
                             const google::protobuf::Descriptor& message);

}  // namespace quire::wire
