#!/usr/bin/env python3
"""What surrounds a call: no server, timeouts, threads, forks, the end."""

import pickle
import socket
import subprocess
import sys
import threading
import time
import unittest

import numpy as np

import python_case
import quire


def run(program, address, **variables):
    """Runs a program of Python's in a process of its own."""
    environment = python_case.environment(**variables)
    if "GRPC_ENABLE_FORK_SUPPORT" not in variables:
        environment.pop("GRPC_ENABLE_FORK_SUPPORT", None)
    return subprocess.run([sys.executable, "-c", program, address],
                          capture_output=True, text=True, env=environment,
                          timeout=python_case.PATIENCE)


class Failures(python_case.PythonCase):
    def test_a_table_that_is_not_there_is_a_key_error(self):
        for call in (lambda: self.client.lookup("nowhere", [1]),
                     lambda: self.client.table("nowhere")):
            with self.refused(quire.NotFound, "NO_SUCH_TABLE", "table.name",
                              "there is no table 'nowhere'") as caught:
                call()
            self.assertIsInstance(caught.exception, KeyError)
            self.assertEqual(caught.exception.code, "NOT_FOUND")
        with self.refused(quire.NotFound, "NO_SUCH_TABLE",
                          "tables[0].table.name", "nowhere"):
            self.client.apply_gradient("nowhere", [1], [[1.0]])

    def test_ids_that_are_none_are_refused_with_the_remedy(self):
        self.words()
        for ids, sentence in (
                ([1.5], "float64.*astype"), (np.float32([1]), "float32"),
                ([True, False], "bool.*flatnonzero"), (True, "bool"),
                (["1"], "integers"), (None, "integers"), (1j, "integers"),
                ([[1], [1, 2]], "no array|object"), ({1: 2}, "integers"),
                ([2**70], "integers")):
            with self.subTest(ids=ids):
                with self.refused(quire.WrongType, "BAD_VALUE", "ids",
                                  sentence):
                    self.client.lookup("words", ids)
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "ids", "2.63"):
            self.client.lookup("words", np.array([2**63], np.uint64))
        for bad in (-1, 10, 2**62):
            with self.refused(quire.OutOfRange, "ID_OUT_OF_RANGE",
                              "tables[0].ids.ids[1]", f"id {bad} at"):
                self.client.lookup("words", [3, bad])

    def test_errors_are_sentences_and_can_be_pickled(self):
        self.words()
        with self.assertRaises(IndexError) as caught:
            self.client.lookup("words", [3, 11])
        error = pickle.loads(pickle.dumps(caught.exception))

        self.assertEqual(
            str(error), "table 'words': id 11 at position 1 is not in [0, 10) "
            "[tables[0].ids.ids[1]]")
        self.assertEqual((error.code, error.reason, error.retry_after),
                         ("OUT_OF_RANGE", "ID_OUT_OF_RANGE", None))
        self.assertIsInstance(error, quire.Error)

    def test_where_no_server_is_nobody_is_connected(self):
        with self.refused(quire.Unavailable, "CANNOT_CONNECT", "",
                          "Does quire-server run there"):
            quire.connect("127.0.0.1:1", timeout=0.3)
        with self.assertRaises(ConnectionError):
            quire.connect("127.0.0.1:1", timeout=0.1)
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "timeout", "-1"):
            quire.connect(self.address, timeout=-1)
        with self.refused(quire.WrongType, "BAD_VALUE", "timeout", "seconds"):
            quire.connect(self.address, timeout="1s")

    def test_a_server_that_does_not_answer_runs_into_the_timeout(self):
        self.words()
        self.client.lookup("words", 1)
        with python_case.stopped(self.process):
            start = time.monotonic()
            with self.assertRaises(TimeoutError) as caught:
                self.client.lookup("words", 1, timeout=0.2)
            self.assertLess(time.monotonic() - start, 10)
            self.assertEqual((type(caught.exception), caught.exception.reason),
                             (quire.DeadlineExceeded, "DEADLINE"))
            future = self.client.lookup_async("words", 1)
            self.assertFalse(future.done())
            with self.assertRaisesRegex(TimeoutError, "it goes on"):
                future.result(timeout=0.05)
        self.assertEqual(future.result().shape, (5,))

    def test_a_closed_client_says_so(self):
        client = quire.connect(self.address)
        self.assertIn(self.address, repr(client))
        client.close()
        client.close()

        with self.refused(quire.FailedPrecondition, "", "", "is closed"):
            client.tables()
        self.assertIn("closed", repr(client))


    def test_a_client_ends_when_it_is_closed_whatever_is_kept_of_it(self):
        self.words()
        before = self.client.stats().sessions
        client = quire.connect(self.address)
        client.apply_gradient("words", 1, [1] * 5)
        self.assertEqual(self.client.stats().sessions, before + 1)
        kept = [client.lookup_async("words", 1)]
        with self.assertRaises(quire.OutOfRange) as caught:
            client.lookup("words", 10)
        kept.append(caught.exception)

        client.close()

        self.assertEqual(self.client.stats().sessions, before)

    def test_a_client_may_be_closed_while_threads_use_it(self):
        self.words()
        client = quire.connect(self.address)

        def work():
            try:
                while True:
                    client.lookup("words", range(10))
            except quire.FailedPrecondition as error:
                ends.append(error)

        ends = []
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        client.close()
        for thread in threads:
            thread.join()

        self.assertEqual(len(ends), 4)


class ServersThatGo(unittest.TestCase):
    def test_lookups_and_pushes_wait_for_a_server_that_comes_back(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        with python_case.tempfile.TemporaryDirectory() as directory:
            def start():
                return subprocess.Popen(
                    [python_case.SERVER, "--listen", address, "--data-dir",
                     f"{directory}/data"], stderr=subprocess.DEVNULL)
            server = start()
            try:
                client = self.connect(address)
                client.create_table("words", 4, 2,
                                    optimizer=quire.optimizers.Sgd(1.0),
                                    initializer=quire.initializers.Zeros())
                client.apply_gradient("words", 1, [1, 1])
                server.kill()
                server.wait()
                push = client.apply_gradient_async("words", 1, [1, 1])
                with self.assertRaises(quire.Error):
                    client.lookup("words", 1, timeout=0.3)
                server = start()
                self.assertTrue(push.result().exactly_once)
                self.assertEqual(client.lookup("words", 1).tolist(), [-2, -2])
                client.close()
            finally:
                server.kill()
                server.wait()

    def connect(self, address):
        for _ in range(100):
            try:
                return quire.connect(address)
            except quire.Unavailable:
                time.sleep(0.1)
        raise AssertionError("no server")


class Processes(python_case.PythonCase):
    def test_threads_share_a_client(self):
        table = self.words(1000, 8)
        wrong = []

        def work(number):
            draw = np.random.default_rng(number)
            for _ in range(50):
                ids = draw.integers(0, 1000, (3, 5))
                if not np.array_equal(self.client.lookup("words", ids),
                                      table[ids]):
                    wrong.append(ids)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        self.assertEqual(wrong, [])

    def test_other_threads_run_while_a_call_waits(self):
        self.words()
        with python_case.stopped(self.process):
            waiting = threading.Thread(
                target=lambda: self.client.lookup("words", 1))
            waiting.start()
            start = time.monotonic()
            sum(range(10**5))
            self.assertLess(time.monotonic() - start, 5)
            self.assertTrue(waiting.is_alive())
        waiting.join()

    def test_a_program_may_end_with_calls_under_way(self):
        self.words(initializer=quire.initializers.Zeros())
        done = run("""if True:
            import sys, quire
            client = quire.connect(sys.argv[1])
            futures = [client.apply_gradient_async("words", 1, [1] * 5)
                       for _ in range(100)]
            rows = [client.lookup_async("words", range(10))
                    for _ in range(100)]
            del rows
        """, self.address)

        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.client.lookup("words", 1).tolist(), [-100] * 5)

    def test_importing_it_imports_neither_torch_nor_a_connection(self):
        done = run("""if True:
            import sys, quire
            assert "torch" not in sys.modules
            assert quire.__version__ == "0.1.0", quire.__version__
        """, self.address)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    FORKS = """if True:
        import os, sys, quire
        client = quire.connect(sys.argv[1])
        client.apply_gradient("words", 1, [1] * 5)
        future = client.lookup_async("words", 1)
        future.result()
        child = os.fork()
        if child == 0:
            try:
                client.apply_gradient("words", 1, [1] * 5)
                assert client.lookup("words", 1).tolist() == [-2] * 5
                assert future.done()
                os._exit(0)
            except quire.FailedPrecondition as error:
                print(error, flush=True)
                os._exit(3)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        client.apply_gradient("words", 1, [1] * 5)
        client.close()
        sys.exit(code)
    """

    def test_a_child_goes_on_where_grpc_expects_it(self):
        self.words(initializer=quire.initializers.Zeros())

        done = run(self.FORKS, self.address, GRPC_ENABLE_FORK_SUPPORT="1")

        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        self.assertEqual(self.client.lookup("words", 1).tolist(), [-3] * 5)

    def test_a_child_says_what_to_do_where_grpc_does_not(self):
        self.words(initializer=quire.initializers.Zeros())

        done = run(self.FORKS, self.address)

        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("GRPC_ENABLE_FORK_SUPPORT=1", done.stdout)
        self.assertEqual(self.client.lookup("words", 1).tolist(), [-2] * 5)

    def test_a_child_may_drop_what_its_parent_has_begun(self):
        self.words()
        done = run("""if True:
            import os, sys, quire
            client = quire.connect(sys.argv[1])
            exported = client.export_table("words")
            begun = client.begin_import("copy", 1, 1)
            future = client.lookup_async("words", 1)
            child = os.fork()
            if child == 0:
                del exported, begun, future, client
                os._exit(0)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert len(list(exported)) == 1 and code == 0
            begun.write([[1]])
            begun.finish()
            future.result()
        """, self.address)

        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_a_child_that_connects_first_needs_nothing(self):
        self.words(initializer=quire.initializers.Zeros())
        done = run("""if True:
            import multiprocessing, sys, quire
            def work(number):
                with quire.connect(sys.argv[1]) as client:
                    client.apply_gradient("words", number, [1] * 5)
            with multiprocessing.get_context("fork").Pool(3) as pool:
                pool.map(work, range(9))
        """, self.address)

        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.client.lookup("words", range(10))[:, 0].tolist(),
                         [-1] * 9 + [0])


if __name__ == "__main__":
    python_case.main()
