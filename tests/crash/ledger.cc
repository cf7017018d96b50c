#include "crash/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace quire::crash {
namespace {

// Enough to see what went wrong.
constexpr int64_t kPrintedViolations = 20;

bool IsWhole(const float* row) {
  return std::all_of(row, row + kDim, [row](float x) { return x == row[0]; });
}

}  // namespace

Outcome& Outcome::operator+=(const Outcome& other) {
  kills += other.kills;
  acknowledged += other.acknowledged;
  violations.lost += other.violations.lost;
  violations.doubled += other.violations.doubled;
  violations.torn += other.violations.torn;
  violations.others += other.violations.others;
  return *this;
}

std::string Outcome::Line(uint64_t seed) const {
  return fmt::format(
      "crash: kills {} acked {} lost {} double {} torn {} violations {} seed "
      "{}",
      kills, acknowledged, violations.lost, violations.doubled, violations.torn,
      violations.sum(), seed);
}

Ledger::Ledger(int64_t receipts, int64_t payload_rows)
    : receipts_(receipts),
      payload_rows_(payload_rows),
      seen_(std::make_unique<std::atomic<int32_t>[]>(
          static_cast<size_t>(receipts + payload_rows))) {}

Push* Ledger::Begin(std::mt19937_64& random) {
  const std::lock_guard lock(mutex_);
  if (static_cast<int64_t>(pushes_.size()) == receipts_) {
    return nullptr;
  }
  Push& push = pushes_.emplace_back();
  push.ids[0] = static_cast<int64_t>(pushes_.size()) - 1;
  for (size_t i = 1; i < push.ids.size(); ++i) {
    push.ids[i] =
        receipts_ +
        static_cast<int64_t>(random() % static_cast<uint64_t>(payload_rows_));
  }
  return &push;
}

void Ledger::Acknowledge(Push& push) {
  push.expected = Expected::kThere;
  ++acknowledged_;
}

void Ledger::Saw(int64_t id, const float* row) {
  if (!IsWhole(row)) {
    Violate(&Violations::torn, fmt::format("a lookup of row {} is torn", id));
    return;
  }
  std::atomic<int32_t>& seen = seen_[static_cast<size_t>(id)];
  const auto value = static_cast<int32_t>(row[0]);
  int32_t before = seen.load();
  while (before < value && !seen.compare_exchange_weak(before, value)) {
  }
}

void Ledger::CheckReceipt(Push& push, float receipt) {
  const int64_t number = push.ids[0];
  if (receipt != 0.0f && receipt != 1.0f) {
    Violate(&Violations::doubled,
            fmt::format("push {} was applied {} times", number, receipt));
  }
  if (push.expected == Expected::kThere && receipt == 0.0f) {
    Violate(&Violations::lost,
            fmt::format("push {} was acknowledged, or found before, and is not "
                        "there",
                        number));
  }
  if (push.expected == Expected::kNotThere && receipt != 0.0f) {
    Violate(
        &Violations::others,
        fmt::format("push {} was refused, or not found before, and is there",
                    number));
  }
  push.was_applied = receipt != 0.0f;
}

void Ledger::Settle() {
  for (Push& push : pushes_) {
    if (push.was_applied) {
      push.expected = Expected::kThere;
    } else if (push.is_given_up) {
      push.expected = Expected::kNotThere;
    }
  }
}

void Ledger::Check(const std::vector<float>& rows) {
  std::vector<int64_t> payload(static_cast<size_t>(payload_rows_));
  const auto value = [&](int64_t id) {
    return rows[static_cast<size_t>(id * kDim)];
  };
  std::deque<Push>& pushes = pushes_;
  for (Push& push : pushes) {
    const float receipt = value(push.ids[0]);
    CheckReceipt(push, receipt);
    for (size_t i = 1; i < push.ids.size(); ++i) {
      payload[static_cast<size_t>(push.ids[i] - receipts_)] +=
          static_cast<int64_t>(receipt);
    }
  }
  for (int64_t id = 0; id < row_count(); ++id) {
    const float* row = &rows[static_cast<size_t>(id * kDim)];
    if (!IsWhole(row)) {
      Violate(&Violations::torn, fmt::format("row {} is torn", id));
    }
    const int64_t expected = id >= receipts_
                                 ? payload[static_cast<size_t>(id - receipts_)]
                             : id < static_cast<int64_t>(pushes.size())
                                 ? static_cast<int64_t>(row[0])
                                 : 0;
    if (static_cast<int64_t>(row[0]) != expected) {
      Violate(&Violations::torn,
              fmt::format("row {} is {}, the pushes that are there make {}", id,
                          row[0], expected));
    }
    if (const int32_t seen = seen_[static_cast<size_t>(id)].load();
        static_cast<int32_t>(row[0]) < seen) {
      Violate(
          &Violations::others,
          fmt::format("row {} is {}, and {} had been read", id, row[0], seen));
    }
  }
}

void Ledger::Violate(int64_t Violations::*kind, const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (violations_.sum() < kPrintedViolations) {
    fmt::print(stderr, "VIOLATION: {}\n", what);
  }
  ++(violations_.*kind);
}

Violations Ledger::violations() const {
  const std::lock_guard lock(mutex_);
  return violations_;
}

}  // namespace quire::crash
