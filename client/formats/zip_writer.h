// Writes a .zip file of stored members, whose sizes are known beforehand.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/formats/output_file.h"

namespace quire::formats {

// Members may be written side by side, if the file takes any order; else each
// is complete before the next begins. Thread safety: one thread at a time.
class ZipWriter {
 public:
  // `file` outlives the writer.
  explicit ZipWriter(OutputFile& file) : file_(file) {}

  // Begins a member of `size` bytes, at a multiple of 64, and returns its
  // index. Its name is ASCII.
  absl::StatusOr<size_t> Add(std::string name, uint64_t size);

  // The next bytes of a member.
  absl::Status Append(size_t member, std::string_view bytes);

  // A whole member.
  absl::Status AddWhole(std::string name, std::string_view bytes);

  // Writes the directory. All members are complete.
  absl::Status Finish();

 private:
  struct Member {
    std::string name;
    uint64_t size = 0;
    uint64_t header_offset = 0;
    uint64_t data_offset = 0;
    uint64_t written = 0;
    uint32_t crc = 0;
  };

  absl::Status WriteDescriptor(const Member& member);

  OutputFile& file_;
  std::vector<Member> members_;
  // Where the next member begins.
  uint64_t end_ = 0;
};

}  // namespace quire::formats
