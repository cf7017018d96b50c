#!/usr/bin/env python3
"""offload moves the embeddings of a model that knows nothing of Quire."""

import support
import torch
from support import RemoteTest, stored
from torch import nn

import quire
import quire.torch


class Ranker(nn.Module):
    """A model file that knows nothing of Quire."""

    def __init__(self, device=None):
        super().__init__()
        self.users = nn.Embedding(50, 4, padding_idx=0, device=device)
        self.towers = nn.ModuleDict({
            "words": nn.EmbeddingBag(30, 4, mode="sum", device=device),
            "days": nn.Embedding(7, 4, device=device)})
        self.dense = nn.Linear(12, 1)

    def forward(self, users, words, days):
        return self.dense(torch.cat([
            self.users(users), self.towers["words"](words),
            self.towers["days"](days)], 1))


def draw():
    """Arguments of one forward."""
    return (torch.randint(50, (5,)), torch.randint(30, (5, 3)),
            torch.randint(7, (5,)))


def inputs_of(users, words, days):
    return {"users": users, "towers.words": words, "towers.days": days}


class OffloadTest(RemoteTest):

    def lookups(self):
        return {method.method: method.ok for method in
                self.client.stats().methods}.get("Lookup", 0)

    def test_rows_move_and_training_stays_torchs(self):
        local, remote = Ranker(), Ranker()
        remote.load_state_dict(local.state_dict())
        names = quire.torch.offload(remote, self.server,
                                    prefix=f"{self.name()}.", min_rows=10)
        tables = [local.users.weight, local.towers["words"].weight]
        steps = [
            (local, torch.optim.SGD(local.parameters(), lr=0.1), None),
            (remote, torch.optim.SGD(remote.parameters(), lr=0.1),
             quire.torch.Optimizer(remote, lr=0.1))]

        for _ in range(4):
            given = draw()
            results = []
            for model, dense, optimizer in steps:
                dense.zero_grad()
                result = model(*given)
                results.append(result)
                result.pow(2).sum().backward()
                dense.step()
                if optimizer is not None:
                    optimizer.step()
            self.assert_close(results[1], results[0])

        self.assertEqual(names, ["users", "towers.words"])
        self.assertIs(type(remote.towers["days"]), nn.Embedding)
        self.assert_close(stored(remote.users), tables[0])
        self.assert_close(stored(remote.towers["words"]), tables[1])

    def test_all_tables_of_a_forward_in_one_round_trip(self):
        model = Ranker()
        quire.torch.offload(model, self.server, prefix=f"{self.name()}.",
                            inputs_of=inputs_of)
        given = draw()
        before = self.lookups()

        model(*given).sum().backward()

        self.assertEqual(self.lookups() - before, 1)
        for name in ("users", "towers.days"):
            self.assertEqual(model.get_submodule(name)._ready, [])

    def test_ids_that_were_not_announced_are_looked_up(self):
        model = Ranker()
        quire.torch.offload(
            model, self.server, prefix=f"{self.name()}.",
            inputs_of=lambda users, *_: {"users": users + 1 - 1})
        users = model.users(torch.arange(5))

        rows = []
        model.users.register_forward_hook(lambda m, i, o: rows.append(o))
        _, words, days = draw()
        model(torch.arange(5), words, days)

        self.assert_same(rows[0], users)

    def test_tables_of_the_meta_device_are_born_on_the_server(self):
        model = Ranker(device="meta")
        prefix = f"{self.name()}."

        quire.torch.offload(model, self.server, prefix=prefix,
                            optimizer=quire.optimizers.Adagrad())

        self.assertEqual(float(stored(model.users)[0].abs().sum()), 0)
        self.assertEqual(
            type(self.client.table(prefix + "users").spec.optimizer),
            quire.optimizers.Adagrad)
        self.assertFalse(any(parameter.is_meta for parameter
                             in model.parameters()))

    def test_a_second_worker_attaches(self):
        first, second = Ranker(), Ranker()
        prefix = f"{self.name()}."

        quire.torch.offload(first, self.server, prefix=prefix)
        quire.torch.offload(second, self.server, prefix=prefix)

        self.assert_same(stored(second.users), stored(first.users))

    def test_modules_that_share_share_a_table(self):
        model = Ranker()
        model.again = model.users
        model.other = nn.Embedding(50, 4, padding_idx=0)
        model.other.weight = model.users.weight
        model.users.weight.requires_grad = False
        model.eval()

        quire.torch.offload(model, self.server, prefix=f"{self.name()}.")

        self.assertIs(model.again, model.users)
        self.assertEqual(model.other.table, model.users.table)
        self.assertFalse(model.users.anchor.requires_grad)
        self.assertFalse(model.users.training)

    def test_a_tied_output_layer_is_refused(self):
        model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9))
        model[1].weight = model[0].weight

        with self.assertRaisesRegex(ValueError, "'1.weight' is the weight of "
                                                "'0' too"):
            quire.torch.offload(model, self.server)
        with self.assertRaisesRegex(ValueError, "from_pretrained"):
            quire.torch.offload(nn.Embedding(3, 2), self.server)


class PrefetchTest(RemoteTest):

    def train(self, prefetch, steps=12, **arguments):
        """Rows of a table after training on batches that overlap."""
        generator = torch.Generator().manual_seed(3)
        batches = [(torch.randint(12, (6,), generator=generator),
                    torch.randint(12, (3, 2), generator=generator))
                   for _ in range(steps)]
        start = torch.linspace(-1, 1, 24).reshape(12, 2)
        model = nn.ModuleDict({
            "words": self.embedding(start, **arguments),
            "bags": self.bag(start, **arguments)})
        optimizer = quire.torch.Optimizer(model, lr=0.1)
        for words, bags in prefetch(batches, model, optimizer):
            optimizer.zero_grad()
            (model["words"](words).pow(2).sum() +
             model["bags"](bags).pow(2).sum()).backward()
            optimizer.step()
        return torch.cat([stored(model["words"]), stored(model["bags"])])

    def test_exact_is_the_same_as_without(self):
        for ahead in (1, 3):
            for arguments in ({}, {"optimizer": quire.optimizers.Sgd(
                    momentum=0.9, scope="all")}):
                expected = self.train(lambda batches, *_: batches,
                                      **arguments)

                actual = self.train(
                    lambda batches, model, optimizer: quire.torch.Prefetch(
                        batches, model,
                        lambda batch: {"words": batch[0], "bags": batch[1]},
                        ahead=ahead, exact=True, optimizer=optimizer),
                    **arguments)

                self.assert_same(actual, expected)

    def test_without_exact_rows_are_a_step_old(self):
        expected = self.train(lambda batches, *_: batches)

        actual = self.train(
            lambda batches, model, _: quire.torch.Prefetch(
                batches, model,
                lambda batch: {"words": batch[0], "bags": batch[1]}))

        self.assertGreater(float((actual - expected).abs().max()), 1e-3)
        self.assertLess(float((actual - expected).abs().max()), 1)

    def test_the_forward_itself_asks_for_nothing(self):
        module = self.embedding(torch.randn(9, 2))
        batches = [torch.tensor([1, 2]), torch.tensor([2, 3])]

        asked = []
        for ids in quire.torch.Prefetch(batches, module,
                                        lambda batch: {"": batch}):
            before = self.client.stats().methods
            module(ids)
            asked.append([method.ok for method in
                          self.client.stats().methods
                          if method.method == "Lookup"] ==
                         [method.ok for method in before
                          if method.method == "Lookup"])

        self.assertEqual(asked[-1], True)
        self.assertEqual(module._ready, [])

    def test_it_wraps_a_data_loader(self):
        module = self.embedding(torch.randn(9, 2))
        loader = torch.utils.data.DataLoader(torch.arange(9), batch_size=4)
        prefetch = quire.torch.Prefetch(loader, module,
                                        lambda batch: {"": batch})

        self.assertEqual(len(prefetch), 3)
        for _ in range(2):
            self.assert_same(torch.cat(list(prefetch)), torch.arange(9))

    def test_what_cannot_be_meant(self):
        module = self.embedding(torch.randn(9, 2))
        flying = quire.torch.Optimizer(module, in_flight=1)
        for arguments, sentence in (
                ({"ahead": 0}, "ahead is 0"),
                ({"exact": True}, "needs the optimizer"),
                ({"exact": True, "optimizer": flying}, "in_flight=0")):
            with self.assertRaisesRegex(ValueError, sentence):
                quire.torch.Prefetch([], module, lambda batch: {}, **arguments)
        with self.assertRaisesRegex(KeyError, "'users'"):
            next(iter(quire.torch.Prefetch([1], module,
                                           lambda batch: {"users": batch})))


if __name__ == "__main__":
    support.main()
