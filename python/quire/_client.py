"""The client: a connection to one server."""

from __future__ import annotations

import ctypes
import time
from typing import (Any, Iterable, List, Mapping, Optional, Sequence, Tuple,
                    Union)

import numpy as np

from . import _arrays, _library
from ._connection import Known
from ._items import (BagGradient, BagLookup, Gradient, Lookup, structs,
                     unique_ids, wire_types)
from ._library import check, library
from ._results import Asked, Push
from ._tables import TableCalls
from .errors import Error
from .futures import Future
from .messages import Position, Pushed

LookupLike = Union[Lookup, BagLookup]
GradientLike = Union[Gradient, BagGradient]


def connect(server: str = "127.0.0.1:7847",
            timeout: Optional[float] = None) -> Client:
    """Connects to a server and reads its limits.

    server   "host:port" or "unix:path"
    timeout  seconds, of this call and of all calls that bring none; None: 60

    Raises Unavailable (CANNOT_CONNECT) if no server answers within it.
    """
    return Client(server, timeout)


class Client(TableCalls):
    """A connection to a server: `with quire.connect() as client: …`.

    Thread safety: all methods may be called from any thread, any number at
    once; Python's other threads run while they wait. Ctrl-C is seen when a
    blocking call returns, and at once in Future.result.

    Errors are quire.Error: the server's code, reason, field and sentence. What
    the server refuses with the advice to come back, and what only reads while
    no server answers, is tried again until the timeout; a push is sent again
    with its number, and applied once.

    timeout, in all methods: seconds; None is what connect was told, and in
    methods that take as long as a table is large (imports, exports, rewind,
    snapshot, back_up) it is no bound.

    Fork: with GRPC_ENABLE_FORK_SUPPORT=1 in the environment before the first
    connect, a client goes on in children that are forked while no call is in
    flight. Without it a child that uses one gets FailedPrecondition.
    """

    # --- Rows ---

    def lookup(self, table: str, ids: Any, *,
               out: Optional[np.ndarray] = None, wire: Optional[str] = None,
               unique: bool = False,
               min_position: Optional[Position] = None,
               return_position: bool = False,
               timeout: Optional[float] = None) -> Any:
        """The rows of ids.

        ids      integers of any shape: an int, a list, an ndarray, a torch
                 tensor; each in [0, num_embeddings)
        out      where the rows go: float32 [*ids.shape, dim], C order;
                 None: a new array
        wire     in which type they travel: "float16" or "bfloat16", half the
                 bytes, rounded; None: "float32"
        unique   of equal ids only the first travels
        min_position     rows no older than this: that of a push, whoever made
                         it, or of a lookup before; waited for until the
                         timeout. None: whatever there is
        return_position  also return the position of the rows: all changes up
                         to there are in them; None for MEMORY tables
        returns  float32 [*ids.shape, dim]; with return_position a pair of it
                 and a Position

        Raises NotFound, OutOfRange (the first bad id is named), WrongType;
        Unavailable (NOT_CAUGHT_UP), FailedPrecondition (POSITION_LOST: a change
        was lost with the server that gave it).
        """
        return self._look([Lookup(table, ids, out, wire, unique)], timeout,
                          Asked(_first, min_position, return_position))

    def lookup_bags(self, table: str, input: Any, offsets: Any = None, *,
                    mode: str = "mean", per_sample_weights: Any = None,
                    include_last_offset: bool = False,
                    return_winners: bool = False,
                    out: Optional[np.ndarray] = None,
                    wire: Optional[str] = None,
                    min_position: Optional[Position] = None,
                    return_position: bool = False,
                    timeout: Optional[float] = None) -> Any:
        """Bags of rows, pooled by the server, as
        torch.nn.functional.embedding_bag: see BagLookup for the arguments, and
        lookup for positions.

        returns  float32 [bags, dim]; with return_winners a pair of it and
                 int32 [bags, dim]; with return_position a pair of that and a
                 Position
        """
        return self._look(
            [BagLookup(table, input, offsets, mode, per_sample_weights,
                       include_last_offset, return_winners, out, wire)],
            timeout, Asked(_first, min_position, return_position))

    def lookup_many(self, lookups: Union[Mapping[str, Any],
                                         Iterable[LookupLike]], *,
                    min_position: Optional[Position] = None,
                    return_position: bool = False,
                    timeout: Optional[float] = None) -> Any:
        """Rows and bags of many tables, in one round trip.

        lookups  {table: ids}, or Lookup and BagLookup objects, of which
                 several may name one table
        min_position, return_position  as in lookup, of all tables together
        returns  {table: rows}, or a list in their order; with return_position a
                 pair of that and a Position
        """
        items, shape = _many(lookups)
        return self._look(items, timeout,
                          Asked(shape, min_position, return_position))

    def lookup_async(self, table: str, ids: Any, *,
                     out: Optional[np.ndarray] = None,
                     wire: Optional[str] = None, unique: bool = False,
                     min_position: Optional[Position] = None,
                     return_position: bool = False,
                     timeout: Optional[float] = None) -> Future[Any]:
        """lookup, without waiting for the answer; but the first lookup of a
        table waits to hear how wide it is. What `ids` and `out` are may not be
        changed until the future is done."""
        return self._look_async([Lookup(table, ids, out, wire, unique)],
                                timeout,
                                Asked(_first, min_position, return_position))

    def lookup_bags_async(self, table: str, input: Any, offsets: Any = None, *,
                          mode: str = "mean", per_sample_weights: Any = None,
                          include_last_offset: bool = False,
                          return_winners: bool = False,
                          out: Optional[np.ndarray] = None,
                          wire: Optional[str] = None,
                          min_position: Optional[Position] = None,
                          return_position: bool = False,
                          timeout: Optional[float] = None) -> Future[Any]:
        """lookup_bags, without waiting for the answer."""
        return self._look_async(
            [BagLookup(table, input, offsets, mode, per_sample_weights,
                       include_last_offset, return_winners, out, wire)],
            timeout, Asked(_first, min_position, return_position))

    def lookup_many_async(self, lookups: Union[Mapping[str, Any],
                                               Iterable[LookupLike]], *,
                          min_position: Optional[Position] = None,
                          return_position: bool = False,
                          timeout: Optional[float] = None) -> Future[Any]:
        """lookup_many, without waiting for the answer."""
        items, shape = _many(lookups)
        return self._look_async(items, timeout,
                                Asked(shape, min_position, return_position))

    def _bind(self, lookups: Sequence[LookupLike], end: float) -> Any:
        items = []
        for one in lookups:
            known = self._know(one.table, end)
            items.append(one._bind(known.uid, known.dim))
        return structs(items, _library.LookupItem)

    def _look(self, lookups: Sequence[LookupLike], timeout: Optional[float],
              asked: Asked) -> Any:
        end = self._end(timeout)
        options = _options(lookups, asked)
        position = _library.Position()
        for is_retry in (False, True):
            items = self._bind(lookups, end)
            try:
                self._call(library.quire_lookup_with, items, len(items),
                           options, _left(end), ctypes.byref(position))
                break
            except Error as error:
                if not self._forget(lookups, error) or is_retry:
                    raise
        return asked.result(lookups, position)

    def _look_async(self, lookups: Sequence[LookupLike],
                    timeout: Optional[float], asked: Asked) -> Future[Any]:
        end = self._end(timeout)
        items = self._bind(lookups, end)
        pointer = ctypes.c_void_p()
        self._call(library.quire_lookup_with_async, items, len(items),
                   _options(lookups, asked), _left(end),
                   ctypes.byref(pointer))

        def finish(future: int) -> Any:
            check(library.quire_future_error(future))
            return asked.result(lookups, library.quire_future_position(future))

        def mend(error: Error) -> Any:
            return self._look(lookups, _left(end) / 1000, asked) \
                if self._forget(lookups, error) else None

        return Future(pointer.value, (items, lookups), finish, mend)

    def _know(self, table: str, end: float) -> Known:
        """Which incarnation has a name, and how wide it is."""
        known = self._known.get(table)
        if known is None:
            info = _library.TableInfo()
            self._call(library.quire_get_table, _arrays.name_bytes(table),
                       _left(end), ctypes.byref(info), None)
            known = Known(bytes(info.uid), info.embedding_dim)
            self._known[table] = known
        return known

    def _forget(self, lookups: Sequence[LookupLike], error: Error) -> bool:
        """Whether another try may do: a name is another table's by now."""
        if error.reason in ("TABLE_REPLACED", "NO_SUCH_TABLE"):
            for one in lookups:
                self._known.pop(one.table, None)
        return error.reason == "TABLE_REPLACED"

    def _end(self, timeout: Optional[float]) -> float:
        milliseconds = _arrays.milliseconds(timeout)
        return time.monotonic() + (self._timeout if milliseconds < 0
                                   else milliseconds / 1000)

    # --- Training ---

    def apply_gradient(self, table: str, ids: Any, gradient: Any, *,
                       learning_rate: Optional[float] = None,
                       gradient_scale: Optional[float] = None,
                       wire: Optional[str] = None, unique: bool = False,
                       min_durability: Optional[str] = None,
                       timeout: Optional[float] = None) -> Pushed:
        """One step of one table, by the table's optimizer: see Gradient.

        ids             integers of any shape
        gradient        numbers, [*ids.shape, dim]; float32 is not copied
        wire            "float16" or "bfloat16": the gradient travels rounded
        unique          gradients of equal ids are summed before they travel;
                        the rows become the same. InvalidArgument (BAD_VALUE)
                        if the table has scale_grad_by_freq or skips rows
        min_durability  answered no sooner than the change is this safe:
                        "memory", "written" or "synced"; None: the table's
                        default

        Raises NotFound, OutOfRange, InvalidArgument (BAD_SHAPE, NON_FINITE),
        FailedPrecondition (TABLE_FROZEN, UNSUPPORTED_DURABILITY). After an
        error nothing has changed, unless its sentence says that it may have.
        """
        return self.apply_gradient_many(
            [Gradient(table, ids, gradient, learning_rate, gradient_scale,
                      wire=wire, unique=unique)],
            min_durability=min_durability, timeout=timeout)

    def apply_gradient_bags(
            self, table: str, input: Any, gradient: Any, offsets: Any = None,
            *, min_durability: Optional[str] = None,
            timeout: Optional[float] = None, **bags: Any) -> Pushed:
        """One step of one table, from the gradients of its bags.

        gradient  numbers, [bags, dim]
        bags      mode, per_sample_weights, include_last_offset, winners,
                  return_weight_gradients, learning_rate, gradient_scale, wire:
                  see BagGradient
        """
        return self.apply_gradient_many(
            [BagGradient(table, input, gradient, offsets, **bags)],
            min_durability=min_durability, timeout=timeout)

    def apply_gradient_many(
            self, gradients: Union[Mapping[str, Tuple[Any, Any]],
                                   Iterable[GradientLike]], *,
            min_durability: Optional[str] = None,
            timeout: Optional[float] = None) -> Pushed:
        """One step of many tables: one request, all of them or none.

        gradients  {table: (ids, gradient)}, or Gradient and BagGradient
                   objects; those that name one table are summed in their order
        """
        push = Push(gradients, min_durability)
        pushed = _library.Pushed()
        self._call(library.quire_apply_gradient_with, push.items,
                   len(push.items), push.options,
                   _arrays.milliseconds(timeout), ctypes.byref(pushed),
                   push.tables)
        return push.result(pushed)

    def apply_gradient_async(self, table: str, ids: Any, gradient: Any, *,
                             learning_rate: Optional[float] = None,
                             gradient_scale: Optional[float] = None,
                             wire: Optional[str] = None, unique: bool = False,
                             min_durability: Optional[str] = None,
                             timeout: Optional[float] = None,
                             ) -> Future[Pushed]:
        """apply_gradient, without waiting for the answer. Arrays may be changed
        at once. At most 512 pushes are under way, later ones wait their
        turn."""
        return self.apply_gradient_many_async(
            [Gradient(table, ids, gradient, learning_rate, gradient_scale,
                      wire=wire, unique=unique)],
            min_durability=min_durability, timeout=timeout)

    def apply_gradient_bags_async(
            self, table: str, input: Any, gradient: Any, offsets: Any = None,
            *, min_durability: Optional[str] = None,
            timeout: Optional[float] = None, **bags: Any) -> Future[Pushed]:
        """apply_gradient_bags, without waiting for the answer."""
        return self.apply_gradient_many_async(
            [BagGradient(table, input, gradient, offsets, **bags)],
            min_durability=min_durability, timeout=timeout)

    def apply_gradient_many_async(
            self, gradients: Union[Mapping[str, Tuple[Any, Any]],
                                   Iterable[GradientLike]], *,
            min_durability: Optional[str] = None,
            timeout: Optional[float] = None) -> Future[Pushed]:
        """apply_gradient_many, without waiting for the answer."""
        push = Push(gradients, min_durability)
        pointer = ctypes.c_void_p()
        self._call(library.quire_apply_gradient_with_async, push.items,
                   len(push.items), push.options,
                   _arrays.milliseconds(timeout), ctypes.byref(pointer))

        def finish(future: int) -> Pushed:
            pushed = _library.Pushed()
            check(library.quire_future_pushed(future, ctypes.byref(pushed),
                                              push.tables))
            return push.result(pushed)

        return Future(pointer.value, push, finish,
                      lambda error: None)


def _first(results: List[Any]) -> Any:
    return results[0]


def _many(lookups: Union[Mapping[str, Any], Iterable[LookupLike]],
          ) -> Tuple[List[LookupLike], Any]:
    """What is wanted, and how the results are returned."""
    if not isinstance(lookups, Mapping):
        return list(lookups), list
    tables = list(lookups)
    return ([Lookup(table, lookups[table]) for table in tables],
            lambda results: dict(zip(tables, results)))


def _options(lookups: Sequence[LookupLike],
             asked: Asked) -> _library.LookupOptions:
    position = asked.min_position
    return _library.LookupOptions(
        ctypes.sizeof(_library.LookupOptions), wire_types(lookups),
        unique_ids(lookups), position and ctypes.pointer(position))


def _left(end: float) -> int:
    """Milliseconds until then."""
    return max(0, _arrays.milliseconds(max(0.0, end - time.monotonic())))
