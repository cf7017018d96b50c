"""quire lookup: ids as they are typed, rows as they are printed."""

import csv
import io
import json

import numpy

import cli_case

ROWS = numpy.array([[100 * i + j + 0.5 for j in range(5)] for i in range(10)],
                   numpy.float32)
IDS = numpy.array([[2, 3], [1, 0], [8, 6]])
LITERAL = "[[2,3],[1,0],[8,6]]"


class LookupTest(cli_case.CliCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        numpy.save(cls.dir / "dictionary.npy", ROWS)
        cls.wide = numpy.random.default_rng(7).normal(
            size=(40, 32)).astype(numpy.float32)
        numpy.save(cls.dir / "wide.npy", cls.wide)
        case = cls()
        case.quire("import", "dictionary.npy")
        case.quire("import", "wide.npy")
        case.quire("label", "set", "dictionary", "3=king", "7=queen",
                   "9=new york")

    def looked_up(self, *ids, table="dictionary", stdin=b""):
        document = json.loads(self.quire("lookup", table, *ids, "-o", "json",
                                         stdin=stdin))
        rows = numpy.array(document["embeddings"], numpy.float32)
        return numpy.array(document["ids"]), rows.reshape(document["shape"])

    def check_rows(self, ids, *typed, stdin=b""):
        found, rows = self.looked_up(*typed, stdin=stdin)
        numpy.testing.assert_array_equal(found, ids)
        numpy.testing.assert_array_equal(rows, ROWS[numpy.array(ids, int)])

    def test_a_literal_keeps_its_shape_and_dim_is_appended(self):
        text = self.quire("lookup", "dictionary", LITERAL)

        self.assertTrue(text.endswith("shape (3, 2, 5)\n"), text)
        numbers, shape = cli_case.parse_tensor(text)
        self.assertEqual(shape, (3, 2, 5))
        numpy.testing.assert_array_equal(
            numpy.array(numbers, numpy.float32), ROWS[IDS])

    def test_ids_may_be_plain_ranges_or_of_any_rank(self):
        self.check_rows([2, 3], 2, 3)
        self.check_rows(range(10), "0..9")
        self.check_rows([5, 0, 1, 2, 5], 5, "0..2", 5)
        self.check_rows([[[[4]]]], "[[[[4]]]]")
        self.check_rows([4, 4], "[4,4]")
        self.check_rows(4, "4", "--shape", "()")
        self.check_rows([[0, 1, 2], [3, 4, 5]], "0..5", "--shape", "2,3")

    def test_no_ids_are_an_empty_tensor_of_the_right_shape(self):
        for literal, shape in (("[]", (0, 5)), ("[[],[]]", (2, 0, 5))):
            numbers, printed = cli_case.parse_tensor(
                self.quire("lookup", "dictionary", literal))
            self.assertEqual((numbers, printed), ([], shape))

    def test_words_are_rows_by_their_labels(self):
        self.check_rows([3], "--word", "king")
        self.check_rows([7, 9], "-w", "queen", "-w", "new york")
        self.check_rows([1, 3], 1, "--word", "king")

    def test_standard_input_has_literals_a_line_each(self):
        self.check_rows(IDS, stdin=LITERAL.encode())
        self.check_rows(IDS, "-", stdin=LITERAL.encode() + b"\n")

        documents = self.quire("lookup", "dictionary", "-o", "json",
                               stdin=b"[[1,2]]\n[3]\n4\n").splitlines()

        self.assertEqual([json.loads(line)["ids"] for line in documents],
                         [[[1, 2]], [3], 4])

    def test_standard_input_of_plain_ids_is_one_batch(self):
        self.check_rows([4, 5, 0, 1, 2], stdin=b"4 5\n0..2\n")

    def test_ids_may_come_from_files(self):
        numpy.save(self.dir / "ids.npy", IDS)
        numpy.save(self.dir / "small.npy", IDS.astype(numpy.int32))
        self.write("ids.txt", LITERAL)

        self.check_rows(IDS, "ids.npy")
        self.check_rows(IDS, "@ids.npy")
        self.check_rows(IDS, "small.npy")
        self.check_rows(IDS, "@ids.txt")
        self.check_rows(IDS, stdin=(self.dir / "ids.npy").read_bytes())

    def test_every_form_of_output_reads_back_as_the_same_numbers(self):
        def lookup(output):
            return self.quire_bytes("lookup", "wide", "[[1,2],[39,0]]",
                                    "-o", output)

        ids = numpy.array([[1, 2], [39, 0]])
        rows = self.wide[ids]
        document = json.loads(lookup("json"))
        self.assertEqual(document["table"], "wide")
        self.assertEqual(document["shape"], [2, 2, 32])
        numpy.testing.assert_array_equal(document["ids"], ids)
        numpy.testing.assert_array_equal(
            numpy.array(document["embeddings"], numpy.float32), rows)
        lines = [json.loads(line) for line in lookup("jsonl").splitlines()]
        self.assertEqual([line["id"] for line in lines], [1, 2, 39, 0])
        numpy.testing.assert_array_equal(
            numpy.array([line["embedding"] for line in lines], numpy.float32),
            rows.reshape(4, 32))
        titles, *records = csv.reader(io.StringIO(lookup("csv").decode()))
        self.assertEqual(titles, ["id", *map(str, range(32))])
        self.assertEqual([record[0] for record in records],
                         ["1", "2", "39", "0"])
        numpy.testing.assert_array_equal(
            numpy.array([record[1:] for record in records], numpy.float32),
            rows.reshape(4, 32))
        array = numpy.load(io.BytesIO(lookup("npy")))
        self.assertEqual(array.dtype, numpy.float32)
        numpy.testing.assert_array_equal(array, rows)

    def test_long_vectors_are_cut_as_torch_cuts_them_unless_full(self):
        numbers, shape = cli_case.parse_tensor(
            self.quire("lookup", "wide", "[[1,2]]"))
        full, full_shape = cli_case.parse_tensor(
            self.quire("lookup", "wide", "[[1,2]]", "--full"))

        self.assertEqual(shape, (1, 2, 32))
        self.assertEqual(full_shape, (1, 2, 32))
        for vector, row in zip(numbers[0], self.wide[[1, 2]]):
            self.assertIs(vector[3], ...)
            numpy.testing.assert_allclose(
                vector[:3] + vector[4:], numpy.r_[row[:3], row[-3:]],
                atol=5.001e-5)
        numpy.testing.assert_allclose(full, self.wide[[[1, 2]]],
                                      atol=5.001e-5)

    def test_many_rows_are_cut_too(self):
        self.quire("table", "create", "tall", "--rows", 2000, "--dim", 2,
                   "--init", "constant:1")

        numbers, shape = cli_case.parse_tensor(
            self.quire("lookup", "tall", "0..1999"))

        self.assertEqual(shape, (2000, 2))
        self.assertEqual(numbers, [[1, 1]] * 3 + [...] + [[1, 1]] * 3)

    def test_what_is_no_batch_of_ids_is_refused_with_its_place(self):
        def refused(sentence, *ids, stdin=b""):
            said = self.refused(2, sentence, "lookup", "dictionary", *ids,
                                stdin=stdin)
            self.assertNotIn("0x", said)

        refused(r"character 11: 'x' is no id", "[[2,3],[1,x]]")
        refused("character 7: a list is not closed", "[[2,3]")
        refused(r"ragged nesting: \[1\] has length 1, others 2",
                "[[2,3],[1]]")
        refused("ragged nesting: .* is a number, where others are lists",
                "[[2,3],1]")
        refused("character 5: the literal has ended here", "[1] [2]")
        refused("'1.5' is no id", "1.5")
        refused("-1 is no id: ids are 0 or more", "-1")
        refused("-1 is no id: ids are 0 or more", "[[-1]]")
        refused(r"over 2\^63 - 1", 2**63)
        refused("ends before it begins", "5..2")
        refused("more than 67108864 ids", "0..99999999999")
        refused("6 ids do not have the shape", "0..5", "--shape", "2,2")
        refused("'2,x' is no shape", "0..5", "--shape", "2,x")
        refused(r"standard input.* line 2", stdin=b"[1]\n[2,[3]]\n")
        refused("'\\[2\\]' is a whole batch: give it alone", 1, "[2]")
        refused("--word goes with plain ids", "[[1]]", "--word", "king")

    def test_a_file_that_is_missing_or_broken_is_named(self):
        numpy.save(self.dir / "whole.npy", numpy.arange(100))
        whole = (self.dir / "whole.npy").read_bytes()
        self.write("short.npy", whole[:-8])
        self.write("header.npy", whole[:20])
        numpy.save(self.dir / "floats.npy", ROWS)

        def refused(sentence, *ids):
            self.refused(2, sentence, "lookup", "dictionary", *ids)

        refused("cannot open 'missing.npy': No such file", "missing.npy")
        refused("cannot open 'missing.txt': No such file", "@missing.txt")
        refused("short.npy", "short.npy")
        refused("header.npy", "header.npy")
        refused("floats.npy", "floats.npy")

    def test_an_id_out_of_range_is_refused_with_its_position(self):
        self.refused(1, r"id 10 at position 3 is not in \[0, 10\)\n"
                     r"  field: tables\[0\].ids.ids\[3\]\n"
                     r"  next: 'quire table describe NAME'",
                     "lookup", "dictionary", "[[2,3],[1,10],[99,6]]")
        self.refused(1, "no row with the label 'kingg'",
                     "lookup", "dictionary", "--word", "kingg")

    def test_npy_holds_one_batch(self):
        self.refused(2, "-o npy holds one batch, and there are 2",
                     "lookup", "dictionary", "-o", "npy",
                     stdin=b"[1]\n[2]\n")


class BagsTest(cli_case.CliCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        numpy.save(cls.dir / "dictionary.npy", ROWS)
        cls().quire("import", "dictionary.npy")

    def pooled(self, *arguments):
        document = json.loads(self.quire("lookup", "dictionary", *arguments,
                                         "-o", "json"))
        rows = numpy.array(document["embeddings"], numpy.float32)
        self.assertEqual(document["shape"], list(rows.shape))
        return rows

    def check(self, expected, *arguments):
        numpy.testing.assert_allclose(
            self.pooled(*arguments), expected, rtol=1e-6)

    def test_each_row_of_ids_is_a_bag(self):
        self.check(ROWS[IDS].sum(axis=1), LITERAL, "--pool", "sum")
        self.check(ROWS[IDS].mean(axis=1), LITERAL, "--pool", "mean")
        self.check(ROWS[IDS].max(axis=1), LITERAL, "--pool", "max")
        self.check(ROWS[IDS].sum(axis=1) / numpy.sqrt(2), LITERAL,
                   "--pool", "sqrtn")
        self.check(numpy.zeros((2, 5)), "[[],[]]", "--pool", "sum")

    def test_plain_ids_are_bags_from_offset_to_offset(self):
        self.check([ROWS[1] + ROWS[2], 0 * ROWS[0], ROWS[9]],
                   1, 2, 9, "--pool", "sum", "--offsets", "0,2,2")
        self.check([0.5 * ROWS[1] + 2 * ROWS[2], 4 * ROWS[9]],
                   1, 2, 9, "--pool", "sum", "--offsets", "0,2",
                   "--weights", "0.5,2,4")
        self.assertTrue(self.quire("lookup", "dictionary", LITERAL, "--pool",
                                   "mean").endswith("shape (3, 5)\n"))

    def test_offsets_and_weights_that_do_not_fit_are_refused(self):
        self.refused(2, "offsets ascend", "lookup", "dictionary", 1, 2, 3,
                     "--pool", "sum", "--offsets", "0,2,1")
        self.refused(2, "1 weights for 2 ids", "lookup", "dictionary", 1, 2,
                     "--pool", "sum", "--offsets", "0", "--weights", "0.5")
        self.refused(1, "they go with POOLING_SUM only", "lookup",
                     "dictionary", 1, 2, "--pool", "max", "--offsets", "0",
                     "--weights", "0.5,1")

    def test_what_no_bags_can_be_is_refused(self):
        self.refused(2, "--offsets and --weights are of bags; add --pool",
                     "lookup", "t", 1, "--offsets", "0,1")
        self.refused(2, "take table, json or npy", "lookup", "t", "[[1]]",
                     "--pool", "sum", "-o", "csv")
        self.refused(2, "'median' is none of sum, mean, max, sqrtn",
                     "lookup", "t", "[[1]]", "--pool", "median")
        self.refused(2, "--offsets cannot be 'x'",
                     "lookup", "t", 1, "--pool", "sum", "--offsets", "x")
        self.refused(2, r"bags are the rows of '\[\[1,2\],\[3,4\]\]'",
                     "lookup", "dictionary", 1, 2, "--pool", "sum")
        self.refused(2, r"ids of shape \(1, 1\) and --offsets",
                     "lookup", "dictionary", "[[1]]", "--pool", "sum",
                     "--offsets", "0")


if __name__ == "__main__":
    cli_case.main()
