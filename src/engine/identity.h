// The name that all files of a data directory carry: DIR/IDENTITY.
//
// Thread safety: functions for one thread at a time.

#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "journal/files.h"
#include "journal/format.h"

namespace quire {

inline constexpr std::string_view kIdentityName = "IDENTITY";

// Random.
journal::Identity FreshIdentity();

// FOREIGN_DATA if there is none, CORRUPT, FORMAT_TOO_NEW. Nothing changes.
absl::StatusOr<journal::Identity> ReadIdentity(journal::Directory& root);

// It appears whole, and is on the disk when this returns.
absl::Status WriteIdentity(journal::Directory& root,
                           const journal::Identity& identity);

// Whether `name` may be in a directory that has no identity yet: what is made
// before it, and what a new file system has.
bool MayPrecedeIdentity(std::string_view name);

}  // namespace quire
