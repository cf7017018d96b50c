"""The workers of torch.distributed as one: all gradients to the first rank,
which pushes them.

One push, since one step is one request: the table's step count goes up once,
all tables or none, exactly once however often the client has to send it. That
rank 0 pushes alone makes it the bottleneck: W workers' gradients pass through
it. If each rank pushed its share of the ids, that would be W steps.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Dict, List

import torch
from torch import Tensor
from torch import distributed

from ._wire import Push


class Group:
    """All workers. Every function is called by all of them, in one order."""

    def __init__(self, sync: str) -> None:
        if not (distributed.is_available() and distributed.is_initialized()):
            raise RuntimeError(
                f"sync='{sync}' needs the other workers: call "
                "torch.distributed.init_process_group first, or use "
                "sync='none'")
        # Of its own: gradients come from memory, whatever the default is.
        self._group = distributed.new_group(backend="gloo")
        self._rank = distributed.get_rank()
        self._size = distributed.get_world_size()
        self._scale = 1 / self._size if sync == "allreduce_mean" else 1.0

    @staticmethod
    def check(specs: Dict[str, Any]) -> None:
        """Refuses tables for which one push is not what DDP would do."""
        for name, spec in specs.items():
            if spec.scale_grad_by_freq:
                raise ValueError(
                    f"table '{name}' has scale_grad_by_freq, which would "
                    "count the ids of all workers together: use sync='none', "
                    "or a table without it")

    def of_first(self, pushes: List[Push],
                 function: Callable[[List[Push]], Any]) -> Any:
        """What `function` of the first rank returns, or raises, for all
        workers' pushes, scaled: on every rank."""
        everyone: Any = [None] * self._size if self._rank == 0 else None
        distributed.gather_object(pushes, everyone, 0, self._group)
        outcome: List[Any] = [None, None]
        if self._rank == 0:
            try:
                outcome[0] = function(self._join(everyone))
            except Exception as error:  # Raised below, on every rank.
                outcome[1] = error
        distributed.broadcast_object_list(outcome, 0, self._group)
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    def any(self, found: List[Tensor]) -> bool:
        """Whether one of any rank's numbers is not 0; all are that then."""
        largest = torch.stack([one.cpu() for one in found]).max() \
            if found else torch.zeros(())
        distributed.all_reduce(largest, distributed.ReduceOp.MAX, self._group)
        for one in found:
            one.fill_(float(largest))
        return bool(largest != 0)

    def _join(self, everyone: List[List[Push]]) -> List[Push]:
        """By table, then by rank; one learning rate for a table."""
        tables: Dict[str, List[Push]] = {}
        for pushes in everyone:
            for push in pushes:
                tables.setdefault(push.table, []).append(push)
        return [
            dataclasses.replace(push, scale=push.scale * self._scale,
                                learning_rate=joined[0].learning_rate)
            for joined in tables.values() for push in joined]
