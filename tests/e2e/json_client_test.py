#!/usr/bin/env python3
"""A JSON-speaking gRPC client, that learns the API by reflection, reads what
the raw handlers write.

Usage: json_client_test.py SERVER BUF
"""

import base64
import json
import subprocess
import sys

import quire_process


class Json:
    """`buf curl` against one server."""

    def __init__(self, buf, address):
        self._buf = buf
        self._address = address

    def run(self, method, request):
        return subprocess.run(
            [self._buf, "curl", "--protocol", "grpc",
             "--http2-prior-knowledge", "-d", json.dumps(request),
             f"http://{self._address}/quire.v1.{method}"],
            capture_output=True, text=True, timeout=60)

    def call(self, method, request):
        """The answer, or the answers of a stream, as Python values."""
        done = self.run(method, request)
        assert done.returncode == 0, done.stderr
        answers, decoder = [], json.JSONDecoder()
        rest = done.stdout.strip()
        while rest:
            answer, end = decoder.raw_decode(rest)
            answers.append(answer)
            rest = rest[end:].lstrip()
        return answers


def rows_of(answer, table=0):
    return answer["tables"][table]["embeddings"]


def check(client):
    [created] = client.call("TableService/CreateTable", {"spec": {
        "name": "dictionary", "numEmbeddings": 10, "embeddingDim": 5,
        "initializer": {"constant": {"value": 1.5}},
        "optimizer": {"learningRate": 0.5}}})
    assert created["created"] is True, created
    lookup = {"tables": [
        {"table": {"name": "dictionary"},
         "ids": {"shape": {"dims": [3, 2]}, "ids": [2, 3, 1, 0, 8, 6]}},
        {"table": {"name": "dictionary"}, "ids": {"ids": []}}]}

    [before] = client.call("EmbeddingService/Lookup", lookup)
    assert rows_of(before)["shape"]["dims"] == [3, 2, 5], before
    assert rows_of(before)["values"] == [1.5] * 30, before
    assert rows_of(before, 1)["shape"]["dims"] == [0, 5], before
    assert before["tables"][0]["tableUid"] == created["table"]["uid"]

    # Id 8 twice: its gradients are summed, and it moves by lr * sum.
    gradient = [float(i) for i in range(15)]
    [pushed] = client.call("EmbeddingService/ApplyGradient", {"tables": [
        {"table": {"name": "dictionary"}, "ids": {"ids": [8, 0, 8]},
         "gradient": {"shape": {"dims": [3, 5]}, "values": gradient}}]})
    assert pushed["tables"][0]["rowsChanged"] == "2", pushed
    assert pushed["tables"][0]["step"] == "1", pushed
    assert pushed["reached"] == "DURABILITY_MEMORY", pushed

    [after] = client.call("EmbeddingService/Lookup", lookup)
    values = rows_of(after)["values"]
    eight = [1.5 - 0.5 * (gradient[c] + gradient[10 + c]) for c in range(5)]
    zero = [1.5 - 0.5 * gradient[5 + c] for c in range(5)]
    assert values[20:25] == eight, values
    assert values[15:20] == zero, values
    assert values[:15] == [1.5] * 15 and values[25:] == [1.5] * 5, values

    # On a stream; the refusal is an answer of its own.
    answers = client.call("EmbeddingService/LookupStream", {
        "requestId": 7, "request": lookup})
    assert rows_of(answers[0]["response"])["values"] == values, answers
    header, chunk = client.call(
        "TableService/ExportTable", {"table": {"name": "dictionary"}})
    assert header["header"]["spec"]["numEmbeddings"] == "10", header
    assert chunk["chunk"]["values"]["values"][40:45] == eight, chunk

    lookup["tables"][0]["ids"]["ids"][3] = 10
    refused = client.run("EmbeddingService/Lookup", lookup)
    assert refused.returncode != 0, refused.stdout
    error = json.loads(refused.stderr)
    assert error["code"] == "out_of_range", error
    assert "id 10 at position 3" in error["message"], error
    details = {detail["type"]: base64.b64decode(detail["value"] + "==")
               for detail in error["details"]}
    assert b"ID_OUT_OF_RANGE" in details["google.rpc.ErrorInfo"], details
    assert b"tables[0].ids.ids[3]" in details["google.rpc.BadRequest"], details


def main():
    binary, buf = sys.argv[1:]
    with quire_process.server(binary, "--memory-limit", "256MiB") as (
            _, address, _):
        check(Json(buf, address))
    print("a JSON client reads what the server writes")


if __name__ == "__main__":
    main()
