"""One lookup in autograd: rows out, and the gradient kept for the push."""

from __future__ import annotations

import dataclasses
from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._kept import Gradient, Kept, mark_of
from ._wire import Bags, Rows


class Request:
    """What one forward wants of one table.

    ids    int64  [n]
    shape  of the result, without dim: that of the ids, or [bags]
    """

    def __init__(self, ids: np.ndarray, shape: torch.Size,
                 device: torch.device, bags: Optional[Bags] = None) -> None:
        self.ids = ids
        self.shape = shape
        self.device = device
        self.bags = bags

    def same_as(self, other: "Request") -> bool:
        """Whether both want the same rows, in the same bags."""
        if not np.array_equal(self.ids, other.ids):
            return False
        if self.bags is None or other.bags is None:
            return self.bags is other.bags
        return self.bags.same_as(other.bags)


class RemoteLookup(torch.autograd.Function):
    """(anchor, kept, request, rows) -> rows as a tensor.

    The anchor, a parameter of one number, stands for the table: it makes
    autograd come back here, where the gradient is kept.
    """

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, kept: Kept, request: Request,
                rows: Rows) -> Tensor:
        ctx.anchor = anchor
        ctx.kept = kept
        ctx.request = request
        ctx.winners = rows.winners
        values = torch.from_numpy(rows.values)
        shape = (*request.shape, rows.values.shape[-1])
        return values.reshape(shape).to(request.device)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        values = gradient.detach().to("cpu", torch.float32).contiguous()
        bags = ctx.request.bags
        if bags is not None:
            bags = bags.with_winners(ctx.winners)
        rows = values.numpy().reshape(-1, values.shape[-1])
        ctx.kept.add(Gradient(ctx.request.ids, rows, bags), ctx.anchor)
        travel = ctx.kept.travel if bags is None else dataclasses.replace(
            ctx.kept.travel, unique=False)
        return (mark_of(values, ctx.request.ids, travel, ctx.anchor), None,
                None, None)
