// Client's streams: tables that are imported, and exported.

#include <fmt/format.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "base/status.h"
#include "client/client.h"
#include "client/core.h"

namespace quire {
namespace {

// Of rows and labels in one message of an import.
constexpr int64_t kChunkBytes = int64_t{1} << 20;

// A stream's context and what its errors are told with. The connection lives
// as long.
struct Stream {
  Stream(std::shared_ptr<Connection> to, std::string_view method,
         absl::Time deadline)
      : connection(std::move(to)), site(connection->Site(method, deadline)) {
    context.set_deadline(absl::ToChronoTime(deadline));
  }

  absl::Status StatusOf(const grpc::Status& status) const {
    return status.ok() ? absl::OkStatus() : FromGrpc(status, site);
  }

  const std::shared_ptr<Connection> connection;
  const CallSite site;
  grpc::ClientContext context;
};

class ImportStream final : public Client::Import {
 public:
  ImportStream(std::shared_ptr<Connection> connection, absl::Time deadline,
               const v1::ImportTableRequest::Header& header)
      : stream_(std::move(connection), "ImportTable", deadline),
        dim_(header.spec().embedding_dim()),
        writer_(stream_.connection->tables().ImportTable(&stream_.context,
                                                         &response_)) {
    v1::ImportTableRequest request;
    *request.mutable_header() = header;
    Send(std::move(request));
  }

  ~ImportStream() override {
    if (!ended_) {
      stream_.context.TryCancel();
      writer_->Finish();
    }
  }

  absl::Status Write(std::span<const float> values, const Labels& labels,
                     std::span<const float> state) override {
    const int64_t row_count = std::ssize(values) / dim_;
    if (row_count * dim_ != std::ssize(values)) {
      return Error(Reason::kBadShape,
                   fmt::format("{} floats are no whole rows of dim {}",
                               values.size(), dim_),
                   "values");
    }
    if (!labels.empty() && std::ssize(labels) != row_count) {
      return Error(
          Reason::kBadShape,
          fmt::format("{} labels for {} rows", labels.size(), row_count),
          "labels");
    }
    const int64_t state_floats =
        row_count == 0 ? 0 : std::ssize(state) / row_count;
    if (state_floats * row_count != std::ssize(state)) {
      return Error(Reason::kBadShape,
                   fmt::format("{} floats of optimizer state for {} rows",
                               state.size(), row_count),
                   "state");
    }
    for (int64_t begin = 0; begin < row_count && !ended_;) {
      begin += SendChunk({.values = values,
                          .labels = labels,
                          .state = state,
                          .state_floats = state_floats},
                         begin, row_count);
    }
    return Writable();
  }

  // An error if the stream has ended: rows would go nowhere.
  absl::Status Writable() const {
    if (!ended_) {
      return absl::OkStatus();
    }
    return ended_->ok() ? absl::FailedPreconditionError("the import has ended")
                        : *ended_;
  }

  absl::StatusOr<v1::Table> Finish() override {
    SendHeldBack();
    if (!ended_) {
      writer_->WritesDone();
      End();
    }
    QUIRE_RETURN_IF_ERROR(*ended_);
    return response_.table();
  }

 private:
  // What a call of Write brings.
  struct Rows {
    std::span<const float> values;
    const Labels& labels;
    std::span<const float> state;
    int64_t state_floats;
  };

  // Sends rows from `begin` on, as many as a message should hold and one at
  // least; returns how many.
  int64_t SendChunk(const Rows& rows, int64_t begin, int64_t row_count) {
    v1::ImportTableRequest request;
    v1::ImportTableRequest::Chunk& chunk = *request.mutable_chunk();
    chunk.set_first_id(next_id_);
    int64_t end = begin;
    int64_t bytes = 0;
    do {
      bytes += (dim_ + rows.state_floats) * static_cast<int64_t>(sizeof(float));
      if (!rows.labels.empty()) {
        const std::string& label = rows.labels[static_cast<size_t>(end)];
        bytes += std::ssize(label);
        chunk.add_labels(label);
      }
      ++end;
    } while (end < row_count && bytes < kChunkBytes);
    SetMatrix(rows.values, dim_, begin, end, *chunk.mutable_values());
    if (rows.state_floats > 0) {
      SetMatrix(rows.state, rows.state_floats, begin, end,
                *chunk.mutable_state());
    }
    next_id_ += end - begin;
    Send(std::move(request));
    return end - begin;
  }

  // Rows [begin, end) of `floats`, [n, columns].
  static void SetMatrix(std::span<const float> floats, int64_t columns,
                        int64_t begin, int64_t end, v1::Tensor& tensor) {
    const auto rows =
        floats.subspan(static_cast<size_t>(begin * columns),
                       static_cast<size_t>((end - begin) * columns));
    tensor.mutable_shape()->add_dims(static_cast<int32_t>(end - begin));
    tensor.mutable_shape()->add_dims(static_cast<int32_t>(columns));
    tensor.mutable_values()->Add(rows.begin(), rows.end());
  }

  // Sends the message before this one. The last waits for Finish: with
  // all rows in its hands, a server might take a client that has gone for one
  // that has finished.
  void Send(v1::ImportTableRequest request) {
    SendHeldBack();
    held_back_ = std::move(request);
  }

  // A message that cannot be sent means that the server has ended the stream.
  void SendHeldBack() {
    if (held_back_ && !ended_ && !writer_->Write(*held_back_)) {
      End();
    }
    held_back_.reset();
  }

  void End() { ended_ = stream_.StatusOf(writer_->Finish()); }

  Stream stream_;
  const int64_t dim_;
  v1::ImportTableResponse response_;
  const std::unique_ptr<grpc::ClientWriter<v1::ImportTableRequest>> writer_;
  int64_t next_id_ = 0;
  std::optional<v1::ImportTableRequest> held_back_;
  // How the stream ended; nullopt while it is open.
  std::optional<absl::Status> ended_;
};

class ExportStream final : public Client::Export {
 public:
  ExportStream(std::shared_ptr<Connection> connection, absl::Time deadline,
               const v1::ExportTableRequest& request)
      : stream_(std::move(connection), "ExportTable", deadline),
        reader_(stream_.connection->tables().ExportTable(&stream_.context,
                                                         request)) {}

  ~ExportStream() override {
    if (!ended_) {
      stream_.context.TryCancel();
      reader_->Finish();
    }
  }

  absl::Status ReadHeader() {
    v1::ExportTableResponse part;
    if (!Receive(part)) {
      QUIRE_RETURN_IF_ERROR(*ended_);
    }
    if (!part.has_header()) {
      return Error(Reason::kBug, "an export began without its header");
    }
    table_ = std::move(*part.mutable_header());
    if (part.has_position()) {
      position_ = part.position();
    }
    return absl::OkStatus();
  }

  const v1::Table& table() const override { return table_; }
  std::optional<v1::Position> position() const override { return position_; }

  absl::StatusOr<std::optional<v1::ExportTableResponse::Chunk>> Read()
      override {
    v1::ExportTableResponse part;
    if (!Receive(part)) {
      QUIRE_RETURN_IF_ERROR(*ended_);
      return std::nullopt;
    }
    if (!part.has_chunk()) {
      return Error(Reason::kBug, "a part of an export is no chunk");
    }
    return std::move(*part.mutable_chunk());
  }

 private:
  // False once the stream has ended.
  bool Receive(v1::ExportTableResponse& part) {
    if (!ended_ && !reader_->Read(&part)) {
      ended_ = stream_.StatusOf(reader_->Finish());
    }
    return !ended_;
  }

  Stream stream_;
  const std::unique_ptr<grpc::ClientReader<v1::ExportTableResponse>> reader_;
  v1::Table table_;
  std::optional<v1::Position> position_;
  // How the stream ended; nullopt while it is open.
  std::optional<absl::Status> ended_;
};

// A stream takes as long as its table is large.
absl::Time StreamDeadline(const CallOptions& call) {
  return call.deadline.value_or(absl::InfiniteFuture());
}

}  // namespace

absl::StatusOr<std::unique_ptr<Client::Import>> Client::ImportTable(
    const v1::TableSpec& spec, CallOptions call) {
  v1::ImportTableRequest::Header header;
  *header.mutable_spec() = spec;
  return ImportTable(header, call);
}

absl::StatusOr<std::unique_ptr<Client::Import>> Client::ImportTable(
    const v1::ImportTableRequest::Header& header, CallOptions call) {
  const v1::TableSpec& spec = header.spec();
  if (spec.embedding_dim() < 1) {
    return Error(Reason::kBadValue,
                 fmt::format("table '{}': embedding_dim is {}; rows have at "
                             "least one float",
                             spec.name(), spec.embedding_dim()),
                 "spec.embedding_dim");
  }
  auto stream = std::make_unique<ImportStream>(core().shared_connection(),
                                               StreamDeadline(call), header);
  QUIRE_RETURN_IF_ERROR(stream->Writable());
  return stream;
}

absl::StatusOr<std::unique_ptr<Client::Export>> Client::ExportTable(
    const v1::ExportTableRequest& request, CallOptions call) {
  auto stream = std::make_unique<ExportStream>(core().shared_connection(),
                                               StreamDeadline(call), request);
  QUIRE_RETURN_IF_ERROR(stream->ReadHeader());
  return stream;
}

}  // namespace quire
