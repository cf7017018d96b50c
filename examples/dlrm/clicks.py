"""A click log like Criteo's, made up: 13 numbers and 26 features of ids for
each impression, and whether it was clicked. Ids are drawn by Zipf's law, some
features have several. What is clicked follows from hidden weights of the ids
and numbers, so that there is something to learn."""

from __future__ import annotations

from typing import List, NamedTuple, Tuple

import numpy as np
import torch
from torch import Tensor

NUMBERS, FEATURES = 13, 26
# Ids of a feature: from a weekday's few to a user's many.
SIZES = [int(size) for size in np.geomspace(10, 20_000, FEATURES)]
# Every third feature is a bag of so many ids at most; the others are one.
BAG_MAX = 3

# Where the ids of a feature are, [n], and where each bag begins, [batch].
Bags = Tuple[Tensor, Tensor]


class Batch(NamedTuple):
    """Impressions.

    numbers  float32 [batch, NUMBERS]
    bags     of each feature
    clicked  float32 [batch]: 0 or 1
    """
    numbers: Tensor
    bags: List[Bags]
    clicked: Tensor


class Clicks:
    """The log. Equal seeds give equal batches."""

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng([seed, 0])
        self._seed = seed
        self._of_numbers = random.normal(0, 0.3, NUMBERS)
        self._of_ids = [random.normal(0, 0.5, size) for size in SIZES]

    def batch(self, index: int, size: int) -> Batch:
        """The batch of that index, of so many impressions."""
        random = np.random.default_rng([self._seed, 1, index])
        numbers = random.normal(size=(size, NUMBERS))
        score = numbers @ self._of_numbers - 1
        bags = []
        for feature, weights in enumerate(self._of_ids):
            lengths = random.integers(1, BAG_MAX + 1, size) \
                if feature % 3 == 0 else np.ones(size, np.int64)
            offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
            # Rank r comes with a probability like 1/r.
            ids = (len(weights) ** random.random(lengths.sum())).astype(
                np.int64) - 1
            score += np.add.reduceat(weights[ids], offsets)
            bags.append((torch.from_numpy(ids), torch.from_numpy(offsets)))
        clicked = random.random(size) < 1 / (1 + np.exp(-score))
        return Batch(torch.from_numpy(numbers.astype(np.float32)), bags,
                     torch.from_numpy(clicked.astype(np.float32)))


def area_under_curve(scores: np.ndarray, clicked: np.ndarray) -> float:
    """AUC: how often a click has a higher score than what was not clicked.
    Equal scores count by half."""
    _, place, counts = np.unique(scores, return_inverse=True,
                                 return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    positives = clicked.sum()
    negatives = len(clicked) - positives
    return float((ranks[clicked > 0].sum() - positives * (positives + 1) / 2)
                 / (positives * negatives))
