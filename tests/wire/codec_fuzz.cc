// Fuzzes the reading of hot messages: whatever the short way takes, the
// generated code reads the same (tests/wire/differential.h).
//
//   build/clang/bin/codec_fuzz -max_total_time=60
//
// needs no corpus: the mutator below writes messages by itself. An input is a
// byte that says which message it is and how it is cut, and then its bytes.

#include <google/protobuf/stubs/logging.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "base/status.h"
#include "quire/v1/embedding.pb.h"
#include "tests/wire/differential.h"
#include "tests/wire/messages.h"
#include "tests/wire/mutations.h"
#include "tests/wire/pieces.h"
#include "tests/wire/random.h"
#include "wire/lookup_response.h"
#include "wire/requests.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t size_max);

namespace quire::wire::testing {
namespace {

constexpr auto kPieceSizes = std::to_array<size_t>({1u << 30, 1, 2, 3, 7, 64});

void Expect(bool holds, const std::string& complaint) {
  if (!holds) {
    std::fputs((complaint + "\n").c_str(), stderr);
    std::abort();
  }
}

// What Parse says of a message, without regard to what kind it is.
template <typename Parsed>
absl::Status StatusOf(const absl::StatusOr<Parsed>& parsed) {
  return parsed.status();
}
template <typename Request>
absl::Status StatusOf(const StreamRequest<Request>& parsed) {
  return parsed.request.status();
}

// One kind of message.
struct Kind {
  void (*check)(std::string_view bytes, const Pieces& pieces);
  std::string (*make)(Random& random);
  std::string (*reencode)(std::string_view bytes, Random& random);
};

template <typename Message, typename Parsed>
void Check(std::string_view bytes, const Pieces& pieces) {
  const std::string difference = Difference<Message>(pieces);
  Expect(difference.empty(), difference);
  const absl::Status status = StatusOf(Parsed::Parse(pieces));
  Message message;
  Expect(!status.ok() || message.ParseFromArray(bytes.data(),
                                                static_cast<int>(bytes.size())),
         "taken, but not by the generated code");
}

template <typename Message>
std::string Make(Random& random) {
  return Serialise(RandomMessage<Message>(random, Legality::kAnything));
}

// Another encoding of a message, if it is one; else another message.
template <typename Message>
std::string ReencodeAs(std::string_view bytes, Random& random) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Make<Message>(random);
  }
  message.DiscardUnknownFields();
  return Reencode(Serialise(message), *Message::descriptor(), random);
}

template <typename Message, typename Parsed>
constexpr Kind kKind = {Check<Message, Parsed>, Make<Message>,
                        ReencodeAs<Message>};

constexpr auto kKinds = std::to_array<Kind>(
    {kKind<v1::LookupRequest, LookupRequest>,
     kKind<v1::LookupStreamRequest, LookupStreamRequest>,
     kKind<v1::ApplyGradientRequest, ApplyGradientRequest>,
     kKind<v1::ApplyGradientStreamRequest, ApplyGradientStreamRequest>,
     kKind<v1::LookupResponse, LookupResponse>});

const Kind& KindOf(uint8_t selector) {
  return kKinds[selector % kKinds.size()];
}
size_t PieceSizeOf(uint8_t selector) {
  return kPieceSizes[selector / kKinds.size() % kPieceSizes.size()];
}

std::string_view MessageOf(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data) + 1, size - 1};
}

}  // namespace
}  // namespace quire::wire::testing

using quire::wire::testing::Kind;
using quire::wire::testing::KindOf;
using quire::wire::testing::MessageOf;
using quire::wire::testing::Pieces;
using quire::wire::testing::PieceSizeOf;
using quire::wire::testing::Random;

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  // Protobuf would log each name that is not UTF-8.
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) {
    const std::string_view message = MessageOf(data, size);
    const size_t piece_size = PieceSizeOf(data[0]);
    KindOf(data[0]).check(message, Pieces(message, [&] { return piece_size; }));
  }
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t size_max, unsigned int seed) {
  Random random(seed);
  if (size == 0 || !random.OneIn(4)) {
    return LLVMFuzzerMutate(data, size, size_max);
  }
  const Kind& kind = KindOf(data[0]);
  const std::string message =
      random.OneIn(4) ? kind.make(random)
                      : kind.reencode(MessageOf(data, size), random);
  if (message.size() + 1 > size_max) {
    return LLVMFuzzerMutate(data, size, size_max);
  }
  std::memcpy(data + 1, message.data(), message.size());
  return message.size() + 1;
}
