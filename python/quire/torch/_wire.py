"""The client, as the modules use it: nothing else here touches `quire`."""

from __future__ import annotations

import dataclasses
import os
import threading
import weakref
from typing import Any, Dict, Iterable, List, Optional, Tuple

import numpy as np
import quire
from quire import _safetensors

AlreadyExists = quire.AlreadyExists
Clock = quire.Clock
Position = quire.Position

_DEFAULT_SERVER = "127.0.0.1:7847"

_clients: Dict[str, quire.Client] = {}
_clients_lock = threading.Lock()
# The process that a client was first used in.
_made_in: "weakref.WeakKeyDictionary[quire.Client, int]" = \
    weakref.WeakKeyDictionary()


@dataclasses.dataclass(frozen=True)
class Bags:
    """How ids fall into bags.

    pooling  "sum", "mean" or "max"
    offsets  int64 [bags + 1], from 0 to the number of ids
    weights  float32 [n], of "sum"
    winners  int32 [bags, dim], of a gradient of "max"
    """
    pooling: str
    offsets: np.ndarray
    weights: Optional[np.ndarray] = None
    winners: Optional[np.ndarray] = None

    def with_winners(self, winners: Optional[np.ndarray]) -> "Bags":
        """The same, as the gradient of a lookup has it."""
        return dataclasses.replace(self, winners=winners)

    def same_as(self, other: "Bags") -> bool:
        """Whether the same ids fall into the same bags, equally weighted."""
        return (self.pooling == other.pooling
                and np.array_equal(self.offsets, other.offsets)
                and (self.weights is None) == (other.weights is None)
                and (self.weights is None
                     or np.array_equal(self.weights, other.weights)))


@dataclasses.dataclass(frozen=True)
class Travel:
    """How rows and gradients cross the network.

    wire    "float16" or "bfloat16", rounded; None: float32
    unique  of equal ids, without bags, the first, or the sum of the gradients
    """
    wire: Optional[str] = None
    unique: bool = False


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A part of a lookup.

    ids      int64 [n]
    winners  are wanted too, of bags of "max"
    """
    table: str
    ids: np.ndarray
    bags: Optional[Bags] = None
    winners: bool = False
    travel: Travel = Travel()


@dataclasses.dataclass(frozen=True)
class Rows:
    """What a part of a lookup gave.

    values   float32 [n, dim], or with bags [bags, dim]
    winners  int32 [bags, dim]
    """
    values: np.ndarray
    winners: Optional[np.ndarray] = None


@dataclasses.dataclass(frozen=True)
class Push:
    """The gradient of one lookup, on its way.

    values  float32 [n, dim], or with bags [bags, dim]
    scale   multiplies them, before everything
    """
    table: str
    ids: np.ndarray
    values: np.ndarray
    bags: Optional[Bags]
    learning_rate: float
    scale: float
    travel: Travel = Travel()


def address(server: Optional[str], client: Optional[quire.Client]) -> str:
    """That of a module that was told these."""
    if client is not None:
        return str(client._server)
    return server or os.environ.get("QUIRE_SERVER") or _DEFAULT_SERVER


def connect(server: str) -> quire.Client:
    """This process's client of a server; all modules share it."""
    with _clients_lock:
        if server not in _clients:
            _clients[server] = quire.connect(server)
        check_process(_clients[server])
        return _clients[server]


def check_process(client: quire.Client) -> None:
    """Raises in a process that was forked after the client was made. gRPC may
    go on there, and may hang, when two are forked in quick succession as a
    DataLoader does."""
    made_in = _made_in.setdefault(client, os.getpid())
    if made_in != os.getpid():
        raise RuntimeError(
            f"process {os.getpid()} was forked from process {made_in} after "
            "that had connected to the server, and gRPC is not safe to use "
            "here. Start it with multiprocessing's 'spawn' "
            "(DataLoader(…, multiprocessing_context='spawn')), or make the "
            "first remote module after the fork")


def lookup(client: quire.Client, wanted: List[Wanted]) -> List[Rows]:
    """One round trip."""
    return _rows(wanted, client.lookup_many([_lookup(one) for one in wanted]))


class ComingRows:
    """A lookup under way."""

    def __init__(self, client: quire.Client, wanted: List[Wanted]) -> None:
        self._wanted = wanted
        self._future = client.lookup_many_async(
            [_lookup(one) for one in wanted])

    def result(self) -> List[Rows]:
        """Waits for it."""
        return _rows(self._wanted, self._future.result())


def push(client: quire.Client, pushes: List[Push]) -> quire.Pushed:
    """One request. Its answer comes on this thread, sooner than push_async's,
    which comes by way of another."""
    return client.apply_gradient_many([_gradient(one) for one in pushes])


def push_async(client: quire.Client, pushes: List[Push]) -> Any:
    """One request; a future whose result() waits for the answer."""
    return client.apply_gradient_many_async([_gradient(one) for one in pushes])


def create_or_describe(client: quire.Client, name: str,
                       arguments: Dict[str, Any]) -> quire.Table:
    """The table of this name, made now if there was none."""
    try:
        return client.table(name)
    except quire.NotFound:
        pass
    try:
        return client.create_table(name, **arguments)
    except quire.AlreadyExists:  # Another worker was faster.
        return client.table(name)


def describe(client: quire.Client, name: str) -> Optional[quire.Table]:
    """The table of this name; None if there is none."""
    try:
        return client.table(name)
    except quire.NotFound:
        return None


def import_table(client: quire.Client, name: str, arguments: Dict[str, Any],
                 rows: Iterable[np.ndarray]) -> quire.Table:
    """A new table of these rows: it appears when all are there."""
    return client.import_table(name, rows, **arguments)


def read_rows(client: quire.Client, table: str,
              ids: np.ndarray) -> np.ndarray:
    """float32 [n, dim]: as stored."""
    return client.read_rows(table, ids).values


def write_rows(client: quire.Client, table: str, ids: np.ndarray,
               values: np.ndarray) -> None:
    """Sets stored rows; optimizer state stays."""
    client.write_rows(table, ids, values)


# --- Checkpoints ---

TableFile = _safetensors.TableFile
write_table = _safetensors.write_table
Chunk = quire.Chunk


def table(client: quire.Client, name: str) -> quire.Table:
    """The table of this name. It waits for a server that has just been
    started, which streams do not."""
    return client.table(name)


def moment(client: quire.Client,
           name: str) -> "Tuple[quire.Table, Optional[quire.Position]]":
    """The table after a change, and after which; None for one of memory, of
    which nobody knows."""
    described = table(client, name)
    if described.spec.persistence != "logged":
        return described, None
    with client.export_table(name, row_count=0) as exported:
        return exported.table, exported.position


def export_table(client: quire.Client, name: str, include_state: bool,
                 progress: Any = None) -> quire.Export:
    """All rows, as of one change if the table is LOGGED."""
    table(client, name)
    return client.export_table(name, include_state=include_state,
                               progress=progress)


def state_parts(spec: quire.TableSpec) -> List[Tuple[str, int]]:
    """Name and floats of each part of the optimizer state of a row."""
    return spec.optimizer.state_parts(spec.embedding_dim)


def replace_table(client: quire.Client, spec: quire.TableSpec,
                  chunks: Iterable[quire.Chunk], step: int,
                  progress: Any = None) -> quire.Table:
    """Drops the table of that name, and makes it of these rows."""
    fields = {field.name: getattr(spec, field.name)
              for field in dataclasses.fields(spec)}
    client.drop_table(spec.name)
    return client.import_table(rows=chunks, step=step, progress=progress,
                               **fields)


def snapshot(client: quire.Client) -> quire.Position:
    """All LOGGED tables are on the server's disk up to there."""
    return client.snapshot()


def last_position(client: quire.Client) -> Optional[quire.Position]:
    """Of the server's last change; None without a log."""
    log = client.stats().log
    return None if log is None else log.appended


def rewind_table(client: quire.Client, name: str, lsn: int) -> quire.Table:
    """Makes a LOGGED table what it was then."""
    try:
        return client.rewind_table(name, lsn).table
    except quire.FailedPrecondition as error:
        if error.reason != "NOT_KEPT":
            raise
        raise quire.FailedPrecondition(
            f"{error.sentence}. Checkpoints need the snapshots that they were "
            "saved with: let the server keep more of them (quire-server "
            "--snapshot-keep N), or save with rows='file'",
            error.code, error.reason, error.field) from error


def _lookup(wanted: Wanted) -> Any:
    bags = wanted.bags
    if bags is None:
        return quire.Lookup(wanted.table, wanted.ids, wire=wanted.travel.wire,
                            unique=wanted.travel.unique)
    return quire.BagLookup(wanted.table, wanted.ids, bags.offsets,
                           bags.pooling, bags.weights,
                           include_last_offset=True,
                           return_winners=wanted.winners,
                           wire=wanted.travel.wire)


def _rows(wanted: List[Wanted], answers: List[Any]) -> List[Rows]:
    return [Rows(*answer) if one.winners else Rows(answer)
            for one, answer in zip(wanted, answers)]


def _gradient(push: Push) -> Any:
    scale = None if push.scale == 1 else push.scale
    bags = push.bags
    if bags is None:
        return quire.Gradient(push.table, push.ids, push.values,
                              push.learning_rate, scale,
                              wire=push.travel.wire,
                              unique=push.travel.unique)
    return quire.BagGradient(
        push.table, push.ids, push.values, bags.offsets, bags.pooling,
        bags.weights, include_last_offset=True, winners=bags.winners,
        learning_rate=push.learning_rate, gradient_scale=scale,
        wire=push.travel.wire)
