#include "journal/snapshot_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "journal/packing.h"

namespace quire::journal {
namespace {

constexpr std::string_view kManifestMagic = "QUIRESNP";
constexpr uint32_t kChunkMagic = 0x4B484351;  // "QCHK"
constexpr std::string_view kDraftEnd = ".draft";

// Of a chunk's header: what its checksum is of.
constexpr size_t kChunkFieldsBytes = 32;

constexpr size_t kVersionBytes = 16;
constexpr size_t kManifestHeaderBytes = 128;
constexpr size_t kDataFileBytes = 16;
constexpr size_t kChecksumBytes = 8;

uint64_t SeedAt(uint64_t file_seed, int64_t offset) {
  return file_seed + static_cast<uint64_t>(offset);
}

// All of a chunk's header but its checksums.
ChunkHeaderBytes EncodeFields(const StoredChunk& chunk) {
  ChunkHeaderBytes bytes = {};
  Packer to(bytes);
  to.Put(kChunkMagic);
  to.Put(chunk.header.stream);
  to.Put(chunk.header.index);
  to.Put(chunk.header.lsn);
  to.Put(chunk.payload_bytes);
  return bytes;
}

}  // namespace

std::string SnapshotName(uint64_t lsn) { return fmt::format("{:016x}", lsn); }

std::string DraftName(uint64_t lsn) {
  return fmt::format("{:016x}{}", lsn, kDraftEnd);
}

std::optional<uint64_t> SnapshotLsn(std::string_view name) {
  uint64_t lsn = 0;
  std::from_chars(name.data(), name.data() + name.size(), lsn, 16);
  return name == SnapshotName(lsn) ? std::optional(lsn) : std::nullopt;
}

std::optional<uint64_t> DraftLsn(std::string_view name) {
  if (!name.ends_with(kDraftEnd)) {
    return std::nullopt;
  }
  name.remove_suffix(kDraftEnd.size());
  return SnapshotLsn(name);
}

std::string DataFileName(size_t index) {
  return fmt::format("{:08x}.chunks", index);
}

uint64_t DataFileSeed(uint64_t snapshot_seed, size_t index) {
  const uint64_t number = index;
  return XXH3_64bits_withSeed(&number, sizeof(number), snapshot_seed);
}

ChunkHeaderBytes Encode(const StoredChunk& chunk, uint64_t file_seed,
                        int64_t offset) {
  ChunkHeaderBytes bytes = EncodeFields(chunk);
  Packer(std::span(bytes).subspan(kChunkFieldsBytes)).Put(chunk.checksum);
  Seal(bytes, SeedAt(file_seed, offset));
  return bytes;
}

std::optional<StoredChunk> DecodeChunkHeader(
    std::span<const std::byte, kChunkHeaderBytes> bytes, uint64_t file_seed,
    int64_t offset) {
  Unpacker from(bytes);
  if (from.Take<uint32_t>() != kChunkMagic ||
      !IsSealed(bytes, SeedAt(file_seed, offset))) {
    return std::nullopt;
  }
  StoredChunk chunk;
  chunk.header.stream = from.Take<uint32_t>();
  chunk.header.index = from.Take<uint64_t>();
  chunk.header.lsn = from.Take<uint64_t>();
  chunk.payload_bytes = from.Take<int64_t>();
  chunk.checksum = from.Take<uint64_t>();
  return chunk;
}

uint64_t Checksum(const StoredChunk& chunk, std::span<const Bytes> body,
                  uint64_t previous) {
  const ChunkHeaderBytes fields = EncodeFields(chunk);
  Hasher hasher(previous);
  hasher.Add(Bytes(fields).first(kChunkFieldsBytes));
  for (const Bytes& piece : body) {
    hasher.Add(piece);
  }
  return hasher.Digest();
}

size_t ManifestBytes(const Manifest& manifest) {
  return kManifestHeaderBytes + manifest.files.size() * kDataFileBytes +
         manifest.body.size() + kChecksumBytes;
}

std::vector<std::byte> Encode(const Manifest& manifest) {
  std::vector<std::byte> bytes(ManifestBytes(manifest));
  Packer header(bytes);
  header.Put(std::as_bytes(std::span(kManifestMagic)));
  header.Put(manifest.version.major);
  header.Put(manifest.version.minor);
  header.Put(manifest.version.incompatible_features);
  header.Put(Bytes(manifest.identity));
  header.Put(manifest.lsn);
  header.Put(manifest.seed);
  header.Put(uint64_t{manifest.files.size()});
  header.Put(uint64_t{manifest.body.size()});
  const std::span<std::byte> all(bytes);
  Packer rest(all.subspan(kManifestHeaderBytes));
  for (const DataFile& file : manifest.files) {
    rest.Put(file.bytes);
    rest.Put(file.checksum);
  }
  rest.Put(manifest.body);
  Seal(bytes, 0);
  return bytes;
}

std::optional<FormatVersion> DecodeManifestVersion(Bytes bytes) {
  if (bytes.size() < kVersionBytes + kChecksumBytes || !IsSealed(bytes, 0) ||
      !std::ranges::equal(bytes.first(kManifestMagic.size()),
                          std::as_bytes(std::span(kManifestMagic)))) {
    return std::nullopt;
  }
  Unpacker from(bytes.subspan(kManifestMagic.size()));
  FormatVersion version;
  version.major = from.Take<uint16_t>();
  version.minor = from.Take<uint16_t>();
  version.incompatible_features = from.Take<uint32_t>();
  return version;
}

std::optional<Manifest> DecodeManifest(Bytes bytes) {
  const std::optional<FormatVersion> version = DecodeManifestVersion(bytes);
  if (!version || bytes.size() < kManifestHeaderBytes + kChecksumBytes) {
    return std::nullopt;
  }
  Unpacker header(bytes.subspan(kVersionBytes));
  Manifest manifest;
  manifest.version = *version;
  manifest.identity = header.Take<Identity>();
  manifest.lsn = header.Take<uint64_t>();
  manifest.seed = header.Take<uint64_t>();
  const auto file_count = header.Take<uint64_t>();
  const auto body_bytes = header.Take<uint64_t>();
  const Bytes rest =
      bytes.subspan(kManifestHeaderBytes,
                    bytes.size() - kManifestHeaderBytes - kChecksumBytes);
  if (file_count > rest.size() / kDataFileBytes ||
      body_bytes != rest.size() - file_count * kDataFileBytes) {
    return std::nullopt;
  }
  Unpacker files(rest);
  for (uint64_t i = 0; i < file_count; ++i) {
    DataFile& file = manifest.files.emplace_back();
    file.bytes = files.Take<int64_t>();
    file.checksum = files.Take<uint64_t>();
  }
  manifest.body = rest.last(body_bytes);
  return manifest;
}

}  // namespace quire::journal
