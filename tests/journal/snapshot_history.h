// Snapshots that tests write and read.

#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status.h"
#include "journal/log_history.h"
#include "journal/snapshot_reader.h"
#include "journal/snapshot_writer.h"
#include "journal/snapshots.h"

namespace quire::journal {

// Small, so that a few chunks are several files.
inline constexpr SnapshotOptions kSmallSnapshot = {.file_bytes_max = 1024};

struct TestChunk {
  ChunkHeader header;
  std::vector<std::byte> payload;

  friend bool operator==(const TestChunk&, const TestChunk&) = default;
};

// What a snapshot holds.
struct Content {
  std::vector<TestChunk> chunks;
  std::vector<std::byte> body;

  friend bool operator==(const Content&, const Content&) = default;
};

// `count` chunks of less than `bytes_max` each.
inline Content PlanSnapshot(uint64_t seed, size_t count, size_t bytes_max) {
  std::mt19937_64 random(seed);
  Content content;
  for (size_t i = 0; i < count; ++i) {
    content.chunks.push_back(
        {.header = {.stream = static_cast<uint32_t>(random()),
                    .index = random(),
                    .lsn = random()},
         .payload = PayloadOf(random(), random() % bytes_max)});
  }
  content.body = PayloadOf(random(), random() % 200);
  return content;
}

// In two pieces, and an empty one between them.
inline absl::Status Append(SnapshotWriter& writer, const TestChunk& chunk) {
  const Bytes all(chunk.payload);
  const Bytes half = all.first(all.size() / 2);
  const Bytes pieces[] = {half, Bytes(), all.subspan(half.size())};
  return writer.Append(chunk.header, pieces);
}

inline absl::Status WriteSnapshot(
    Directory& snapshots, uint64_t lsn, const Content& content,
    const SnapshotOptions& options = kSmallSnapshot) {
  QUIRE_ASSIGN_OR_RETURN(
      const std::unique_ptr<SnapshotWriter> writer,
      SnapshotWriter::Begin(snapshots, kIdentity, lsn, options));
  for (const TestChunk& chunk : content.chunks) {
    QUIRE_RETURN_IF_ERROR(Append(*writer, chunk));
  }
  return writer->Finish(content.body);
}

inline absl::StatusOr<Content> ReadSnapshot(Directory& snapshots,
                                            uint64_t lsn) {
  QUIRE_ASSIGN_OR_RETURN(const SnapshotReader reader,
                         SnapshotReader::Open(snapshots, kIdentity, lsn));
  Content content;
  content.body.assign(reader.body().begin(), reader.body().end());
  for (size_t i = 0; i < reader.file_count(); ++i) {
    QUIRE_RETURN_IF_ERROR(
        reader.ReadFile(i, [&](const ChunkHeader& header, Bytes payload) {
          content.chunks.push_back(
              {.header = header, .payload = {payload.begin(), payload.end()}});
          return absl::OkStatus();
        }));
  }
  return content;
}

// A disk with the directory of the snapshots, both durable.
inline std::unique_ptr<Directory> MakeSnapshots(ModelDisk& disk) {
  const auto root = disk.Open();
  auto snapshots = root->MakeDirectory("snapshots");
  return snapshots.ok() && root->Sync().ok() ? *std::move(snapshots) : nullptr;
}

inline std::unique_ptr<Directory> OpenSnapshots(ModelDisk& disk) {
  auto snapshots = disk.Open()->OpenDirectory("snapshots");
  return snapshots.ok() ? *std::move(snapshots) : nullptr;
}

}  // namespace quire::journal
