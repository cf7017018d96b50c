#include "bench/ratios/disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "base/mutex.h"

namespace quire::bench {
namespace {

using Clock = std::chrono::steady_clock;

// Those of journal::LogOptions.
constexpr int64_t kFileBytes = int64_t{256} << 20;
constexpr std::chrono::milliseconds kSyncInterval{100};
constexpr int64_t kUnsyncedBytesMax = int64_t{64} << 20;
// Until a snapshot lets the log shrink, by SnapshotPolicy.
constexpr int64_t kFilesKept = 16;

double RecordsPerSecond(int64_t count, Clock::time_point begin) {
  return static_cast<double>(count) /
         std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

ScratchDirectory::ScratchDirectory(const std::filesystem::path& parent) {
  std::string name = (parent / "quire-ratios-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    Die(fmt::format("cannot make a directory in {}", parent.string()));
  }
  path_ = name;
  end_.emplace([path = path_] {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  });
}

std::string FileSystemOf(const std::filesystem::path& path) {
  struct statfs found;
  if (statfs(path.c_str(), &found) != 0) {
    return "unknown";
  }
  switch (static_cast<uint64_t>(found.f_type)) {  // statfs(2)
    case 0xEF53:
      return "ext4";
    case 0x58465342:
      return "xfs";
    case 0x9123683E:
      return "btrfs";
    case 0x01021994:
      return "tmpfs";
    case 0x794C7630:
      return "overlayfs";
    default:
      return fmt::format("{:#x}", found.f_type);
  }
}

PlainLog::PlainLog(const std::filesystem::path& directory, size_t record_bytes,
                   Files files)
    : directory_(directory),
      files_(files),
      record_(record_bytes, std::byte{0x5a}),
      file_(MakeFile()) {
  if (files_ == Files::kOverwritten) {
    for (int64_t n = 0; n < kFileBytes / std::ssize(record_); ++n) {
      Write(Take());
    }
    Sync({file_, kFileBytes});
  }
}

PlainLog::File PlainLog::MakeFile() {
  const auto path = [this](int64_t number) {
    return directory_ / fmt::format("plain-{}", number);
  };
  std::filesystem::remove(path(made_ - kFilesKept));
  const int file =
      open(path(made_++).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || fallocate(file, 0, 0, kFileBytes) != 0) {
    Die(fmt::format("cannot make a file in {}", directory_.string()));
  }
  return {new int(file), [](const int* number) {
            close(*number);
            delete number;
          }};
}

PlainLog::Place PlainLog::Take() {
  if (offset_ + std::ssize(record_) > kFileBytes) {
    offset_ = 0;
    file_ = files_ == Files::kFresh ? MakeFile() : file_;
  }
  const Place place = {file_, offset_};
  offset_ += std::ssize(record_);
  return place;
}

void PlainLog::Write(const Place& place) const {
  if (pwrite(*place.file, record_.data(), record_.size(), place.offset) !=
      std::ssize(record_)) {
    Die("the disk failed");
  }
}

void PlainLog::Sync(const Place& place) {
  if (fdatasync(*place.file) != 0) {
    Die("the disk failed");
  }
  posix_fadvise(*place.file, 0, place.offset, POSIX_FADV_DONTNEED);
}

double PlainLog::Written(std::chrono::nanoseconds duration) {
  Mutex mutex;
  CondVar changed;
  int64_t written = 0;
  int64_t synced = 0;
  std::vector<Place> unsynced_files = {{file_, 0}};
  bool stopping = false;
  const auto unsynced = [&] {
    return (written - synced) * std::ssize(record_);
  };
  std::thread syncer([&] {
    MutexLock lock(mutex);
    while (!stopping) {
      const auto due = Clock::now() + kSyncInterval;
      while (!stopping && unsynced() < kUnsyncedBytesMax / 2 &&
             changed.WaitUntil(mutex, due)) {
      }
      const int64_t reached = written;
      const std::vector<Place> files = unsynced_files;
      unsynced_files.erase(unsynced_files.begin(), unsynced_files.end() - 1);
      mutex.unlock();
      for (const Place& file : files) {
        Sync(file);
      }
      mutex.lock();
      synced = reached;
      changed.NotifyAll();
    }
  });
  const Clock::time_point begin = Clock::now();
  int64_t count = 0;
  for (; Clock::now() - begin < duration; ++count) {
    const Place place = Take();
    Write(place);
    MutexLock lock(mutex);
    ++written;
    if (unsynced_files.back().file != place.file) {
      unsynced_files.push_back(place);
    }
    unsynced_files.back().offset = place.offset;
    if (unsynced() >= kUnsyncedBytesMax / 2) {
      changed.NotifyAll();
    }
    while (unsynced() >= kUnsyncedBytesMax) {
      changed.Wait(mutex);
    }
  }
  const double rate = RecordsPerSecond(count, begin);
  {
    MutexLock lock(mutex);
    stopping = true;
    changed.NotifyAll();
  }
  syncer.join();
  return rate;
}

double PlainLog::Synced(std::chrono::nanoseconds duration, int writer_count) {
  Mutex mutex;
  CondVar changed;
  // In the order in which writes ended.
  int64_t written = 0;
  int64_t synced = 0;
  bool is_syncing = false;
  const Clock::time_point begin = Clock::now();
  const auto wait_for_sync = [&](const Place& place) {
    MutexLock lock(mutex);
    const int64_t mine = ++written;
    while (synced < mine) {
      if (is_syncing) {
        changed.Wait(mutex);
        continue;
      }
      is_syncing = true;
      const int64_t reached = written;
      mutex.unlock();
      Sync(place);
      mutex.lock();
      is_syncing = false;
      synced = reached;
      changed.NotifyAll();
    }
  };
  std::vector<std::thread> writers;
  for (int i = 0; i < writer_count; ++i) {
    writers.emplace_back([&] {
      while (Clock::now() - begin < duration) {
        Place place;
        {
          MutexLock lock(mutex);
          place = Take();
        }
        Write(place);
        wait_for_sync(place);
      }
    });
  }
  for (std::thread& writer : writers) {
    writer.join();
  }
  return RecordsPerSecond(written, begin);
}

}  // namespace quire::bench
