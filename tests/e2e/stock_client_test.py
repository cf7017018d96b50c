#!/usr/bin/env python3
"""A stock client: generated Python stubs read what the raw handlers write.

Usage: stock_client_test.py SERVER PROTO_DIR
"""

import pathlib
import subprocess
import sys
import tempfile
import time


def generate_stubs(proto_dir, out):
    """Stubs as any Python user makes them."""
    files = [str(p) for p in pathlib.Path(proto_dir).rglob("*.proto")]
    subprocess.run(
        ["protoc", "-I", proto_dir, f"--python_out={out}", f"--grpc_out={out}",
         "--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin", *files],
        check=True)
    sys.path.insert(0, out)


def start_server(binary, directory):
    """A real server on a free port: (process, address)."""
    port_file = pathlib.Path(directory, "port")
    process = subprocess.Popen(
        [binary, "--listen", "127.0.0.1:0", "--port-file", str(port_file),
         "--memory-limit", "256MiB"])
    for _ in range(200):
        if port_file.exists():
            return process, f"127.0.0.1:{int(port_file.read_text())}"
        time.sleep(0.05)
    process.kill()
    raise SystemExit("the server did not start within 10 s")


def check(address):
    import grpc
    from quire.v1 import admin_pb2, admin_pb2_grpc, embedding_pb2
    from quire.v1 import embedding_pb2_grpc, table_pb2

    channel = grpc.insecure_channel(address)
    tables = admin_pb2_grpc.TableServiceStub(channel)
    rows = embedding_pb2_grpc.EmbeddingServiceStub(channel)
    spec = table_pb2.TableSpec(
        name="dictionary", num_embeddings=10, embedding_dim=5)
    tables.CreateTable(admin_pb2.CreateTableRequest(spec=spec))
    table = table_pb2.TableRef(name="dictionary")
    ids = embedding_pb2.IdBatch(
        ids=[2, 3, 1, 0, 8, 6], shape=embedding_pb2.Shape(dims=[3, 2]))

    def lookup():
        request = embedding_pb2.LookupRequest(
            tables=[embedding_pb2.TableLookup(table=table, ids=ids)])
        return rows.Lookup(request).tables[0].embeddings

    before = lookup()
    assert list(before.shape.dims) == [3, 2, 5], before.shape
    assert len(before.values) == 30

    gradient = embedding_pb2.Tensor(shape=before.shape, values=[1.0] * 30)
    push = embedding_pb2.ApplyGradientRequest(
        tables=[embedding_pb2.TableGradient(
            table=table, ids=ids, gradient=gradient, learning_rate=0.5)])
    pushed = rows.ApplyGradient(push).tables[0]
    assert (pushed.rows_changed, pushed.step) == (6, 1), pushed
    after = lookup()
    for old, new in zip(before.values, after.values):
        assert abs(new - (old - 0.5)) < 1e-6, (old, new)

    ids.ids[3] = 10
    try:
        lookup()
        raise AssertionError("id 10 was accepted")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.OUT_OF_RANGE, error
        assert "id 10 at position 3" in error.details(), error.details()


def main():
    server, proto_dir = sys.argv[1:]
    with tempfile.TemporaryDirectory() as directory:
        generate_stubs(proto_dir, directory)
        process, address = start_server(server, directory)
        try:
            check(address)
        finally:
            process.terminate()
            code = process.wait(timeout=30)
        assert code == 0, f"the server ended with {code}"
    print("a stock client reads what the server writes")


if __name__ == "__main__":
    main()
