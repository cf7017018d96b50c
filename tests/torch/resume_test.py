#!/usr/bin/env python3
"""Training that was saved goes on to the same bytes as if nothing had been.

    python3 resume_test.py SERVER QUIRE [unittest's arguments]
"""

import collections
import contextlib
import copy
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

import numpy
import support
import torch
from restart_test import Server
from torch import distributed, multiprocessing, nn

import quire
import quire.torch

ROWS, DIM, STEPS = 30, 4, 6
PATIENCE = 120

OPTIMIZERS = {
    "sgd": (quire.optimizers.Sgd(0.1, momentum=0.9),
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    "adagrad": (quire.optimizers.Adagrad(0.1, lr_decay=0.01),
                lambda p: torch.optim.Adagrad(p, lr=0.1)),
    "adam": (quire.optimizers.Adam(0.01),
             lambda p: torch.optim.Adam(p, lr=0.01)),
}


class Training:
    """A model, its optimizers and its batches, all of them of one seed."""

    def __init__(self, server, name, kind="adam", sync="none", **table):
        torch.manual_seed(5)
        rows, dense = OPTIMIZERS[kind]
        self.model = nn.ModuleDict({
            "words": quire.torch.RemoteEmbedding(
                ROWS, DIM, table=f"{name}-words", server=server,
                optimizer=rows, seed=1, **table),
            "tags": quire.torch.RemoteEmbeddingBag(
                ROWS, DIM, table=f"{name}-tags", server=server,
                optimizer=rows, seed=2, **table),
            "top": nn.Linear(DIM, 1)})
        self.tables = quire.torch.Optimizer(self.model, sync)
        self.dense = dense(self.model["top"].parameters())
        self.schedule = torch.optim.lr_scheduler.StepLR(self.tables, 3, 0.5)

    def train(self, first, count):
        for step in range(first, first + count):
            generator = torch.Generator().manual_seed(step)
            ids = torch.randint(ROWS, (8,), generator=generator)
            bags = torch.randint(ROWS, (8, 3), generator=generator)
            self.tables.zero_grad()
            self.dense.zero_grad()
            out = self.model["top"](self.model["words"](ids)
                                    + self.model["tags"](bags))
            out.pow(2).mean().backward()
            self.tables.step()
            self.dense.step()
            self.schedule.step()

    def save(self, path, **how):
        quire.torch.save_checkpoint(
            path, self.model, self.tables, dense=self._rest(),
            extra={"step": STEPS, "note": ["plain", 1.5]}, **how)

    def load(self, path, **how):
        return quire.torch.load_checkpoint(
            path, self.model, self.tables, dense=self._rest(), **how)

    def _rest(self):
        return {"dense": self.dense, "schedule": self.schedule}

    def bytes(self):
        """All that training has made."""
        gathered = quire.torch.gather_state_dict(self.model,
                                                 optimizer_state=True)
        return {**{key: value.numpy().tobytes()
                   for key, value in gathered.items()},
                "dense": repr(self.dense.state_dict()),
                "rates": [group["lr"] for group in self.tables.param_groups]}


class ResumeTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.directory = pathlib.Path(
            cls.stack.enter_context(tempfile.TemporaryDirectory()))
        (cls.directory / "server").mkdir()
        cls.server = Server(cls.directory / "server")
        cls.stack.callback(cls.server.kill)

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def setUp(self):
        self.name = self.id().rpartition(".test_")[2][-60:].strip("_")
        self.path = self.directory / f"{self.name}.pt"
        self.client = quire.torch._wire.connect(self.server.address)

    def training(self, suffix="", kind="adam", **table):
        return Training(self.server.address, f"{self.name}{suffix}",
                        kind, **table)

    def uninterrupted(self, kind="adam"):
        """What 2 * STEPS steps make."""
        training = self.training("-whole-" + kind, kind)
        training.train(0, 2 * STEPS)
        return training.bytes()

    def other_server(self, *options):
        directory = self.directory / f"{self.name}-other"
        directory.mkdir()
        other = Server(directory, *options)
        self.addCleanup(other.kill)
        return other

    def test_training_goes_on_to_the_same_bytes(self):
        for kind in OPTIMIZERS:
            for rows in ("snapshot", "file"):
                with self.subTest(f"{kind}, {rows}"):
                    training = self.training(f"-{kind}-{rows}", kind)
                    training.train(0, STEPS)
                    training.save(self.path, rows=rows)
                    saved = training.bytes()
                    training.train(50, STEPS)

                    extra = training.load(self.path)

                    self.assertEqual(extra["note"], ["plain", 1.5])
                    self.assertEqual(training.bytes(), saved)
                    training.train(extra["step"], STEPS)
                    self.assertEqual(training.bytes(),
                                     self.uninterrupted(kind))
                    for name in (f"-{kind}-{rows}", f"-whole-{kind}"):
                        for part in ("words", "tags"):
                            self.client.drop_table(
                                f"{self.name}{name}-{part}")

    def test_it_may_be_loaded_again_and_again_and_by_another_process(self):
        training = self.training()
        training.train(0, STEPS)
        training.save(self.path)
        for _ in range(2):
            training.train(50, 2)
            training.load(self.path)
        again = self.training()  # As a job that is started anew.
        self.assertNotEqual(again.tables.state_dict(), {})
        again.load(self.path)
        again.train(STEPS, STEPS)
        self.assertEqual(again.bytes(), self.uninterrupted())

    def test_a_server_that_was_killed_is_taken_back_as_well(self):
        for after in (0, 3):
            with self.subTest(f"killed {after} steps after the checkpoint"):
                training = self.training(f"-{after}")
                training.train(0, STEPS)
                training.save(self.path)
                training.train(STEPS, after)
                self.server.kill()
                self.server.start()

                training = self.training(f"-{after}")
                training.load(self.path)
                training.train(STEPS, STEPS)

                self.assertEqual(training.bytes(), self.uninterrupted())
                for part in ("words", "tags"):
                    self.client.drop_table(
                        f"{self.name}-whole-adam-{part}")

    def test_a_table_that_is_there_already_is_left_alone(self):
        training = self.training()
        training.train(0, STEPS)
        training.save(self.path)
        self.client.create_table("other-changes", 1, 1)
        uid = self.client.table(training.model["words"].table).uid
        self.server.kill()
        self.server.start()

        training.load(self.path)
        self.assertEqual(
            self.client.table(training.model["words"].table).uid, uid)
        # One that no push has changed, and yet another one.
        training.model["words"].write_rows(torch.tensor([3]),
                                           torch.ones(1, DIM))
        training.load(self.path)
        now = self.client.table(training.model["words"].table)
        self.assertNotEqual(now.uid, uid)
        self.assertEqual(now.origin_uid, uid)
        self.assertEqual(training.model["words"].remote.uid, now.uid)

    def test_a_past_that_is_gone_is_refused_and_nothing_has_changed(self):
        server = self.other_server("--snapshot-keep", "1", "--log-segment",
                                   "64KiB")
        training = Training(server.address, "gone")
        training.train(0, STEPS)
        training.save(self.path)
        with quire.connect(server.address) as client:
            for _ in range(3):
                # The log of before goes with the snapshots, file by file.
                training.train(50, 100)
                client.snapshot()
        before = training.bytes()

        with self.assertRaisesRegex(quire.FailedPrecondition,
                                    "--snapshot-keep") as caught:
            training.load(self.path)

        self.assertEqual(caught.exception.reason, "NOT_KEPT")
        self.assertEqual(training.bytes(), before)

    def test_tables_of_two_servers_go_back_together_or_not_at_all(self):
        server = self.other_server("--snapshot-keep", "1", "--log-segment",
                                   "64KiB")
        first = self.training()
        second = Training(server.address, "second")
        both = nn.ModuleList([first.model, second.model])

        def train():
            first.train(0, 3)
            second.train(0, 100)

        def all_bytes():
            return first.bytes(), second.bytes()

        train()
        quire.torch.save_checkpoint(self.path, both)
        before = all_bytes()
        train()
        quire.torch.load_checkpoint(self.path, both)
        self.assertEqual([one["words.weight"] for one in all_bytes()],
                         [one["words.weight"] for one in before])
        with quire.connect(server.address) as client:
            for _ in range(3):
                train()
                client.snapshot()
        before = all_bytes()

        with self.assertRaisesRegex(quire.FailedPrecondition, "not kept"):
            quire.torch.load_checkpoint(self.path, both)

        self.assertEqual(all_bytes(), before)
        # And the modules know which tables they have now.
        both.load_state_dict(both.state_dict())

    def test_a_log_that_is_another_is_told_by_its_steps(self):
        training = self.training()
        training.train(0, STEPS)
        training.save(self.path)
        packed = torch.load(self.path)
        packed["plain"] = packed["plain"].replace(f'"step": {STEPS}, "pos',
                                                  '"step": 5, "pos')
        torch.save(packed, self.path)
        training.train(STEPS, 1)
        before = training.bytes()

        with self.assertRaisesRegex(ValueError, "6 steps at LSN .*not the 5"):
            training.load(self.path)

        self.assertEqual(training.bytes(), before)

    def test_a_table_made_anew_is_another_one(self):
        training = self.training()
        training.train(0, STEPS)
        training.save(self.path)
        self.client.drop_table(training.model["words"].table)
        again = self.training()
        again.train(0, 1)
        before = again.bytes()

        with self.assertRaisesRegex(ValueError,
                                    "is of table '.*saved with rows='file'"):
            again.load(self.path)

        self.assertEqual(again.bytes(), before)

    def test_rows_in_files_go_to_another_server(self):
        training = self.training()
        training.train(0, STEPS)
        self.client.set_labels(training.model["words"].table, [2, 29],
                               ["two", b"\xff\xfe"])
        told = []
        training.save(self.path, rows="file",
                      progress=lambda *rows: told.append(rows))
        self.assertEqual(told, [(ROWS, ROWS)] * 2)
        expected = self.uninterrupted()
        other = self.other_server()

        moved = Training(other.address, "moved")
        with self.assertRaisesRegex(ValueError, "rows='file'"):
            training.save(self.directory / "by-snapshot.pt")
            moved.load(self.directory / "by-snapshot.pt")
        moved.load(self.path)
        with quire.connect(other.address) as client:
            self.assertEqual(
                client.get_labels("moved-words", [0, 2, 29]),
                ["", "two", b"\xff\xfe".decode("utf-8", "surrogateescape")])
            self.assertEqual(client.table("moved-words").step, STEPS)
        moved.train(STEPS, STEPS)

        self.assertEqual(moved.bytes(), expected)

    def test_large_tables_travel_in_pieces_and_the_command_reads_them(self):
        rows = 40000
        table = quire.torch.RemoteEmbedding(
            rows, 32, table="large", server=self.server.address,
            optimizer=quire.optimizers.Adam(0.1, amsgrad=True))
        labelled = list(range(1, rows, 3))
        self.client.set_labels("large", labelled,
                               [f"row {row}" for row in labelled])
        steps = quire.torch.Optimizer(table)
        table(torch.arange(0, rows, 2)).pow(3).sum().backward()
        steps.step()
        told = []
        quire.torch.save_checkpoint(
            self.path, table, rows="file",
            progress=lambda *rows: told.append(rows))
        self.assertGreater(len(told), 3)
        expected = quire.torch.gather_state_dict(table, optimizer_state=True)
        (file,) = self.directory.glob(f"{self.path.name}.rows-*/large.*")
        done = subprocess.run(
            [QUIRE, "import", file, "--state", "--name", "by-command"],
            env={**os.environ, "QUIRE_SERVER": self.server.address},
            capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        steps.step()

        quire.torch.load_checkpoint(self.path, table)

        for name in ("large", "by-command"):
            again = quire.torch.RemoteEmbedding(
                rows, 32, table=name, server=self.server.address)
            found = quire.torch.gather_state_dict(again, optimizer_state=True)
            self.assertEqual(list(found), list(expected))
            for key in found:
                self.assertTrue(torch.equal(found[key], expected[key]), key)
            self.assertEqual(self.client.get_labels(name, range(rows)), [
                f"row {row}" if row % 3 == 1 else "" for row in range(rows)])

    def test_tables_in_memory_are_saved_with_their_rows_only(self):
        training = self.training(persistence="memory")
        training.train(0, STEPS)
        with self.assertRaisesRegex(ValueError, "MEMORY table.*rows='file'"):
            training.save(self.path)
        self.assertFalse(self.path.exists())
        training.save(self.path, rows="file")
        training.train(50, STEPS)
        training.load(self.path)
        training.train(STEPS, STEPS)
        self.assertEqual(training.bytes(), self.uninterrupted())

    def test_the_file_appears_when_it_is_whole(self):
        training = self.training()
        training.train(0, STEPS)
        training.save(self.path, rows="file")
        whole = training.bytes()
        files = set(os.listdir(self.directory))
        training.train(STEPS, 1)
        with self.assertRaisesRegex(TypeError,
                                    r"\['extra'\]\['f'\] is a function"):
            quire.torch.save_checkpoint(self.path, training.model,
                                        rows="file", extra={"f": print_nothing})
        with self.assertRaises(ZeroDivisionError):
            training.save(self.path, rows="file", progress=lambda *_: 1 / 0)

        self.assertEqual(set(os.listdir(self.directory)), files)
        training.load(self.path)
        self.assertEqual(training.bytes(), whole)
        training.save(self.path, rows="file")
        self.assertEqual(len(set(os.listdir(self.directory)) & {
            name for name in os.listdir(self.directory)
            if name.startswith(self.path.name)}), 2)
        training.save(self.path)
        self.assertEqual([name for name in os.listdir(self.directory)
                          if name.startswith(self.path.name)],
                         [self.path.name])

    def test_damaged_rows_are_refused_and_nothing_has_changed(self):
        training = self.training()
        training.train(0, STEPS)
        training.save(self.path, rows="file")
        (file,) = self.directory.glob(f"{self.path.name}.rows-*/*-tags.*")
        content = file.read_bytes()
        training.train(STEPS, 1)
        before = training.bytes()
        for damaged in (content[:-1], content[:100], b"", b"\xff" * 64,
                        content.replace(b"quire.step", b"quire.stop"),
                        content.replace(b'"shape": [30, 4]',
                                        b'"shape": [31, 4]', 1)):
            file.write_bytes(damaged)
            with self.assertRaisesRegex(ValueError, "damaged|has 3"):
                training.load(self.path)
            self.assertEqual(training.bytes(), before)

    def test_modules_may_share_a_table(self):
        training = self.training()
        words = training.model["words"]
        shared = nn.ModuleDict({
            "one": words, "copy": copy.deepcopy(words),
            "other": quire.torch.RemoteEmbedding(
                ROWS, DIM, table=words.table, server=self.server.address)})
        for rows in ("snapshot", "file"):
            training.train(0, 2)
            before = training.bytes()
            quire.torch.save_checkpoint(self.path, shared, rows=rows)
            training.train(0, 2)

            quire.torch.load_checkpoint(self.path, shared)

            self.assertEqual(training.bytes()["words.weight"],
                             before["words.weight"])
            uid = self.client.table(words.table).uid
            self.assertEqual([module.remote.uid
                              for module in shared.values()], [uid] * 3)
        apart = nn.ModuleDict({**shared, "other": self.training(
            "-apart").model["words"]})
        with self.assertRaisesRegex(ValueError, "one table for it"):
            quire.torch.load_checkpoint(self.path, apart)
        quire.torch.save_checkpoint(self.path, apart)
        with self.assertRaisesRegex(ValueError, "share a table"):
            quire.torch.load_checkpoint(self.path, shared)

    def test_another_model_is_refused_and_nothing_has_changed(self):
        training = self.training()
        training.train(0, STEPS)
        training.save(self.path)
        training.train(STEPS, 1)
        before = training.bytes()
        other = nn.ModuleDict({"words": training.model["words"],
                               "top": nn.Linear(DIM, 1)})
        with self.assertRaisesRegex(ValueError, "only the checkpoint has: tag"):
            quire.torch.load_checkpoint(self.path, other)
        other["tags"] = training.model["tags"]
        other["top"] = nn.Linear(DIM, 2)
        with self.assertRaisesRegex(ValueError, "top.weight has the shape"):
            quire.torch.load_checkpoint(self.path, other)
        with self.assertRaisesRegex(ValueError, "no state of: scaler"):
            quire.torch.load_checkpoint(self.path, training.model,
                                        dense={"scaler": training.dense})
        torch.save({"weight": torch.ones(1)}, self.path)
        with self.assertRaisesRegex(ValueError, "no checkpoint of"):
            training.load(self.path)
        self.assertEqual(training.bytes(), before)

    def test_what_is_saved_beside_comes_back_as_it_was(self):
        training = self.training()
        extra = {
            "numbers": (1, 2.5, -0.0, float("inf"), 1 << 70, True, None),
            3: [collections.OrderedDict(a=1), collections.Counter("aab")],
            "$tensor": {"set": {1, 2}, "bytes": b"\0\xff"},
            "random": torch.get_rng_state(), "numpy": numpy.float64(0.1)}
        quire.torch.save_checkpoint(self.path, training.model, extra=extra)

        found = quire.torch.load_checkpoint(self.path, training.model)

        self.assertTrue(torch.equal(found.pop("random"), extra.pop("random")))
        self.assertEqual(repr(found),
                         repr({**extra, "numpy": 0.1}))

    def test_nothing_of_a_file_is_run(self):
        class Harm:
            def __reduce__(self):
                return os.abort, ()

        training = self.training()
        torch.save({"quire_checkpoint": 1, "extra": Harm()}, self.path)
        with self.assertRaises(pickle.UnpicklingError):
            training.load(self.path)

    def test_workers_save_and_load_together(self):
        with tempfile.TemporaryDirectory() as directory:
            workers = multiprocessing.spawn(
                work, (self.server.address, directory), 2, join=False)
            end = time.monotonic() + PATIENCE
            while not workers.join(timeout=1):
                self.assertLess(time.monotonic(), end)


def print_nothing():
    """Nothing that a checkpoint holds."""


def work(rank, server, directory):
    """One of two workers that train as one, save, and go back."""
    try:
        torch.set_num_threads(1)
        distributed.init_process_group(
            "gloo", rank=rank, world_size=2,
            init_method=f"file://{directory}/group")
        whole = Training(server, "whole", sync="allreduce_mean")
        whole.train(0, 2 * STEPS)
        training = Training(server, "together", sync="allreduce_mean")
        path = f"{directory}/job.pt"
        training.train(0, STEPS)
        training.save(path)
        training.train(50, 2)
        training.load(path)
        # An error of one is an error of all, and nobody waits for ever.
        try:
            training.load(path if rank == 0 else path + ".missing")
            raise AssertionError("it was loaded")
        except FileNotFoundError:
            pass
        training.train(STEPS, STEPS)
        if training.bytes() != whole.bytes():
            raise AssertionError("not the same bytes")
        distributed.barrier()
        distributed.destroy_process_group()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


if __name__ == "__main__":
    QUIRE = sys.argv.pop(2)
    support.main()
