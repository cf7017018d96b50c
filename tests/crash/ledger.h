// What was pushed, and what must therefore be in the table.
//
// Every push adds 1 to a row of its own, its receipt, and to some payload rows.
// Float32 adds integers exactly up to 2^24, and in any order, so that the rows
// tell what has been applied:
//
//   receipt 1                      applied once
//   receipt 0                      not applied: lost, if it was acknowledged
//   receipt 2 or more              applied twice
//   a payload row that is not the sum over the receipts of the pushes that
//     touched it                   a part of a push is missing
//   columns of a row that differ   a row was torn
//
// Thread safety: all functions may be called from any thread, but for Check and
// Settle, during which nobody pushes.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace quire::crash {

inline constexpr int64_t kDim = 8;
inline constexpr size_t kPayloadPerPush = 12;

// What must be so of a push.
enum class Expected : uint8_t {
  kEither,    // nobody can know
  kThere,     // it was acknowledged, or has been found before
  kNotThere,  // it was refused, or its sender has gone and it was not found
};

struct Push {
  // Its receipt, then payload rows, some of them perhaps twice.
  std::array<int64_t, 1 + kPayloadPerPush> ids;
  Expected expected = Expected::kEither;
  // Nobody sends it again.
  bool is_given_up = false;
  // As of the last Check.
  bool was_applied = false;
};

struct Violations {
  int64_t lost = 0;
  int64_t doubled = 0;
  int64_t torn = 0;
  int64_t others = 0;

  int64_t sum() const { return lost + doubled + torn + others; }
};

// What came of a run, and its last line.
struct Outcome {
  int64_t kills = 0;
  int64_t acknowledged = 0;
  Violations violations;

  Outcome& operator+=(const Outcome& other);
  std::string Line(uint64_t seed) const;
};

class Ledger {
 public:
  // For as many pushes as there are receipts.
  Ledger(int64_t receipts, int64_t payload_rows);

  // The next push; null when all receipts are used up. It does not move.
  Push* Begin(std::mt19937_64& random);
  void Acknowledge(Push& push);

  // Of a row that somebody has read, whole: float32 [kDim].
  void Saw(int64_t id, const float* row);

  // The whole table, as it is with nobody pushing: float32 [row_count(), kDim].
  void Check(const std::vector<float>& rows);
  // What the last Check has found is there for good; what it has not, and
  // nobody sends again, never will be.
  void Settle();

  // Something that must not be, in a sentence.
  void Violate(int64_t Violations::*kind, const std::string& what);

  // Receipts, then payload rows.
  int64_t row_count() const { return receipts_ + payload_rows_; }
  int64_t receipts() const { return receipts_; }
  int64_t acknowledged() const { return acknowledged_; }
  Violations violations() const;

 private:
  void CheckReceipt(Push& push, float receipt);

  const int64_t receipts_;
  const int64_t payload_rows_;

  mutable std::mutex mutex_;
  std::deque<Push> pushes_;
  Violations violations_;
  std::atomic<int64_t> acknowledged_ = 0;
  // The largest value that was read of each row.
  const std::unique_ptr<std::atomic<int32_t>[]> seen_;
};

}  // namespace quire::crash
