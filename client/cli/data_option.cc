#include "client/cli/data_option.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "base/status.h"
#include "client/cli/failure.h"
#include "client/formats/input_error.h"
#include "journal/posix_files.h"

namespace quire::cli {

CLI::Option* AddDataDir(CLI::App& verb, std::string& path) {
  return verb
      .add_option("--data-dir", path,
                  "of a server, which may be running; else QUIRE_DATA_DIR")
      ->envname("QUIRE_DATA_DIR")
      ->required()
      ->type_name("DIR");
}

absl::StatusOr<std::unique_ptr<journal::Directory>> OpenToRead(
    const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    return formats::InputError(fmt::format("there is no directory '{}'", path));
  }
  auto root = journal::OpenDirectoryToRead(path);
  if (!root.ok()) {
    return DataError(root.status());
  }
  return root;
}

absl::StatusOr<inspect::DataFiles> OpenDataDir(const std::string& path) {
  QUIRE_ASSIGN_OR_RETURN(auto root, OpenToRead(path));
  auto files = inspect::DataFiles::Open(std::move(root));
  if (!files.ok()) {
    return DataError(files.status());
  }
  return files;
}

}  // namespace quire::cli
