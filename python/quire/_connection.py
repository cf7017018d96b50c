"""The connection that a client is."""

from __future__ import annotations

import ctypes
import json
import weakref
from typing import Any, Dict, NamedTuple, Optional, TypeVar

from . import _arrays, _library
from ._library import check, library, take_text
from .errors import FailedPrecondition

C = TypeVar("C", bound="Connection")


class _Handle:
    """What C holds of a client. Freed when nobody uses it any more, and when
    Python ends."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer
        weakref.finalize(self, library.quire_client_free, pointer)


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
        self._handle: Optional[_Handle] = _Handle(pointer.value)
        self._server = server
        # Which incarnation a name is, and how wide it is.
        self._known: Dict[str, Known] = {}
        # Seconds that a call without a timeout has.
        self._timeout = 60.0 if timeout is None else timeout

    def close(self) -> None:
        """Ends the connection, once calls in flight have ended, and the session
        of its pushes. Futures keep their results."""
        self._handle = None

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "" if self._handle else ", closed"
        return f"<quire.Client of {self._server}{state}>"

    def _open(self) -> _Handle:
        """The handle, which lives as long as a call has it."""
        _library.check_process()
        handle = self._handle
        if handle is None:
            raise FailedPrecondition("this client is closed; connect again",
                                     "FAILED_PRECONDITION")
        return handle

    def _json_call(self, function: Any, *arguments: Any) -> Any:
        """A call whose last argument gets a text of JSON."""
        text = ctypes.c_char_p()
        check(function(self._open().pointer, *arguments, ctypes.byref(text)))
        return json.loads(take_text(text))
