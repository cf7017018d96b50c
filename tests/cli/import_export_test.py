"""quire import and quire export: files to tables and back."""

import csv
import gzip
import io
import json
import pathlib

import numpy

import cli_case

GLOVE = pathlib.Path(__file__).parents[2] / "examples" / "glove.5k.100d.txt"

ROWS = numpy.array([[0.1, -2, 3e-7], [1 / 3, 5, -0.0], [7, 8, 1e30]],
                   numpy.float32)
# Spaces in a word, a word twice, bytes that are no UTF-8.
WORDS = [b"new york", b"twin", b"twin", b"\xff\xfe"]
WORD_ROWS = numpy.arange(12, dtype=numpy.float32).reshape(4, 3) / 8


def glove_text(words=WORDS, rows=WORD_ROWS):
    return b"".join(
        word + b" " + " ".join(repr(float(x)) for x in row).encode() + b"\n"
        for word, row in zip(words, rows))


class TransferCase(cli_case.CliCase):

    def rows(self, table):
        return numpy.load(io.BytesIO(self.quire_bytes(
            "lookup", table, "-o", "npy", f"0..{self.count(table) - 1}")))

    def count(self, table):
        spec = json.loads(self.quire("table", "describe", table,
                                     "-o", "json"))["spec"]
        return spec["num_embeddings"]

    def labels(self, table):
        """As bytes."""
        text = self.quire_bytes("label", "get", table, "-o", "csv",
                                f"0..{self.count(table) - 1}")
        rows = csv.reader(io.StringIO(text.decode("latin-1")))
        return [row[1].encode("latin-1") for row in rows][1:]

    def check_words(self, table):
        numpy.testing.assert_array_equal(self.rows(table), WORD_ROWS)
        self.assertEqual(self.labels(table), WORDS)


class ImportTest(TransferCase):

    def test_an_array_becomes_a_table_named_by_the_files_stem(self):
        numpy.save(self.dir / "users.npy", ROWS)

        printed = self.quire("import", "users.npy", "--optimizer", "adagrad",
                             "--lr", 0.05)

        self.assertRegex(printed, r"^imported 3 rows × 3 floats as table "
                         r"'users' in \d+\.\d\d s\n$")
        numpy.testing.assert_array_equal(self.rows("users"), ROWS)
        self.assertIn("\noptimizer     adagrad, lr 0.05,",
                      self.quire("table", "describe", "users"))

    def test_arrays_of_other_layouts_are_the_same_rows(self):
        numpy.save(self.dir / "doubles.npy", ROWS.astype(numpy.float64))
        numpy.save(self.dir / "fortran.npy", numpy.asfortranarray(ROWS))
        with gzip.open(self.dir / "packed.npy.gz", "wb") as file:
            numpy.save(file, ROWS)

        for name in ("doubles.npy", "fortran.npy", "packed.npy.gz"):
            self.quire("import", name)
            numpy.testing.assert_array_equal(self.rows(name.split(".")[0]),
                                             ROWS)

    def test_words_of_a_glove_file_become_labels(self):
        self.write("odd.txt", glove_text())

        printed = self.quire("import", "odd.txt")

        self.assertRegex(
            printed, r"^imported 4 rows × 3 floats as table 'odd' in .* s\n"
            r"4 labels: 1 came again \(the first: 'twin'\), 1 not UTF-8\n$")
        self.check_words("odd")
        self.assertEqual(
            json.loads(self.quire("lookup", "odd", "-w", "new york", "-w",
                                  "twin", "-o", "json"))["ids"], [0, 1])

    def test_counts_are_also_in_the_json(self):
        self.write("counted.txt", glove_text())

        printed = json.loads(self.quire("import", "counted.txt", "-o", "json"))

        self.assertEqual(printed["labels"], 4)
        self.assertEqual(printed["duplicate_labels"], 1)
        self.assertEqual(printed["labels_not_utf8"], 1)
        self.assertEqual(printed["table"]["spec"]["name"], "counted")

    def test_word2vec_gzip_and_standard_input_are_the_same_table(self):
        word2vec = b"4 3\n" + glove_text()
        self.write("w2v.vec", word2vec)
        self.write("zipped.txt.gz", gzip.compress(glove_text()))

        self.quire("import", "w2v.vec")
        self.quire("import", "zipped.txt.gz")
        self.quire("import", "-", "--name", "piped", stdin=glove_text())
        self.quire("import", "-", "--name", "both",
                   stdin=gzip.compress(word2vec))

        for table in ("w2v", "zipped", "piped", "both"):
            self.check_words(table)

    def test_dim_may_be_given_where_words_look_like_numbers(self):
        self.write("numbers.txt", "1 2 3 4\n5 6 7 8\n")

        self.quire("import", "numbers.txt", "--dim", 2)

        self.assertEqual(self.labels("numbers"), [b"1 2", b"5 6"])
        numpy.testing.assert_array_equal(self.rows("numbers"),
                                         [[3, 4], [7, 8]])

    def test_a_dry_run_says_what_would_be_made_and_makes_nothing(self):
        before = self.quire("table", "list", "-o", "json")

        printed = self.quire("import", GLOVE, "--dry-run")
        document = json.loads(self.quire("import", GLOVE, "--dry-run",
                                         "--name", "dry", "-o", "json"))

        self.assertRegex(printed, "^would make table 'glove.5k.100d' from a "
                         "glove file: 5,000 rows × 100 floats, 1.91 MiB")
        self.assertEqual(document["spec"]["name"], "dry")
        self.assertEqual(document["spec"]["num_embeddings"], 5000)
        self.assertEqual(document["spec"]["embedding_dim"], 100)
        self.assertEqual(self.quire("table", "list", "-o", "json"), before)

    def test_a_file_that_is_no_table_is_refused_and_nothing_is_made(self):
        numpy.save(self.dir / "whole.npy", ROWS)
        whole = (self.dir / "whole.npy").read_bytes()
        self.write("cut.npy", whole[:-4])
        self.write("torn.npy", whole[:30])
        numpy.save(self.dir / "cube.npy", numpy.zeros((2, 2, 2), "f4"))
        numpy.save(self.dir / "text.npy", numpy.array(["a", "b"]))
        self.write("ragged.txt", "a 1 2 3\nb 4 5 6\nc 1 2\nd 7 8 9\n")
        self.write("nan.txt", "a 1 2\nb nan 2\n")
        self.write("short.vec", "3 2\na 1 2\nb 3 4\n")
        self.write("long.vec", "1 2\na 1 2\nb 3 4\n")
        self.write("empty.txt", "")
        self.write("cut.txt.gz", gzip.compress(glove_text() * 99)[:-20])
        self.write("b@d.txt", glove_text())
        before = self.quire("table", "list", "-o", "json")

        def refused(sentence, *arguments):
            self.refused(2, sentence, "import", *arguments)

        refused("cannot open 'missing.txt': No such file", "missing.txt")
        refused("cut.npy", "cut.npy")
        refused("torn.npy", "torn.npy")
        refused("cube.npy", "cube.npy")
        refused("text.npy", "text.npy")
        refused("ragged.txt line 3: 2 numbers after the word, 3 are needed",
                "ragged.txt")
        refused("nan.txt line 2: ", "nan.txt")
        refused("short.vec", "short.vec")
        refused("long.vec line 3", "long.vec")
        refused("empty.txt", "empty.txt")
        refused("cut.txt.gz", "cut.txt.gz")
        refused("like --name b-d", "b@d.txt")
        refused("give the table one with --name", "-")
        refused(r"--dim: '0' is no number in \[1, 65536\]", "whole.npy",
                "--dim", 0)
        refused("FILE is required")
        self.refused(1, "is not \\[A-Za-z0-9\\]", "import", "whole.npy",
                     "--name", "a b")

        self.assertEqual(self.quire("table", "list", "-o", "json"), before)

    def test_a_table_that_exists_keeps_its_rows(self):
        numpy.save(self.dir / "first.npy", ROWS)
        numpy.save(self.dir / "second.npy", -ROWS)
        self.quire("import", "first.npy")

        self.refused(1, "table 'first' exists", "import", "second.npy",
                     "--name", "first")

        numpy.testing.assert_array_equal(self.rows("first"), ROWS)


class ExportTest(TransferCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        numpy.save(cls.dir / "plain.npy", ROWS)
        (cls.dir / "words.txt").write_bytes(glove_text())
        case = cls()
        case.quire("import", "plain.npy")
        case.quire("import", "words.txt")

    def export(self, *arguments):
        """Its standard output; what it says goes to standard error."""
        done = self.run_quire("export", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr.decode(),
                         r"^exported \d rows × 3 floats of table '\w+' to .*\n$")
        return done.stdout

    def test_an_array_is_what_was_imported(self):
        self.assertEqual(self.export("plain", "out.npy"), b"")

        exported = numpy.load(self.dir / "out.npy")
        self.assertEqual(exported.dtype, numpy.float32)
        self.assertEqual(exported.tobytes(), ROWS.tobytes())
        piped = numpy.load(io.BytesIO(self.export("plain", "-", "-f", "npy")))
        self.assertEqual(piped.tobytes(), ROWS.tobytes())

    def test_text_that_was_exported_is_imported_as_the_same_table(self):
        for name, ending in (("again", "txt"), ("vectors", "vec")):
            self.export("words", f"{name}.{ending}")
            self.quire("import", f"{name}.{ending}")
            self.check_words(name)

        self.assertTrue(self.export("words", "-", "-f", "word2vec")
                        .startswith(b"4 3\nnew york "))

    def test_csv_has_titles_ids_labels_and_exact_numbers(self):
        text = self.export("words", "-", "-f", "csv").decode("latin-1")

        titles, *rows = csv.reader(io.StringIO(text))
        self.assertEqual(titles, ["id", "label", "0", "1", "2"])
        self.assertEqual([row[0] for row in rows], ["0", "1", "2", "3"])
        self.assertEqual([row[1].encode("latin-1") for row in rows], WORDS)
        numpy.testing.assert_array_equal(
            numpy.array([row[2:] for row in rows], numpy.float32), WORD_ROWS)

    def test_an_export_that_fails_leaves_the_file_that_was_there(self):
        self.write("kept.npy", b"as it was")
        files = sorted(path.name for path in self.dir.iterdir())

        self.refused(1, "there is no table 'nothing'",
                     "export", "nothing", "kept.npy")
        self.refused(1, "there is no table 'nothing'",
                     "export", "nothing", "new.npy")
        self.refused(2, "'kept.npy.gz': an export is not packed; pipe it",
                     "export", "words", "kept.npy.gz")
        self.refused(2, "cannot write 'no/where.npy': No such file",
                     "export", "words", "no/where.npy")
        self.refused(2, "'parquet' is none of safetensors, npy, npz, torch, "
                     "glove, word2vec, word2vec-binary, fvecs, csv",
                     "export", "words", "new.npy", "-f", "parquet")

        self.assertEqual((self.dir / "kept.npy").read_bytes(), b"as it was")
        self.assertEqual(sorted(path.name for path in self.dir.iterdir()),
                         files)


if __name__ == "__main__":
    cli_case.main()
