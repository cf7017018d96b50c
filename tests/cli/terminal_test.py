"""The command on a terminal: colour, progress, completion by bash."""

import os
import pathlib
import pty
import re
import select
import subprocess
import time

import cli_case

GLOVE = pathlib.Path(__file__).parents[2] / "examples" / "glove.5k.100d.txt"
RED = "\x1b[31mquire:\x1b[0m "


class Terminal:
    """A program whose terminal is ours."""

    def __init__(self, command, **options):
        self.screen, their_end = pty.openpty()
        ends = {name: their_end for name in ("stdin", "stdout", "stderr")}
        # Its own session, so that its signals and job control are its own.
        self.process = subprocess.Popen(command, start_new_session=True,
                                        **{**ends, **options})
        os.close(their_end)
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        os.close(self.screen)

    def read_until(self, pattern):
        """Reads until `pattern` was seen, after what was read before."""
        start = len(self.text)
        deadline = time.monotonic() + cli_case.PATIENCE
        while not re.search(pattern, self.text[start:], re.DOTALL):
            left = deadline - time.monotonic()
            if left <= 0 or not self.read_some(left):
                raise AssertionError(f"no {pattern!r} in {self.text!r}")
        return self.text[start:]

    def read_to_end(self):
        """All that was printed, when the program has ended."""
        deadline = time.monotonic() + cli_case.PATIENCE
        while self.read_some(deadline - time.monotonic()):
            pass
        self.process.wait(timeout=cli_case.PATIENCE)
        return self.text

    def read_some(self, seconds):
        """False at the end, or when it was waited for so long."""
        ready, _, _ = select.select([self.screen], [], [], max(0, seconds))
        if not ready:
            return False
        try:
            piece = os.read(self.screen, 65536)
        except OSError:  # Linux: nobody has the other end any more
            return False
        self.text += piece.decode(errors="replace")
        return bool(piece)

    def type_until(self, keys, pattern):
        """Types `keys` until `pattern` is seen: who is slow is asked again."""
        start = len(self.text)
        deadline = time.monotonic() + cli_case.PATIENCE
        while time.monotonic() < deadline:
            self.type(keys)
            again = time.monotonic() + 2
            while self.read_some(again - time.monotonic()):
                if re.search(pattern, self.text[start:], re.DOTALL):
                    return
        raise AssertionError(f"no {pattern!r} in {self.text!r}")

    def type(self, keys):
        os.write(self.screen, keys.encode())


class ScreenTest(cli_case.CliCase):

    def on_terminal(self, *arguments, stdout=None, env=None):
        """(exit code, what a person sees) of a command on a terminal."""
        options = {} if stdout is None else {"stdout": stdout}
        with Terminal([cli_case.QUIRE, *map(str, arguments)],
                      env=self.environment(**(env or {})), cwd=self.dir,
                      **options) as terminal:
            text = terminal.read_to_end()
            return terminal.process.returncode, text

    def test_errors_are_red_on_a_terminal_only_unless_told_otherwise(self):
        def said(*arguments, **env):
            return self.run_quire("nonsense", *arguments,
                                  env=env).stderr.decode()

        code, seen = self.on_terminal("nonsense")
        self.assertEqual(code, 2)
        self.assertTrue(seen.startswith(RED), seen)
        _, seen = self.on_terminal("nonsense", env={"NO_COLOR": "1"})
        self.assertTrue(seen.startswith("quire: "), seen)
        _, seen = self.on_terminal("nonsense", "--color", "never")
        self.assertTrue(seen.startswith("quire: "), seen)
        self.assertTrue(said().startswith("quire: "))
        self.assertTrue(said("--color", "always").startswith(RED))
        self.assertTrue(
            said("--color", "always", NO_COLOR="1").startswith(RED))

    def test_long_work_shows_a_bar_with_rate_and_time_left(self):
        # 75,000 rows: long enough to be drawn on any machine.
        self.write("long.txt", GLOVE.read_bytes() * 15)
        out = self.dir / "out"

        with open(out, "wb") as file:
            code, seen = self.on_terminal("import", "long.txt", stdout=file)

        self.assertEqual(code, 0, seen)
        self.assertRegex(
            seen, r"\rimporting +\d+% [█▏▎▍▌▋▊▉ ]+  [\d,]+ of 75,000 rows  "
            r"[\d.]+ ?[kM]?/s  \d+:\d\d left\x1b\[K")
        # Every line of it fits, and it is gone at the end.
        for bar in seen.split("\r"):
            self.assertLess(len(bar.replace("\x1b[K", "")), 80)
        self.assertTrue(seen.endswith("\r\x1b[K"), seen)
        self.assertRegex(out.read_text(), "^imported 75,000 rows × 100 floats")

        self.quire("table", "drop", "long")
        done = self.run_quire("import", "long.txt")
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_a_bench_says_which_step_it_takes(self):
        load = ("bench", "--rows", 10, "--dim", 4, "--batch", 1, "--warmup", 0,
                "--duration", 0.05, "-c", "1:2")

        with open(self.dir / "report", "wb") as file:
            code, seen = self.on_terminal(*load, stdout=file)

        self.assertEqual(code, 0, seen)
        self.assertIn("\rmeasuring: step 1 of 2, 0:01 left\x1b[K", seen)
        self.assertIn("\rmeasuring: step 2 of 2, 0:01 left\x1b[K", seen)
        self.assertTrue(seen.endswith("\r\x1b[K"), seen)
        self.assertNotIn("step", self.run_quire(*load).stderr.decode())

    def test_bytes_are_kept_from_a_terminal(self):
        self.quire("table", "create", "t", "--rows", 2, "--dim", 2)

        for command in (["lookup", "t", 1, "-o", "npy"],
                        ["export", "t", "-", "-f", "npy"]):
            code, seen = self.on_terminal(*command)
            self.assertEqual(code, 2)
            self.assertIn("standard output is a terminal", seen)

    def test_who_gives_no_ids_is_asked_for_them_and_not_waited_for(self):
        self.quire("table", "create", "asked", "--rows", 2, "--dim", 2)

        code, seen = self.on_terminal("lookup", "asked")

        self.assertEqual(code, 2)
        self.assertIn("which rows? Give ids, --word, a file", seen)


class CompletionTest(cli_case.CliCase):

    def setUp(self):
        for name in ("dictionary", "users"):
            self.run_quire("table", "create", name, "--rows", 2, "--dim", 2)

    def bash(self):
        """A bash that has loaded our completion."""
        environment = self.environment(
            PATH=f"{cli_case.QUIRE.parent}:{os.environ['PATH']}", PS1="$ ",
            TERM="dumb", INPUTRC="/dev/null", HISTFILE=None)
        shell = Terminal(["bash", "--norc", "--noprofile", "-i"],
                         env=environment, cwd=self.dir)
        shell.read_until(r"\$ ")
        shell.type("source <(quire completion bash); echo load''ed\n")
        shell.read_until(r"loaded\r\n\$ ")
        return shell

    def test_tab_completes_what_only_one_word_can_be(self):
        for typed, completed in (
                ("quire loo", "quire lookup "),
                ("quire table cr", "quire table create "),
                ("quire bench --conc", "quire bench --concurrency "),
                ("quire lookup --serv", "quire lookup --server "),
                ("quire lookup dic", "quire lookup dictionary "),
                ("quire table drop us", "quire table drop users "),
                (f"quire --server {self.address} label get di",
                 f"quire --server {self.address} label get dictionary ")):
            with self.subTest(typed), self.bash() as shell:
                shell.type(typed)
                # The space behind it says that it is the only one.
                shell.type_until("\t", re.escape(completed))

    def test_two_tabs_list_what_there_is(self):
        with self.bash() as shell:
            shell.type("quire table ")
            shell.type_until(
                "\t\t", r"\r\nalter\s+create\s+describe\s+drop\s+list\s")
        with self.bash() as shell:
            shell.type("quire lookup ")
            shell.type_until("\t\t", r"\r\ndictionary\s+users\s")

    def test_values_that_have_names_are_completed(self):
        create = "quire table create t --rows 4 --dim 2 "
        for typed, answer in (
                ("--optimizer partial_rowwise_", "partial_rowwise_adam\n"
                 "partial_rowwise_lamb\n"),
                ("--optimizer ftrl --scope ", "touched\nall\n"),
                ("--non-finite s", "skip_row\n"),
                ("--weight-decay-mode d", "decouple\n"),
                ("--weight-decay ", ""),
                ("--nesterov --clip-r", "--clip-row-norm\n"),
                ("-o j", "json\n")):
            line = create + typed
            done = self.run_quire("completion", "answer", env={
                "COMP_LINE": line, "COMP_POINT": str(len(line))})
            self.assertEqual((done.returncode, done.stdout.decode()),
                             (0, answer), typed)

    def test_without_a_server_verbs_are_completed_all_the_same(self):
        done = self.run_quire("completion", "answer", env={
            "QUIRE_SERVER": "127.0.0.1:1", "COMP_LINE": "quire loo",
            "COMP_POINT": "9"})

        self.assertEqual((done.returncode, done.stdout), (0, b"lookup\n"))


if __name__ == "__main__":
    cli_case.main()
