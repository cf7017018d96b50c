"""Skip-gram with negative sampling (Mikolov et al., 2013): the same model with
torch's embeddings, or with those of a server."""

from __future__ import annotations

from typing import Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class SkipGram(nn.Module):
    """Scores of words beside a word.

    centers, contexts  two modules that give rows of dim numbers for ids
    """

    def __init__(self, centers: nn.Module, contexts: nn.Module) -> None:
        super().__init__()
        self.centers = centers
        self.contexts = contexts

    def forward(self, centers: Tensor, contexts: Tensor) -> Tensor:
        """The mean loss of a pair.

        centers   int64 [b]
        contexts  int64 [b, 1 + n]: the first is near the center, n are not
        """
        rows = self.centers(centers)
        scores = torch.einsum("bd,bnd->bn", rows, self.contexts(contexts))
        # -log sigmoid(x) of the true pair, -log sigmoid(-x) of the others.
        signs = torch.ones_like(scores)
        signs[:, 0] = -1
        return functional.softplus(scores * signs).sum(1).mean()


def first_rows(word_count: int, dim: int) -> Tuple[Tensor, Tensor]:
    """What training starts from, the same in every process: small random
    centers, contexts of 0."""
    generator = torch.Generator().manual_seed(1851)
    centers = (torch.rand(word_count, dim, generator=generator) - 0.5) / dim
    return centers, torch.zeros(word_count, dim)
