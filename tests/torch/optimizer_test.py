#!/usr/bin/env python3
"""quire.torch.Optimizer takes the steps that torch's optimizers take."""

import collections
import random

import support
import torch
from support import RemoteTest, stored
from torch import nn

import quire
import quire.torch


class RowwiseAdagrad(torch.optim.Optimizer):
    """FBGEMM's exact row-wise Adagrad, of a dense gradient: what torch lacks.
    """

    def __init__(self, parameters, lr, eps):
        super().__init__(parameters, {"lr": lr, "eps": eps})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                touched = (weight.grad != 0).any(1)
                total = self.state[weight].setdefault(
                    "sum", torch.zeros(len(weight), 1))
                total += weight.grad.square().mean(1, keepdim=True)
                step = group["lr"] * weight.grad / (total.sqrt() +
                                                    group["eps"])
                weight[touched] -= step[touched]


# name: torch's optimizer of parameters, the server's, whether sparse
OPTIMIZERS = {
    "sgd": (lambda p: torch.optim.SGD(p, lr=0.1),
            quire.optimizers.Sgd(learning_rate=0.1), False),
    "sgd with momentum": (
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        quire.optimizers.Sgd(learning_rate=0.1, momentum=0.9, nesterov=True,
                             scope="all"), False),
    "adagrad": (lambda p: torch.optim.Adagrad(p, lr=0.1),
                quire.optimizers.Adagrad(learning_rate=0.1), False),
    "sparse adagrad": (lambda p: torch.optim.Adagrad(p, lr=0.1),
                       quire.optimizers.Adagrad(learning_rate=0.1), True),
    "rowwise adagrad": (lambda p: RowwiseAdagrad(p, lr=0.1, eps=1e-8),
                        quire.optimizers.RowwiseAdagrad(learning_rate=0.1),
                        False),
    "sparse adam": (lambda p: torch.optim.SparseAdam(p, lr=0.01),
                    quire.optimizers.SparseAdam(learning_rate=0.01), True),
    "adam": (lambda p: torch.optim.Adam(p, lr=0.01),
             quire.optimizers.Adam(learning_rate=0.01, scope="all"), False),
    "adamw": (lambda p: torch.optim.AdamW(p, lr=0.01),
              quire.optimizers.AdamW(learning_rate=0.01, scope="all"), False),
}


class Model(nn.Module):
    """Words and a bag of them, then dense layers."""

    def __init__(self, words, tags):
        super().__init__()
        self.words = words
        self.tags = tags
        self.dense = nn.Linear(8, 1)

    def forward(self, ids, bags):
        return self.dense(torch.cat([self.words(ids).mean(1),
                                     self.tags(bags)], 1))


def batches(count, seed=0, rows=20):
    """(ids, bags, targets) each."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield (torch.randint(rows, (6, 3), generator=generator),
               torch.randint(rows, (6, 2), generator=generator),
               torch.randn(6, 1, generator=generator))


def loss_of(model, batch):
    ids, bags, targets = batch
    return (model(ids, bags) - targets).pow(2).mean()


class PairTest(RemoteTest):
    """Tests of the same model with torch's modules and with remote ones."""

    def pair(self, optimizer=None, sparse=False):
        """The same model with torch's modules and with remote ones."""
        words, tags = torch.randn(20, 4), torch.randn(20, 4)
        local = Model(nn.Embedding.from_pretrained(words.clone(), freeze=False,
                                                   sparse=sparse),
                      nn.EmbeddingBag.from_pretrained(
                          tags.clone(), freeze=False, sparse=sparse))
        remote = Model(self.embedding(words, optimizer=optimizer),
                       self.bag(tags, optimizer=optimizer))
        remote.dense.load_state_dict(local.dense.state_dict())
        return local, remote

    def compare(self, local, remote):
        for name in ("words", "tags"):
            self.assert_close(stored(getattr(remote, name)),
                              getattr(local, name).weight)
        self.assert_close(remote.dense.weight, local.dense.weight)

    def optimizers(self, local, remote, lr=0.1):
        """(model, dense optimizer, optimizer of the tables) of both."""
        return (
            (local, torch.optim.SGD(local.dense.parameters(), lr=lr),
             torch.optim.SGD([local.words.weight, local.tags.weight], lr=lr)),
            (remote, torch.optim.SGD(remote.dense.parameters(), lr=lr),
             quire.torch.Optimizer(remote, lr=lr)))


class StepTest(PairTest):

    def test_training_is_torchs_step_by_step(self):
        for name, (torchs, servers, sparse) in OPTIMIZERS.items():
            local, remote = self.pair(servers, sparse)
            steps = [
                (local, torch.optim.SGD(local.dense.parameters(), lr=0.1),
                 torchs([local.words.weight, local.tags.weight])),
                (remote, torch.optim.SGD(remote.dense.parameters(), lr=0.1),
                 quire.torch.Optimizer(remote))]
            for step, batch in enumerate(batches(8)):
                for model, dense, tables in steps:
                    dense.zero_grad()
                    tables.zero_grad()
                    loss_of(model, batch).backward()
                    dense.step()
                    tables.step()

                with self.subTest(name, step=step):
                    self.compare(local, remote)

    def test_a_step_is_one_request(self):
        _, remote = self.pair()
        optimizer = quire.torch.Optimizer(remote)
        before = self.pushes()

        loss_of(remote, next(batches(1))).backward()
        optimizer.step()

        self.assertEqual(self.pushes() - before, 1)
        self.assertEqual(self.client.table(remote.words.table).step, 1)
        self.assertEqual(self.client.table(remote.tags.table).step, 1)

    def pushes(self):
        return {method.method: method.ok for method in
                self.client.stats().methods}.get("ApplyGradient", 0)

    def test_without_a_gradient_there_is_no_step(self):
        _, remote = self.pair()
        optimizer = quire.torch.Optimizer(remote)

        optimizer.step()
        remote.words(torch.tensor([1])).sum().backward()
        optimizer.step()

        self.assertEqual(self.client.table(remote.words.table).step, 1)
        self.assertEqual(self.client.table(remote.tags.table).step, 0)

    def test_an_empty_batch_is_a_step(self):
        for remote, ids in (
                (self.embedding(torch.randn(3, 2)), torch.zeros(0)),
                (self.bag(torch.randn(3, 2)), torch.zeros(0, 4))):
            optimizer = quire.torch.Optimizer(remote)

            remote(ids.long()).sum().backward()
            optimizer.step()

            self.assertEqual(self.client.table(remote.table).step, 1)

    def test_schedulers_and_rates_of_tables(self):
        local, remote = self.pair()
        steps = self.optimizers(local, remote)
        for _, _, tables in steps:
            for group in tables.param_groups:
                group["lr"] *= 0.5
        schedulers = [torch.optim.lr_scheduler.ExponentialLR(tables, 0.5)
                      for _, _, tables in steps]
        self.assertEqual([group["table"] for group in
                          steps[1][2].param_groups],
                         [remote.words.table, remote.tags.table])
        for batch in batches(4):
            for (model, dense, tables), scheduler in zip(steps, schedulers):
                dense.zero_grad()
                tables.zero_grad()
                loss_of(model, batch).backward()
                dense.step()
                tables.step()
                scheduler.step()
            self.compare(local, remote)

    def test_the_rate_is_the_tables_unless_said_otherwise(self):
        remote = self.embedding(
            torch.randn(3, 2), optimizer=quire.optimizers.Adagrad(0.25))

        self.assertEqual(
            quire.torch.Optimizer(remote).param_groups[0]["lr"], 0.25)
        self.assertEqual(
            quire.torch.Optimizer(remote, lr=2.0).param_groups[0]["lr"], 2.0)

    def test_one_optimizer_for_the_dense_part_may_have_all_parameters(self):
        local, remote = self.pair()
        steps = self.optimizers(local, remote)
        dense = torch.optim.SGD(remote.parameters(), lr=0.1, weight_decay=0.0)
        steps = (steps[0], (remote, dense, steps[1][2]))
        for batch in batches(3):
            for model, dense, tables in steps:
                dense.zero_grad()
                tables.zero_grad()
                loss_of(model, batch).backward()
                dense.step()
                tables.step()
            self.compare(local, remote)

    def test_a_closure(self):
        remote = self.embedding(torch.zeros(3, 2))
        optimizer = quire.torch.Optimizer(remote, lr=1.0)

        def closure():
            optimizer.zero_grad()
            loss = remote(torch.tensor([1])).sum()
            loss.backward()
            return loss

        self.assertEqual(float(optimizer.step(closure)), 0.0)
        self.assertEqual(float(optimizer.step(closure)), -2.0)

    def test_gradients_accumulate(self):
        local, remote = self.pair()
        for model, dense, tables in self.optimizers(local, remote):
            for batch in batches(3):
                (loss_of(model, batch) / 3).backward()
            dense.step()
            tables.step()
        self.compare(local, remote)

    def test_clipping_by_global_norm(self):
        for max_norm in (0.01, 1e3):
            local, remote = self.pair()
            (_, dense, tables), (_, remote_dense, optimizer) = \
                self.optimizers(local, remote)
            for batch in batches(3):
                for one in (dense, tables, remote_dense, optimizer):
                    one.zero_grad()
                loss_of(local, batch).backward()
                loss_of(remote, batch).backward()
                expected = nn.utils.clip_grad_norm_(local.parameters(),
                                                    max_norm)
                actual = optimizer.clip_grad_norm_(max_norm,
                                                   remote.parameters())
                for one in (dense, tables, remote_dense, optimizer):
                    one.step()

                self.assert_close(actual, expected)
                self.compare(local, remote)

    def test_the_norm_is_that_of_torchs_gradient(self):
        draw = random.Random(6)
        for case in range(30):
            padding = draw.choice([None, 2])
            modes = draw.choice([None, "sum", "mean", "max"])
            arguments = {"padding_idx": padding}
            weight = torch.randn(6, 3)
            ids = torch.randint(6, (4, 3))
            if modes is None:
                arguments["scale_grad_by_freq"] = draw.choice([False, True])
                kinds = nn.Embedding, self.embedding
            else:
                arguments["mode"] = modes
                kinds = nn.EmbeddingBag, self.bag
            local = kinds[0].from_pretrained(weight.clone(), freeze=False,
                                             **arguments)
            remote = kinds[1](weight, **arguments)
            for module in (local, remote):
                module(ids).pow(2).sum().backward()

            with self.subTest(case=case, **arguments):
                self.assert_close(quire.torch.Optimizer(remote).norm(),
                                  local.weight.grad.norm())

    def test_clipping_then_more_gradients(self):
        remote = self.embedding(torch.zeros(3, 1))
        optimizer = quire.torch.Optimizer(remote, lr=1.0)
        (remote(torch.tensor([1])) * 10).sum().backward()
        optimizer.clip_grad_norm_(1.0)
        (remote(torch.tensor([1])) * 10).sum().backward()

        optimizer.step()

        self.assert_close(stored(remote)[1], torch.tensor([-11.0]))

    def test_pushes_in_flight(self):
        local, remote = self.pair()
        steps = self.optimizers(local, remote)
        optimizer = quire.torch.Optimizer(remote, lr=0.1, in_flight=4)
        for batch in batches(20):
            optimizer.zero_grad()
            remote.zero_grad()
            loss_of(remote, batch).backward()
            optimizer.step()
            self.assertLessEqual(len(optimizer._in_flight), 4)

        optimizer.wait()

        self.assertEqual(self.client.table(remote.words.table).step, 20)
        del steps

    def test_an_error_of_a_push_in_flight_is_raised_later(self):
        remote = self.embedding(torch.zeros(3, 1))
        optimizer = quire.torch.Optimizer(remote, in_flight=1)
        (remote(torch.tensor([1])) * float("nan")).sum().backward()

        optimizer.step()

        with self.assertRaises(quire.InvalidArgument):
            optimizer.wait()
        optimizer.wait()

    def test_a_step_that_is_refused_changes_nothing(self):
        remote = self.embedding(torch.zeros(3, 1))
        optimizer = quire.torch.Optimizer(remote, lr=1.0)
        (remote(torch.tensor([1])) * float("inf")).sum().backward()

        with self.assertRaises(quire.InvalidArgument) as caught:
            optimizer.step()
        optimizer.zero_grad()
        remote(torch.tensor([2])).sum().backward()
        optimizer.step()

        self.assertEqual(caught.exception.reason, "NON_FINITE")
        self.assert_same(stored(remote), torch.tensor([[0.], [0], [-1]]))

    def test_two_modules_of_one_table_are_one_table(self):
        first = self.embedding(torch.zeros(3, 1))
        second = quire.torch.RemoteEmbedding(3, 1, server=self.server,
                                             table=first.table)
        model = nn.ModuleList([first, second])
        optimizer = quire.torch.Optimizer(model, lr=1.0)

        (first(torch.tensor([1])) + second(torch.tensor([1]))).sum().backward()
        optimizer.step()

        self.assertEqual(len(optimizer.param_groups), 1)
        self.assertEqual(self.client.table(first.table).step, 1)
        self.assert_same(stored(first)[1], torch.tensor([-2.0]))

    def test_state_dict_has_the_rates(self):
        remote = self.embedding(torch.zeros(3, 1))
        optimizer = quire.torch.Optimizer(remote, lr=1.0)
        saved = optimizer.state_dict()
        optimizer.param_groups[0]["lr"] = 5.0

        optimizer.load_state_dict(saved)

        self.assertEqual(optimizer.param_groups[0]["lr"], 1.0)
        repr(optimizer)

    def test_what_cannot_be_meant(self):
        remote = self.embedding(torch.zeros(3, 1))
        for arguments, sentence in (
                ({"sync": "mean"}, "'none', 'allreduce_mean', 'sum'"),
                ({"in_flight": -1}, "in_flight is -1"),
                ({"in_flight": 1, "sync": "sum"}, "0 unless sync is 'none'")):
            with self.assertRaisesRegex(ValueError, sentence):
                quire.torch.Optimizer(remote, **arguments)
        with self.assertRaisesRegex(RuntimeError, "init_process_group"):
            quire.torch.Optimizer(remote, sync="sum")
        with self.assertRaisesRegex(ValueError, "nothing to step"):
            quire.torch.Optimizer(nn.Linear(2, 2))


class CpuGradScaler(torch.cuda.amp.GradScaler):
    """torch's GradScaler where there is no GPU: in 1.13 it turns itself off
    there. What needs a GPU is written out; what it does is unchanged."""

    def __init__(self, **arguments):
        super().__init__(enabled=False)
        self._enabled = True
        self._scale = torch.tensor(arguments.get("init_scale", 2.0 ** 16))
        self._backoff_factor = 0.5
        self._per_optimizer_states = collections.defaultdict(
            torch.cuda.amp.grad_scaler._refresh_per_optimizer_state)

    def scale(self, loss):
        return loss * self._scale

    def _check_scale_growth_tracker(self, name):
        pass

    def _unscale_grads_(self, optimizer, inv_scale, found_inf, allow_fp16):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    values = parameter.grad._values() \
                        if parameter.grad.is_sparse else parameter.grad
                    if not torch.isfinite(values).all():
                        found_inf.fill_(1.0)
                    values.mul_(inv_scale)
        return {found_inf.device: found_inf}

    def update(self):
        found = [value for state in self._per_optimizer_states.values()
                 for value in state["found_inf_per_device"].values()]
        assert found, "No inf checks were recorded prior to update."
        if any(float(one) for one in found):
            self._scale = self._scale * self._backoff_factor
        self._per_optimizer_states.clear()


class ScalerTest(PairTest):

    def test_a_scaled_step_is_the_step(self):
        for explicit in (False, True):
            local, remote = self.pair()
            for model, dense, tables in self.optimizers(local, remote):
                scaler = CpuGradScaler()
                for batch in batches(3):
                    dense.zero_grad()
                    tables.zero_grad()
                    scaler.scale(loss_of(model, batch)).backward()
                    if explicit:
                        scaler.unscale_(dense)
                        scaler.unscale_(tables)
                    scaler.step(dense)
                    scaler.step(tables)
                    scaler.update()
            self.compare(local, remote)

    def test_unscaled_then_clipped(self):
        local, remote = self.pair()
        (_, dense, tables), (_, remote_dense, optimizer) = \
            self.optimizers(local, remote)
        # All parameters, anchors too: unscaled twice, but for the factor.
        remote_dense = torch.optim.SGD(remote.parameters(), lr=0.1)
        for model, one, other in ((local, dense, tables),
                                  (remote, remote_dense, optimizer)):
            scaler = CpuGradScaler()
            for batch in batches(3):
                model.zero_grad()
                scaler.scale(loss_of(model, batch)).backward()
                scaler.unscale_(one)
                scaler.unscale_(other)
                if model is local:
                    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
                else:
                    optimizer.clip_grad_norm_(0.1, model.parameters())
                scaler.step(one)
                scaler.step(other)
                scaler.update()
        self.compare(local, remote)

    def test_an_overflow_pushes_nothing_and_raises_nothing(self):
        _, remote = self.pair()
        optimizer = quire.torch.Optimizer(remote)
        scaler = CpuGradScaler()
        before = stored(remote.words)

        optimizer.zero_grad()
        loss = scaler.scale(loss_of(remote, next(batches(1))))
        (loss * float("inf")).backward()
        scaler.step(optimizer)
        scaler.update()

        self.assert_same(stored(remote.words), before)
        self.assertEqual(float(scaler._scale), 2.0 ** 15)
        optimizer.zero_grad()
        scaler.scale(loss_of(remote, next(batches(1)))).backward()
        scaler.step(optimizer)
        self.assertEqual(self.client.table(remote.words.table).step, 1)


if __name__ == "__main__":
    support.main()
