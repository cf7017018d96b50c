#include "engine/session_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <utility>

#include "base/status.h"
#include "main/seed.h"

namespace quire {
namespace {

SessionId Session(uint8_t number) {
  SessionId session;
  session.bytes[0] = number;
  return session;
}

PushId Push(uint8_t session, uint64_t sequence, uint64_t hash = 7) {
  return {.session = Session(session), .sequence = sequence, .hash = hash};
}

void ExpectRefused(const SessionTable& table, const PushId& id, Reason reason) {
  EXPECT_EQ(ReasonOf(table.Find(id).status()), reason)
      << table.Find(id).status();
}

TEST(SessionTableTest, APushThatComesAgainIsKnownByItsFirstPlace) {
  SessionTable table(10);
  table.Open(Session(1));
  EXPECT_EQ(*table.Find(Push(1, 1)), std::nullopt);
  table.Add(Push(1, 1), 100);
  EXPECT_EQ(*table.Find(Push(1, 1)), std::optional<uint64_t>(100));
  EXPECT_EQ(*table.Find(Push(1, 2)), std::nullopt);
}

TEST(SessionTableTest, NumbersComeInAnyOrderWithinTheWindow) {
  SessionTable table(10);
  table.Open(Session(1));
  table.Add(Push(1, kSessionWindow), 1);
  table.Add(Push(1, 1), 2);
  EXPECT_EQ(*table.Find(Push(1, 2)), std::nullopt);
  EXPECT_EQ(*table.Find(Push(1, 1)), std::optional<uint64_t>(2));
  table.Add(Push(1, kSessionWindow + 1), 3);
  ExpectRefused(table, Push(1, 1), Reason::kSequenceTooOld);
  EXPECT_EQ(*table.Find(Push(1, 2)), std::nullopt);
}

TEST(SessionTableTest, ANumberFarAheadLeavesTheOthersBehind) {
  SessionTable table(10);
  table.Open(Session(1));
  table.Add(Push(1, 5), 1);
  table.Add(Push(1, ~uint64_t{0}), 2);
  ExpectRefused(table, Push(1, 5), Reason::kSequenceTooOld);
  EXPECT_EQ(*table.Find(Push(1, ~uint64_t{0})), std::optional<uint64_t>(2));
}

TEST(SessionTableTest, WhatIsWrongWithANameIsSaid) {
  SessionTable table(10);
  ExpectRefused(table, Push(1, 1), Reason::kSessionExpired);
  EXPECT_EQ(ReasonOf(table.CheckIsOpen(Session(1))), Reason::kSessionExpired);
  table.Open(Session(1));
  ExpectRefused(table, Push(1, 0), Reason::kBadValue);
  table.Add(Push(1, 1, 7), 1);
  ExpectRefused(table, Push(1, 1, 8), Reason::kSequenceReused);
  table.Close(Session(1));
  ExpectRefused(table, Push(1, 1), Reason::kSessionExpired);
}

TEST(SessionTableTest, TheSessionThatPushedLongestAgoGivesWay) {
  SessionTable table(2);
  table.Open(Session(1));
  table.Open(Session(2));
  table.Add(Push(1, 1), 1);
  table.Open(Session(3));
  EXPECT_EQ(table.size(), 2u);
  ExpectRefused(table, Push(2, 1), Reason::kSessionExpired);
  EXPECT_EQ(*table.Find(Push(1, 1)), std::optional<uint64_t>(1));
}

// All that was ever pushed, in a map.
struct NaiveSession {
  std::map<uint64_t, std::pair<uint64_t, uint64_t>> pushes;  // hash, LSN

  std::string Find(const PushId& id) const {
    const uint64_t highest = pushes.empty() ? 0 : pushes.rbegin()->first;
    if (highest >= kSessionWindow && id.sequence <= highest - kSessionWindow) {
      return "too old";
    }
    const auto found = pushes.find(id.sequence);
    if (found == pushes.end()) {
      return "new";
    }
    return found->second.first == id.hash ? std::to_string(found->second.second)
                                          : "reused";
  }
};

std::string Said(const absl::StatusOr<std::optional<uint64_t>>& found) {
  if (!found.ok()) {
    return ReasonOf(found.status()) == Reason::kSequenceTooOld ? "too old"
                                                               : "reused";
  }
  return *found ? std::to_string(**found) : "new";
}

TEST(SessionTableTest, AgreesWithATableThatForgetsNothing) {
  std::mt19937_64 random(testing::Seed());
  for (int history = 0; history < 30; ++history) {
    SessionTable table(3);
    std::map<uint8_t, NaiveSession> naive;
    for (uint8_t session = 0; session < 3; ++session) {
      table.Open(Session(session));
      naive[session];
    }
    // From sessions that stay in order to such as leap.
    const uint64_t reach = uint64_t{1} << (random() % 13);
    for (uint64_t lsn = 1; lsn < 4000; ++lsn) {
      const auto session = static_cast<uint8_t>(random() % 3);
      NaiveSession& expected = naive[session];
      const uint64_t highest =
          expected.pushes.empty() ? 0 : expected.pushes.rbegin()->first;
      const uint64_t from = highest > reach ? highest - reach : 0;
      const PushId id = Push(session, from + 1 + random() % (2 * reach),
                             random() % 4 == 0 ? 8 : 7);
      ASSERT_EQ(Said(table.Find(id)), expected.Find(id)) << id.sequence;
      if (expected.Find(id) == "new") {
        table.Add(id, lsn);
        expected.pushes[id.sequence] = {id.hash, lsn};
      }
    }
    // Kept and made anew, it says the same.
    SessionTable copy(3);
    table.ForEach([&](const SessionId& session,
                      std::span<const SessionTable::Push> pushes) {
      copy.Open(session);
      for (const SessionTable::Push& push : pushes) {
        copy.Add({session, push.sequence, push.hash}, push.lsn);
      }
    });
    for (const auto& [session, expected] : naive) {
      const uint64_t highest = expected.pushes.rbegin()->first;
      for (uint64_t i = 0; i < std::min<uint64_t>(highest, 3000); ++i) {
        const PushId id = Push(session, highest - i);
        ASSERT_EQ(Said(copy.Find(id)), expected.Find(id)) << id.sequence;
      }
    }
  }
}

}  // namespace
}  // namespace quire
