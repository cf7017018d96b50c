// Random messages of the data plane.

#pragma once

#include <string>

#include "quire/v1/embedding.pb.h"
#include "tests/wire/random.h"

namespace quire::wire::testing {

// What may be wrong with a random message.
enum class Legality {
  kLegal,     // nothing: every request that we build is taken
  kAnything,  // shapes, values and fields that are refused, now and then
};

// Up to four tables of up to 40 ids; ranks 0 .. 9, empty arrays, empty tables,
// long names, absent and explicit shapes.
void Fill(Random& random, Legality legality, v1::LookupRequest& message);
void Fill(Random& random, Legality legality, v1::ApplyGradientRequest& message);
void Fill(Random& random, Legality legality, v1::LookupResponse& message);
void Fill(Random& random, Legality legality, v1::LookupStreamRequest& message);
void Fill(Random& random, Legality legality,
          v1::ApplyGradientStreamRequest& message);

template <typename Message>
Message RandomMessage(Random& random, Legality legality) {
  Message message;
  Fill(random, legality, message);
  return message;
}

// The bytes that a serialiser sends, the same for the same message.
std::string Serialise(const google::protobuf::MessageLite& message);

}  // namespace quire::wire::testing
