"""quire nearest, on the real vectors of examples/."""

import csv
import io
import json
import pathlib

import numpy

import cli_case

GLOVE = pathlib.Path(__file__).parents[2] / "examples" / "glove.5k.100d.txt"


class NearestTest(cli_case.CliCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls()
        case.quire("import", GLOVE, "--name", "glove")
        case.quire("table", "create", "plain", "--rows", 4, "--dim", 2,
                   "--init", "zeros", "--lr", 1)
        case.quire("apply", "plain", "0..3", "-g",
                   "[[-1,0],[-2,0],[0,-3],[1,0]]")
        lines = GLOVE.read_text("utf-8").splitlines()
        cls.words = [line.split(" ", 1)[0] for line in lines]
        cls.rows = numpy.array([line.split(" ")[1:] for line in lines], float)
        cls.units = cls.rows / numpy.linalg.norm(cls.rows, axis=1,
                                                 keepdims=True)

    def nearest(self, *arguments, table="glove"):
        return json.loads(self.quire("nearest", table, "-o", "json",
                                     *arguments))

    def check(self, neighbours, scores, k, excluded):
        """Neighbours are the k best of `scores`, without `excluded`."""
        best = [i for i in numpy.argsort(-scores, kind="stable")
                if i not in excluded][:k]
        self.assertEqual([n["id"] for n in neighbours], best)
        self.assertEqual([n["label"] for n in neighbours],
                         [self.words[i] for i in best])
        numpy.testing.assert_allclose([n["score"] for n in neighbours],
                                      scores[best], rtol=1e-4)

    def test_a_words_neighbours_are_those_of_the_cosine(self):
        found, = self.nearest("--word", "king")

        king = self.words.index("king")
        self.assertEqual(found["query"], "king")
        self.check(found["neighbours"], self.units @ self.units[king], 10,
                   {king})
        self.assertIn("queen", [n["label"] for n in found["neighbours"][:3]])

    def test_words_are_added_and_subtracted(self):
        found, = self.nearest("-k", 5, "--", "king", "-man", "+woman")

        ids = [self.words.index(word) for word in ("king", "man", "woman")]
        vector = self.units[ids[0]] - self.units[ids[1]] + self.units[ids[2]]
        scores = self.units @ (vector / numpy.linalg.norm(vector))
        self.assertEqual(found["query"], "king - man + woman")
        self.check(found["neighbours"], scores, 5, set(ids))
        self.assertEqual(found["neighbours"][0]["label"], "queen")

    def test_each_id_and_each_vector_is_a_query(self):
        by_id = self.nearest(10, 11, "-k", 3, "--metric", "dot")
        by_vector = self.nearest("--vector", json.dumps(
            self.rows[[10, 11]].tolist()), "-k", 4, "--metric", "dot")

        self.assertEqual([f["query"] for f in by_id], ["row 10", "row 11"])
        self.assertEqual([f["query"] for f in by_vector],
                         ["vector 0", "vector 1"])
        for row, one, other in zip((10, 11), by_id, by_vector):
            scores = self.rows @ self.rows[row]
            self.check(one["neighbours"], scores, 3, {row})
            self.check(other["neighbours"], scores, 4, set())

    def test_every_form_of_output_has_the_same_neighbours(self):
        asked = ("king", "-k", 2)
        document = self.nearest("-w", *asked)
        lines = self.quire("nearest", "glove", "-o", "jsonl", "-w", *asked)
        rows = list(csv.DictReader(io.StringIO(
            self.quire("nearest", "glove", "-o", "csv", "-w", *asked))))
        text = self.quire("nearest", "glove", "-w", *asked).splitlines()

        self.assertEqual([json.loads(line) for line in lines.splitlines()],
                         document)
        neighbours = document[0]["neighbours"]
        self.assertEqual(
            [(r["query"], int(r["id"]), r["label"], float(r["score"]))
             for r in rows],
            [("king", n["id"], n["label"], n["score"]) for n in neighbours])
        self.assertEqual(text[0], "king")
        self.assertEqual(text[1].split(), ["score", "id", "label"])
        self.assertEqual(
            [line.split() for line in text[2:]],
            [[f"{n['score']:.4f}", str(n["id"]), n["label"]]
             for n in neighbours])

    def test_a_table_without_labels_shows_no_column_of_them(self):
        text = self.quire("nearest", "plain", 0, "-k", 3, "--metric", "l2")

        # By squared distance, whose sign is turned so that more is nearer.
        lines = text.splitlines()
        self.assertEqual(lines[0], "row 0")
        self.assertEqual(lines[1].split(), ["score", "id"])
        self.assertEqual([line.split()[1] for line in lines[2:]],
                         ["1", "3", "2"])
        self.assertFalse([line for line in lines if line.endswith(" ")])

    def test_a_question_that_has_no_answer_is_refused(self):
        def refused(code, sentence, *arguments):
            self.refused(code, sentence, "nearest", *arguments)

        refused(2, "near what\\? Give --word, ids, --vector", "glove")
        refused(1, "no row with the label 'kingg'", "glove", "--word", "kingg")
        refused(1, "no row with the label 'kingg'", "glove", "--", "kingg")
        refused(1, r"floats of shape \(1, 1\); \(1, 2\) is needed", "plain",
                "--vector", "[1]")
        refused(2, "one vector, or a matrix", "plain", "--vector", "1")
        refused(1, r"k is 0; it must be in \[1, 10000\]", "plain", 0, "-k", 0)
        refused(1, r"id 4 at position 0 is not in \[0, 4\)", "plain", 4)
        refused(2, "'manhattan' is none of cosine, dot, l2", "plain", 0,
                "--metric", "manhattan")


if __name__ == "__main__":
    cli_case.main()
