"""quire table: create, list, describe, alter, drop."""

import csv
import io
import json

import cli_case


def pairs(text):
    """{"rows": "10", …} of what describe prints."""
    return dict(line.split(maxsplit=1) if not line.startswith("initial rows")
                else ("initial rows", line[len("initial rows"):].strip())
                for line in text.splitlines())


class TablesTest(cli_case.CliCase):

    def create(self, name, *options):
        return json.loads(self.quire("table", "create", name, *options,
                                     "-o", "json"))

    def test_a_table_that_was_created_is_described_as_it_was_asked_for(self):
        printed = self.quire("table", "create", "plain", "--rows", "1234",
                             "--dim", "5")

        self.assertEqual(printed, self.quire("table", "describe", "plain"))
        described = pairs(printed)
        self.assertEqual(described["name"], "plain")
        self.assertEqual(described["rows"], "1,234")
        self.assertEqual(described["dim"], "5")
        self.assertEqual(described["state"], "ready")
        self.assertRegex(described["initial rows"], r"^normal\(0, 1\), seed ")
        self.assertEqual(described["optimizer"], "sgd, lr 0.01")
        self.assertRegex(described["uid"], "^[0-9a-f]{32}$")

    def test_every_option_of_create_reaches_the_server(self):
        table = self.create(
            "optioned", "--rows", 64, "--dim", 4, "--init", "uniform:-0.5,0.25",
            "--seed", 7, "--optimizer", "rowwise_adagrad", "--lr", 0.5,
            "--eps", "1e-6", "--initial-accumulator-value", 2, "--shards", 8,
            "--frozen", "--memory")

        spec = table["spec"]
        self.assertEqual(spec["num_embeddings"], 64)
        self.assertEqual(spec["initializer"],
                         {"uniform": {"low": -0.5, "high": 0.25}})
        self.assertEqual(spec["seed"], 7)
        self.assertEqual(spec["optimizer"]["learning_rate"], 0.5)
        rowwise = spec["optimizer"]["rowwise_adagrad"]
        self.assertEqual(rowwise["eps"], 1e-6)
        self.assertEqual(rowwise["initial_accumulator_value"], 2)
        self.assertEqual(spec["shard_count"], 8)
        self.assertIs(spec["frozen"], True)
        self.assertEqual(spec["persistence"], "memory")

    def test_the_initial_rows_are_those_that_were_asked_for(self):
        self.create("halves", "--rows", 3, "--dim", 2, "--init", "constant:0.5")
        self.create("noughts", "--rows", 3, "--dim", 2, "--init", "zeros")

        for name, value in (("halves", 0.5), ("noughts", 0)):
            rows = json.loads(self.quire("lookup", name, "0..2", "-o", "json"))
            self.assertEqual(rows["embeddings"], [[value, value]] * 3)

    def test_a_setting_that_nobody_made_is_not_shown(self):
        self.create("unset", "--rows", 2, "--dim", 2)

        for output in ("table", "json"):
            for verb in (["describe", "unset"], ["list"]):
                text = self.quire("table", *verb, "-o", output)
                self.assertNotIn("unspecified", text)

    def test_list_shows_each_table_in_every_form(self):
        self.create("a1", "--rows", 1000, "--dim", 2)
        self.create("a2", "--rows", 2, "--dim", 2, "--optimizer", "adagrad")

        as_json = json.loads(self.quire("table", "list", "-o", "json"))
        as_lines = [json.loads(line) for line in
                    self.quire("table", "list", "-o", "jsonl").splitlines()]
        as_csv = list(csv.DictReader(io.StringIO(
            self.quire("table", "list", "-o", "csv"))))
        as_text = self.quire("table", "list").splitlines()

        names = [table["spec"]["name"] for table in as_json]
        self.assertEqual(as_lines, as_json)
        self.assertTrue({"a1", "a2"} <= set(names))
        self.assertEqual([row["name"] for row in as_csv], names)
        self.assertEqual([line.split()[0] for line in as_text[1:]], names)
        a1 = as_csv[names.index("a1")]
        self.assertEqual((a1["rows"], a1["dim"], a1["state"], a1["step"]),
                         ("1000", "2", "ready", "0"))
        self.assertRegex(as_text[1 + names.index("a1")],
                         r"^a1 +1,000 +2  sgd, lr 0.01 +ready ")
        self.assertRegex(as_text[1 + names.index("a2")],
                         r"^a2 +2 +2  adagrad, lr 0.01 +ready ")

    def test_alter_changes_the_learning_rate_and_freezes(self):
        self.create("altered", "--rows", 2, "--dim", 2, "--init", "zeros")

        altered = pairs(self.quire("table", "alter", "altered", "--lr", "0.25",
                                   "--frozen", "true"))
        self.assertEqual(altered["optimizer"], "sgd, lr 0.25")
        self.assertEqual(altered["state"], "ready, frozen")
        self.refused(1, "is frozen.*\n.*\n  next: .*--frozen false",
                     "apply", "altered", 0, "--fill", 1)

        self.quire("table", "alter", "altered", "--frozen", "false")
        self.quire("apply", "altered", 0, "--fill", 1)
        rows = json.loads(self.quire("lookup", "altered", 0, 1, "-o", "json"))
        self.assertEqual(rows["embeddings"], [[-0.25, -0.25], [0, 0]])

    def test_alter_with_nothing_to_change_says_what_can_be(self):
        self.create("still", "--rows", 2, "--dim", 2)

        self.refused(2, "nothing to change: give --lr or --frozen",
                     "table", "alter", "still")

    def test_a_dropped_table_is_gone(self):
        self.create("dropped", "--rows", 2, "--dim", 2)

        self.assertEqual(self.quire("table", "drop", "dropped"),
                         "dropped table 'dropped'\n")
        self.refused(1, "there is no table 'dropped'",
                     "table", "describe", "dropped")
        self.create("dropped", "--rows", 2, "--dim", 2)
        self.assertEqual(
            json.loads(self.quire("table", "drop", "dropped", "-o", "json")),
            {"dropped": "dropped"})

    def test_a_table_that_exists_is_kept_or_accepted(self):
        made = self.create("kept", "--rows", 2, "--dim", 2)

        self.refused(1, "table 'kept' exists", "table", "create", "kept",
                     "--rows", 2, "--dim", 2)
        self.refused(1, "it has 2, the request wants 3", "table", "create",
                     "kept", "--rows", 3, "--dim", 2, "--if-exists", "verify")
        again = self.create("kept", "--rows", 2, "--dim", 2,
                            "--if-exists", "verify")

        self.assertEqual(again["uid"], made["uid"])

    def test_what_no_table_can_be_is_refused_and_nothing_is_made(self):
        before = self.quire("table", "list", "-o", "json")
        create = ("table", "create", "bad", "--rows", 4)

        self.refused(1, "embedding_dim is 0", *create, "--dim", 0)
        self.refused(1, "tables may take 536870912", "table", "create", "bad",
                     "--rows", 10**9, "--dim", 1024)
        self.refused(1, "is not \\[A-Za-z0-9\\]", "table", "create", "a b",
                     "--rows", 4, "--dim", 4)
        self.refused(1, "momentum is not built yet", *create, "--dim", 4,
                     "--momentum", 0.9)
        self.refused(1, "persistence is not built yet", *create, "--dim", 4,
                     "--logged")
        self.refused(2, "--rows cannot be 'many'", "table", "create", "bad",
                     "--rows", "many", "--dim", 4)
        self.refused(2, "--rows is required", "table", "create", "bad",
                     "--dim", 4)
        self.refused(2, "--memory excludes --logged", *create, "--dim", 4,
                     "--memory", "--logged")
        self.refused(2, "'lru' is none of error, verify", *create, "--dim", 4,
                     "--if-exists", "lru")
        self.refused(2, "--init: 'ones' is none of normal", *create,
                     "--dim", 4, "--init", "ones")

        self.assertEqual(self.quire("table", "list", "-o", "json"), before)

    def test_an_unknown_hyperparameter_is_refused_with_those_that_there_are(
            self):
        create = ("table", "create", "bad", "--rows", 4, "--dim", 4)

        self.refused(2, "adagrad has no such hyperparameter; it has lr_decay, "
                     "initial_accumulator_value, eps", *create,
                     "--optimizer", "adagrad", "--momentum", 0.9)
        self.refused(2, "unknown option '--betas'", *create, "--betas", 0.9)
        self.refused(2, "'adamw2' is none of sgd, adagrad", *create,
                     "--optimizer", "adamw2")

        self.refused(1, "there is no table 'bad'", "table", "describe", "bad")


class EmptyServerTest(cli_case.CliCase):

    def test_a_server_without_tables_tells_how_to_make_one(self):
        self.assertRegex(self.quire("table", "list"),
                         "^no tables; 'quire table create' makes one")
        self.assertEqual(self.quire("table", "list", "-o", "json"), "[]\n")
        self.assertEqual(self.quire("table", "list", "-o", "jsonl"), "")


if __name__ == "__main__":
    cli_case.main()
