#include "client/cli/bench_target.h"

#include <fmt/format.h>
#include <unistd.h>

#include <random>
#include <utility>

#include "base/status.h"

namespace quire::cli {

absl::StatusOr<TemporaryTables> TemporaryTables::Create(
    Client& client, const v1::TableSpec& spec, int64_t count) {
  TemporaryTables tables(client);
  const uint32_t tag = std::random_device()();
  for (int64_t i = 0; i < count; ++i) {
    v1::CreateTableRequest request;
    *request.mutable_spec() = spec;
    request.mutable_spec()->set_name(
        fmt::format("quire-bench.{}.{:08x}.{}", getpid(), tag, i));
    QUIRE_RETURN_IF_ERROR(client.CreateTable(request).status());
    tables.names_.push_back(request.spec().name());
  }
  return tables;
}

TemporaryTables::~TemporaryTables() {
  for (const std::string& name : names_) {
    // What cannot be dropped, now that the server does not answer, was said
    // by the call that noticed.
    client_->DropTable(name).IgnoreError();
  }
}

ClientTarget::ClientTarget(Client& client, std::vector<std::string> tables,
                           int64_t dim, int64_t batch, int slot_count,
                           Travel travel)
    : client_(client),
      tables_(std::move(tables)),
      ids_per_table_(static_cast<size_t>(batch)),
      travel_(travel),
      gradient_(static_cast<size_t>(batch * dim)),
      slots_(static_cast<size_t>(slot_count)) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<float> uniform(-0.01f, 0.01f);
  for (float& value : gradient_) {
    value = uniform(random);
  }
  for (Slot& slot : slots_) {
    slot.rows.resize(tables_.size() * gradient_.size());
    slot.lookups.resize(tables_.size());
    slot.gradients.resize(tables_.size());
  }
}

ClientTarget::Slot& ClientTarget::Fill(int slot, const load::Request& request) {
  Slot& filled = slots_[static_cast<size_t>(slot)];
  for (size_t i = 0; i < tables_.size(); ++i) {
    const auto ids = request.ids.subspan(i * ids_per_table_, ids_per_table_);
    filled.lookups[i] = {
        .table = tables_[i],
        .uid = std::nullopt,
        .ids = ids,
        .out = std::span(filled.rows)
                   .subspan(i * gradient_.size(), gradient_.size()),
        .wire_dtype = travel_.wire_dtype,
        .unique_ids = travel_.unique_ids};
    filled.gradients[i] = {.table = tables_[i],
                           .uid = std::nullopt,
                           .ids = ids,
                           .gradient = gradient_,
                           .learning_rate = std::nullopt,
                           .wire_dtype = travel_.wire_dtype,
                           .unique_ids = travel_.unique_ids};
  }
  return filled;
}

absl::Status ClientTarget::Run(int slot, const load::Request& request) {
  Slot& filled = Fill(slot, request);
  return request.is_push ? client_.ApplyGradient(filled.gradients).status()
                         : client_.Lookup(filled.lookups);
}

void ClientTarget::RunAsync(int slot, const load::Request& request,
                            std::function<void(absl::Status)> done) {
  Slot& filled = Fill(slot, request);
  if (!request.is_push) {
    client_.LookupAsync(filled.lookups, {}, std::move(done));
    return;
  }
  client_.ApplyGradientAsync(
      filled.gradients, {},
      [done = std::move(done)](const absl::StatusOr<Pushed>& pushed) {
        done(pushed.status());
      });
}

}  // namespace quire::cli
