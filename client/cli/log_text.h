// What people and programs read of a log.

#pragma once

#include <cstdint>
#include <string>

#include "client/cli/output.h"
#include "inspect/log_dump.h"
#include "inspect/log_repair.h"
#include "inspect/log_report.h"
#include "journal/format.h"
#include "journal/log_salvage.h"

namespace quire::cli {

// Lines, each with its \n.
std::string StatusText(const journal::Identity& identity,
                       const inspect::LogStatus& status);
std::string CheckText(const inspect::LogCheck& check, bool is_in_use);
std::string RepairText(const inspect::Repair& repair);

// A line of titles, and one for each record.
std::string DumpTitle();
std::string RecordLine(const inspect::RecordSummary& record, bool with_ids);

// Parts of a sentence: what is lost from `cut_lsn` on; and, behind what is
// wrong, what a repair would do.
std::string BehindText(uint64_t cut_lsn, const journal::RecordsBehind& behind);
std::string PlanText(const inspect::RepairPlan& plan);

Json StatusJson(const journal::Identity& identity,
                const inspect::LogStatus& status);
Json CheckJson(const inspect::LogCheck& check);
Json RecordJson(const inspect::RecordSummary& record, bool with_ids);
Json RepairJson(const inspect::Repair& repair);

}  // namespace quire::cli
