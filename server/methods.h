// Every method of the API, and what handles it: one line each.

#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "quire/v1/admin.grpc.pb.h"
#include "quire/v1/embedding.grpc.pb.h"
#include "server/call.h"
#include "server/clock_service.h"
#include "server/embedding_service.h"
#include "server/health.h"
#include "server/reflection.h"
#include "server/server.h"
#include "server/table_service.h"

namespace quire {

// Constant after construction, but for the counters.
class Methods {
 public:
  // All outlive it.
  //   backups  of options.backup_dir, or null
  Methods(Engine& engine, const Readiness& readiness, MemoryBudget& inflight,
          journal::Directory* backups, const ServerOptions& options);

  // All services, raw: for the server's builder.
  std::vector<grpc::Service*> services();
  HealthService& health() { return health_; }
  ClockService& clocks() { return clocks_; }

  // Waits for calls of every method on `queue`.
  void ServeAll(CallHost& host, grpc::ServerCompletionQueue* queue);

 private:
  using E = v1::EmbeddingService;
  using T = v1::TableService;
  using S = v1::ServerService;
  using EmbeddingMethods =
      E::WithRawMethod_Lookup<E::WithRawMethod_ApplyGradient<
          E::WithRawMethod_LookupStream<E::WithRawMethod_ApplyGradientStream<
              E::WithRawMethod_Nearest<E::WithRawMethod_OpenSession<
                  E::WithRawMethod_CloseSession<E::Service>>>>>>>;
  using RawTableMethods = T::WithRawMethod_CreateTable<
      T::WithRawMethod_GetTable<T::WithRawMethod_ListTables<
          T::WithRawMethod_AlterTable<T::WithRawMethod_DropTable<
              T::WithRawMethod_RewindTable<T::WithRawMethod_ReadRows<
                  T::WithRawMethod_GetRow<T::WithRawMethod_WriteRows<
                      T::WithRawMethod_SetLabels<T::WithRawMethod_GetLabels<
                          T::WithRawMethod_FindLabels<
                              T::WithRawMethod_ImportTable<
                                  T::WithRawMethod_ExportTable<
                                      T::WithRawMethod_CreateSnapshot<
                                          T::WithRawMethod_BackUp<
                                              T::WithRawMethod_VerifyTable<
                                                  T::Service>>>>>>>>>>>>>>>>>;
  using ServerMethods = S::WithRawMethod_GetServerInfo<
      S::WithRawMethod_GetStats<S::WithRawMethod_AdvanceClock<S::Service>>>;

  // gRPC gives a stream that flows one way a type of its own, though all are
  // the same underneath. Here they are duplex, so that one StreamCall serves
  // them all.
  class TableMethods : public RawTableMethods {
   public:
    void RequestImport(grpc::ServerContext* context,
                       StreamMethod::Stream* stream,
                       grpc::ServerCompletionQueue* queue, void* tag);
    void RequestExport(grpc::ServerContext* context, grpc::ByteBuffer* request,
                       StreamMethod::Stream* stream,
                       grpc::ServerCompletionQueue* queue, void* tag);
  };

  void AddDataPlane();
  void AddTableMethods();
  void AddStreams();
  void AddServerMethods();
  void AddProtocols();

  MethodCounters& CountersOf(const std::string& name);
  absl::StatusOr<v1::GetServerInfoResponse> GetServerInfo(
      const v1::GetServerInfoRequest& request) const;
  absl::StatusOr<v1::GetStatsResponse> GetStats(
      const v1::GetStatsRequest& request) const;
  v1::LogStats StatsOf(const journal::Log& log) const;

  Engine& engine_;
  const Readiness& readiness_;
  MemoryBudget& inflight_;
  const ServerOptions options_;
  const std::chrono::steady_clock::time_point started_;

  EmbeddingMethods embedding_;
  TableMethods table_;
  ServerMethods server_;
  HealthService health_;
  ReflectionService reflection_;
  EmbeddingService rows_;
  TableService tables_;
  ClockService clocks_;

  // Deques: methods do not move.
  std::deque<UnaryMethod> unary_;
  std::deque<StreamMethod> streams_;
  std::map<std::string, MethodCounters> counters_;
  // Of health and reflection, which are not of this API.
  MethodCounters protocol_counters_;
};

}  // namespace quire
