"""One table on a server, as a module holds it."""

from __future__ import annotations

import dataclasses
import math
import uuid
from typing import Any, Dict, Iterable, Iterator, Optional

import numpy as np
import torch

from . import _wire

# Rows travel in pieces of about this many bytes, so that no message, and
# nothing in between, grows with the table.
_PIECE_BYTES = 8 << 20


@dataclasses.dataclass(frozen=True)
class TableSettings:
    """What a module says about its table; None, for optimizer: whatever an
    existing table has."""

    num_embeddings: int
    embedding_dim: int
    padding_idx: Optional[int]
    max_norm: Optional[float]
    norm_type: float
    scale_grad_by_freq: bool
    optimizer: Any
    # Further arguments of quire.Client.create_table.
    others: Dict[str, Any]

    def arguments(self) -> Dict[str, Any]:
        """Those of quire.Client.create_table."""
        arguments: Dict[str, Any] = {
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
            "scale_grad_by_freq": self.scale_grad_by_freq,
            "padding_idx": self.padding_idx, **self.others}
        if self.max_norm is not None:
            arguments["max_norm"] = float(self.max_norm)
            arguments["norm_type"] = float(self.norm_type)
        if self.optimizer is not None:
            arguments["optimizer"] = self.optimizer
        return arguments

    def difference(self, spec: Any) -> Optional[str]:
        """In which way a table of `spec` is another than meant."""
        for name, wanted in self.arguments().items():
            found = getattr(spec, name, None)
            if dataclasses.is_dataclass(wanted):
                said = _difference_of_parts(name, wanted, found)
            elif wanted is None and name != "padding_idx":
                continue
            else:
                said = None if _same(wanted, found) else \
                    f"{name} is {found}, not {wanted}"
            if said is not None:
                return said
        if self.max_norm is None and spec.max_norm is not None:
            return f"max_norm is {spec.max_norm}, not None"
        return None


class RemoteTable:
    """Name, incarnation and description of a table, and how to reach it.

    Copies share the table. In another process it is found again by its
    server's address and its name.
    """

    def __init__(self, server: str, client: Any, description: Any) -> None:
        self.server = server
        self._client = client
        self.become(description)

    def become(self, description: Any) -> None:
        """The table is what it is described as: it was rewound, or made
        anew."""
        self.name: str = description.spec.name
        self.uid: bytes = description.uid
        # The same of all incarnations of a table that rewinds have made.
        self.origin: bytes = description.origin_uid or description.uid
        self.spec = description.spec

    @staticmethod
    def open(settings: TableSettings, server: Optional[str], client: Any,
             name: Optional[str],
             weight: Optional[torch.Tensor] = None) -> "RemoteTable":
        """Makes the table, or attaches to the one that has its name.

        weight  [rows, dim]: the rows of a table that must not exist yet
        """
        if server is not None and client is not None:
            raise ValueError("both server and client are given: the client "
                             "is connected to a server already")
        address = _wire.address(server, client)
        if client is None:
            client = _wire.connect(address)
        _wire.check_process(client)
        if name is None:
            name = f"embedding-{uuid.uuid4().hex[:12]}"
        if weight is not None:
            described = _wire.import_table(client, name, settings.arguments(),
                                           pieces(weight))
        else:
            described = _wire.create_or_describe(client, name,
                                                 settings.arguments())
            difference = settings.difference(described.spec)
            if difference is not None:
                raise ValueError(
                    f"table '{name}' on {address} is another: {difference}. "
                    "Use the table's own settings, another name, or drop it")
        return RemoteTable(address, client, described)

    @property
    def client(self) -> Any:
        """The client of this process."""
        if self._client is None:
            self._client = _wire.connect(self.server)
        _wire.check_process(self._client)
        return self._client

    def read(self, ids: np.ndarray) -> np.ndarray:
        """float32 [n, dim]: stored rows."""
        parts = [_wire.read_rows(self.client, self.name, part)
                 for part in np.array_split(ids, self._piece_count(len(ids)))]
        return np.concatenate(parts)

    def write(self, ids: np.ndarray, values: np.ndarray) -> None:
        """Sets stored rows, piece by piece.

        values  float32 [n, dim]
        """
        if values.shape != (len(ids), self.spec.embedding_dim):
            raise ValueError(
                f"table '{self.name}': values of shape {values.shape} for "
                f"{len(ids)} ids of dim {self.spec.embedding_dim}")
        count = self._piece_count(len(ids))
        for part, rows in zip(np.array_split(ids, count),
                              np.array_split(values, count)):
            _wire.write_rows(self.client, self.name, part, rows)

    def refresh(self) -> Any:
        """Asks the server what the table is by now: a quire.Table. Raises
        quire.NotFound."""
        described = _wire.table(self.client, self.name)
        self.become(described)
        return described

    def replace(self, chunks: Iterable[Any], step: int,
                progress: Any = None) -> None:
        """Drops the table, and makes it of these rows, with their optimizer
        state and step, and with the settings that it has."""
        self.refresh()
        self.become(_wire.replace_table(self.client, self.spec, chunks, step,
                                        progress))

    def token(self) -> Dict[str, Any]:
        """What a checkpoint keeps of it, as it is now: plain values."""
        described, position = _wire.moment(self.client, self.name)
        return {**self.identity(described), "step": described.step,
                "position": None if position is None else
                {"epoch": position.epoch, "lsn": position.lsn}}

    def identity(self, described: Any) -> Dict[str, Any]:
        """Which table it is, and of which server: plain values."""
        return {"server": self.server, "table": self.name,
                "uid": described.uid.hex(),
                "origin": (described.origin_uid or described.uid).hex(),
                "spec": _plain(described.spec)}

    def _piece_count(self, row_count: int) -> int:
        row_bytes = 4 * self.spec.embedding_dim
        return max(1, math.ceil(row_count * row_bytes / _PIECE_BYTES))

    def __deepcopy__(self, memo: Any) -> "RemoteTable":
        return self

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, "_client": None}


def pieces(weight: torch.Tensor) -> Iterator[np.ndarray]:
    """float32 [n, dim] each: the rows of a table, a piece at a time."""
    rows = max(1, _PIECE_BYTES // (4 * max(1, weight.shape[1])))
    for first in range(0, len(weight), rows):
        yield weight[first:first + rows].detach().to(
            "cpu", torch.float32).contiguous().numpy()


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, float) and isinstance(found, (int, float)):
        return wanted == found or (math.isnan(wanted) and math.isnan(found))
    return bool(wanted == found)


def _difference_of_parts(name: str, wanted: Any, found: Any) -> Optional[str]:
    """Field by field; what is None is not said, and agrees."""
    if type(wanted) is not type(found):
        return (f"{name} is {type(found).__name__}, not "
                f"{type(wanted).__name__}")
    for field in dataclasses.fields(wanted):
        value = getattr(wanted, field.name)
        actual = getattr(found, field.name)
        if value is not None and not _same(value, actual):
            return f"{name}.{field.name} is {actual}, not {value}"
    return None


def _plain(value: Any) -> Any:
    """A description as dicts of numbers and texts, which torch.load reads
    with weights_only; a part that is one of several kinds says which."""
    if not dataclasses.is_dataclass(value):
        return value
    parts = {field.name: _plain(getattr(value, field.name))
             for field in dataclasses.fields(value)}
    return {"kind": type(value).__name__, **parts}
