#include "engine/scrubber.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "base/tuning.h"
#include "journal/snapshot_format.h"
#include "journal/snapshot_reader.h"

namespace quire {
namespace {

using journal::SnapshotReader;

// A start is over, and has read the newest itself.
constexpr std::chrono::hours kFirstWait{1};

absl::Status StoppingError() {
  return Error(Reason::kStopping, "the server is stopping");
}

// Without what to do where no server has the rows.
std::string_view WhatIsWrong(const absl::Status& status) {
  std::string_view what(status.message().data(), status.message().size());
  if (what.ends_with(journal::kDamagedSnapshotRemedy)) {
    what.remove_suffix(journal::kDamagedSnapshotRemedy.size());
  }
  return what;
}

}  // namespace

Scrubber::Scrubber(DataDirectory& directory, Snapshots& snapshots)
    : directory_(directory),
      snapshots_(snapshots),
      policy_(snapshots.policy()) {
  stats_.is_on = policy_.scrub_interval.count() > 0;
  if (stats_.is_on) {
    thread_ = std::thread([this] { Run(); });
  }
}

Scrubber::~Scrubber() { Stop(); }

void Scrubber::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) {
    thread_.join();
  }
}

Scrubber::Stats Scrubber::stats() const {
  MutexLock lock(mutex_);
  return stats_;
}

bool Scrubber::is_stopping() const {
  MutexLock lock(mutex_);
  return stopping_;
}

bool Scrubber::WaitUntil(std::chrono::steady_clock::time_point end) {
  MutexLock lock(mutex_);
  while (!stopping_ && changed_.WaitUntil(mutex_, end)) {
  }
  return !stopping_;
}

void Scrubber::Run() {
  GiveWayToOthers();
  std::chrono::milliseconds wait =
      std::min<std::chrono::milliseconds>(policy_.scrub_interval, kFirstWait);
  while (WaitUntil(std::chrono::steady_clock::now() + wait)) {
    ReadAll();
    wait = policy_.scrub_interval;
  }
}

void Scrubber::ReadAll() {
  const absl::StatusOr<std::vector<uint64_t>> lsns = List();
  if (!lsns.ok()) {
    return;
  }
  for (const uint64_t lsn : *lsns) {
    const absl::Status status = Read(lsn);
    if (is_stopping()) {
      return;
    }
    if (!status.ok()) {
      Report(lsn, status).IgnoreError();
    }
  }
  MutexLock lock(mutex_);
  ++stats_.passes;
  stats_.last_pass_unix_seconds =
      std::chrono::duration_cast<std::chrono::seconds>(
          std::chrono::system_clock::now().time_since_epoch())
          .count();
}

absl::Status Scrubber::Read(uint64_t lsn) {
  size_t index = 0;
  const absl::Status status = ReadFiles(lsn, index);
  return status.ok() || is_stopping() ? status : ReadFiles(lsn, index);
}

absl::Status Scrubber::ReadFiles(uint64_t lsn, size_t& index) {
  QUIRE_ASSIGN_OR_RETURN(
      const SnapshotReader reader,
      SnapshotReader::Open(directory_.snapshots(), directory_.identity(), lsn,
                           SnapshotReader::Source::kDisk));
  for (; index < reader.file_count(); ++index) {
    QUIRE_RETURN_IF_ERROR(reader.ReadFile(
        index, [this](const journal::ChunkHeader&, Bytes payload) {
          return Pace(journal::kChunkHeaderBytes +
                      journal::ChunkBodyBytes(std::ssize(payload)));
        }));
  }
  return absl::OkStatus();
}

absl::Status Scrubber::Pace(int64_t bytes) {
  {
    MutexLock lock(mutex_);
    stats_.bytes_read += bytes;
  }
  std::chrono::nanoseconds wait{0};
  if (policy_.scrub_rate_bytes > 0) {
    wait = std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::duration<double>(
            static_cast<double>(bytes) /
            static_cast<double>(policy_.scrub_rate_bytes)));
  }
  return WaitUntil(std::chrono::steady_clock::now() + wait) ? absl::OkStatus()
                                                            : StoppingError();
}

absl::StatusOr<std::vector<uint64_t>> Scrubber::List() const {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         directory_.snapshots().List());
  std::vector<uint64_t> lsns;
  for (const std::string& name : names) {
    if (const std::optional<uint64_t> lsn = journal::SnapshotLsn(name)) {
      lsns.push_back(*lsn);
    }
  }
  std::ranges::sort(lsns, std::ranges::greater());
  return lsns;
}

bool Scrubber::IsThere(uint64_t lsn) const {
  const absl::StatusOr<std::vector<uint64_t>> lsns = List();
  return lsns.ok() && std::ranges::find(*lsns, lsn) != lsns->end();
}

absl::Status Scrubber::Report(uint64_t lsn, const absl::Status& status) {
  if (!IsThere(lsn)) {
    return status;
  }
  const std::string_view what = WhatIsWrong(status);
  absl::Status told = Error(
      Reason::kCorrupt,
      fmt::format("the snapshot of LSN {} is damaged: {}. Nothing is lost "
                  "while this server runs, and it replaces the snapshot from "
                  "the rows in memory ('quire stats' shows what is damaged "
                  "still); look at the disk that lost it",
                  lsn, what));
  {
    MutexLock lock(mutex_);
    ++stats_.findings;
  }
  if (policy_.on_damage) {
    policy_.on_damage(told);
  }
  snapshots_.ReportDamaged(lsn, std::string(what));
  return told;
}

}  // namespace quire
