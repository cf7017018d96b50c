#!/usr/bin/env python3
"""Torch's numbers: a real server, over gRPC, against torch itself.

Usage: parity_test.py [--seed N] [--group NAME]... [--cases N] [--case I]
                      [--server PATH] [--proto DIR]

Every group (case.py) runs generated cases; a number that breaks its group's
rule fails the run. `--faults` runs the planted mistakes of faults.py instead,
for which the server must be one of the preset `faults`.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import torch_oracle
from case import GROUPS, Case, Mismatch, Tally
from connection import Connection, Refusal, quire_process
import bag_groups  # noqa: F401
import error_groups  # noqa: F401
import fbgemm_groups  # noqa: F401
import gradient_groups  # noqa: F401
import lookup_groups  # noqa: F401
import max_norm_groups  # noqa: F401
import torch_optimizer_groups  # noqa: F401
import faults
import report

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAILURES_SHOWN = 3


def run_group(group, connection, options):
    """(tally, sentences of failures) of one group."""
    tally = Tally()
    failures = []
    count = options.cases or group.cases
    indices = range(count) if options.case is None else [options.case]
    for index in indices:
        case = Case(group.name, index, options.seed, connection, tally,
                    torch_oracle.fused())
        try:
            group.run(case)
        except Mismatch as mismatch:
            failures.append(str(mismatch))
        except Refusal as refusal:
            failures.append(f"{case.origin}\n  the server refused: {refusal}")
        finally:
            case.end()
        tally.cases += 1
        if len(failures) == FAILURES_SHOWN:
            break
    return tally, failures


def run(connection, groups, options, say=print):
    """Runs groups and prints what they found; whether all held."""
    results = []
    for group in groups:
        start = time.monotonic()
        tally, failures = run_group(group, connection, options)
        results.append((group, tally, bool(failures)))
        if options.verbose:
            say(f"{group.name}: {tally.cases} cases in "
                f"{time.monotonic() - start:.1f} s")
        for failure in failures:
            say(f"FAILED {failure}")
    say(report.of_groups(results))
    return not any(failed for _, _, failed in results)


def say_versions(connection, options):
    """What this run is of."""
    info = connection.info()
    print(f"seed {options.seed}; quire {info.version} "
          f"({info.instruction_set}), torch {torch_oracle.torch.__version__}, "
          f"numpy {torch_oracle.numpy.__version__}")
    if not torch_oracle.fused():
        print("this CPU has no AVX2 and FMA, which torch's last bits are of: "
              "bit-exactness is not demanded")


def parse():
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", default=str(
        ROOT / "build/release/bin/quire-server"))
    parser.add_argument("--proto", default=str(ROOT / "proto"))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--group", action="append", choices=sorted(GROUPS))
    parser.add_argument("--cases", type=int, help="per group")
    parser.add_argument("--case", type=int, help="this one alone")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--fault", action="append",
                        help="with --faults: this one alone")
    return parser.parse_args()


def main():
    options = parse()
    with tempfile.TemporaryDirectory() as stubs:
        quire_process.generate_stubs(stubs, options.proto)
        if options.faults:
            sys.exit(0 if faults.all_are_caught(
                options, run_group) else 1)
        with quire_process.server(options.server, "--memory-limit",
                                  "1GiB") as (_, address, _):
            connection = Connection(address)
            say_versions(connection, options)
            names = options.group or GROUPS
            held = run(connection, [GROUPS[name] for name in names], options)
            say_versions(connection, options)
            connection.close()
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
