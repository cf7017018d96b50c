#!/usr/bin/env python3
"""The server as a process that has a data directory: how long its log gets, and
how it ends.

Usage: durable_process_test.py SERVER PROTO_DIR FAILING_SYNC_LIBRARY
"""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import quire_process


class Quire:
    """A client of stock stubs; one table, whose row 0 counts its pushes."""

    def __init__(self, address, table="counter"):
        import grpc
        from quire.v1 import admin_pb2_grpc, embedding_pb2_grpc
        self.channel = grpc.insecure_channel(address)
        self.tables = admin_pb2_grpc.TableServiceStub(self.channel)
        self.rows = embedding_pb2_grpc.EmbeddingServiceStub(self.channel)
        self.server = admin_pb2_grpc.ServerServiceStub(self.channel)
        self.table = table

    def create(self, dim=64, **spec):
        from quire.v1 import admin_pb2, table_pb2
        spec = table_pb2.TableSpec(
            name=self.table, num_embeddings=64, embedding_dim=dim,
            initializer=table_pb2.Initializer(
                zeros=table_pb2.Initializer.Zeros()),
            **spec)
        spec.optimizer.learning_rate = 1
        self.tables.CreateTable(admin_pb2.CreateTableRequest(spec=spec))

    def push(self, dim=64, **options):
        from quire.v1 import embedding_pb2 as pb
        gradient = pb.Tensor(
            shape=pb.Shape(dims=[1, dim]), values=[-1.0] * dim)
        return self.rows.ApplyGradient(pb.ApplyGradientRequest(
            tables=[pb.TableGradient(table={"name": self.table},
                                     ids=pb.IdBatch(ids=[0]),
                                     gradient=gradient)], **options))

    def value(self):
        from quire.v1 import embedding_pb2 as pb
        reply = self.rows.Lookup(pb.LookupRequest(
            tables=[pb.TableLookup(table={"name": self.table},
                                   ids=pb.IdBatch(ids=[0]))]))
        return reply.tables[0].embeddings.values[0]


@contextlib.contextmanager
def quire(binary, *flags, **options):
    """A server, and a client of it: yields (process, client, log file)."""
    with quire_process.server(binary, *flags, **options) as (
            process, address, log):
        client = Quire(address)
        yield process, client, log
        client.channel.close()


def reason_of(error):
    """ErrorInfo.reason of an RpcError."""
    from google.rpc import error_details_pb2, status_pb2
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    for detail in status_pb2.Status.FromString(details).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    raise AssertionError(f"no reason: {error}")


def the_log_stays_within_its_bound(binary, _):
    import grpc
    bound = 1 << 20
    with tempfile.TemporaryDirectory() as directory:
        flags = ["--data-dir", directory, "--log-bytes-max", "1MiB"]
        log_files = pathlib.Path(directory, "log")
        pushed = 0
        with quire(binary, *flags) as (_, client, _):
            client.create(dim=1024)
            # Some four times as much as the log may have.
            while pushed < 1000:
                try:
                    client.push(dim=1024)
                    pushed += 1
                except grpc.RpcError as error:
                    assert reason_of(error) == "LOG_FULL", error
                    time.sleep(0.05)
                if pushed % 50 == 0:
                    # A segment may go while it is looked at.
                    with contextlib.suppress(FileNotFoundError):
                        size = sum(f.stat().st_size
                                   for f in log_files.iterdir())
                        assert size <= bound, size
            assert client.value() == pushed
        with quire(binary, *flags) as (_, client, _):
            assert client.value() == pushed


def sizes_that_do_not_fit_are_refused(binary, _):
    with tempfile.TemporaryDirectory() as directory:
        refused = subprocess.run(
            [binary, "--listen", "127.0.0.1:0", "--data-dir", directory,
             "--log-bytes-max", "1MiB", "--log-segment", "256KiB"],
            capture_output=True, text=True, timeout=60)
        assert refused.returncode == 2, refused
        assert "--log-segment" in refused.stderr, refused
        assert not list(pathlib.Path(directory).iterdir())


def when_the_disk_fails(binary, library, choice, ends_with):
    """Yields (process, client) when a push has met a failed sync."""
    import grpc
    from quire.v1 import table_pb2
    with tempfile.TemporaryDirectory() as directory:
        mark = pathlib.Path(directory, "failing")
        env = {**os.environ, "LD_PRELOAD": library,
               "QUIRE_TEST_FAIL_SYNC": str(mark)}
        with quire(binary, "--data-dir", str(pathlib.Path(directory, "data")),
                   *choice, env=env, ends_with=ends_with) as (
                       process, client, log):
            client.create()
            client.push(min_durability=table_pb2.DURABILITY_SYNCED)
            mark.touch()
            try:
                client.push(min_durability=table_pb2.DURABILITY_SYNCED)
                raise AssertionError("a sync that failed was acknowledged")
            except grpc.RpcError as error:
                # It is answered, not cut off.
                assert reason_of(error) == "LOG_FAILED", error
            yield process, client
            process.terminate()
            process.wait(timeout=60)
            text = log.read_text()
            assert "[error] the log has failed" in text, text
            if ends_with == 74:
                assert text.rstrip().endswith(
                    "stopped, as --on-io-error says"), text


def a_failed_disk_ends_the_server_if_it_is_told_so(binary, library):
    for process, _ in when_the_disk_fails(
            binary, library, ["--on-io-error", "exit"], 74):
        assert process.wait(timeout=60) == 74


def a_failed_disk_leaves_lookups_otherwise(binary, library):
    import grpc
    for choice in [], ["--on-io-error", "readonly"]:
        for process, client in when_the_disk_fails(
                binary, library, choice, 0):
            assert client.value() == 1
            try:
                client.push()
                raise AssertionError("a push after the failure is taken")
            except grpc.RpcError as error:
                assert reason_of(error) == "LOG_FAILED", error
            assert process.poll() is None


def memory_tables_survive_a_stop_and_go_back_to_a_save_after_a_kill(binary, _):
    from quire.v1 import admin_pb2, table_pb2
    with tempfile.TemporaryDirectory() as directory:
        flags = ["--data-dir", directory]
        with quire(binary, *flags) as (_, client, _):
            client.create(persistence=table_pb2.PERSISTENCE_MEMORY)
            for _ in range(5):
                client.push()
        # SIGTERM has ended it.
        with quire(binary, *flags, ends_with=-9) as (process, client, _):
            assert client.value() == 5
            table = client.tables.GetTable(admin_pb2.GetTableRequest(
                table=table_pb2.TableRef(name=client.table))).table
            assert table.step == 5, table
            assert abs(table.saved_unix_seconds - time.time()) < 3600, table
            for _ in range(3):
                client.push()
            client.tables.CreateSnapshot(admin_pb2.CreateSnapshotRequest())
            for _ in range(2):
                client.push()
            assert client.value() == 10
            process.kill()
            process.wait()
        with quire(binary, *flags) as (_, client, _):
            assert client.value() == 8


def a_damaged_snapshot_is_told_of_and_replaced(binary, _):
    from quire.v1 import admin_pb2
    with tempfile.TemporaryDirectory() as directory:
        with quire(binary, "--data-dir", directory,
                   "--scrub-hours", "0.00001") as (process, client, log):
            client.create()
            client.push()
            client.tables.CreateSnapshot(admin_pb2.CreateSnapshotRequest())
            files = sorted(pathlib.Path(directory, "snapshots").glob("*/*"))
            assert len(files) == 2, files
            damaged = bytearray(files[0].read_bytes())
            damaged[100] ^= 1
            files[0].write_bytes(damaged)
            whole = None
            for _ in range(6000):
                stats = client.server.GetStats(admin_pb2.GetStatsRequest()).log
                # Twice: one pass may have begun before.
                if stats.scrub.findings and not stats.damaged_snapshots:
                    whole = whole or stats.scrub.passes
                    if stats.scrub.passes > whole + 1:
                        break
                time.sleep(0.01)
            assert stats.scrub.findings == 1, stats
            assert stats.scrub.bytes_read > 0, stats
            assert abs(stats.scrub.last_pass_unix_seconds
                       - time.time()) < 3600, stats
            text = log.read_text()
            assert f"[error] the snapshot of LSN {stats.snapshot_lsn} is " \
                f"damaged: {files[0]}" in text, text
            assert files[0].read_bytes() != damaged
        with quire(binary, "--data-dir", directory,
                   "--scrub-hours", "0") as (_, client, log):
            assert client.value() == 1
            assert "passed over" not in log.read_text()
            stats = client.server.GetStats(admin_pb2.GetStatsRequest()).log
            assert not stats.HasField("scrub"), stats


def main():
    binary, proto_dir, library = sys.argv[1:]
    with tempfile.TemporaryDirectory() as stubs:
        quire_process.generate_stubs(stubs, proto_dir)
        for test in [
                the_log_stays_within_its_bound,
                sizes_that_do_not_fit_are_refused,
                a_failed_disk_ends_the_server_if_it_is_told_so,
                a_failed_disk_leaves_lookups_otherwise,
                memory_tables_survive_a_stop_and_go_back_to_a_save_after_a_kill,
                a_damaged_snapshot_is_told_of_and_replaced,
        ]:
            start = time.monotonic()
            test(binary, library)
            print(f"{test.__name__.replace('_', ' ')}: "
                  f"{time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main()
