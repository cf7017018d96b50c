// Random messages, in the usual encoding and in others, whole and cut: what
// Parse says of them against what the generated code says.

#include <gmock/gmock.h>
#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <string>

#include "base/status.h"
#include "main/seed.h"
#include "quire/v1/embedding.pb.h"
#include "tests/wire/differential.h"
#include "tests/wire/messages.h"
#include "tests/wire/mutations.h"
#include "tests/wire/pieces.h"
#include "tests/wire/random.h"
#include "tests/wire/says.h"
#include "wire/lookup_response.h"
#include "wire/requests.h"

namespace quire::wire {
namespace {

using namespace quire::wire::testing;
using quire::testing::Seed;

// A generated message and the class that reads it.
template <typename Generated, typename ParsedMessage>
struct Pair {
  using Message = Generated;
  using Parsed = ParsedMessage;
};

template <typename Pair>
class ParseTest : public ::testing::Test {
 protected:
  // Protobuf logs each name that is not UTF-8.
  google::protobuf::LogSilencer silencer_;
  Random random_{Seed()};
};
using Messages =
    ::testing::Types<Pair<v1::LookupRequest, LookupRequest>,
                     Pair<v1::ApplyGradientRequest, ApplyGradientRequest>,
                     Pair<v1::LookupResponse, LookupResponse>>;
TYPED_TEST_SUITE(ParseTest, Messages);

TYPED_TEST(ParseTest, ReadsWhatSerialisersSendWithoutTheGeneratedCode) {
  using Message = typename TypeParam::Message;
  using Parsed = typename TypeParam::Parsed;
  for (int i = 0; i < 3000; ++i) {
    const auto message =
        RandomMessage<Message>(this->random_, Legality::kLegal);
    const Pieces pieces = Pieces::Cut(Serialise(message), this->random_);

    const absl::StatusOr<Parsed> parsed = Parsed::Parse(pieces);

    ASSERT_TRUE(parsed.ok()) << parsed.status() << message.DebugString();
    EXPECT_FALSE(parsed->used_generated_code());
    ExpectSays(*parsed, message);
    ASSERT_FALSE(this->HasFailure()) << message.DebugString();
  }
}

TYPED_TEST(ParseTest, ReadsEveryEncodingAsTheGeneratedCodeDoes) {
  using Message = typename TypeParam::Message;
  using Parsed = typename TypeParam::Parsed;
  int generated_count = 0;
  int malformed_count = 0;
  int refused_count = 0;
  for (int i = 0; i < 5'000; ++i) {
    const std::string usual =
        Serialise(RandomMessage<Message>(this->random_, Legality::kAnything));
    std::string bytes = Reencode(usual, *Message::descriptor(), this->random_);
    if (this->random_.OneIn(4)) {
      bytes = Damage(bytes, this->random_);
    }
    const Pieces pieces = Pieces::Cut(bytes, this->random_);
    Message message;
    const bool legal = message.ParseFromString(bytes);

    const absl::StatusOr<Parsed> parsed = Parsed::Parse(pieces);

    ASSERT_EQ(Difference<Message>(pieces), "");
    if (!legal) {
      ++malformed_count;
      ASSERT_THAT(parsed.status().ToString(),
                  ::testing::HasSubstr("received are not a "));
      continue;
    }
    message.DiscardUnknownFields();
    const Pieces normal(Serialise(message));
    const absl::StatusOr<Parsed> expected = Parsed::Parse(normal);
    ASSERT_EQ(parsed.status(), expected.status()) << message.DebugString();
    if (parsed.ok()) {
      generated_count += parsed->used_generated_code() ? 1 : 0;
      ExpectSays(*parsed, message);
    } else {
      ++refused_count;
    }
    ASSERT_FALSE(this->HasFailure()) << message.DebugString();
  }
  // All kinds were met, and often.
  EXPECT_GT(generated_count, 100);
  EXPECT_GT(malformed_count, 100);
  EXPECT_GT(refused_count, 100);
}

TYPED_TEST(ParseTest, RefusesOrReadsEveryTruncationAsTheGeneratedCodeDoes) {
  using Message = typename TypeParam::Message;
  using Parsed = typename TypeParam::Parsed;
  for (int i = 0; i < 100; ++i) {
    const std::string bytes =
        Serialise(RandomMessage<Message>(this->random_, Legality::kLegal));
    for (size_t size = 0; size < bytes.size(); ++size) {
      const std::string cut = bytes.substr(0, size);
      const Pieces pieces = Pieces::Cut(cut, this->random_);
      Message message;
      const bool legal = message.ParseFromString(cut);

      const absl::StatusOr<Parsed> parsed = Parsed::Parse(pieces);

      ASSERT_EQ(Difference<Message>(pieces), "");
      ASSERT_EQ(legal, parsed.ok()) << size << message.DebugString();
    }
  }
}

template <typename Pair>
class ParseStreamTest : public ParseTest<Pair> {};
using StreamMessages = ::testing::Types<
    Pair<v1::LookupStreamRequest, LookupStreamRequest>,
    Pair<v1::ApplyGradientStreamRequest, ApplyGradientStreamRequest>>;
TYPED_TEST_SUITE(ParseStreamTest, StreamMessages);

TYPED_TEST(ParseStreamTest, ReadsWhatSerialisersSendWithoutTheGeneratedCode) {
  using Message = typename TypeParam::Message;
  using Parsed = typename TypeParam::Parsed;
  for (int i = 0; i < 3000; ++i) {
    const auto message =
        RandomMessage<Message>(this->random_, Legality::kLegal);
    const Pieces pieces = Pieces::Cut(Serialise(message), this->random_);

    const Parsed parsed = Parsed::Parse(pieces);

    EXPECT_EQ(parsed.request_id, message.request_id());
    ASSERT_TRUE(parsed.request.ok()) << parsed.request.status();
    EXPECT_FALSE(parsed.request->used_generated_code());
    ExpectSays(*parsed.request, message.request());
    ASSERT_FALSE(this->HasFailure()) << message.DebugString();
  }
}

TYPED_TEST(ParseStreamTest, ReadsEveryEncodingAsTheGeneratedCodeDoes) {
  using Message = typename TypeParam::Message;
  using Parsed = typename TypeParam::Parsed;
  for (int i = 0; i < 5'000; ++i) {
    const std::string usual =
        Serialise(RandomMessage<Message>(this->random_, Legality::kAnything));
    std::string bytes = Reencode(usual, *Message::descriptor(), this->random_);
    if (this->random_.OneIn(4)) {
      bytes = Damage(bytes, this->random_);
    }
    const Pieces pieces = Pieces::Cut(bytes, this->random_);
    Message message;
    const bool legal = message.ParseFromString(bytes);

    const Parsed parsed = Parsed::Parse(pieces);

    ASSERT_EQ(Difference<Message>(pieces), "");
    if (!legal) {
      ASSERT_EQ(ReasonOf(parsed.request.status()), Reason::kMalformed);
      continue;
    }
    message.DiscardUnknownFields();
    const Pieces normal(Serialise(message));
    ASSERT_EQ(parsed.request_id, message.request_id());
    ASSERT_EQ(parsed.request.status(), Parsed::Parse(normal).request.status());
    if (parsed.request.ok()) {
      ExpectSays(*parsed.request, message.request());
    }
    ASSERT_FALSE(this->HasFailure()) << message.DebugString();
  }
}

TEST(StorageTest, ViewsLiveAsLongAsAnyCopyOfTheRequest) {
  v1::LookupRequest message;
  message.add_tables()->mutable_ids()->add_ids(0x6867666564636261);
  message.GetReflection()->MutableUnknownFields(&message)->AddVarint(99, 1);
  const Pieces pieces(message.SerializeAsString());
  auto parsed = LookupRequest::Parse(pieces);
  ASSERT_TRUE(parsed.ok() && parsed->used_generated_code());

  const LookupRequest copy = *parsed;
  parsed = absl::UnknownError("gone");

  EXPECT_EQ(ToString(copy.tables[0].ids), "abcdefgh");
}

}  // namespace
}  // namespace quire::wire
