// Reads a snapshot, and believes nothing that its checksums do not say.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "journal/files.h"
#include "journal/format.h"
#include "journal/snapshot_format.h"

namespace quire::journal {

// The end of each CORRUPT of this reader: what to do where no server has the
// rows.
inline constexpr std::string_view kDamagedSnapshotRemedy =
    ". Nothing was changed. Use an older snapshot with the log since, or "
    "restore the data directory from a backup";

class SnapshotReader {
 public:
  // Reads the manifest, and looks whether the data files are there and have the
  // sizes that it says. CORRUPT if not, or if it is damaged: the message names
  // the file; FOREIGN_DATA if it is of another data directory; FORMAT_TOO_NEW;
  // IO_FAILED also if there is no such snapshot. Nothing on the disk changes.
  enum class Source {
    kCache,  // wherever the system has it
    // The disk itself, where the system lets us; and nothing of what is read
    // stays in memory, where others have more use for the room.
    kDisk,
  };
  static absl::StatusOr<SnapshotReader> Open(Directory& snapshots,
                                             const Identity& identity,
                                             uint64_t lsn,
                                             Source source = Source::kCache);

  // What Finish was given; as long as the reader lives.
  Bytes body() const { return manifest_.body; }
  size_t file_count() const { return manifest_.files.size(); }
  // Of all of its files.
  int64_t bytes() const;

  // A chunk that is as it was written.
  //   payload  aligned to 64, until the function returns
  using Take =
      std::function<absl::Status(const ChunkHeader& header, Bytes payload)>;

  // Gives `take` the chunks of the file `index`, which is below file_count(),
  // in order; its first error is returned. CORRUPT: those given before were as
  // written, others are not. Needs memory for the largest chunk.
  absl::Status ReadFile(size_t index, const Take& take) const;

  // Reads all files.
  absl::Status Verify() const;

 private:
  SnapshotReader(std::unique_ptr<Directory> directory,
                 std::vector<std::byte> manifest_bytes, Manifest manifest,
                 Source source);
  absl::Status CheckFiles() const;
  // Of the size that the manifest says.
  absl::StatusOr<std::unique_ptr<File>> OpenFile(size_t index) const;

  std::unique_ptr<Directory> directory_;
  // What the manifest's body leads into.
  std::vector<std::byte> manifest_bytes_;
  Manifest manifest_;
  Source source_;
};

}  // namespace quire::journal
