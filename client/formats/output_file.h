// A file that appears when it is complete.

#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace quire::formats {

// Written beside its place under another name, and renamed by Commit; until
// then, and if it is dropped before, what was there stays. Standard output
// ("-"), devices and pipes are written as they are. Thread safety: one thread
// at a time.
class OutputFile {
 public:
  // In which order bytes will be written.
  enum class Order {
    kForward,
    // Any; what can only be written forward, like a pipe, gets all of it from
    // a temporary file in the end.
    kAny,
  };

  static absl::StatusOr<OutputFile> Create(std::string_view path,
                                           Order order = Order::kForward);

  OutputFile(OutputFile&&) = default;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  // Behind the bytes that were written last.
  absl::Status Write(std::string_view bytes);
  // From byte `offset` of the file on, which is behind the bytes that were
  // written last unless the order is kAny. In the end no byte may be missing.
  absl::Status WriteAt(uint64_t offset, std::string_view bytes);
  absl::Status Commit();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  using File = std::unique_ptr<std::FILE, Close>;

  OutputFile(File file, std::string path, std::string temporary_path,
             File spool);

  absl::Status Failed() const;
  absl::Status CopySpool();

  File file_;
  std::string path_;
  // Empty if the file is written in its place.
  std::string temporary_path_;
  // Where bytes are held until Commit; null if they go to the file.
  File spool_;
  uint64_t position_ = 0;
};

}  // namespace quire::formats
