"""Verbs that look at a data directory by themselves, and repair it."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import cli_case
from cli_case import PATIENCE, QUIRE, SERVER, wait_until


def contents(directory):
    """Every file with its bytes, and when it was changed."""
    return {path.relative_to(directory): (path.read_bytes(),
                                          path.stat().st_mtime_ns)
            for path in sorted(directory.rglob("*")) if path.is_file()}


class DataDirectoryTest(unittest.TestCase):

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.dir = pathlib.Path(temporary.name)
        self.data = self.dir / "data"

    def start(self, data):
        """A server of `data`: (process, its address once it listens)."""
        port = self.dir / "port"
        port.unlink(missing_ok=True)
        process = subprocess.Popen(
            [SERVER, "--listen", "127.0.0.1:0", "--port-file", port,
             "--data-dir", data, "--log-segment", "64KiB", "--memory-limit",
             "64MiB"], stderr=subprocess.PIPE)
        wait_until(lambda: port.exists() or process.poll() is not None,
                   "a port, or an end")
        return process, port

    @contextlib.contextmanager
    def server(self, data=None):
        process, port = self.start(data or self.data)
        try:
            self.address = "127.0.0.1:" + port.read_text().strip()
            yield process
            process.terminate()
            self.assertEqual(process.wait(timeout=PATIENCE), 0)
        finally:
            process.kill()
            process.communicate()

    def run_quire(self, *arguments):
        return subprocess.run(
            [QUIRE, *map(str, arguments)], capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=PATIENCE, cwd=self.dir,
            env={**os.environ, "QUIRE_SERVER": getattr(
                self, "address", "127.0.0.1:1")})

    def quire(self, *arguments):
        done = self.run_quire(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
        return done.stdout

    def json(self, *arguments):
        return json.loads(self.quire(*arguments, "-o", "json"))

    def refused(self, code, sentence, *arguments):
        done = self.run_quire(*arguments)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stderr}")
        self.assertRegex(done.stderr, sentence)
        return done.stderr

    def live(self, pushes, snapshot=False):
        """A start of a server that pushes 1 to the row 0, again and again."""
        with self.server():
            self.quire("table", "create", "t", "--rows", 1000, "--dim", 16,
                       "--init", "zeros", "--if-exists", "verify")
            for _ in range(pushes):
                self.quire("apply", "t", "0..99", "--fill", -1, "--lr", 1)
            if snapshot:
                self.quire("snapshot", "create")

    def segments(self):
        return sorted((self.data / "log").glob("*.log"))

    def damage(self, lsn):
        """Flips a bit of the record's payload; (segment, its place)."""
        for segment in self.segments():
            content = bytearray(segment.read_bytes())
            for at in range(512, len(content) - 64, 64):
                if (content[at:at + 4] == b"QREC" and content[at + 5] != 0
                        and content[at + 16:at + 24]
                        == lsn.to_bytes(8, "little")):
                    content[at + 100] ^= 1
                    segment.write_bytes(content)
                    return segment.name, at
        raise AssertionError(f"there is no record {lsn}")

    def test_status_and_verify_tell_what_there_is_and_change_nothing(self):
        self.live(3, snapshot=True)
        self.live(2)
        before = contents(self.data)

        status = self.json("log", "status", "--data-dir", self.data)
        text = self.quire("log", "status", "--data-dir", self.data)
        verified = self.json("log", "verify", "--data-dir", self.data)
        snapshot, = self.json("snapshot", "list", "--data-dir", self.data)
        whole, = self.json("snapshot", "verify", "--data-dir", self.data)

        self.assertEqual(contents(self.data), before)
        self.assertEqual(status["epoch"], 2)
        self.assertFalse(status["in_use"])
        self.assertEqual(status["first_lsn"], 1)
        self.assertEqual(status["oldest_lsn"], 1)
        self.assertEqual(status["start"]["snapshot_lsn"], snapshot["lsn"])
        self.assertEqual(status["start"]["snapshot_bytes"], snapshot["bytes"])
        self.assertIn(f"LSN 1 to {status['last_lsn']}", text)
        self.assertEqual(verified["state"], "whole")
        self.assertEqual(verified["records"], status["last_lsn"])
        self.assertEqual(snapshot["tables"][0]["name"], "t")
        self.assertEqual(snapshot["tables"][0]["step"], 3)
        self.assertGreater(whole["chunks"], 0)
        self.assertIn("is whole: 1 table", self.quire(
            "snapshot", "verify", "--data-dir", self.data, "--lsn",
            snapshot["lsn"]))

    def test_beside_a_server_they_work_as_well(self):
        with self.server():
            self.quire("table", "create", "t", "--rows", 1000, "--dim", 16)
            for _ in range(20):
                self.quire("apply", "t", "0..99", "--fill", 1)
                status = self.json("log", "status", "--data-dir", self.data)
                self.assertTrue(status["in_use"])
                self.json("log", "verify", "--data-dir", self.data)
            self.assertGreaterEqual(status["last_lsn"], 21)
            self.refused(75, "a server has the data directory",
                         "log", "repair", "--data-dir", self.data)
            self.refused(75, "another process has the directory",
                         "log", "repair", "--data-dir", self.data,
                         "--accept-loss")

    def test_dump_prints_a_line_for_each_record(self):
        self.live(3)

        lines = self.quire("log", "dump", "--data-dir", self.data,
                           "--from", 2, "--ids").splitlines()
        records = [json.loads(line) for line in self.quire(
            "log", "dump", "--data-dir", self.data, "-o",
            "jsonl").splitlines()]

        pushes = [r for r in records if r["type"] == "push"]
        self.assertEqual([r["lsn"] for r in records],
                         list(range(1, len(records) + 1)))
        self.assertEqual(len(pushes), 3)
        self.assertEqual(pushes[0]["tables"][0]["name"], "t")
        self.assertEqual(pushes[0]["tables"][0]["id_count"], 100)
        self.assertNotIn("ids", pushes[0]["tables"][0])
        self.assertEqual(pushes[0]["sequence"], 1)
        self.assertRegex(pushes[0]["session"], "^[0-9a-f]{32}$")
        self.assertEqual(len(lines), len(records))  # a title, without one
        self.assertIn("t[0,1,2,3,", "".join(lines))
        self.refused(2, "there are no records", "log", "dump", "--data-dir",
                     self.data, "--from", 5, "--to", 4)

    def test_a_damaged_log_is_told_and_repaired_and_the_server_starts(self):
        self.live(12)
        records = [json.loads(line) for line in self.quire(
            "log", "dump", "--data-dir", self.data, "-o",
            "jsonl").splitlines()]
        cut = [r["lsn"] for r in records if r["type"] == "push"][7]
        segment, at = self.damage(cut)
        process, _ = self.start(self.data)
        said = process.communicate(timeout=PATIENCE)[1].decode()
        self.assertEqual(process.returncode, 65)
        self.assertIn(f"'quire log verify --data-dir {self.data}'", said)
        before = contents(self.data)

        said = self.refused(65, f"{segment} at {at}", "log", "verify",
                            "--data-dir", self.data)
        self.assertIn(f"'quire log repair --data-dir {self.data}'", said)
        self.assertIn(f"From LSN {cut} on", said)
        said = self.refused(65, "With --accept-loss that is done", "log",
                            "repair", "--data-dir", self.data)
        self.assertIn(f"keeps all before LSN {cut}", said)
        self.assertEqual(contents(self.data), before)

        done = self.json("log", "repair", "--data-dir", self.data,
                         "--accept-loss")

        self.assertEqual(done["cut_lsn"], cut)
        self.assertEqual(done["last_lost_lsn"], records[-1]["lsn"])
        lost = pathlib.Path(done["lost"])
        self.assertEqual(lost, self.data / f"lost-{cut}")
        self.assertEqual((lost / segment).read_bytes(),
                         before[pathlib.Path("log", segment)][0])
        self.assertEqual(self.json("log", "verify", "--data-dir",
                                   self.data)["last_lsn"], cut - 1)
        with self.server():
            rows = self.quire("lookup", "t", "0..1", "-o", "csv").splitlines()
            self.assertEqual([row.split(",")[1:] for row in rows[1:]],
                             [["7"] * 16] * 2)
        self.refused(2, "nothing to repair", "log", "repair", "--data-dir",
                     self.data)

    def test_a_damaged_snapshot_is_told(self):
        self.live(2, snapshot=True)
        file = next((self.data / "snapshots").glob("*/*.chunks"))
        content = bytearray(file.read_bytes())
        content[200] ^= 4
        file.write_bytes(content)

        self.refused(65, re.escape(str(file)), "snapshot", "verify",
                     "--data-dir", self.data)
        self.refused(2, "no snapshot of LSN 999", "snapshot", "verify",
                     "--data-dir", self.data, "--lsn", 999)

    def test_what_is_no_data_directory_is_refused(self):
        (self.dir / "empty").mkdir()
        for verb in (("log", "status"), ("log", "verify"), ("log", "dump"),
                     ("log", "repair"), ("snapshot", "list"),
                     ("snapshot", "verify")):
            self.refused(2, "there is no directory", *verb, "--data-dir",
                         self.dir / "missing")
            self.refused(78, "it is no data directory", *verb, "--data-dir",
                         self.dir / "empty")
            self.refused(2, "--data-dir is required", *verb)
        self.assertEqual(list((self.dir / "empty").iterdir()), [])


if __name__ == "__main__":
    cli_case.main()
