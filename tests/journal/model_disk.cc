#include "journal/model_disk.h"

#include <algorithm>
#include <span>

#include "base/check.h"

namespace quire::journal {
namespace {

constexpr auto kSector = static_cast<size_t>(kSectorBytes);

absl::Status Missing(std::string_view name) {
  return Error(Reason::kIoFailed, std::string(name) + " is not there");
}

}  // namespace

class ModelDisk::ModelFile final : public File {
 public:
  ModelFile(ModelDisk& disk, NodePointer node)
      : disk_(disk), node_(std::move(node)) {}

  absl::Status Write(int64_t offset, std::span<const Bytes> pieces) override {
    std::vector<std::byte> all;
    for (const Bytes& piece : pieces) {
      all.insert(all.end(), piece.begin(), piece.end());
    }
    const absl::Status status = disk_.Begin("write");
    std::scoped_lock lock(disk_.mutex_);
    if (!status.ok()) {
      all.resize(all.size() / 2);
      Put(static_cast<size_t>(offset), all);
      return status;
    }
    const int64_t end = offset + std::ssize(all);
    QUIRE_RETURN_IF_ERROR(Grow(end));
    Put(static_cast<size_t>(offset), all);
    return absl::OkStatus();
  }

  absl::StatusOr<size_t> Read(int64_t offset,
                              std::span<std::byte> out) const override {
    disk_.BeginRead(out.size());
    std::scoped_lock lock(disk_.mutex_);
    const auto begin =
        std::min(static_cast<size_t>(offset), node_->bytes.size());
    const size_t size = std::min(out.size(), node_->bytes.size() - begin);
    std::copy_n(node_->bytes.begin() + static_cast<ptrdiff_t>(begin), size,
                out.begin());
    return size;
  }

  absl::Status Sync() override {
    // Begins before it is counted: what is written meanwhile is not saved.
    std::set<size_t> sectors;
    std::vector<std::byte> bytes;
    {
      std::scoped_lock lock(disk_.mutex_);
      sectors.swap(node_->unsynced);
      bytes = node_->bytes;
    }
    const absl::Status status = disk_.Begin("sync");
    std::scoped_lock lock(disk_.mutex_);
    if (!status.ok()) {
      node_->forsaken.merge(sectors);
      return status;
    }
    node_->durable.resize(std::max(node_->durable.size(), bytes.size()));
    for (const size_t sector : sectors) {
      if (!node_->forsaken.contains(sector)) {
        CopySector(bytes, sector, node_->durable);
      }
    }
    node_->durable.resize(bytes.size());
    return absl::OkStatus();
  }

  absl::Status Resize(int64_t size) override {
    QUIRE_RETURN_IF_ERROR(disk_.Begin("resize"));
    std::scoped_lock lock(disk_.mutex_);
    QUIRE_RETURN_IF_ERROR(Grow(size));
    node_->bytes.resize(static_cast<size_t>(size));
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> Size() const override {
    std::scoped_lock lock(disk_.mutex_);
    return std::ssize(node_->bytes);
  }

  // What is not on the disk must not be forgotten.
  void Forget(int64_t end) override {
    std::scoped_lock lock(disk_.mutex_);
    QUIRE_CHECK(node_->unsynced.empty() ||
                    (static_cast<int64_t>(*node_->unsynced.begin()) + 1) *
                            kSectorBytes >
                        end,
                "what is forgotten has been synced");
  }

  static void CopySector(const std::vector<std::byte>& from, size_t sector,
                         std::vector<std::byte>& to) {
    const size_t begin = sector * kSector;
    const size_t end = std::min({begin + kSector, from.size(), to.size()});
    for (size_t i = begin; i < end; ++i) {
      to[i] = from[i];
    }
  }

 private:
  absl::Status Grow(int64_t size) {
    const int64_t more = size - std::ssize(node_->bytes);
    if (more <= 0) {
      return absl::OkStatus();
    }
    if (more > disk_.space_) {
      return Error(Reason::kDiskFull, "the model disk is full");
    }
    disk_.space_ -= more;
    return absl::OkStatus();
  }

  void Put(size_t offset, Bytes bytes) {
    if (bytes.empty()) {
      return;
    }
    node_->bytes.resize(std::max(node_->bytes.size(), offset + bytes.size()));
    std::ranges::copy(bytes,
                      node_->bytes.begin() + static_cast<ptrdiff_t>(offset));
    for (size_t sector = offset / kSector;
         sector <= (offset + bytes.size() - 1) / kSector; ++sector) {
      node_->unsynced.insert(sector);
      node_->forsaken.erase(sector);
    }
  }

  ModelDisk& disk_;
  const NodePointer node_;
};

class ModelDisk::ModelDirectory final : public Directory {
 public:
  ModelDirectory(ModelDisk& disk, NodePointer node, std::string path)
      : disk_(disk), node_(std::move(node)), path_(std::move(path)) {}
  ~ModelDirectory() override {
    std::scoped_lock lock(disk_.mutex_);
    disk_.is_locked_ = disk_.is_locked_ && !has_lock_;
  }

  absl::StatusOr<std::unique_ptr<File>> Create(std::string_view name) override {
    QUIRE_RETURN_IF_ERROR(disk_.Begin("create"));
    std::scoped_lock lock(disk_.mutex_);
    if (Find(name) != nullptr) {
      return Error(Reason::kIoFailed, std::string(name) + " is there");
    }
    auto node = std::make_shared<Node>();
    node_->Change({{std::string(name), node}});
    return std::make_unique<ModelFile>(disk_, std::move(node));
  }

  absl::StatusOr<std::unique_ptr<File>> Open(std::string_view name) override {
    std::scoped_lock lock(disk_.mutex_);
    NodePointer node = Find(name);
    if (node == nullptr || node->is_directory) {
      return Missing(name);
    }
    return std::make_unique<ModelFile>(disk_, std::move(node));
  }

  absl::StatusOr<std::unique_ptr<Directory>> MakeDirectory(
      std::string_view name) override {
    QUIRE_RETURN_IF_ERROR(disk_.Begin("make directory"));
    {
      std::scoped_lock lock(disk_.mutex_);
      if (Find(name) == nullptr) {
        node_->Change({{std::string(name), NewDirectory()}});
      }
    }
    return OpenDirectory(name);
  }

  absl::StatusOr<std::unique_ptr<Directory>> OpenDirectory(
      std::string_view name) override {
    std::scoped_lock lock(disk_.mutex_);
    NodePointer node = Find(name);
    if (node == nullptr || !node->is_directory) {
      return Missing(name);
    }
    return std::make_unique<ModelDirectory>(disk_, std::move(node),
                                            PathOf(*this, name));
  }

  absl::StatusOr<std::vector<std::string>> List() const override {
    std::scoped_lock lock(disk_.mutex_);
    std::vector<std::string> names;
    for (const auto& [name, node] : node_->names) {
      names.push_back(name);
    }
    return names;
  }

  absl::Status Rename(std::string_view from, std::string_view to) override {
    QUIRE_RETURN_IF_ERROR(disk_.Begin("rename"));
    std::scoped_lock lock(disk_.mutex_);
    const NodePointer source = Find(from);
    const NodePointer target = Find(to);
    if (source == nullptr) {
      return Missing(from);
    }
    if (target != nullptr && (source->is_directory || target->is_directory)) {
      return Error(Reason::kIoFailed, std::string(to) + " is there");
    }
    node_->Change({{std::string(to), source}, {std::string(from), nullptr}});
    return absl::OkStatus();
  }

  absl::Status Remove(std::string_view name) override {
    QUIRE_RETURN_IF_ERROR(disk_.Begin("remove"));
    std::scoped_lock lock(disk_.mutex_);
    const NodePointer node = Find(name);
    if (node == nullptr) {
      return Missing(name);
    }
    if (!node->names.empty()) {
      return Error(Reason::kIoFailed, std::string(name) + " is not empty");
    }
    if (--node->name_count == 0) {
      disk_.space_ += std::ssize(node->bytes);
    }
    node_->Change({{std::string(name), nullptr}});
    return absl::OkStatus();
  }

  absl::Status Link(std::string_view name, Directory& other) override {
    QUIRE_RETURN_IF_ERROR(disk_.Begin("link"));
    std::scoped_lock lock(disk_.mutex_);
    auto& to = dynamic_cast<ModelDirectory&>(other);
    const NodePointer node = Find(name);
    if (node == nullptr || node->is_directory || to.Find(name) != nullptr) {
      return Error(Reason::kIoFailed, "cannot link " + std::string(name));
    }
    ++node->name_count;
    to.node_->Change({{std::string(name), node}});
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    QUIRE_RETURN_IF_ERROR(disk_.Begin("sync directory"));
    std::scoped_lock lock(disk_.mutex_);
    node_->durable_names = node_->names;
    node_->name_changes.clear();
    return absl::OkStatus();
  }

  absl::Status Lock() override {
    std::scoped_lock lock(disk_.mutex_);
    if (disk_.is_locked_) {
      return Error(Reason::kDirectoryInUse, "the model disk is in use");
    }
    disk_.is_locked_ = has_lock_ = true;
    return absl::OkStatus();
  }

  absl::StatusOr<bool> IsLocked() const override {
    std::scoped_lock lock(disk_.mutex_);
    return disk_.is_locked_;
  }

  const std::string& path() const override { return path_; }

 private:
  // nullptr if there is none.
  NodePointer Find(std::string_view name) const {
    const auto found = node_->names.find(std::string(name));
    return found == node_->names.end() ? nullptr : found->second;
  }

  ModelDisk& disk_;
  const NodePointer node_;
  const std::string path_;
  bool has_lock_ = false;
};

ModelDisk::ModelDisk(const ModelDisk& other) {
  std::scoped_lock lock(other.mutex_);
  std::map<NodePointer, NodePointer> copies;
  root_ = Copy(other.root_, copies);
}

ModelDisk::NodePointer ModelDisk::Copy(
    const NodePointer& node, std::map<NodePointer, NodePointer>& copies) {
  if (node == nullptr) {
    return nullptr;
  }
  NodePointer& made = copies[node];
  if (made != nullptr) {
    return made;
  }
  const NodePointer copy = made = std::make_shared<Node>(*node);
  for (NodeByName* const names : {&copy->names, &copy->durable_names}) {
    for (auto& [name, inner] : *names) {
      inner = Copy(inner, copies);
    }
  }
  for (NameChange& change : copy->name_changes) {
    for (auto& [name, inner] : change) {
      inner = Copy(inner, copies);
    }
  }
  return copy;
}

ModelDisk::NodePointer ModelDisk::NewDirectory() {
  auto node = std::make_shared<Node>();
  node->is_directory = true;
  return node;
}

std::unique_ptr<Directory> ModelDisk::Open() {
  return std::make_unique<ModelDirectory>(*this, root_, "model");
}

void ModelDisk::Apply(const NameChange& change, NodeByName& names) {
  for (const auto& [name, node] : change) {
    if (node == nullptr) {
      names.erase(name);
    } else {
      names[name] = node;
    }
  }
}

void ModelDisk::Node::Change(NameChange change) {
  Apply(change, names);
  name_changes.push_back(std::move(change));
}

std::vector<std::byte> ModelDisk::BytesAfterCut(const Node& node,
                                                Unsynced unsynced,
                                                std::mt19937_64& coin) {
  if (unsynced == Unsynced::kLost) {
    return node.durable;
  }
  if (unsynced == Unsynced::kKept) {
    return node.bytes;
  }
  std::vector<std::byte> bytes = node.durable;
  if (coin() % 2 == 0) {
    bytes.resize(node.bytes.size());
  }
  for (const std::set<size_t>* sectors : {&node.unsynced, &node.forsaken}) {
    for (const size_t sector : *sectors) {
      if (coin() % 2 == 0) {
        ModelFile::CopySector(node.bytes, sector, bytes);
      }
    }
  }
  return bytes;
}

ModelDisk::NodePointer ModelDisk::AfterCut(const Node& node, Unsynced unsynced,
                                           std::mt19937_64& coin) {
  auto kept = std::make_shared<Node>();
  kept->is_directory = node.is_directory;
  kept->bytes = BytesAfterCut(node, unsynced, coin);
  kept->durable = kept->bytes;
  NodeByName names = node.durable_names;
  for (const NameChange& change : node.name_changes) {
    if (unsynced == Unsynced::kKept ||
        (unsynced == Unsynced::kAsTheCoinFalls && coin() % 2 == 0)) {
      Apply(change, names);
    }
  }
  for (const auto& [name, inner] : names) {
    kept->names[name] = AfterCut(*inner, unsynced, coin);
  }
  kept->durable_names = kept->names;
  return kept;
}

std::unique_ptr<ModelDisk> ModelDisk::PowerCut(Unsynced unsynced,
                                               std::mt19937_64& coin) const {
  auto found = std::make_unique<ModelDisk>();
  std::scoped_lock lock(mutex_);
  found->root_ = AfterCut(*root_, unsynced, coin);
  return found;
}

void ModelDisk::OnOperation(Before before) {
  std::scoped_lock lock(mutex_);
  before_ = std::move(before);
}

void ModelDisk::OnRead(std::function<void(size_t)> before) {
  std::scoped_lock lock(mutex_);
  before_read_ = std::move(before);
}

void ModelDisk::BeginRead(size_t bytes) const {
  std::function<void(size_t)> before;
  {
    std::scoped_lock lock(mutex_);
    before = before_read_;
  }
  if (before) {
    before(bytes);
  }
}

int64_t ModelDisk::operation_count() const {
  std::scoped_lock lock(mutex_);
  return operation_count_;
}

void ModelDisk::FailAt(int64_t operation, Reason reason, bool for_ever) {
  std::scoped_lock lock(mutex_);
  fail_at_ = operation;
  reason_ = reason;
  fails_for_ever_ = for_ever;
}

void ModelDisk::SetSpace(int64_t bytes) {
  std::scoped_lock lock(mutex_);
  space_ = bytes;
}

absl::Status ModelDisk::Begin(std::string_view operation) {
  Before before;
  {
    std::scoped_lock lock(mutex_);
    before = before_;
  }
  if (before) {
    before(operation);
  }
  std::scoped_lock lock(mutex_);
  const int64_t number = operation_count_++;
  if (number == fail_at_ ||
      (fails_for_ever_ && fail_at_ >= 0 && number > fail_at_)) {
    return Error(reason_, "the model disk fails as it was told");
  }
  return absl::OkStatus();
}

std::vector<std::string> ModelDisk::Names() const {
  std::scoped_lock lock(mutex_);
  std::vector<std::string> paths;
  ListFiles(*root_, "", paths);
  return paths;
}

void ModelDisk::ListFiles(const Node& directory, const std::string& path,
                          std::vector<std::string>& paths) {
  for (const auto& [name, node] : directory.names) {
    if (node->is_directory) {
      ListFiles(*node, path + name + "/", paths);
    } else {
      paths.push_back(path + name);
    }
  }
}

ModelDisk::Node& ModelDisk::Find(const std::string& path) const {
  Node* node = root_.get();
  size_t begin = 0;
  for (size_t end = path.find('/'); end != std::string::npos;
       end = path.find('/', begin)) {
    node = node->names.at(path.substr(begin, end - begin)).get();
    begin = end + 1;
  }
  return *node->names.at(path.substr(begin));
}

std::vector<std::byte> ModelDisk::Content(const std::string& name) const {
  std::scoped_lock lock(mutex_);
  return Find(name).bytes;
}

void ModelDisk::SetContent(const std::string& name,
                           std::vector<std::byte> bytes) {
  std::scoped_lock lock(mutex_);
  Find(name).bytes = std::move(bytes);
}

}  // namespace quire::journal
