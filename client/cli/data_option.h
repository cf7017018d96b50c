// Verbs that look at a data directory by themselves: no server is asked.

#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "inspect/data_files.h"
#include "journal/files.h"

namespace quire::cli {

// The required option --data-dir, or QUIRE_DATA_DIR as the server knows it.
CLI::Option* AddDataDir(CLI::App& verb, std::string& path);

// A directory that is there, to be read: InputError if not.
absl::StatusOr<std::unique_ptr<journal::Directory>> OpenToRead(
    const std::string& path);

// What is there, to be looked at. Errors are DataErrors, or InputErrors if
// there is no such directory.
absl::StatusOr<inspect::DataFiles> OpenDataDir(const std::string& path);

}  // namespace quire::cli
