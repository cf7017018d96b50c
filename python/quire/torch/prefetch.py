"""Rows fetched ahead of the forward that needs them."""

from __future__ import annotations

import collections
import dataclasses
from typing import (Any, Callable, Deque, Dict, Generic, Iterable, Iterator,
                    List, Mapping, Optional, TypeVar)

import numpy as np
from torch import nn

from . import _wire
from ._lookup import Request
from .collection import requests_of, wanted_of
from .embedding import RemoteModule
from .optimizer import Optimizer

T = TypeVar("T")

# What a forward will ask for: by the name of the module, as named_modules has
# it, the arguments of its forward: ids, or a tuple.
Inputs = Mapping[str, Any]


def modules_of(model: nn.Module) -> Dict[str, RemoteModule]:
    """The remote modules of a model, by name. Through DistributedDataParallel
    the names are the model's own."""
    inner = getattr(model, "module", model) if isinstance(
        model, (nn.DataParallel, nn.parallel.DistributedDataParallel)) \
        else model
    return {name: module for name, module in inner.named_modules()
            if isinstance(module, RemoteModule)}


class Ahead:
    """Rows on their way to the forward that will ask for them: one round trip
    for all tables."""

    def __init__(self, modules: Mapping[str, RemoteModule],
                 inputs: Inputs) -> None:
        self._modules = modules
        self._requests = requests_of(modules, inputs)
        self._pushed: Dict[str, List[np.ndarray]] = {}
        self._coming: Optional[_wire.ComingRows] = None
        if self._requests:
            self._coming = _wire.ComingRows(
                self._client, wanted_of(modules, self._requests))

    def note(self, pushes: List[_wire.Push]) -> None:
        """These rows have changed since the lookup began."""
        for push in pushes:
            self._pushed.setdefault(push.table, []).append(push.ids)

    def deliver(self) -> None:
        """Waits for the rows and hands them to the modules; those noted are
        fetched again. What a module did not ask for of an earlier delivery is
        dropped."""
        for module in self._modules.values():
            module._ready.clear()
        if self._coming is None:
            return
        rows = dict(zip(self._requests, self._coming.result()))
        self._renew(rows)
        for name, request in self._requests.items():
            self._modules[name]._ready.append((request, rows[name]))

    @property
    def _client(self) -> Any:
        return self._modules[next(iter(self._requests))].remote.client

    def _renew(self, rows: Dict[str, _wire.Rows]) -> None:
        """Fetches what has changed, again in one round trip."""
        stale = {name: places for name, request in self._requests.items()
                 if len(places := self._stale(name, request))}
        wanted = []
        for name, places in stale.items():
            request = self._requests[name]
            one = self._modules[name].wanted(request)
            wanted.append(one if request.bags is not None else
                          dataclasses.replace(one, ids=request.ids[places]))
        if not wanted:
            return
        for (name, places), fresh in zip(
                stale.items(), _wire.lookup(self._client, wanted)):
            if self._requests[name].bags is not None:
                rows[name] = fresh
            else:
                rows[name].values[places] = fresh.values

    def _stale(self, name: str, request: Request) -> np.ndarray:
        """int64 [k]: the positions of ids whose rows have changed."""
        module = self._modules[name]
        pushed = self._pushed.get(module.table)
        if pushed is None:
            return np.empty(0, np.int64)
        if getattr(module.remote.spec.optimizer, "scope", None) == "all":
            return np.arange(len(request.ids))
        return np.flatnonzero(np.isin(request.ids, np.concatenate(pushed)))


class Prefetch(Generic[T]):
    """An iterator around a DataLoader, or any iterable of batches: while one
    batch trains, the rows of the next are on their way.

        for ids, target in Prefetch(loader, model,
                                    lambda batch: {"words": batch[0]}):
            loss(model(ids), target).backward()

    inputs_of  of a batch: what the forward will ask of which module, by its
               name in model.named_modules(): ids, or a tuple of (ids,
               offsets[, per_sample_weights]). A module that asks for something
               else looks that up.
    ahead      batches whose rows are on their way, 1 or more
    exact      rows that `optimizer` has pushed in between are fetched again,
               so that training is the same as without Prefetch. Without it a
               batch may be computed with rows up to `ahead` steps old. Pushes
               of other workers are not known here: optimizer has sync="none"
               and in_flight 0, else ValueError.

    One thread; batches of the loader keep their order.
    """

    def __init__(self, loader: Iterable[T], model: nn.Module,
                 inputs_of: Callable[[T], Inputs], ahead: int = 1,
                 exact: bool = False,
                 optimizer: Optional[Optimizer] = None) -> None:
        if ahead < 1:
            raise ValueError(f"ahead is {ahead}; it is 1 or more")
        if exact and optimizer is None:
            raise ValueError("exact=True needs the optimizer: it says which "
                             "rows have changed")
        if exact and not optimizer.pushes_alone():
            raise ValueError("exact=True needs an optimizer with sync='none' "
                             "and in_flight=0: other pushes are not known "
                             "here")
        self._loader = loader
        self._modules = modules_of(model)
        self._inputs_of = inputs_of
        self._ahead = ahead
        self._optimizer = optimizer if exact else None

    def __len__(self) -> int:
        return len(self._loader)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[T]:
        waiting: Deque[Any] = collections.deque()

        def note(pushes: List[_wire.Push]) -> None:
            for _, ahead in waiting:
                ahead.note(pushes)

        if self._optimizer is not None:
            self._optimizer.listeners.append(note)
        try:
            for batch in self._loader:
                waiting.append(
                    (batch, Ahead(self._modules, self._inputs_of(batch))))
                if len(waiting) > self._ahead:
                    yield self._deliver(waiting)
            while waiting:
                yield self._deliver(waiting)
        finally:
            if self._optimizer is not None:
                self._optimizer.listeners.remove(note)

    @staticmethod
    def _deliver(waiting: Deque[Any]) -> Any:
        batch, ahead = waiting.popleft()
        ahead.deliver()
        return batch
