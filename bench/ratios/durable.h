// What keeping costs: pushes to LOGGED tables beside those to MEMORY tables and
// beside the bare disk; what others notice of syncs and of snapshots.

#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bench/ratios/client_load.h"
#include "bench/ratios/disk.h"
#include "bench/ratios/pairs.h"
#include "bench/ratios/process.h"
#include "client/client.h"

namespace quire::bench {

// Thread safety: one thread.
class Durable {
 public:
  // Starts a server that keeps its tables on the disk of `disk`.
  //   self  this program; quire-server is beside it
  Durable(const std::string& self, const std::filesystem::path& disk);

  // W4 at WRITTEN, of the lesser of a MEMORY table of the same server and of
  // the disk, which writes and syncs the same bytes. Pairs of 1.5 s and more:
  // what a burst could hide is over 20 s apart.
  std::vector<Measured> WrittenPushes(const PairPlan& plan);

  // W4 at SYNCED, by four clients, of so many writers to the bare disk.
  std::vector<Measured> SyncedPushes(const PairPlan& plan);

  // W4 at WRITTEN beside a client of another table that waits for each of its
  // pushes at SYNCED, of W4 at WRITTEN alone. The other pushes W2; W4 too, for
  // comparison, at SYNCED and at WRITTEN: there it takes its part of the
  // machine, whatever its level.
  std::vector<Measured> WrittenBesideSynced(const PairPlan& plan);

  // The 99th percentile of W1 lookups and of W4 pushes, open loop at 30 % of
  // what the server can do, while snapshots are made one after the other, of
  // that without. Prints what snapshots add to the server's memory.
  std::vector<Measured> LatencyDuringSnapshots(const PairPlan& plan);

 private:
  std::vector<Measured> Beside(const std::string& name, double gate,
                               BatchShape shape, v1::Durability durability,
                               const PairPlan& plan);

  const ScratchDirectory scratch_;
  Process server_;
  const std::unique_ptr<Client> client_;
  ClientLoad logged_;
};

// Starts of an engine, in this process, from files that are in the page cache:
// from a snapshot, and from a log. Prints bytes per second.
void ShowRecovery(const std::filesystem::path& disk);

}  // namespace quire::bench
