"""quire apply and quire label: what changes rows and what names them."""

import concurrent.futures
import contextlib
import csv
import io
import json

import grpc
import numpy

import cli_case


class RowsCase(cli_case.CliCase):

    def create(self, name, *options):
        """A table of 10 x 3 zeros whose learning rate is 0.5."""
        self.quire("table", "create", name, "--rows", 10, "--dim", 3,
                   "--init", "zeros", "--lr", 0.5, *options)

    def rows(self, table):
        document = json.loads(
            self.quire("lookup", table, "0..9", "-o", "json"))
        return numpy.array(document["embeddings"], numpy.float32)


class ApplyTest(RowsCase):

    def test_a_push_steps_the_rows_that_it_names_and_no_others(self):
        self.create("stepped")

        printed = self.quire("apply", "stepped", "[[2,3],[1,0],[8,6]]",
                             "--fill", 2)

        self.assertEqual(printed, "6 rows changed; step 1\n")
        expected = numpy.zeros((10, 3), numpy.float32)
        expected[[2, 3, 1, 0, 8, 6]] = -1
        numpy.testing.assert_array_equal(self.rows("stepped"), expected)

    def test_duplicates_in_a_push_are_summed(self):
        self.create("summed")

        printed = self.quire("apply", "summed", 4, 4, 4, "-g",
                             "[[1,0,0],[0,2,0],[1,0,-4]]", "--lr", 1,
                             "-o", "json")

        pushed = json.loads(printed)
        # Whether a repeat would be applied again is the server's to say.
        self.assertIsInstance(pushed.pop("exactly_once"), bool)
        self.assertEqual(pushed,
                         {"table": "summed", "rows_changed": 1,
                          "padding_dropped": 0, "rows_skipped": 0, "step": 1,
                          "reached": "memory", "duplicate": False})
        numpy.testing.assert_array_equal(self.rows("summed")[4], [-2, -2, 4])
        self.assertEqual(self.quire("apply", "summed", 4, "--fill", 1),
                         "1 row changed; step 2\n")

    def test_what_was_dropped_and_skipped_is_told_where_it_happened(self):
        self.create("told", "--padding-idx", 0, "--non-finite", "skip_row")
        gradient = numpy.ones((4, 3), numpy.float32)
        gradient[1, 1] = numpy.nan
        numpy.save(self.dir / "told.npy", gradient)

        printed = self.quire("apply", "told", 0, 1, 2, 0, "-g", "told.npy")

        self.assertEqual(printed, "1 row changed, 2 padding gradients dropped, "
                         "1 row skipped (not finite); step 1\n")
        numpy.testing.assert_array_equal(self.rows("told")[:3],
                                         [[0] * 3, [0] * 3, [-0.5] * 3])
        as_json = json.loads(self.quire("apply", "told", 0, "--fill", 1,
                                        "-o", "json"))
        self.assertEqual((as_json["rows_changed"], as_json["padding_dropped"],
                          as_json["rows_skipped"]), (0, 1, 0))
        self.assertRegex(self.quire("table", "describe", "told"),
                         r"\npushes +2, 1 row changed, 1 row skipped; step 2\n")

    def test_ids_and_gradient_may_come_from_files_and_standard_input(self):
        self.create("filed")
        ids = numpy.array([[1, 2], [3, 4]])
        gradient = numpy.arange(12, dtype=numpy.float32).reshape(2, 2, 3)
        numpy.save(self.dir / "i.npy", ids)
        numpy.save(self.dir / "g.npy", gradient)
        self.write("g.json", json.dumps(gradient.tolist()))
        expected = numpy.zeros((10, 3), numpy.float32)

        for source, stdin in (("g.npy", b""), ("@g.json", b""),
                              ("-", (self.dir / "g.json").read_bytes())):
            self.quire("apply", "filed", "i.npy", "--gradient", source,
                       "--lr", 1, stdin=stdin)
            expected[ids] -= gradient
            numpy.testing.assert_array_equal(self.rows("filed"), expected)

    def test_a_table_in_memory_promises_no_durability(self):
        self.create("forgetful")

        for durability in ("written", "synced"):
            said = self.refused(1, "min_durability is DURABILITY_" +
                                durability.upper(), "apply", "forgetful", 1,
                                "--fill", 1, "--durability", durability)
            self.assertIn("  next: leave out --durability", said)
        self.refused(2, "'safe' is none of written, synced", "apply",
                     "forgetful", 1, "--fill", 1, "--durability", "safe")

        numpy.testing.assert_array_equal(self.rows("forgetful"),
                                         numpy.zeros((10, 3)))

    def test_words_name_the_rows_of_a_push(self):
        self.create("worded")
        self.quire("label", "set", "worded", "5=king")

        self.quire("apply", "worded", "--word", "king", "--fill", 2)

        numpy.testing.assert_array_equal(self.rows("worded")[5], [-1] * 3)

    def test_a_push_that_is_refused_changes_nothing(self):
        self.create("unchanged")

        def refused(code, sentence, *arguments, stdin=b""):
            self.refused(code, sentence, "apply", "unchanged", *arguments,
                         stdin=stdin)

        refused(2, "give either --gradient or --fill", 1)
        refused(2, "give either --gradient or --fill", 1, "--fill", 1, "-g",
                "[[1,1,1]]")
        refused(2, r"gradient of shape \(3,\) for ids of shape \(1,\)", 1,
                "-g", "[1,1,1]")
        refused(2, r"gradient of shape \(1, 3\) for ids of shape \(2,\)", 1, 2,
                "-g", "[[1,1,1]]")
        refused(1, r"shape \(1, 2\) for ids of shape \(1,\); it must be "
                r"\(1, 3\)", 1, "-g", "[[1,1]]")
        refused(2, "ragged nesting", 1, "-g", "[[1,1],[1]]")
        refused(2, "cannot open 'missing.npy'", 1, "-g", "missing.npy")
        refused(2, "'x' is no number", 1, "-g", "[[1,1,x]]")
        refused(2, "cannot both be standard input", "-", "-g", "-")
        refused(2, "--fill cannot be 'x'", 1, "--fill", "x")
        refused(1, "id 1 .row 0.*column 0.* is not finite", 1, "--fill", "nan")
        refused(1, r"id 10 at position 1 is not in \[0, 10\)", 1, 10,
                "--fill", 1)
        refused(2, "one batch of ids, and there are 2", "--fill", 1,
                stdin=b"[1]\n[2]\n")

        numpy.testing.assert_array_equal(self.rows("unchanged"),
                                         numpy.zeros((10, 3)))
        table = json.loads(
            self.quire("table", "describe", "unchanged", "-o", "json"))
        self.assertEqual(table["step"], 0)


@contextlib.contextmanager
def server_that_says(answers):
    """A server that answers each method, by its name, with the same bytes.

    Gives its address, and what was asked: a list of (method, request).
    """
    asked = []

    class Methods(grpc.GenericRpcHandler):

        def service(self, call):
            name = call.method.rsplit("/", 1)[1]

            def answer(request, _):
                asked.append((name, request))
                return answers[name]
            return grpc.unary_unary_rpc_method_handler(answer)

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads, handlers=[Methods()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}", asked
        finally:
            server.stop(0).wait()


class AnswerTest(cli_case.CliCase):
    """What is told of an answer that a server with a log gives."""

    SESSION = b"0123456789abcdef"
    # position 3:1042, reached SYNCED, exactly_once; a table of 1 row, step 7.
    ANSWER = (b"\x0a\x05\x08\x03\x10\x92\x08" b"\x10\x03" b"\x20\x01"
              b"\x2a\x16" b"\x0a\x10" + SESSION + b"\x10\x01" b"\x28\x07")
    DUPLICATE = b"\x18\x01"
    ANSWERS = {
        "GetServerInfo": b"\x0a\x010" b"\x12\x08sessions",
        "OpenSession": b"\x0a\x10" + SESSION,
        "CloseSession": b"",
        "ApplyGradient": ANSWER,
    }

    def test_position_and_durability_are_told_and_the_session_is_closed(self):
        with server_that_says(self.ANSWERS) as (address, asked):
            def apply(*options):
                return self.quire("apply", "t", 1, "-g", "[[1,2]]", "--server",
                                  address, "--durability", "synced", *options)

            self.assertEqual(apply(), "1 row changed; step 7; synced at 3:1042\n")
            self.assertEqual(
                json.loads(apply("-o", "json")),
                {"table": "t", "rows_changed": 1, "padding_dropped": 0,
                 "rows_skipped": 0, "step": 7,
                 "position": {"epoch": 3, "lsn": 1042}, "reached": "synced",
                 "duplicate": False, "exactly_once": True})

        self.assertEqual([method for method, _ in asked], [
            "GetServerInfo", "OpenSession", "ApplyGradient", "CloseSession"] * 2)
        # push_id: the session, and 1; min_durability: SYNCED.
        self.assertTrue(asked[2][1].startswith(
            b"\x0a\x14" b"\x0a\x10" + self.SESSION + b"\x10\x01" b"\x10\x03"),
            asked[2][1])
        self.assertEqual(asked[3][1], b"\x0a\x10" + self.SESSION)

    def test_a_push_that_had_been_applied_is_told(self):
        answers = {**self.ANSWERS,
                   "ApplyGradient": self.ANSWER + self.DUPLICATE}
        with server_that_says(answers) as (address, _):
            self.assertEqual(
                self.quire("apply", "t", 1, "-g", "[[1,2]]",
                           "--server", address),
                "1 row changed; step 7; synced at 3:1042; had been applied "
                "before\n")


class LabelTest(RowsCase):

    def labels(self, table):
        rows = json.loads(
            self.quire("label", "get", table, "0..9", "-o", "json"))
        return [row["label"] for row in rows]

    def test_labels_that_were_set_are_got_and_found_in_every_form(self):
        self.create("named")

        self.assertEqual(self.quire("label", "set", "named", "2=cat", "3=dog",
                                    "9=new york, ny"), "set 3 labels\n")

        rows = [{"id": 2, "label": "cat"}, {"id": 9, "label": "new york, ny"}]
        for command in (["get", "named", 2, 9],
                        ["find", "named", "cat", "new york, ny"]):
            def printed(output):
                return self.quire("label", *command, "-o", output)
            self.assertEqual(json.loads(printed("json")), rows)
            self.assertEqual(
                [json.loads(line) for line in printed("jsonl").splitlines()],
                rows)
            self.assertEqual(
                list(csv.DictReader(io.StringIO(printed("csv")))),
                [{"id": "2", "label": "cat"},
                 {"id": "9", "label": "new york, ny"}])
            self.assertEqual(printed("table"),
                             "id  label\n 2  cat\n 9  new york, ny\n")

    def test_an_empty_label_removes_and_one_label_is_one(self):
        self.create("removed")

        self.assertEqual(self.quire("label", "set", "removed", "4=cat"),
                         "set 1 label\n")
        self.quire("label", "set", "removed", "4=")

        self.assertEqual(self.labels("removed"), [""] * 10)
        self.refused(1, "no row with the label 'cat'",
                     "label", "find", "removed", "cat")

    def test_labels_come_from_lines_and_may_hold_signs(self):
        self.create("lines")
        self.write("labels.tsv", "0\ta=b\n1\tx y\n")

        self.quire("label", "set", "lines", "@labels.tsv")
        self.quire("label", "set", "lines", "-", stdin=b"2\t-minus\n")

        self.assertEqual(self.labels("lines")[:3], ["a=b", "x y", "-minus"])

    def test_the_smallest_of_several_rows_is_found(self):
        self.create("twins")
        self.quire("label", "set", "twins", "7=twin", "5=twin", "8=twin")

        found = json.loads(self.quire("label", "find", "twins", "twin",
                                      "-o", "json"))

        self.assertEqual(found, [{"id": 5, "label": "twin"}])

    def test_a_label_that_is_refused_leaves_all_as_they_were(self):
        self.create("guarded")
        self.quire("label", "set", "guarded", "1=one")
        self.write("bad.tsv", "2\ttwo\nthree\n")

        def refused(code, sentence, *arguments):
            self.refused(code, sentence, "label", "set", "guarded", *arguments)

        refused(2, "'cat' is no label; 2=cat would be one", "2=two", "cat")
        refused(2, "'x' is no id", "2=two", "x=cat")
        refused(2, "a label is for one row", "0..3=cat")
        refused(2, "bad.tsv line 2: 'three' is no label", "@bad.tsv")
        refused(1, r"id 10 at position 1 is not in \[0, 10\)", "2=two",
                "10=ten")
        refused(2, "LABELS is required")

        self.assertEqual(self.labels("guarded"), ["", "one"] + [""] * 8)


if __name__ == "__main__":
    cli_case.main()
