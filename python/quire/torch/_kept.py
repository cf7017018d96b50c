"""Gradients between backward and step: torch's .grad, as ids and numbers."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any, List, Optional

import numpy as np
import torch
from torch import Tensor, nn

from ._wire import Bags, Travel

# What a backward adds to its anchor's .grad. Not 0, so that whoever zeroes
# the gradients of a model is seen to have done so; so small that it adds
# nothing to a norm over the model's gradients, and exact in any average.
MARK = 2.0 ** -40

# The first number that float16 rounds to infinity.
_FLOAT16_INFINITE = 65520.0


@dataclasses.dataclass
class Gradient:
    """The gradient of one lookup.

    ids     int64    [n]
    values  float32  [n, dim], or with bags [bags, dim]
    """
    ids: np.ndarray
    values: np.ndarray
    bags: Optional[Bags] = None


class Kept:
    """The gradients of one module since its last zero_grad.

    `travel` is how they will be pushed.

    `factor` is a parameter whose .grad multiplies them: 1 after a backward,
    less after GradScaler.unscale_ or clipping. Anchors could not carry that:
    another optimizer may unscale them too.

    Thread safety: any thread may add; the rest is for the thread that trains.
    """

    def __init__(self, travel: Travel = Travel()) -> None:
        self.travel = travel
        self.factor = nn.Parameter(torch.ones(1))
        self._lock = threading.Lock()
        self._gradients: List[Gradient] = []
        # How many of them belong to a backward that has reached the anchor.
        self._landed = 0
        self._watched: Optional[Tensor] = None

    def watch(self, anchor: Tensor) -> None:
        """Learns from the anchor when a backward is over."""
        if self._watched is not anchor:
            self._watched = anchor
            anchor.register_hook(self._land)

    def add(self, gradient: Gradient, anchor: Tensor) -> None:
        """Keeps one more; drops what model.zero_grad() has dropped."""
        with self._lock:
            self._drop_zeroed(anchor)
            self._fold()
            self._gradients.append(gradient)

    def all(self, anchor: Tensor) -> List[Gradient]:
        """In the order of the backwards, before the factor."""
        with self._lock:
            self._drop_zeroed(anchor)
            return list(self._gradients)

    def scale(self) -> float:
        """The factor of all that is kept."""
        gradient = self.factor.grad
        return 1.0 if gradient is None else float(gradient)

    def clear(self) -> None:
        """Drops what is kept."""
        with self._lock:
            self._gradients.clear()
            self._landed = 0
            self.factor.grad = None

    def _land(self, gradient: Tensor) -> None:
        del gradient
        with self._lock:
            self._landed = len(self._gradients)

    def _drop_zeroed(self, anchor: Tensor) -> None:
        # What has landed has left its mark, unless someone zeroed it.
        if self._landed and (anchor.grad is None or float(anchor.grad) == 0):
            del self._gradients[:self._landed]
            self._landed = 0
            if not self._gradients:
                self.factor.grad = None

    def _fold(self) -> None:
        # What comes is not multiplied by what older gradients were.
        factor = self.scale()
        if factor != 1:
            for gradient in self._gradients:
                gradient.values = gradient.values * np.float32(factor)
        self.factor.grad = torch.ones_like(self.factor)

    # A copy of a module, and a module in another process, keep nothing.
    def __deepcopy__(self, memo: Any) -> "Kept":
        return Kept(self.travel)

    def __reduce__(self) -> Any:
        return (Kept, (self.travel,))


def mark_of(values: Tensor, ids: np.ndarray, travel: Travel,
            anchor: Tensor) -> Tensor:
    """The anchor's gradient: the mark, or NaN if a value is not finite, or
    would not be where it travels, so that a GradScaler sees an overflow, and
    through DistributedDataParallel every rank's.

    values  float32 [..., dim]; if they travel unique, of the ids
    """
    fits = _fits(values, ids, travel) if travel.wire == "float16" else (
        bool(torch.isfinite(values.sum())) or bool(
            torch.isfinite(values).all()))
    return torch.full_like(anchor, MARK if fits else float("nan"))


def _fits(values: Tensor, ids: np.ndarray, travel: Travel) -> bool:
    """Whether no value, nor a sum of those of equal ids, is infinite when it
    is rounded to float16."""
    if values.numel() == 0:
        return True
    largest = float(values.abs().max())
    if not travel.unique or largest * len(ids) < _FLOAT16_INFINITE:
        return largest < _FLOAT16_INFINITE
    unique, places = np.unique(ids, return_inverse=True)
    sums = torch.zeros(len(unique), values.shape[-1]).index_add_(
        0, torch.from_numpy(places), values.reshape(-1, values.shape[-1]))
    return bool((sums.abs() < _FLOAT16_INFINITE).all())
