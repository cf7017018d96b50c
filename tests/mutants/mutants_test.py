"""Breaks the promises of durability on purpose; the tests must see it.

Usage: mutants_test.py BIN, where BIN holds the tests of the preset `faults`.
Each mutant is a switch of that build (src/base/faults.h), and has the smallest
test that must fail with it and hold without.
"""

import os
import pathlib
import re
import subprocess
import sys

MUTANTS = {
    # The switch: what it breaks, and the test that must fail.
    "sync_skipped": (
        "the log is not synced",
        "engine_test", "DiskTest.APowerCutAtAnyMomentLosesNothing*"),
    "acknowledged_before_sync": (
        "SYNCED is acknowledged when it is written",
        "engine_test", "DiskTest.APowerCutAtAnyMomentLosesNothing*"),
    "pushes_forgotten_on_restart": (
        "the names of pushes are not replayed",
        "engine_test", "DurabilityTest.APushThatComesAgain*"),
    "applied_before_validation": (
        "the tables before the bad one are changed",
        "engine_test", "EngineTest.APushIsAllOrNothing*"),
    "directory_not_synced": (
        "a snapshot's new name is not synced",
        "journal_test", "SnapshotCrashTest.APowerCutLeaves*"),
    "torn_tail_accepted": (
        "a record that does not fit its checksum is read",
        "engine_test", "DiskTest.APowerCutAtAnyMomentLosesNothing*"),
    "chunk_lsns_ignored": (
        "rows take changes again that their chunk has",
        "engine_test", "DurabilityTest.ASnapshotOfABusyEngine*"),
    "stripes_not_locked": (
        "rows are read while they are written",
        "engine_test", "EngineTest.NoReaderSeesATornRow"),
}


def run(binary, test, mutant=None):
    environment = {**os.environ, "QUIRE_FAULT": mutant or ""}
    ended = subprocess.run([binary, f"--gtest_filter={test}"],
                           env=environment, capture_output=True, text=True,
                           timeout=300, check=False)
    ran = re.search(r"Running (\d+) test", ended.stdout)
    if ran is None or ran[1] == "0":
        sys.exit(f"{binary.name} has no test {test}")
    return ended.returncode


def main():
    directory = pathlib.Path(sys.argv[1])
    survivors = []
    held = {}
    for mutant, (breaks, program, test) in MUTANTS.items():
        binary = directory / program
        if (program, test) not in held:
            held[program, test] = run(binary, test) == 0
        if not held[program, test]:
            sys.exit(f"{program} {test} fails without a mutant")
        killed = run(binary, test, mutant) != 0
        print(f"{'killed  ' if killed else 'SURVIVED'} {mutant}: {breaks}",
              flush=True)
        if not killed:
            survivors.append(mutant)
    print(f"mutants killed {len(MUTANTS) - len(survivors)}/{len(MUTANTS)}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
