#!/usr/bin/env python3
"""A stock client: generated Python stubs read what the raw handlers write.

Usage: stock_client_test.py SERVER PROTO_DIR
"""

import sys
import tempfile
import time

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


def check_clock(address):
    """Two workers, one of which waits; then one that never comes."""
    import grpc
    from google.rpc import error_details_pb2, status_pb2
    from quire.v1 import admin_pb2, admin_pb2_grpc

    server = admin_pb2_grpc.ServerServiceStub(grpc.insecure_channel(address))

    def step(worker, step, **fields):
        return admin_pb2.AdvanceClockRequest(
            clock="run", workers=2, worker=worker, step=step, **fields)

    assert server.AdvanceClock(step(0, 1, max_ahead=1)).slowest_step == 0
    waiting = server.AdvanceClock.future(step(0, 2, max_ahead=1), timeout=60)
    time.sleep(0.1)
    assert not waiting.done()
    last = server.AdvanceClock(step(1, 1))
    assert (last.slowest_step, last.slowest_worker) == (1, 1), last
    assert waiting.result() == last
    try:
        server.AdvanceClock(step(0, 3), timeout=0.5)
        raise AssertionError("nobody was waited for")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE, error
        assert "worker 1 of 2 had done 1; it was last heard of 0." in \
            error.details(), error.details()
        details = status_pb2.Status.FromString(
            dict(error.trailing_metadata())["grpc-status-details-bin"])
        info = error_details_pb2.ErrorInfo()
        assert any(one.Unpack(info) for one in details.details)
        assert info.reason == "CLOCK_BEHIND", info
    left = server.AdvanceClock(step(1, 0, leave=True))
    assert (left.slowest_step, list(left.left)) == (3, [1]), left
    assert server.AdvanceClock(step(0, 4)) == admin_pb2.AdvanceClockResponse(
        slowest_step=4, slowest_worker=0, left=[1])
    end = server.AdvanceClock(step(0, 4, leave=True))
    assert not end.HasField("slowest_step") and list(end.left) == [0, 1], end


def main():
    binary, proto_dir = sys.argv[1:]
    with tempfile.TemporaryDirectory() as stubs:
        quire_process.generate_stubs(stubs, proto_dir)
        with quire_process.server(binary, "--memory-limit", "256MiB") as (
                _, address, _):
            check(address)
            check_clock(address)
    print("a stock client reads what the server writes")


if __name__ == "__main__":
    main()
