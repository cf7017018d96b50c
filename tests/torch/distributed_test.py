#!/usr/bin/env python3
"""W workers under DistributedDataParallel take the one step that DDP takes."""

import os
import pathlib
import sys
import tempfile
import traceback

import support
import torch
from optimizer_test import CpuGradScaler, Model, RowwiseAdagrad, batches
from support import RemoteTest
from torch import distributed, multiprocessing, nn

import quire
import quire.torch

WORKERS = 4
STEPS = 5

CASES = {
    "sgd": (lambda p: torch.optim.SGD(p, lr=0.1),
            quire.optimizers.Sgd(learning_rate=0.1)),
    "rowwise adagrad": (lambda p: RowwiseAdagrad(p, lr=0.1, eps=1e-8),
                        quire.optimizers.RowwiseAdagrad(learning_rate=0.1)),
    "adam": (lambda p: torch.optim.Adam(p, lr=0.01),
             quire.optimizers.Adam(learning_rate=0.01, scope="all")),
}


def start_rows():
    generator = torch.Generator().manual_seed(7)
    return (torch.randn(20, 4, generator=generator),
            torch.randn(20, 4, generator=generator))


def local_model():
    """torch's model; the same in every process."""
    torch.manual_seed(11)
    words, tags = start_rows()
    return Model(nn.Embedding.from_pretrained(words, freeze=False),
                 nn.EmbeddingBag.from_pretrained(tags, freeze=False))


def remote_model(server, name, optimizer, **wire):
    """The same with remote rows; the first to come brings them."""
    model = local_model()
    quire.torch.offload(model, server, prefix=name, optimizer=optimizer,
                        **wire)
    return model


def part_of(batch, rank):
    """A worker's share of a batch of WORKERS * k."""
    return tuple(tensor.chunk(WORKERS)[rank] for tensor in batch)


def whole_batches():
    """Batches of which each worker has the same share."""
    for ids, bags, targets in batches(STEPS):
        yield (ids.repeat(2, 1)[:8], bags.repeat(2, 1)[:8],
               targets.repeat(2, 1)[:8])


def loss_of(model, batch):
    ids, bags, targets = batch
    return (model(ids, bags) - targets).pow(2).mean()


def setup(rank, directory):
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{directory}/store", rank=rank,
        world_size=WORKERS)


def train_ddp(rank, server, name, case, result):
    """One worker of DistributedDataParallel."""
    model = nn.parallel.DistributedDataParallel(
        remote_model(server, name, CASES[case][1]))
    dense = torch.optim.SGD(model.module.dense.parameters(), lr=0.1)
    optimizer = quire.torch.Optimizer(model, sync="allreduce_mean")
    losses = []
    for batch in whole_batches():
        dense.zero_grad()
        optimizer.zero_grad()
        loss = loss_of(model, part_of(batch, rank))
        loss.backward()
        losses.append(optimizer.clip_grad_norm_(0.5, dense.param_groups[0][
            "params"]) if case == "sgd" else loss.detach())
        dense.step()
        optimizer.step()
    torch.save((quire.torch.gather_state_dict(model.module), losses),
               f"{result}.{rank}")


def train_sum(rank, server, name, case, result):
    """One push of the sum; a worker without a gradient takes part. `case` is
    how the numbers travel."""
    model = remote_model(server, name, None, **case)
    optimizer = quire.torch.Optimizer(model, sync="sum", lr=1.0)
    if rank != 2:
        model.words(torch.tensor([rank, 5, 5])).sum().backward()
    optimizer.step()
    torch.save(quire.torch.gather_state_dict(model)["words.weight"],
               f"{result}.{rank}")


def overflow(rank, server, name, case, result):
    """One rank's gradient overflows: nobody pushes, all scalers know."""
    del case
    model = remote_model(server, name, None)
    optimizer = quire.torch.Optimizer(model, sync="allreduce_mean")
    scaler = CpuGradScaler()
    factor = float("inf") if rank == 1 else 1.0
    scaler.scale(model.words(torch.tensor([1])).sum() * factor).backward()
    scaler.step(optimizer)
    scaler.update()
    torch.save((float(scaler._scale), model.words(torch.arange(20)).detach()),
               f"{result}.{rank}")


def refused(rank, server, name, case, result):
    """An error of the one push is every rank's."""
    del case
    model = remote_model(server, name, None)
    optimizer = quire.torch.Optimizer(model, sync="allreduce_mean")
    factor = float("inf") if rank == 1 else 1.0
    (model.words(torch.tensor([1])).sum() * factor).backward()
    try:
        optimizer.step()
        reason = "none"
    except quire.InvalidArgument as error:
        reason = error.reason
    torch.save(reason, f"{result}.{rank}")


def work(rank, function, directory, *arguments):
    """A worker: never ends without a word."""
    try:
        setup(rank, directory)
        function(rank, *arguments, f"{directory}/result")
        distributed.destroy_process_group()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


class DistributedTest(RemoteTest):

    def run_workers(self, function, case=None):
        """What each worker has saved."""
        with tempfile.TemporaryDirectory() as directory:
            multiprocessing.spawn(
                work, (function, directory, self.server, f"{self.name()}.",
                       case), nprocs=WORKERS)
            return [torch.load(pathlib.Path(directory, f"result.{rank}"))
                    for rank in range(WORKERS)]

    def test_four_workers_equal_one_process_with_the_whole_batch(self):
        for case, (torchs, _) in CASES.items():
            with self.subTest(case):
                results = self.run_workers(train_ddp, case)

                model = local_model()
                dense = torch.optim.SGD(model.dense.parameters(), lr=0.1)
                tables = torchs([model.words.weight, model.tags.weight])
                norms = []
                for batch in whole_batches():
                    model.zero_grad()
                    loss_of(model, batch).backward()
                    if case == "sgd":
                        norms.append(nn.utils.clip_grad_norm_(
                            model.parameters(), 0.5))
                    dense.step()
                    tables.step()
                for state, losses in results:
                    for key, value in model.state_dict().items():
                        self.assert_close(state[key], value)
                    for actual, expected in zip(losses, norms):
                        self.assert_close(actual, expected)

    def test_a_step_of_all_is_one_push(self):
        expected, _ = start_rows()
        expected[[0, 1, 3]] -= 1
        expected[5] -= 6
        for wire in {}, {"wire_dtype": torch.float16, "unique": True}:
            with self.subTest(wire):
                before = {table.name for table in self.client.tables()}
                for rows in self.run_workers(train_sum, wire):
                    self.assert_close(rows, expected)
                self.assertEqual(
                    [table.step for table in self.client.tables()
                     if table.name.endswith(".words")
                     and table.name not in before], [1])

    def test_an_overflow_of_one_pushes_nothing_on_any(self):
        words, _ = start_rows()
        for scale, rows in self.run_workers(overflow):
            self.assertEqual(scale, 2.0 ** 15)
            self.assert_same(rows, words)

    def test_an_error_is_raised_on_every_rank(self):
        self.assertEqual(self.run_workers(refused), ["NON_FINITE"] * WORKERS)


if __name__ == "__main__":
    support.main()
