"""Planted mistakes: what each is, and the smallest groups that must see it.

A server of the preset `faults` makes one of them when QUIRE_FAULT names it
(src/base/faults.h). For each, its groups are run against a server that makes
it, and each group must fail; against a server that makes none, each must hold.
"""

import os
import pathlib
import re
import sys
import types

from case import GROUPS
from connection import Connection, quire_process

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "mutants"))
from mutants_test import MUTANTS  # noqa: E402: the others that are planted

CASES = 60

FAULTS = {
    # What the server calls it: groups that must fail.
    "step_not_counted": ["sparse_adam", "adam"],
    "float_hyperparameters": ["sparse_adam"],
    "momentum_ignored": ["sgd"],
    "dampening_on_first_step": ["sgd"],
    "nesterov_ignored": ["sgd"],
    "weight_decay_decoupled": ["adam"],
    "scope_ignored": ["sgd", "adam"],
    "lr_decay_off_by_one": ["adagrad"],
    "initial_accumulator_ignored": ["adagrad", "rowwise_adagrad"],
    "duplicates_last_wins": ["duplicates"],
    "duplicates_reversed": ["duplicates"],
    "frequency_ignored": ["by_frequency"],
    "clip_ignored": ["clipping"],
    "copy_through_addition": ["special_values"],
    "padding_gradient_applied": ["padding"],
    "padding_row_not_zero": ["initialiser_padding"],
    "norm_not_strict": ["max_norm_edges"],
    "norm_without_epsilon": ["max_norm_edges"],
    "norm_type_ignored": ["max_norm"],
    "renorm_not_stored": ["max_norm_in_flight"],
    "mean_counts_padding": ["bags_forward"],
    "empty_bag_keeps_rows": ["bags_forward"],
    "weights_unfused": ["bags_forward"],
    "max_winners_ignored": ["bags_backward_max"],
    "weight_gradient_of_padding": ["weight_gradients"],
}


def planted():
    """The names that the server's sources know."""
    source = TESTS.parent / "src"
    return {name for path in source.rglob("*.cc") for name in re.findall(
        r'QUIRE_FAULT\(\s*"([a-z_]+)"', path.read_text())}


def _verdicts(fault, groups, options, run_group):
    """Which groups fail against a server that makes this mistake."""
    if fault:
        os.environ["QUIRE_FAULT"] = fault
    else:
        os.environ.pop("QUIRE_FAULT", None)
    try:
        with quire_process.server(options.server, "--memory-limit",
                                  "1GiB") as (_, address, _):
            connection = Connection(address)
            failed = {}
            for name in groups:
                _, failed[name] = run_group(GROUPS[name], connection, options)
            connection.close()
            return failed
    finally:
        os.environ.pop("QUIRE_FAULT", None)


def all_are_caught(options, run_group):
    """Runs every mistake against its groups; whether each was seen."""
    good = True
    if planted() != {*FAULTS, *MUTANTS}:
        print("the sources plant other mistakes than the lists name: "
              f"{sorted(planted() ^ {*FAULTS, *MUTANTS})}")
        good = False
    names = options.fault or list(FAULTS)
    options = types.SimpleNamespace(
        **{**vars(options), "cases": options.cases or CASES, "case": None})
    groups = sorted({group for name in names for group in FAULTS[name]})
    without = _verdicts(None, groups, options, run_group)
    for name, failures in without.items():
        if failures:
            print(f"{name} fails without a mistake: {failures[0]}")
            good = False
    for fault in names:
        verdicts = _verdicts(fault, FAULTS[fault], options, run_group)
        for name, failures in verdicts.items():
            seen = "fails, as it must" if failures else "DOES NOT SEE IT"
            if without[name]:
                seen = "CANNOT TELL: it fails without the mistake"
            print(f"{fault}: {name} {seen}")
            good = good and bool(failures)
    print(f"seed {options.seed}: {len(names)} planted mistakes, "
          f"{'all' if good else 'NOT all'} caught")
    return good
