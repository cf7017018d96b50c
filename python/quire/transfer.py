"""Tables on their way in and out."""

from __future__ import annotations

import ctypes
import json
import weakref
from types import TracebackType
from typing import Any, Iterator, Optional, Sequence, Type, Union

from . import _arrays, _library
from ._json import from_json
from ._library import check, library, take_text
from ._progress import Progress, Told
from ._results import read_chunk
from .errors import FailedPrecondition, _invalid
from .messages import Chunk, Position, Table


class Import:
    """A table being imported: rows in order of their ids, then finish.

        with client.begin_import("words", 1000, 64) as table:
            for rows in chunks:
                table.write(rows)
            table.finish()

    Left before finish, it leaves no table behind. One thread at a time.
    """

    def __init__(self, pointer: int, dim: int, progress: Progress) -> None:
        self._dim = dim
        self._progress = progress
        self._free = weakref.finalize(self, library.quire_import_free, pointer)
        self._pointer: Optional[int] = pointer

    def write(self, values: Any,
              labels: Optional[Sequence[Union[str, bytes]]] = None,
              state: Any = None) -> None:
        """The next rows.

        values  [n, dim]
        labels  [n], or None for none
        state   [n, floats of the optimizer's state]; None: initial state
        """
        rows = _arrays.as_floats(values, "values")
        if rows.ndim != 2 or rows.shape[1] != self._dim:
            raise _invalid(f"values has shape {rows.shape}; it is "
                           f"(n, {self._dim})", "values", "BAD_SHAPE")
        text = None if labels is None else _arrays.LabelText(labels)
        if text is not None and text.count != len(rows):
            raise _invalid(f"{text.count} labels for {len(rows)} rows",
                           "labels", "BAD_SHAPE")
        states = None if state is None else _arrays.as_floats(state, "state")
        if states is not None and (states.ndim != 2
                                   or len(states) != len(rows)):
            raise _invalid(f"state has shape {states.shape}; for {len(rows)} "
                           f"rows it is ({len(rows)}, floats)", "state",
                           "BAD_SHAPE")
        check(library.quire_import_write(
            self._open(), _arrays.address(rows), rows.size,
            None if text is None else ctypes.byref(text.view),
            _arrays.address(states), 0 if states is None else states.size))
        self._progress.add(len(rows))

    def finish(self) -> Table:
        """The table appears. Every row must have been written."""
        table = ctypes.c_char_p()
        try:
            check(library.quire_import_finish(self._open(),
                                              ctypes.byref(table)))
            return from_json(Table, json.loads(take_text(table)))
        finally:
            self.close()

    def close(self) -> None:
        """Without finish: there is no table."""
        self._progress.end()
        self._pointer = None
        self._free()

    def _open(self) -> int:
        _library.check_process()
        if self._pointer is None:
            raise FailedPrecondition("this import has ended",
                                     "FAILED_PRECONDITION")
        return self._pointer

    def __enter__(self) -> Import:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]],
                 error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()


class Export:
    """A table being read: an iterator of Chunk, in order of ids. Pushes go on
    meanwhile. One thread at a time.
    """

    #: The table as it was at the beginning.
    table: Table
    #: What all rows are as of; None: each is as of some moment of the export
    #: (MEMORY tables).
    position: Optional[Position]

    def __init__(self, pointer: int, told: Told = None, first_id: int = 0,
                 row_count: Optional[int] = None) -> None:
        self._free = weakref.finalize(self, library.quire_export_free, pointer)
        self._pointer: Optional[int] = pointer
        text = ctypes.c_char_p()
        check(library.quire_export_table(pointer, ctypes.byref(text)))
        self.table = from_json(Table, json.loads(take_text(text)))
        position = library.quire_export_position(pointer)
        self.position = Position(position.epoch, position.lsn) \
            if position.lsn else None
        self._progress = Progress(
            told, "exporting", self.table.spec.num_embeddings - first_id
            if row_count is None else row_count)

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        _library.check_process()
        if self._pointer is None:
            raise StopIteration
        rows = ctypes.c_void_p()
        check(library.quire_export_read(self._pointer, ctypes.byref(rows)))
        if rows.value is None:
            self.close()
            raise StopIteration
        chunk = read_chunk(rows.value)
        self._progress.add(len(chunk.values))
        return chunk

    def close(self) -> None:
        """Ends it early."""
        self._progress.end()
        self._pointer = None
        self._free()

    def __enter__(self) -> Export:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]],
                 error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()
