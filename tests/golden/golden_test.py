"""Every data directory that was ever written is opened by today's server.

Usage: golden_test.py SERVER QUIRE [--make NAME]

data-NAME.tar.gz is a data directory as kill -9 left it, with a snapshot and a
log behind it; data-NAME.json is what its tables hold. A server of today must
find the same. --make writes a new pair: once for each version of the format,
never again.
"""

import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SERVER, QUIRE = (pathlib.Path(path).resolve() for path in sys.argv[1:3])
PATIENCE = 60


class Server:
    """One of a data directory, on a port of its own."""

    def __init__(self, directory):
        self.port_file = directory / "port"
        self.process = subprocess.Popen(
            [SERVER, "--listen", "127.0.0.1:0", "--port-file", self.port_file,
             "--data-dir", directory / "data", "--log-segment", "64KiB",
             "--memory-limit", "64MiB"])
        deadline = time.monotonic() + PATIENCE
        while not self.port_file.exists():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.kill()
                raise AssertionError("the server does not start")
            time.sleep(0.01)

    def quire(self, *arguments):
        environment = {**os.environ, "QUIRE_SERVER":
                       f"127.0.0.1:{self.port_file.read_text().strip()}"}
        return subprocess.run([QUIRE, *map(str, arguments)], env=environment,
                              check=True, capture_output=True, text=True,
                              timeout=PATIENCE).stdout

    def kill(self):
        self.process.kill()
        self.process.wait()


def contents(server):
    """All that the tables hold, but for what counts requests."""
    found = {}
    for table in json.loads(server.quire("table", "list", "-o", "json")):
        name = table["spec"]["name"]
        table = json.loads(server.quire("table", "describe", name, "-o", "json"))
        table.pop("stats", None)
        last = int(table["spec"]["num_embeddings"]) - 1
        rows = json.loads(
            server.quire("lookup", name, f"0..{last}", "-o", "json"))
        rows.pop("position", None)  # another one with each start
        labels = server.quire("label", "get", name, f"0..{last}", "-o", "json")
        found[name] = {"table": table, "rows": rows,
                       "labels": json.loads(labels)}
    return found


def drop_what_is_new(found, expected):
    """Of tables a later server says more; what it said it still says."""
    for name in found.keys() & expected.keys():
        table = found[name]["table"]
        for field in table.keys() - expected[name]["table"].keys():
            del table[field]


def make(name):
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        server = Server(directory)
        try:
            server.quire("table", "create", "adagrad", "--rows", 20, "--dim", 3,
                         "--optimizer", "adagrad", "--lr", 0.5)
            server.quire("table", "create", "adam", "--rows", 9, "--dim", 5,
                         "--optimizer", "adam", "--padding-idx", 0)
            server.quire("label", "set", "adam", "2=cat", "3=dog")
            for table, dim in (("adagrad", 3), ("adam", 5)):
                server.quire("apply", table, "[[1,2],[1,5]]", "--fill", 0.25)
            server.quire("snapshot", "create")
            for table in ("adagrad", "adam"):
                server.quire("apply", table, "[5,7,7]", "--fill", -0.5,
                             "--durability", "synced")
            server.quire("table", "alter", "adagrad", "--lr", 0.125)
            server.quire("label", "set", "adam", "3=hound")
            expected = contents(server)
        finally:
            server.kill()
        with tarfile.open(HERE / f"data-{name}.tar.gz", "x:gz") as archive:
            archive.add(directory / "data", "data")
        (HERE / f"data-{name}.json").write_text(
            json.dumps(expected, indent=1, sort_keys=True) + "\n")


def main():
    if "--make" in sys.argv:
        make(sys.argv[sys.argv.index("--make") + 1])
        return
    archives = sorted(HERE.glob("data-*.tar.gz"))
    assert archives, "there are no golden directories"
    for archive in archives:
        expected = json.loads(archive.with_name(
            archive.name.replace(".tar.gz", ".json")).read_text())
        with tempfile.TemporaryDirectory() as directory:
            directory = pathlib.Path(directory)
            with tarfile.open(archive) as packed:
                packed.extractall(directory)
            # Twice: what the first start leaves is opened as well.
            for start in ("first", "second"):
                server = Server(directory)
                try:
                    found = contents(server)
                finally:
                    server.kill()
                    server.port_file.unlink()
                drop_what_is_new(found, expected)
                assert found == expected, (archive.name, start, found)
    print(f"{len(archives)} golden directories hold what they held")


if __name__ == "__main__":
    main()
