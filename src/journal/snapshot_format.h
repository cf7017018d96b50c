// The bytes of a snapshot: data files of chunks, and the manifest that names
// them. The grammar is in docs/FORMATS.md; all numbers are little-endian.
//
//   data file  ┌─────────────┬─────────┬───────┬─────────────┬───
//              │ header 64 B │ payload │ zeros │ header 64 B │ …
//              └─────────────┴─────────┴───────┴─────────────┴───
//              ▲ a multiple of 64              ▲ a multiple of 64
//   MANIFEST   ┌──────────────┬──────────────┬──────┬──────────┐
//              │ header 128 B │ files 16 B … │ body │ checksum │
//              └──────────────┴──────────────┴──────┴──────────┘
//
// A chunk's checksum is seeded by that of the chunk before it, the first one's
// by a seed that only its file has; that of the last one is in the manifest. A
// chunk that is another one, or at another place, or missing, changes it.
//
// Thread safety: pure functions and plain values.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_range.h"
#include "journal/format.h"

namespace quire::journal {

// Of the format. A reader takes snapshots of its own major version with no
// incompatible feature that it does not know.
inline constexpr uint16_t kSnapshotMajor = 1;
inline constexpr uint16_t kSnapshotMinor = 0;

// --- Names ---

inline constexpr std::string_view kManifestName = "MANIFEST";

// The directory of a finished snapshot: 16 hexadecimal digits; and of one that
// is being made or removed: ".draft" after them.
std::string SnapshotName(uint64_t lsn);
std::string DraftName(uint64_t lsn);
// nullopt for another name.
std::optional<uint64_t> SnapshotLsn(std::string_view name);
std::optional<uint64_t> DraftLsn(std::string_view name);

// A data file in it: 8 hexadecimal digits, from 0 on, and ".chunks".
std::string DataFileName(size_t index);

// --- Chunks ---

// What a chunk is of is the caller's business.
struct ChunkHeader {
  uint32_t stream = 0;
  uint64_t index = 0;
  uint64_t lsn = 0;

  friend bool operator==(const ChunkHeader&, const ChunkHeader&) = default;
};

struct StoredChunk {
  ChunkHeader header;
  int64_t payload_bytes = 0;
  uint64_t checksum = 0;

  friend bool operator==(const StoredChunk&, const StoredChunk&) = default;
};

inline constexpr int64_t kChunkAlignment = 64;
inline constexpr int64_t kChunkHeaderBytes = 64;

// Payload and zeros: what lies behind the header.
constexpr int64_t ChunkBodyBytes(int64_t payload_bytes) {
  return (payload_bytes + kChunkAlignment - 1) / kChunkAlignment *
         kChunkAlignment;
}

// The seed of the data file `index` of the snapshot with that seed.
uint64_t DataFileSeed(uint64_t snapshot_seed, size_t index);

using ChunkHeaderBytes = std::array<std::byte, kChunkHeaderBytes>;
//   offset  of the chunk in its file
ChunkHeaderBytes Encode(const StoredChunk& chunk, uint64_t file_seed,
                        int64_t offset);
// nullopt if the checksum does not fit: of another place, or of another file.
std::optional<StoredChunk> DecodeChunkHeader(
    std::span<const std::byte, kChunkHeaderBytes> bytes, uint64_t file_seed,
    int64_t offset);

// The checksum of a chunk, which has all but that.
//   body      payload and zeros, end to end
//   previous  of the chunk before, or the file's seed
uint64_t Checksum(const StoredChunk& chunk, std::span<const Bytes> body,
                  uint64_t previous);

// --- Manifests ---

struct FormatVersion {
  uint16_t major = kSnapshotMajor;
  uint16_t minor = kSnapshotMinor;
  // Bits of features that a reader must know, of which there are none yet.
  uint32_t incompatible_features = 0;

  friend bool operator==(const FormatVersion&, const FormatVersion&) = default;
};

struct DataFile {
  // Its size, and the checksum of its last chunk: it has one.
  int64_t bytes = 0;
  uint64_t checksum = 0;

  friend bool operator==(const DataFile&, const DataFile&) = default;
};

struct Manifest {
  FormatVersion version;
  Identity identity = {};
  uint64_t lsn = 0;
  // Random: nothing that lay in the files before can be taken for a chunk.
  uint64_t seed = 0;
  std::vector<DataFile> files;
  // What the snapshot's caller says of it; a view.
  Bytes body;
};

// It is read as a whole.
inline constexpr int64_t kManifestBytesMax = int64_t{1} << 30;

// The size of its file.
size_t ManifestBytes(const Manifest& manifest);

std::vector<std::byte> Encode(const Manifest& manifest);

// nullopt if these are not the bytes of a manifest, of whatever version.
std::optional<FormatVersion> DecodeManifestVersion(Bytes bytes);
// Of a version that this one reads; nullopt if its sizes are not those of
// `bytes`, into which the body leads.
std::optional<Manifest> DecodeManifest(Bytes bytes);

}  // namespace quire::journal
