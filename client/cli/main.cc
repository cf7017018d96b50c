// quire: embedding tables from the command line.

#include "base/tuning.h"
#include "client/cli/interrupt.h"
#include "client/cli/program.h"
#include "client/cli/verbs.h"

int main(int argc, char** argv) {
  quire::TuneProcess();
  quire::cli::CatchInterrupts();

  quire::cli::Program program;
  AddTableVerbs(program);
  AddLookup(program);
  AddRow(program);
  AddApply(program);
  AddNearest(program);
  AddLabelVerbs(program);
  AddImport(program);
  AddExport(program);
  AddBench(program);
  AddSnapshotVerbs(program);
  AddLogVerbs(program);
  AddServerVerbs(program);
  AddCompletion(program);
  return program.Main(argc, argv);
}
