#!/usr/bin/env python3
"""state_dict holds tokens; rows come and go when asked for."""

import io

import support
import torch
from support import RemoteTest, stored
from torch import nn

import quire.torch


class CheckpointTest(RemoteTest):

    def pair(self):
        """A model of torch's, and one with remote rows."""
        local = nn.ModuleDict({
            "words": nn.Embedding(2000, 8), "tags": nn.EmbeddingBag(5, 8),
            "dense": nn.Linear(8, 1)})
        remote = nn.ModuleDict({
            "words": self.embedding(torch.zeros(2000, 8)),
            "tags": self.bag(torch.zeros(5, 8)), "dense": nn.Linear(8, 1)})
        return local, remote

    def test_a_state_dict_holds_no_rows(self):
        _, remote = self.pair()
        file = io.BytesIO()

        torch.save(remote.state_dict(), file)

        self.assertLess(len(file.getvalue()), 6000)
        file.seek(0)
        state = torch.load(file)
        token = state["words._extra_state"]
        self.assertEqual(token["table"], remote["words"].table)
        self.assertEqual(token["server"], self.server)
        self.assertEqual(token["spec"]["num_embeddings"], 2000)
        self.assertEqual(token["spec"]["optimizer"]["kind"], "Sgd")
        remote.load_state_dict(state)

    def test_a_token_of_another_table_is_refused(self):
        _, remote = self.pair()
        _, other = self.pair()

        with self.assertRaisesRegex(
                RuntimeError, f"is of table '{other['words'].table}'.*"
                              f"this module has table "
                              f"'{remote['words'].table}'"):
            remote.load_state_dict(other.state_dict())

    def test_an_ordinary_checkpoint_is_uploaded(self):
        local, remote = self.pair()

        remote.load_state_dict(local.state_dict())

        self.assert_same(stored(remote["words"]), local["words"].weight)
        self.assert_same(stored(remote["tags"]), local["tags"].weight)
        self.assert_same(remote["dense"].weight, local["dense"].weight)

    def test_gathered_rows_load_into_torchs_model(self):
        local, remote = self.pair()
        remote["words"].write_rows(torch.arange(2000), torch.randn(2000, 8))

        gathered = quire.torch.gather_state_dict(remote)

        self.assertEqual(list(gathered), list(local.state_dict()))
        local.load_state_dict(gathered)
        self.assert_same(local["words"].weight, stored(remote["words"]))
        self.assertEqual(list(quire.torch.gather_state_dict(remote["tags"])),
                         ["weight"])

    def test_a_token_tells_what_the_table_has_seen(self):
        rows = self.embedding(torch.zeros(5, 2),
                              optimizer=quire.optimizers.Sgd(1.0))
        optimizer = quire.torch.Optimizer(rows)
        rows(torch.tensor([1])).sum().backward()
        optimizer.step()

        token = rows.state_dict()["_extra_state"]

        self.assertEqual(token["step"], 1)
        self.assertEqual(token["origin"], token["uid"])
        # Of a table in memory nobody knows the position.
        self.assertIsNone(token["position"])

    def test_torchs_optimizers_go_on_from_what_is_gathered(self):
        torch.manual_seed(3)
        weight = torch.randn(50, 4)
        for theirs, ours in (
                (lambda p: torch.optim.Adam(p, lr=0.01),
                 quire.optimizers.Adam(0.01, scope="all")),
                (lambda p: torch.optim.Adagrad(p, lr=0.1),
                 quire.optimizers.Adagrad(0.1))):
            with self.subTest(ours):
                remote = self.embedding(weight, optimizer=ours)
                steps = quire.torch.Optimizer(remote)

                def train(module, optimizer):
                    for ids in torch.arange(24).reshape(3, 8) * 7 % 50:
                        optimizer.zero_grad()
                        module(ids).pow(3).sum().backward()
                        optimizer.step()

                train(remote, steps)
                gathered = quire.torch.gather_state_dict(
                    remote, optimizer_state=True)
                local = nn.Embedding.from_pretrained(gathered["weight"],
                                                     freeze=False)
                optimizer = theirs(local.parameters())
                (parameter,) = local.parameters()
                optimizer.state[parameter] = {
                    key.partition(".")[2]: value
                    for key, value in gathered.items() if key != "weight"}
                optimizer.state[parameter]["step"] = torch.tensor(
                    float(gathered["optimizer.step"]))
                train(local, optimizer)
                train(remote, steps)

                self.assert_same(stored(remote), local.weight)

    def test_what_is_gathered_is_loaded_with_its_state_and_steps(self):
        ours = quire.optimizers.Adam(0.01, amsgrad=True)
        one = self.embedding(torch.randn(50, 4), optimizer=ours)
        other = self.embedding(torch.zeros(50, 4), optimizer=ours)

        def train(module):
            optimizer = quire.torch.Optimizer(module)
            for ids in torch.arange(24).reshape(3, 8) * 7 % 50:
                optimizer.zero_grad()
                module(ids).pow(3).sum().backward()
                optimizer.step()

        train(one)
        file = io.BytesIO()
        torch.save(quire.torch.gather_state_dict(one, optimizer_state=True),
                   file)
        file.seek(0)
        gathered = torch.load(file, weights_only=True)
        other.load_state_dict(gathered)

        self.assertEqual(self.client.table(other.table).step, 3)
        self.assertEqual(other.remote.uid, self.client.table(other.table).uid)
        train(one)
        train(other)
        self.assert_same(stored(one), stored(other))
        del gathered["optimizer.exp_avg"]
        with self.assertRaisesRegex(RuntimeError, "needs .*exp_avg"):
            other.load_state_dict(gathered)
        self.assert_same(stored(one), stored(other))

    def test_rows_travel_in_pieces(self):
        remote = self.embedding(torch.zeros(3000, 1024))
        weight = torch.arange(3000.).unsqueeze(1).repeat(1, 1024)

        remote.load_state_dict({"weight": weight})

        self.assert_same(quire.torch.gather_state_dict(remote)["weight"],
                         weight)

    def test_keys_that_do_not_fit(self):
        local, remote = self.pair()
        state = local.state_dict()
        state["words.weight"] = torch.zeros(3, 8)
        with self.assertRaisesRegex(RuntimeError,
                                    "size mismatch for words.weight"):
            remote.load_state_dict(state)
        del state["words.weight"]
        with self.assertRaisesRegex(RuntimeError,
                                    "Missing key.*words.weight"):
            remote.load_state_dict(state)
        state["words.other"] = torch.zeros(3)
        result = remote.load_state_dict(state, strict=False)
        self.assertEqual(result.missing_keys, ["words.weight"])
        self.assertEqual(result.unexpected_keys, ["words.other"])
        with self.assertRaisesRegex(RuntimeError, "Unexpected key.*other"):
            remote.load_state_dict(state)


if __name__ == "__main__":
    support.main()
