#!/usr/bin/env python3
"""Tables, labels, neighbours, imports, exports, the server."""

import contextlib
import dataclasses
import io
import itertools
import pathlib
import pkgutil
import tempfile
import unittest.mock

import numpy as np

import python_case
import quire
from python_case import quire_process

ROOT = pathlib.Path(__file__).parents[2]


class Tables(python_case.PythonCase):
    def test_a_table_is_what_it_was_made(self):
        optimizers = quire.optimizers
        table = self.client.create_table(
            "words", num_embeddings=10, embedding_dim=5, padding_idx=-2,
            max_norm=2.5, norm_type=float("inf"), scale_grad_by_freq=True,
            optimizer=optimizers.AdamW(learning_rate=0.25, beta1=0.5,
                                       amsgrad=True, weight_decay=0),
            initializer=quire.initializers.Uniform(-0.5, 0.5), seed=2**64 - 1,
            clip=quire.GradientClip(row_norm=3), non_finite_policy="allow",
            persistence="memory", default_durability="memory", shard_count=8,
            frozen=True)

        spec = table.spec
        self.assertEqual(table.state, "ready")
        self.assertEqual(
            spec.optimizer,
            optimizers.AdamW(learning_rate=0.25, beta1=0.5, beta2=0.999,
                             eps=1e-8, weight_decay=0.0, amsgrad=True,
                             maximize=False, scope="touched"))
        self.assertEqual(spec.initializer,
                         quire.initializers.Uniform(-0.5, 0.5))
        self.assertEqual(spec.clip, quire.GradientClip(row_norm=3.0))
        self.assertEqual(
            (spec.name, spec.num_embeddings, spec.embedding_dim,
             spec.padding_idx, spec.max_norm, spec.norm_type,
             spec.scale_grad_by_freq, spec.seed, spec.non_finite_policy,
             spec.persistence, spec.default_durability, spec.shard_count,
             spec.frozen),
            ("words", 10, 5, 8, 2.5, float("inf"), True, 2**64 - 1, "allow",
             "memory", "memory", 8, True))
        self.assertEqual(self.client.table("words"), table)
        self.assertEqual([one.name for one in self.client.tables()], ["words"])

    def test_every_optimizer_and_initializer_comes_back(self):
        for number, kind in enumerate(quire.optimizers._BY_KIND.values()):
            table = self.client.create_table(
                f"t{number}", 2, 2, optimizer=kind(learning_rate=0.125))
            self.assertIs(type(table.spec.optimizer), kind)
            self.assertEqual(table.spec.optimizer.learning_rate, 0.125)
        for number, kind in enumerate(quire.initializers._BY_KIND.values()):
            table = self.client.create_table(f"i{number}", 2, 2,
                                             initializer=kind())
            self.assertIs(type(table.spec.initializer), kind)
        table = self.client.create_table(
            "all", 2, 2, optimizer=quire.optimizers.Sgd(0.5, scope="all"))
        self.assertEqual(table.spec.optimizer.scope, "all")

    def test_the_same_table_may_be_asked_for_again(self):
        first = self.client.create_table("words", 10, 5, if_exists="verify")
        again = self.client.create_table("words", 10, 5, if_exists="verify")

        self.assertEqual(first.uid, again.uid)
        with self.refused(quire.FailedPrecondition, "TABLE_DIFFERS",
                          "spec.embedding_dim", "embedding_dim"):
            self.client.create_table("words", 10, 6, if_exists="verify")
        with self.refused(quire.AlreadyExists, "TABLE_EXISTS", "spec.name",
                          "words"):
            self.client.create_table("words", 10, 5)
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "if_exists",
                          "'error', 'verify'"):
            self.client.create_table("words", 10, 5, if_exists="drop")

    def test_a_specification_that_cannot_be_names_its_field(self):
        create = self.client.create_table
        with self.refused(quire.InvalidArgument, "BAD_VALUE",
                          "spec.embedding_dim", "embedding_dim"):
            create("words", 10, 0)
        with self.refused(quire.InvalidArgument, "BAD_VALUE",
                          "spec.padding_idx", "padding_idx"):
            create("words", 10, 5, padding_idx=10)
        with self.refused(quire.InvalidArgument, "MALFORMED", "request",
                          "num_embeddings"):
            create("words", 10.5, 5)
        with self.refused(quire.InvalidArgument, "MALFORMED", "request",
                          "PERSISTENCE_DISK"):
            create("words", 10, 5, persistence="disk")
        with self.refused(quire.InvalidArgument, "BAD_NAME", "spec.name",
                          "bad name"):
            create("bad name", 10, 5)
        with self.refused(quire.WrongType, "BAD_VALUE", "optimizer", "adam"):
            create("words", 10, 5, optimizer=object.__new__(
                type("adam", (), {})))
        with self.refused(quire.WrongType, "BAD_VALUE", "table", "a str"):
            self.client.table(5)
        with self.refused(quire.InvalidArgument, "BAD_NAME", "table", "zero"):
            self.client.table("a\0b")

    def test_what_may_change_is_changed(self):
        self.words()
        self.client.alter_table("words", learning_rate=0.5, frozen=True)
        table = self.client.alter_table("words")
        self.assertEqual((table.spec.optimizer.learning_rate,
                          table.spec.frozen), (0.5, True))
        with self.refused(quire.FailedPrecondition, "TABLE_FROZEN",
                          "tables[0].table.name", "words"):
            self.client.apply_gradient("words", [1], np.ones((1, 5)))

        self.client.drop_table("words")

        with self.refused(quire.NotFound, "NO_SUCH_TABLE", "table.name",
                          "there is no table 'words'"):
            self.client.drop_table("words")

    def test_stored_rows_are_read_and_written_with_their_state(self):
        self.words(optimizer=quire.optimizers.Adagrad())
        values = np.arange(10, dtype=np.float32).reshape(2, 1, 5)
        state = values + 0.5

        self.client.write_rows("words", [[3], [0]], values, state)

        rows = self.client.read_rows("words", [[3], [0]])
        self.same_bytes(rows.values, values)
        self.same_bytes(rows.state, state)
        row = self.client.row("words", 3)
        self.same_bytes(row.values, values[0, 0])
        self.same_bytes(row.state["sum"], state[0, 0])
        self.assertEqual((row.label, row.last_change, row.position),
                         ("", None, None))
        self.client.write_rows("words", 3, np.zeros(5))
        self.same_bytes(self.client.read_rows("words", 3).state, state[0, 0])
        self.assertEqual(self.client.read_rows("words", []).values.shape[0], 0)
        with self.refused(quire.InvalidArgument, "BAD_SHAPE", "values",
                          r"\(2, dim\)"):
            self.client.write_rows("words", [1, 2], np.zeros(5))
        with self.refused(quire.InvalidArgument, "BAD_SHAPE", "id", "one row"):
            self.client.row("words", [3])

    def test_rows_that_were_read_outlive_the_client(self):
        table = self.words()
        with quire.connect(self.address) as client:
            rows = client.read_rows("words", range(10)).values
        del client

        self.same_bytes(rows, table)

    def test_labels_are_bytes_that_a_str_keeps(self):
        self.words()
        labels = ["whale", "", "Wal\u00b0", b"\xff\xfe", "\udcff"]

        self.client.set_labels("words", [1, 2, 3, 4, 5], labels)

        found = self.client.get_labels("words", [1, 2, 3, 4, 5, 6])
        self.assertEqual(found, ["whale", "", "Wal\u00b0", "\udcff\udcfe",
                                 "\udcff", ""])
        ids = self.client.find_labels("words", ["whale", "shark", found[3]])
        self.assertEqual(ids.tolist(), [1, -1, 4])
        self.assertEqual(self.client.row("words", 4).label, "\udcff\udcfe")
        self.assertEqual(self.client.get_labels("words", []), [])
        with self.refused(quire.WrongType, "BAD_VALUE", "labels", "sequence"):
            self.client.set_labels("words", [1], "whale")
        with self.refused(quire.InvalidArgument, "BAD_SHAPE", "labels",
                          "1 labels for 2 rows"):
            self.client.set_labels("words", [1, 2], ["whale"])

    def test_the_nearest_are_found_by_row_and_by_vector(self):
        table = self.words(50)
        self.client.set_labels("words", range(50),
                               [f"w{i}" for i in range(50)])

        by_row, by_vector = self.client.nearest(
            "words", ids=7, vectors=table[9], k=3, metric="l2",
            return_labels=True)

        distance = np.linalg.norm(table - table[7], axis=1)
        self.assertEqual(by_row.ids.tolist(), np.argsort(distance)[1:4].tolist())
        np.testing.assert_allclose(by_row.scores, np.sort(distance)[1:4],
                                   rtol=1e-5)
        self.assertEqual(by_row.labels, [f"w{i}" for i in by_row.ids])
        self.assertEqual((by_vector.ids[0], by_vector.scores[0]), (9, 0))
        (left_out,) = self.client.nearest("words", vectors=table[9], k=1,
                                          exclude_ids=[9])
        self.assertNotEqual(left_out.ids[0], 9)
        self.assertIsNone(left_out.labels)
        self.assertEqual(self.client.nearest("words"), [])
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "metric",
                          "'cosine', 'dot', 'l2'"):
            self.client.nearest("words", ids=1, metric="hamming")

    def test_the_server_tells_what_it_is_and_has_done(self):
        self.words()

        info = self.client.server_info
        self.assertEqual(info.version, quire.__version__)
        self.assertIn("lookup", info.features)
        self.assertEqual(info.limits.ids_per_request, 1 << 22)
        stats = self.client.stats()
        self.assertEqual(stats.tables[0].name, "words")
        self.assertIsNone(stats.log)
        self.assertIn("CreateTable", [one.method for one in stats.methods])
        self.client.health()
        with self.refused(quire.FailedPrecondition, "NO_BACKUP_DIR", "",
                          "--backup-dir"):
            self.client.back_up("monday")


class Screen(io.StringIO):
    def __init__(self, is_terminal):
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self):
        return self._is_terminal


class Transfer(python_case.PythonCase):
    def test_an_array_is_imported_and_exported_byte_for_byte(self):
        rows = np.random.default_rng(3).standard_normal(
            (50000, 16)).astype(np.float32)
        labels = [f"w{i}" for i in range(50000)]

        table = self.client.import_table("words", rows, labels=labels,
                                         padding_idx=3)

        self.assertEqual((table.spec.num_embeddings, table.spec.embedding_dim,
                          table.spec.padding_idx), (50000, 16, 3))
        exported = self.client.export_table("words", include_state=True)
        self.assertEqual(exported.table.uid, table.uid)
        self.assertIsNone(exported.position)
        chunks = list(exported)
        self.assertGreater(len(chunks), 1)
        self.same_bytes(np.concatenate([chunk.values for chunk in chunks]),
                        rows)
        self.assertEqual(sum((chunk.labels for chunk in chunks), []), labels)
        self.assertEqual([chunk.first_id for chunk in chunks], np.cumsum(
            [0] + [len(chunk.values) for chunk in chunks[:-1]]).tolist())
        self.assertEqual({chunk.state for chunk in chunks}, {None})
        self.assertEqual(list(exported), [])

    def test_a_part_comes_with_its_state(self):
        self.words(optimizer=quire.optimizers.Adagrad(
            initial_accumulator_value=0.25))

        (chunk,) = self.client.export_table("words", first_id=4, row_count=2,
                                            include_state=True)

        self.assertEqual(chunk.first_id, 4)
        self.assertIsNone(chunk.labels)
        self.same_bytes(chunk.values, self.client.lookup("words", [4, 5]))
        self.same_bytes(chunk.state, np.full((2, 5), 0.25))

    def test_chunks_are_imported_as_they_come(self):
        table = self.words(10, 5)
        self.client.set_labels("words", [1], ["one"])

        copy = self.client.import_table(
            "copy", self.client.export_table("words"), num_embeddings=10,
            embedding_dim=5)
        self.assertEqual(copy.stats.label_count, 1)
        self.same_bytes(self.client.lookup("copy", range(10)), table)
        self.client.import_table("halves", iter([table[:4], table[4:]]),
                                 num_embeddings=10, embedding_dim=5)
        self.same_bytes(self.client.lookup("halves", range(10)), table)

    def test_state_and_step_are_imported_and_training_goes_on(self):
        """The same pushes to a table and to its copy give the same bytes."""
        for optimizer in (
                quire.optimizers.Sgd(momentum=0.5),
                quire.optimizers.Adagrad(lr_decay=0.5),
                quire.optimizers.Adam(amsgrad=True, scope="all"),
                quire.optimizers.RowwiseRmsprop(),
                quire.optimizers.PartialRowwiseLamb()):
            with self.subTest(optimizer):
                self.setUp()
                self.words(10, 5, optimizer=optimizer)

                def push(*tables):
                    for table in tables:
                        self.client.apply_gradient(
                            table, [1, 7, 1], np.arange(15).reshape(3, 5))

                push("words")
                push("words")
                exported = self.client.export_table("words",
                                                    include_state=True)
                copy = self.client.import_table(
                    "copy", exported, step=exported.table.step,
                    num_embeddings=10, embedding_dim=5,
                    optimizer=exported.table.spec.optimizer)
                self.assertEqual(copy.step, 2)
                stored = self.client.read_rows("words", range(10))
                self.client.import_table(
                    "array", stored.values, state=stored.state, step=2,
                    optimizer=exported.table.spec.optimizer)
                push("words", "copy", "array")

                stored = self.client.read_rows("words", range(10))
                for name in ("copy", "array"):
                    found = self.client.read_rows(name, range(10))
                    self.same_bytes(found.values, stored.values)
                    self.same_bytes(found.state, stored.state)

    def test_every_optimizer_names_the_parts_of_its_state(self):
        kinds = [kind for kind in vars(quire.optimizers).values()
                 if isinstance(kind, type)
                 and issubclass(kind, quire.optimizers.Optimizer)
                 and kind is not quire.optimizers.Optimizer]
        self.assertGreater(len(kinds), 10)
        optimizers = [kind() for kind in kinds] + [
            quire.optimizers.Sgd(momentum=0.5),
            quire.optimizers.Adam(amsgrad=True)]
        for number, optimizer in enumerate(optimizers):
            name = f"parts{number}"
            table = self.client.create_table(name, 2, 5, optimizer=optimizer)
            row = self.client.row(name, 0)
            self.assertEqual(table.spec.optimizer.state_parts(5),
                             [(part, len(values))
                              for part, values in row.state.items()],
                             optimizer)

    def test_state_that_does_not_fit_is_refused(self):
        adam = quire.optimizers.Adam()
        load = self.client.import_table
        with self.refused(quire.InvalidArgument, "BAD_SHAPE", "state",
                          r"\(1, 10\); for 2 rows"):
            load("words", np.zeros((2, 5)), state=np.zeros((1, 10)),
                 optimizer=adam)
        with self.refused(quire.InvalidArgument, "BAD_SHAPE", "chunk.state",
                          "9"):
            load("words", np.zeros((2, 5)), state=np.zeros((2, 9)),
                 optimizer=adam)
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "state",
                          "go with an array"):
            load("words", iter([]), state=np.zeros((2, 9)))
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "step", "-1"):
            load("words", np.zeros((2, 5)), step=-1)
        self.assertEqual(self.client.tables(), [])

    def test_who_wants_to_know_is_told_how_far_it_is(self):
        told = []

        def tell(done, total):
            told.append((done, total))

        rows = np.zeros((50000, 16), np.float32)
        self.client.import_table("words", iter([rows[:10], rows[10:]]),
                                 num_embeddings=50000, embedding_dim=16,
                                 progress=tell)
        self.assertEqual(told, [(10, 50000), (50000, 50000)])
        told.clear()
        for _ in self.client.export_table("words", first_id=5,
                                          row_count=49000, progress=tell):
            pass
        self.assertGreater(len(told), 1)
        self.assertEqual(told[-1], (49000, 49000))
        self.assertEqual(told, sorted(told))

        def stop(done, total):
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            self.client.import_table("half", rows, progress=stop)
        with self.assertRaises(quire.NotFound):
            self.client.table("half")

    def test_a_terminal_gets_a_bar_and_a_file_nothing(self):
        for is_terminal in (True, False):
            screen = Screen(is_terminal)
            with contextlib.redirect_stderr(screen), \
                    unittest.mock.patch("time.monotonic",
                                        itertools.count(0, 20).__next__):
                self.client.import_table(
                    f"words{is_terminal}", iter([np.zeros((430, 4))] * 5),
                    num_embeddings=2150, embedding_dim=4, progress=True)
            text = screen.getvalue()
            if is_terminal:
                self.assertRegex(
                    text, "\rimporting  20% █+.* 430 of 2,150 rows  "
                          r"21\.5/s  1:20 left\x1b\[K")
                self.assertTrue(text.endswith("\r\x1b[K"), text)
            else:
                self.assertEqual(text, "")

    def test_an_import_that_is_left_makes_no_table(self):
        with self.client.begin_import("half", 2, 3) as half:
            half.write([[1, 2, 3]])
        with self.assertRaises(quire.NotFound):
            self.client.table("half")
        with self.refused(quire.FailedPrecondition, "", "", "has ended"):
            half.write([[1, 2, 3]])
        with self.assertRaises(quire.InvalidArgument):
            self.client.import_table("half", iter([[[1, 2, 3]]]),
                                     num_embeddings=2, embedding_dim=3)
        with self.assertRaises(quire.NotFound):
            self.client.table("half")

    def test_imports_that_cannot_be_are_refused(self):
        load = self.client.import_table
        with self.refused(quire.InvalidArgument, "BAD_SHAPE", "rows",
                          r"\(n, dim\)"):
            load("words", [1, 2, 3])
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "num_embeddings",
                          "needed"):
            load("words", iter([]))
        with self.refused(quire.InvalidArgument, "BAD_SHAPE", "labels",
                          "1 labels for 2 rows"):
            load("words", np.zeros((2, 3)), labels=["a"])
        with self.refused(quire.InvalidArgument, "BAD_VALUE", "spec",
                          "'colour'"):
            load("words", np.zeros((2, 3)), colour="blue")
        with self.client.begin_import("words", 2, 3) as table:
            with self.refused(quire.InvalidArgument, "BAD_SHAPE", "values",
                              r"\(n, 3\)"):
                table.write(np.zeros((1, 4)))
        load("words", np.zeros((2, 3)))
        with self.refused(quire.AlreadyExists, "TABLE_EXISTS",
                          "header.spec.name", "words"):
            load("words", np.zeros((2, 3)))

    def test_an_export_may_be_left(self):
        self.client.import_table("words", np.zeros((300000, 4), np.float32))

        with self.client.export_table("words") as exported:
            next(exported)

        self.assertEqual(list(exported), [])
        with self.refused(quire.NotFound, "NO_SUCH_TABLE", "table.name",
                          "nowhere"):
            self.client.export_table("nowhere")


class Words(python_case.PythonCase):
    """The dataclasses are the messages, field by field."""

    def test_the_fields_are_those_of_the_api(self):
        with tempfile.TemporaryDirectory() as out:
            quire_process.generate_stubs(out, str(ROOT / "proto"))
            # They are quire.v1 too: see quire/__init__.py.
            quire.__path__ = pkgutil.extend_path(quire.__path__, "quire")
            from quire.v1 import admin_pb2, embedding_pb2, table_pb2
            messages = {
                "Table": admin_pb2.Table, "TableSpec": table_pb2.TableSpec,
                "TableStats": admin_pb2.TableStats,
                "Position": table_pb2.Position,
                "GradientClip": table_pb2.GradientClip,
                "ServerInfo": admin_pb2.GetServerInfoResponse,
                "ServerLimits": admin_pb2.ServerLimits,
                "Stats": admin_pb2.GetStatsResponse,
                "MethodStats": admin_pb2.GetStatsResponse.MethodStats,
                "LogStats": admin_pb2.LogStats,
                "ClockState": admin_pb2.AdvanceClockResponse,
                "Verified": admin_pb2.VerifyTableResponse,
                "ScrubStats": admin_pb2.ScrubStats,
                "RecoveryStats": admin_pb2.RecoveryStats,
                "Backup": admin_pb2.BackUpResponse,
                "Rewound": admin_pb2.RewindTableResponse,
                "Row": admin_pb2.GetRowResponse,
                "RowChange": admin_pb2.GetRowResponse.Change,
                "Pushed": embedding_pb2.ApplyGradientResponse}
            for name, message in messages.items():
                self.check(getattr(quire, name), message.DESCRIPTOR)
            for module, oneof in ((quire.optimizers, table_pb2.Optimizer),
                                  (quire.initializers, table_pb2.Initializer)):
                kinds = oneof.DESCRIPTOR.oneofs_by_name["kind"].fields
                self.assertEqual({kind.name for kind in kinds},
                                 set(module._BY_KIND))
                for kind in kinds:
                    self.check(module._BY_KIND[kind.name], kind.message_type)

    def check(self, cls, descriptor):
        # The learning rate is beside the kind, for all of them.
        self.assertEqual({field.name for field in dataclasses.fields(cls)}
                         - {"learning_rate"},
                         {field.name for field in descriptor.fields}, cls)


if __name__ == "__main__":
    python_case.main()
