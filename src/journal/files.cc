#include "journal/files.h"

#include <fmt/format.h>

#include "base/status.h"

namespace quire::journal {

std::string PathOf(const Directory& directory, std::string_view name) {
  return fmt::format("{}/{}", directory.path(), name);
}

absl::StatusOr<std::unique_ptr<Directory>> MakeDirectoryIn(
    Directory& parent, std::string_view name) {
  // What MakeDirectory opens may be where a link leads: it is let go unused.
  QUIRE_RETURN_IF_ERROR(parent.MakeDirectory(name).status());
  return parent.OpenDirectory(name);
}

absl::Status RemoveWithContent(Directory& directory, std::string_view name) {
  // What does not open as a directory is a file, or cannot be removed either.
  if (const auto inner = directory.OpenDirectory(name); inner.ok()) {
    QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                           (*inner)->List());
    for (const std::string& inner_name : names) {
      QUIRE_RETURN_IF_ERROR(RemoveWithContent(**inner, inner_name));
    }
  }
  return directory.Remove(name);
}

}  // namespace quire::journal
