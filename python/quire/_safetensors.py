"""Files of one table: its rows, optimizer state and labels as safetensors, as
`quire export --state` writes them and `quire import --state` reads them
(docs/FILES.md).

    uint64  bytes of the header, little-endian
    header  JSON: {name: {dtype, shape, data_offsets}, "__metadata__": {...}}
    data    labels.ends   int64 [rows]          with labels
            weight        float32 [rows, dim]
            optimizer.X   float32 [rows, floats], for each part of the state
            labels.bytes  uint8 [bytes]         with labels
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from ._json import from_json, to_json
from .messages import Chunk, TableSpec

# Rows read at a time are about so many bytes.
_PIECE_BYTES = 4 << 20
_HEADER_BYTES_MAX = 8 << 20
# Room for the number of bytes of labels, which is known in the end.
_BYTES_UNKNOWN = 1 << 62

Parts = List[Tuple[str, int]]


def write_table(path: str, exported: Any, parts: Parts) -> None:
    """Writes all rows of an Export, and syncs the file to the disk.

    parts  of the optimizer's state: name and floats of each
    """
    table = exported.table
    layout = _Layout(table, parts)
    with open(path, "xb") as file:
        label_bytes = 0
        for chunk in exported:
            layout.write_rows(file, chunk)
            label_bytes += layout.write_labels(file, chunk, label_bytes)
        layout.write_header(file, label_bytes)
        file.flush()
        os.fsync(file.fileno())


class _Layout:
    """Where everything of a table goes in its file."""

    def __init__(self, table: Any, parts: Parts) -> None:
        rows = table.spec.num_embeddings
        self._metadata = {"format": "pt", "quire.step": str(table.step),
                          "quire.spec": json.dumps(to_json(table.spec))}
        self._labelled = table.stats.label_count > 0
        self._columns = [("weight", table.spec.embedding_dim)] + [
            (f"optimizer.{name}", floats) for name, floats in parts]
        self._rows = rows
        self._header_bytes = len(self._header(_BYTES_UNKNOWN))
        self._places: List[int] = []
        place = 8 + self._header_bytes + (8 * rows if self._labelled else 0)
        for _, floats in self._columns:
            self._places.append(place)
            place += 4 * rows * floats
        self._label_place = place

    def write_rows(self, file: Any, chunk: Chunk) -> None:
        state = chunk.values[:, :0] if chunk.state is None else chunk.state
        both = [chunk.values]
        begin = 0
        for _, floats in self._columns[1:]:
            both.append(state[:, begin:begin + floats])
            begin += floats
        for place, (_, floats), part in zip(self._places, self._columns, both):
            file.seek(place + 4 * floats * chunk.first_id)
            file.write(np.ascontiguousarray(part, "<f4").data)

    def write_labels(self, file: Any, chunk: Chunk, before: int) -> int:
        """Returns how many bytes they are."""
        if not self._labelled:
            return 0
        labels = [label.encode("utf-8", "surrogateescape")
                  for label in chunk.labels or [""] * len(chunk.values)]
        ends = before + np.cumsum([len(label) for label in labels])
        file.seek(8 + self._header_bytes + 8 * chunk.first_id)
        file.write(ends.astype("<i8").tobytes())
        file.seek(self._label_place + before)
        return file.write(b"".join(labels))

    def write_header(self, file: Any, label_bytes: int) -> None:
        file.seek(0)
        file.write(struct.pack("<Q", self._header_bytes))
        file.write(self._header(label_bytes).ljust(self._header_bytes))

    def _header(self, label_bytes: int) -> bytes:
        header: Dict[str, Any] = {"__metadata__": self._metadata}
        offset = 0
        tensors: List[Tuple[str, str, List[int], int]] = [
            (name, "F32", [self._rows, floats], 4 * self._rows * floats)
            for name, floats in self._columns]
        if self._labelled:
            tensors.insert(0, ("labels.ends", "I64", [self._rows],
                               8 * self._rows))
            tensors.append(("labels.bytes", "U8", [label_bytes], label_bytes))
        for name, dtype, shape, size in tensors:
            header[name] = {"dtype": dtype, "shape": shape,
                            "data_offsets": [offset, offset + size]}
            offset += size
        text = json.dumps(header).encode()
        return text + b" " * (-len(text) % 8)


class TableFile:
    """A table's file that is read. ValueError, naming the file, if it is not
    one of write_table's or is not whole."""

    #: Of the optimizer's state: name and floats of each part.
    parts: Parts
    #: Pushes that rows and state have seen.
    step: int
    #: The table, as it was.
    spec: TableSpec

    def __init__(self, path: str) -> None:
        self._path = path
        self._size = os.path.getsize(path)
        header, self._data = self._read_header()
        try:
            metadata = header.pop("__metadata__")
            self.step = int(metadata["quire.step"])
            self.spec = from_json(TableSpec, json.loads(
                metadata["quire.spec"]))
            self._values = self._array(header.pop("weight"), "F32")
            ends, text = (header.pop("labels.ends", None),
                          header.pop("labels.bytes", None))
            self._ends = None if ends is None else self._array(ends, "I64")
            self._text = None if ends is None else self._array(text, "U8")
            self._state = {name: self._array(entry, "F32")
                           for name, entry in header.items()}
            self.parts = [(name.split(".", 1)[1], array.shape[1])
                          for name, array in self._state.items()]
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise self._damaged(f"its header lacks {error}") from error
        self._check()

    @property
    def row_count(self) -> int:
        return len(self._values)

    @property
    def dim(self) -> int:
        return int(self._values.shape[1])

    def chunks(self) -> Iterator[Chunk]:
        """All rows, in order of ids."""
        width = self.dim + sum(floats for _, floats in self.parts)
        count = max(1, _PIECE_BYTES // (4 * width))
        for first in range(0, self.row_count, count):
            rows = slice(first, min(first + count, self.row_count))
            state = np.concatenate(
                [part[rows] for part in self._state.values()], axis=1) \
                if self._state else None
            yield Chunk(first, np.array(self._values[rows]),
                        self._labels(rows), state)

    def _labels(self, rows: slice) -> Optional[List[str]]:
        if self._ends is None or self._text is None:
            return None
        ends = self._ends[rows]
        begin = int(self._ends[rows.start - 1]) if rows.start else 0
        text = self._text[begin:int(ends[-1])].tobytes()
        bounds = [0] + (ends - begin).tolist()
        return [text[a:b].decode("utf-8", "surrogateescape")
                for a, b in zip(bounds, bounds[1:])]

    def _check(self) -> None:
        arrays = [self._values, *self._state.values()]
        if any(array.ndim != 2 or len(array) != len(self._values)
               for array in arrays):
            raise self._damaged("its tensors are not of the same rows")
        if self._ends is None:
            return
        bounds = np.concatenate([[0], self._ends])
        if self._ends.shape != (len(self._values),) \
                or (np.diff(bounds) < 0).any() \
                or bounds[-1] > self._text.size:
            raise self._damaged("its labels do not end where they should")

    def _read_header(self) -> Tuple[Dict[str, Any], int]:
        with open(self._path, "rb") as file:
            length = file.read(8)
            size = struct.unpack("<Q", length)[0] if len(length) == 8 else 0
            if not 0 < size <= min(_HEADER_BYTES_MAX, self._size - 8):
                raise self._damaged("it has no header of safetensors")
            try:
                header = json.loads(file.read(size))
            except ValueError as error:
                raise self._damaged(f"its header is no JSON: {error}"
                                    ) from error
        if not isinstance(header, dict):
            raise self._damaged("its header is no object of JSON")
        return header, 8 + size

    def _array(self, entry: Any, dtype: str) -> np.ndarray:
        """Where it lies in the file: nothing is read yet."""
        kind = np.dtype({"F32": "<f4", "I64": "<i8", "U8": "u1"}[dtype])
        begin, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        size = int(np.prod(shape, dtype=object)) * kind.itemsize
        if entry["dtype"] != dtype or end - begin != size or begin < 0 \
                or self._data + end > self._size:
            raise self._damaged(f"a tensor of {entry} does not fit")
        if size == 0:
            return np.empty(shape, kind)
        return np.memmap(self._path, kind, "r", self._data + begin, shape)

    def _damaged(self, why: str) -> ValueError:
        return ValueError(f"'{self._path}' is no file of a table, or it is "
                          f"damaged: {why}")
