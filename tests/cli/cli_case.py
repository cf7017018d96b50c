"""A real server and the real command, for the tests in this directory.

Each of them is a program: X_test.py SERVER QUIRE, the paths of the binaries.
"""

import ast
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

SERVER, QUIRE = (pathlib.Path(path).resolve() for path in sys.argv[1:3])

# How long anything may take before a test says so.
PATIENCE = 60


def wait_until(condition, what):
    """Polls until condition() is true, and returns what it returned."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {PATIENCE} s: {what}")


class CliCase(unittest.TestCase):
    """Tests that share a server and a directory.

    The command runs in that directory, knows the server from QUIRE_SERVER, and
    has an empty standard input unless a test gives it one.
    """

    # Of the server, besides those that all tests want.
    server_options = ()

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.temporary.name)
        cls.log = open(cls.dir / "server.log", "wb")
        cls.server = subprocess.Popen(
            [SERVER, "--listen", "127.0.0.1:0", "--port-file", cls.dir / "port",
             "--memory-limit", "512MiB", *cls.server_options],
            cwd=cls.dir, stdout=cls.log, stderr=cls.log)
        try:
            cls.address = "127.0.0.1:" + wait_until(cls.port, "a port")
        except AssertionError:
            cls.server.kill()
            raise

    @classmethod
    def port(cls):
        file = cls.dir / "port"
        return file.read_text().strip() if file.exists() else ""

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        code = cls.server.wait(timeout=PATIENCE)
        cls.log.close()
        log = (cls.dir / "server.log").read_text(errors="replace")
        cls.temporary.cleanup()
        assert code == 0, f"the server ended with {code}:\n{log}"

    def environment(self, **changes):
        """As a person has it; a change to None takes a variable away."""
        variables = {**os.environ, "QUIRE_SERVER": self.address,
                     "NO_COLOR": None, **changes}
        return {name: value for name, value in variables.items()
                if value is not None}

    def run_quire(self, *arguments, stdin=b"", env=None):
        """Runs the command to its end; all output as bytes."""
        return subprocess.run(
            [QUIRE, *map(str, arguments)], input=stdin, capture_output=True,
            cwd=self.dir, env=self.environment(**(env or {})),
            timeout=PATIENCE)

    def quire_bytes(self, *arguments, stdin=b""):
        """Standard output of a command that succeeds and has no complaint."""
        done = self.run_quire(*arguments, stdin=stdin)
        self.assertEqual((done.returncode, done.stderr), (0, b""), arguments)
        return done.stdout

    def quire(self, *arguments, stdin=b""):
        return self.quire_bytes(*arguments, stdin=stdin).decode()

    def refused(self, code, sentence, *arguments, stdin=b"", env=None):
        """A command that fails with `code` and says `sentence`, a regular
        expression; it prints no data. Returns what it said."""
        done = self.run_quire(*arguments, stdin=stdin, env=env)
        said = done.stderr.decode()
        self.assertEqual(done.returncode, code, f"{arguments}: {said}")
        self.assertEqual(done.stdout, b"", arguments)
        self.assertTrue(said.startswith("quire: "), said)
        self.assertRegex(said, sentence)
        return said

    def write(self, name, content):
        """A file in the directory; returns its name."""
        if isinstance(content, str):
            content = content.encode()
        (self.dir / name).write_bytes(content)
        return name


def parse_tensor(text):
    """(numbers as nested lists, shape) of what -o table prints. Where numbers
    are left out there is an Ellipsis."""
    printed = re.fullmatch(
        r"tensor\((.*?)(?:, size=\(.*\))?\)\nshape (\(.*\))\n", text, re.DOTALL)
    assert printed, text
    return ast.literal_eval(printed[1]), ast.literal_eval(printed[2])


def main():
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
