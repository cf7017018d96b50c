// Other encodings of a message, and bytes that are none.

#pragma once

#include <google/protobuf/descriptor.h>

#include <string>
#include <string_view>

#include "tests/wire/random.h"

namespace quire::wire::testing {

// Encodes `bytes`, a message as a serialiser wrote it, in another way that
// protobuf reads: fields in another order, repeated, of unknown numbers or of
// the wrong type; submessages and arrays in several parts; arrays unpacked, or
// with something appended; numbers longer than they need be. What it says may
// change (a field that is repeated has its last value), or be nothing any more:
// that is for the generated code to tell. Now and then nothing is changed.
std::string Reencode(std::string_view bytes,
                     const google::protobuf::Descriptor& message,
                     Random& random);

// Cuts, flips, inserts or removes something, without regard to what it is.
std::string Damage(std::string bytes, Random& random);

}  // namespace quire::wire::testing
