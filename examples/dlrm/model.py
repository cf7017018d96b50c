"""DLRM (Naumov et al., 2019), small. This file knows nothing of Quire."""

from __future__ import annotations

from typing import List, Sequence, Tuple

import torch
from torch import Tensor, nn


def layers(widths: Sequence[int]) -> List[nn.Module]:
    """Linear layers with ReLU between them."""
    result: List[nn.Module] = []
    for before, after in zip(widths, widths[1:]):
        result += [nn.Linear(before, after), nn.ReLU()]
    return result[:-1]


class Dlrm(nn.Module):
    """Scores of impressions: numbers through layers, ids through tables, the
    dot products of all of them through layers.

    numbers  how many an impression has
    sizes    rows of each table
    dim      floats of a row
    """

    def __init__(self, numbers: int, sizes: Sequence[int], dim: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(
            nn.EmbeddingBag(size, dim, mode="sum") for size in sizes)
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.05)
        self.bottom = nn.Sequential(*layers([numbers, 64, dim]), nn.ReLU())
        pairs = (len(sizes) + 1) * len(sizes) // 2
        self.top = nn.Sequential(*layers([dim + pairs, 64, 1]))

    def forward(self, numbers: Tensor,
                bags: List[Tuple[Tensor, Tensor]]) -> Tensor:
        """float32 [batch]: more is likelier to be clicked.

        numbers  float32 [batch, numbers]
        bags     of each table: ids [n], offsets [batch]
        """
        bottom = self.bottom(numbers)
        rows = torch.stack([bottom, *(
            table(ids, offsets)
            for table, (ids, offsets) in zip(self.tables, bags))], 1)
        products = rows @ rows.transpose(1, 2)
        first, second = torch.tril_indices(len(bags) + 1, len(bags) + 1, -1)
        return self.top(torch.cat([bottom, products[:, first, second]],
                                  1)).squeeze(1)
