#!/usr/bin/env python3
"""A stock client: generated Python stubs read what the raw handlers write.

Usage: stock_client_test.py SERVER PROTO_DIR
"""

import sys
import tempfile

import quire_process


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
    binary, proto_dir = sys.argv[1:]
    with tempfile.TemporaryDirectory() as stubs:
        quire_process.generate_stubs(stubs, proto_dir)
        with quire_process.server(binary, "--memory-limit", "256MiB") as (
                _, address, _):
            check(address)
    print("a stock client reads what the server writes")


if __name__ == "__main__":
    main()
