#include "client/uid.h"

#include <fmt/format.h>

#include <cstring>

#include "base/status.h"

namespace quire {

absl::StatusOr<TableUid> ReadUid(const std::string& bytes) {
  TableUid uid;
  if (bytes.size() != uid.bytes.size()) {
    return Error(Reason::kBug,
                 fmt::format("the server sent a table's uid of {} bytes; they "
                             "have {}",
                             bytes.size(), uid.bytes.size()));
  }
  std::memcpy(uid.bytes.data(), bytes.data(), bytes.size());
  return uid;
}

std::string WriteUid(const TableUid& uid) {
  return {reinterpret_cast<const char*>(uid.bytes.data()), uid.bytes.size()};
}

}  // namespace quire
