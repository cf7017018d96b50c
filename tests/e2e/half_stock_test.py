#!/usr/bin/env python3
"""Numbers of two bytes, as a stock client with generated stubs sees them, held
against torch's .half() and .bfloat16(): every bit, in replies and in what
gradients do.

Usage: half_stock_test.py SERVER PROTO_DIR
"""

import pathlib
import shutil
import sys
import tempfile
import unittest

import numpy
import torch

import quire_process

SERVER, PROTO = sys.argv[1:3]
DIM = 33
ROWS = 200
TYPES = {"ELEMENT_TYPE_FLOAT16": torch.float16,
         "ELEMENT_TYPE_BFLOAT16": torch.bfloat16}
# Zeros, denormals of all three types, the largest, ties, what overflows.
HARD = [0.0, -0.0, 1e-45, 6e-8, 2.98e-8, 2.99e-8, 6e-5, 1e-40, 65504.0,
        65519.996, 65520.0, -65520.0, 3.3895314e38, 3.4e38, 2049.0, 2051.0,
        1.00390625, 1.01171875]


def bits(tensor):
    """Of a tensor of two bytes a number."""
    return tensor.contiguous().view(torch.int16)


class NumbersOfTwoBytes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stubs = tempfile.TemporaryDirectory()
        quire_process.generate_stubs(cls.stubs.name, PROTO)
        cls.data = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        cls.stubs.cleanup()
        cls.data.cleanup()

    def run(self, result=None):
        torch.manual_seed(1)
        with tempfile.TemporaryDirectory() as data:
            self.data_dir = pathlib.Path(data)
            with quire_process.server(SERVER, "--data-dir", data) as (
                    _, address, _):
                self.connect(address)
                super().run(result)
                self.channel.close()

    def connect(self, address):
        import grpc
        from quire.v1 import admin_pb2, admin_pb2_grpc, embedding_pb2
        from quire.v1 import embedding_pb2_grpc, table_pb2
        self.grpc, self.admin, self.pb = grpc, admin_pb2, embedding_pb2
        self.table_pb = table_pb2
        self.channel = channel = grpc.insecure_channel(
            address, options=[("grpc.max_receive_message_length", 1 << 26)])
        self.tables = admin_pb2_grpc.TableServiceStub(channel)
        self.rows = embedding_pb2_grpc.EmbeddingServiceStub(channel)
        self.server = admin_pb2_grpc.ServerServiceStub(channel)

    def create(self, name, values=None, **spec):
        """A table; values [ROWS, DIM]."""
        self.tables.CreateTable(self.admin.CreateTableRequest(
            spec=self.table_pb.TableSpec(
                name=name, num_embeddings=ROWS, embedding_dim=DIM, **spec)))
        if values is not None:
            request = self.admin.WriteRowsRequest(
                table=self.table_pb.TableRef(name=name))
            request.ids.ids.extend(range(ROWS))
            request.values.values.extend(values.flatten().tolist())
            self.tables.WriteRows(request)

    def wanted(self, name, ids, dtype="ELEMENT_TYPE_FLOAT32", **more):
        return self.pb.TableLookup(
            table={"name": name}, output_dtype=dtype,
            ids=self.pb.IdBatch(
                ids=ids.flatten().tolist(),
                shape=self.pb.Shape(dims=list(ids.shape))), **more)

    def lookup(self, *wanted, stream=False):
        request = self.pb.LookupRequest(tables=wanted,
                                        max_response_bytes=1 << 25)
        if not stream:
            return self.rows.Lookup(request).tables
        (answer,) = self.rows.LookupStream(iter(
            [self.pb.LookupStreamRequest(request_id=7, request=request)]))
        self.assertEqual(answer.request_id, 7)
        return answer.response.tables

    def read(self, tensor):
        """What a reply says, as a tensor of its type."""
        name = self.table_pb.ElementType.Name(tensor.dtype)
        if name not in TYPES:
            self.assertEqual(tensor.packed, b"")
            return torch.tensor(tensor.values).reshape(*tensor.shape.dims)
        self.assertEqual(len(tensor.values), 0)
        packed = numpy.frombuffer(tensor.packed, numpy.int16).copy()
        return torch.from_numpy(packed).view(TYPES[name]).reshape(
            *tensor.shape.dims)

    def every_row(self, name):
        """Float32 bits."""
        (result,) = self.lookup(self.wanted(name, torch.arange(ROWS)))
        return self.read(result.embeddings).numpy().view(numpy.int32)

    def packed(self, numbers, dtype):
        """[n, dim] numbers of torch's type as a Tensor."""
        return self.pb.Tensor(
            shape=self.pb.Shape(dims=list(numbers.shape)), dtype=dtype,
            packed=bits(numbers).numpy().tobytes())

    def push(self, *entries, stream=False, push_id=None):
        request = self.pb.ApplyGradientRequest(tables=entries, push_id=push_id)
        if not stream:
            return self.rows.ApplyGradient(request)
        (answer,) = self.rows.ApplyGradientStream(iter(
            [self.pb.ApplyGradientStreamRequest(request=request)]))
        self.assertFalse(answer.HasField("error"), answer.error)
        return answer.response

    def gradient(self, name, ids, tensor, **more):
        return self.pb.TableGradient(
            table={"name": name}, ids=self.pb.IdBatch(ids=ids.tolist()),
            gradient=tensor, **more)

    def test_the_server_says_that_it_has_them(self):
        info = self.server.GetServerInfo(self.admin.GetServerInfoRequest())
        self.assertIn("half", info.features)

    def test_rows_are_rounded_as_by_torch(self):
        values = torch.randn(ROWS, DIM) * torch.exp(torch.randn(ROWS, 1) * 9)
        values[0, :len(HARD)] = torch.tensor(HARD)
        values[1, :len(HARD)] = -torch.tensor(HARD)
        for name, spec in (("t", {}), ("bounded", {"max_norm": 0.5})):
            self.create(name, values, **spec)
            ids = torch.randint(ROWS, (7, 300))
            ids[0, :2] = torch.tensor([0, 1])
            (exact,) = self.lookup(self.wanted(name, ids))
            expected = self.read(exact.embeddings)
            for dtype, torchs in TYPES.items():
                for stream in (False, True):
                    (found,) = self.lookup(self.wanted(name, ids, dtype),
                                           stream=stream)
                    self.assertEqual(list(found.embeddings.shape.dims),
                                     [7, 300, DIM])
                    rows = self.read(found.embeddings)
                    self.assertEqual(rows.dtype, torchs)
                    is_nan = expected.isnan()
                    self.assertTrue(bool((rows.isnan() == is_nan).all()))
                    self.assertTrue(torch.equal(
                        bits(rows)[~is_nan],
                        bits(expected.to(torchs))[~is_nan]), (name, dtype))

    def test_nan_and_infinity_stay_what_they_are(self):
        # Rows that are written are finite; those that are pushed may be any.
        self.create("t", initializer={"zeros": {}},
                    non_finite_policy="NON_FINITE_POLICY_ALLOW")
        values = [float("nan"), float("inf"), float("-inf")] * 11
        self.push(self.gradient("t", torch.tensor([3]), self.pb.Tensor(
            values=values, shape=self.pb.Shape(dims=[1, DIM]))))
        for dtype, expected in (
                ("ELEMENT_TYPE_FLOAT16", [0x7E00, 0xFC00, 0x7C00]),
                ("ELEMENT_TYPE_BFLOAT16", [0x7FC0, 0xFF80, 0x7F80])):
            (found,) = self.lookup(
                self.wanted("t", torch.tensor([3]), dtype))
            self.assertEqual(
                numpy.frombuffer(found.embeddings.packed,
                                 numpy.uint16).tolist(), expected * 11)

    def test_bags_are_pooled_in_float32_and_then_rounded(self):
        self.create("t")
        ids = torch.randint(ROWS, (40, 6))
        for pooling in ("SUM", "MEAN", "MAX", "SQRTN"):
            bags = {"pooling": f"POOLING_{pooling}",
                    "return_winners": pooling == "MAX"}
            for dtype, torchs in TYPES.items():
                exact, found = self.lookup(
                    self.wanted("t", ids, bags=bags),
                    self.wanted("t", ids, dtype, bags=bags))
                expected = self.read(exact.embeddings).to(torchs)
                self.assertTrue(torch.equal(
                    bits(self.read(found.embeddings)), bits(expected)))
                self.assertEqual(list(found.winners), list(exact.winners))
                self.assertEqual(len(found.winners),
                                 40 * DIM if pooling == "MAX" else 0)

    def test_a_gradient_does_what_its_numbers_do_as_floats(self):
        for dtype, torchs in TYPES.items():
            for stream in (False, True):
                for name in ("halves", "floats"):
                    self.create(name, seed=3, optimizer={"adagrad": {}})
                for step in range(4):
                    ids = torch.randint(ROWS, (300,))
                    numbers = torch.randn(300, DIM).to(torchs)
                    numbers[0, 0] = 6e-8  # denormal as FLOAT16
                    self.push(self.gradient(
                        "halves", ids, self.packed(numbers, dtype),
                        gradient_scale=0.3), stream=stream)
                    self.push(self.gradient("floats", ids, self.pb.Tensor(
                        shape=self.pb.Shape(dims=[300, DIM]),
                        values=numbers.float().flatten().tolist()),
                        gradient_scale=0.3))
                numpy.testing.assert_array_equal(self.every_row("halves"),
                                                 self.every_row("floats"))
                for name in ("halves", "floats"):
                    self.tables.DropTable(self.admin.DropTableRequest(
                        table=self.table_pb.TableRef(name=name)))

    def test_the_gradient_of_bags_may_be_of_two_bytes_too(self):
        self.create("halves", seed=3)
        self.create("floats", seed=3)
        ids = torch.randint(ROWS, (40, 6))
        numbers = torch.randn(40, DIM).to(torch.bfloat16)
        bags = {"pooling": "POOLING_SUM", "weights": [0.5] * 240}
        entries = []
        for name, gradient in (
                ("halves", self.packed(numbers, "ELEMENT_TYPE_BFLOAT16")),
                ("floats", self.pb.Tensor(
                    shape=self.pb.Shape(dims=[40, DIM]),
                    values=numbers.float().flatten().tolist()))):
            entries.append(self.pb.TableGradient(
                table={"name": name}, bags=bags, gradient=gradient,
                return_weight_gradients=True,
                ids=self.pb.IdBatch(ids=ids.flatten().tolist(),
                                    shape=self.pb.Shape(dims=[40, 6]))))
        done = self.push(*entries)
        self.assertEqual(done.tables[0].weight_gradients,
                         done.tables[1].weight_gradients)
        numpy.testing.assert_array_equal(self.every_row("halves"),
                                         self.every_row("floats"))

    def test_a_push_that_comes_again_is_known_by_its_numbers_and_their_type(
            self):
        self.create("t")
        session = self.rows.OpenSession(
            self.pb.OpenSessionRequest()).session_id
        ids = torch.tensor([1, 2])
        numbers = torch.ones(2, DIM, dtype=torch.float16)
        push_id = self.pb.PushId(session_id=session, sequence=1)
        entry = self.gradient("t", ids,
                              self.packed(numbers, "ELEMENT_TYPE_FLOAT16"))
        self.assertFalse(self.push(entry, push_id=push_id).duplicate)
        self.assertTrue(self.push(entry, push_id=push_id).duplicate)
        entry.gradient.dtype = self.table_pb.ELEMENT_TYPE_BFLOAT16
        with self.assertRaises(self.grpc.RpcError) as raised:
            self.push(entry, push_id=push_id)
        self.assertEqual(raised.exception.code(),
                         self.grpc.StatusCode.INVALID_ARGUMENT)

    def test_the_log_has_floats_and_a_restart_the_same_rows(self):
        self.create("t", persistence="PERSISTENCE_LOGGED")
        ids = torch.randint(ROWS, (300,))
        self.push(self.gradient("t", ids, self.packed(
            torch.randn(300, DIM).half(), "ELEMENT_TYPE_FLOAT16")))
        before = self.every_row("t")
        with tempfile.TemporaryDirectory() as copy:
            # As a kill would leave it.
            shutil.copytree(self.data_dir, f"{copy}/data",
                            ignore=shutil.ignore_patterns("LOCK"))
            with quire_process.server(SERVER, "--data-dir", f"{copy}/data") \
                    as (_, address, _):
                self.channel.close()
                self.connect(address)
                numpy.testing.assert_array_equal(self.every_row("t"), before)
                self.channel.close()

    def test_bad_tensors_change_nothing_and_are_named(self):
        self.create("t")
        before = self.every_row("t")
        ids = torch.tensor([1, 2])
        shape = self.pb.Shape(dims=[2, DIM])
        ones = numpy.ones(2 * DIM, numpy.float16).tobytes()
        infinite = numpy.full(2 * DIM, numpy.inf, numpy.float16).tobytes()
        for tensor, field, sentence in (
                ({"packed": ones + b"\0"}, "gradient.packed", "bytes"),
                ({"packed": ones[:-2]}, "gradient.shape", "65 came"),
                ({"packed": ones, "values": [1.0]}, "gradient.packed",
                 "both values and packed"),
                ({"values": [1.0] * 2 * DIM}, "gradient.values",
                 "go into packed"),
                ({"packed": ones, "dtype": 1}, "gradient.packed",
                 "go into values"),
                ({"packed": ones, "dtype": 17}, "gradient.dtype",
                 "no element type 17"),
                ({"packed": infinite}, "gradient", "is not finite")):
            tensor = self.pb.Tensor(shape=shape, **{
                "dtype": "ELEMENT_TYPE_FLOAT16", **tensor})
            with self.assertRaises(self.grpc.RpcError) as raised:
                self.push(self.gradient("t", ids, tensor))
            self.assertEqual(raised.exception.code(),
                             self.grpc.StatusCode.INVALID_ARGUMENT)
            self.assertIn(sentence, raised.exception.details())
            details = dict(raised.exception.trailing_metadata())[
                "grpc-status-details-bin"]
            self.assertIn(b"tables[0]." + field.encode(), details)
        numpy.testing.assert_array_equal(self.every_row("t"), before)

    def test_the_limit_on_replies_counts_what_is_sent(self):
        self.create("t")
        ids = torch.zeros(1000, dtype=torch.int64)
        for dtype, row_bytes in (("ELEMENT_TYPE_FLOAT32", 4 * DIM),
                                 ("ELEMENT_TYPE_FLOAT16", 2 * DIM)):
            request = self.pb.LookupRequest(
                tables=[self.wanted("t", ids, dtype)])
            size = self.rows.Lookup(request).ByteSize()
            self.assertLess(abs(size - 1000 * row_bytes), 100)
            request.max_response_bytes = size
            self.assertEqual(self.rows.Lookup(request).ByteSize(), size)
            request.max_response_bytes = size - 1
            with self.assertRaises(self.grpc.RpcError) as raised:
                self.rows.Lookup(request)
            self.assertIn(f"{size} bytes", raised.exception.details())

    def test_what_is_stored_stays_float32(self):
        with self.assertRaises(self.grpc.RpcError) as raised:
            self.create("t", storage_dtype="ELEMENT_TYPE_FLOAT16")
        self.assertIn("is not built yet", raised.exception.details())
        self.create("t")
        request = self.admin.WriteRowsRequest(
            table=self.table_pb.TableRef(name="t"),
            values=self.packed(torch.ones(1, DIM).half(),
                               "ELEMENT_TYPE_FLOAT16"))
        request.ids.ids.append(1)
        with self.assertRaises(self.grpc.RpcError) as raised:
            self.tables.WriteRows(request)
        self.assertIn("only FLOAT32", raised.exception.details())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
