#!/usr/bin/env python3
"""Four workers train on while their server is killed, or stopped in good order,
and started again: every step that was acknowledged is in the rows, once."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

import support
import torch
from torch import multiprocessing

import quire
import quire.torch

WORKERS, STEPS = 4, 300
ENDS = ("kill", "stop", "kill", "stop", "kill")
DIM = 8
PATIENCE = 60


class Server:
    """A process that keeps its tables in a directory, and is ended."""

    def __init__(self, directory, *options):
        self._directory = pathlib.Path(directory)
        self._options = options
        self._listen = "127.0.0.1:0"
        self.start()

    def start(self):
        port_file = self._directory / "port"
        port_file.unlink(missing_ok=True)
        with (self._directory / "log").open("a") as log:
            self._process = subprocess.Popen(
                [support.server_path, "--listen", self._listen, "--port-file",
                 str(port_file), "--data-dir", str(self._directory / "data"),
                 *self._options],
                stderr=log)
        end = time.monotonic() + PATIENCE
        while not port_file.exists():
            if time.monotonic() > end or self._process.poll() is not None:
                raise RuntimeError((self._directory / "log").read_text())
            time.sleep(0.02)
        # The next one has the same address: those who come back look there.
        self._listen = f"127.0.0.1:{port_file.read_text().strip()}"

    @property
    def address(self):
        return self._listen

    def kill(self):
        self._process.kill()
        self._process.wait()

    def stop(self):
        self._process.terminate()
        if self._process.wait(PATIENCE) != 0:
            raise RuntimeError((self._directory / "log").read_text())


def work(rank, server, progress, all_are_there):
    """A worker: each step takes 1 off its own row, and off the last one."""
    try:
        torch.set_num_threads(1)
        rows = quire.torch.RemoteEmbedding(WORKERS + 1, DIM, server=server,
                                           table="rows")
        optimizer = quire.torch.Optimizer(rows)
        ids = torch.tensor([rank, WORKERS])
        # Who connects is told at once that no server answers.
        all_are_there.wait(PATIENCE)
        for step in range(STEPS):
            optimizer.zero_grad()
            found = rows(ids)
            # What it has pushed is there, whatever became of the server.
            if not (found[0] == -step).all():
                raise AssertionError(f"after {step} steps: {found[0]}")
            found.sum().backward()
            optimizer.step()
            progress[rank] = step + 1
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


class RestartTest(unittest.TestCase):

    def test_training_goes_on_and_every_step_counts_once(self):
        with tempfile.TemporaryDirectory() as directory:
            server = Server(directory)
            self.addCleanup(server.kill)
            quire.torch.RemoteEmbedding.from_pretrained(
                torch.zeros(WORKERS + 1, DIM), server=server.address,
                table="rows", optimizer=quire.optimizers.Sgd(1.0))
            progress = torch.zeros(WORKERS, dtype=torch.int64).share_memory_()
            all_are_there = multiprocessing.get_context("spawn").Barrier(
                WORKERS)
            workers = multiprocessing.spawn(
                work, (server.address, progress, all_are_there), WORKERS,
                join=False)
            for number, end in enumerate(ENDS, 1):
                self.wait_for(progress, STEPS * number // (len(ENDS) + 1),
                              workers)
                getattr(server, end)()
                server.start()
            end = time.monotonic() + PATIENCE
            while not workers.join(timeout=1):
                self.assertLess(time.monotonic(), end, progress)

            with quire.connect(server.address) as client:
                rows = client.read_rows("rows", range(WORKERS + 1)).values
                table = client.table("rows")
            server.kill()
        self.assertEqual(progress.tolist(), [STEPS] * WORKERS)
        self.assertEqual(rows.min(axis=1).tolist(), rows.max(axis=1).tolist())
        self.assertEqual(rows[:, 0].tolist(),
                         [-STEPS] * WORKERS + [-STEPS * WORKERS])
        self.assertEqual(table.step, STEPS * WORKERS)

    def wait_for(self, progress, steps, workers):
        """Until one has taken so many steps."""
        end = time.monotonic() + PATIENCE
        while int(progress.max()) < steps:
            self.assertLess(time.monotonic(), end, progress)
            self.assertFalse(workers.join(timeout=0.01), progress)


if __name__ == "__main__":
    support.main()
