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


def of_first(function: Callable[[], Any]) -> Any:
    """What `function` of the first rank returns, or raises: on every rank,
    once all of them have come here. Of a process alone: what it returns."""
    group = _all_ranks()
    if group is None:
        return function()
    distributed.barrier(group)
    return _of_rank_0(function, group)


def all_can(function: Callable[[], Any]) -> Any:
    """What `function` returns here, if it raises on no rank; else its error,
    or that of the first rank that has one: on every rank."""
    result, errors = None, [None]
    try:
        result = function()
    except Exception as error:  # Raised below, once all know.
        errors = [error]
    group = _all_ranks()
    if group is not None:
        own, errors = errors[0], [None] * distributed.get_world_size()
        distributed.all_gather_object(errors, own, group)
        errors.insert(0, own)
    for error in errors:
        if error is not None:
            raise error
    return result


_everyone: Any = None


def _all_ranks() -> Any:
    """The group of all of them; None for a process alone."""
    global _everyone
    if not (distributed.is_available() and distributed.is_initialized()) \
            or distributed.get_world_size() == 1:
        return None
    if _everyone is None:
        _everyone = distributed.new_group(backend="gloo")
    return _everyone


def _of_rank_0(function: Callable[[], Any], group: Any) -> Any:
    outcome: List[Any] = [None, None]
    if distributed.get_rank() == 0:
        try:
            outcome[0] = function()
        except Exception as error:  # Raised below, on every rank.
            outcome[1] = error
    distributed.broadcast_object_list(outcome, 0, group)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


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
        return _of_rank_0(lambda: function(self._join(everyone)), self._group)

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
