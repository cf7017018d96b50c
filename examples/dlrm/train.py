#!/usr/bin/env python3
"""Learns what is clicked: a DLRM whose 26 tables are on a Quire server.

    train.py --server 127.0.0.1:7847
    train.py --local                   the same with torch's own tables

With row-wise Adagrad for the tables and SGD for the layers, from the same first
rows and batches: both take the same steps, and end with the same area under the
curve.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import time
from typing import Any, Iterable, List, Tuple

import numpy as np
import torch
from clicks import FEATURES, NUMBERS, SIZES, Batch, Clicks, area_under_curve
from model import Dlrm
from torch.nn import functional

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1]))
import curve  # noqa: E402

# Never trained on.
TEST_BATCH, TEST_SIZE = 2 ** 32 - 1, 20_000
STEPS_PER_POINT = 10
# Of the tables' optimizer. With less, the first gradient of a row, however near
# to 0, is a whole step, and the last bit of a sum decides of its direction.
EPS = 1e-4


class RowwiseAdagrad(torch.optim.Optimizer):
    """What quire.optimizers.RowwiseAdagrad is, for --local: one sum for each
    row, of the mean square of its gradients."""

    def __init__(self, parameters: Iterable[Any], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                sums = self.state[weight].setdefault(
                    "sums", torch.zeros(len(weight), 1))
                sums += weight.grad.pow(2).mean(1, keepdim=True)
                weight -= group["lr"] * weight.grad / (
                    sums.sqrt() + EPS)


def parse(arguments: Any = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--server", default=os.environ.get(
        "QUIRE_SERVER", "127.0.0.1:7847"))
    where.add_argument("--local", action="store_true")
    parser.add_argument("--prefix", default="dlrm.", help="of the tables")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--dense-lr", type=float, default=0.1)
    parser.add_argument("--curve", type=pathlib.Path,
                        default=pathlib.Path("dlrm-loss.svg"))
    return parser.parse_args(arguments)


def make(options: argparse.Namespace) -> Tuple[Dlrm, List[Any]]:
    """The model and its optimizers; the same first rows wherever they are."""
    torch.manual_seed(2014)
    model = Dlrm(NUMBERS, SIZES, options.dim)
    dense = torch.optim.SGD(
        [*model.bottom.parameters(), *model.top.parameters()],
        lr=options.dense_lr)
    if options.local:
        return model, [dense, RowwiseAdagrad(model.tables.parameters(),
                                             options.lr)]
    import quire.torch
    quire.torch.offload(model, options.server, prefix=options.prefix,
                        optimizer=quire.optimizers.RowwiseAdagrad(
                            options.lr, eps=EPS),
                        inputs_of=inputs_of)
    return model, [dense, quire.torch.Optimizer(model)]


def inputs_of(numbers: Any, bags: Any) -> Any:
    """What a forward asks of which table: all come in one round trip."""
    return {f"tables.{table}": bags[table] for table in range(FEATURES)}


def step(model: Dlrm, optimizers: List[Any], batch: Batch) -> float:
    """One step of training; the loss before it."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss = functional.binary_cross_entropy_with_logits(
        model(batch.numbers, batch.bags), batch.clicked)
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def test(model: Dlrm, clicks: Clicks) -> float:
    """The area under the curve, of impressions that were not trained on."""
    batch = clicks.batch(TEST_BATCH, TEST_SIZE)
    return area_under_curve(model(batch.numbers, batch.bags).numpy(),
                            batch.clicked.numpy())


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    clicks = Clicks()
    model, optimizers = make(options)
    where = "here" if options.local else f"on {options.server}"
    print(f"{FEATURES} tables, {sum(SIZES):,} rows, {options.dim} numbers "
          f"each, {where}", flush=True)
    points, recent = [], []
    start = time.monotonic()
    for index in range(options.steps):
        recent.append(step(model, optimizers,
                           clicks.batch(index, options.batch)))
        if len(recent) == STEPS_PER_POINT:
            points.append((index + 1, float(np.mean(recent))))
            recent.clear()
        if (index + 1) % max(1, options.steps // 4) == 0:
            print(f"step {index + 1:6}  {time.monotonic() - start:5.1f} s  "
                  f"AUC {test(model, clicks):.4f}", flush=True)
    curve.write(options.curve, f"DLRM, its tables {where}", points, "steps",
                "loss")
    print(f"the loss went from {points[0][1]:.4f} to {points[-1][1]:.4f}; "
          f"{options.curve} shows it")


if __name__ == "__main__":
    main()
