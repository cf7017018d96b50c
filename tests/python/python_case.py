"""A real server and a client of it, for the tests in this directory.

Each of them is a program: X_test.py SERVER, the path of the binary. PYTHONPATH
has the directory python, QUIRE_LIBRARY names libquire.so.
"""

import contextlib
import os
import pathlib
import signal
import sys
import tempfile
import time
import unittest

import numpy

SERVER = sys.argv[1]
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
import quire_process  # noqa: E402

import quire  # noqa: E402

PATIENCE = 60


class PythonCase(unittest.TestCase):
    """Tests that share a server and a client."""

    # Of the server: {dir} is a directory of the case's own.
    server_options = ("--memory-limit", "512MiB")

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.dir = pathlib.Path(
            cls.stack.enter_context(tempfile.TemporaryDirectory()))
        (cls.dir / "backups").mkdir()
        cls.process, cls.address, _ = cls.stack.enter_context(
            quire_process.server(
                SERVER, *(option.format(dir=cls.dir)
                          for option in cls.server_options)))
        cls.client = cls.stack.enter_context(
            quire.connect(cls.address, timeout=PATIENCE))

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def setUp(self):
        for table in self.client.tables():
            self.client.drop_table(table.name)

    def words(self, rows=10, dim=5, **options):
        """A table of random rows, trained by plain SGD with learning rate 1;
        returns what the server has stored."""
        options.setdefault("optimizer",
                           quire.optimizers.Sgd(learning_rate=1))
        self.client.create_table("words", rows, dim, **options)
        return self.client.read_rows("words", range(rows)).values

    def same_bytes(self, found, wanted):
        wanted = numpy.asarray(wanted, numpy.float32)
        self.assertEqual(found.dtype, numpy.float32)
        self.assertEqual(found.shape, wanted.shape)
        self.assertEqual(found.tobytes(), wanted.tobytes())

    @contextlib.contextmanager
    def refused(self, kind, reason, field, sentence):
        """The block raises this, and nothing else; yields where the error will
        be."""
        with self.assertRaises(kind) as caught:
            yield caught
        error = caught.exception
        self.assertIs(type(error), kind)
        self.assertEqual((error.reason, error.field), (reason, field), error)
        self.assertRegex(error.sentence, sentence)


@contextlib.contextmanager
def stopped(process):
    """A server that is there and does nothing while the block runs."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        while any(task.read_text().rsplit(")", 1)[1].split()[0] != "T"
                  for task in pathlib.Path(f"/proc/{process.pid}/task").glob(
                      "*/stat")):
            time.sleep(0.001)
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def main():
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])


def environment(**changes):
    return {**os.environ, **changes}
