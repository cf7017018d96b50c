"""The step: one push of everything that backward has kept."""

from __future__ import annotations

import collections
import itertools
from typing import (Any, Callable, Deque, Dict, Iterable, Iterator, List,
                    Optional, Tuple)

import torch
from torch import Tensor, nn

from . import _group, _sums, _wire
from .embedding import RemoteModule

_SYNCS = ("none", "allreduce_mean", "sum")


class Optimizer(torch.optim.Optimizer):
    """Steps the tables of a model: step() pushes what backward has kept, in
    one request for all tables; the server's optimizers apply it. It steps
    nothing else: dense parameters have an optimizer of their own.

    model  whose RemoteEmbedding and RemoteEmbeddingBag modules are meant
    sync   "none": each worker pushes by itself.
           "allreduce_mean": the workers of torch.distributed take one step
           with the mean of their gradients, as DistributedDataParallel does.
           "sum": the same with the sum.
           Every worker calls step() equally often, and has the same tables.
    lr     of all tables; default: each table's own
    in_flight  pushes that step() does not wait for. 0: a lookup after step()
           sees the step. More: a lookup may not see the last `in_flight`
           steps, and an error of a push is raised by a later step(), or by
           wait(). Only with sync="none".
    clock  a quire.Clock, whose workers train by themselves (sync="none") and
           wait for each other: once step() has returned n times, lookups see
           all pushes of the first n - clock.max_ahead steps of every worker.
           For that it waits for pushes of its own too: no more than max_ahead
           steps are in flight. A step without a gradient is one. Unavailable
           (CLOCK_BEHIND), naming the worker that is waited for; the push of
           this step has been made then, and clock.wait() goes on.

    param_groups has one group for each table, with its `lr`, which goes with
    every push, and its name as `table`. Schedulers work.

    As with any optimizer of torch, gradients are kept until zero_grad(), this
    one's or the model's, and several backwards add up. A table without a
    gradient is not stepped. If step() raises, nothing has been applied, unless
    the error says that it may have been.

    Whoever ends calls close(), or has it in a `with` block: it waits for what is
    in flight, and leaves the clock.

    Thread safety: for one thread, the one that trains.
    """

    def __init__(self, model: nn.Module, sync: str = "none",
                 lr: Optional[float] = None, in_flight: int = 0,
                 clock: Optional[_wire.Clock] = None) -> None:
        if sync not in _SYNCS:
            raise ValueError(f"sync is {sync!r}; it is one of "
                             f"{', '.join(map(repr, _SYNCS))}")
        if in_flight < 0 or (in_flight and sync != "none"):
            raise ValueError(f"in_flight is {in_flight}; it is 0 or more, and "
                             "0 unless sync is 'none'")
        if clock is not None and sync != "none":
            raise ValueError(f"sync is {sync!r}, which takes each step "
                             "together: a clock is for workers that push by "
                             "themselves, sync='none'")
        self._tables = _tables_of(model)
        self._specs = {name: modules[0].remote.spec
                       for name, modules in self._tables.items()}
        self._in_flight_max = in_flight
        # {step, future} of pushes without an answer, oldest first.
        self._in_flight: Deque[Tuple[int, Any]] = collections.deque()
        self._clock = clock
        self._steps = 0
        self._position: Optional[_wire.Position] = None
        self._group = None if sync == "none" else _group.Group(sync)
        if self._group is not None:
            self._group.check(self._specs)
        # Called with what is about to be pushed.
        self.listeners: List[Callable[[List[_wire.Push]], None]] = []
        # A GradScaler then asks step() whether to push, so that all ranks
        # decide alike.
        self._step_supports_amp_scaling = self._group is not None
        super().__init__([
            {"params": [module.anchor for module in modules] +
                       [module._kept.factor for module in modules],
             "lr": self._specs[name].optimizer.learning_rate
                   if lr is None else lr,
             "table": name}
            for name, modules in self._tables.items()], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Optional[Callable[[], Any]] = None,
             grad_scaler: Any = None) -> Any:
        """Pushes what is kept: one request, all tables or none.

        closure      computes the loss again, with gradients; its result is
                     returned
        grad_scaler  for GradScaler.step, which passes itself
        quire.Error if the server refuses it.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if grad_scaler is not None and self._overflowed(grad_scaler):
            return loss
        if self._group is not None:
            self._group.of_first(self._pushes(), self._push)
        else:
            self._push(self._pushes())
        if self._clock is not None:
            self._advance(self._clock)
        return loss

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Drops what is kept."""
        for module in self._modules():
            module._kept.clear()
            if set_to_none:
                module.anchor.grad = None
            elif module.anchor.grad is not None:
                module.anchor.grad.detach_().zero_()

    def wait(self) -> None:
        """Until no push is in flight. Raises the first error of one."""
        while self._in_flight:
            self._take_oldest()

    def close(self) -> None:
        """Waits until no push is in flight, then leaves the clock: this worker
        has ended."""
        self.wait()
        if self._clock is not None:
            self._clock.leave()

    def __enter__(self) -> Optimizer:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        # After an error the worker may begin again: it is waited for.
        if kind is None:
            self.close()

    @property
    def position(self) -> Optional[_wire.Position]:
        """Of the last push that was answered: a lookup of any process with this
        as its min_position sees it. None for MEMORY tables, before the first
        push, and where another rank pushes."""
        return self._position

    def pushes_alone(self) -> bool:
        """Whether what step() pushes is this worker's, and is applied when it
        returns."""
        return self._group is None and self._in_flight_max == 0

    def norm(self) -> Tensor:
        """The Euclidean norm of all gradients that are kept, a float32 scalar:
        those of an id are summed first, those of padding are 0. With sync, of
        the step that all workers take; all of them call this."""
        pushes = self._pushes()
        if self._group is not None:
            square = self._group.of_first(
                pushes, lambda joined: _sums.square_norm(joined, self._specs))
        else:
            square = _sums.square_norm(pushes, self._specs)
        return torch.tensor(square).sqrt().float()

    def clip_grad_norm_(self, max_norm: float,
                        parameters: Iterable[Tensor] = ()) -> Tensor:
        """torch.nn.utils.clip_grad_norm_ over the tables and, together with
        them, `parameters`: the dense ones of the model. Norm type 2.

        The norm before clipping is returned, a float32 scalar. With sync, all
        workers call this.
        """
        tables = {id(parameter) for group in self.param_groups
                  for parameter in group["params"]}
        dense = [parameter for parameter in parameters
                 if parameter.grad is not None and id(parameter) not in tables]
        norms = [self.norm()] + [parameter.grad.detach().norm().cpu()
                                 for parameter in dense]
        total = torch.stack(norms).norm()
        factor = float(torch.clamp(max_norm / (total + 1e-6), max=1.0))
        for parameter in dense:
            parameter.grad.detach().mul_(factor)
        for module in self._modules():
            if module._kept.factor.grad is not None:
                module._kept.factor.grad.mul_(factor)
        return total

    @property
    def _client(self) -> Any:
        return next(self._modules()).remote.client

    def _modules(self) -> Iterator[RemoteModule]:
        return itertools.chain.from_iterable(self._tables.values())

    def _pushes(self) -> List[_wire.Push]:
        rates = {group["table"]: float(group["lr"])
                 for group in self.param_groups}
        return [
            _wire.Push(module.table, gradient.ids, gradient.values,
                       gradient.bags, rates[module.table],
                       module._kept.scale(), module._kept.travel)
            for module in self._modules()
            for gradient in module._kept.all(module.anchor)]

    def _push(self, pushes: List[_wire.Push]) -> None:
        self._steps += 1
        if not pushes:
            return
        # Before it is sent: one that fails may have been applied all the same.
        for listener in self.listeners:
            listener(pushes)
        if self._in_flight_max == 0:
            self._position = _wire.push(self._client, pushes).position
            return
        self._in_flight.append(
            (self._steps, _wire.push_async(self._client, pushes)))
        while len(self._in_flight) > self._in_flight_max:
            self._take_oldest()

    def _take_oldest(self) -> None:
        """Waits for its answer."""
        self._position = self._in_flight.popleft()[1].result().position

    def _advance(self, clock: _wire.Clock) -> None:
        """Steps count from the oldest push without an answer."""
        def pending() -> int:
            return self._steps - self._in_flight[0][0] + 1 \
                if self._in_flight else 0

        while pending() > clock.max_ahead or \
                (self._in_flight and self._in_flight[0][1].done()):
            self._take_oldest()
        clock.advance(pending())

    def _overflowed(self, grad_scaler: Any) -> bool:
        """Whether any rank's gradients are not finite; every rank's scaler
        then knows, and lowers its scale."""
        state = grad_scaler._per_optimizer_states[id(self)]
        if state["stage"].name == "READY":
            grad_scaler.unscale_(self)
        return self._group.any(
            list(grad_scaler._found_inf_per_device(self).values()))

    def __getstate__(self) -> Dict[str, Any]:
        raise TypeError("a quire.torch.Optimizer is of one process: make it "
                        "where the model trains")


def _tables_of(model: nn.Module) -> Dict[str, List[RemoteModule]]:
    """The modules of each table, by its name, in the order of the model."""
    tables: Dict[str, List[RemoteModule]] = {}
    servers = set()
    for module in model.modules():
        if isinstance(module, RemoteModule):
            tables.setdefault(module.table, []).append(module)
            servers.add(module.remote.server)
    if not tables:
        raise ValueError("the model has no RemoteEmbedding and no "
                         "RemoteEmbeddingBag: there is nothing to step")
    if len(servers) > 1:
        raise ValueError(
            f"the model's tables are on {len(servers)} servers "
            f"({', '.join(sorted(servers))}), and one push goes to one: make "
            "an optimizer for the part of the model that is on each")
    return tables
