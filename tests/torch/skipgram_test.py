#!/usr/bin/env python3
"""examples/skipgram: with one worker and SGD it takes nn.Embedding's steps;
with two it learns, and draws its curve."""

import pathlib
import subprocess
import sys
import tempfile
import xml.dom.minidom

import support
from support import RemoteTest, stored

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples/skipgram"
sys.path.insert(0, str(EXAMPLE))
import numpy  # noqa: E402
import train  # noqa: E402
from corpus import Corpus  # noqa: E402

STEPS = 40


class SkipGramTest(RemoteTest):

    def test_one_worker_and_sgd_take_torchs_steps(self):
        options = train.parse(
            ["--server", self.server, "--table", self.name(), "--workers", "1",
             "--optimizer", "sgd", "--lr", "0.5"])
        corpus = Corpus(options.text)
        train.make_tables(options, corpus.words)
        local, local_sgd = train.local(options, len(corpus.words))
        remote, optimizer = train.remote(options, len(corpus.words))

        def batches():
            return corpus.batches(numpy.random.default_rng(0), 256,
                                  train.WINDOW, train.NEGATIVES)

        pairs = zip(batches(), train.ahead(options, remote, optimizer,
                                           batches()))
        for index, (batch, same) in zip(range(STEPS), pairs):
            expected = train.step(local, local_sgd, batch)
            actual = train.step(remote, optimizer, same)

            with self.subTest(step=index):
                self.assertAlmostEqual(actual, expected, delta=1e-5)
                self.assert_close(stored(remote.centers), local.centers.weight)
                self.assert_close(stored(remote.contexts),
                                  local.contexts.weight)

    def run_example(self, *arguments):
        """(losses by epoch, the drawing) of train.py on a part of the book."""
        with tempfile.TemporaryDirectory() as directory:
            curve = pathlib.Path(directory, "loss.svg")
            text = pathlib.Path(directory, "text.txt")
            text.write_text((EXAMPLE / "moby-dick.txt").read_text(
                encoding="utf-8")[:200_000], encoding="utf-8")
            output = subprocess.run(
                [sys.executable, str(EXAMPLE / "train.py"), "--batch", "256",
                 "--dim", "16", "--text", str(text), "--curve", str(curve),
                 *arguments], check=True, timeout=120, text=True,
                stdout=subprocess.PIPE).stdout
            drawing = xml.dom.minidom.parse(str(curve))
        return [float(line.split()[-1]) for line in output.splitlines()
                if line.startswith("epoch")], drawing

    def test_two_workers_learn_and_draw_a_curve(self):
        losses, drawing = self.run_example("--server", self.server,
                                           "--workers", "2", "--epochs", "3")

        self.assertEqual(len(losses), 3)
        self.assertLess(losses[-1], losses[0] - 0.3)
        self.assertEqual(len(drawing.getElementsByTagName("polyline")), 1)
        self.assertEqual(self.client.get_labels("skipgram", [0]), ["the"])

    def test_it_learns_without_a_server_too(self):
        losses, _ = self.run_example("--local", "--epochs", "2")

        self.assertLess(losses[-1], losses[0] - 0.3)


if __name__ == "__main__":
    support.main()
