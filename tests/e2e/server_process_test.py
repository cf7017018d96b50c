#!/usr/bin/env python3
"""The server as a process, by stock stubs: health, reflection, what it logs,
and how it ends on SIGTERM.

Usage: server_process_test.py SERVER PROTO_DIR
"""

import re
import subprocess
import sys
import tempfile
import threading
import time

import quire_process

SERVICES = ["quire.v1.EmbeddingService", "quire.v1.TableService",
            "quire.v1.ServerService"]


def refused(call):
    """The RpcError of a call that must fail."""
    import grpc
    try:
        answer = call()
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"was answered: {answer}")


def create(channel, name, rows, dim):
    from quire.v1 import admin_pb2, admin_pb2_grpc, table_pb2
    tables = admin_pb2_grpc.TableServiceStub(channel)
    spec = table_pb2.TableSpec(
        name=name, num_embeddings=rows, embedding_dim=dim)
    tables.CreateTable(admin_pb2.CreateTableRequest(spec=spec))
    table = admin_pb2.GetTableRequest(table=table_pb2.TableRef(name=name))
    for _ in range(600):
        if tables.GetTable(table).table.filled == 1:
            return
        time.sleep(0.05)
    raise AssertionError(f"{name} is not filled within 30 s")


def health_is_served_for_the_server_and_each_service(binary):
    import grpc
    from grpc.health.v1 import health_pb2, health_pb2_grpc
    with quire_process.server(binary) as (_, address, _):
        channel = grpc.insecure_channel(address)
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ["", *SERVICES]:
            answer = stub.Check(
                health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        error = refused(lambda: stub.Check(
            health_pb2.HealthCheckRequest(service="quire.v1.Nothing")))
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
        channel.close()


def reflection_lists_and_describes_the_services(binary):
    import grpc
    from google.protobuf import descriptor_pb2
    from grpc.reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
    with quire_process.server(binary) as (_, address, _):
        channel = grpc.insecure_channel(address)
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        requests = [reflection_pb2.ServerReflectionRequest(list_services="")]
        requests += [reflection_pb2.ServerReflectionRequest(
            file_containing_symbol=service) for service in SERVICES]
        answers = list(stub.ServerReflectionInfo(iter(requests)))
        listed = {s.name for s in answers[0].list_services_response.service}
        assert listed >= {*SERVICES, "grpc.health.v1.Health"}, listed
        for service, answer in zip(SERVICES, answers[1:]):
            files = answer.file_descriptor_response.file_descriptor_proto
            described = {
                f"{file.package}.{s.name}"
                for file in map(
                    descriptor_pb2.FileDescriptorProto.FromString, files)
                for s in file.service}
            assert service in described, described
        channel.close()


def what_libraries_log_are_lines_of_the_servers_log(binary):
    import grpc
    from quire.v1 import embedding_pb2
    line = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\] \[quire\] "
                      r"\[(info|warning|error|critical)\] (\S.*)")
    with quire_process.server(binary) as (process, address, log):
        channel = grpc.insecure_channel(address)
        raw = channel.unary_unary("/quire.v1.EmbeddingService/Lookup")
        # tables { table { name: bytes that are not UTF-8 } }
        for _ in range(20):
            error = refused(lambda: raw(b"\x1a\x06\x0a\x04\x0a\x02\xff\xfe"))
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        # gRPC logs each request whose compression the server refuses.
        request = embedding_pb2.LookupRequest().SerializeToString()
        for _ in range(20):
            error = refused(lambda: raw(
                request + bytes(1000), compression=grpc.Compression.Gzip))
            assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
        channel.close()
        process.terminate()
        process.wait(timeout=30)
        lines = log.read_text().splitlines()
        for text in lines:
            assert line.fullmatch(text), f"no line of our log: {text}"
        # A client's mistakes are answered, not logged.
        assert not [t for t in lines if "UTF-8" in t], lines
        # What gRPC says is logged once, not once for each request.
        grpc_lines = [t for t in lines if "gRPC" in t]
        assert len(grpc_lines) == 1, lines
        assert line.fullmatch(grpc_lines[0])[1] == "warning", grpc_lines
        assert "'gzip' is disabled" in grpc_lines[0], grpc_lines


class Watcher:
    """What grpc.health.v1.Health/Watch tells, as it comes."""

    def __init__(self, address):
        import grpc
        from grpc.health.v1 import health_pb2, health_pb2_grpc
        stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(address))
        self._stream = stub.Watch(health_pb2.HealthCheckRequest())
        self._names = health_pb2.HealthCheckResponse.ServingStatus
        self._changed = threading.Condition()
        self._seen = []
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        import grpc
        try:
            for answer in self._stream:
                with self._changed:
                    self._seen.append(self._names.Name(answer.status))
                    self._changed.notify_all()
        except grpc.RpcError:
            pass  # the server has ended

    def wait_for(self, status):
        with self._changed:
            assert self._changed.wait_for(
                lambda: status in self._seen, timeout=30), self._seen


def sigterm_does_not_wait_for_idle_clients(binary):
    """They learn that the server goes when they look up, every five seconds,
    and each end took that long."""
    import grpc
    from quire.v1 import admin_pb2, admin_pb2_grpc

    def seconds_to_end():
        with quire_process.server(binary) as (process, address, _):
            channel = grpc.insecure_channel(address)
            admin_pb2_grpc.ServerServiceStub(channel).GetServerInfo(
                admin_pb2.GetServerInfoRequest())
            start = time.monotonic()
            process.terminate()
            process.wait(timeout=60)
            channel.close()
            return time.monotonic() - start

    # A busy machine may be slow for once.
    assert any(seconds_to_end() < 3 for _ in range(3))


def sigterm_lets_the_call_in_flight_finish(binary):
    import grpc
    from grpc.health.v1 import health_pb2, health_pb2_grpc
    from quire.v1 import admin_pb2, admin_pb2_grpc
    from quire.v1 import embedding_pb2, embedding_pb2_grpc, table_pb2
    with quire_process.server(binary, "--memory-limit", "512MiB",
                              "--drain-seconds", "60") as (
                                  process, address, log):
        channel = grpc.insecure_channel(address)
        create(channel, "large", 300_000, 128)
        stub = embedding_pb2_grpc.EmbeddingServiceStub(channel)
        watcher = Watcher(address)
        watcher.wait_for("SERVING")

        def scan(queries):
            return embedding_pb2.NearestRequest(
                table=table_pb2.TableRef(name="large"), k=3,
                ids=range(queries))

        # As many queries as take some two seconds here.
        start = time.monotonic()
        stub.Nearest(scan(8))
        queries = int(16 / (time.monotonic() - start)) + 1
        in_flight = stub.Nearest.future(scan(min(queries, 1024)))
        # It has arrived when a later call of its connection is answered.
        admin_pb2_grpc.ServerServiceStub(channel).GetServerInfo(
            admin_pb2.GetServerInfoRequest())
        assert not in_flight.done(), "too short to be interrupted"

        process.terminate()
        watcher.wait_for("NOT_SERVING")
        # Calls on connections old and new are refused while it drains, and
        # asked for its health it says so.
        refusals = 0
        while not in_flight.done():
            for late in (channel, grpc.insecure_channel(address)):
                error = refused(
                    lambda: embedding_pb2_grpc.EmbeddingServiceStub(
                        late).Lookup(embedding_pb2.LookupRequest()))
                health = health_pb2_grpc.HealthStub(late)
                if in_flight.done():
                    break  # the port closes about now
                assert error.code() == grpc.StatusCode.UNAVAILABLE, error
                assert "stopping" in error.details(), error
                try:
                    answer = health.Check(health_pb2.HealthCheckRequest())
                    assert answer.status == (
                        health_pb2.HealthCheckResponse.NOT_SERVING), answer
                except grpc.RpcError:
                    assert in_flight.done()
                refusals += 1
        assert refusals > 0
        answer = in_flight.result()
        assert len(answer.queries) == min(queries, 1024)
        assert all(len(q.ids) == 3 for q in answer.queries)
        ended = time.monotonic()
        assert process.wait(timeout=60) == 0
        # A stream that only listens is not worth waiting for.
        assert time.monotonic() - ended < 20, "the drain waited for a Watch"
        assert log.read_text().rstrip().endswith("stopped"), log.read_text()


def a_sigterm_while_it_recovers_ends_it_well(binary):
    import grpc
    from quire.v1 import admin_pb2, admin_pb2_grpc
    with tempfile.TemporaryDirectory() as directory:
        flags = ["--data-dir", directory, "--memory-limit", "512MiB"]
        with quire_process.server(binary, *flags) as (_, address, _):
            channel = grpc.insecure_channel(address)
            create(channel, "large", 300_000, 128)
            channel.close()
        # As soon as it says that it recovers: which it then mostly still does.
        process = subprocess.Popen(
            [binary, "--listen", "127.0.0.1:0", *flags],
            stderr=subprocess.PIPE, text=True)
        try:
            log = process.stderr.readline()
            assert "listening on 127.0.0.1:" in log, log
            process.terminate()
            log += process.communicate(timeout=60)[1]
        finally:
            process.kill()
        assert process.returncode == 0, log
        assert log.rstrip().endswith("stopped"), log
        with quire_process.server(binary, *flags) as (_, address, _):
            channel = grpc.insecure_channel(address)
            tables = admin_pb2_grpc.TableServiceStub(channel).ListTables(
                admin_pb2.ListTablesRequest()).tables
            assert [t.spec.name for t in tables] == ["large"], tables
            channel.close()


def main():
    binary, proto_dir = sys.argv[1:]
    with tempfile.TemporaryDirectory() as stubs:
        quire_process.generate_stubs(stubs, proto_dir)
        for test in [
                health_is_served_for_the_server_and_each_service,
                reflection_lists_and_describes_the_services,
                what_libraries_log_are_lines_of_the_servers_log,
                sigterm_does_not_wait_for_idle_clients,
                sigterm_lets_the_call_in_flight_finish,
                a_sigterm_while_it_recovers_ends_it_well]:
            start = time.monotonic()
            test(binary)
            print(f"{test.__name__.replace('_', ' ')}: "
                  f"{time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main()
