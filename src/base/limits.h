// Every bound of the service, with its unit and its reason. RULINGS 18.

#pragma once

#include <cstddef>
#include <cstdint>

namespace quire {

// Ids in one request, over all of its tables: 32 MiB of ids; a reply of dim 4
// is then already at kLookupReplyBytesMax.
inline constexpr int64_t kIdsPerRequestMax = int64_t{1} << 22;

// Dims of a Shape, as many as people use.
inline constexpr int kRankMax = 8;

// Tables named in one request: a model with a thousand features still fits.
inline constexpr int64_t kTablesPerRequestMax = 4096;

// Fields of one hot message that is not in its usual form, at all depths, with
// its dims. A table with everything set has 40; each costs up to 128 bytes.
inline constexpr int64_t kFieldsPerMessageMax = 64 * kTablesPerRequestMax;

// A lookup's reply. Larger lookups are split by our clients, who then get
// several replies in parallel.
inline constexpr int64_t kLookupReplyBytesMax = int64_t{64} << 20;

// A lookup's reply unless the request says otherwise: what a stock gRPC client
// can receive (its default limit is 4 MiB) with room for the header.
inline constexpr int64_t kLookupReplyBytesDefault = 4'000'000;

// Lookups of one server that wait for a position at once: each keeps its
// request.
inline constexpr size_t kWaitingLookupsMax = 4096;

// Starts of a server whose positions are still known.
inline constexpr size_t kEpochsMax = 1024;

// How long a lookup waits for a position: if its call has no deadline; and at
// most.
inline constexpr int64_t kPositionWaitMsDefault = 30'000;
inline constexpr int64_t kPositionWaitMsMax = 300'000;

// A push is one step and is never split, so it is allowed to be large.
inline constexpr int64_t kPushBytesMax = int64_t{512} << 20;

// gRPC's own limit lies this far above ours, so that ours answers, with a
// sentence.
inline constexpr int64_t kMessageBytesSlack = int64_t{64} << 10;

// Numbers of one client's session from its oldest push without an outcome to
// its newest: half of what a server remembers (RULINGS 13), so that no repeat
// comes too late.
inline constexpr uint64_t kPushWindow = 512;

// Floats in a row: the widest embeddings in use are 16 Ki.
inline constexpr int64_t kDimMax = int64_t{1} << 16;

// Ids of one table: row addresses stay far below 2^63 for any legal dim.
inline constexpr int64_t kNumEmbeddingsMax = int64_t{1} << 40;

// Elements of a table with scope ALL: each push writes every row, 64 MiB of
// them and their state.
inline constexpr int64_t kAllScopeElementsMax = int64_t{16} << 20;

// Shards of one table: a power of two.
inline constexpr int32_t kShardCountDefault = 64;
inline constexpr int32_t kShardCountMax = 4096;

// Tables of one server: their names fit a screen of a metrics page.
inline constexpr int64_t kTableCountMax = 65'536;

// A table's name, in bytes.
inline constexpr size_t kTableNameBytesMax = 128;

// Sessions of one server. One that has more than a thousand pushes behind it
// takes 24 KiB.
inline constexpr size_t kSessionCountMax = 16'384;

// A row's label, in bytes: the longest token of GloVe 840B has 1,000.
inline constexpr size_t kLabelBytesMax = 4096;

// A request of the health or the reflection protocol: a name.
inline constexpr int64_t kProtocolRequestBytesMax = int64_t{16} << 10;

// Neighbours of one query.
inline constexpr int64_t kNearestCountMax = 10'000;

// Queries of one Nearest request: each costs a scan of the table.
inline constexpr int64_t kNearestQueriesMax = 1024;

}  // namespace quire
