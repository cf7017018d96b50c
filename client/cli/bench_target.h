// A server under load: tables made for it, and requests to them.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/load/loop.h"
#include "quire/v1/table.pb.h"
#include "tensor/element_type.h"

namespace quire::cli {

// Tables with names of their own, dropped with this.
class TemporaryTables {
 public:
  // `spec`: what each is, but for its name.
  static absl::StatusOr<TemporaryTables> Create(Client& client,
                                                const v1::TableSpec& spec,
                                                int64_t count);

  TemporaryTables(TemporaryTables&&) = default;
  TemporaryTables& operator=(TemporaryTables&&) = delete;
  ~TemporaryTables();

  const std::vector<std::string>& names() const { return names_; }

 private:
  explicit TemporaryTables(Client& client) : client_(&client) {}

  Client* client_;
  std::vector<std::string> names_;
};

// How rows and gradients travel.
struct Travel {
  ElementType wire_dtype = ElementType::kFloat32;
  bool unique_ids = false;
};

// Requests to `tables`, each to all of them. Pushes bring one gradient, made
// beforehand. Thread safety: see load::Target.
class ClientTarget : public load::Target {
 public:
  // `client` outlives this.
  ClientTarget(Client& client, std::vector<std::string> tables, int64_t dim,
               int64_t batch, int slot_count, Travel travel = {});

  int slot_count() const override { return static_cast<int>(slots_.size()); }
  absl::Status Run(int slot, const load::Request& request) override;
  void RunAsync(int slot, const load::Request& request,
                std::function<void(absl::Status)> done) override;

 private:
  // Of one request in flight.
  struct Slot {
    std::vector<float> rows;  // [tables, batch, dim]
    std::vector<LookupItem> lookups;
    std::vector<GradientItem> gradients;
  };

  // Points the slot's items at the ids of `request`.
  Slot& Fill(int slot, const load::Request& request);

  Client& client_;
  const std::vector<std::string> tables_;
  const size_t ids_per_table_;
  const Travel travel_;
  std::vector<float> gradient_;  // [batch, dim]
  std::vector<Slot> slots_;
};

}  // namespace quire::cli
