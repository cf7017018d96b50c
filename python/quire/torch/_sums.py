"""The gradient of a table as the server sums it: for norms."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import torch

from ._wire import Push


def square_norm(pushes: List[Push], specs: Dict[str, Any]) -> float:
    """The sum of squares of all tables' gradients, after duplicates are
    summed, padding is dropped and frequencies are divided by.

    specs  of every table that is named
    """
    tables: Dict[str, List[Push]] = {}
    for push in pushes:
        tables.setdefault(push.table, []).append(push)
    return sum(_of_table(table, specs[name])
               for name, table in tables.items())


def _of_table(pushes: List[Push], spec: Any) -> float:
    parts = [_occurrences(push, spec.padding_idx) for push in pushes]
    ids = np.concatenate([ids for ids, _ in parts])
    values = torch.from_numpy(np.concatenate([rows for _, rows in parts]))
    keep = np.ones(len(ids), bool) if spec.padding_idx is None \
        else ids != spec.padding_idx
    unique, places, counts = np.unique(ids[keep], return_inverse=True,
                                       return_counts=True)
    sums = torch.zeros(len(unique), values.shape[1])
    sums.index_add_(0, torch.from_numpy(places),
                    values[torch.from_numpy(keep)])
    if spec.scale_grad_by_freq:
        sums /= torch.from_numpy(counts).float().unsqueeze(1)
    return float(sums.double().square().sum())


def _occurrences(push: Push, padding: Optional[int],
                 ) -> Tuple[np.ndarray, np.ndarray]:
    """ids int64 [n], float32 [n, dim]: the gradient of each occurrence."""
    values = push.values * np.float32(push.scale)
    bags = push.bags
    if bags is None:
        return push.ids, values
    lengths = np.diff(bags.offsets)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    if bags.pooling == "max":
        places = np.arange(len(push.ids)) - bags.offsets[owners]
        return push.ids, np.where(
            bags.winners[owners] == places[:, None], values[owners],
            np.float32(0))
    scales = np.ones(len(push.ids), np.float32) if bags.weights is None \
        else bags.weights
    if bags.pooling == "mean":
        counted = np.ones(len(push.ids)) if padding is None \
            else (push.ids != padding).astype(np.float64)
        counts = np.bincount(owners, counted, len(lengths))
        scales = (1 / np.maximum(counts, 1)).astype(np.float32)[owners]
    return push.ids, values[owners] * scales[:, None]
