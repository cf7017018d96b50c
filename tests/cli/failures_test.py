"""Which server is asked, what it says of itself, and how commands fail."""

import contextlib
import json
import re
import signal
import socket
import subprocess

import cli_case


@contextlib.contextmanager
def silent_server():
    """A socket that listens and never answers: (address, socket)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(cli_case.PATIENCE)
        yield f"127.0.0.1:{listener.getsockname()[1]}", listener


_taken = []


def closed_port():
    """An address at which nobody listens, nor will: its socket is kept."""
    _taken.append(socket.socket())
    _taken[-1].bind(("127.0.0.1", 0))
    return f"127.0.0.1:{_taken[-1].getsockname()[1]}"


class ServerVerbsTest(cli_case.CliCase):

    def test_stats_count_what_was_done(self):
        self.quire("table", "create", "counted", "--rows", 10, "--dim", 4)
        before = json.loads(self.quire("stats", "-o", "json"))
        self.quire("lookup", "counted", "0..4")
        self.quire("apply", "counted", 1, 2, "--fill", 1)
        self.refused(1, "not in", "lookup", "counted", 10)

        stats = json.loads(self.quire("stats", "-o", "json"))

        def method(of, name):
            return next((m for m in of["methods"] if m["method"] == name),
                        {"ok": 0, "failed": 0})
        self.assertEqual(method(stats, "Lookup")["ok"],
                         method(before, "Lookup")["ok"] + 1)
        self.assertEqual(method(stats, "Lookup")["failed"],
                         method(before, "Lookup")["failed"] + 1)
        table, = [t for t in stats["tables"] if t["spec"]["name"] == "counted"]
        self.assertEqual(
            {name: table["stats"][name] for name in (
                "lookups", "rows_looked_up", "pushes", "rows_changed")},
            {"lookups": 1, "rows_looked_up": 5, "pushes": 1,
             "rows_changed": 2})
        self.assertGreaterEqual(stats["table_bytes"], 10 * 4 * 4)

    def test_stats_are_columns_for_people(self):
        self.quire("table", "create", "shown", "--rows", 1000, "--dim", 4)

        head, methods, tables = self.quire("stats").split("\n\n")

        self.assertRegex(head, r"^quire-server \d+\.\d+\.\d+, up \d+:\d\d; "
                         r"\w+ kernels, \d+ threads?\ntables take .* of "
                         r"512 MiB; requests in flight")
        self.assertEqual(methods.splitlines()[0].split(), [
            "method", "answered", "refused", "received", "sent"])
        self.assertRegex(tables, r"(?m)^shown +1,000 +4 +0 +0 +0 +0$")
        # Numbers stand under the ends of their titles.
        for block in (methods, tables):
            widths = {len(line) for line in block.splitlines()}
            self.assertEqual(len(widths), 1, block)

    def test_health_is_told_by_words_and_exit_code(self):
        self.assertEqual(self.quire("health"), "serving\n")
        self.assertEqual(json.loads(self.quire("health", "-o", "json")),
                         {"status": "serving"})
        self.refused(3, "no answer from a Quire server", "--server",
                     closed_port(), "health")

    def test_version_names_command_and_server(self):
        version = self.run_quire("--version").stdout.decode().strip()

        self.assertRegex(version, r"^\d+\.\d+\.\d+$")
        self.assertEqual(self.quire("version"),
                         f"quire {version}\nquire-server {version} at "
                         f"{self.address}\n")
        self.assertEqual(json.loads(self.quire("version", "-o", "json")),
                         {"client": version, "server": version})
        nobody = closed_port()
        self.assertEqual(self.quire("version", "--server", nobody),
                         f"quire {version}\nno server at {nobody}\n")


class FailuresTest(cli_case.CliCase):

    def test_the_option_wins_over_the_environment(self):
        nobody = closed_port()

        def health(option, variable):
            options = ["--server", option] if option else []
            return self.run_quire("health", *options,
                                  env={"QUIRE_SERVER": variable}).returncode

        self.assertEqual(health(None, self.address), 0)
        self.assertEqual(health(None, nobody), 3)
        self.assertEqual(health(self.address, nobody), 0)
        self.assertEqual(health(nobody, self.address), 3)

    def test_options_of_all_verbs_may_stand_before_and_after_the_verb(self):
        for command in (["--server", self.address, "health"],
                        ["health", "--server", self.address],
                        ["health", f"--server={self.address}"]):
            done = self.run_quire(*command, env={"QUIRE_SERVER": None})
            self.assertEqual(done.stdout, b"serving\n", done.stderr)

    def test_nobody_at_the_address_is_code_3_and_says_what_to_do(self):
        nobody = closed_port()

        said = self.refused(3, "no answer from a Quire server at " + nobody,
                            "table", "list", "--server", nobody)

        self.assertIn("  next: start quire-server, or name another with "
                      "--server or QUIRE_SERVER\n", said)

    def test_a_server_that_never_answers_is_code_3_after_the_timeout(self):
        with silent_server() as (address, _):
            for command in (["health"], ["table", "list"],
                            ["lookup", "t", 1]):
                self.refused(3, address, *command, "--server", address,
                             "--timeout", "0.3")

    def test_a_server_that_stops_answering_is_code_3(self):
        self.quire("table", "create", "stopped", "--rows", 2, "--dim", 2)
        self.server.send_signal(signal.SIGSTOP)
        try:
            self.refused(3, "did not answer within", "lookup", "stopped", 1,
                         "--timeout", "300ms")
        finally:
            self.server.send_signal(signal.SIGCONT)

        self.quire("lookup", "stopped", 1)

    def test_an_interrupt_while_a_server_is_waited_for_is_code_130(self):
        with silent_server() as (address, listener):
            command = subprocess.Popen(
                [cli_case.QUIRE, "table", "list", "--server", address],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            try:
                connection, _ = listener.accept()
                command.send_signal(signal.SIGINT)
                out, said = command.communicate(timeout=cli_case.PATIENCE)
            finally:
                command.kill()
                command.wait()
            connection.close()

        self.assertEqual((command.returncode, out), (130, b""))
        self.assertEqual(said, b"\nquire: interrupted\n")

    def test_a_wrong_verb_is_told_the_right_one(self):
        def meant(sentence, *command):
            said = self.refused(2, sentence, *command)
            self.assertRegex(said, r"\n  next: 'quire.* --help' shows how")

        meant("unknown verb 'lokup'; did you mean 'lookup'\\?", "lokup")
        meant("unknown verb 'describ'; did you mean 'describe'\\?", "table",
              "describ")
        meant("unknown verb 'zzz'\n", "zzz")
        meant("unknown option '--serverr'; did you mean '--server'\\?",
              "health", "--serverr", "x")
        meant("a verb is missing")
        meant("a verb is missing", "table")
        meant("unexpected argument 'more'", "table", "list", "more")
        meant("--output needs a value: --output table|json", "health", "-o")
        meant("'xml' is none of table, json", "health", "-o", "xml")
        meant("TABLE is required", "lookup")
        meant("'soon' is no timeout; 30, 1.5s and 5m would be", "health",
              "--timeout", "soon")

    def test_a_wrong_table_is_told_the_right_one(self):
        self.quire("table", "create", "dictionary", "--rows", 2, "--dim", 2)

        for command in (["lookup", "dictionarry", 1],
                        ["table", "describe", "dictoinary"],
                        ["export", "dictionar", "-", "-f", "csv"],
                        ["apply", "dict", 1, "--fill", 1]):
            said = self.refused(1, "there is no table", *command)
            self.assertIn("  next: 'quire table list' shows the tables\n", said)
            self.assertTrue(
                said.endswith("  did you mean 'dictionary'?\n"), said)
        said = self.refused(1, "there is no table", "lookup", "zzz", 1)
        self.assertNotIn("did you mean", said)

    def test_standard_output_that_is_full_is_an_error(self):
        self.quire("table", "create", "full", "--rows", 2, "--dim", 2)
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [cli_case.QUIRE, "lookup", "full", "0..1"], stdout=full,
                stderr=subprocess.PIPE, env=self.environment(),
                timeout=cli_case.PATIENCE)

        self.assertEqual(done.returncode, 2)
        self.assertIn(b"cannot write standard output: No space left",
                      done.stderr)

    def test_every_verb_has_help_that_fits_and_examples(self):
        def verbs(*path):
            text = self.quire(*path, "--help")
            for line in text.splitlines():
                self.assertLessEqual(len(line), 80, line)
            listed = re.search(r"\nVerbs:\n(.*?)\n(?=\n|$)", text, re.DOTALL)
            if listed is None:
                examples = text.split("\nExamples:\n")[1].split("\n\n")[0]
                self.assertGreaterEqual(
                    examples.count("quire " + " ".join(path)), 2, text)
                return [path]
            found = []
            for name in re.findall(r"(?m)^  (\w+)", listed[1]):
                found += verbs(*path, name)
            return found

        self.assertEqual(
            sorted(" ".join(path) for path in verbs()),
            ["apply", "backup", "bench", "completion bash", "export", "health",
             "import", "label find", "label get", "label set", "log dump",
             "log repair", "log status", "log verify", "lookup", "nearest",
             "row", "snapshot create", "snapshot list", "snapshot restore",
             "snapshot verify", "stats", "table alter", "table create",
             "table describe", "table drop", "table list", "table rewind",
             "table verify", "version"])


if __name__ == "__main__":
    cli_case.main()
