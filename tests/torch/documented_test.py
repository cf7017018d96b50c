#!/usr/bin/env python3
"""The examples of torch's own documentation of nn.Embedding and
nn.EmbeddingBag, line for line, with the class replaced.

They run twice: `nn` is torch's, and one whose two classes are on a server,
which takes the same first rows. What is printed is compared.
"""

import os
import types
import uuid

import support
import torch
from support import RemoteTest
from torch import nn

import quire.torch

EMBEDDING = """
embedding = nn.Embedding(10, 3)
input = torch.LongTensor([[1,2,4,5],[4,3,2,9]])
show(embedding(input))

embedding = nn.Embedding(10, 3, padding_idx=0)
input = torch.LongTensor([[0,2,0,5]])
show(embedding(input))

weight = torch.FloatTensor([[1, 2.3, 3], [4, 5.1, 6.3]])
embedding = nn.Embedding.from_pretrained(weight)
input = torch.LongTensor([1])
show(embedding(input))
"""

MAX_NORM = """
n, d, m = 3, 5, 7
embedding = nn.Embedding(n, d, max_norm=True)
W = torch.randn((m, d), requires_grad=True)
idx = torch.tensor([1, 2])
b = embedding(idx) @ W.t()
out = b.unsqueeze(1)
loss = out.sigmoid().prod()
loss.backward()
show(W.grad)
"""

BAG = """
embedding_sum = nn.EmbeddingBag(10, 3, mode='sum')
input = torch.tensor([1,2,4,5,4,3,2,9], dtype=torch.long)
offsets = torch.tensor([0,4], dtype=torch.long)
show(embedding_sum(input, offsets))

embedding_sum = nn.EmbeddingBag(10, 3, mode='sum', padding_idx=2)
input = torch.tensor([2, 2, 2, 2, 4, 3, 2, 9], dtype=torch.long)
offsets = torch.tensor([0,4], dtype=torch.long)
show(embedding_sum(input, offsets))

weight = torch.FloatTensor([[1, 2.3, 3], [4, 5.1, 6.3]])
embeddingbag = nn.EmbeddingBag.from_pretrained(weight)
input = torch.LongTensor([[1, 0]])
show(embeddingbag(input))
"""


def started(remote_class, local_class):
    """A remote class that begins with the rows that torch's draws."""
    class Started(remote_class):
        def __init__(self, *arguments, **named):
            named.setdefault("table", uuid.uuid4().hex)
            super().__init__(*arguments, **named)
            if named.get("_weight") is None:
                local = local_class(*arguments, **{
                    key: value for key, value in named.items()
                    if key != "table"})
                self.write_rows(torch.arange(self.num_embeddings),
                                local.weight)
    return Started


class DocumentedTest(RemoteTest):

    def run_example(self, text, modules):
        torch.manual_seed(5)
        shown = []
        exec(text, {"torch": torch, "nn": modules, "show": shown.append})
        return shown

    def test_they_show_the_same_numbers(self):
        os.environ["QUIRE_SERVER"] = self.server
        remote = types.SimpleNamespace(
            Embedding=started(quire.torch.RemoteEmbedding, nn.Embedding),
            EmbeddingBag=started(quire.torch.RemoteEmbeddingBag,
                                 nn.EmbeddingBag))
        for text in (EMBEDDING, MAX_NORM, BAG):
            expected = self.run_example(text, nn)
            actual = self.run_example(text, remote)

            self.assertEqual(len(actual), len(expected))
            for one, other in zip(actual, expected):
                if text is MAX_NORM:
                    self.assert_close(one, other)
                else:
                    self.assert_same(one, other)

    def test_changing_the_pad_vector(self):
        # torch: with torch.no_grad(): embedding.weight[padding_idx] = ones(3)
        padding_idx = 0
        embedding = quire.torch.RemoteEmbedding(
            3, 3, padding_idx=padding_idx, server=self.server,
            table=self.name())

        embedding.write_rows(torch.tensor([padding_idx]), torch.ones(1, 3))

        self.assert_same(embedding(torch.tensor([padding_idx])),
                         torch.ones(1, 3))

    def test_a_bag_loaded_from_an_embedding(self):
        # torch: EmbeddingBag.from_pretrained(embedding.weight, padding_idx=…)
        embedding = nn.Embedding(10, 3, padding_idx=2)
        input = torch.tensor([2, 2, 2, 2, 4, 3, 2, 9])
        offsets = torch.tensor([0, 4])

        remote = self.bag(embedding.weight, padding_idx=embedding.padding_idx,
                          mode="sum")
        local = nn.EmbeddingBag.from_pretrained(
            embedding.weight, padding_idx=embedding.padding_idx, mode="sum")

        self.assert_same(remote(input, offsets), local(input, offsets))


if __name__ == "__main__":
    support.main()
