// What a load asks for.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace quire::load {

struct WorkloadSpec {
  // Of every table.
  int64_t row_count = 0;
  // Tables in one request.
  int64_t table_count = 1;
  // Ids for each table in one request.
  int64_t batch = 0;
  // Absent: uniform ids. Else some ids are asked for more often, by Zipf's law
  // with this exponent; which ones is scattered over the table.
  std::optional<double> zipf = {};
  // The share of requests that are pushes: 0 .. 1.
  double push_share = 0;
  uint64_t seed = 0;
};

struct Request {
  bool is_push = false;
  // [table_count, batch]
  std::span<const int64_t> ids;
};

// Requests made beforehand, so that making them takes no time from what is
// measured. Thread safety: constant after construction.
class Workload {
 public:
  explicit Workload(const WorkloadSpec& spec);

  const WorkloadSpec& spec() const { return spec_; }

  // The i-th request. After some millions of ids they repeat.
  Request request(uint64_t index) const;

 private:
  const WorkloadSpec spec_;
  std::vector<int64_t> ids_;
  // Exactly the share asked for, in random order.
  std::vector<bool> is_push_;
};

}  // namespace quire::load
