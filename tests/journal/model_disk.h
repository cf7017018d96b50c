// A disk in memory that loses power, fails and fills up as tests want.
//
// It promises what files.h says of a power cut, and no more: after PowerCut
// each sector that was not synced is old or new by the throw of a coin, and so
// are sizes and each operation on names, in each directory for itself.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "journal/files.h"

namespace quire::journal {

// Thread safety: all functions may be called from any thread.
class ModelDisk {
 public:
  ModelDisk() = default;
  // Another disk with the same content, durable and not; without faults.
  ModelDisk(const ModelDisk& other);
  ModelDisk& operator=(const ModelDisk&) = delete;

  // The directory that all others are in; the disk outlives them. Lock() is
  // held by one at a time.
  std::unique_ptr<Directory> Open();

  // --- What a crash leaves ---

  enum class Unsynced { kAsTheCoinFalls, kLost, kKept };
  // The disk as it may be found after a power cut: everything on it is durable.
  std::unique_ptr<ModelDisk> PowerCut(Unsynced unsynced,
                                      std::mt19937_64& coin) const;

  // --- Faults ---

  // "write", "sync", "resize", "create", "make directory", "rename", "remove",
  // "link", "sync directory".
  using Before = std::function<void(std::string_view operation)>;
  // Called before each operation that changes something, without any lock.
  void OnOperation(Before before);
  // Called before each read of so many bytes, without any lock.
  void OnRead(std::function<void(size_t bytes)> before);
  // How many operations that change something there have been.
  int64_t operation_count() const;

  // The operation of this number, from 0, fails; or all from it on. A write
  // that fails has written a part. What a failed sync was to save is lost with
  // the power, also if another one returns OK; unless it is written again.
  void FailAt(int64_t operation, Reason reason, bool for_ever);
  // Bytes that files may still grow by.
  void SetSpace(int64_t bytes);

  // --- Damage ---

  // Of all files; a file in a directory is "directory/file".
  std::vector<std::string> Names() const;
  std::vector<std::byte> Content(const std::string& name) const;
  void SetContent(const std::string& name, std::vector<std::byte> bytes);

 private:
  class ModelFile;
  class ModelDirectory;

  struct Node;
  using NodePointer = std::shared_ptr<Node>;
  using NodeByName = std::map<std::string, NodePointer>;
  // An operation on names: where each leads to afterwards, null for nowhere.
  using NameChange = std::vector<std::pair<std::string, NodePointer>>;

  // A file, or a directory.
  struct Node {
    std::vector<std::byte> bytes;
    std::vector<std::byte> durable;
    // Sectors that the next sync saves, and those that none saves any more, as
    // long as they are not written again.
    std::set<size_t> unsynced;
    std::set<size_t> forsaken;

    // How many names a file has.
    int name_count = 1;

    bool is_directory = false;
    NodeByName names;
    // As of the last sync of the directory, and what has happened since.
    NodeByName durable_names;
    std::vector<NameChange> name_changes;

    void Change(NameChange change);
  };

  static void Apply(const NameChange& change, NodeByName& names);
  // What a power cut leaves, durable.
  static NodePointer AfterCut(const Node& node, Unsynced unsynced,
                              std::mt19937_64& coin);
  static std::vector<std::byte> BytesAfterCut(const Node& node,
                                              Unsynced unsynced,
                                              std::mt19937_64& coin);
  static NodePointer Copy(const NodePointer& node,
                          std::map<NodePointer, NodePointer>& copies);
  static NodePointer NewDirectory();
  static void ListFiles(const Node& directory, const std::string& path,
                        std::vector<std::string>& paths);
  Node& Find(const std::string& path) const;

  // Counts an operation; an error if it is to fail.
  absl::Status Begin(std::string_view operation);
  void BeginRead(size_t bytes) const;

  mutable std::mutex mutex_;
  NodePointer root_ = NewDirectory();
  bool is_locked_ = false;

  Before before_;
  std::function<void(size_t)> before_read_;
  int64_t operation_count_ = 0;
  int64_t fail_at_ = -1;
  bool fails_for_ever_ = false;
  Reason reason_ = Reason::kIoFailed;
  int64_t space_ = int64_t{1} << 40;
};

}  // namespace quire::journal
