#!/usr/bin/env python3
"""examples/dlrm: with its tables on the server it takes the steps that torch's
tables take, and learns."""

import pathlib
import re
import subprocess
import sys
import tempfile
import xml.dom.minidom

import support
import torch
from support import RemoteTest, stored

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples/dlrm"
sys.path.insert(0, str(EXAMPLE))
import numpy  # noqa: E402
import train  # noqa: E402
from clicks import Clicks, area_under_curve  # noqa: E402

STEPS = 30


class DlrmTest(RemoteTest):

    def test_one_line_moves_the_tables_and_the_steps_stay_torchs(self):
        clicks = Clicks()
        local = train.make(train.parse(["--local"]))
        remote = train.make(train.parse(
            ["--server", self.server, "--prefix", f"{self.name()}."]))

        for index in range(STEPS):
            batch = clicks.batch(index, 256)
            expected = train.step(*local, batch)
            actual = train.step(*remote, batch)

            with self.subTest(step=index):
                self.assertAlmostEqual(actual, expected, delta=1e-6)
                for here, there in zip(local[0].tables, remote[0].tables):
                    self.assert_close(stored(there), here.weight)
                for here, there in zip(local[0].top.parameters(),
                                       remote[0].top.parameters()):
                    self.assert_close(there, here)

    def test_it_learns_what_is_clicked(self):
        with tempfile.TemporaryDirectory() as directory:
            curve = pathlib.Path(directory, "loss.svg")
            output = subprocess.run(
                [sys.executable, str(EXAMPLE / "train.py"), "--server",
                 self.server, "--prefix", f"{self.name()}.", "--steps", "60",
                 "--batch", "256", "--curve", str(curve)],
                check=True, timeout=120, text=True,
                stdout=subprocess.PIPE).stdout
            xml.dom.minidom.parse(str(curve))

        areas = [float(area) for area in re.findall(r"AUC (\S+)", output)]
        self.assertEqual(len(areas), 4)
        self.assertGreater(areas[-1], 0.6)

    def test_the_area_counts_pairs(self):
        scores = numpy.array([0.1, 0.4, 0.4, 0.8, 0.9])
        clicked = numpy.array([0, 1, 0, 0, 1])
        pairs = [(1.0 if high > low else 0.5 if high == low else 0.0)
                 for high in scores[clicked == 1]
                 for low in scores[clicked == 0]]

        self.assertEqual(area_under_curve(scores, clicked),
                         sum(pairs) / len(pairs))


if __name__ == "__main__":
    torch.set_num_threads(1)
    support.main()
