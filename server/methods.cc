#include "server/methods.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <optional>
#include <utility>

#include "base/limits.h"
#include "base/status.h"

namespace quire {
namespace {

// A method over generated messages, as a method over bytes.
template <typename Request, typename Response>
auto Typed(std::function<absl::StatusOr<Response>(const Request&)> handle) {
  return [handle = std::move(handle)](
             const ReceivedMessage& message,
             const IsCancelled&) -> absl::StatusOr<Reply> {
    Request request;
    QUIRE_RETURN_IF_ERROR(ParseInto(message, request));
    QUIRE_ASSIGN_OR_RETURN(const Response response, handle(request));
    return Reply{.message = Serialize(response)};
  };
}

auto NotBuilt(std::string name) {
  return [name = std::move(name)](const ReceivedMessage&,
                                  const IsCancelled&) -> absl::StatusOr<Reply> {
    return Error(Reason::kNoSuchMethod,
                 fmt::format("{} is not built yet", name));
  };
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

// A stream on which every message has one answer.
class AnswerEach final : public StreamHandler {
 public:
  explicit AnswerEach(std::function<Reply(const ReceivedMessage&)> answer)
      : answer_(std::move(answer)) {}

  absl::StatusOr<std::optional<Reply>> Take(
      const ReceivedMessage& message) override {
    return std::optional<Reply>(answer_(message));
  }
  absl::StatusOr<std::optional<Reply>> TakeEnd() override {
    return std::optional<Reply>();
  }

 private:
  const std::function<Reply(const ReceivedMessage&)> answer_;
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
  std::optional<Reply> Next() {
    std::optional<v1::ExportTableResponse> part = export_->Next();
    if (!part) {
      return std::nullopt;
    }
    return Reply{.message = Serialize(*part)};
  }

  Engine& engine_;
  std::optional<TableService::Export> export_;
};

}  // namespace

Methods::Methods(Engine& engine, MemoryBudget& inflight,
                 const ServerOptions& options)
    : engine_(engine),
      inflight_(inflight),
      options_(options),
      started_(std::chrono::steady_clock::now()),
      health_(ServiceNames()),
      reflection_(AllServiceNames()),
      rows_(engine, inflight, options.push_bytes_max),
      tables_(engine) {
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

#define QUIRE_METHOD_NOT_BUILT(service, method)                    \
  unary_.push_back(                                                \
      UnaryMethod{.name = #method,                                 \
                  .request = QUIRE_REQUEST_UNARY(service, method), \
                  .handle = NotBuilt(#method),                     \
                  .counters = CountersOf(#method)})

void Methods::AddDataPlane() {
  unary_.push_back(UnaryMethod{
      .name = "Lookup",
      .request = QUIRE_REQUEST_UNARY(embedding_, Lookup),
      .handle = [this](const ReceivedMessage& message,
                       const IsCancelled&) { return rows_.Lookup(message); },
      .is_inline = true,
      .counters = CountersOf("Lookup")});
  unary_.push_back(UnaryMethod{
      .name = "ApplyGradient",
      .request = QUIRE_REQUEST_UNARY(embedding_, ApplyGradient),
      .handle =
          [this](const ReceivedMessage& message, const IsCancelled&) {
            return rows_.ApplyGradient(message);
          },
      .is_inline = true,
      .counters = CountersOf("ApplyGradient")});
  unary_.push_back(UnaryMethod{
      .name = "Nearest",
      .request = QUIRE_REQUEST_UNARY(embedding_, Nearest),
      .handle =
          [this](const ReceivedMessage& message, const IsCancelled& cancelled) {
            return rows_.Nearest(message, cancelled);
          },
      .counters = CountersOf("Nearest")});
  QUIRE_METHOD_NOT_BUILT(embedding_, OpenSession);
  QUIRE_METHOD_NOT_BUILT(embedding_, CloseSession);
}

void Methods::AddTableMethods() {
  QUIRE_TABLE_METHOD(CreateTable);
  QUIRE_TABLE_METHOD(GetTable);
  QUIRE_TABLE_METHOD(ListTables);
  QUIRE_TABLE_METHOD(AlterTable);
  QUIRE_TABLE_METHOD(DropTable);
  QUIRE_TABLE_METHOD(ReadRows);
  QUIRE_TABLE_METHOD(WriteRows);
  QUIRE_TABLE_METHOD(SetLabels);
  QUIRE_TABLE_METHOD(GetLabels);
  QUIRE_TABLE_METHOD(FindLabels);
  QUIRE_METHOD_NOT_BUILT(table_, CreateSnapshot);
  QUIRE_METHOD_NOT_BUILT(table_, VerifyTable);
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
          [this] {
            return std::make_unique<AnswerEach>(
                [this](const ReceivedMessage& message) {
                  return rows_.LookupOnStream(message);
                });
          },
      .is_inline = true,
      .counters = CountersOf("LookupStream")});
  streams_.push_back(
      StreamMethod{.name = "ApplyGradientStream",
                   .request =
                       [this](grpc::ServerContext* context, grpc::ByteBuffer*,
                              StreamMethod::Stream* stream,
                              grpc::ServerCompletionQueue* queue, void* tag) {
                         embedding_.RequestApplyGradientStream(
                             context, stream, queue, queue, tag);
                       },
                   .open =
                       [this] {
                         return std::make_unique<AnswerEach>(
                             [this](const ReceivedMessage& message) {
                               return rows_.ApplyGradientOnStream(message);
                             });
                       },
                   .is_inline = true,
                   .counters = CountersOf("ApplyGradientStream")});
  streams_.push_back(StreamMethod{
      .name = "ImportTable",
      .request =
          [this](grpc::ServerContext* context, grpc::ByteBuffer*,
                 StreamMethod::Stream* stream,
                 grpc::ServerCompletionQueue* queue, void* tag) {
            table_.RequestImport(context, stream, queue, tag);
          },
      .open = [this] { return std::make_unique<ImportStream>(engine_); },
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
      .open = [this] { return std::make_unique<ExportStream>(engine_); },
      .counters = CountersOf("ExportTable")});
}

void Methods::AddServerMethods() {
  unary_.push_back(UnaryMethod{
      .name = "GetServerInfo",
      .request = QUIRE_REQUEST_UNARY(server_, GetServerInfo),
      .handle = Typed<v1::GetServerInfoRequest, v1::GetServerInfoResponse>(
          [this](const auto& request) { return GetServerInfo(request); }),
      .counters = CountersOf("GetServerInfo")});
  unary_.push_back(UnaryMethod{
      .name = "GetStats",
      .request = QUIRE_REQUEST_UNARY(server_, GetStats),
      .handle = Typed<v1::GetStatsRequest, v1::GetStatsResponse>(
          [this](const auto& request) { return GetStats(request); }),
      .counters = CountersOf("GetStats")});
}

void Methods::AddProtocols() {
  unary_.push_back(UnaryMethod{
      .name = "Check",
      .request = QUIRE_REQUEST_UNARY(health_.methods(), Check),
      .handle = [this](const ReceivedMessage& message,
                       const IsCancelled&) -> absl::StatusOr<Reply> {
        HealthService::Request request;
        QUIRE_RETURN_IF_ERROR(
            ParseInto(message, request, kProtocolRequestBytesMax));
        QUIRE_ASSIGN_OR_RETURN(const auto response, health_.Check(request));
        return Reply{.message = Serialize(response)};
      },
      .is_inline = true,
      .while_stopping = true,
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
        .open = [this] { return reflection_.OpenStream(); },
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
        "nearest", "labels", "rows", "import", "export"}) {
    info.add_features(feature);
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
  for (const TableHandle& table : engine_.List()) {
    *stats.add_tables() = engine_.Describe(*table);
  }
  return stats;
}

}  // namespace quire
