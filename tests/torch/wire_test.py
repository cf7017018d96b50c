#!/usr/bin/env python3
"""wire_dtype and unique: what travels, and that training is what it was."""

import copy
import pickle

import support
import torch
from optimizer_test import CpuGradScaler
from support import RemoteTest, stored
from torch import nn

import quire
import quire.torch

DTYPES = (torch.float16, torch.bfloat16)


class WireTest(RemoteTest):

    def bytes_of(self, method):
        """Received and sent by the server, so far."""
        for stats in self.client.stats().methods:
            if stats.method == method:
                return stats.bytes_received, stats.bytes_sent
        return 0, 0

    def test_rows_are_those_of_torch_rounded(self):
        weight = torch.randn(20, 7) * 100
        ids = torch.randint(20, (5, 6))
        for dtype in DTYPES:
            for unique in (False, True):
                module = self.embedding(weight, wire_dtype=dtype,
                                        unique=unique)
                self.assertEqual(module(ids).dtype, torch.float32)
                self.assert_same(module(ids),
                                 weight[ids].to(dtype).to(torch.float32))
            bag = self.bag(weight, mode="sum", wire_dtype=dtype)
            local = nn.EmbeddingBag.from_pretrained(weight, mode="sum")
            self.assert_same(bag(ids), local(ids).to(dtype).float())

    def test_training_with_unique_is_training(self):
        weight = torch.randn(20, 5)
        for settings in ({}, {"scale_grad_by_freq": True},
                         {"non_finite_policy": "skip_row"},
                         {"padding_idx": 3}):
            modules = [self.embedding(weight, unique=unique, **settings)
                       for unique in (False, True)]
            for module in modules:
                torch.manual_seed(4)
                optimizer = quire.torch.Optimizer(module, lr=0.1)
                for _ in range(4):
                    optimizer.zero_grad()
                    rows = module(torch.randint(20, (50,)))
                    (rows * torch.randn(50, 5)).sum().backward()
                    optimizer.clip_grad_norm_(0.5)  # so that there is a scale
                    optimizer.step()
            self.assert_same(stored(modules[1]), stored(modules[0]))

    def test_gradients_travel_rounded(self):
        weight = torch.randn(20, 5)
        ids = torch.arange(4)
        gradient = torch.randn(4, 5)
        for dtype in DTYPES:
            for module, given in (
                    (self.embedding(weight, wire_dtype=dtype), ids),
                    (self.bag(weight, mode="sum", wire_dtype=dtype),
                     ids.reshape(4, 1))):
                optimizer = quire.torch.Optimizer(module, lr=1.0)
                module(given).backward(gradient)
                optimizer.step()
                expected = weight.clone()
                expected[:4] -= gradient.to(dtype).float()
                self.assert_same(stored(module), expected)

    def test_half_the_bytes_travel(self):
        weight = torch.randn(2000, 64)
        ids = torch.randint(2000, (1000,))
        counts = []
        for dtype in (None, torch.float16):
            module = self.embedding(weight, wire_dtype=dtype)
            optimizer = quire.torch.Optimizer(module)
            _, sent = self.bytes_of("Lookup")
            received, _ = self.bytes_of("ApplyGradient")
            module(ids).sum().backward()
            optimizer.step()
            counts.append((self.bytes_of("Lookup")[1] - sent,
                           self.bytes_of("ApplyGradient")[0] - received))
        (rows, gradients), (half_rows, half_gradients) = counts
        self.assertLess(abs(half_rows - rows / 2), 200)
        # The ids take what they took.
        self.assertLess(abs(half_gradients - 8000 - (gradients - 8000) / 2),
                        200)

    def test_each_id_travels_once(self):
        weight = torch.randn(20, 64)
        ids = torch.zeros(1000, dtype=torch.int64)
        module = self.embedding(weight, unique=True)
        optimizer = quire.torch.Optimizer(module)
        _, sent = self.bytes_of("Lookup")
        received, _ = self.bytes_of("ApplyGradient")
        module(ids).sum().backward()
        optimizer.step()
        self.assertLess(self.bytes_of("Lookup")[1] - sent, 1000)
        self.assertLess(self.bytes_of("ApplyGradient")[0] - received, 1000)

    def test_a_gradient_that_overflows_is_refused_and_changes_nothing(self):
        weight = torch.randn(20, 5)
        module = self.embedding(weight, wire_dtype=torch.float16)
        optimizer = quire.torch.Optimizer(module)
        module(torch.tensor([4, 7])).backward(torch.full((2, 5), 7e4))
        with self.assertRaisesRegex(quire.InvalidArgument,
                                    "FLOAT16 ends at 65504; nothing was sent"):
            optimizer.step()
        self.assert_same(stored(module), weight)
        self.assertEqual(self.client.table(module.table).step, 0)
        optimizer.zero_grad()
        module(torch.tensor([4, 7])).backward(torch.full((2, 5), 1.0))
        optimizer.step()
        self.assertEqual(self.client.table(module.table).step, 1)

    def test_an_overflow_of_what_travels_is_one_to_a_grad_scaler(self):
        weight = torch.randn(20, 5)
        ids = torch.tensor([4, 7, 4])
        for dtype, unique, gradient, overflows in (
                (torch.float16, False, 1.0, True),   # times 2 ** 16
                (torch.float16, False, 0.9, False),
                (torch.float16, True, 0.9, True),    # the sum
                (torch.float16, True, 0.45, False),
                (torch.bfloat16, True, 1e6, False),
                (None, True, 1e6, False)):
            module = self.embedding(weight, wire_dtype=dtype, unique=unique)
            optimizer = quire.torch.Optimizer(module, lr=1.0)
            scaler = CpuGradScaler()
            scaler.scale((module(ids) * gradient).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            self.assertEqual(float(scaler._scale),
                             2.0 ** (15 if overflows else 16))
            self.assertEqual(self.client.table(module.table).step,
                             0 if overflows else 1)
            if overflows:
                self.assert_same(stored(module), weight)

    # A loss is scaled so that small gradients are not 0 as float16.
    def test_a_scaled_gradient_travels_scaled(self):
        weight = torch.zeros(20, 5)
        for unique in (False, True):
            module = self.embedding(weight, wire_dtype=torch.float16,
                                    unique=unique)
            optimizer = quire.torch.Optimizer(module, lr=1.0)
            scaler = CpuGradScaler()
            scaler.scale((module(torch.tensor([4, 4])) * 1e-9).sum()) \
                .backward()
            scaler.step(optimizer)
            torch.testing.assert_close(stored(module)[4],
                                       torch.full((5,), -2e-9), rtol=1e-3,
                                       atol=0)

    def test_prefetched_rows_travel_so_too(self):
        torch.manual_seed(6)
        weight = torch.randn(30, 4)
        batches = [torch.randint(30, (12,)) for _ in range(5)]
        found = []
        for ahead in (False, True):
            module = self.embedding(weight, wire_dtype=torch.bfloat16,
                                    unique=True)
            model = nn.ModuleDict({"words": module})
            optimizer = quire.torch.Optimizer(model, lr=0.1)
            loader = quire.torch.Prefetch(
                batches, model, lambda ids: {"words": ids}, exact=True,
                optimizer=optimizer) if ahead else batches
            for ids in loader:
                optimizer.zero_grad()
                module(ids).square().sum().backward()
                optimizer.step()
            found.append(stored(module))
        self.assert_same(found[1], found[0])

    def test_a_collection_has_modules_of_each_kind(self):
        weight = torch.randn(20, 5)
        ids = torch.tensor([3, 3, 9])
        features = quire.torch.RemoteEmbeddingCollection({
            "plain": self.embedding(weight),
            "light": self.embedding(weight, wire_dtype=torch.float16,
                                   unique=True),
            "counted": self.embedding(weight, scale_grad_by_freq=True,
                                      unique=True)})
        optimizer = quire.torch.Optimizer(features, lr=1.0)
        rows = features({"plain": ids, "light": ids, "counted": ids})
        self.assert_same(rows["plain"], weight[ids])
        self.assert_same(rows["light"], weight[ids].half().float())
        sum(one.sum() for one in rows.values()).backward()
        optimizer.step()
        for name, moved in (("plain", 2), ("light", 2), ("counted", 1)):
            self.assert_same(stored(features.tables[name])[3],
                             weight[3] - moved)

    def test_offload_takes_them(self):
        model = nn.ModuleDict({"words": nn.Embedding(20, 5)})
        weight = model["words"].weight.detach().clone()
        quire.torch.offload(model, self.server, prefix=f"{self.name()}.",
                            wire_dtype=torch.float16, unique=True)
        self.assertEqual(model["words"].wire_dtype, torch.float16)
        self.assertTrue(model["words"].unique)
        self.assert_same(model["words"](torch.tensor([3, 3])),
                         weight[[3, 3]].half().float())

    def test_copies_travel_alike(self):
        module = self.embedding(torch.randn(20, 5), unique=True,
                                wire_dtype=torch.float16)
        for twin in (copy.deepcopy(module),
                     pickle.loads(pickle.dumps(module))):
            self.assertEqual(twin._travel, module._travel)
            self.assertEqual(twin._kept.travel, module._kept.travel)
        self.assertIn("wire_dtype=torch.float16, unique=True", repr(module))

    def test_other_types_are_refused(self):
        for wrong in (torch.float64, torch.int32, "float16"):
            with self.assertRaisesRegex(ValueError, "wire_dtype is"):
                self.embedding(torch.randn(20, 5), wire_dtype=wrong)


if __name__ == "__main__":
    support.main()
