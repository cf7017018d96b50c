"""A book as ids of words, and the pairs of words that are near each other."""

from __future__ import annotations

import collections
import pathlib
import re
from typing import Iterator, List, Tuple

import numpy as np
import torch

_WORD = re.compile(r"[a-z]+(?:['’][a-z]+)?")


class Corpus:
    """The words of a text that occur at least `count_min` times.

    words   by id, most frequent first
    counts  int64 [words]
    ids     int64 [n]: the text, without the words that are rarer
    """

    def __init__(self, path: pathlib.Path, count_min: int = 5) -> None:
        text = path.read_text(encoding="utf-8").lower().replace("_", " ")
        tokens = _WORD.findall(text)
        counted = [(word, count) for word, count
                   in collections.Counter(tokens).most_common()
                   if count >= count_min]
        self.words: List[str] = [word for word, _ in counted]
        self.counts = np.array([count for _, count in counted], np.int64)
        known = {word: index for index, word in enumerate(self.words)}
        self.ids = np.array([known[token] for token in tokens
                             if token in known], np.int64)

    def batches(self, generator: np.random.Generator, batch_size: int,
                window: int, negative_count: int, worker: int = 0,
                worker_count: int = 1, sample: float = 1e-3,
                ) -> Iterator[Tuple[torch.Tensor, torch.Tensor]]:
        """One pass over the text, or over a worker's share of it.

        Each is (centers int64 [b], contexts int64 [b, 1 + negative_count]): a
        word, one that is at most `window` words away, and words drawn by
        count^0.75. Frequent words are left out more often (word2vec's
        `sample`).
        """
        centers, contexts = self._pairs(generator, window, sample)
        order = generator.permutation(len(centers))[worker::worker_count]
        noise = self.counts ** 0.75
        noise /= noise.sum()
        for first in range(0, len(order) - batch_size + 1, batch_size):
            chosen = order[first:first + batch_size]
            negatives = generator.choice(
                len(self.words), (batch_size, negative_count), p=noise)
            yield (torch.from_numpy(centers[chosen]),
                   torch.from_numpy(np.concatenate(
                       [contexts[chosen, None], negatives], 1)))

    def _pairs(self, generator: np.random.Generator, window: int,
               sample: float) -> Tuple[np.ndarray, np.ndarray]:
        share = self.counts / self.counts.sum()
        keep = np.minimum(1, np.sqrt(sample / share) + sample / share)
        ids = self.ids[generator.random(len(self.ids)) < keep[self.ids]]
        reach = generator.integers(1, window + 1, len(ids))
        centers, contexts = [], []
        for distance in range(1, window + 1):
            near = reach[:-distance] >= distance
            far = reach[distance:] >= distance
            centers += [ids[:-distance][near], ids[distance:][far]]
            contexts += [ids[distance:][near], ids[:-distance][far]]
        return np.concatenate(centers), np.concatenate(contexts)
