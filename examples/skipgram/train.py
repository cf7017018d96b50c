#!/usr/bin/env python3
"""Learns words of Moby-Dick from their neighbours: skip-gram with negative
sampling, its rows on a Quire server, trained by several processes at once.

    train.py --server 127.0.0.1:7847 --workers 2
    train.py --local                   the same with nn.Embedding, one process

Afterwards `quire nearest skipgram --word whale` shows what it has learned.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import queue
import sys
import time
from typing import Any, Iterator, List, Tuple

import numpy as np
import torch
from corpus import Corpus
from model import SkipGram, first_rows
from torch import multiprocessing, nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent))
import curve  # noqa: E402

# Of word2vec, smaller: the book has 200,000 words.
WINDOW, NEGATIVES = 5, 5
# Losses are noted as the mean of this many steps.
STEPS_PER_POINT = 10


def parse(arguments: Any = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--server", default=os.environ.get(
        "QUIRE_SERVER", "127.0.0.1:7847"))
    where.add_argument("--local", action="store_true")
    parser.add_argument("--table", default="skipgram")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--optimizer", choices=["adagrad", "sgd"],
                        default="adagrad")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--text", type=pathlib.Path,
                        default=HERE / "moby-dick.txt")
    parser.add_argument("--curve", type=pathlib.Path,
                        default=pathlib.Path("skipgram-loss.svg"))
    options = parser.parse_args(arguments)
    if options.local:
        options.workers = 1
    return options


def tables(options: argparse.Namespace) -> Tuple[str, str]:
    """Their names: the one that people will ask for, and the other."""
    return options.table, f"{options.table}-contexts"


def make_tables(options: argparse.Namespace, words: List[str]) -> None:
    """Both tables with their first rows, and the words as labels. Tables that
    are there are trained further."""
    import quire
    import quire.torch
    kinds = {"adagrad": quire.optimizers.Adagrad, "sgd": quire.optimizers.Sgd}
    for table, rows in zip(tables(options),
                           first_rows(len(words), options.dim)):
        try:
            quire.torch.RemoteEmbedding.from_pretrained(
                rows, server=options.server, table=table,
                optimizer=kinds[options.optimizer](learning_rate=options.lr))
        except quire.AlreadyExists:
            print(f"table '{table}' is there: it learns on")
    with quire.connect(options.server) as client:
        client.set_labels(options.table, range(len(words)), words)


def remote(options: argparse.Namespace, word_count: int,
           ) -> Tuple[SkipGram, Any]:
    """A model with its rows on the server, and the optimizer that pushes."""
    import quire.torch
    model = SkipGram(*(
        quire.torch.RemoteEmbedding(word_count, options.dim,
                                    server=options.server, table=table)
        for table in tables(options)))
    return model, quire.torch.Optimizer(model)


def local(options: argparse.Namespace, word_count: int,
          ) -> Tuple[SkipGram, Any]:
    """The same in this process."""
    model = SkipGram(*(
        nn.Embedding.from_pretrained(rows, freeze=False)
        for rows in first_rows(word_count, options.dim)))
    kinds = {"adagrad": torch.optim.Adagrad, "sgd": torch.optim.SGD}
    return model, kinds[options.optimizer](model.parameters(), lr=options.lr)


def ahead(options: argparse.Namespace, model: SkipGram, optimizer: Any,
          batches: Iterator[Any]) -> Iterator[Any]:
    """The same batches; the rows of each are fetched while the one before it
    trains. One worker gets them as exact as without; several change each
    other's rows in any case."""
    if options.local:
        return batches
    import quire.torch
    alone = options.workers == 1
    return iter(quire.torch.Prefetch(
        batches, model,
        lambda batch: {"centers": batch[0], "contexts": batch[1]},
        exact=alone, optimizer=optimizer if alone else None))


def step(model: SkipGram, optimizer: Any, batch: Any) -> float:
    """One step of training; the loss before it."""
    optimizer.zero_grad()
    loss = model(*batch)
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def train(worker: int, options: argparse.Namespace, losses: Any) -> None:
    """One worker's share of all epochs; puts (seconds, epoch, loss) into
    `losses`, and None at its end."""
    torch.set_num_threads(1)
    corpus = Corpus(options.text)
    make = local if options.local else remote
    model, optimizer = make(options, len(corpus.words))
    start, recent = time.monotonic(), []
    for epoch in range(options.epochs):
        # All workers draw the same pairs, and take their share of them.
        batches = corpus.batches(
            np.random.default_rng(epoch), options.batch, WINDOW, NEGATIVES,
            worker, options.workers)
        for batch in ahead(options, model, optimizer, batches):
            recent.append(step(model, optimizer, batch))
            if len(recent) == STEPS_PER_POINT:
                losses.put((time.monotonic() - start, epoch, np.mean(recent)))
                recent.clear()
    losses.put(None)


def collect(losses: Any, workers: Any, options: argparse.Namespace,
            ) -> List[Tuple[float, float]]:
    """The points of the curve, until all workers have ended. Raises what one
    of them raised."""
    points: List[Tuple[float, float]] = []
    working, shown = options.workers, -1
    while working:
        try:
            point = losses.get(timeout=1)
        except queue.Empty:
            workers.join(timeout=0)
            continue
        if point is None:
            working -= 1
            continue
        seconds, epoch, loss = point
        steps = len(points) * STEPS_PER_POINT
        points.append((steps, loss))
        if epoch > shown:
            shown = epoch
            print(f"epoch {epoch + 1}  step {steps:6}  {seconds:5.1f} s  "
                  f"loss {loss:.3f}", flush=True)
    return points


def main() -> None:
    options = parse()
    words = Corpus(options.text).words
    where = "here" if options.local else f"on {options.server}"
    team = f"{options.workers} worker{'s' if options.workers > 1 else ''}"
    print(f"{len(words):,} words, {options.dim} numbers each, {where}; {team}",
          flush=True)
    if not options.local:
        make_tables(options, words)
    context = multiprocessing.get_context("spawn")
    losses = context.Queue()
    workers = multiprocessing.spawn(train, (options, losses),
                                    options.workers, join=False)
    points = collect(losses, workers, options)
    while not workers.join():
        pass
    curve.write(options.curve, f"Skip-gram on Moby-Dick, {team}", points,
                "steps of all workers", "loss")
    print(f"the loss went from {points[0][1]:.3f} to {points[-1][1]:.3f}; "
          f"{options.curve} shows it")


if __name__ == "__main__":
    main()
