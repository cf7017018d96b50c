// The ceiling of everything that is kept: what the disk gives to records of one
// size, written one behind the other, with no one else in the way. No network,
// no checksums, no order, no tables.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/ratios/process.h"

namespace quire::bench {

// A directory that is there as long as this.
class ScratchDirectory {
 public:
  // In `parent`, with a name of its own.
  explicit ScratchDirectory(const std::filesystem::path& parent);

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::optional<AtEnd> end_;
};

// "ext2/ext3/ext4", "tmpfs": where a path is.
std::string FileSystemOf(const std::filesystem::path& path);

// Thread safety: one thread.
class PlainLog {
 public:
  enum class Files {
    // As our log has them: made at their full size, written once, removed when
    // enough others have come after them.
    kFresh,
    // One, whose places are all on the disk already, written over and over.
    kOverwritten,
  };

  PlainLog(const std::filesystem::path& directory, size_t record_bytes,
           Files files);

  // Records per second of one writer, while another thread syncs: as our log
  // does it, after 100 ms or 32 MiB, and never with more than 64 MiB to go.
  double Written(std::chrono::nanoseconds duration);

  // Records per second of writers that each wait until theirs is synced; one
  // sync for all that wait.
  double Synced(std::chrono::nanoseconds duration, int writer_count);

 private:
  // Closed with the last that has it.
  using File = std::shared_ptr<const int>;
  struct Place {
    File file;
    int64_t offset;
  };

  File MakeFile();
  // Of the next record.
  Place Take();
  void Write(const Place& place) const;
  // What lies before the place; it need not stay in memory.
  static void Sync(const Place& place);

  const std::filesystem::path directory_;
  const Files files_;
  const std::vector<std::byte> record_;
  int64_t made_ = 0;
  File file_;
  int64_t offset_ = 0;
};

}  // namespace quire::bench
