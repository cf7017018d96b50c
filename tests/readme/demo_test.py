#!/usr/bin/env python3
"""Runs examples/demo.sh as a newcomer does, and reads the story that it tells.

Usage: demo_test.py SOURCE_DIR BIN_DIR
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

LINES_MAX = 60  # more is no story

# What a newcomer must have seen, each in a line of its own.
FACTS = [
    r"imported 5,000 rows × 100 floats as table 'glove' in .*",
    r"shape \(2, 2, 100\)",
    r"king",
    r" .*\d  queen",
    r"king - man \+ woman",
    r"\$ quire lookup dictionary '\[\[2,3\],\[1,0\],\[8,6\]\]'",
    r"shape \(3, 2, 5\)",
    r"\$ quire stats",
    r"ApplyGradient .*",
]


def run_demo(source, binaries, *arguments):
    """The lines of a demo that ends with exit code 0."""
    # A kept server must not hold the pipe: then this would wait for ever.
    demo = subprocess.run(
        [source / "examples" / "demo.sh", *arguments],
        env={**os.environ, "QUIRE_BIN": str(binaries)}, cwd="/",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=60)
    assert demo.returncode == 0, f"exit code {demo.returncode}\n{demo.stdout}"
    return demo.stdout.splitlines()


def port_of(lines):
    return int(re.search(r"A server on 127\.0\.0\.1:(\d+)", lines[0])[1])


def is_listened_on(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def the_demo_tells_its_story(source, binaries):
    lines = run_demo(source, binaries)
    story = "\n".join(lines)
    assert len(lines) <= LINES_MAX, f"{len(lines)} lines\n{story}"
    for fact in FACTS:
        assert any(re.fullmatch(fact, line) for line in lines), (
            f"no line is /{fact}/\n{story}")

    losses = [float(loss) for loss in
              re.findall(r"^step \d+ +loss +([\d.]+)", story, re.MULTILINE)]
    assert len(losses) >= 4, story
    assert all(a > b for a, b in zip(losses, losses[1:])), losses
    assert losses[-1] < losses[0] / 10, losses

    assert lines[-1] == "── SIGTERM: stopped", story
    assert not is_listened_on(port_of(lines)), "the server goes on"


def with_keep_the_server_goes_on(source, binaries):
    lines = run_demo(source, binaries, "--keep")
    process = int(re.fullmatch(r"  kill (\d+)", lines[-1])[1])
    try:
        assert is_listened_on(port_of(lines)), "the server is gone"
        assert lines[-3].endswith(f"QUIRE_SERVER=127.0.0.1:{port_of(lines)}")
    finally:
        os.kill(process, signal.SIGTERM)
    for _ in range(600):
        if not is_listened_on(port_of(lines)):
            return
        time.sleep(0.05)
    raise AssertionError("the server goes on after SIGTERM")


def without_programs_it_says_so(source):
    demo = subprocess.run(
        [source / "examples" / "demo.sh"], timeout=60, text=True,
        env={**os.environ, "QUIRE_BIN": "/nonexistent"}, capture_output=True)
    assert demo.returncode == 1, demo
    assert demo.stderr.startswith("the server did not start:\n"), demo
    assert "/nonexistent/quire-server" in demo.stderr, demo


def main():
    source, binaries = map(pathlib.Path, sys.argv[1:])
    the_demo_tells_its_story(source, binaries)
    with_keep_the_server_goes_on(source, binaries)
    without_programs_it_says_so(source)
    print("the demo tells its story")


if __name__ == "__main__":
    main()
