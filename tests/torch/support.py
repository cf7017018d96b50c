"""What the tests of quire.torch share: a real server, and how they begin.

    python3 embedding_test.py SERVER [unittest's arguments]
"""

import contextlib
import itertools
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import quire_process  # noqa: E402
import torch  # noqa: E402

import quire  # noqa: E402
import quire.torch  # noqa: E402

# 1e-6, of numbers of about 1: docs/TORCH.md, "close".
CLOSE = {"rtol": 1e-6, "atol": 1e-6}

server_path = ""


class RemoteTest(unittest.TestCase):
    """A test class with a server of its own."""

    @classmethod
    def setUpClass(cls):
        cls._stack = contextlib.ExitStack()
        _, cls.server, _ = cls._stack.enter_context(
            quire_process.server(server_path, "--memory-limit", "1GiB"))
        # That of the modules, which find it by the address.
        cls.client = quire.torch._wire.connect(cls.server)
        cls._numbers = itertools.count()

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls._stack.close()

    def name(self):
        """Of a table that is not there yet."""
        return f"t{next(self._numbers)}"

    def embedding(self, weight, **arguments):
        """A RemoteEmbedding that holds `weight` and learns."""
        arguments.setdefault("freeze", False)
        arguments.setdefault("table", self.name())
        return quire.torch.RemoteEmbedding.from_pretrained(
            weight, server=self.server, **arguments)

    def bag(self, weight, **arguments):
        """A RemoteEmbeddingBag that holds `weight` and learns."""
        arguments.setdefault("freeze", False)
        arguments.setdefault("table", self.name())
        return quire.torch.RemoteEmbeddingBag.from_pretrained(
            weight, server=self.server, **arguments)

    def assert_same(self, actual, expected):
        """Bit for bit."""
        self.assertEqual(actual.shape, expected.shape)
        self.assertEqual(actual.detach().numpy().tobytes(),
                         expected.detach().numpy().tobytes())

    def assert_close(self, actual, expected):
        """To 1e-6."""
        torch.testing.assert_close(actual.detach(), expected.detach(),
                                   **CLOSE)


def stored(module):
    """All rows of a module's table, float32 [rows, dim]."""
    return module.read_rows(torch.arange(module.num_embeddings))


def main():
    """Runs the tests of the file that calls it."""
    global server_path
    # The test classes have `import support`; this file is that module.
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} SERVER [unittest's arguments]")
    server_path = sys.argv.pop(1)
    torch.manual_seed(0)
    unittest.main(module="__main__")
