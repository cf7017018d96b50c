"""A backup of a server at work, restored, is as of exactly its position."""

import contextlib
import json
import os
import pathlib
import resource
import subprocess
import tempfile
import threading
import unittest

import cli_case
from cli_case import PATIENCE, QUIRE, SERVER, wait_until


class BackupTest(unittest.TestCase):

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.dir = pathlib.Path(temporary.name)
        self.data = self.dir / "data"
        self.backups = self.dir / "backups"
        self.backups.mkdir()

    @contextlib.contextmanager
    def server(self, data=None, backups=None, file_bytes_max=None):
        """A server of `data` that makes backups in `backups`; yields how to run
        the command against it."""
        port = self.dir / "port"
        port.unlink(missing_ok=True)

        def limit():
            if file_bytes_max:
                resource.setrlimit(resource.RLIMIT_FSIZE,
                                   (file_bytes_max, file_bytes_max))
        process = subprocess.Popen(
            [SERVER, "--listen", "127.0.0.1:0", "--port-file", port,
             *(["--data-dir", data] if data else []),
             *(["--backup-dir", backups] if backups else []),
             "--log-segment", "64KiB", "--memory-limit", "64MiB"],
            stderr=subprocess.PIPE, preexec_fn=limit)
        try:
            wait_until(lambda: port.exists() or process.poll() is not None,
                       "a port, or an end")
            address = "127.0.0.1:" + port.read_text().strip()
            yield lambda *arguments: self.run_quire(*arguments,
                                                    address=address)
            process.terminate()
            self.assertEqual(process.wait(timeout=PATIENCE), 0)
        finally:
            process.kill()
            process.communicate()

    def run_quire(self, *arguments, address="127.0.0.1:1"):
        return subprocess.run(
            [QUIRE, *map(str, arguments)], capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=PATIENCE, cwd=self.dir,
            env={**os.environ, "QUIRE_SERVER": address})

    def said(self, done):
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def refused(self, done, code, sentence):
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertRegex(done.stderr, sentence)

    def create(self, quire):
        self.said(quire("table", "create", "t", "--rows", 100, "--dim", 4,
                        "--init", "zeros"))

    def rows(self, quire):
        lines = self.said(quire("lookup", "t", "0..99", "-o", "csv"))
        return {tuple(line.split(",")[1:]) for line in lines.splitlines()[1:]}

    def test_what_is_restored_has_the_pushes_up_to_the_position(self):
        lsns = []
        with self.server(self.data, self.backups) as quire:
            self.create(quire)
            stop = threading.Event()

            def push():
                while not stop.is_set():
                    done = json.loads(self.said(quire(
                        "apply", "t", "0..99", "--fill", -1, "--lr", 1, "-o",
                        "json")))
                    lsns.append(done["position"]["lsn"])
            threads = [threading.Thread(target=push) for _ in range(2)]
            for thread in threads:
                thread.start()
            backups = []
            for i in range(3):
                wanted = len(lsns) + 15
                wait_until(lambda: len(lsns) >= wanted, "more pushes")
                backups.append(json.loads(self.said(quire(
                    "backup", f"backup{i}", "-o", "json"))))
            stop.set()
            for thread in threads:
                thread.join()
            identity = self.identity(self.data)
        for i, backup in enumerate(backups):
            data = self.dir / f"restored{i}"
            restored = json.loads(self.said(self.run_quire(
                "snapshot", "restore", self.backups / f"backup{i}",
                "--data-dir", data, "-o", "json")))
            self.assertEqual((restored["epoch"], restored["lsn"]),
                             (backup["epoch"], backup["lsn"]))
            self.assertNotEqual(self.identity(data), identity)
            expected = sum(lsn <= backup["lsn"] for lsn in lsns)
            self.assertGreaterEqual(expected, 15)
            with self.server(data) as quire:
                self.assertEqual(self.rows(quire), {(str(expected),) * 4})
                self.said(quire("apply", "t", 1, "--fill", 1))
        self.said(self.run_quire("log", "verify", "--data-dir", self.data))

    def identity(self, data):
        return json.loads(self.said(self.run_quire(
            "log", "status", "--data-dir", data, "-o", "json")))["identity"]

    def test_where_no_backup_can_be_is_refused_and_nothing_made(self):
        full = self.backups / "full"
        full.mkdir()
        (full / "file").write_text("mine")
        elsewhere = self.dir / "elsewhere"
        elsewhere.mkdir()
        (self.backups / "link").symlink_to(elsewhere)
        (self.backups / "file").write_text("mine")
        with self.server(self.data, self.backups) as quire:
            self.create(quire)
            for name in ("", "..", "../elsewhere", elsewhere, "full/inner",
                         ".hidden", "a b"):
                self.refused(quire("backup", name), 1,
                             r"is not \[A-Za-z0-9\].* not a path")
            for name, sentence in (
                    ("full", "has a file \"file\""),
                    ("file", "a file or a symbolic link is of no use"),
                    ("link", "a file or a symbolic link is of no use")):
                self.refused(quire("backup", name), 1, sentence)
            self.refused(quire("backup"), 2, "NAME is required")
            self.assertEqual(sorted(os.listdir(self.backups)),
                             ["file", "full", "link"])
            self.assertEqual(os.listdir(full), ["file"])
            self.assertEqual(os.listdir(elsewhere), [])
            empty = self.backups / "empty"
            empty.mkdir()
            self.said(quire("backup", "empty"))
            self.refused(quire("backup", "empty"), 1, "has a file")
        self.assertEqual(sorted(os.listdir(self.dir)),
                         ["backups", "data", "elsewhere", "port"])
        self.refused(self.run_quire("snapshot", "restore", empty,
                                    "--data-dir", full), 78, "has a file")
        self.refused(self.run_quire("snapshot", "restore", self.data,
                                    "--data-dir", self.dir / "new"), 78,
                     "it is no backup")
        self.assertFalse((self.dir / "new").exists())

    def test_a_server_without_a_directory_for_backups_makes_none(self):
        for data in (None, self.data):
            with self.server(data) as quire:
                self.refused(quire("backup", "monday"), 1,
                             "started without --backup-dir")
        self.assertEqual(os.listdir(self.backups), [])

    def test_a_directory_for_backups_that_cannot_be_is_refused_at_the_start(
            self):
        (self.dir / "file").write_text("mine")
        started = self.dir / "started"
        with self.server(started):
            pass

        def refuses(sentence, backups, data):
            done = subprocess.run(
                [SERVER, "--listen", "127.0.0.1:0",
                 *(["--data-dir", data] if data else [])],
                env={**os.environ, "QUIRE_BACKUP_DIR": str(backups)},
                capture_output=True, text=True, timeout=PATIENCE)
            self.refused(done, 2, "^quire-server: .*" + sentence)
        for backups in (self.dir / "missing", self.dir / "file"):
            refuses("not there, or no directory", backups, self.data)
        for backups in (started, started / "log"):
            refuses("lies in the data directory", backups, started)
        refuses("and no --data-dir", self.backups, None)
        # Before anything is made.
        self.assertFalse(self.data.exists())
        self.assertFalse((self.dir / "missing").exists())

    def test_a_server_starts_on_no_backup(self):
        with self.server(self.data, self.backups) as quire:
            self.create(quire)
            self.said(quire("backup", "monday"))
        done = subprocess.run(
            [SERVER, "--listen", "127.0.0.1:0", "--data-dir",
             self.backups / "monday"],
            capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 78)
        self.assertIn("quire snapshot restore", done.stderr)

    def test_memory_tables_come_along_without_rows_and_labels(self):
        def content(quire):
            return (self.said(quire("lookup", "m", "0..1", "-o", "csv")),
                    self.said(quire("label", "get", "m", 0, 1, "-o", "csv")))
        with self.server(self.data, self.backups) as quire:
            self.said(quire("table", "create", "m", "--rows", 2, "--dim", 2,
                            "--init", "zeros", "--memory"))
            initial = content(quire)
            self.said(quire("apply", "m", 1, "--fill", -1, "--lr", 1))
            self.said(quire("label", "set", "m", "0=king"))
            changed = content(quire)
            # The data directory has them: it is not that nothing was saved.
            self.said(quire("snapshot", "create"))
            self.said(quire("backup", "monday"))
            self.assertEqual(content(quire), changed)
        self.assertFalse((self.backups / "monday" / "memory").exists())
        restored = self.dir / "restored"
        self.said(self.run_quire("snapshot", "restore", self.backups / "monday",
                                 "--data-dir", restored))
        with self.server(restored) as quire:
            self.assertEqual(content(quire), initial)
        with self.server(self.data) as quire:
            self.assertEqual(content(quire), changed)
        self.assertNotEqual(initial[0], changed[0])
        self.assertNotEqual(initial[1], changed[1])

    def test_a_disk_that_is_full_leaves_no_backup(self):
        with self.server(self.data, self.backups,
                         file_bytes_max=1 << 20) as quire:
            self.said(quire("table", "create", "t", "--rows", 10000, "--dim",
                            64))
            # Rows that were never changed take no room.
            self.said(quire("apply", "t", "0..99", "--fill", 1))
            self.refused(quire("backup", "monday"), 1, "File too large")
            self.assertEqual(os.listdir(self.backups), [])
            self.said(quire("apply", "t", 1, "--fill", 1))


if __name__ == "__main__":
    cli_case.main()
