// Ids are types: mixing two of them does not compile.

#pragma once

#include <array>
#include <compare>
#include <cstdint>

namespace quire {

// One of a table's shards: [0, shard_count).
enum class ShardId : uint32_t {};

// A position in the server's order of changes; 0 is before the first.
enum class Lsn : uint64_t {};

// The same for people and other servers: an LSN means what it does in its
// epoch, which is one start of one server.
struct Position {
  uint64_t epoch = 0;
  uint64_t lsn = 0;

  friend auto operator<=>(const Position&, const Position&) = default;
};

// One incarnation of a table: a table that is dropped and created again under
// the same name has another uid.
struct TableUid {
  std::array<uint8_t, 16> bytes{};

  friend auto operator<=>(const TableUid&, const TableUid&) = default;
};

// A client's count of its pushes: engine/session_table.h.
struct SessionId {
  std::array<uint8_t, 16> bytes{};

  friend auto operator<=>(const SessionId&, const SessionId&) = default;
};

}  // namespace quire
