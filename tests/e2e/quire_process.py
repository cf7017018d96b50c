"""What the tests of the real server process share: stubs, and the process."""

import contextlib
import pathlib
import subprocess
import sys
import tempfile
import time


def generate_stubs(out, *proto_dirs):
    """Stubs as any Python user makes them."""
    for proto_dir in proto_dirs:
        files = [str(p) for p in pathlib.Path(proto_dir).rglob("*.proto")]
        subprocess.run(
            ["protoc", "-I", proto_dir, f"--python_out={out}",
             f"--grpc_out={out}",
             "--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin", *files],
            check=True)
    # The stubs of grpc.health.v1 lie beside the package grpc, not in it.
    sys.path.insert(0, out)
    import grpc
    grpc.__path__.append(str(pathlib.Path(out, "grpc")))


@contextlib.contextmanager
def server(binary, *flags, env=None, ends_with=0):
    """A real server on a free port: yields (process, address, log file).

    Ends it, if the test has not, and insists on how it ends.
    """
    with tempfile.TemporaryDirectory() as directory:
        port_file = pathlib.Path(directory, "port")
        log = pathlib.Path(directory, "log")
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [binary, "--listen", "127.0.0.1:0", "--port-file",
                 str(port_file), *flags], stderr=stderr, env=env)
        try:
            for _ in range(200):
                if port_file.exists():
                    break
                time.sleep(0.05)
            else:
                raise SystemExit("the server did not start within 10 s")
            port = int(port_file.read_text())
            yield process, f"127.0.0.1:{port}", log
            process.terminate()
            code = process.wait(timeout=60)
            assert code == ends_with, f"the server ended with {code}"
        finally:
            process.kill()
            process.wait()
            sys.stderr.write(log.read_text())
