"""The connection that a client is."""

from __future__ import annotations

import ctypes
import json
import os
import threading
import weakref
from typing import Any, Dict, List, NamedTuple, Optional, TypeVar

from . import _arrays, _library
from ._library import check, library, take_text
from .errors import FailedPrecondition

C = TypeVar("C", bound="Connection")


def _free(pointer: int, calls: List[int]) -> None:
    # Where Python ends while a thread is in a call, nobody will be there to say
    # that it has ended.
    if calls[0] == 0:
        library.quire_client_free(pointer)


class _Handle:
    """What C holds of a client. Freed when it is closed and no call is in it,
    when nobody has it any more, and when Python ends.

    Thread safety: all methods may be called from any thread.
    """

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer
        self._lock = threading.Lock()
        # How many are under way, by themselves: see _free.
        self._calls = [0]
        self._free = weakref.finalize(self, _free, pointer, self._calls)
        self.is_closed = False
        _handles.add(self)

    def __enter__(self) -> int:
        with self._lock:
            if self.is_closed:
                raise FailedPrecondition(
                    "this client is closed; connect again",
                    "FAILED_PRECONDITION")
            self._calls[0] += 1
        return self._pointer

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._calls[0] -= 1
            is_last = self.is_closed and self._calls[0] == 0
        if is_last:
            self._free()

    def close(self) -> None:
        with self._lock:
            is_last = not self.is_closed and self._calls[0] == 0
            self.is_closed = True
        if is_last:
            self._free()

    def after_fork(self) -> None:
        """In a child, in which no other thread is in a call."""
        self._lock = threading.Lock()
        self._calls[0] = 0


_handles: weakref.WeakSet[_Handle] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for handle in list(_handles):
        handle.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)


class Known(NamedTuple):
    """What it takes to look rows up."""

    uid: bytes
    dim: int


class Connection:
    """A connection to a server: `with quire.connect() as client: …`."""

    def __init__(self, server: str, timeout: Optional[float] = None) -> None:
        _library.begin_use()
        pointer = ctypes.c_void_p()
        check(library.quire_connect(_arrays.name_bytes(server, "server"),
                                    _arrays.milliseconds(timeout),
                                    ctypes.byref(pointer)))
        self._handle = _Handle(pointer.value)
        self._server = server
        # Which incarnation a name is, and how wide it is.
        self._known: Dict[str, Known] = {}
        # Seconds that a call without a timeout has.
        self._timeout = 60.0 if timeout is None else timeout

    def close(self) -> None:
        """Ends the connection, once calls in flight have ended, and the session
        of its pushes. Futures keep their results."""
        self._handle.close()

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self._handle.is_closed else ""
        return f"<quire.Client of {self._server}{state}>"

    def _call(self, function: Any, *arguments: Any) -> None:
        """A call of C's that has the client first, and may fail."""
        _library.check_process()
        with self._handle as pointer:
            error = function(pointer, *arguments)
        check(error)

    def _json_call(self, function: Any, *arguments: Any) -> Any:
        """A call whose last argument gets a text of JSON."""
        text = ctypes.c_char_p()
        self._call(function, *arguments, ctypes.byref(text))
        return json.loads(take_text(text))
