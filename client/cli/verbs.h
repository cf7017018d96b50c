// The verbs of `quire`, one file for each group. Each function adds its own to
// a program.

#pragma once

#include "client/cli/program.h"

namespace quire::cli {

// table create|list|describe|alter|rewind|drop
void AddTableVerbs(Program& program);
void AddLookup(Program& program);         // lookup
void AddRow(Program& program);            // row
void AddApply(Program& program);          // apply
void AddNearest(Program& program);        // nearest
void AddLabelVerbs(Program& program);     // label get|set|find
void AddImport(Program& program);         // import
void AddExport(Program& program);         // export
void AddBench(Program& program);          // bench
void AddSnapshotVerbs(Program& program);  // snapshot …, backup
void AddLogVerbs(Program& program);       // log status|verify|dump|repair
void AddServerVerbs(Program& program);    // stats, health, version
void AddCompletion(Program& program);     // completion bash

}  // namespace quire::cli
