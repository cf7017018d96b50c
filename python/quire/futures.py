"""Calls under way."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Generic, List, Optional, Tuple, TypeVar

from . import _arrays, _library
from .errors import Error

T = TypeVar("T")

# A wait looks this often whether Python wants to interrupt it, in ms.
_SLICE_MS = 100

# Calls whose futures nobody has any more: what they write to has to stay.
_left: List[Tuple[int, Any]] = []


def _sweep() -> None:
    for one in list(_left):
        if _library.library.quire_future_is_ready(one[0]):
            try:
                _left.remove(one)
            except ValueError:
                continue  # another thread has it
            _library.library.quire_future_free(one[0])


class Future(Generic[T]):
    """A lookup or a push under way. It goes on whether or not anybody waits.

    Thread safety: all methods may be called from any thread. A future stays
    with the process that made it.
    """

    def __init__(self, pointer: int, kept: Any, finish: Callable[[int], T],
                 mend: Callable[[Error], Optional[T]]) -> None:
        self._pointer = pointer
        self._kept = kept
        self._finish = finish
        self._mend = mend
        self._lock = threading.Lock()
        self._outcome: Optional[Tuple[Optional[T], Optional[Error]]] = None
        _sweep()

    def done(self) -> bool:
        """Whether the call has ended, well or not. Never waits."""
        return bool(_library.library.quire_future_is_ready(self._pointer))

    def result(self, timeout: Optional[float] = None) -> T:
        """What the blocking call would have returned, or raised.

        timeout  seconds; None: however long (the call has a timeout of its
                 own). TimeoutError when it has passed: the call goes on.
        """
        value, error = self._end(timeout)
        if error is not None:
            raise error
        return value  # type: ignore[return-value]

    def exception(self, timeout: Optional[float] = None) -> Optional[Error]:
        """The error that result would raise, or None."""
        return self._end(timeout)[1]

    def _end(self, timeout: Optional[float],
             ) -> Tuple[Optional[T], Optional[Error]]:
        self._wait(timeout)
        with self._lock:
            if self._outcome is None:
                self._outcome = self._ask()
                self._kept = None
            return self._outcome

    def _wait(self, timeout: Optional[float]) -> None:
        left = _arrays.milliseconds(timeout)
        end = None if left < 0 else time.monotonic() + left / 1000
        wait = _library.library.quire_future_wait
        while True:
            part = _SLICE_MS if end is None else max(
                0, min(_SLICE_MS, round((end - time.monotonic()) * 1000)))
            if wait(self._pointer, part):
                return
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(
                    f"the call has not ended within {timeout} s; it goes on")

    def _ask(self) -> Tuple[Optional[T], Optional[Error]]:
        try:
            return self._finish(self._pointer), None
        except Error as error:
            try:
                mended = self._mend(error)
            except Error as another:
                return None, another
            return (None, error) if mended is None else (mended, None)

    def __del__(self) -> None:
        pointer = getattr(self, "_pointer", None)
        if pointer is None:
            return
        if self.done():
            _library.library.quire_future_free(pointer)
        else:
            _left.append((pointer, self._kept))
