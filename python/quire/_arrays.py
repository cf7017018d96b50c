"""What callers bring, as arrays that C can read."""

from __future__ import annotations

import ctypes
import math
from typing import Any, List, Optional, Sequence, Tuple, Union

import numpy as np

from . import _library
from .errors import _invalid, _wrong_type

# Longer waits have no bound.
_MS_MAX = 1 << 40


def milliseconds(timeout: Optional[float], field: str = "timeout") -> int:
    """Seconds as C has them; None: the default."""
    if timeout is None:
        return -1
    if not isinstance(timeout, (int, float)) or isinstance(timeout, bool):
        raise _wrong_type(f"{field} is {timeout!r}; it is seconds", field)
    if not timeout >= 0:
        raise _invalid(f"{field} is {timeout} s; it must be 0 or more", field)
    return _MS_MAX if timeout > _MS_MAX / 1000 else math.ceil(timeout * 1000)


def position(given: Any, field: str) -> _library.Position:
    """A messages.Position as C has it."""
    parts = [getattr(given, name, None) for name in ("epoch", "lsn")]
    if any(not isinstance(part, (int, np.integer)) or isinstance(part, bool)
           for part in parts):
        raise _wrong_type(f"{field} is {given!r}; it is a quire.Position",
                          field)
    if not all(0 <= part < 1 << 64 for part in parts):
        raise _invalid(f"{field} is {given!r}; its numbers are in [0, 2^64)",
                       field)
    return _library.Position(*map(int, parts))


def name_bytes(name: str, field: str = "table") -> bytes:
    if not isinstance(name, str):
        raise _wrong_type(f"{field} is {name!r}; it is a str", field)
    encoded = name.encode("utf-8", "surrogatepass")
    if b"\0" in encoded:
        raise _invalid(f"{field} is {name!r}, which has a zero byte", field,
                       "BAD_NAME")
    return encoded


def _as_array(given: Any, field: str) -> np.ndarray:
    """An array of what is given. A tensor of torch is known by what it can do:
    nothing here imports torch."""
    if hasattr(given, "detach") and hasattr(given, "cpu"):
        given = given.detach().cpu()
        if str(given.dtype) == "torch.bfloat16":
            given = given.float()  # numpy has no such type
        return given.numpy()
    try:
        return np.asarray(given)
    except (TypeError, ValueError) as error:
        raise _wrong_type(f"{field} is no array: {error}", field) from error


def as_ids(given: Any, field: str = "ids") -> np.ndarray:
    """int64, C order, the shape as given. No copy of what is so already."""
    array = _as_array(given, field)
    if array.size == 0 and not hasattr(given, "dtype"):
        array = array.astype(np.int64)  # [] is of no type yet
    if array.dtype.kind == "b":
        raise _wrong_type(
            f"{field} are bool; ids are integers. A mask becomes ids by "
            "numpy.flatnonzero", field)
    if array.dtype.kind not in "iu":
        raise _wrong_type(
            f"{field} are {array.dtype}; ids are integers. If they are whole "
            "numbers, convert them: .astype(numpy.int64)", field)
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and array.size \
            and int(array.max()) > np.iinfo(np.int64).max:
        raise _invalid(f"{field} has {array.max()}; ids are below 2^63", field)
    return np.asarray(array, dtype=np.int64, order="C")


def as_floats(given: Any, field: str) -> np.ndarray:
    """float32, C order, the shape as given. No copy of what is so already."""
    array = _as_array(given, field)
    if array.size == 0 and not hasattr(given, "dtype"):
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiu":
        raise _wrong_type(f"{field} is {array.dtype}; it must be numbers",
                          field)
    return np.asarray(array, dtype=np.float32, order="C")


def check_shape(array: np.ndarray, shape: Tuple[int, ...], field: str,
                of_what: str) -> None:
    if array.shape != shape:
        raise _invalid(f"{field} has shape {array.shape}; {of_what} needs "
                       f"{shape}", field, "BAD_SHAPE")


def address(array: Optional[np.ndarray]) -> Optional[int]:
    return None if array is None else array.ctypes.data


def rows_out(out: Optional[np.ndarray], shape: Tuple[int, ...],
             field: str = "out") -> np.ndarray:
    """Where rows go: what the caller brought, or a new array."""
    if out is None:
        return np.empty(shape, np.float32)
    if not isinstance(out, np.ndarray) or out.dtype != np.float32 \
            or not out.dtype.isnative:
        raise _wrong_type(f"{field} must be a float32 ndarray", field)
    check_shape(out, shape, field, "the lookup")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise _invalid(f"{field} must be contiguous in C order, and writeable",
                       field)
    return out


class LabelText:
    """Labels as C reads them. What is not UTF-8 goes through a str and back
    unharmed (surrogateescape)."""

    def __init__(self, labels: Sequence[Union[str, bytes]],
                 field: str = "labels") -> None:
        if isinstance(labels, (str, bytes)):
            raise _wrong_type(f"{field} is one {type(labels).__name__}; it is "
                              "a sequence of them", field)
        parts: List[bytes] = []
        for label in labels:
            if isinstance(label, str):
                parts.append(label.encode("utf-8", "surrogateescape"))
            elif isinstance(label, bytes):
                parts.append(label)
            else:
                raise _wrong_type(f"{field} has {label!r}; labels are str or "
                                  "bytes", field)
        self._text = b"".join(parts)
        self._offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=self._offsets[1:])
        self.count = len(parts)
        self.view = _library.Labels(
            ctypes.cast(ctypes.c_char_p(self._text), ctypes.c_void_p),
            self._offsets.ctypes.data, self.count)


def read_labels(labels: Any) -> Optional[List[str]]:
    """A copy of labels that C has."""
    if not labels:
        return None
    view = labels.contents
    offsets = (ctypes.c_int64 * (view.count + 1)).from_address(view.offsets)
    text = ctypes.string_at(view.text, offsets[view.count])
    return [text[begin:end].decode("utf-8", "surrogateescape")
            for begin, end in zip(offsets, offsets[1:])]
