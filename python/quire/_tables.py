"""The calls of a client about tables, and about the server."""

from __future__ import annotations

import ctypes
import json
from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np

from . import _arrays, _library
from ._connection import Connection
from ._json import from_json, one_of, to_enum, to_json
from ._library import library, take_text
from ._progress import Progress, Told
from ._results import read_chunk, read_neighbours, read_row
from .errors import _invalid
from .initializers import Initializer
from .messages import (Backup, Chunk, GradientClip, Neighbours, Position,
                       Rewound, Row, ServerInfo, Stats, StoredRows, Table,
                       TableSpec, Verified)
from .optimizers import Optimizer
from .transfer import Export, Import

_METRICS = {"cosine": 1, "dot": 2, "l2": 3}
_IF_EXISTS = {"error": "IF_EXISTS_ERROR", "verify": "IF_EXISTS_VERIFY"}


class TableCalls(Connection):
    """What a client can do besides looking up and training."""

    # --- Tables ---

    def create_table(self, name: str, num_embeddings: int, embedding_dim: int,
                     *, padding_idx: Optional[int] = None,
                     max_norm: Optional[float] = None,
                     norm_type: Optional[float] = None,
                     scale_grad_by_freq: bool = False,
                     optimizer: Optional[Optimizer] = None,
                     initializer: Optional[Initializer] = None,
                     seed: Optional[int] = None,
                     clip: Optional[GradientClip] = None,
                     non_finite_policy: Optional[str] = None,
                     persistence: Optional[str] = None,
                     default_durability: Optional[str] = None,
                     shard_count: Optional[int] = None, frozen: bool = False,
                     if_exists: str = "error",
                     timeout: Optional[float] = None) -> Table:
        """Creates a table and waits until it serves.

        num_embeddings, embedding_dim, padding_idx, max_norm, norm_type,
        scale_grad_by_freq  as torch.nn.Embedding's
        optimizer           one of quire.optimizers; None: Sgd, rate 0.01
        initializer         one of quire.initializers; None: Normal(0, 1)
        seed                of the initializer; None: a hash of the name
        non_finite_policy   "reject" (default), "skip_row" or "allow"
        persistence         "memory" or "logged"; None: logged where the server
                            has a data directory
        default_durability  of its pushes: "memory", "written" or "synced"
        if_exists           "error", or "verify": the table that is there, if
                            every field agrees

        Raises AlreadyExists, FailedPrecondition (TABLE_DIFFERS, naming the
        field), InvalidArgument (naming the field).
        """
        spec = TableSpec(
            name=name, num_embeddings=num_embeddings,
            embedding_dim=embedding_dim, initializer=initializer, seed=seed,
            padding_idx=padding_idx, max_norm=max_norm, norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq, optimizer=optimizer,
            frozen=frozen, persistence=persistence,
            default_durability=default_durability, shard_count=shard_count,
            non_finite_policy=non_finite_policy, clip=clip)
        request = {"spec": to_json(spec),
                   "if_exists": one_of(_IF_EXISTS, if_exists, "if_exists")}
        answer = self._json_call(library.quire_create_table, _dump(request),
                                 _arrays.milliseconds(timeout))
        return from_json(Table, answer["table"])

    def table(self, name: str, *, timeout: Optional[float] = None) -> Table:
        """One table, with its counters. Raises NotFound."""
        text = ctypes.c_char_p()
        self._call(library.quire_get_table, _arrays.name_bytes(name),
                   _arrays.milliseconds(timeout), None, ctypes.byref(text))
        return from_json(Table, json.loads(take_text(text)))

    def tables(self, *, timeout: Optional[float] = None) -> List[Table]:
        """All tables, by name."""
        answer = self._json_call(library.quire_list_tables,
                                 _arrays.milliseconds(timeout))
        return [from_json(Table, table) for table in answer["tables"]]

    def alter_table(self, name: str, *,
                    learning_rate: Optional[float] = None,
                    frozen: Optional[bool] = None,
                    default_durability: Optional[str] = None,
                    timeout: Optional[float] = None) -> Table:
        """Changes what may change; what is None stays.

        frozen  refuse pushes
        """
        request: Dict[str, Any] = {"table": {"name": name}}
        if learning_rate is not None:
            request["learning_rate"] = learning_rate
        if frozen is not None:
            request["frozen"] = frozen
        if default_durability is not None:
            request["default_durability"] = to_enum(
                default_durability, "DURABILITY_", "default_durability")
        return from_json(Table, self._json_call(
            library.quire_alter_table, _dump(request),
            _arrays.milliseconds(timeout)))

    def drop_table(self, name: str, *,
                   timeout: Optional[float] = None) -> None:
        """Drops a table. Raises NotFound."""
        self._call(library.quire_drop_table, _arrays.name_bytes(name),
                   _arrays.milliseconds(timeout))
        self._known.pop(name, None)

    def rewind_table(self, name: str, to_lsn: int, *,
                     timeout: Optional[float] = None) -> Rewound:
        """Makes a LOGGED table what it was after the change `to_lsn`: rows,
        optimizer state, step and labels. Raises FailedPrecondition (NOT_KEPT,
        with the positions that can be had)."""
        if not 0 <= to_lsn < 1 << 64:
            raise _invalid(f"to_lsn is {to_lsn}; it is 1 or more", "to_lsn")
        return from_json(Rewound, self._json_call(
            library.quire_rewind_table, _arrays.name_bytes(name), to_lsn,
            _arrays.milliseconds(timeout)))

    # --- Stored rows and labels ---

    def read_rows(self, table: str, ids: Any, *, values: bool = False,
                  timeout: Optional[float] = None) -> StoredRows:
        """Rows as they are stored, with their optimizer state.

        ids     integers of any shape
        values  with max_norm: renormalised, as lookup gives them
        """
        flat = _arrays.as_ids(ids)
        pointer = ctypes.c_void_p()
        self._call(library.quire_read_rows, _arrays.name_bytes(table),
                   _arrays.address(flat), flat.size, int(values),
                   _arrays.milliseconds(timeout), ctypes.byref(pointer))
        chunk = read_chunk(pointer.value)
        return StoredRows(
            chunk.values.reshape(flat.shape + chunk.values.shape[1:]),
            None if chunk.state is None else chunk.state.reshape(
                flat.shape + chunk.state.shape[1:]))

    def write_rows(self, table: str, ids: Any, values: Any,
                   state: Any = None, *,
                   timeout: Optional[float] = None) -> None:
        """Sets stored rows; all of them or none.

        ids     integers of any shape, each once
        values  [*ids.shape, dim]
        state   [*ids.shape, floats of state]; None: it stays
        """
        flat = _arrays.as_ids(ids)
        rows = _wide(values, flat, "values")
        states = None if state is None else _wide(state, flat, "state")
        self._call(library.quire_write_rows, _arrays.name_bytes(table),
                   _arrays.address(flat), flat.size, _arrays.address(rows),
                   rows.size, _arrays.address(states),
                   0 if states is None else states.size,
                   _arrays.milliseconds(timeout))

    def row(self, table: str, id: int, *,
            timeout: Optional[float] = None) -> Row:
        """One stored row, its optimizer state by name, its label and its last
        change. Reads all of the log that is kept: for people."""
        number = _arrays.as_ids(id, "id")
        _arrays.check_shape(number, (), "id", "one row")
        return read_row(self._json_call(
            library.quire_get_row, _arrays.name_bytes(table), int(number),
            _arrays.milliseconds(timeout)))

    def set_labels(self, table: str, ids: Any,
                   labels: Sequence[Union[str, bytes]], *,
                   timeout: Optional[float] = None) -> None:
        """Sets the labels of rows: [n] for ids [n]; an empty one removes."""
        flat = _arrays.as_ids(ids)
        text = _arrays.LabelText(labels)
        self._call(library.quire_set_labels, _arrays.name_bytes(table),
                   _arrays.address(flat), flat.size, ctypes.byref(text.view),
                   _arrays.milliseconds(timeout))

    def get_labels(self, table: str, ids: Any, *,
                   timeout: Optional[float] = None) -> List[str]:
        """The labels of rows: one per id, "" where a row has none."""
        flat = _arrays.as_ids(ids)
        labels = ctypes.POINTER(_library.Labels)()
        self._call(library.quire_get_labels, _arrays.name_bytes(table),
                   _arrays.address(flat), flat.size,
                   _arrays.milliseconds(timeout), ctypes.byref(labels))
        try:
            return _arrays.read_labels(labels) or []
        finally:
            library.quire_labels_free(labels)

    def find_labels(self, table: str, labels: Sequence[Union[str, bytes]], *,
                    timeout: Optional[float] = None) -> np.ndarray:
        """The rows of labels: int64 [n], the smallest id that has it, or -1."""
        text = _arrays.LabelText(labels)
        ids = np.empty(text.count, np.int64)
        self._call(library.quire_find_labels, _arrays.name_bytes(table),
                   ctypes.byref(text.view), _arrays.milliseconds(timeout),
                   _arrays.address(ids))
        return ids

    def nearest(self, table: str, *, ids: Any = None, vectors: Any = None,
                k: int = 10, metric: str = "cosine", exclude_ids: Any = None,
                return_labels: bool = False,
                timeout: Optional[float] = None) -> List[Neighbours]:
        """The k rows most like each query: an exact scan.

        ids, vectors  queries: rows of the table, each left out of its own
                      neighbours, [n]; then vectors, [m, dim]; one of the two
                      may be None, at most 1024 in all
        k             1 .. 10,000; fewer come back from a smaller table
        metric        "cosine" or "dot" (larger is nearer), "l2" (smaller is)
        exclude_ids   rows never returned
        returns       one Neighbours for each query, in their order
        """
        rows = _arrays.as_ids([] if ids is None else ids).reshape(-1)
        left_out = _arrays.as_ids([] if exclude_ids is None else exclude_ids,
                                  "exclude_ids")
        query_vectors = np.empty((0, 0), np.float32) if vectors is None \
            else np.atleast_2d(_arrays.as_floats(vectors, "vectors"))
        if query_vectors.ndim != 2:
            raise _invalid(f"vectors has shape {query_vectors.shape}; it is "
                           "(m, dim)", "vectors", "BAD_SHAPE")
        query = _library.NearestQuery(
            _arrays.name_bytes(table), k, one_of(_METRICS, metric, "metric"),
            int(return_labels), _arrays.address(rows), rows.size,
            _arrays.address(query_vectors), *query_vectors.shape,
            _arrays.address(left_out), left_out.size)
        pointer = ctypes.c_void_p()
        self._call(library.quire_nearest, ctypes.byref(query),
                   _arrays.milliseconds(timeout), ctypes.byref(pointer))
        return read_neighbours(pointer.value)

    # --- Import and export ---

    def import_table(self, name: str, rows: Any, *,
                     labels: Optional[Sequence[Union[str, bytes]]] = None,
                     state: Any = None, step: int = 0,
                     num_embeddings: Optional[int] = None,
                     embedding_dim: Optional[int] = None,
                     progress: Told = None, timeout: Optional[float] = None,
                     **spec: Any) -> Table:
        """Creates a table from rows; it appears when all are in, or not at all.

        rows            [n, dim]; or an iterable of [any, dim], or of Chunk,
                        in order of ids, for which num_embeddings and
                        embedding_dim are needed
        labels          of an array: [n]
        state           of an array: [n, floats of the optimizer's state], in
                        the order of read_rows; a Chunk brings its own; None:
                        initial state
        step            pushes that the rows and their state have seen: what
                        Adam corrects its moments by
        progress        True: a bar on stderr, if that is a terminal; or a
                        function of (rows done, rows in all), called after each
                        piece
        spec            padding_idx, max_norm, …: as create_table's
        """
        if hasattr(rows, "__array__") or isinstance(rows, (list, tuple)):
            array = _arrays.as_floats(rows, "rows")
            if array.ndim != 2:
                raise _invalid(f"rows has shape {array.shape}; it is (n, dim)",
                               "rows", "BAD_SHAPE")
            _arrays.check_shape(array, (
                array.shape[0] if num_embeddings is None else num_embeddings,
                array.shape[1] if embedding_dim is None else embedding_dim),
                "rows", "the table")
            num_embeddings, embedding_dim = array.shape
            rows = [(array, labels, state)]
        elif labels is not None or state is not None:
            field = "state" if labels is None else "labels"
            raise _invalid("labels and state go with an array of rows; of "
                           "chunks each brings its own: Chunk", field)
        if num_embeddings is None or embedding_dim is None:
            raise _invalid("num_embeddings and embedding_dim are needed: rows "
                           "is no array", "num_embeddings")
        with self.begin_import(name, num_embeddings, embedding_dim, step=step,
                               progress=progress, timeout=timeout,
                               **spec) as table:
            for chunk in rows:
                if isinstance(chunk, Chunk):
                    table.write(chunk.values, chunk.labels, chunk.state)
                elif isinstance(chunk, tuple):
                    table.write(*chunk)
                else:
                    table.write(chunk)
            return table.finish()

    def begin_import(self, name: str, num_embeddings: int, embedding_dim: int,
                     *, step: int = 0, progress: Told = None,
                     timeout: Optional[float] = None, **spec: Any) -> Import:
        """An import, to be written to: see Import.

        step, progress  as import_table's
        spec  padding_idx, max_norm, …: as create_table's
        """
        try:
            whole = TableSpec(name=name, num_embeddings=num_embeddings,
                              embedding_dim=embedding_dim, **spec)
        except TypeError as error:
            raise _invalid(f"a table has no such field: {error}",
                           "spec") from error
        if not 0 <= step < 1 << 63:
            raise _invalid(f"step is {step}; it is 0 or more", "step")
        pointer = ctypes.c_void_p()
        self._call(library.quire_import_begin, _dump(to_json(whole)), step,
                   _arrays.milliseconds(timeout), ctypes.byref(pointer))
        return Import(pointer.value, embedding_dim,
                      Progress(progress, "importing", num_embeddings))

    def export_table(self, name: str, *, include_state: bool = False,
                     first_id: Optional[int] = None,
                     row_count: Optional[int] = None, values: bool = False,
                     progress: Told = None,
                     timeout: Optional[float] = None) -> Export:
        """A table's rows, in order of ids: an iterator of Chunk.

        include_state  with optimizer state
        first_id       from this id, default 0,
        row_count      this many; default: to the end
        values         with max_norm: renormalised, as lookup gives them
        progress       as import_table's
        """
        request: Dict[str, Any] = {"table": {"name": name},
                                   "include_state": bool(include_state),
                                   "values": bool(values)}
        if first_id is not None:
            request["first_id"] = str(int(first_id))
        if row_count is not None:
            request["row_count"] = str(int(row_count))
        pointer = ctypes.c_void_p()
        self._call(library.quire_export_begin, _dump(request),
                   _arrays.milliseconds(timeout), ctypes.byref(pointer))
        return Export(pointer.value, progress, first_id or 0, row_count)

    # --- The server ---

    @property
    def server_info(self) -> ServerInfo:
        """Version, features and limits, as connect read them."""
        return from_json(ServerInfo,
                         self._json_call(library.quire_server_info))

    def stats(self, *, timeout: Optional[float] = None) -> Stats:
        """Counters of the server and of its tables."""
        return from_json(Stats, self._json_call(
            library.quire_get_stats, _arrays.milliseconds(timeout)))

    def health(self, *, timeout: Optional[float] = None) -> None:
        """Raises Unavailable unless the server says that it serves."""
        self._call(library.quire_health, _arrays.milliseconds(timeout))

    def snapshot(self, *, timeout: Optional[float] = None) -> Position:
        """Writes a snapshot of all LOGGED tables to the server's disk; all
        changes up to the position are in it. FailedPrecondition without a data
        directory."""
        position = _library.Position()
        self._call(library.quire_create_snapshot,
                   _arrays.milliseconds(timeout), ctypes.byref(position))
        return Position(position.epoch, position.lsn)

    def back_up(self, name: str, *,
                timeout: Optional[float] = None) -> Backup:
        """Copies all LOGGED tables, at one position, to a name in the server's
        directory of backups (quire-server --backup-dir)."""
        return from_json(Backup, self._json_call(
            library.quire_back_up, _arrays.name_bytes(name, "name"),
            _arrays.milliseconds(timeout)))

    def verify_table(self, table: str, *,
                     timeout: Optional[float] = None) -> Verified:
        """Reads back, from the server's disk, what the newest snapshot has of a
        LOGGED table. DataLoss (CORRUPT), with the file, if it is damaged;
        FailedPrecondition (NOT_KEPT) for a MEMORY table."""
        return from_json(Verified, self._json_call(
            library.quire_verify_table, _arrays.name_bytes(table),
            _arrays.milliseconds(timeout)))


def _dump(message: Any) -> bytes:
    return json.dumps(message).encode()


def _wide(given: Any, ids: np.ndarray, field: str) -> np.ndarray:
    floats = _arrays.as_floats(given, field)
    if floats.shape[:-1] != ids.shape or floats.ndim != ids.ndim + 1:
        needed = ", ".join([*map(str, ids.shape), "dim"])
        raise _invalid(f"{field} has shape {floats.shape}; for these ids it is "
                       f"({needed})", field, "BAD_SHAPE")
    return floats
