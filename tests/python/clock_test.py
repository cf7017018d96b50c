#!/usr/bin/env python3
"""Workers that keep together, and lookups that see what was pushed."""

import dataclasses
import json
import multiprocessing
import os
import pickle
import signal
import threading
import time

import numpy as np

import python_case
import quire
import quire_process


def in_thread(function):
    """Runs it; what it gives is there after join()."""
    outcome = []

    def run():
        try:
            outcome.append(function())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def endless(address, worker, workers, alive):
    """A worker that goes on until it is killed."""
    with quire.connect(address) as client:
        clock = quire.Clock(client, "killed", worker=worker, workers=workers)
        while True:
            clock.advance()
            alive.value = clock.step


class Clocks(python_case.PythonCase):

    def clock(self, worker, workers=2, name=None, **options):
        options.setdefault("timeout", python_case.PATIENCE)
        return quire.Clock(self.client, name or self._testMethodName, worker=worker,
                           workers=workers, **options)

    def test_a_worker_waits_for_the_slowest(self):
        one, two = self.clock(0, max_ahead=1), self.clock(1, max_ahead=1)
        one.advance()
        self.assertEqual((one.step, two.step), (1, 0))
        self.assertEqual(one.state, quire.ClockState(0, 1, []))
        thread, outcome = in_thread(one.advance)
        time.sleep(0.1)
        self.assertTrue(thread.is_alive())

        state = two.advance()

        thread.join()
        self.assertEqual(state, quire.ClockState(1, 1, []))
        self.assertEqual(outcome, [quire.ClockState(1, 1, [])])
        self.assertIn("worker 0 of 2, step 2", repr(one))
        self.assertEqual((one.name, one.worker, one.workers, one.max_ahead),
                         (self._testMethodName, 0, 2, 1))

    def test_steps_whose_pushes_are_pending_are_not_told(self):
        one, two = self.clock(0, max_ahead=2), self.clock(1)
        one.advance(pending=1)
        one.advance(pending=2)
        # It has done 2, and 2 may be ahead of 0; others hear of none.
        self.assertEqual(one.state.slowest_step, 0)
        thread, _ = in_thread(two.advance)
        time.sleep(0.1)
        self.assertTrue(thread.is_alive())
        one.advance(pending=1)
        thread.join()
        self.assertEqual(two.state.slowest_step, 1)
        for pending in (-1, 3):
            with self.refused(quire.InvalidArgument, "BAD_VALUE", "pending",
                              f"pending is {pending}"):
                one.advance(pending=pending)
        self.assertEqual(one.step, 3)

    def test_who_leaves_is_not_waited_for(self):
        with self.clock(0) as one:
            with self.clock(1) as two:
                pass
            two.leave()
            self.assertEqual(one.advance().left, [1])
            with self.refused(quire.FailedPrecondition, "", "", "has left"):
                two.advance()
            self.assertIn("has left", repr(two))
        # All have: the name is free.
        self.clock(0, workers=7)

    def test_an_error_is_no_end(self):
        one = self.clock(0, timeout=1.5)
        with self.assertRaises(ZeroDivisionError):
            with self.clock(1):
                1 / 0
        with self.refused(quire.Unavailable, "CLOCK_BEHIND", "step",
                          "worker 1 of 2 had done 0; it was last heard of"):
            one.advance()
        # It begins again.
        self.clock(1).advance()
        self.assertEqual(one.wait().slowest_step, 1)

    def test_one_that_never_came_is_named_and_dismissed(self):
        one = self.clock(0, workers=3, timeout=1.5)
        start = time.monotonic()
        with self.refused(quire.Unavailable, "CLOCK_BEHIND", "step",
                          "worker 1 of 3 had done 0; it was never heard of"):
            one.advance()
        self.assertLess(time.monotonic() - start, 20)
        self.assertEqual(one.dismiss(1).left, [1])
        with self.assertRaisesRegex(quire.Unavailable, "worker 2 of 3"):
            one.wait()
        one.dismiss(2)
        self.assertEqual(one.wait(), quire.ClockState(1, 0, [1, 2]))
        self.assertEqual(one.step, 1)

    def test_a_worker_begins_from_a_checkpoint_or_where_the_others_are(self):
        one, two = self.clock(0, step=50), self.clock(1, step=50)
        thread, _ = in_thread(one.advance)
        two.advance()
        thread.join()
        # The other died, and begins from what it had saved.
        again = self.clock(1, step=49)
        self.assertEqual(again.state, quire.ClockState(49, 1, []))
        again.advance()
        # Another takes its place, who has nothing to begin from.
        other = self.clock(0, step=None)
        self.assertEqual(other.step, 50)
        self.assertEqual(other.state, quire.ClockState(50, 0, []))
        alone = self.clock(0, workers=1, name="alone", step=None)
        self.assertEqual(alone.step, 0)
        alone.advance()

    def test_what_cannot_be_is_refused(self):
        self.clock(0)
        with self.refused(quire.FailedPrecondition, "CLOCK_DIFFERS", "workers",
                          "worker 2 says that 3 share it, and others that 2"):
            self.clock(2, workers=3)
        for field, options in (("worker", {"worker": 2}),
                               ("workers", {"workers": 0}),
                               ("step", {"step": -1}),
                               ("max_ahead", {"max_ahead": -1})):
            with self.assertRaises(quire.InvalidArgument) as caught:
                self.clock(**{"worker": 1, **options})
            self.assertEqual(caught.exception.field, field)
        with self.refused(quire.InvalidArgument, "BAD_NAME", "clock", "a b"):
            self.clock(0, name="a b")
        with self.assertRaises(TypeError):
            self.clock(0.5)
        with self.assertRaises(TypeError):
            quire.Clock(self.client, "x", 0, 2)

    def test_a_worker_that_is_killed_is_named_and_dismissed(self):
        context = multiprocessing.get_context("spawn")
        alive = context.Value("q", 0)
        worker = context.Process(target=endless,
                                 args=(self.address, 1, 2, alive))
        worker.start()
        clock = self.clock(0, name="killed", timeout=python_case.PATIENCE)
        while alive.value < 20:
            clock.advance()
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        clock._timeout = 1.5
        with self.refused(quire.Unavailable, "CLOCK_BEHIND", "step",
                          r"worker 1 of 2 had done \d+; it was last heard of "
                          r"\d\.\d s ago. If it is gone for good, say that it "
                          "leaves"):
            while True:
                clock.advance()
        step = clock.step
        self.assertGreaterEqual(step, 20)

        clock.dismiss(1)

        self.assertEqual(clock.wait().slowest_step, step)
        clock.advance()

    def test_a_server_that_is_told_to_stop_does_not_wait_for_workers(self):
        with quire_process.server(python_case.SERVER) as (process, address, _):
            with quire.connect(address) as client:
                clock = quire.Clock(client, "run", worker=0, workers=2,
                                    timeout=3)
                thread, outcome = in_thread(clock.advance)
                time.sleep(0.3)
                start = time.monotonic()
                process.terminate()
                self.assertEqual(process.wait(python_case.PATIENCE), 0)
                self.assertLess(time.monotonic() - start, 20)
                thread.join()
        # It has gone on asking, and nobody was there.
        self.assertIsInstance(outcome[0], quire.Error)
        self.assertIn(outcome[0].reason, ("CANNOT_CONNECT", "DEADLINE"))

    def test_ctrl_c_ends_a_wait(self):
        clock = self.clock(0)
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        start = time.monotonic()
        with self.assertRaises(KeyboardInterrupt):
            clock.advance()
        self.assertLess(time.monotonic() - start, 10)


class Positions(python_case.PythonCase):
    server_options = ("--memory-limit", "512MiB", "--data-dir", "{dir}/data")

    def test_a_lookup_sees_the_push_whose_position_it_names(self):
        before = self.words()
        pushed = self.client.apply_gradient("words", [2], np.ones((1, 5)))
        with quire.connect(self.address) as other:
            rows, position = other.lookup(
                "words", [2], min_position=pushed.position,
                return_position=True)
        self.same_bytes(rows, before[[2]] - 1)
        self.assertIsInstance(position, quire.Position)
        self.assertGreaterEqual(position, pushed.position)
        self.assertEqual(position.epoch, self.client.server_info.epoch)
        # A position of another lookup serves as well; None is any.
        for least in (position, None):
            self.same_bytes(
                self.client.lookup("words", [2], min_position=least), rows)

    def test_every_lookup_takes_and_gives_positions(self):
        before = self.words()
        least = self.client.apply_gradient("words", [1],
                                           np.ones((1, 5))).position
        after = before.copy()
        after[1] -= 1
        call = {"min_position": least, "return_position": True}
        client = self.client

        rows, one = client.lookup("words", [[0, 1]], **call)
        self.same_bytes(rows, after[[[0, 1]]])
        (bags, winners), two = client.lookup_bags(
            "words", [[1, 1]], mode="max", return_winners=True, **call)
        self.same_bytes(bags, after[[1]])
        self.assertEqual(winners.shape, (1, 5))
        by_name, three = client.lookup_many({"words": [1]}, **call)
        self.same_bytes(by_name["words"], after[[1]])
        listed, four = client.lookup_many([quire.Lookup("words", [1])], **call)
        self.same_bytes(listed[0], after[[1]])
        futures = [
            client.lookup_async("words", [1], **call),
            client.lookup_bags_async("words", [[1]], **call),
            client.lookup_many_async({"words": [1]}, **call),
        ]
        for future, read in zip(futures, (
                lambda rows: rows, lambda rows: rows,
                lambda rows: rows["words"])):
            rows, position = future.result()
            self.same_bytes(read(rows), after[[1]])
            self.assertEqual(position, least)
            # And again.
            self.assertEqual(future.result()[1], position)
        self.assertEqual({one, two, three, four}, {least})
        plain = client.lookup_async("words", [1])
        self.same_bytes(plain.result(), after[[1]])

    def test_a_position_that_is_not_reached_is_told(self):
        self.words()
        here = self.client.apply_gradient("words", [1],
                                          np.ones((1, 5))).position
        later = quire.Position(here.epoch, here.lsn + 1)
        for call in (self.client.lookup, lambda *a, **k:
                     self.client.lookup_async(*a, **k).result()):
            with self.refused(quire.Unavailable, "NOT_CAUGHT_UP",
                              "min_position", f"LSN {later.lsn} is wanted"):
                call("words", [1], min_position=later, timeout=0.3)
        waiting = self.client.lookup_async("words", [1], min_position=later,
                                           return_position=True)
        time.sleep(0.05)
        self.assertFalse(waiting.done())
        self.client.apply_gradient("words", [1], np.ones((1, 5)))
        self.assertEqual(waiting.result()[1], later)
        with self.refused(quire.FailedPrecondition, "POSITION_LOST",
                          "min_position", "none of this server's"):
            self.client.lookup("words", [1],
                               min_position=quire.Position(here.epoch + 1, 1))

    def test_what_is_no_position_is_refused(self):
        self.words()
        for bad in (7, "1:7", (1, 7), quire.Position(1, "7"),
                    quire.Position(True, 7)):
            with self.refused(quire.WrongType, "BAD_VALUE", "min_position",
                              "quire.Position"):
                self.client.lookup("words", [1], min_position=bad)
        for bad in (quire.Position(-1, 7), quire.Position(1, 2**64)):
            with self.refused(quire.InvalidArgument, "BAD_VALUE",
                              "min_position", "2.64"):
                self.client.lookup("words", [1], min_position=bad)

    def test_positions_are_ordered_and_travel(self):
        one, two = quire.Position(3, 7), quire.Position(3, 11)
        self.assertLess(one, two)
        self.assertEqual(max(one, two), two)
        self.assertEqual(pickle.loads(pickle.dumps(two)), two)
        text = json.dumps(dataclasses.asdict(two))
        self.assertEqual(quire.Position(**json.loads(text)), two)
        with self.assertRaises(dataclasses.FrozenInstanceError):
            one.lsn = 8

    def test_memory_tables_have_none(self):
        self.words(persistence="memory")
        pushed = self.client.apply_gradient("words", [1], np.ones((1, 5)))
        self.assertIsNone(pushed.position)
        rows, position = self.client.lookup(
            "words", [1], min_position=pushed.position, return_position=True)
        self.assertIsNone(position)
        self.assertIsNone(self.client.lookup_async(
            "words", [1], return_position=True).result()[1])

    def test_what_a_snapshot_has_is_verified(self):
        self.words()
        pushed = self.client.apply_gradient("words", [1], np.ones((1, 5)))
        self.assertEqual(self.client.verify_table("words"),
                         quire.Verified(0, 0))
        snapshot = self.client.snapshot()
        self.assertGreaterEqual(snapshot, pushed.position)
        verified = self.client.verify_table("words")
        self.assertGreaterEqual(verified.chunks_verified, 1)
        self.assertEqual(verified.snapshot_lsn, snapshot.lsn)
        with self.refused(quire.NotFound, "NO_SUCH_TABLE", "table.name",
                          "nowhere"):
            self.client.verify_table("nowhere")


if __name__ == "__main__":
    python_case.main()
