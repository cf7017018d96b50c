// The Quire client library for C, and for all languages that call C:
// libquire.so. This file is C99 and C++.
//
//   quire_client* client = NULL;
//   quire_error* error = quire_connect("127.0.0.1:7847", -1, &client);
//   const int64_t ids[6] = {2, 3, 1, 0, 8, 6};
//   float rows[6 * 5];
//   quire_lookup_item item = {0};
//   item.table = "dictionary";
//   item.ids = ids;
//   item.id_count = 6;
//   item.out = rows;
//   item.out_count = 30;
//   error = quire_lookup(client, &item, 1, -1);
//   if (error != NULL) {
//     fprintf(stderr, "%s\n", quire_error_message(error));
//     quire_error_free(error);
//   }
//   quire_client_free(client);
//
// Errors: a function that can fail returns a quire_error, or NULL if it did
// not. The caller frees it. After an error nothing has been written through the
// pointers for results, but `out`, `winners` and `weight_gradients` are
// unspecified. A pointer that must not be NULL and is, a count below 0: code 3
// (INVALID_ARGUMENT) with the argument's name as the field. No exception leaves
// a function. The errors of calls are the server's, docs/ERRORS.md, and
// besides: 14 (UNAVAILABLE, CANNOT_CONNECT), 4 (DEADLINE_EXCEEDED).
//
// Threads: all functions that take a quire_client may be called from any
// thread, any number at once. Other handles: one thread at a time, but what is
// only read may be read by many.
//
// Ownership: a handle belongs to the caller, who frees it with the function of
// its name; NULL may be freed. What functions get is read before they return,
// unless they say otherwise; what a handle points to lives as long as it.
// Handles may outlive their client.
//
// Time: `timeout_ms` bounds a call, in milliseconds; QUIRE_DEFAULT_TIMEOUT (-1)
// is what quire_connect was told. Calls that take as long as a table is large
// have no bound then: imports, exports, rewind, snapshot, backup, verification.
//
// Tried again, until the timeout: what the server refused with the advice to
// come back; and while no server answers, all that changes nothing, and pushes,
// which the server knows by number and applies once. A push that fails has not
// been applied, unless its sentence says that it may have been.
//
// Numbers are little-endian float32, int32 and int64, row-major. Names of
// tables end with a zero byte. Messages are JSON, as protobuf writes it: of
// quire/v1/admin.proto, under the names of its fields; 64-bit integers are
// strings, bytes are base64, enums are their names. Fields that are absent in
// what a caller gives are the default, unknown ones are an error.
//
// Fork: a child has a session and a connection of its own from its first call
// on, in every client that it inherits, and ends none of its parent's. gRPC
// itself works in a child only if GRPC_ENABLE_FORK_SUPPORT=1 was in the
// environment before the parent's first call, and no call is in flight while it
// forks; forks in quick succession have hung in gRPC 1.51 even so: start a pool
// of workers anew, not by fork. Futures, imports and exports stay with the
// process that made them: in another they are refused, and may be freed.

#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define QUIRE_API __attribute__((visibility("default")))
#else
#define QUIRE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

// What quire_connect was told.
#define QUIRE_DEFAULT_TIMEOUT (-1)

typedef struct quire_client quire_client;
typedef struct quire_error quire_error;
typedef struct quire_future quire_future;
typedef struct quire_rows quire_rows;
typedef struct quire_neighbours quire_neighbours;
typedef struct quire_import quire_import;
typedef struct quire_export quire_export;

// The version of the library: "0.1.0". Static.
QUIRE_API const char* quire_version(void);

// Frees a text that a function gave.
QUIRE_API void quire_text_free(char* text);

// --- Errors ---

// gRPC's number of the canonical code, and its name: 5, "NOT_FOUND".
QUIRE_API int32_t quire_error_code(const quire_error* error);
QUIRE_API const char* quire_error_code_name(const quire_error* error);

// One of docs/ERRORS.md: "NO_SUCH_TABLE"; empty if there is none.
QUIRE_API const char* quire_error_reason(const quire_error* error);

// What is at fault, as the request spells it: "tables[0].ids.ids[7]"; or empty.
QUIRE_API const char* quire_error_field(const quire_error* error);

// The sentence: what was found, what was needed, of which table.
QUIRE_API const char* quire_error_message(const quire_error* error);

// The server's advice after how many milliseconds to try again; -1 if a retry
// does not help.
QUIRE_API int64_t quire_error_retry_after_ms(const quire_error* error);

QUIRE_API void quire_error_free(quire_error* error);

// --- The connection ---

// Connects and reads the server's limits.
//   server      "host:port" or "unix:path"
//   timeout_ms  of this call, and of all that bring none; -1: 60 s
//   client      gets the client
// CANNOT_CONNECT if no server answers within the timeout.
QUIRE_API quire_error* quire_connect(const char* server, int64_t timeout_ms,
                                     quire_client** client);

// Waits for the calls in flight: their futures are ready then. Closes the
// session of its pushes, for which it waits a second at most. No other thread
// may be in a function of this client.
QUIRE_API void quire_client_free(quire_client* client);

// --- Rows ---

// What a bag's rows become, by the numbers of quire.v1.Bags.Pooling.
enum {
  QUIRE_POOLING_SUM = 1,    // each times its weight
  QUIRE_POOLING_MEAN = 2,   // padding is not counted
  QUIRE_POOLING_MAX = 3,    // per element; the first of equal ones wins
  QUIRE_POOLING_SQRTN = 4,  // the sum over the root of their number
};

// How ids fall into bags. The table's padding_idx is passed over; a bag of
// nothing else, or of nothing, becomes zeros.
typedef struct quire_bags {
  int32_t pooling;
  int64_t bag_count;
  // [bag_count + 1], ascending from 0 to the number of ids: bag b is
  // ids[offsets[b]] .. ids[offsets[b + 1] - 1].
  const int64_t* offsets;
  // SUM: [id_count], one for each id; NULL: all 1.
  const float* weights;
  // A push of MAX: [bag_count, dim], as the lookup wrote them. Else NULL.
  const int32_t* winners;
} quire_bags;

// Rows wanted from one table, and where they go.
typedef struct quire_lookup_item {
  const char* table;
  // [16]: the incarnation meant, else TABLE_REPLACED; NULL: any.
  const uint8_t* uid;
  // [id_count], each in [0, num_embeddings).
  const int64_t* ids;
  int64_t id_count;
  // [id_count, dim], or with bags [bag_count, dim]: written in place. Its count
  // of floats must be that exactly, else BAD_SHAPE.
  float* out;
  int64_t out_count;
  // NULL: a row for each id.
  const quire_bags* bags;
  // Of MAX, what a push of their gradient wants: [bag_count, dim], written in
  // place. NULL: not wanted.
  int32_t* winners;
} quire_lookup_item;

// Looks rows up in one table or many, in one round trip; what is larger than a
// message is split, fetched in parallel and joined; bags are not cut.
//   items  [item_count]; an empty lookup is legal
// NO_SUCH_TABLE, ID_OUT_OF_RANGE, BAD_SHAPE, TABLE_REPLACED.
QUIRE_API quire_error* quire_lookup(quire_client* client,
                                    const quire_lookup_item* items,
                                    int64_t item_count, int64_t timeout_ms);

// The same without waiting. `items` and bags may be reused at once, but not
// what they point to: tables, ids, out, offsets, weights and winners stay until
// the future is ready.
QUIRE_API quire_error* quire_lookup_async(quire_client* client,
                                          const quire_lookup_item* items,
                                          int64_t item_count,
                                          int64_t timeout_ms,
                                          quire_future** future);

// A place in the server's order of changes.
typedef struct quire_position {
  // Which start of the server.
  uint64_t epoch;
  // 1 for the first change; 0: there is no position (MEMORY tables).
  uint64_t lsn;
} quire_position;

// In which type numbers travel, by the numbers of quire.v1.ElementType. Here
// they are float32 all the same. The two of 2 bytes are rounded to the nearest,
// ties to even; NOT_BUILT if the server's features do not have "half".
enum {
  QUIRE_TYPE_FLOAT32 = 1,
  QUIRE_TYPE_FLOAT16 = 2,   // IEEE 754 binary16: up to 65504
  QUIRE_TYPE_BFLOAT16 = 3,  // the upper half of a float32
};

// How a lookup is made. Zeros but for struct_size: as quire_lookup makes it.
typedef struct quire_lookup_options {
  // sizeof(quire_lookup_options): versions to come add fields at the end.
  size_t struct_size;
  // [item_count], QUIRE_TYPE_…: of the rows of each item; NULL: float32.
  const int32_t* wire_types;
  // [item_count]: where not 0, of equal ids only the first travels, and its row
  // is copied to the others; items with bags stay as they are. NULL: all 0.
  const int32_t* unique_ids;
  // Rows no older than this: that of a push (quire_pushed), or of a lookup
  // before. The tables are waited for until the timeout, then NOT_CAUGHT_UP;
  // POSITION_LOST if they never will come there. NULL, or lsn 0: whatever there
  // is.
  const quire_position* min_position;
} quire_lookup_options;

// quire_lookup and quire_lookup_async, with options. They may be NULL, and be
// reused at once.
//   position  gets that of the rows, unless NULL: all changes of the tables up
//             to there are in all of them; lsn 0 for MEMORY tables. Of a future
//             quire_future_position has it
QUIRE_API quire_error* quire_lookup_with(quire_client* client,
                                         const quire_lookup_item* items,
                                         int64_t item_count,
                                         const quire_lookup_options* options,
                                         int64_t timeout_ms,
                                         quire_position* position);
QUIRE_API quire_error* quire_lookup_with_async(
    quire_client* client, const quire_lookup_item* items, int64_t item_count,
    const quire_lookup_options* options, int64_t timeout_ms,
    quire_future** future);

// Gradients for rows of one table. A table that is named twice in a push is one
// table: its gradients are summed in the order of the items.
typedef struct quire_gradient_item {
  const char* table;
  // As in a lookup.
  const uint8_t* uid;
  const int64_t* ids;
  int64_t id_count;
  // [id_count, dim], or with bags [bag_count, dim]. Finite, unless the table's
  // policy says otherwise.
  const float* gradient;
  int64_t gradient_count;
  // For this push in place of the table's: finite, 0 or more. NULL: the
  // table's.
  const double* learning_rate;
  // Multiplies the gradient, before everything: finite. NULL: 1.
  const double* gradient_scale;
  // Those of the lookup that this is the gradient of; of MAX, with its winners.
  const quire_bags* bags;
  // Of SUM bags with weights: [id_count], gets the gradient of the weights,
  // from rows as they were before the push; of a duplicate, nothing. NULL: not
  // wanted.
  float* weight_gradients;
} quire_gradient_item;

// How safe a change is when it is acknowledged, by the numbers of
// quire.v1.Durability.
enum {
  QUIRE_DURABILITY_UNSPECIFIED = 0,  // the table's default
  QUIRE_DURABILITY_MEMORY = 1,       // rows in memory are changed
  QUIRE_DURABILITY_WRITTEN = 2,      // kill -9 loses nothing
  QUIRE_DURABILITY_SYNCED = 3,       // nor does a power cut
};

// What a push did.
typedef struct quire_pushed {
  quire_position position;
  // One of QUIRE_DURABILITY_….
  int32_t reached;
  // 1: an earlier try had been applied, whose answer was lost; figures of
  // tables are 0.
  int32_t duplicate;
  // 1: however often it was sent, it was applied once. 0: at least once, and
  // it was not sent again.
  int32_t exactly_once;
} quire_pushed;

// What a push did to the table of one item.
typedef struct quire_pushed_table {
  uint8_t uid[16];
  int64_t rows_changed;
  // Gradients of the padding row, which were dropped.
  int64_t padding_dropped;
  // Rows that the non-finite policy left as they were.
  int64_t rows_skipped;
  // The table's step count, this push included.
  int64_t step;
} quire_pushed_table;

// Pushes one step: one request, all tables or none.
//   items           [item_count]; an empty push is legal
//   min_durability  answered no sooner than this; one that a table cannot
//                   promise: UNSUPPORTED_DURABILITY
//   pushed          gets what it did, unless NULL
//   tables          [item_count], gets what it did to each, unless NULL
// A push over the server's limit has the duplicate ids of items without bags
// summed, in their order; TOO_LARGE if it does not fit then. NON_FINITE.
QUIRE_API quire_error* quire_apply_gradient(
    quire_client* client, const quire_gradient_item* items, int64_t item_count,
    int32_t min_durability, int64_t timeout_ms, quire_pushed* pushed,
    quire_pushed_table* tables);

// The same without waiting. All that is given may be reused at once, but
// weight_gradients stay until the future is ready. At most 512 pushes are under
// way, counted from the oldest without an outcome; later ones wait their turn.
QUIRE_API quire_error* quire_apply_gradient_async(
    quire_client* client, const quire_gradient_item* items, int64_t item_count,
    int32_t min_durability, int64_t timeout_ms, quire_future** future);

// How a push is made. Zeros but for struct_size: as quire_apply_gradient makes
// it.
typedef struct quire_push_options {
  // sizeof(quire_push_options): versions to come add fields at the end.
  size_t struct_size;
  // [item_count], QUIRE_TYPE_…: of the gradient of each item; NULL: float32. A
  // finite number that becomes infinite when it is rounded: NON_FINITE,
  // whatever the table's policy, and nothing is sent.
  const int32_t* wire_types;
  // [item_count]: where not 0, the gradients of equal ids are summed before
  // they travel, in their order; items with bags stay as they are. The rows
  // become the same, but for the last bit if several items name the table. One
  // with scale_grad_by_freq, or that skips rows, refuses it (BAD_VALUE). NULL:
  // all 0.
  const int32_t* unique_ids;
  // As for quire_apply_gradient.
  int32_t min_durability;
} quire_push_options;

// quire_apply_gradient and quire_apply_gradient_async, with options. They may
// be NULL, and be reused at once.
QUIRE_API quire_error* quire_apply_gradient_with(
    quire_client* client, const quire_gradient_item* items, int64_t item_count,
    const quire_push_options* options, int64_t timeout_ms, quire_pushed* pushed,
    quire_pushed_table* tables);
QUIRE_API quire_error* quire_apply_gradient_with_async(
    quire_client* client, const quire_gradient_item* items, int64_t item_count,
    const quire_push_options* options, int64_t timeout_ms,
    quire_future** future);

// --- Futures ---

// 1 if the call has ended, well or not, else 0. Never waits. Any thread.
QUIRE_API int quire_future_is_ready(const quire_future* future);

// Waits until it is ready, `timeout_ms` at most, -1: however long (the call has
// a timeout of its own). 1 if it is ready, else 0. Any thread.
QUIRE_API int quire_future_wait(const quire_future* future, int64_t timeout_ms);

// How the call ended: NULL if well. May be asked again and again. code 9
// (FAILED_PRECONDITION) if it is not ready, or is another process's.
QUIRE_API quire_error* quire_future_error(const quire_future* future);

// The same, and of a push that went well, what it did, as quire_apply_gradient
// gives it. INVALID_ARGUMENT if it is a lookup's.
QUIRE_API quire_error* quire_future_pushed(const quire_future* future,
                                           quire_pushed* pushed,
                                           quire_pushed_table* tables);

// Where the rows of a lookup are in the order of changes, or where a push is;
// lsn 0 of MEMORY tables, and if it has not ended well.
QUIRE_API quire_position quire_future_position(const quire_future* future);

// Waits until it is ready, since the call may write to the caller's memory
// until then; that of another process is not waited for.
QUIRE_API void quire_future_free(quire_future* future);

// --- Tables ---

// What it takes to look rows up.
typedef struct quire_table_info {
  uint8_t uid[16];
  // Rows.
  int64_t num_embeddings;
  // Floats in a row.
  int64_t embedding_dim;
  // -1 if there is none.
  int64_t padding_idx;
  // Pushes so far.
  int64_t step;
} quire_table_info;

// Creates a table and waits until it serves.
//   request  CreateTableRequest
//   table    gets CreateTableResponse
QUIRE_API quire_error* quire_create_table(quire_client* client,
                                          const char* request,
                                          int64_t timeout_ms, char** table);

// One table.
//   info  gets the figures, unless NULL
//   json  gets the Table, unless NULL
QUIRE_API quire_error* quire_get_table(quire_client* client, const char* table,
                                       int64_t timeout_ms,
                                       quire_table_info* info, char** json);

// All tables, by name.
//   tables  gets ListTablesResponse
QUIRE_API quire_error* quire_list_tables(quire_client* client,
                                         int64_t timeout_ms, char** tables);

// Changes learning rate, frozen, default durability.
//   request  AlterTableRequest
//   table    gets the Table
QUIRE_API quire_error* quire_alter_table(quire_client* client,
                                         const char* request,
                                         int64_t timeout_ms, char** table);

QUIRE_API quire_error* quire_drop_table(quire_client* client, const char* table,
                                        int64_t timeout_ms);

// Makes a LOGGED table what it was after the change `to_lsn`; it has another
// uid then. NOT_KEPT.
//   rewound  gets RewindTableResponse
QUIRE_API quire_error* quire_rewind_table(quire_client* client,
                                          const char* table, uint64_t to_lsn,
                                          int64_t timeout_ms, char** rewound);

// --- Stored rows and labels ---

// Labels, one after another: label i is the bytes
// text[offsets[i]] .. text[offsets[i + 1] - 1]. An empty one: none.
typedef struct quire_labels {
  const char* text;
  // [count + 1], ascending from 0.
  const int64_t* offsets;
  int64_t count;
} quire_labels;

// Frees labels that a function gave.
QUIRE_API void quire_labels_free(quire_labels* labels);

// Stored rows, with their optimizer state.
//   ids     [id_count]
//   values  not 0: with max_norm, renormalised as in a lookup
//   rows    gets [id_count] rows in the order of ids
QUIRE_API quire_error* quire_read_rows(quire_client* client, const char* table,
                                       const int64_t* ids, int64_t id_count,
                                       int32_t values, int64_t timeout_ms,
                                       quire_rows** rows);

// Sets stored rows; all of them or none.
//   ids        [id_count], each once
//   values     [id_count, dim]
//   state      [id_count, floats of state]; NULL: the state stays
QUIRE_API quire_error* quire_write_rows(quire_client* client, const char* table,
                                        const int64_t* ids, int64_t id_count,
                                        const float* values,
                                        int64_t value_count, const float* state,
                                        int64_t state_count,
                                        int64_t timeout_ms);

// One row, its label and its last change, for people.
//   row  gets GetRowResponse
QUIRE_API quire_error* quire_get_row(quire_client* client, const char* table,
                                     int64_t id, int64_t timeout_ms,
                                     char** row);

// Sets labels; an empty one removes.
//   ids     [id_count]
//   labels  as many
QUIRE_API quire_error* quire_set_labels(quire_client* client, const char* table,
                                        const int64_t* ids, int64_t id_count,
                                        const quire_labels* labels,
                                        int64_t timeout_ms);

// The labels of rows.
//   ids     [id_count]
//   labels  gets as many, to be freed
QUIRE_API quire_error* quire_get_labels(quire_client* client, const char* table,
                                        const int64_t* ids, int64_t id_count,
                                        int64_t timeout_ms,
                                        quire_labels** labels);

// The rows of labels.
//   ids  [labels->count], gets the smallest id that has it, or -1
QUIRE_API quire_error* quire_find_labels(quire_client* client,
                                         const char* table,
                                         const quire_labels* labels,
                                         int64_t timeout_ms, int64_t* ids);

// Rows that a function gave: `count` of `dim` floats.
QUIRE_API int64_t quire_rows_count(const quire_rows* rows);
QUIRE_API int64_t quire_rows_dim(const quire_rows* rows);
// The id of the first, of an export: ids are consecutive.
QUIRE_API int64_t quire_rows_first_id(const quire_rows* rows);
// [count, dim]
QUIRE_API const float* quire_rows_values(const quire_rows* rows);
// Floats of optimizer state in a row; 0 if there is none, or it was not asked
// for. Their order is that of docs/OPTIMIZERS.md.
QUIRE_API int64_t quire_rows_state_dim(const quire_rows* rows);
// [count, state_dim]
QUIRE_API const float* quire_rows_state(const quire_rows* rows);
// [count]; NULL if no row of the table has one, or they were not asked for.
QUIRE_API const quire_labels* quire_rows_labels(const quire_rows* rows);
QUIRE_API void quire_rows_free(quire_rows* rows);

// --- Nearest ---

// How nearness is measured, by the numbers of quire.v1.NearestRequest.Metric.
enum {
  QUIRE_METRIC_COSINE = 1,  // -1 .. 1; larger is nearer
  QUIRE_METRIC_DOT = 2,     // larger is nearer
  QUIRE_METRIC_L2 = 3,      // smaller is nearer
};

// Whose neighbours are wanted: of rows by id, each left out of its own, then of
// vectors. At most 1024 queries in all.
typedef struct quire_nearest_query {
  const char* table;
  // Neighbours per query: 1 .. 10,000. Fewer come back from a smaller table.
  int32_t k;
  int32_t metric;
  // Not 0: with labels.
  int32_t return_labels;
  // [id_count]
  const int64_t* ids;
  int64_t id_count;
  // [vector_count, dim], finite.
  const float* vectors;
  int64_t vector_count;
  int64_t dim;
  // [exclude_count]: never returned, for any query.
  const int64_t* exclude_ids;
  int64_t exclude_count;
} quire_nearest_query;

// The k rows most like each query, nearest first; ties by smaller id.
QUIRE_API quire_error* quire_nearest(quire_client* client,
                                     const quire_nearest_query* query,
                                     int64_t timeout_ms,
                                     quire_neighbours** neighbours);

QUIRE_API int64_t quire_neighbours_query_count(const quire_neighbours* result);
// [query_count + 1]: those of query q are offsets[q] .. offsets[q + 1] - 1 of
// what follows.
QUIRE_API const int64_t* quire_neighbours_offsets(
    const quire_neighbours* result);
QUIRE_API const int64_t* quire_neighbours_ids(const quire_neighbours* result);
QUIRE_API const float* quire_neighbours_scores(const quire_neighbours* result);
// NULL if they were not asked for.
QUIRE_API const quire_labels* quire_neighbours_labels(
    const quire_neighbours* result);
QUIRE_API void quire_neighbours_free(quire_neighbours* result);

// --- Import and export ---

// A table being imported: rows in order of their ids from 0 on, then
// quire_import_finish. Freed before that, it leaves no table behind.
//   spec  TableSpec; its initialiser is not used
//   step  pushes that the rows and their state have seen, 0 or more
QUIRE_API quire_error* quire_import_begin(quire_client* client,
                                          const char* spec, int64_t step,
                                          int64_t timeout_ms,
                                          quire_import** import);

// The next rows.
//   values       [n, dim]
//   value_count  n * dim
//   labels       n of them, or NULL for none
//   state        [n, floats of the optimizer's state], or NULL: initial state
//   state_count  all its floats; 0 without
QUIRE_API quire_error* quire_import_write(
    quire_import* import, const float* values, int64_t value_count,
    const quire_labels* labels, const float* state, int64_t state_count);

// The table appears. Every row must have been written.
//   table  gets the Table, unless NULL
QUIRE_API quire_error* quire_import_finish(quire_import* import, char** table);

QUIRE_API void quire_import_free(quire_import* import);

// A table being read, in order of ids.
//   request  ExportTableRequest
QUIRE_API quire_error* quire_export_begin(quire_client* client,
                                          const char* request,
                                          int64_t timeout_ms,
                                          quire_export** exported);

// The table as it was at the beginning.
//   table  gets the Table
QUIRE_API quire_error* quire_export_table(const quire_export* exported,
                                          char** table);

// What all rows are as of; lsn 0: each is as of some moment (MEMORY tables).
QUIRE_API quire_position quire_export_position(const quire_export* exported);

// The next rows.
//   rows  gets them, or NULL after the last
QUIRE_API quire_error* quire_export_read(quire_export* exported,
                                         quire_rows** rows);

QUIRE_API void quire_export_free(quire_export* exported);

// --- The server ---

// Version, features and limits, as quire_connect read them.
//   info  gets GetServerInfoResponse
QUIRE_API quire_error* quire_server_info(quire_client* client, char** info);

// Counters of the server and of its tables.
//   stats  gets GetStatsResponse
QUIRE_API quire_error* quire_get_stats(quire_client* client, int64_t timeout_ms,
                                       char** stats);

// NULL if the server says SERVING.
QUIRE_API quire_error* quire_health(quire_client* client, int64_t timeout_ms);

// Writes a snapshot of all LOGGED tables; all changes up to `position` are in
// it.
QUIRE_API quire_error* quire_create_snapshot(quire_client* client,
                                             int64_t timeout_ms,
                                             quire_position* position);

// Copies all LOGGED tables, at one position, to `name` in the directory that
// the server has for backups. NO_BACKUP_DIR.
//   backup  gets BackUpResponse
QUIRE_API quire_error* quire_back_up(quire_client* client, const char* name,
                                     int64_t timeout_ms, char** backup);

// Reads back, from the server's disk, what the newest snapshot has of a LOGGED
// table. CORRUPT, NOT_KEPT.
//   verified  gets VerifyTableResponse
QUIRE_API quire_error* quire_verify_table(quire_client* client,
                                          const char* table, int64_t timeout_ms,
                                          char** verified);

// Says how many steps a worker has done, and waits until it may begin the next.
// CLOCK_BEHIND at the timeout, naming who is waited for: what was said stays
// said. Tried again while no server answers.
//   request   AdvanceClockRequest
//   response  gets AdvanceClockResponse
QUIRE_API quire_error* quire_advance_clock(quire_client* client,
                                           const char* request,
                                           int64_t timeout_ms, char** response);

#ifdef __cplusplus
}  // extern "C"
#endif
