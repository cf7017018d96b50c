#include "client/formats/torch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/status.h"
#include "client/formats/input_error.h"
#include "client/formats/pickle.h"

namespace quire::formats {
namespace {

constexpr std::string_view kPickle = "/data.pkl";

// A pickle that is packed may unpack to this, however small the file.
constexpr size_t kPickleBytesUnpackedMax = size_t{1} << 20;

// The magic number of old files, a pickled long.
constexpr std::string_view kOldMagic =
    "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

// The directory in the archive: what is in front of "/data.pkl"; empty if there
// is none.
std::string DirectoryOf(const ZipArchive& archive) {
  for (const ZipMember& member : archive.members()) {
    if (member.name.ends_with(kPickle) &&
        member.name.find('/') == member.name.size() - kPickle.size()) {
      return member.name.substr(0, member.name.size() - kPickle.size());
    }
  }
  return "";
}

class TorchFile : public TensorFile {
 public:
  TorchFile(ZipArchive archive, std::vector<TensorEntry> entries)
      : TensorFile(archive.name(), std::move(entries), {}),
        archive_(std::move(archive)) {}

  absl::StatusOr<std::shared_ptr<Bytes>> BytesOf(
      const TensorEntry& entry) override {
    return archive_.BytesOf(archive_.members()[entry.part]);
  }

 private:
  const ZipArchive archive_;
};

absl::Status CheckByteOrder(const ZipArchive& archive,
                            const std::string& directory) {
  const ZipMember* member = archive.Find(directory + "/byteorder");
  if (member == nullptr) {
    return absl::OkStatus();
  }
  constexpr std::string_view kLittle = "little";
  std::string order;
  if (member->size == kLittle.size()) {
    QUIRE_ASSIGN_OR_RETURN(const std::shared_ptr<Bytes> bytes,
                           archive.BytesOf(*member));
    QUIRE_ASSIGN_OR_RETURN(order, ReadRange(*bytes, 0, bytes->size()));
  }
  return order == kLittle
             ? absl::OkStatus()
             : InputError(fmt::format("'{}' is big-endian; load it and "
                                      "torch.save it on another machine",
                                      archive.name()));
}

absl::StatusOr<std::vector<PickledTensor>> ReadPickle(
    const ZipArchive& archive, const std::string& directory) {
  const ZipMember& member = *archive.Find(directory + std::string(kPickle));
  if (member.size > std::max(archive.size(), kPickleBytesUnpackedMax)) {
    return InputError(fmt::format(
        "'{}: {}' unpacks to {} bytes, more than the whole file has",
        archive.name(), member.name, member.size));
  }
  if (member.size > kPickleBytesMax) {
    return InputError(fmt::format("'{}: {}' has {} bytes; at most {} are read",
                                  archive.name(), member.name, member.size,
                                  kPickleBytesMax));
  }
  QUIRE_ASSIGN_OR_RETURN(const std::shared_ptr<Bytes> bytes,
                         archive.BytesOf(member));
  QUIRE_ASSIGN_OR_RETURN(const std::string pickle,
                         ReadRange(*bytes, 0, bytes->size()));
  absl::StatusOr<std::vector<PickledTensor>> tensors =
      ReadPickledTensors(pickle);
  if (!tensors.ok()) {
    return InputError(
        fmt::format("'{}' {}", bytes->name(), SentenceOf(tensors.status())));
  }
  return tensors;
}

// Where the members of an archive are, by name.
std::unordered_map<std::string_view, size_t> PlacesOf(
    const ZipArchive& archive) {
  std::unordered_map<std::string_view, size_t> places;
  for (size_t i = 0; i < archive.members().size(); ++i) {
    places[archive.members()[i].name] = i;
  }
  return places;
}

// `tensor`, whose storage is member `part`.
absl::StatusOr<TensorEntry> EntryOf(const ZipArchive& archive, size_t part,
                                    PickledTensor tensor) {
  const ZipMember& member = archive.members()[part];
  const size_t number_bytes = tensor.type ? NumberBytes(*tensor.type) : 1;
  const auto elements = static_cast<size_t>(tensor.storage_elements);
  if (tensor.type && (member.size % number_bytes != 0 ||
                      member.size / number_bytes != elements)) {
    return InputError(fmt::format(
        "'{}: {}' has {} bytes; {} numbers of {} are needed", archive.name(),
        member.name, member.size, elements, NumberName(*tensor.type)));
  }
  return TensorEntry{
      .name = std::move(tensor.name),
      .type = tensor.type,
      .type_name = std::move(tensor.type_name),
      .complaint = {},
      .dims = std::move(tensor.dims),
      .strides = std::move(tensor.strides),
      .offset = static_cast<size_t>(tensor.offset) * number_bytes,
      .part = part};
}

}  // namespace

bool HoldsTorchPickle(const ZipArchive& archive) {
  return !DirectoryOf(archive).empty();
}

bool LooksLikeOldTorch(std::string_view head) {
  return head.size() >= 2 && head[0] == '\x80' &&
         head.substr(2).starts_with(kOldMagic);
}

absl::StatusOr<std::unique_ptr<TensorFile>> OpenTorch(ZipArchive archive) {
  const std::string directory = DirectoryOf(archive);
  if (directory.empty()) {
    return InputError(fmt::format(
        "'{}' is a .zip file without torch's data.pkl", archive.name()));
  }
  if (archive.Find(directory + "/constants.pkl") != nullptr) {
    return InputError(fmt::format(
        "'{}' is a program (TorchScript), and Quire runs nothing of a file: "
        "torch.save(model.state_dict(), …)",
        archive.name()));
  }
  QUIRE_RETURN_IF_ERROR(CheckByteOrder(archive, directory));
  QUIRE_ASSIGN_OR_RETURN(std::vector<PickledTensor> tensors,
                         ReadPickle(archive, directory));
  const auto places = PlacesOf(archive);
  std::unordered_set<std::string> names;
  std::vector<TensorEntry> entries;
  for (PickledTensor& tensor : tensors) {
    const std::string member = directory + "/data/" + tensor.storage_key;
    const auto place = places.find(member);
    if (place == places.end()) {
      return InputError(fmt::format("'{}' has no '{}', the numbers of '{}'",
                                    archive.name(), member, tensor.name));
    }
    if (!names.insert(tensor.name).second) {
      return InputError(fmt::format("'{}' has two tensors named '{}'",
                                    archive.name(), tensor.name));
    }
    QUIRE_ASSIGN_OR_RETURN(entries.emplace_back(),
                           EntryOf(archive, place->second, std::move(tensor)));
  }
  return std::make_unique<TorchFile>(std::move(archive), std::move(entries));
}

}  // namespace quire::formats
