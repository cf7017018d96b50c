// The Quire client library.
//
//   auto client = quire::Client::Connect({.server = "127.0.0.1:7847"});
//   std::vector<int64_t> ids = {2, 3, 1, 0, 8, 6};
//   auto rows = (*client)->Lookup("dictionary", ids, {3, 2});
//   // rows->shape is (3, 2, 5); rows->values holds 30 floats, row-major
//
// Thread safety: all functions of Client may be called from any thread, and
// any number of calls may be in flight. Blocking calls wait on the calling
// thread; asynchronous ones finish on a thread of the client's.
//
// Errors are absl::Status: the server's code and sentence, its reason and
// field (base/status.h). Besides those, UNAVAILABLE with reason
// CANNOT_CONNECT, DEADLINE_EXCEEDED, and INVALID_ARGUMENT for what the client
// can see by itself.
//
// What is tried again, until the deadline, after waits that grow at random up
// to two seconds:
// - every call that the server refused with the advice to come back (a table
//   that is being filled; busy; about to stop): it has changed nothing.
// - while no server answers: Lookup, Nearest, GetTable, ListTables, ReadRows,
//   GetRow, GetLabels, FindLabels, GetStats. They change nothing. AdvanceClock:
//   to say it twice is to say it once.
// - while no server answers: pushes, if the server has sessions. A push has a
//   number in a session of the client's, and is sent again with the same number
//   and bytes: the server applies it once. Without sessions (its features do
//   not have "sessions") a push whose answer was lost is not sent again.
// Nothing else is: whoever changes tables, rows or labels and gets no answer
// has to look. Connect and Health say at once that no server answers.
//
// A push that fails has not been applied, unless its error says that it may
// have been. With sessions that is left to three cases: the deadline passed
// before there was an answer; SESSION_EXPIRED or another refusal came after a
// try that was not answered; the server's log failed (LOG_FAILED). To push the
// same again then might be to push it twice.
//
// Fork: a child has a session and a connection of its own from its first call
// on, in every Client that it inherits, and ends none of its parent's. gRPC
// itself works in a child only if GRPC_ENABLE_FORK_SUPPORT=1 was in the
// environment when the parent began with it, and no call is in flight while it
// forks; to fork then takes 50 ms more. Forks in quick succession have hung in
// gRPC 1.51 even so: start a pool of workers anew, not by fork.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "quire/v1/admin.pb.h"
#include "quire/v1/embedding.pb.h"
#include "quire/v1/table.pb.h"
#include "tensor/bags.h"
#include "tensor/element_type.h"
#include "tensor/shape.h"

namespace quire {

struct ClientOptions {
  // host:port, or unix:path.
  std::string server = "127.0.0.1:7847";
  // Of every call that brings no deadline of its own.
  absl::Duration timeout = absl::Seconds(60);
  // Parts of one large lookup in flight at once: PERFORMANCE section 2.
  int lookup_parts_in_flight = 4;
};

// How a lookup is made.
struct LookupOptions {
  // Default: now plus ClientOptions::timeout.
  std::optional<absl::Time> deadline = std::nullopt;
  // Rows no older than this: that of a push (Pushed::position), or of a lookup
  // before. The server waits until it has made all changes of the tables up to
  // there; after the deadline NOT_CAUGHT_UP, or DEADLINE. POSITION_LOST if it
  // never will have: a change was lost with the server that gave it.
  std::optional<v1::Position> min_position = std::nullopt;
  // Where the position of the rows goes, if it is wanted: all changes of the
  // tables up to there are in all of them; nullopt for MEMORY tables. It stays
  // until the lookup has ended, and is unspecified after an error.
  std::optional<v1::Position>* position = nullptr;
};

// How one call is made.
struct CallOptions {
  // Default: now plus ClientOptions::timeout.
  std::optional<absl::Time> deadline;

  // A lookup that is made like it.
  operator LookupOptions() const {  // NOLINT: that is what it is for
    return {.deadline = deadline};
  }
};

// How a push is made.
struct PushOptions {
  // Default: now plus ClientOptions::timeout.
  std::optional<absl::Time> deadline;
  // Answered no sooner than this; unspecified: the tables' default. One that a
  // table cannot promise is refused: UNSUPPORTED_DURABILITY.
  v1::Durability min_durability = v1::DURABILITY_UNSPECIFIED;
};

// Float32 numbers, row-major.
struct FloatTensor {
  Shape shape;
  std::vector<float> values;
};

// Rows wanted from one table, and where they go.
struct LookupItem {
  std::string_view table;
  // The incarnation meant; absent: whichever table has the name.
  std::optional<TableUid> uid;
  // [n]: a shaped batch is passed flat, its rows come back in the same order.
  std::span<const int64_t> ids;
  // [n, dim], or with bags [bags, dim]: written in place. Its size must be that
  // exactly.
  std::span<float> out;
  // Pooled by the server, so that only the bags cross the wire; without
  // winners.
  std::optional<Bags> bags = std::nullopt;
  // Of MAX bags, what a push of their gradient wants: [bags, dim], written in
  // place. Empty: not wanted.
  std::span<int32_t> winners = {};
  // In which rows travel; they are float32 in `out` all the same. FLOAT16 and
  // BFLOAT16: half the bytes, rounded by the server to the nearest, ties to
  // even. NOT_BUILT if the server's features do not have "half".
  ElementType wire_dtype = ElementType::kFloat32;
  // Without bags: of equal ids only the first travels, and its row is copied to
  // the others.
  bool unique_ids = false;
};

// Gradients for rows of one table.
struct GradientItem {
  std::string_view table;
  std::optional<TableUid> uid;
  // [n]
  std::span<const int64_t> ids;
  // [n, dim], or with bags [bags, dim]
  std::span<const float> gradient;
  // For this push, in place of the table's.
  std::optional<double> learning_rate;
  // Those of the lookup that this is the gradient of; of MAX, with its winners.
  std::optional<Bags> bags = std::nullopt;
  // Multiplies the gradient, before everything.
  std::optional<double> gradient_scale = std::nullopt;
  // Of SUM bags with weights: PushedTable::weight_gradients are wanted.
  bool return_weight_gradients = false;
  // In which the gradient travels. FLOAT16 and BFLOAT16: rounded here, after
  // duplicates are summed, to the nearest, ties to even; the server computes in
  // float32, also gradient_scale. A finite number that becomes infinite is
  // NON_FINITE whatever the table's policy, and nothing is sent: FLOAT16 ends
  // at 65504. NOT_BUILT as in a lookup.
  ElementType wire_dtype = ElementType::kFloat32;
  // Without bags: the gradients of equal ids are summed here, in their order.
  // The rows become the same, bit by bit, unless the sums are rounded or
  // another item has ids of the table too (sums of sums); padding_dropped
  // counts one. BAD_VALUE from a table to which it matters how
  // often an id occurs: scale_grad_by_freq, SKIP_ROW.
  bool unique_ids = false;
};

// What a push did to one table.
struct PushedTable {
  TableUid uid;
  int64_t rows_changed = 0;
  // Gradients of the padding row, which were dropped.
  int64_t padding_dropped = 0;
  // Rows that the non-finite policy left as they were.
  int64_t rows_skipped = 0;
  int64_t step = 0;
  // When asked for: [n], from rows as they were before the push.
  std::vector<float> weight_gradients;
};

// What a push did.
struct Pushed {
  // The push in the server's order of changes; of MEMORY tables there is none.
  std::optional<v1::Position> position;
  // How safe it was when it was answered.
  v1::Durability reached = v1::DURABILITY_UNSPECIFIED;
  // An earlier try had been applied, whose answer was lost: this is about that
  // one.
  bool duplicate = false;
  // However often it was sent, it was applied once. False: at least once, and
  // the client did not send it again.
  bool exactly_once = false;
  // In the order of the items.
  std::vector<PushedTable> tables;
};

using Labels = std::vector<std::string>;

class Client {
 public:
  // Connects and reads the server's limits. CANNOT_CONNECT if no server
  // answers within the timeout.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(ClientOptions options,
                                                         CallOptions call = {});

  // Waits for the calls in flight; then closes the session of its pushes, for
  // which it waits a second at most.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Version, features and limits, as read by Connect.
  const v1::GetServerInfoResponse& server_info() const;

  // --- Rows ---

  // Looks rows up in one table or many, in one round trip; more than a
  // message can carry is split, fetched in parallel and joined; bags are not
  // cut. `out` is unspecified after an error.
  absl::Status Lookup(std::span<const LookupItem> items,
                      LookupOptions lookup = {});

  // The same for one table, into memory of its own.
  //   ids    [n]
  //   shape  n elements; the result's shape is shape + [dim]
  absl::StatusOr<FloatTensor> Lookup(std::string_view table,
                                     std::span<const int64_t> ids,
                                     const Shape& shape,
                                     LookupOptions lookup = {});
  // The result is [bags, dim].
  absl::StatusOr<FloatTensor> LookupBags(std::string_view table,
                                         std::span<const int64_t> ids,
                                         const Bags& bags,
                                         LookupOptions lookup = {});

  // The same without waiting. What `items` points to, ids and out, stays until
  // `done` is called, once, on a thread of the client's: it must not block.
  void LookupAsync(std::span<const LookupItem> items, LookupOptions lookup,
                   std::function<void(absl::Status)> done);

  // Pushes one step. Never split: one request, all tables or none. A push over
  // the server's limit is made as if its items had unique_ids, and is then sent
  // if it fits.
  //
  // With sessions, at most 512 pushes are under way, counted from the oldest
  // one without an outcome; those after them wait for their turn.
  absl::StatusOr<Pushed> ApplyGradient(std::span<const GradientItem> items,
                                       PushOptions push = {});

  // The same without waiting. `items` and what it points to may be reused as
  // soon as this returns.
  void ApplyGradientAsync(std::span<const GradientItem> items, PushOptions push,
                          std::function<void(absl::StatusOr<Pushed>)> done);

  absl::StatusOr<v1::NearestResponse> Nearest(const v1::NearestRequest& request,
                                              CallOptions call = {});

  // --- Tables ---

  // Creates a table and waits until it serves.
  absl::StatusOr<v1::CreateTableResponse> CreateTable(
      const v1::CreateTableRequest& request, CallOptions call = {});
  absl::StatusOr<v1::Table> GetTable(std::string_view table,
                                     CallOptions call = {});
  absl::StatusOr<std::vector<v1::Table>> ListTables(CallOptions call = {});
  absl::StatusOr<v1::Table> AlterTable(const v1::AlterTableRequest& request,
                                       CallOptions call = {});
  absl::Status DropTable(std::string_view table, CallOptions call = {});
  // Makes a table what it was after the change `to_lsn`. It takes as long as
  // the table is large, and ends by a deadline only if the call brings one; the
  // server goes on then.
  absl::StatusOr<v1::RewindTableResponse> RewindTable(std::string_view table,
                                                      uint64_t to_lsn,
                                                      CallOptions call = {});

  // --- Stored rows and labels ---

  absl::StatusOr<v1::ReadRowsResponse> ReadRows(
      const v1::ReadRowsRequest& request, CallOptions call = {});
  // One row, and what last changed it.
  absl::StatusOr<v1::GetRowResponse> GetRow(std::string_view table, int64_t id,
                                            CallOptions call = {});
  absl::StatusOr<v1::WriteRowsResponse> WriteRows(
      const v1::WriteRowsRequest& request, CallOptions call = {});

  // labels[i] belongs to ids[i]; an empty one removes.
  absl::Status SetLabels(std::string_view table, std::span<const int64_t> ids,
                         const Labels& labels, CallOptions call = {});
  // One per id, empty where a row has none.
  absl::StatusOr<Labels> GetLabels(std::string_view table,
                                   std::span<const int64_t> ids,
                                   CallOptions call = {});
  // One per label: the smallest id that has it, or -1.
  absl::StatusOr<std::vector<int64_t>> FindLabels(std::string_view table,
                                                  const Labels& labels,
                                                  CallOptions call = {});

  // Imports and exports take as long as their tables are large: they end by a
  // deadline only if the call brings one, and are not tried again by
  // themselves. They may outlive the client.

  // A table being imported: rows in order of their ids, then Finish. Dropped
  // before that, it leaves no table behind: the last message waits for Finish.
  // One thread at a time.
  class Import {
   public:
    virtual ~Import() = default;
    // The next rows.
    //   values  [n, dim]
    //   labels  [n], or empty for none
    //   state   [n, floats of the optimizer's state], or empty: initial state
    virtual absl::Status Write(std::span<const float> values,
                               const Labels& labels,
                               std::span<const float> state) = 0;
    absl::Status Write(std::span<const float> values, const Labels& labels) {
      return Write(values, labels, {});
    }
    // The table appears. Every row must have been written.
    virtual absl::StatusOr<v1::Table> Finish() = 0;
  };
  absl::StatusOr<std::unique_ptr<Import>> ImportTable(
      const v1::ImportTableRequest::Header& header, CallOptions call = {});
  // Of rows that no push has seen.
  absl::StatusOr<std::unique_ptr<Import>> ImportTable(const v1::TableSpec& spec,
                                                      CallOptions call = {});

  // A table being read, in order of ids. One thread at a time.
  class Export {
   public:
    virtual ~Export() = default;
    // The table as it was at the beginning.
    virtual const v1::Table& table() const = 0;
    // What all rows are as of; nullopt: each is as of some moment.
    virtual std::optional<v1::Position> position() const = 0;
    // The next rows, or nullopt after the last.
    virtual absl::StatusOr<std::optional<v1::ExportTableResponse::Chunk>>
    Read() = 0;
  };
  absl::StatusOr<std::unique_ptr<Export>> ExportTable(
      const v1::ExportTableRequest& request, CallOptions call = {});

  // --- The server ---

  // Writes a snapshot of all LOGGED tables; all changes up to there are in it.
  // It takes as long as they are large, and ends by a deadline only if the call
  // brings one.
  absl::StatusOr<v1::Position> CreateSnapshot(CallOptions call = {});
  // Reads back what the newest snapshot has of a LOGGED table. It takes as long
  // as all tables are large, and ends by a deadline only if the call brings
  // one.
  absl::StatusOr<v1::VerifyTableResponse> VerifyTable(std::string_view table,
                                                      CallOptions call = {});
  // Copies all LOGGED tables, at one position, to a name in the directory that
  // the server has for backups. As long as CreateSnapshot, and again.
  absl::StatusOr<v1::BackUpResponse> BackUp(const std::string& name,
                                            CallOptions call = {});
  absl::StatusOr<v1::GetStatsResponse> GetStats(CallOptions call = {});
  // Says how many steps a worker has done, and waits until it may begin the
  // next. CLOCK_BEHIND at the deadline, naming who is waited for: what was said
  // stays said.
  absl::StatusOr<v1::AdvanceClockResponse> AdvanceClock(
      const v1::AdvanceClockRequest& request, CallOptions call = {});
  // OK if the server says SERVING.
  absl::Status Health(CallOptions call = {});

 private:
  class Core;
  explicit Client(std::unique_ptr<Core> core);

  // That of this process: made anew by the first call after a fork.
  Core& core() const;

  // Owned, but for one of another process. Replaced at most once in a process;
  // the store releases what was made to those who acquire it.
  mutable std::atomic<Core*> core_;
};

}  // namespace quire
