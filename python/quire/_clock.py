"""Workers that wait for each other."""

from __future__ import annotations

import json
import operator
import time
from typing import Any, Optional

from . import _arrays
from ._json import from_json
from ._library import library
from .errors import Error, FailedPrecondition, _invalid
from .messages import ClockState

# A wait looks this often whether Python wants to interrupt it, in seconds.
_SLICE = 1.0

# Told without a bound: whoever says it does not wait.
_ANY_AHEAD = 2**63 - 1

# What passes when the others, or the server, are there again.
_PASSING = ("CANNOT_CONNECT", "DEADLINE")


class Clock:
    """Keeps the workers of a run together: none begins a step while another has
    done fewer than its steps, less max_ahead.

        with quire.Clock(client, "train", worker=rank, workers=4,
                         max_ahead=2) as clock:
            for batch in batches:
                …                  # look up, compute, push
                clock.advance()    # a step is done: waits for the slowest

    After the n-th advance() every worker has done n - max_ahead steps at least,
    and this one sees their pushes, whichever it looks up. With max_ahead=0 all
    take each step together.

    client     of the server that keeps the clock: the same for all workers
    name       by the rules of table names; the same for all workers of a run
    worker     which of them this is, from 0
    workers    how many share it, 1 to 65,536
    max_ahead  how many steps this one may be ahead of the slowest
    step       steps that it has done: more than 0 if it begins from a
               checkpoint; fewer than it had said is allowed. None: as many as
               the slowest of the others: for one that takes the place of a
               worker that died, which is taken for having left until then
    timeout    seconds that each method waits: for the others, and for a server
               that is away; None: what connect was told. A server that was
               started again learns from each worker's next call where it is.

    The first call that a worker makes is this one: it tells the server that the
    worker is there, and waits for nobody. A worker that has never called is
    waited for.

    Whoever ends a run has to say so, leave(), or others wait for it; the end of
    a `with` block says it. A block that ends with an error does not: the worker
    may begin again. One that died is waited for until it is started again, or
    until another says dismiss(worker); the wait of the others ends with
    Unavailable (CLOCK_BEHIND), which names it.

    Raises FailedPrecondition (CLOCK_DIFFERS) if others say another number of
    workers; InvalidArgument; ResourceExhausted.

    Thread safety: for one thread, the one that trains. Ctrl-C ends a wait
    within a second.
    """

    def __init__(self, client: Any, name: str, *, worker: int, workers: int,
                 max_ahead: int = 0, step: Optional[int] = 0,
                 timeout: Optional[float] = 300.0) -> None:
        self._client = client
        self._name = name
        self._worker = operator.index(worker)
        self._workers = operator.index(workers)
        self._max_ahead = operator.index(max_ahead)
        self._timeout = client._timeout if timeout is None \
            else _arrays.milliseconds(timeout) / 1000
        # Of the last answer; of the last steps, those without one.
        self._state = ClockState()
        self._pending = 0
        self._has_left = False
        if max_ahead < 0:
            raise _invalid(f"max_ahead is {max_ahead}; it is 0 or more",
                           "max_ahead")
        if step is None:
            step = self._say(leave=True).slowest_step or 0
        self._step = operator.index(step)
        self._say(step=self._step, max_ahead=_ANY_AHEAD)

    @property
    def name(self) -> str:
        return self._name

    @property
    def worker(self) -> int:
        return self._worker

    @property
    def workers(self) -> int:
        return self._workers

    @property
    def max_ahead(self) -> int:
        return self._max_ahead

    @property
    def step(self) -> int:
        """Steps that this worker has done."""
        return self._step

    @property
    def state(self) -> ClockState:
        """Where the workers were when the server last answered."""
        return self._state

    def advance(self, pending: int = 0) -> ClockState:
        """Another step is done: says so, and waits until the next may begin.

        pending  how many of the last steps, this one included, have pushes that
                 are not answered yet: others are told of those before. 0 to
                 max_ahead

        Unavailable (CLOCK_BEHIND), naming the slowest worker, after the
        timeout. The step is done all the same: wait() goes on waiting.
        """
        if not 0 <= pending <= self._max_ahead:
            raise _invalid(
                f"pending is {pending}; of a worker that may be "
                f"{self._max_ahead} ahead, that many pushes may be without an "
                "answer", "pending")
        self._check_is_there()
        self._step += 1
        self._pending = pending
        return self.wait()

    def wait(self) -> ClockState:
        """Until the next step may begin."""
        self._check_is_there()
        return self._say(step=self._step - self._pending,
                         max_ahead=self._max_ahead - self._pending)

    def leave(self) -> None:
        """This worker has ended: nobody waits for it any more. To leave twice
        is to leave once."""
        if not self._has_left:
            self._say(leave=True)
            self._has_left = True

    def dismiss(self, worker: int) -> ClockState:
        """Says for another worker that it has left: one that died. If it calls
        again, it is there again."""
        return self._say(worker=operator.index(worker), leave=True)

    def __enter__(self) -> Clock:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            self.leave()

    def __repr__(self) -> str:
        state = ", has left" if self._has_left else ""
        return (f"<quire.Clock '{self._name}', worker {self._worker} of "
                f"{self._workers}, step {self._step}{state}>")

    def _check_is_there(self) -> None:
        if self._has_left:
            raise FailedPrecondition(
                f"worker {self._worker} has left clock '{self._name}'; to come "
                "back, make another Clock", "FAILED_PRECONDITION")

    def _say(self, worker: Optional[int] = None, step: int = 0,
             max_ahead: int = 0, leave: bool = False) -> ClockState:
        request = json.dumps({
            "clock": self._name, "workers": self._workers,
            "worker": self._worker if worker is None else worker,
            "step": str(step), "max_ahead": str(max_ahead), "leave": leave,
            "left": self._state.left}).encode()
        end = time.monotonic() + self._timeout
        told: Optional[Error] = None
        while True:
            left = max(0.0, end - time.monotonic())
            try:
                self._state = from_json(ClockState, self._client._json_call(
                    library.quire_advance_clock, request,
                    _arrays.milliseconds(min(left, _SLICE))))
                return self._state
            except Error as error:
                # Of a try that was cut off the one before says more.
                if told is None or error.reason != "DEADLINE":
                    told = error
                passes = error.retry_after is not None \
                    or error.reason in _PASSING
                if not passes or left <= _SLICE:
                    raise told
