#include "server/methods.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <optional>
#include <utility>

#include "base/limits.h"
#include "base/status.h"

namespace quire {
namespace {

// A method that has its answer when it returns.
using Handle =
    std::function<absl::StatusOr<Reply>(const ReceivedMessage&, const Caller&)>;
auto AtOnce(Handle handle) {
  return [handle = std::move(handle)](
             const ReceivedMessage& message, const Caller& caller,
             const Answer& answer) { answer(handle(message, caller)); };
}

// A method over generated messages, as a method over bytes.
template <typename Request, typename Response>
auto Typed(std::function<absl::StatusOr<Response>(const Request&)> handle) {
  return AtOnce(
      [handle = std::move(handle)](const ReceivedMessage& message,
                                   const Caller&) -> absl::StatusOr<Reply> {
        Request request;
        QUIRE_RETURN_IF_ERROR(ParseInto(message, request));
        QUIRE_ASSIGN_OR_RETURN(const Response response, handle(request));
        return Reply{.message = Serialize(response)};
      });
}

// Those of this API, by full name.
std::vector<std::string> ServiceNames() {
  return {"quire.v1.EmbeddingService", "quire.v1.TableService",
          "quire.v1.ServerService"};
}

std::vector<std::string> AllServiceNames() {
  std::vector<std::string> names = ServiceNames();
  names.insert(names.end(),
               {HealthService::Protocol::service_full_name(),
                ReflectionService::Protocol::service_full_name(),
                ReflectionService::OldProtocol::service_full_name()});
  return names;
}

int TableMethodIndex(const std::string& name) {
  return google::protobuf::DescriptorPool::generated_pool()
      ->FindServiceByName("quire.v1.TableService")
      ->FindMethodByName(name)
      ->index();
}

// A stream on which every message has one answer, at once or later.
class AnswerEach final : public StreamHandler {
 public:
  using Handle = std::function<void(const ReceivedMessage&,
                                    std::function<void(Reply)> answer)>;
  explicit AnswerEach(Handle handle) : handle_(std::move(handle)) {}

  void Take(const ReceivedMessage& message, Answer answer) override {
    handle_(message, [answer = std::move(answer)](Reply reply) {
      answer(std::optional<Reply>(std::move(reply)));
    });
  }
  absl::StatusOr<std::optional<Reply>> Take(const ReceivedMessage&) override {
    return Error(Reason::kBug, "messages are answered later");
  }
  absl::StatusOr<std::optional<Reply>> TakeEnd() override {
    return std::optional<Reply>();
  }

 private:
  const Handle handle_;
};

class ImportStream final : public StreamHandler {
 public:
  explicit ImportStream(Engine& engine) : import_(engine) {}

  absl::StatusOr<std::optional<Reply>> Take(
      const ReceivedMessage& message) override {
    v1::ImportTableRequest part;
    QUIRE_RETURN_IF_ERROR(ParseInto(message, part));
    QUIRE_RETURN_IF_ERROR(import_.Take(part));
    return std::optional<Reply>();
  }
  absl::StatusOr<std::optional<Reply>> TakeEnd() override {
    if (std::exchange(is_answered_, true)) {
      return std::optional<Reply>();
    }
    QUIRE_ASSIGN_OR_RETURN(const v1::ImportTableResponse response,
                           import_.Finish());
    return std::optional<Reply>(Reply{.message = Serialize(response)});
  }

 private:
  TableService::Import import_;
  bool is_answered_ = false;
};

class ExportStream final : public StreamHandler {
 public:
  explicit ExportStream(Engine& engine) : engine_(engine) {}

  absl::StatusOr<std::optional<Reply>> Take(
      const ReceivedMessage& message) override {
    v1::ExportTableRequest request;
    QUIRE_RETURN_IF_ERROR(ParseInto(message, request));
    QUIRE_ASSIGN_OR_RETURN(export_,
                           TableService::Export::Open(engine_, request));
    return Next();
  }
  absl::StatusOr<std::optional<Reply>> TakeEnd() override {
    return export_ ? Next() : std::optional<Reply>();
  }

 private:
  absl::StatusOr<std::optional<Reply>> Next() {
    QUIRE_ASSIGN_OR_RETURN(const std::optional<v1::ExportTableResponse> part,
                           export_->Next());
    if (!part) {
      return std::optional<Reply>();
    }
    return std::optional<Reply>(Reply{.message = Serialize(*part)});
  }

  Engine& engine_;
  std::optional<TableService::Export> export_;
};

}  // namespace

Methods::Methods(Engine& engine, const Readiness& readiness,
                 MemoryBudget& inflight, journal::Directory* backups,
                 const ServerOptions& options)
    : engine_(engine),
      readiness_(readiness),
      inflight_(inflight),
      options_(options),
      started_(std::chrono::steady_clock::now()),
      health_(ServiceNames()),
      reflection_(AllServiceNames()),
      rows_(engine, inflight, options.push_bytes_max),
      tables_(engine, backups) {
  AddDataPlane();
  AddTableMethods();
  AddStreams();
  AddServerMethods();
  AddProtocols();
}

std::vector<grpc::Service*> Methods::services() {
  return {&embedding_,
          &table_,
          &server_,
          &health_.methods(),
          &reflection_.methods(),
          &reflection_.old_methods()};
}

MethodCounters& Methods::CountersOf(const std::string& name) {
  return counters_[name];
}

void Methods::ServeAll(CallHost& host, grpc::ServerCompletionQueue* queue) {
  for (const UnaryMethod& method : unary_) {
    Serve(method, host, queue);
  }
  for (const StreamMethod& method : streams_) {
    Serve(method, host, queue);
  }
  health_.ServeWatch(queue);
}

// The generated Request… function of a unary method.
#define QUIRE_REQUEST_UNARY(service, method)                                 \
  [this](grpc::ServerContext* context, grpc::ByteBuffer* request,            \
         UnaryMethod::Responder* responder,                                  \
         grpc::ServerCompletionQueue* queue, void* tag) {                    \
    service.Request##method(context, request, responder, queue, queue, tag); \
  }

// A control method: its handler is tables_.Method.
#define QUIRE_TABLE_METHOD(method)                                          \
  unary_.push_back(UnaryMethod{                                             \
      .name = #method,                                                      \
      .request = QUIRE_REQUEST_UNARY(table_, method),                       \
      .handle = Typed<v1::method##Request, v1::method##Response>(           \
          [this](const auto& request) { return tables_.method(request); }), \
      .counters = CountersOf(#method)})

void Methods::AddDataPlane() {
  unary_.push_back(UnaryMethod{
      .name = "Lookup",
      .request = QUIRE_REQUEST_UNARY(embedding_, Lookup),
      .handle =
          [this](const ReceivedMessage& message, const Caller& caller,
                 Answer answer) {
            rows_.Lookup(message, caller.deadline, std::move(answer));
          },
      .is_inline = true,
      .counters = CountersOf("Lookup")});
  unary_.push_back(UnaryMethod{
      .name = "ApplyGradient",
      .request = QUIRE_REQUEST_UNARY(embedding_, ApplyGradient),
      .handle =
          [this](const ReceivedMessage& message, const Caller& caller,
                 Answer answer) {
            rows_.ApplyGradient(message, caller.deadline, std::move(answer));
          },
      .is_inline = true,
      .counters = CountersOf("ApplyGradient")});
  unary_.push_back(UnaryMethod{
      .name = "Nearest",
      .request = QUIRE_REQUEST_UNARY(embedding_, Nearest),
      .handle =
          AtOnce([this](const ReceivedMessage& message, const Caller& caller) {
            return rows_.Nearest(message, caller.is_cancelled);
          }),
      .counters = CountersOf("Nearest")});
  unary_.push_back(UnaryMethod{
      .name = "OpenSession",
      .request = QUIRE_REQUEST_UNARY(embedding_, OpenSession),
      .handle = Typed<v1::OpenSessionRequest, v1::OpenSessionResponse>(
          [this](const auto& request) { return rows_.OpenSession(request); }),
      .counters = CountersOf("OpenSession")});
  unary_.push_back(UnaryMethod{
      .name = "CloseSession",
      .request = QUIRE_REQUEST_UNARY(embedding_, CloseSession),
      .handle = Typed<v1::CloseSessionRequest, v1::CloseSessionResponse>(
          [this](const auto& request) { return rows_.CloseSession(request); }),
      .counters = CountersOf("CloseSession")});
}

void Methods::AddTableMethods() {
  QUIRE_TABLE_METHOD(CreateTable);
  QUIRE_TABLE_METHOD(GetTable);
  QUIRE_TABLE_METHOD(ListTables);
  QUIRE_TABLE_METHOD(AlterTable);
  QUIRE_TABLE_METHOD(DropTable);
  QUIRE_TABLE_METHOD(RewindTable);
  QUIRE_TABLE_METHOD(ReadRows);
  QUIRE_TABLE_METHOD(GetRow);
  QUIRE_TABLE_METHOD(WriteRows);
  QUIRE_TABLE_METHOD(SetLabels);
  QUIRE_TABLE_METHOD(GetLabels);
  QUIRE_TABLE_METHOD(FindLabels);
  QUIRE_TABLE_METHOD(CreateSnapshot);
  QUIRE_TABLE_METHOD(BackUp);
  unary_.push_back(UnaryMethod{
      .name = "VerifyTable",
      .request = QUIRE_REQUEST_UNARY(table_, VerifyTable),
      .handle = AtOnce([this](const ReceivedMessage& message,
                              const Caller& caller) -> absl::StatusOr<Reply> {
        v1::VerifyTableRequest request;
        QUIRE_RETURN_IF_ERROR(ParseInto(message, request));
        QUIRE_ASSIGN_OR_RETURN(
            const v1::VerifyTableResponse response,
            tables_.VerifyTable(request, caller.is_cancelled));
        return Reply{.message = Serialize(response)};
      }),
      .counters = CountersOf("VerifyTable")});
}

void Methods::TableMethods::RequestImport(grpc::ServerContext* context,
                                          StreamMethod::Stream* stream,
                                          grpc::ServerCompletionQueue* queue,
                                          void* tag) {
  static const int index = TableMethodIndex("ImportTable");
  RequestAsyncClientStreaming(index, context, stream, queue, queue, tag);
}

void Methods::TableMethods::RequestExport(grpc::ServerContext* context,
                                          grpc::ByteBuffer* request,
                                          StreamMethod::Stream* stream,
                                          grpc::ServerCompletionQueue* queue,
                                          void* tag) {
  static const int index = TableMethodIndex("ExportTable");
  RequestAsyncServerStreaming(index, context, request, stream, queue, queue,
                              tag);
}

void Methods::AddStreams() {
  streams_.push_back(StreamMethod{
      .name = "LookupStream",
      .request =
          [this](grpc::ServerContext* context, grpc::ByteBuffer*,
                 StreamMethod::Stream* stream,
                 grpc::ServerCompletionQueue* queue, void* tag) {
            embedding_.RequestLookupStream(context, stream, queue, queue, tag);
          },
      .open =
          [this](const Deadline& deadline) {
            return std::make_unique<AnswerEach>(
                [this, deadline](const ReceivedMessage& message,
                                 std::function<void(Reply)> answer) {
                  rows_.LookupOnStream(message, deadline, std::move(answer));
                });
          },
      .is_inline = true,
      .counters = CountersOf("LookupStream")});
  streams_.push_back(StreamMethod{
      .name = "ApplyGradientStream",
      .request =
          [this](grpc::ServerContext* context, grpc::ByteBuffer*,
                 StreamMethod::Stream* stream,
                 grpc::ServerCompletionQueue* queue, void* tag) {
            embedding_.RequestApplyGradientStream(context, stream, queue, queue,
                                                  tag);
          },
      .open =
          [this](const Deadline& deadline) {
            return std::make_unique<AnswerEach>(
                [this, deadline](const ReceivedMessage& message,
                                 std::function<void(Reply)> answer) {
                  rows_.ApplyGradientOnStream(message, deadline,
                                              std::move(answer));
                });
          },
      .is_inline = true,
      .counters = CountersOf("ApplyGradientStream")});
  streams_.push_back(
      StreamMethod{.name = "ImportTable",
                   .request =
                       [this](grpc::ServerContext* context, grpc::ByteBuffer*,
                              StreamMethod::Stream* stream,
                              grpc::ServerCompletionQueue* queue, void* tag) {
                         table_.RequestImport(context, stream, queue, tag);
                       },
                   .open =
                       [this](const Deadline&) {
                         return std::make_unique<ImportStream>(engine_);
                       },
                   .counters = CountersOf("ImportTable")});
  streams_.push_back(StreamMethod{
      .name = "ExportTable",
      .request =
          [this](grpc::ServerContext* context, grpc::ByteBuffer* request,
                 StreamMethod::Stream* stream,
                 grpc::ServerCompletionQueue* queue, void* tag) {
            table_.RequestExport(context, request, stream, queue, tag);
          },
      .brings_first = true,
      .open =
          [this](const Deadline&) {
            return std::make_unique<ExportStream>(engine_);
          },
      .counters = CountersOf("ExportTable")});
}

void Methods::AddServerMethods() {
  unary_.push_back(UnaryMethod{
      .name = "GetServerInfo",
      .request = QUIRE_REQUEST_UNARY(server_, GetServerInfo),
      .handle = Typed<v1::GetServerInfoRequest, v1::GetServerInfoResponse>(
          [this](const auto& request) { return GetServerInfo(request); }),
      .while_recovering = true,
      .counters = CountersOf("GetServerInfo")});
  unary_.push_back(UnaryMethod{
      .name = "GetStats",
      .request = QUIRE_REQUEST_UNARY(server_, GetStats),
      .handle = Typed<v1::GetStatsRequest, v1::GetStatsResponse>(
          [this](const auto& request) { return GetStats(request); }),
      .while_recovering = true,
      .counters = CountersOf("GetStats")});
  unary_.push_back(UnaryMethod{
      .name = "AdvanceClock",
      .request = QUIRE_REQUEST_UNARY(server_, AdvanceClock),
      .handle =
          [this](const ReceivedMessage& message, const Caller& caller,
                 Answer answer) {
            clocks_.AdvanceClock(message, caller, std::move(answer));
          },
      .is_inline = true,
      .may_wait = true,
      .counters = CountersOf("AdvanceClock")});
}

void Methods::AddProtocols() {
  unary_.push_back(UnaryMethod{
      .name = "Check",
      .request = QUIRE_REQUEST_UNARY(health_.methods(), Check),
      .handle = AtOnce([this](const ReceivedMessage& message,
                              const Caller&) -> absl::StatusOr<Reply> {
        HealthService::Request request;
        QUIRE_RETURN_IF_ERROR(
            ParseInto(message, request, kProtocolRequestBytesMax));
        QUIRE_ASSIGN_OR_RETURN(const auto response, health_.Check(request));
        return Reply{.message = Serialize(response)};
      }),
      .is_inline = true,
      .while_stopping = true,
      .while_recovering = true,
      .counters = protocol_counters_});
  const auto add_reflection = [this](auto& methods) {
    streams_.push_back(StreamMethod{
        .name = "ServerReflectionInfo",
        .request =
            [&methods](grpc::ServerContext* context, grpc::ByteBuffer*,
                       StreamMethod::Stream* stream,
                       grpc::ServerCompletionQueue* queue, void* tag) {
              methods.RequestServerReflectionInfo(context, stream, queue, queue,
                                                  tag);
            },
        .open = [this](const Deadline&) { return reflection_.OpenStream(); },
        .while_recovering = true,
        .counters = protocol_counters_});
  };
  add_reflection(reflection_.methods());
  add_reflection(reflection_.old_methods());
}

absl::StatusOr<v1::GetServerInfoResponse> Methods::GetServerInfo(
    const v1::GetServerInfoRequest&) const {
  v1::GetServerInfoResponse info;
  info.set_version(std::string(Version()));
  for (const char* feature :
       {"lookup", "apply_gradient", "lookup_stream", "apply_gradient_stream",
        "nearest", "labels", "rows", "get_row", "import", "export", "sessions",
        "clocks", "half"}) {
    info.add_features(feature);
  }
  if (!options_.data_dir.empty()) {
    info.add_features("logged_tables");
    info.add_features("snapshots");
    info.add_features("rewind");
  }
  if (!options_.backup_dir.empty()) {
    info.add_features("backup");
  }
  if (readiness_.is_ready() && engine_.log() != nullptr) {
    info.set_epoch(engine_.log()->epoch());
  }
  v1::ServerLimits& limits = *info.mutable_limits();
  limits.set_ids_per_request(kIdsPerRequestMax);
  limits.set_tables_per_request(kTablesPerRequestMax);
  limits.set_rank(kRankMax);
  limits.set_lookup_reply_bytes(kLookupReplyBytesMax);
  limits.set_push_bytes(options_.push_bytes_max);
  limits.set_embedding_dim(kDimMax);
  limits.set_table_bytes(options_.table_bytes_max);
  limits.set_inflight_bytes(options_.inflight_bytes_max);
  limits.set_nearest_count(kNearestCountMax);
  info.set_instruction_set(engine_.kernels().name);
  info.set_thread_count(options_.thread_count);
  return info;
}

v1::LogStats Methods::StatsOf(const journal::Log& log) const {
  const journal::Log::Stats figures = log.stats();
  v1::LogStats stats;
  stats.mutable_appended()->set_epoch(log.epoch());
  stats.mutable_appended()->set_lsn(log.appended_lsn());
  stats.mutable_synced()->set_epoch(log.epoch());
  stats.mutable_synced()->set_lsn(log.synced_lsn());
  stats.set_first_lsn(log.first_lsn());
  stats.set_bytes(figures.bytes);
  stats.set_unsynced_bytes(figures.unsynced_bytes);
  stats.set_writes(figures.writes);
  stats.set_syncs(figures.syncs);
  stats.set_longest_unsynced_seconds(
      std::chrono::duration<double>(figures.longest_unsynced).count());
  stats.set_has_failed(figures.has_failed);
  stats.set_snapshot_lsn(engine_.snapshots()->newest_lsn());
  stats.set_estimated_recovery_seconds(engine_.EstimatedRecoverySeconds());
  if (const Scrubber::Stats scrub = engine_.scrubber()->stats(); scrub.is_on) {
    stats.mutable_scrub()->set_passes(scrub.passes);
    stats.mutable_scrub()->set_last_pass_unix_seconds(
        scrub.last_pass_unix_seconds);
    stats.mutable_scrub()->set_bytes_read(scrub.bytes_read);
    stats.mutable_scrub()->set_findings(scrub.findings);
  }
  for (std::string& what : engine_.snapshots()->damaged()) {
    stats.add_damaged_snapshots(std::move(what));
  }
  return stats;
}

absl::StatusOr<v1::GetStatsResponse> Methods::GetStats(
    const v1::GetStatsRequest&) const {
  v1::GetStatsResponse stats;
  stats.set_uptime_seconds(
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started_)
          .count());
  stats.set_table_bytes(engine_.table_memory().bytes_used());
  stats.set_inflight_bytes(inflight_.bytes_used());
  for (const auto& [name, counters] : counters_) {
    const int64_t ok = counters.ok.load(std::memory_order_relaxed);
    const int64_t failed = counters.failed.load(std::memory_order_relaxed);
    if (ok + failed == 0) {
      continue;
    }
    auto& method = *stats.add_methods();
    method.set_method(name);
    method.set_ok(ok);
    method.set_failed(failed);
    method.set_bytes_received(
        counters.bytes_received.load(std::memory_order_relaxed));
    method.set_bytes_sent(counters.bytes_sent.load(std::memory_order_relaxed));
  }
  if (!readiness_.is_ready()) {
    *stats.mutable_recovery() = readiness_.Stats();
    return stats;
  }
  stats.set_sessions(engine_.session_count());
  if (engine_.log() != nullptr) {
    *stats.mutable_log() = StatsOf(*engine_.log());
  }
  for (const TableHandle& table : engine_.List()) {
    *stats.add_tables() = engine_.Describe(*table);
  }
  return stats;
}

}  // namespace quire
