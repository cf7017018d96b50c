#!/usr/bin/env python3
"""Holds the session in README.md against the program.

Usage: session_test.py [--write] [BIN_DIR]      default: build/release/bin

Starts a server on a free port, types what README.md types, and compares what
is printed word for word. --write puts what is printed into README.md.

The session is README.md's one ```console block: "$ " and a command, then what
it prints. Before it comes a ```sh block that starts a server; what follows
there is typed too, but its output, which tells the time, is not in README.md.
"""

import contextlib
import difflib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
README = SOURCE / "README.md"
SESSION = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BEFORE = re.compile(r"^quire-server &\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@contextlib.contextmanager
def real_server(binaries):
    """A server on a free port; yields its address."""
    with tempfile.TemporaryDirectory() as directory:
        port_file = pathlib.Path(directory, "port")
        log = pathlib.Path(directory, "log")
        with log.open("w") as log_file:
            process = subprocess.Popen(
                [binaries / "quire-server", "--listen", "127.0.0.1:0",
                 "--port-file", port_file, "--memory-limit", "256MiB"],
                stderr=log_file)
        try:
            for _ in range(200):
                if port_file.exists() or process.poll() is not None:
                    break
                time.sleep(0.05)
            assert port_file.exists(), f"no server\n{log.read_text()}"
            yield f"127.0.0.1:{int(port_file.read_text())}"
        finally:
            process.terminate()
            code = process.wait(timeout=30)
        assert code == 0, f"the server ended with {code}\n{log.read_text()}"


def type_command(command, binaries, address):
    """What a command prints, with the complaints that a terminal mixes in."""
    environment = {
        "PATH": f"{binaries}:/usr/bin:/bin", "LANG": "C.UTF-8",
        "HOME": os.environ.get("HOME", "/"), "QUIRE_SERVER": address}
    return subprocess.run(
        ["bash", "-c", command], cwd=SOURCE, timeout=60,
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)


def play(session, before, binaries):
    """The session as the program of today prints it."""
    with real_server(binaries) as address:
        for command in before.splitlines():
            result = type_command(command, binaries, address)
            assert result.returncode == 0, f"{command}\n{result.stdout}"
        commands = [line for line in session.splitlines()
                    if line.startswith("$ ")]
        # An empty line sets a command apart from what came before.
        return "\n".join(
            f"{line}\n{type_command(line[2:], binaries, address).stdout}"
            for line in commands)


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--write"]
    binaries = pathlib.Path(
        arguments[0] if arguments else SOURCE / "build/release/bin").resolve()
    readme = README.read_text()
    sessions = SESSION.findall(readme)
    assert len(sessions) == 1, f"{len(sessions)} sessions in README.md"
    session = sessions[0]
    assert session.startswith("$ quire "), session
    played = play(session, BEFORE.search(readme)[1], binaries)

    if played == session:
        print("README.md's session is what the program prints")
    elif "--write" in sys.argv:
        README.write_text(readme.replace(session, played))
        print("README.md has a new session")
    else:
        sys.stdout.writelines(difflib.unified_diff(
            session.splitlines(True), played.splitlines(True),
            "README.md", "the program"))
        raise SystemExit("If the program is right: tests/readme/"
                         "session_test.py --write")


if __name__ == "__main__":
    main()
