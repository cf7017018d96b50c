#!/usr/bin/env python3
"""Four workers that push by themselves and share a clock: no lookup is staler
than they agreed, whoever is slow, dies, or is started again."""

import os
import random
import signal
import sys
import tempfile
import time
import traceback
import unittest.mock

import restart_test
import support
import torch
from support import RemoteTest
from torch import multiprocessing

import quire
import quire.torch
from quire.torch import _wire

WORKERS, STEPS = 4, 60
DIM = 4
PATIENCE = 60

# {max_ahead, in_flight} of a run.
CASES = ((0, 0), (1, 0), (3, 0), (0, 2), (3, 2))


def begin(server, table):
    """Rows of zeros, one for each worker."""
    quire.torch.RemoteEmbedding.from_pretrained(
        torch.zeros(WORKERS, DIM), server=server, table=table,
        optimizer=quire.optimizers.Sgd(1.0))


class Worker:
    """One of them: each step takes 1 off its own row, so that rows tell how
    many steps of each worker a lookup sees."""

    def __init__(self, rank, server, table, ahead, in_flight=0, **options):
        self.rank = rank
        self.rows = quire.torch.RemoteEmbedding(WORKERS, DIM, server=server,
                                                table=table)
        self.clock = quire.Clock(self.rows.remote.client, table, worker=rank,
                                 workers=WORKERS, max_ahead=ahead, **options)
        self.optimizer = quire.torch.Optimizer(
            self.rows, in_flight=in_flight, clock=self.clock)

    def step(self):
        """Returns how many steps each worker had done, as this one saw it."""
        self.optimizer.zero_grad()
        found = self.rows(torch.arange(WORKERS))
        found[self.rank].sum().backward()
        self.optimizer.step()
        return [int(-row[0]) for row in found.detach()]


def guarded(function):
    """An error ends the process, and is seen."""
    def run(*arguments):
        try:
            torch.set_num_threads(1)
            function(*arguments)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    return run


def run_cases(rank, server, seed, lags, leads):
    """All cases, one after the other; the first worker is slow."""
    chance = random.Random(seed + rank)
    for case, (ahead, in_flight) in enumerate(CASES):
        worker = Worker(rank, server, f"case{case}", ahead, in_flight)
        with worker.optimizer:
            for done in range(STEPS):
                seen = worker.step()
                lags[case, rank] = max(lags[case, rank], done - min(seen))
                leads[case, rank] = max(leads[case, rank], max(seen) - done)
                if rank == 0 or chance.random() < 0.05:
                    time.sleep(0.005)


def run_and_die(rank, server, dead, steps):
    """The last one is killed at its 20th step; others say that it has left."""
    worker = Worker(rank, server, "dying", 1, timeout=5)
    with worker.optimizer:
        while worker.clock.step < STEPS:
            if rank == dead and worker.clock.step == 20:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                worker.step()
            except quire.Unavailable as error:
                assert error.reason == "CLOCK_BEHIND", error
                assert f"worker {dead} of {WORKERS}" in error.sentence, error
                assert "last heard of" in error.sentence, error
                worker.clock.dismiss(dead)
                worker.clock.wait()
                steps[dead] = worker.clock.step
            steps[rank] = worker.clock.step


def run_through_restarts(rank, server, all_are_there, steps):
    worker = Worker(rank, server, "rows", 1)
    all_are_there.wait(PATIENCE)
    with worker.optimizer:
        for done in range(restart_test.STEPS):
            seen = worker.step()
            assert done - 1 <= min(seen) and max(seen) <= done + 2, \
                f"after {done} steps: {seen}"
            assert seen[rank] == done, f"after {done} steps: {seen}"
            steps[rank] = done + 1


def spawned(rank, function, *arguments):
    guarded(function)(rank, *arguments)


class ClockTest(RemoteTest):

    def spawn(self, function, *arguments, ends_with=(0,) * WORKERS):
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=spawned,
                                   args=(rank, function, *arguments))
                   for rank in range(WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(PATIENCE)
            self.addCleanup(worker.kill)
        self.assertEqual(tuple(worker.exitcode for worker in workers),
                         ends_with)

    def test_no_lookup_is_staler_than_the_bound(self):
        seed = random.randrange(2**32)
        print(f"seed {seed}")
        for case in range(len(CASES)):
            begin(self.server, f"case{case}")
        lags = torch.full((len(CASES), WORKERS), -1).share_memory_()
        leads = torch.full((len(CASES), WORKERS), -1).share_memory_()

        self.spawn(run_cases, self.server, seed, lags, leads)

        for case, (ahead, in_flight) in enumerate(CASES):
            with self.subTest(max_ahead=ahead, in_flight=in_flight):
                # Of the slowest, a lookup sees all but `ahead` steps; and it is
                # so that the bound is used: the fast do not wait for nothing.
                self.assertEqual(int(lags[case].max()), ahead)
                # Others may have done one more, and wait with it.
                self.assertLessEqual(int(leads[case].max()), ahead + 1)
                rows = self.client.read_rows(f"case{case}",
                                             range(WORKERS)).values
                self.assertEqual(rows[:, 0].tolist(), [-STEPS] * WORKERS)

    def test_one_that_dies_is_named_and_the_others_go_on(self):
        begin(self.server, "dying")
        dead = WORKERS - 1
        steps = torch.zeros(WORKERS, dtype=torch.int64).share_memory_()

        self.spawn(run_and_die, self.server, dead, steps,
                   ends_with=(0,) * dead + (-signal.SIGKILL,))

        self.assertEqual(steps[:dead].tolist(), [STEPS] * dead)
        # Somebody was told; at the step that the bound allows.
        self.assertEqual(int(steps[dead]), 22)
        rows = self.client.read_rows("dying", range(WORKERS)).values
        self.assertEqual(rows[:, 0].tolist(), [-STEPS] * dead + [-20])

    def test_a_server_that_is_killed_knows_the_clock_again(self):
        with tempfile.TemporaryDirectory() as directory:
            server = restart_test.Server(directory)
            self.addCleanup(server.kill)
            begin(server.address, "rows")
            steps = torch.zeros(WORKERS, dtype=torch.int64).share_memory_()
            context = multiprocessing.get_context("spawn")
            barrier = context.Barrier(WORKERS)
            workers = [context.Process(target=spawned, args=(
                rank, run_through_restarts, server.address, barrier, steps))
                for rank in range(WORKERS)]
            for worker in workers:
                worker.start()
                self.addCleanup(worker.kill)
            for part in (1, 2):
                end = time.monotonic() + PATIENCE
                while int(steps.max()) < restart_test.STEPS * part // 3:
                    self.assertLess(time.monotonic(), end, steps)
                    time.sleep(0.01)
                server.kill()
                server.start()
            for worker in workers:
                worker.join(PATIENCE)
            self.assertEqual([worker.exitcode for worker in workers],
                             [0] * WORKERS)
            self.assertEqual(steps.tolist(), [restart_test.STEPS] * WORKERS)
            server.kill()


class OneWorkerTest(RemoteTest):

    def worker(self, workers=1, **arguments):
        rows = self.embedding(torch.zeros(4, DIM),
                              optimizer=quire.optimizers.Sgd(1.0))
        clock = quire.Clock(self.client, self.name(), worker=0,
                            workers=workers, **arguments)
        return rows, clock

    def test_a_step_without_a_gradient_is_one(self):
        rows, clock = self.worker()
        optimizer = quire.torch.Optimizer(rows, clock=clock)
        optimizer.step()
        self.assertEqual(clock.step, 1)
        rows(torch.tensor([1])).sum().backward()
        optimizer.step()
        self.assertEqual(clock.step, 2)
        self.assertEqual(clock.state, quire.ClockState(2, 0, []))

    def test_a_step_that_is_refused_is_none(self):
        rows, clock = self.worker()
        optimizer = quire.torch.Optimizer(rows, clock=clock)
        (rows(torch.tensor([1])).sum() * float("nan")).backward()
        with self.assertRaises(quire.InvalidArgument):
            optimizer.step()
        self.assertEqual(clock.step, 0)

    def test_pushes_in_flight_are_not_told_and_not_more_than_the_bound(self):
        for ahead in (0, 1, 2, 5):
            rows, clock = self.worker(workers=2, max_ahead=ahead)
            optimizer = quire.torch.Optimizer(rows, in_flight=3, clock=clock)
            answers = []
            told = []
            push_async = _wire.push_async

            def note_answer(client, pushes):
                answers.append(push_async(client, pushes))
                return answers[-1]

            clock_advance = clock.advance

            def advance(pending):
                told.append((pending, [a.done() for a in answers]))
                # The other is always there: it does not hold this one up.
                quire.Clock(self.client, clock.name, worker=1, workers=2,
                            step=clock.step + 1)
                return clock_advance(pending)

            clock.advance = advance
            with unittest.mock.patch.object(_wire, "push_async", note_answer):
                for step in range(20):
                    optimizer.zero_grad()
                    if step % 3:
                        rows(torch.tensor([1])).sum().backward()
                    optimizer.step()
            optimizer.wait()
            self.assertEqual(len(answers), 13)
            self.assertEqual(len(told), 20)
            pushed = [step for step in range(20) if step % 3]
            for step, (pending, done) in enumerate(told):
                self.assertLessEqual(pending, min(ahead, step + 1))
                # What the others are told of has been answered.
                for index, is_done in enumerate(done):
                    if pushed[index] <= step - pending:
                        self.assertTrue(is_done, (step, pending, done))
            self.assertEqual(float(rows(torch.tensor([1]))[0, 0]),
                             -len(pushed))

    def test_close_waits_for_pushes_and_leaves(self):
        rows, clock = self.worker(max_ahead=8)
        with quire.torch.Optimizer(rows, in_flight=4, clock=clock) as optimizer:
            for _ in range(3):
                optimizer.zero_grad()
                rows(torch.tensor([1])).sum().backward()
                optimizer.step()
        self.assertEqual(len(optimizer._in_flight), 0)
        with self.assertRaisesRegex(quire.FailedPrecondition, "has left"):
            clock.advance()
        # After an error it may begin again.
        rows, clock = self.worker()
        with self.assertRaises(ZeroDivisionError):
            with quire.torch.Optimizer(rows, clock=clock):
                1 / 0
        clock.advance()

    def test_a_clock_is_for_workers_by_themselves(self):
        rows, clock = self.worker()
        with self.assertRaisesRegex(ValueError, "sync='none'"):
            quire.torch.Optimizer(rows, sync="sum", clock=clock)

    def test_the_position_of_a_step_is_told(self):
        with tempfile.TemporaryDirectory() as directory:
            server = restart_test.Server(directory)
            self.addCleanup(server.kill)
            begin(server.address, "rows")
            rows = quire.torch.RemoteEmbedding(WORKERS, DIM,
                                               server=server.address,
                                               table="rows")
            optimizer = quire.torch.Optimizer(rows)
            self.assertIsNone(optimizer.position)
            rows(torch.tensor([1])).sum().backward()
            optimizer.step()
            with quire.connect(server.address) as other:
                found = other.lookup("rows", [1],
                                     min_position=optimizer.position)
            self.assertEqual(found[0, 0], -1)
            self.assertGreater(optimizer.position.lsn, 0)
            server.kill()


if __name__ == "__main__":
    support.main()
