// The records of the log: what a change was, in bytes. docs/FORMATS.md has the
// grammar; all numbers are little-endian.
//
// A push is logged as it was pushed, ids and gradients and not their sums, so
// that replaying it runs the code that applied it. Its bytes are not copied:
// the record points to where the request has them. The same goes for rows that
// are written. All else is small, and is messages of
// proto/quire/storage/v1/storage.proto.
//
// Thread safety: pure functions and plain values; one thread at a time for an
// object that is being made.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/ids.h"
#include "engine/session_table.h"
#include "tensor/bags.h"

namespace quire {

// Numbers that are on disks: never used for another.
enum class RecordType : uint8_t {
  kPush = 1,
  kWriteRows = 2,
  kCreateTable = 3,
  kPublishTable = 4,
  kAlterTable = 5,
  kDropTable = 6,
  kSetLabels = 7,
  kOpenSession = 8,
  kCloseSession = 9,
};

// One entry of a push, as the log has it.
struct PushRecordPart {
  TableUid table;
  // Of the push; parts of one table have the same.
  int64_t step = 0;
  double learning_rate = 0.0;
  std::optional<double> gradient_scale;
  // [n]
  std::span<const int64_t> ids;
  std::optional<Bags> bags;
  // float32 [n, dim], or with bags [bags, dim].
  ByteRange gradient;
};

struct PushRecord {
  std::optional<PushId> id;
  std::vector<PushRecordPart> parts;
};

// A record of a push as pieces that lie where they are. What the parts point to
// outlives it.
class PushRecordBytes {
 public:
  // Steps and learning rates may be left for Place.
  explicit PushRecordBytes(const PushRecord& push);
  PushRecordBytes(const PushRecordBytes&) = delete;
  PushRecordBytes& operator=(const PushRecordBytes&) = delete;

  // Of parts[part]: what is known only when the push has its place.
  void Place(size_t part, int64_t step, double learning_rate);

  std::span<const Bytes> pieces() const { return pieces_; }
  int64_t size() const { return size_; }

 private:
  void Add(Bytes piece);

  std::vector<std::byte> heads_;
  std::vector<Bytes> pieces_;
  int64_t size_ = 0;
};

// Reads a record. Views `payload`, which is aligned to 8, and `scratch`, which
// holds what ranges point to; both outlive it. CORRUPT for what is none: its
// sizes must agree with each other, its ids may be any.
absl::StatusOr<PushRecord> ReadPushRecord(Bytes payload,
                                          std::vector<Bytes>& scratch);

// Rows of one table, written.
struct WriteRowsRecord {
  TableUid table;
  std::span<const int64_t> ids;   // [n]
  std::span<const float> values;  // [n, dim]
  // [n, state_floats], or empty: the state stays.
  std::span<const float> state;
};

// As PushRecordBytes.
class WriteRowsRecordBytes {
 public:
  explicit WriteRowsRecordBytes(const WriteRowsRecord& rows);
  WriteRowsRecordBytes(const WriteRowsRecordBytes&) = delete;
  WriteRowsRecordBytes& operator=(const WriteRowsRecordBytes&) = delete;

  std::span<const Bytes> pieces() const { return pieces_; }
  int64_t size() const { return size_; }

 private:
  std::array<std::byte, 40> head_;
  std::array<Bytes, 4> pieces_;
  int64_t size_ = 0;
};

absl::StatusOr<WriteRowsRecord> ReadWriteRowsRecord(Bytes payload);

}  // namespace quire
