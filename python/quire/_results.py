"""What C gives, as Python has it."""

from __future__ import annotations

import ctypes
import weakref
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np

from . import _arrays, _library
from ._items import Gradient, structs, unique_ids, wire_types
from ._json import _value_from_json, from_json, one_of
from ._library import library
from .messages import (Chunk, Neighbours, Position, Pushed, PushedTable, Row,
                       RowChange)

_DURABILITIES = {"memory": 1, "written": 2, "synced": 3}
_DURABILITY_NAMES = {0: None, 1: "memory", 2: "written", 3: "synced"}


def durability(name: Optional[str]) -> int:
    return 0 if name is None else one_of(_DURABILITIES, name,
                                         "min_durability")


def position_of(position: _library.Position) -> Optional[Position]:
    """None if there is no position: of MEMORY tables."""
    return Position(position.epoch, position.lsn) if position.lsn else None


class Asked:
    """What a lookup asks for beside the rows, and how it is returned."""

    def __init__(self, shape: Any, min_position: Optional[Position],
                 return_position: bool) -> None:
        self._shape = shape
        self._return_position = return_position
        #: As C takes it.
        self.min_position = None if min_position is None \
            else _arrays.position(min_position, "min_position")

    def result(self, lookups: Sequence[Any],
               position: _library.Position) -> Any:
        rows = self._shape([one._result() for one in lookups])
        return (rows, position_of(position)) if self._return_position \
            else rows


class Push:
    """A push, and what C writes about it."""

    def __init__(self, gradients: Any, min_durability: Optional[str]) -> None:
        if isinstance(gradients, Mapping):
            gradients = [Gradient(table, *both)
                         for table, both in gradients.items()]
        self._gradients = list(gradients)
        self.items = structs([one._bind() for one in self._gradients],
                             _library.GradientItem)
        self.tables = (_library.PushedTable * len(self.items))()
        self.options = _library.PushOptions(
            ctypes.sizeof(_library.PushOptions), wire_types(self._gradients),
            unique_ids(self._gradients), durability(min_durability))

    def result(self, pushed: _library.Pushed) -> Pushed:
        tables = [
            PushedTable(bytes(table.uid), table.rows_changed,
                        table.padding_dropped, table.rows_skipped, table.step,
                        None if pushed.duplicate else one._weight_gradients())
            for table, one in zip(self.tables, self._gradients)]
        return Pushed(position_of(pushed.position), _DURABILITY_NAMES[pushed.reached],
                      bool(pushed.duplicate), bool(pushed.exactly_once),
                      tables)


class _Rows:
    """Rows that C has: freed when no array shows them any more."""

    def __init__(self, pointer: int) -> None:
        weakref.finalize(self, library.quire_rows_free, pointer)


def _floats(address: Optional[int], count: int, owner: _Rows) -> np.ndarray:
    """[count] float32 where they lie."""
    if count == 0:
        return np.empty(0, np.float32)
    memory = (ctypes.c_float * count).from_address(address)
    memory._owner = owner
    return np.frombuffer(memory, np.float32)


def read_chunk(pointer: int) -> Chunk:
    """Takes rows from C, without a copy."""
    owner = _Rows(pointer)
    count = library.quire_rows_count(pointer)
    dim = library.quire_rows_dim(pointer)
    state_dim = library.quire_rows_state_dim(pointer)
    state = None
    if state_dim > 0:
        state = _floats(library.quire_rows_state(pointer), count * state_dim,
                        owner).reshape(count, state_dim)
    return Chunk(
        library.quire_rows_first_id(pointer),
        _floats(library.quire_rows_values(pointer), count * dim,
                owner).reshape(count, dim),
        _arrays.read_labels(library.quire_rows_labels(pointer)), state)


def read_row(data: Dict[str, Any]) -> Row:
    def floats(values: List[Any]) -> np.ndarray:
        return np.array([float(value) for value in values], np.float32)

    def optional(cls: Any, name: str) -> Any:
        return from_json(cls, data[name]) if name in data else None

    decode = _value_from_json
    return Row(table_uid=decode(bytes, data["table_uid"]),
               step=int(data["step"]),
               label=decode(bytes, data["label"]).decode("utf-8",
                                                         "surrogateescape"),
               values=floats(data["values"]),
               state={part["name"]: floats(part["values"])
                      for part in data["state"]},
               position=optional(Position, "position"),
               last_change=optional(RowChange, "last_change"),
               first_lsn=int(data["first_lsn"]))


def read_neighbours(pointer: int) -> List[Neighbours]:
    try:
        count = library.quire_neighbours_query_count(pointer)
        offsets = np.ctypeslib.as_array(
            (ctypes.c_int64 * (count + 1)).from_address(
                library.quire_neighbours_offsets(pointer)))
        total = int(offsets[-1])
        ids = _copied(ctypes.c_int64, library.quire_neighbours_ids(pointer),
                      total)
        scores = _copied(ctypes.c_float,
                         library.quire_neighbours_scores(pointer), total)
        labels = _arrays.read_labels(library.quire_neighbours_labels(pointer))
        return [Neighbours(ids[begin:end], scores[begin:end],
                           None if labels is None else labels[begin:end])
                for begin, end in zip(offsets.tolist(), offsets[1:].tolist())]
    finally:
        library.quire_neighbours_free(pointer)


def _copied(kind: Any, address: Optional[int], count: int) -> np.ndarray:
    if count == 0:
        return np.empty(0, kind)
    return np.ctypeslib.as_array((kind * count).from_address(address)).copy()
