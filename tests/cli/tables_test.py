"""quire table: create, list, describe, alter, drop."""

import csv
import io
import json
import re

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
        self.refused(1, "momentum is -1; it must be finite and 0 or more",
                     *create, "--dim", 4, "--momentum", -1)
        self.refused(1, "padding_idx is 4; it must be within the 4 rows, -4 "
                     "through 3", *create, "--dim", 4, "--padding-idx", 4)
        self.refused(1, "max_norm is -1; it must be finite and 0 or more",
                     *create, "--dim", 4, "--max-norm", -1)
        self.refused(1, "clip.value is 0; it must be finite and more than 0",
                     *create, "--dim", 4, "--clip-value", 0)
        self.refused(1, "this server has no data directory", *create, "--dim",
                     4, "--logged")
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

        self.refused(2, "--momentum: adagrad has no such hyperparameter; it "
                     "has lr_decay, initial_accumulator_value, eps, "
                     "weight_decay, maximize\n", *create,
                     "--optimizer", "adagrad", "--momentum", 0.9)
        self.refused(2, "--beta: adam has no such hyperparameter; it has "
                     "beta1, .*; did you mean 'beta1'\\?", *create,
                     "--optimizer", "adam", "--beta", 0.9)
        self.refused(2, "unknown option '--bata1'; did you mean '--beta1'",
                     *create, "--bata1", 0.9)
        self.refused(2, "'adamw2' is none of sgd, adagrad, rowwise_adagrad, "
                     "sparse_adam, adam, adamw, .*, ftrl; did you mean "
                     "'adamw'", *create, "--optimizer", "adamw2")

        self.refused(1, "there is no table 'bad'", "table", "describe", "bad")

    def test_a_setting_of_another_kind_is_refused(self):
        create = ("table", "create", "bad", "--rows", 4, "--dim", 4)

        self.refused(2, "--momentum: 'much' is no finite number", *create,
                     "--momentum", "much")
        self.refused(2, "--momentum: 'inf' is no finite number", *create,
                     "--momentum", "inf")
        self.refused(2, "--scope: 'al' is none of touched, all; did you mean "
                     "'all'", *create, "--scope", "al")
        self.refused(2, "--weight-decay-mode: 'l1' is none of none, l2, "
                     "decouple", *create, "--optimizer", "rowwise_adagrad",
                     "--weight-decay-mode", "l1")
        self.refused(2, "--non-finite: 'drop' is none of reject, skip_row, "
                     "allow", *create, "--non-finite", "drop")
        self.refused(2, "--padding-idx cannot be 'last'", *create,
                     "--padding-idx", "last")
        self.refused(2, "--clip-value excludes --clip-row-norm", *create,
                     "--clip-value", 1, "--clip-row-norm", 1)

    def test_the_rules_of_a_table_are_described_as_they_were_asked_for(self):
        printed = pairs(self.quire(
            "table", "create", "ruled", "--rows", 2000, "--dim", 4,
            "--padding-idx", -1, "--max-norm", 0.5, "--norm-type", "-inf",
            "--scale-grad-by-freq", "--non-finite", "skip_row",
            "--clip-row-norm", 2.5))

        self.assertEqual(printed["padding_idx"], "1,999")
        self.assertEqual(printed["max_norm"], "0.5, norm_type -inf")
        self.assertEqual(printed["gradients"],
                         "divided by frequency, clipped to norm 2.5 each row, "
                         "non-finite: skip_row")
        spec = json.loads(self.quire("table", "describe", "ruled",
                                     "-o", "json"))["spec"]
        self.assertEqual(spec["padding_idx"], 1999)
        self.assertEqual(spec["max_norm"], 0.5)
        self.assertEqual(spec["norm_type"], "-Infinity")
        self.assertIs(spec["scale_grad_by_freq"], True)
        self.assertEqual(spec["non_finite_policy"], "skip_row")
        self.assertEqual(spec["clip"], {"row_norm": 2.5})
        self.create("ruled", "--rows", 2000, "--dim", 4, "--padding-idx", 1999,
                    "--max-norm", 0.5, "--norm-type", "-inf",
                    "--scale-grad-by-freq", "--non-finite", "skip_row",
                    "--clip-row-norm", 2.5, "--if-exists", "verify")

    def test_each_clip_is_described(self):
        for name, text in (("value", "clipped to [-0.5, 0.5]"),
                           ("push-norm", "clipped to norm 0.5 each push")):
            printed = pairs(self.quire(
                "table", "create", "clip-" + name, "--rows", 2, "--dim", 2,
                "--clip-" + name, 0.5))
            self.assertEqual(printed["gradients"], text)

    def test_a_plain_table_has_no_rules_to_show(self):
        printed = self.quire("table", "create", "ruleless", "--rows", 2,
                             "--dim", 2)

        for word in ("padding", "max_norm", "gradients", "non-finite"):
            self.assertNotIn(word, printed)

    def test_an_optimizer_is_described_with_what_is_on(self):
        cases = (
            (["--optimizer", "sgd", "--momentum", 0.9, "--nesterov",
              "--scope", "all", "--weight-decay", 0.25],
             "sgd, lr 0.01, momentum 0.9, nesterov, weight_decay 0.25, "
             "scope all"),
            (["--optimizer", "adam", "--beta1", 0.95, "--amsgrad",
              "--maximize=false"],
             "adam, lr 0.001, beta1 0.95, beta2 0.999, eps 1e-08, amsgrad"),
            (["--optimizer", "rowwise_adagrad", "--weight-decay", 0.5,
              "--weight-decay-mode", "decouple"],
             "rowwise_adagrad, lr 0.01, eps 1e-08, weight_decay 0.5, "
             "weight_decay_mode decouple"),
            (["--optimizer", "ftrl", "--l1", 0.25, "--lr", 0.5],
             "ftrl, lr 0.5, l1 0.25, initial_accumulator_value 0.1, "
             "learning_rate_power -0.5"))
        for index, (options, text) in enumerate(cases):
            name = f"trained{index}"
            printed = pairs(self.quire("table", "create", name, "--rows", 4,
                                       "--dim", 4, *options))
            self.assertEqual(printed["optimizer"], text)

    def test_every_optimizer_of_the_help_makes_a_table_that_trains(self):
        names = re.search(r"--optimizer NAME +(.*?); *default",
                          self.quire("table", "create", "--help"),
                          re.DOTALL)[1].replace(",", "").split()
        self.assertEqual(len(names), 12)
        for name in names:
            self.create(name, "--rows", 4, "--dim", 3, "--optimizer", name,
                        "--init", "constant:0.5")
            self.quire("apply", name, 1, "--fill", 0.25)
            rows = json.loads(self.quire("lookup", name, 0, 1, "-o", "json"))
            self.assertEqual(rows["embeddings"][0], [0.5] * 3, name)
            self.assertNotEqual(rows["embeddings"][1], [0.5] * 3, name)


class EmptyServerTest(cli_case.CliCase):

    def test_a_server_without_tables_tells_how_to_make_one(self):
        self.assertRegex(self.quire("table", "list"),
                         "^no tables; 'quire table create' makes one")
        self.assertEqual(self.quire("table", "list", "-o", "json"), "[]\n")
        self.assertEqual(self.quire("table", "list", "-o", "jsonl"), "")


if __name__ == "__main__":
    cli_case.main()
