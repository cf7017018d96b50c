#include "client/formats/npz_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "client/formats/input_error.h"
#include "client/formats/npy_file.h"

namespace quire::formats {
namespace {

constexpr std::string_view kEnding = ".npy";

class NpzFile : public TensorFile {
 public:
  NpzFile(ZipArchive archive, std::vector<TensorEntry> entries)
      : TensorFile(archive.name(), std::move(entries), {}),
        archive_(std::move(archive)) {}

  absl::StatusOr<std::shared_ptr<Bytes>> BytesOf(
      const TensorEntry& entry) override {
    return archive_.BytesOf(archive_.members()[entry.part]);
  }

 private:
  const ZipArchive archive_;
};

// The strides of an array in Fortran's order, the first index first.
std::vector<int64_t> FortranStrides(std::span<const int64_t> dims) {
  std::vector<int64_t> strides;
  int64_t stride = 1;
  for (const int64_t dim : dims) {
    strides.push_back(stride);
    stride *= std::max<int64_t>(dim, 1);
  }
  return strides;
}

TensorEntry EntryOf(const ZipArchive& archive, size_t part) {
  const ZipMember& member = archive.members()[part];
  TensorEntry entry = {
      .name = member.name.substr(0, member.name.size() - kEnding.size()),
      .part = part};
  const absl::StatusOr<std::shared_ptr<Bytes>> bytes = archive.BytesOf(member);
  absl::StatusOr<NpyHeader> header =
      bytes.ok() ? ReadNpyHeader(**bytes) : bytes.status();
  if (!header.ok()) {
    entry.complaint = SentenceOf(header.status());
    return entry;
  }
  entry.type = header->type;
  entry.strides = header->fortran_order ? FortranStrides(header->dims)
                                        : DenseStrides(header->dims);
  entry.dims = std::move(header->dims);
  entry.offset = header->data_offset;
  return entry;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TensorFile>> OpenNpz(ZipArchive archive) {
  std::vector<TensorEntry> entries;
  for (size_t i = 0; i < archive.members().size(); ++i) {
    if (archive.members()[i].name.ends_with(kEnding)) {
      entries.push_back(EntryOf(archive, i));
    }
  }
  if (entries.empty()) {
    return InputError(fmt::format(
        "'{}' is a .zip file without .npy arrays and without torch's data.pkl",
        archive.name()));
  }
  return std::make_unique<NpzFile>(std::move(archive), std::move(entries));
}

}  // namespace quire::formats
