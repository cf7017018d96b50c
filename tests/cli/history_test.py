"""What a table was: rewound, exported as of one LSN, told of a row."""

import json
import re

import cli_case


class HistoryTest(cli_case.CliCase):
    server_options = ("--data-dir", "data", "--snapshot-keep", "1")

    def make(self, name, *options):
        self.quire("table", "create", name, "--rows", 4, "--dim", 2, "--init",
                   "zeros", "--lr", 1, *options)

    def push(self, name, *ids):
        """Takes 1 from rows; returns the LSN."""
        done = json.loads(self.quire("apply", name, *ids, "--fill", 1, "-o",
                                     "json"))
        return done["position"]["lsn"]

    def rows(self, name):
        looked_up = json.loads(self.quire("lookup", name, "0..3", "-o", "json"))
        return [row[0] for row in looked_up["embeddings"]]

    def test_a_rewound_table_is_what_it_was(self):
        self.make("poisoned")
        good = self.push("poisoned", 1)
        self.push("poisoned", 1, 2)

        said = self.quire("table", "rewind", "poisoned", "--to-lsn", good)

        self.assertRegex(
            said, rf"^table 'poisoned' is what it was at LSN {good}: step 1. "
            r"LSN \d+ of epoch 1 made it so\n$")
        self.assertEqual(self.rows("poisoned"), [0, -1, 0, 0])
        self.push("poisoned", 3)
        again = json.loads(self.quire("table", "rewind", "poisoned", "--to-lsn",
                                      good, "-o", "json"))
        self.assertEqual(again["table"]["step"], 1)
        self.assertGreater(again["position"]["lsn"], good)
        self.assertEqual(self.rows("poisoned"), [0, -1, 0, 0])

    def test_what_cannot_be_had_is_refused_with_a_sentence(self):
        self.make("young")
        self.make("memory", "--memory")
        self.refused(1, r"no LSN 99999 yet: the last change is \d+",
                     "table", "rewind", "young", "--to-lsn", 99999)
        self.refused(1, "'memory' is a MEMORY table: what it was is not kept",
                     "table", "rewind", "memory", "--to-lsn", 1)
        self.refused(1, "to_lsn is 0", "table", "rewind", "young", "--to-lsn",
                     0)
        self.refused(2, "--to-lsn is required", "table", "rewind", "young")
        self.refused(1, "there is no table 'none'",
                     "table", "rewind", "none", "--to-lsn", 1)

    def test_a_lookup_waits_for_the_position_that_an_apply_tells(self):
        self.make("read")
        told = self.quire("apply", "read", 2, "--fill", 1)
        position = re.search(r"written at (\d+:\d+)", told)[1]
        found = json.loads(self.quire(
            "lookup", "read", 2, "--min-position", position, "-o", "json"))
        self.assertEqual(found["embeddings"], [[-1, -1]])
        epoch, lsn = map(int, position.split(":"))
        # The command has closed its session since, which is a change as well.
        self.assertEqual(found["position"]["epoch"], epoch)
        self.assertGreaterEqual(found["position"]["lsn"], lsn)
        self.refused(1, rf"LSN {lsn + 100} is wanted, and .* up to LSN \d+",
                     "lookup", "read", 2, "--min-position",
                     f"{epoch}:{lsn + 100}", "--timeout", "500ms")
        self.refused(1, "the position 99:1 is none of this server's",
                     "lookup", "read", 2, "--min-position", "99:1")
        self.refused(2, "--min-position is EPOCH:LSN",
                     "lookup", "read", 2, "--min-position", "17")

    def test_a_table_is_verified(self):
        self.make("stored")
        self.push("stored", 1)
        self.quire("snapshot", "create")
        self.assertRegex(
            self.quire("table", "verify", "stored"),
            r"^table 'stored': [1-9]\d* chunks? of the snapshot of LSN \d+ "
            r"read, all whole\n$")
        verified = json.loads(self.quire("table", "verify", "stored", "-o",
                                         "json"))
        self.assertGreater(verified["chunks_verified"], 0)
        self.make("passing", "--memory")
        self.refused(1, "'passing' is a MEMORY table: its changes are not",
                     "table", "verify", "passing")

    def test_an_export_tells_its_position(self):
        self.make("written")
        lsn = self.push("written", 0)
        done = self.run_quire("export", "written", "written.csv")
        self.assertEqual(done.returncode, 0)
        told = re.search(r"of table 'written' as of LSN (\d+) to written.csv$",
                         done.stderr.decode(), re.MULTILINE)
        # The session of the push has ended since.
        self.assertGreaterEqual(int(told[1]), lsn)
        self.make("unlogged", "--memory")
        done = self.run_quire("export", "unlogged", "unlogged.csv")
        self.assertNotIn("LSN", done.stderr.decode())

    def test_a_row_is_shown_with_its_state_and_its_last_change(self):
        self.make("shown", "--optimizer", "adam")
        lsn = self.push("shown", 2)
        self.quire("label", "set", "shown", "2=queen")

        text = self.quire("row", "shown", 2)
        lines = dict(line.split(maxsplit=1) for line in text.splitlines()
                     if not line.startswith("last change"))
        self.assertEqual((lines["table"], lines["row"], lines["label"],
                          lines["step"]), ("shown", "2", "queen", "1"))
        self.assertRegex(lines["value"], r"-1")
        self.assertRegex(lines["exp_avg"], r"0\.1")
        self.assertRegex(lines["exp_avg_sq"], r"0\.001")
        self.assertRegex(text, rf"(?m)^last change +LSN {lsn}, a push$")
        self.assertRegex(self.quire("row", "shown", 3),
                         r"(?m)^last change +LSN \d+, which made the table$")

        row = json.loads(self.quire("row", "shown", 2, "-o", "json"))
        self.assertEqual(row["last_change"], {"lsn": lsn, "kind": "push"})
        self.assertEqual([part["name"] for part in row["state"]],
                         ["exp_avg", "exp_avg_sq"])
        self.assertEqual(row["label"], "queen")
        self.refused(1, "id 4 is not in", "row", "shown", 4)

        self.make("unsaid", "--memory")
        self.assertRegex(self.quire("row", "unsaid", 0),
                         r"(?m)^last change +not known: its changes are not in")


if __name__ == "__main__":
    cli_case.main()
