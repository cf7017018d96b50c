// A file that appears when it is complete.

#pragma once

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
  static absl::StatusOr<OutputFile> Create(std::string_view path);

  OutputFile(OutputFile&&) = default;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  absl::Status Write(std::string_view bytes);
  absl::Status Commit();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  OutputFile(std::unique_ptr<std::FILE, Close> file, std::string path,
             std::string temporary_path);

  absl::Status Failed() const;

  std::unique_ptr<std::FILE, Close> file_;
  std::string path_;
  // Empty if the file is written in its place.
  std::string temporary_path_;
};

}  // namespace quire::formats
