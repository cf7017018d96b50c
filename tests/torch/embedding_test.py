#!/usr/bin/env python3
"""RemoteEmbedding is nn.Embedding."""

import copy
import pickle
import random
import subprocess
import sys

import support
import torch
from support import RemoteTest, stored
from torch import nn
from torch.utils.checkpoint import checkpoint

import quire
import quire.torch


def draw_arguments(draw, rows):
    """Arguments of nn.Embedding, as a test draws them."""
    return {
        "padding_idx": draw.choice([None, 0, rows - 1, -1, -rows]),
        "max_norm": draw.choice([None, None, 0.0, 0.7, 3.0]),
        "norm_type": draw.choice([2.0, 1.0, 0.0, float("inf")]),
        "scale_grad_by_freq": draw.choice([False, True]),
    }


class ForwardTest(RemoteTest):

    def test_rows_are_torchs_bit_for_bit(self):
        draw = random.Random(1)
        for case in range(60):
            rows, dim = draw.randint(1, 30), draw.randint(1, 20)
            arguments = draw_arguments(draw, rows)
            weight = torch.randn(rows, dim)
            shape = [draw.randint(0, 4) for _ in range(draw.randint(0, 4))]
            ids = torch.randint(rows, shape,
                                dtype=draw.choice([torch.int64, torch.int32]))
            local = nn.Embedding.from_pretrained(weight.clone(), **arguments)
            remote = self.embedding(weight, **arguments)

            with self.subTest(case=case, shape=shape, **arguments):
                if arguments["max_norm"] is None:
                    self.assert_same(remote(ids), local(ids))
                else:
                    self.assert_close(remote(ids), local(ids))

    def test_a_view_of_ids_that_is_not_contiguous(self):
        weight = torch.randn(10, 3)
        ids = torch.randint(10, (4, 6))[:, ::2].t()

        self.assert_same(self.embedding(weight)(ids), weight[ids])

    def test_ids_may_change_after_forward(self):
        remote = self.embedding(torch.zeros(4, 2))
        optimizer = quire.torch.Optimizer(remote, lr=1.0)
        ids = torch.tensor([1, 2])

        rows = remote(ids)
        ids.fill_(3)
        rows.sum().backward()
        optimizer.step()

        self.assert_same(stored(remote)[:, 0], torch.tensor([0., -1, -1, 0]))

    def test_new_rows_are_normal_but_for_padding(self):
        remote = quire.torch.RemoteEmbedding(
            1000, 16, padding_idx=-1, server=self.server, table=self.name())

        rows = stored(remote)

        self.assertEqual(remote.padding_idx, 999)
        self.assertEqual(rows[999].abs().max(), 0)
        self.assertLess(abs(float(rows.mean())), 0.05)
        self.assertLess(abs(float(rows.std()) - 1), 0.05)


class ErrorTest(RemoteTest):

    def test_ids_outside_the_table_are_named(self):
        remote = self.embedding(torch.randn(5, 3))

        for bad in (-1, 5):
            with self.assertRaisesRegex(IndexError, f"id {bad} at position 1"):
                remote(torch.tensor([0, bad]))

    def test_ids_of_another_type_have_torchs_sentence(self):
        local, remote = nn.Embedding(5, 3), self.embedding(torch.randn(5, 3))
        for dtype in (torch.int16, torch.uint8, torch.float32, torch.float16):
            ids = torch.ones(2).to(dtype)

            with self.assertRaises(RuntimeError) as expected:
                local(ids)
            with self.assertRaises(RuntimeError) as actual:
                remote(ids)

            self.assertEqual(str(actual.exception), str(expected.exception))

    def test_constructors_refuse_what_torchs_do(self):
        for arguments in ({"padding_idx": 10}, {"padding_idx": -11},
                          {"_weight": torch.ones(3, 3)}):
            with self.assertRaises(AssertionError) as expected:
                nn.Embedding(10, 3, **arguments)
            with self.assertRaises(AssertionError) as actual:
                quire.torch.RemoteEmbedding(10, 3, server=self.server,
                                            **arguments)
            self.assertEqual(str(actual.exception), str(expected.exception))
        with self.assertRaisesRegex(RuntimeError, "negative dimension -1"):
            quire.torch.RemoteEmbedding(-1, 3, server=self.server)
        with self.assertRaisesRegex(AssertionError, "2-dimensional"):
            quire.torch.RemoteEmbedding.from_pretrained(torch.ones(3))
        with self.assertRaisesRegex(ValueError, "rows are torch.float32"):
            quire.torch.RemoteEmbedding(10, 3, dtype=torch.float16,
                                        server=self.server)

    def test_weight_says_what_to_do_instead(self):
        remote = self.embedding(torch.randn(5, 3))

        self.assertFalse(hasattr(remote, "weight"))
        with self.assertRaisesRegex(AttributeError, "read_rows.*gather_state"):
            remote.weight

    def test_a_server_that_is_not_there(self):
        with self.assertRaisesRegex(quire.Unavailable, "127.0.0.1:1"):
            quire.torch.RemoteEmbedding(
                10, 3, client=quire.connect("127.0.0.1:1", timeout=0.3))


class TableTest(RemoteTest):

    def attach(self, name, *arguments, **named):
        return quire.torch.RemoteEmbedding(*arguments, table=name,
                                           server=self.server, **named)

    def test_a_table_that_exists_is_attached_to(self):
        name = self.name()
        first = self.attach(name, 10, 3,
                            optimizer=quire.optimizers.Adagrad(eps=0.1))
        second = self.attach(name, 10, 3)

        self.assert_same(first(torch.arange(10)), second(torch.arange(10)))
        self.assertEqual(second.remote.spec.optimizer.eps, 0.1)
        self.attach(name, 10, 3, optimizer=quire.optimizers.Adagrad())

    def test_a_table_that_differs_is_refused_and_the_difference_named(self):
        name = self.name()
        self.attach(name, 10, 3, padding_idx=1, max_norm=1.0,
                    optimizer=quire.optimizers.Adagrad(eps=0.1))
        same = {"padding_idx": 1, "max_norm": 1.0}
        cases = [
            ((11, 3), same, "num_embeddings is 10, not 11"),
            ((10, 4), same, "embedding_dim is 3, not 4"),
            ((10, 3), {"max_norm": 1.0}, "padding_idx is 1, not None"),
            ((10, 3), {"padding_idx": 2, "max_norm": 1.0},
             "padding_idx is 1, not 2"),
            ((10, 3), {"padding_idx": 1}, "max_norm is 1.0, not None"),
            ((10, 3), {"padding_idx": 1, "max_norm": 2}, "max_norm is 1.0"),
            ((10, 3), {**same, "norm_type": 1}, "norm_type is 2.0, not 1.0"),
            ((10, 3), {**same, "scale_grad_by_freq": True},
             "scale_grad_by_freq is False"),
            ((10, 3), {**same, "optimizer": quire.optimizers.Adagrad(eps=0.2)},
             "optimizer.eps is 0.1, not 0.2"),
            ((10, 3), {**same, "optimizer": quire.optimizers.Adam()},
             "optimizer is Adagrad, not Adam"),
        ]
        for arguments, named, sentence in cases:
            with self.subTest(sentence):
                with self.assertRaisesRegex(ValueError, sentence):
                    self.attach(name, *arguments, **named)

    def test_from_pretrained_does_not_touch_a_table_that_exists(self):
        remote = self.embedding(torch.ones(3, 2))

        with self.assertRaises(quire.AlreadyExists):
            self.embedding(torch.zeros(3, 2), table=remote.table)

        self.assert_same(stored(remote), torch.ones(3, 2))

    def test_server_and_client_are_one_too_many(self):
        with self.assertRaisesRegex(ValueError, "both server and client"):
            quire.torch.RemoteEmbedding(3, 2, server=self.server,
                                        client=self.client)

    def test_rows_can_be_read_and_written(self):
        remote = quire.torch.RemoteEmbedding(5, 2, client=self.client,
                                             table=self.name())

        remote.write_rows(torch.tensor([3, 1]), torch.tensor([[3., 3], [1, 1]]))

        self.assert_same(remote(torch.tensor([1, 3])),
                         torch.tensor([[1., 1], [3, 3]]))
        with self.assertRaisesRegex(ValueError, r"shape \(1, 2\) for 2 ids"):
            remote.write_rows(torch.tensor([3, 1]), torch.ones(1, 2))


class AutogradTest(RemoteTest):

    def setUp(self):
        self.weight = torch.randn(8, 3)
        self.local = nn.Embedding.from_pretrained(self.weight.clone(),
                                                  freeze=False)
        self.remote = self.embedding(self.weight)
        self.sgd = torch.optim.SGD(self.local.parameters(), lr=0.5)
        self.optimizer = quire.torch.Optimizer(self.remote, lr=0.5)

    def compare(self, train):
        """`train` of both modules, one step, the same rows."""
        for module, optimizer in ((self.local, self.sgd),
                                  (self.remote, self.optimizer)):
            optimizer.zero_grad()
            train(module)
            optimizer.step()
        self.assert_close(stored(self.remote), self.local.weight)

    def test_two_lookups_in_one_forward(self):
        self.compare(lambda module: (
            module(torch.tensor([1, 2, 2])).sum() *
            module(torch.tensor([[2], [3]])).pow(2).sum()).backward())

    def test_retain_graph(self):
        def train(module):
            loss = module(torch.tensor([1, 2, 2])).pow(2).sum()
            loss.backward(retain_graph=True)
            loss.backward()
        self.compare(train)

    def test_backwards_add_up(self):
        def train(module):
            for ids in ([1, 2], [2, 3], [5, 5]):
                module(torch.tensor(ids)).pow(2).sum().backward()
        self.compare(train)

    def test_an_expanded_gradient(self):
        self.compare(lambda module:
                     module(torch.tensor([[1, 2], [2, 2]])).sum().backward())

    def test_activation_checkpointing(self):
        def train(module):
            inner = lambda scale, ids: module(ids) * scale
            scale = torch.tensor(2.0, requires_grad=True)
            for reentrant in (True, False):
                checkpoint(inner, scale, torch.tensor([1, 2, 2]),
                           use_reentrant=reentrant).pow(2).sum().backward()
        self.compare(train)

    def test_frozen(self):
        self.remote.requires_grad_(False)

        rows = self.remote(torch.tensor([1]))

        self.assertFalse(rows.requires_grad)
        self.remote.requires_grad_(True)
        self.assertTrue(self.remote(torch.tensor([1])).requires_grad)
        self.assertFalse(self.embedding(self.weight, freeze=True)(
            torch.tensor([1])).requires_grad)

    def test_no_grad_and_eval(self):
        with torch.no_grad():
            self.assertFalse(self.remote(torch.tensor([1])).requires_grad)
        with torch.inference_mode():
            self.remote(torch.tensor([1]))
        self.remote.eval()
        self.assertTrue(self.remote(torch.tensor([1])).requires_grad)

    def test_autocast(self):
        def train(module):
            linear = nn.Linear(3, 2)
            with torch.no_grad():
                linear.weight.fill_(0.5)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                rows = module(torch.tensor([1, 2, 2]))
                self.assertEqual(rows.dtype, torch.float32)
                loss = linear(rows).sum()
            loss.backward()
        self.compare(train)

    def test_half_leaves_rows_as_they_are(self):
        self.remote.half().double()

        self.assert_same(self.remote(torch.arange(8)), self.weight)

    def test_a_gradient_to_inputs_alone_keeps_nothing(self):
        scale = torch.ones(3, requires_grad=True)
        loss = (self.remote(torch.tensor([1])) * scale).sum()

        torch.autograd.grad(loss, scale)
        self.optimizer.step()

        self.assert_same(stored(self.remote), self.weight)

    def test_zero_grad_of_the_model_drops_what_is_kept(self):
        for drop in (lambda module, _: module.zero_grad(),
                     lambda module, _: module.zero_grad(set_to_none=True),
                     lambda _, optimizer: optimizer.zero_grad(),
                     lambda _, optimizer: optimizer.zero_grad(True)):
            for module, optimizer in ((self.local, self.sgd),
                                      (self.remote, self.optimizer)):
                module(torch.tensor([1, 2])).sum().backward()
                drop(module, optimizer)
                module(torch.tensor([2])).sum().backward()
                module(torch.tensor([3])).sum().backward()
                optimizer.step()
                drop(module, optimizer)
                optimizer.step()
            self.assert_close(stored(self.remote), self.local.weight)

    def test_a_copy_shares_rows_but_no_gradients(self):
        self.remote(torch.tensor([1])).sum().backward()

        other = copy.deepcopy(self.remote)
        quire.torch.Optimizer(other, lr=1.0).step()

        self.assert_same(other(torch.arange(8)), self.weight)
        self.assert_same(pickle.loads(pickle.dumps(self.remote))(
            torch.arange(8)), self.weight)


class Rows(torch.utils.data.Dataset):
    """Looks rows up in the process that it is used in."""

    def __init__(self, module):
        self.module = module

    def __len__(self):
        return 4

    def __getitem__(self, index):
        with torch.no_grad():
            return self.module(torch.tensor(index))


class ProcessTest(RemoteTest):

    def test_in_spawned_workers_of_a_data_loader(self):
        weight = torch.randn(4, 3)
        loader = torch.utils.data.DataLoader(
            Rows(self.embedding(weight)), num_workers=2, batch_size=2,
            multiprocessing_context="spawn")

        self.assert_same(torch.cat(list(loader)), weight)

    def test_in_forked_workers_the_error_says_what_to_do(self):
        loader = torch.utils.data.DataLoader(
            Rows(self.embedding(torch.randn(4, 3))), num_workers=1,
            multiprocessing_context="fork")

        with self.assertRaisesRegex(Exception,
                                    "multiprocessing_context='spawn'"):
            list(loader)

    def test_a_process_that_connects_after_the_fork(self):
        program = (
            "import os, sys, torch, quire.torch\n"
            "child = os.fork()\n"
            "if child:\n"
            "  sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
            "quire.torch.RemoteEmbedding(4, 3, server=sys.argv[1])("
            "torch.tensor([1]))\n")

        subprocess.run([sys.executable, "-c", program, self.server],
                       check=True, timeout=60)

    def test_importing_quire_does_not_import_torch(self):
        subprocess.run(
            [sys.executable, "-c",
             "import quire, sys; assert 'torch' not in sys.modules"],
            check=True)

    def test_without_torch_the_error_says_what_to_install(self):
        program = ("import sys; sys.modules['torch'] = None\n"
                   "try:\n  import quire.torch\n"
                   "except ImportError as e: assert 'python3-torch' in str(e)\n"
                   "else: raise SystemExit('it was imported')\n")
        subprocess.run([sys.executable, "-c", program], check=True)


class CollectionTest(RemoteTest):

    def test_many_tables_in_one_round_trip(self):
        words, users = torch.randn(20, 4), torch.randn(9, 2)
        collection = quire.torch.RemoteEmbeddingCollection({
            "user": self.embedding(users),
            "words": self.bag(words, mode="max")})
        optimizer = quire.torch.Optimizer(collection, lr=1.0)
        ids, offsets = torch.tensor([3, 4, 5, 4]), torch.tensor([0, 2])
        before = self.lookups()

        rows = collection({"words": (ids, offsets),
                           "user": torch.tensor([[1, 2]])})

        self.assertEqual(self.lookups() - before, 1)
        self.assertEqual(list(rows), ["words", "user"])
        self.assert_same(rows["user"], users[torch.tensor([[1, 2]])])
        self.assert_same(rows["words"], nn.functional.embedding_bag(
            ids, words, offsets, mode="max"))
        sum(part.sum() for part in rows.values()).backward()
        optimizer.step()
        self.assert_close(stored(collection.tables["user"])[1], users[1] - 1)
        self.assertEqual(self.client.table(
            collection.tables["words"].table).step, 1)

    def test_a_name_that_is_not_there(self):
        collection = quire.torch.RemoteEmbeddingCollection(
            {"user": self.embedding(torch.ones(2, 2))})

        self.assertEqual(collection({}), {})
        with self.assertRaisesRegex(KeyError, "'item'.*'user'"):
            collection({"item": torch.tensor([1])})
        with self.assertRaisesRegex(TypeError, "'x' is a Embedding"):
            quire.torch.RemoteEmbeddingCollection({"x": nn.Embedding(2, 2)})

    def lookups(self):
        return {method.method: method.ok for method in
                self.client.stats().methods}.get("Lookup", 0)


if __name__ == "__main__":
    support.main()
