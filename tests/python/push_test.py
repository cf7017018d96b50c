#!/usr/bin/env python3
"""Pushes: one table and many, bags, futures; what they did, and refusals."""

import numpy as np

import python_case
import quire

try:
    import torch
except ImportError:
    torch = None


class Pushes(python_case.PythonCase):
    def test_a_push_moves_its_rows_by_one_step(self):
        table = self.words()
        gradient = np.arange(20, dtype=np.float32).reshape(2, 2, 5)

        pushed = self.client.apply_gradient("words", [[1, 2], [1, 3]],
                                            gradient)

        wanted = table.copy()
        wanted[1] -= gradient[0, 0] + gradient[1, 0]
        wanted[2] -= gradient[0, 1]
        wanted[3] -= gradient[1, 1]
        self.same_bytes(self.client.lookup("words", range(10)), wanted)
        self.assertEqual(
            (pushed.position, pushed.reached, pushed.duplicate,
             pushed.exactly_once), (None, "memory", False, True))
        (done,) = pushed.tables
        self.assertEqual((done.rows_changed, done.step, done.padding_dropped,
                          done.rows_skipped), (3, 1, 0, 0))
        self.assertEqual(done.uid, self.client.table("words").uid)
        self.assertIsNone(done.weight_gradients)

    def test_a_push_brings_its_own_rate_and_scale(self):
        table = self.words()

        self.client.apply_gradient("words", 4, [1, 1, 1, 1, 1],
                                   learning_rate=0.5, gradient_scale=4)

        self.same_bytes(self.client.lookup("words", 4), table[4] - 2)

    def test_gradients_travel_in_two_bytes(self):
        for wire, kind in (("float16", np.float16), ("bfloat16", None)):
            gradient = np.random.default_rng(1).normal(size=(3, 5)) \
                .astype(np.float32)
            if kind is not None:
                rounded = gradient.astype(kind).astype(np.float32)
            elif torch is not None:
                rounded = torch.from_numpy(gradient).bfloat16().float().numpy()
            else:
                continue
            table = self.words()

            self.client.apply_gradient("words", [1, 2, 3], gradient, wire=wire)

            self.same_bytes(self.client.lookup("words", [1, 2, 3]),
                            table[1:4] - rounded)
            self.client.apply_gradient_bags(
                "words", [[5, 6]], gradient[:1], mode="sum", wire=wire)
            self.same_bytes(self.client.lookup("words", [5, 6]),
                            table[5:7] - rounded[:1])
            self.client.drop_table("words")

    def test_unique_gradients_are_summed_before_they_travel(self):
        ids = np.random.default_rng(2).integers(10, size=200)
        gradient = np.random.default_rng(3).normal(size=(200, 5))
        rows = []
        for unique in (False, True):
            self.words()
            self.client.apply_gradient("words", ids, gradient, unique=unique,
                                       gradient_scale=0.3)
            future = self.client.apply_gradient_async("words", ids, gradient,
                                                      unique=unique)
            self.assertEqual(future.result().tables[0].step, 2)
            rows.append(self.client.lookup("words", range(10)))
            self.client.drop_table("words")
        self.same_bytes(rows[1], rows[0])

    def test_what_cannot_travel_so_is_refused_and_changes_nothing(self):
        table = self.words(scale_grad_by_freq=True)
        gradient = np.ones((2, 5))
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "wire",
                          "float16"):
            self.client.apply_gradient("words", [1, 2], gradient, wire="half")
        with self.refused(quire.InvalidArgument, "BAD_VALUE",
                          "tables[0].duplicates_summed", "scale_grad_by_freq"):
            self.client.apply_gradient("words", [1, 2], gradient, unique=True)
        gradient[1, 3] = 65520
        with self.refused(quire.InvalidArgument, "NON_FINITE",
                          "items[0].gradient",
                          r"id 2 \(row 1\), column 3 is 65520, and FLOAT16 "
                          "ends at 65504; nothing was sent"):
            self.client.apply_gradient("words", [1, 2], gradient,
                                       wire="float16")
        self.same_bytes(self.client.lookup("words", range(10)), table)
        self.assertEqual(self.client.table("words").step, 0)
        self.client.apply_gradient("words", [1, 2], gradient, wire="bfloat16")

    def test_gradients_of_every_type_become_float32(self):
        table = self.words()
        ones = np.ones((1, 5))
        gradients = [ones, ones.astype(np.float16), ones.astype(">f4"),
                     ones.astype(int), np.ones((1, 10))[:, ::2], [[1] * 5]]
        if torch is not None:
            gradients += [torch.ones(1, 5, requires_grad=True),
                          torch.ones(1, 5, dtype=torch.bfloat16)]
        for gradient in gradients:
            self.client.apply_gradient("words", [0], gradient)

        wanted = table[0]
        for _ in gradients:
            wanted = wanted - np.float32(1)
        self.same_bytes(self.client.lookup("words", 0), wanted)

    def test_many_tables_make_one_step_or_none(self):
        words = self.words()
        self.client.create_table("users", 4, 2,
                                 initializer=quire.initializers.Zeros(),
                                 optimizer=quire.optimizers.Sgd(1.0))

        pushed = self.client.apply_gradient_many(
            {"words": ([1], np.ones((1, 5))), "users": (2, [3, 4])})
        self.assertEqual([table.rows_changed for table in pushed.tables],
                         [1, 1])
        self.same_bytes(self.client.lookup("users", 2), [-3, -4])
        with self.refused(quire.OutOfRange, "ID_OUT_OF_RANGE",
                          "tables[1].ids.ids[0]", "'users'.*id 4"):
            self.client.apply_gradient_many([
                quire.Gradient("words", [1], np.ones((1, 5))),
                quire.Gradient("users", [4], [[3, 4]])])
        self.same_bytes(self.client.lookup("words", 1), words[1] - 1)
        self.assertEqual(self.client.apply_gradient_many([]).tables, [])

    def test_a_future_of_a_push_tells_what_it_did(self):
        table = self.words()
        gradient = np.ones((1, 5), np.float32)

        future = self.client.apply_gradient_async("words", [2], gradient)
        gradient[:] = np.nan  # free to be used again

        self.assertEqual(future.result(60).tables[0].step, 1)
        self.same_bytes(self.client.lookup("words", 2), table[2] - 1)
        refused = self.client.apply_gradient_async("words", [2], gradient)
        with self.refused(quire.InvalidArgument, "NON_FINITE",
                          refused.exception().field, "not finite|NaN|nan"):
            refused.result()
        many = self.client.apply_gradient_many_async(
            {"words": (3, [0] * 5)})
        self.assertEqual(many.result().tables[0].step, 2)

    def test_a_thousand_pushes_under_way_are_each_applied_once(self):
        self.words(initializer=quire.initializers.Zeros())

        futures = [self.client.apply_gradient_async("words", [0], [[1] * 5])
                   for _ in range(1000)]

        steps = [future.result().tables[0].step for future in futures]
        self.assertEqual(sorted(steps), list(range(1, 1001)))
        self.same_bytes(self.client.lookup("words", 0), [-1000] * 5)

    def test_the_padding_row_takes_no_gradient(self):
        table = self.words(padding_idx=-1)

        pushed = self.client.apply_gradient("words", [9, 1], np.ones((2, 5)))

        self.assertEqual(pushed.tables[0].padding_dropped, 1)
        self.same_bytes(self.client.lookup("words", 9), table[9])

    def test_gradients_that_do_not_fit_are_refused(self):
        table = self.words()
        push = self.client.apply_gradient
        for gradient in (np.ones(5), np.ones((2, 5)), 1.0, np.ones((1, 1, 5))):
            with self.refused(quire.InvalidArgument, "BAD_SHAPE", "gradient",
                              r"for these ids it is \(1, dim\)"):
                push("words", [1], gradient)
        with self.refused(quire.InvalidArgument, "BAD_SHAPE",
                          "tables[0].gradient.shape", r"it must be \(1, 5\)"):
            push("words", [1], np.ones((1, 4)))
        with self.refused(quire.WrongType, "BAD_VALUE", "gradient", "bool"):
            push("words", [1], np.ones((1, 5), bool))
        with self.refused(quire.WrongType, "BAD_VALUE", "gradient", "array"):
            push("words", [1], [[1], [1, 2]])
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "learning_rate",
                          "'fast'"):
            push("words", [1], np.ones((1, 5)), learning_rate="fast")
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "min_durability",
                          "'memory', 'written', 'synced'"):
            push("words", [1], np.ones((1, 5)), min_durability="safe")
        with self.refused(quire.FailedPrecondition, "UNSUPPORTED_DURABILITY",
                          "min_durability", "these are MEMORY tables"):
            push("words", [1], np.ones((1, 5)), min_durability="synced")
        self.same_bytes(self.client.lookup("words", range(10)), table)


class BagPushes(python_case.PythonCase):
    def test_the_gradient_of_a_mean_is_shared(self):
        table = self.words()

        self.client.apply_gradient_bags("words", [1, 2, 3], np.ones((2, 5)),
                                        [0, 2])

        wanted = table[[1, 2, 3]] - np.float32([[0.5], [0.5], [1]])
        self.same_bytes(self.client.lookup("words", [1, 2, 3]), wanted)

    def test_the_gradient_of_a_maximum_goes_to_its_winners(self):
        table = self.words()
        _, winners = self.client.lookup_bags(
            "words", [[1, 2, 3]], mode="max", return_winners=True)

        self.client.apply_gradient_bags("words", [[1, 2, 3]], np.ones((1, 5)),
                                        mode="max", winners=winners)

        wanted = table[[1, 2, 3]]
        wanted[winners[0], range(5)] -= 1
        self.same_bytes(self.client.lookup("words", [1, 2, 3]), wanted)
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "winners",
                          "return_winners=True"):
            self.client.apply_gradient_bags("words", [[1]], np.ones((1, 5)),
                                            mode="max")

    def test_weights_have_a_gradient_too(self):
        table = self.words()
        gradient = np.float32([[1, 0, 0, 0, 0], [0, 2, 0, 0, 0]])
        arguments = dict(mode="sum", per_sample_weights=[[1, 2], [3, 4]],
                         return_weight_gradients=True)

        pushed = self.client.apply_gradient_bags(
            "words", [[1, 2], [3, 4]], gradient, **arguments)

        self.same_bytes(pushed.tables[0].weight_gradients,
                        [[table[1, 0], table[2, 0]],
                         [2 * table[3, 1], 2 * table[4, 1]]])
        future = self.client.apply_gradient_bags_async(
            "words", [[1, 2], [3, 4]], gradient, **arguments)
        self.assertEqual(future.result().tables[0].weight_gradients[0, 0],
                         table[1, 0] - np.float32(1))
        with self.refused(quire.InvalidArgument, "BAD_VALUE",
                          "return_weight_gradients", "without"):
            self.client.apply_gradient_bags(
                "words", [[1]], np.ones((1, 5)), mode="sum",
                return_weight_gradients=True)


class LoggedPushes(python_case.PythonCase):
    server_options = ("--data-dir", "{dir}/data", "--backup-dir",
                      "{dir}/backups", "--memory-limit", "512MiB")

    def test_positions_snapshots_backups_rewind_and_the_last_change(self):
        table = self.words()
        first = self.client.apply_gradient("words", 1, np.ones(5),
                                           min_durability="synced")
        second = self.client.apply_gradient("words", 1, np.ones(5))

        self.assertEqual(first.reached, "synced")
        self.assertLess(first.position, second.position)
        row = self.client.row("words", 1)
        self.assertEqual(row.last_change.lsn, second.position.lsn)
        self.assertEqual(row.last_change.kind, "push")
        self.same_bytes(row.values, table[1] - 1 - 1)
        self.assertGreaterEqual(self.client.snapshot(), second.position)
        backup = self.client.back_up("monday")
        self.assertGreaterEqual(backup.position, second.position)
        self.assertGreater(backup.bytes, 0)
        with self.client.export_table("words") as exported:
            self.assertGreaterEqual(exported.position, second.position)
        rewound = self.client.rewind_table("words", first.position.lsn)
        self.assertEqual(rewound.table.step, 1)
        self.assertGreater(rewound.position, second.position)
        self.same_bytes(self.client.lookup("words", 1), table[1] - 1)
        self.assertIsNotNone(self.client.stats().log.synced)
        with self.assertRaises(quire.FailedPrecondition) as caught:
            self.client.rewind_table("words", 10**15)
        self.assertEqual(caught.exception.reason, "NOT_KEPT")


class Empty(python_case.PythonCase):
    def test_a_push_of_no_rows_is_a_step(self):
        before = self.words()
        for push in (quire.Gradient("words", [], np.empty((0, 5))),
                     quire.Gradient("words", np.empty((3, 0), int),
                                    np.empty((3, 0, 5))),
                     quire.BagGradient("words", [], np.empty((0, 5)), [0],
                                       "sum", include_last_offset=True)):
            pushed = self.client.apply_gradient_many([push])
            self.assertEqual(pushed.tables[0].rows_changed, 0)
        self.assertEqual(self.client.table("words").step, 3)
        self.same_bytes(self.client.read_rows("words", range(10)).values,
                        before)


class Incarnations(python_case.PythonCase):
    def test_a_gradient_is_of_the_table_that_is_meant(self):
        self.words()
        uid = self.client.table("words").uid
        push = quire.Gradient("words", [1], np.ones((1, 5)), uid=uid)
        self.client.apply_gradient_many([push])
        self.client.drop_table("words")
        before = self.words()
        bags = quire.BagGradient("words", [[1]], np.ones((1, 5)), mode="sum",
                                 uid=uid)
        for one in (push, bags):
            with self.assertRaises(quire.FailedPrecondition) as caught:
                self.client.apply_gradient_many([one])
            self.assertEqual(caught.exception.reason, "TABLE_REPLACED")
        with self.assertRaisesRegex(quire.InvalidArgument, "16 bytes"):
            self.client.apply_gradient_many([
                quire.Gradient("words", [1], np.ones((1, 5)), uid=b"short")])
        self.same_bytes(self.client.read_rows("words", range(10)).values,
                        before)


if __name__ == "__main__":
    python_case.main()
