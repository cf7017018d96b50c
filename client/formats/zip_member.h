// The bytes of one member of a .zip file.

#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "client/formats/bytes.h"
#include "client/formats/zip_archive.h"

namespace quire::formats {

// The unpacked bytes of `member`, whose data lies within `archive`.
absl::StatusOr<std::shared_ptr<Bytes>> OpenMember(
    std::shared_ptr<Bytes> archive, const ZipMember& member);

}  // namespace quire::formats
