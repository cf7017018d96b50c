#!/usr/bin/env python3
"""RemoteEmbeddingBag is nn.EmbeddingBag."""

import random

import support
import torch
from support import RemoteTest, stored
from torch import nn

import quire.torch


def draw_bags(draw, rows, include_last):
    """(ids, offsets): of one dim with offsets, or of two without."""
    if not include_last and draw.random() < 0.5:
        return torch.randint(rows, (draw.randint(0, 5), draw.randint(1, 6))), \
            None
    lengths = [draw.randint(0, 4) for _ in range(draw.randint(1, 6))]
    offsets = torch.tensor([0] + lengths).cumsum(0)
    return torch.randint(rows, (int(offsets[-1]),)), \
        offsets if include_last else offsets[:-1]


def looked_up(weight, max_norm):
    """What nn.Embedding gives for all rows of `weight`."""
    return nn.functional.embedding(torch.arange(len(weight)),
                                   weight.detach().clone(), max_norm=max_norm)


class BagTest(RemoteTest):

    def draw(self, draw, case):
        """(weight, local, remote, arguments of forward) of one case."""
        rows, dim = draw.randint(1, 20), draw.randint(1, 12)
        mode = draw.choice(["sum", "mean", "max"])
        arguments = {
            "mode": mode, "padding_idx": draw.choice([None, None, 0, -1]),
            "include_last_offset": draw.choice([False, True]),
            "max_norm": draw.choice([None, None, 0.7]),
        }
        weight = torch.randn(rows, dim)
        ids, offsets = draw_bags(draw, rows, arguments["include_last_offset"])
        given = [ids, offsets]
        if mode == "sum" and draw.random() < 0.5:
            given.append(torch.randn(ids.shape))
        local = nn.EmbeddingBag.from_pretrained(weight.clone(), freeze=False,
                                                **arguments)
        return local, self.bag(weight, **arguments), given, arguments

    def test_bags_are_torchs_bit_for_bit(self):
        draw = random.Random(2)
        for case in range(80):
            local, remote, given, arguments = self.draw(draw, case)

            with self.subTest(case=case, **arguments):
                if arguments["max_norm"] is None:
                    self.assert_same(remote(*given), local(*given))
                else:
                    self.assert_close(remote(*given), local(*given))

    def test_a_step_is_torchs(self):
        draw = random.Random(3)
        for case in range(60):
            local, remote, given, arguments = self.draw(draw, case)
            steps = [(local, torch.optim.SGD(local.parameters(), lr=0.5)),
                     (remote, quire.torch.Optimizer(remote, lr=0.5))]

            for module, optimizer in steps:
                rows = module(*given)
                scale = torch.linspace(-1, 1, rows.numel()).reshape(rows.shape)
                (rows * scale).sum().backward()
                optimizer.step()

            # torch has rescaled all rows that were looked up, the push those
            # that have a gradient: what lookups give is the same.
            with self.subTest(case=case, **arguments):
                self.assert_close(
                    looked_up(stored(remote), arguments["max_norm"]),
                    looked_up(local.weight, arguments["max_norm"]))

    def test_weights_get_gradients_too(self):
        draw = random.Random(4)
        for case in range(40):
            rows, padding = draw.randint(2, 12), draw.choice([None, 1])
            weight = torch.randn(rows, 5)
            arguments = {"mode": "sum", "padding_idx": padding,
                         "include_last_offset": draw.choice([False, True])}
            local = nn.EmbeddingBag.from_pretrained(weight.clone(),
                                                    freeze=False, **arguments)
            remote = self.bag(weight, **arguments)
            ids, offsets = draw_bags(draw, rows,
                                     arguments["include_last_offset"])
            start = torch.randn(ids.shape)
            results = []
            for module, optimizer in (
                    (local, torch.optim.SGD(local.parameters(), lr=0.5)),
                    (remote, quire.torch.Optimizer(remote, lr=0.5))):
                weights = start.clone().requires_grad_()
                bags = module(ids, offsets, weights)
                bags.pow(2).sum().backward()
                optimizer.step()
                results.append((bags, weights.grad))

            with self.subTest(case=case, **arguments):
                self.assert_same(results[1][0], results[0][0])
                self.assert_close(results[1][1], results[0][1])
                self.assert_close(stored(remote), local.weight)

    def test_empty_batches(self):
        remote = self.bag(torch.randn(4, 3))

        self.assertEqual(remote(torch.zeros(0, 5, dtype=torch.long)).shape,
                         (0, 3))
        self.assert_same(remote(torch.zeros(2, 0, dtype=torch.long)),
                         torch.zeros(2, 3))
        self.assert_same(
            remote(torch.tensor([], dtype=torch.long), torch.tensor([0, 0])),
            torch.zeros(2, 3))

    def test_division_by_frequency_is_what_torch_documents(self):
        remote = self.bag(torch.zeros(3, 2), mode="sum",
                          scale_grad_by_freq=True)
        optimizer = quire.torch.Optimizer(remote, lr=1.0)

        remote(torch.tensor([[0, 0, 0, 1]])).sum().backward()
        optimizer.step()

        self.assert_same(stored(remote),
                         torch.tensor([[-1., -1], [-1, -1], [0, 0]]))

    def test_errors_are_torchs(self):
        ids, offsets = torch.tensor([1, 2]), torch.tensor([0])
        pair = torch.tensor([[1, 2]])
        cases = [
            ({}, (pair, offsets)), ({}, (ids, None)),
            ({}, (ids, torch.tensor([[0]]))), ({}, (torch.tensor(1), None)),
            ({}, (torch.zeros(1, 1, 1, dtype=torch.long), None)),
            ({}, (ids, torch.tensor([1]))),
            ({}, (ids, torch.tensor([0, 3]))),
            ({"mode": "sum"}, (ids, offsets, torch.ones(3))),
            ({"mode": "mean"}, (ids, offsets, torch.ones(2))),
            ({"mode": "sum"}, (ids, offsets, torch.ones(2).double())),
            ({"mode": "median"}, (ids, offsets)),
            ({"mode": "max", "scale_grad_by_freq": True}, (ids, offsets)),
            ({"mode": "max", "sparse": True}, (ids, offsets)),
        ]
        for arguments, given in cases:
            local = nn.EmbeddingBag(5, 3, **arguments)
            remote = quire.torch.RemoteEmbeddingBag(
                5, 3, server=self.server, table=self.name(), **arguments)

            with self.subTest(given=given, **arguments):
                with self.assertRaises(Exception) as expected:
                    local(*given)
                with self.assertRaises(type(expected.exception)) as actual:
                    remote(*given)
                self.assertEqual(str(actual.exception)[:40],
                                 str(expected.exception)[:40])

    def test_what_torch_takes_by_mistake_is_refused(self):
        remote = self.bag(torch.randn(5, 3), include_last_offset=True)
        ids = torch.tensor([1, 2, 3])

        with self.assertRaisesRegex(RuntimeError, "the last offset is 2"):
            remote(ids, torch.tensor([0, 2]))
        with self.assertRaisesRegex(RuntimeError, "at least 1"):
            remote(ids[:0], torch.tensor([], dtype=torch.long))
        with self.assertRaisesRegex(ValueError, "descend|decreas|ascend"):
            remote(ids, torch.tensor([0, 2, 1, 3]))
        remote.include_last_offset = False
        with self.assertRaisesRegex(RuntimeError, "no bag"):
            remote(ids, torch.tensor([], dtype=torch.long))
        with self.assertRaisesRegex(IndexError, "id 5 "):
            remote(torch.tensor([[1, 5]]))
        with self.assertRaisesRegex(ValueError, "weighted bags"):
            self.bag(torch.randn(5, 3), mode="sum", scale_grad_by_freq=True)(
                ids[None], None, torch.ones(1, 3))


if __name__ == "__main__":
    support.main()
