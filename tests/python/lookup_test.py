#!/usr/bin/env python3
"""Lookups: ids of every shape and type, bags, many tables, futures."""

import unittest
from unittest import mock

import numpy as np

import python_case
import quire
from quire import _library

try:
    import torch
except ImportError:
    torch = None


class Lookups(python_case.PythonCase):
    def test_ids_of_every_shape_give_the_stored_bytes(self):
        table = self.words(100)
        for ids in (7, [2, 3], [[2, 3], [1, 0], [8, 6]], (1, 2), range(5),
                    np.int8(3), np.array(4), np.zeros((2, 0, 3), np.int64),
                    np.arange(24).reshape(2, 3, 4)[:, ::2], []):
            with self.subTest(ids=ids):
                self.same_bytes(self.client.lookup("words", ids),
                                table[np.asarray(ids, np.int64)])

    def test_ids_may_be_of_every_integer_type_and_layout(self):
        table = self.words(100)
        wanted = table[[[5, 50], [99, 0]]]
        for kind in ("<i1", "<u1", "<i2", ">i2", "<u4", "<i8", ">i8", "<u8"):
            ids = np.array([[5, 50], [99, 0]], kind)
            with self.subTest(kind=kind):
                self.same_bytes(self.client.lookup("words", ids), wanted)
                turned = np.asfortranarray(ids)
                self.same_bytes(self.client.lookup("words", turned), wanted)
        reverse = np.arange(10)[::-2]
        self.same_bytes(self.client.lookup("words", reverse), table[reverse])

    @unittest.skipIf(torch is None, "torch is not here")
    def test_ids_may_be_tensors(self):
        table = self.words(100)
        ids = torch.tensor([[5, 50], [99, 0]])
        for tensor in (ids, ids.int(), ids.t().contiguous().t(),
                       torch.tensor(3), torch.empty(0, dtype=torch.int64)):
            self.same_bytes(self.client.lookup("words", tensor),
                            table[tensor.numpy()])
        with self.assertRaises(quire.WrongType):
            self.client.lookup("words", ids.float())

    def test_the_bytes_of_a_row_are_never_touched(self):
        bits = np.array([0x7fc12345, 0xffc00001, 0x80000000, 0x00000001,
                         0x7f800000], np.uint32)
        rows = bits.view(np.float32).reshape(1, 5)
        self.client.import_table("words", rows, non_finite_policy="allow")

        self.same_bytes(self.client.lookup("words", [0, 0]), rows[[0, 0]])

    def test_rows_go_where_the_caller_says(self):
        table = self.words()
        out = np.full((2, 5), 7, np.float32)

        self.assertIs(self.client.lookup("words", [3, 4], out=out), out)

        self.same_bytes(out, table[[3, 4]])
        with self.refused(quire.InvalidArgument, "BAD_SHAPE", "out",
                          r"out has shape \(2, 5\); the lookup needs \(3, 5\)"):
            self.client.lookup("words", [3, 4, 5], out=out)
        with self.refused(quire.WrongType, "BAD_VALUE", "out", "float32"):
            self.client.lookup("words", [3], out=np.zeros((1, 5)))
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "out", "C order"):
            self.client.lookup("words", range(5),
                               out=np.zeros((5, 5), np.float32, order="F"))

    def test_a_lookup_larger_than_a_message_is_whole(self):
        table = self.words(1000, 256)
        ids = np.random.default_rng(7).integers(0, 1000, (3, 40000))

        self.same_bytes(self.client.lookup("words", ids), table[ids])

    def test_many_tables_come_in_one_answer(self):
        words = self.words()
        self.client.create_table("users", 20, 3)
        users = self.client.read_rows("users", range(20)).values
        before = self.lookup_count()

        found = self.client.lookup_many({"words": [[1], [2]], "users": 4})
        self.assertEqual(list(found), ["words", "users"])
        self.same_bytes(found["words"], words[[[1], [2]]])
        self.same_bytes(found["users"], users[4])
        first, bags, again = self.client.lookup_many([
            quire.Lookup("words", [1]),
            quire.BagLookup("users", [[1, 2]], mode="sum"),
            quire.Lookup("words", [3])])
        self.same_bytes(first, words[[1]])
        self.same_bytes(bags, (users[1] + users[2])[None])
        self.same_bytes(again, words[[3]])
        self.assertEqual(self.client.lookup_many([]), [])
        self.assertEqual(self.client.lookup_many({}), {})
        self.assertEqual(self.lookup_count() - before, 4)

    def lookup_count(self):
        return sum(method.ok for method in self.client.stats().methods
                   if method.method == "Lookup")

    def test_a_table_made_anew_is_looked_up_with_its_new_width(self):
        self.words()
        self.client.lookup("words", 1)
        with quire.connect(self.address) as other:
            other.drop_table("words")
            other.create_table("words", 4, 9)
            wanted = other.read_rows("words", [1, 2]).values

        future = self.client.lookup_async("words", [1, 2])
        self.same_bytes(future.result(), wanted)
        self.same_bytes(self.client.lookup("words", [1, 2]), wanted)

    def test_a_lookup_again_asks_for_its_table_once(self):
        self.words()
        self.client.lookup("words", 1)

        with mock.patch.object(_library.library, "quire_get_table",
                               side_effect=AssertionError):
            self.client.lookup("words", 1)


class Bags(python_case.PythonCase):
    def test_bags_are_those_of_their_offsets(self):
        table = self.words(100)
        ids = [5, 6, 7, 7, 9]
        for mode, pool in (("sum", np.sum), ("mean", np.mean), ("max", np.max)):
            with self.subTest(mode=mode):
                found = self.client.lookup_bags("words", ids, [0, 2, 2, 3],
                                                mode=mode)
                wanted = np.stack([pool(table[[5, 6]], axis=0), np.zeros(5),
                                   table[7], pool(table[[7, 9]], axis=0)])
                self.same_bytes(found, wanted)

    @unittest.skipIf(torch is None, "torch is not here")
    def test_bags_are_torchs(self):
        table = self.words(100, padding_idx=3)
        weight = torch.tensor(table)
        draw = np.random.default_rng(11)
        for mode in ("sum", "mean", "max"):
            for include_last in (False, True):
                ids = draw.integers(0, 100, 50)
                ids[::7] = 3
                offsets = np.sort(draw.integers(0, 50, 9))
                offsets[0] = 0
                if include_last:
                    offsets = np.append(offsets, 50)
                weights = draw.random(50, np.float32) if mode == "sum" else None
                wanted = torch.nn.functional.embedding_bag(
                    torch.tensor(ids), weight, torch.tensor(offsets),
                    mode=mode, padding_idx=3, include_last_offset=include_last,
                    per_sample_weights=None if weights is None
                    else torch.tensor(weights))
                found = self.client.lookup_bags(
                    "words", torch.tensor(ids), torch.tensor(offsets),
                    mode=mode, include_last_offset=include_last,
                    per_sample_weights=weights)
                self.same_bytes(found, wanted.numpy())

    def test_rows_of_ids_are_bags(self):
        table = self.words()

        found = self.client.lookup_bags("words", [[1, 2], [3, 3]])

        self.same_bytes(found, [(table[1] + table[2]) / np.float32(2),
                                table[3]])
        self.same_bytes(self.client.lookup_bags("words", np.zeros((3, 0), int)),
                        np.zeros((3, 5)))
        self.same_bytes(self.client.lookup_bags("words", [], []),
                        np.zeros((0, 5)))

    def test_winners_say_which_id_won(self):
        table = self.words()

        rows, winners = self.client.lookup_bags(
            "words", [1, 2, 3], [0, 3], mode="max", return_winners=True)

        self.same_bytes(rows[0], table[[1, 2, 3]].max(axis=0))
        np.testing.assert_array_equal(winners[0],
                                      table[[1, 2, 3]].argmax(axis=0))
        np.testing.assert_array_equal(winners[1], [-1] * 5)

    def test_bags_that_are_none_are_refused(self):
        self.words()
        look = self.client.lookup_bags
        with self.refused(quire.InvalidArgument, "BAD_SHAPE", "offsets",
                          "needs offsets"):
            look("words", [1, 2])
        with self.refused(quire.InvalidArgument, "BAD_SHAPE", "offsets",
                          "each row is a bag"):
            look("words", [[1, 2]], [0])
        with self.refused(quire.InvalidArgument, "BAD_SHAPE", "input", "bags"):
            look("words", [[[1]]])
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "offsets",
                          "number of ids, 2"):
            look("words", [1, 2], [0, 1], include_last_offset=True)
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "mode", "'sum'"):
            look("words", [1, 2], [0], mode="median")
        with self.refused(quire.InvalidArgument, "BAD_SHAPE",
                          "per_sample_weights", r"\(3,\).*\(2,\)"):
            look("words", [1, 2], [0], mode="sum", per_sample_weights=[1, 2, 3])
        with self.assertRaises(quire.InvalidArgument):
            look("words", [1, 2], [1])
        with self.assertRaises(quire.InvalidArgument):
            look("words", [1, 2], [0, 2, 1])
        with self.assertRaises(quire.InvalidArgument):
            look("words", [1, 2], [0], per_sample_weights=[1, 2])


class Futures(python_case.PythonCase):
    def test_a_future_is_what_the_call_returns(self):
        table = self.words()

        futures = [self.client.lookup_async("words", [i, 9 - i])
                   for i in range(10)]

        for i, future in enumerate(futures):
            rows = future.result(timeout=60)
            self.same_bytes(rows, table[[i, 9 - i]])
            self.assertTrue(future.done())
            self.assertIs(future.result(), rows)
            self.assertIsNone(future.exception())
        bags = self.client.lookup_bags_async("words", [[1, 1]], mode="sum")
        self.same_bytes(bags.result(), table[[1]] * 2)
        many = self.client.lookup_many_async({"words": 4})
        self.same_bytes(many.result()["words"], table[4])

    def test_a_future_fails_as_its_call_would(self):
        self.words()

        future = self.client.lookup_async("words", [1, 10])

        for _ in range(2):
            with self.refused(quire.OutOfRange, "ID_OUT_OF_RANGE",
                              "tables[0].ids.ids[1]", "id 10 at position 1"):
                future.result()
        self.assertIsInstance(future.exception(), quire.OutOfRange)

    def test_rows_travel_in_two_bytes_and_each_id_once(self):
        table = self.words(1000, 33)
        ids = np.random.default_rng(1).integers(1000, size=(40, 50))
        rounded = table.astype(np.float16).astype(np.float32)
        for unique in (False, True):
            self.same_bytes(self.client.lookup("words", ids, unique=unique),
                            table[ids])
            self.same_bytes(
                self.client.lookup("words", ids, wire="float16",
                                   unique=unique), rounded[ids])
            exact, found = self.client.lookup_many_async(
                [quire.Lookup("words", ids, wire="float32", unique=unique),
                 quire.Lookup("words", ids, wire="float16",
                              unique=unique)]).result()
            self.same_bytes(exact, table[ids])
            self.same_bytes(found, rounded[ids])
        near = self.client.lookup_async("words", ids, wire="bfloat16",
                                        unique=True).result()
        np.testing.assert_allclose(near, table[ids], rtol=2 ** -8)
        self.assertTrue((near != table[ids]).any())
        bags = self.client.lookup_bags("words", ids, mode="max",
                                       wire="float16", return_winners=True)
        exact = self.client.lookup_bags("words", ids, mode="max",
                                        return_winners=True)
        self.same_bytes(bags[0], exact[0].astype(np.float16))
        np.testing.assert_array_equal(bags[1], exact[1])
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "wire",
                          "float16"):
            self.client.lookup("words", ids, wire="float64")
        with self.refused(quire.OutOfRange, "ID_OUT_OF_RANGE",
                          "tables[0].ids.ids[2]", "id 1000 at position 1"):
            self.client.lookup("words", [4, 4, 1000], unique=True)

    def test_futures_that_nobody_has_end_all_the_same(self):
        self.words(1000, 64)
        for _ in range(100):
            self.client.lookup_async("words", np.arange(1000))
        self.client.lookup_async("words", 0).result()
        quire.futures._sweep()

        self.assertLess(len(quire.futures._left), 100)

    def test_a_future_outlives_its_client(self):
        table = self.words()
        client = quire.connect(self.address)
        future = client.lookup_async("words", [1])
        client.close()
        del client

        self.same_bytes(future.result(), table[[1]])


if __name__ == "__main__":
    python_case.main()
