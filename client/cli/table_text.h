// Tables as people read them.

#pragma once

#include <span>
#include <string>

#include "client/cli/output.h"
#include "quire/v1/admin.pb.h"

namespace quire::cli {

// Everything about one table, a line for each fact.
std::string TableText(const v1::Table& table);

// A line for each table, in any form but npy.
std::string TableListText(std::span<const v1::Table> tables,
                          OutputFormat output);

}  // namespace quire::cli
