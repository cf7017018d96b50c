"""Lookups and gradients, of one table or many, as C takes them.

Each class says what is wanted of one table; its _bind makes the struct that C
reads. What the struct points to belongs to the object, which lives as long as
the call.
"""

from __future__ import annotations

import ctypes
import dataclasses
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from . import _arrays, _library
from ._json import one_of
from .errors import _invalid

MODES = {"sum": 1, "mean": 2, "max": 3, "sqrtn": 4}
WIRES = {"float32": 1, "float16": 2, "bfloat16": 3}


class _Bags:
    """How ids fall into bags, checked: torch.nn.functional.embedding_bag."""

    def __init__(self, input: Any, offsets: Any, mode: str,
                 per_sample_weights: Any, include_last_offset: bool) -> None:
        self.ids = _arrays.as_ids(input, "input")
        self.shape = self.ids.shape
        self.pooling = one_of(MODES, mode, "mode")
        self.offsets = self._offsets(offsets, include_last_offset)
        self.count = len(self.offsets) - 1
        self.weights = None
        if per_sample_weights is not None:
            self.weights = _arrays.as_floats(per_sample_weights,
                                             "per_sample_weights")
            _arrays.check_shape(self.weights, self.shape,
                                "per_sample_weights", "the input")

    def _offsets(self, given: Any, include_last: bool) -> np.ndarray:
        """[bags + 1], the last of them the number of ids."""
        ids = self.ids
        if ids.ndim == 2:
            if given is not None:
                raise _invalid("offsets go with an input of one dim; of two, "
                               "each row is a bag", "offsets", "BAD_SHAPE")
            return np.arange(0, ids.size + 1, ids.shape[1], np.int64) \
                if ids.shape[1] else np.zeros(len(ids) + 1, np.int64)
        if ids.ndim != 1:
            raise _invalid(f"input has shape {ids.shape}; bags have one dim "
                           "with offsets, or two", "input", "BAD_SHAPE")
        if given is None:
            raise _invalid("an input of one dim needs offsets: where each bag "
                           "starts", "offsets", "BAD_SHAPE")
        offsets = _arrays.as_ids(given, "offsets")
        if offsets.ndim != 1:
            raise _invalid(f"offsets has shape {offsets.shape}; it has one "
                           "dim", "offsets", "BAD_SHAPE")
        if not include_last:
            return np.append(offsets, len(ids))
        if len(offsets) == 0 or offsets[-1] != len(ids):
            raise _invalid(
                f"with include_last_offset the last of offsets is the number "
                f"of ids, {len(ids)}", "offsets")
        return offsets

    def struct(self, winners: Optional[np.ndarray]) -> _library.Bags:
        return _library.Bags(self.pooling, self.count,
                             _arrays.address(self.offsets),
                             _arrays.address(self.weights),
                             _arrays.address(winners))


@dataclasses.dataclass(eq=False)
class Lookup:
    """Rows wanted from one table.

    ids     integers of any shape: an int, a list, an ndarray, a torch tensor
    out     where the rows go: float32 [*ids.shape, dim]; None: a new array
    wire    in which type they travel: "float16" or "bfloat16", half the bytes,
            rounded to the nearest, ties to even; None: "float32"
    unique  of equal ids only the first travels
    """

    table: str
    ids: Any
    out: Optional[np.ndarray] = None
    wire: Optional[str] = None
    unique: bool = False

    def _bind(self, uid: bytes, dim: int) -> _library.LookupItem:
        self._ids = _arrays.as_ids(self.ids)
        self._rows = _arrays.rows_out(self.out, self._ids.shape + (dim,))
        return _library.LookupItem(
            _arrays.name_bytes(self.table), uid, _arrays.address(self._ids),
            self._ids.size, _arrays.address(self._rows), self._rows.size, None,
            None)

    def _result(self) -> np.ndarray:
        return self._rows


@dataclasses.dataclass(eq=False)
class BagLookup:
    """Bags wanted from one table, pooled by the server:
    torch.nn.functional.embedding_bag. The table's padding_idx is passed over.

    input    integers, [n] with offsets, or [bags, n]: one bag per row
    offsets  [bags]: where each bag starts, ascending from 0; with
             include_last_offset [bags + 1], the last of them n
    mode     "sum", "mean", "max" or "sqrtn" (the sum over the root of the
             number of ids)
    per_sample_weights  "sum" only: as input
    return_winners      "max" only: also return which position of its bag won
                        each element, as the push of its gradient wants them
    out      where the bags go: float32 [bags, dim]; None: a new array
    wire     as in Lookup
    """

    table: str
    input: Any
    offsets: Any = None
    mode: str = "mean"
    per_sample_weights: Any = None
    include_last_offset: bool = False
    return_winners: bool = False
    out: Optional[np.ndarray] = None
    wire: Optional[str] = None

    def _bind(self, uid: bytes, dim: int) -> _library.LookupItem:
        self._bags = bags = _Bags(self.input, self.offsets, self.mode,
                                  self.per_sample_weights,
                                  self.include_last_offset)
        self._rows = _arrays.rows_out(self.out, (bags.count, dim))
        self._winners = np.empty((bags.count, dim), np.int32) \
            if self.return_winners else None
        self._struct = bags.struct(None)
        return _library.LookupItem(
            _arrays.name_bytes(self.table), uid, _arrays.address(bags.ids),
            bags.ids.size, _arrays.address(self._rows), self._rows.size,
            ctypes.pointer(self._struct), _arrays.address(self._winners))

    def _result(self) -> Any:
        return self._rows if self._winners is None else (self._rows,
                                                         self._winners)


def _double(value: Optional[float], field: str) -> Any:
    if value is None:
        return None
    try:
        return ctypes.pointer(ctypes.c_double(value))
    except TypeError as error:
        raise _invalid(f"{field} is {value!r}; it is a number",
                       field) from error


@dataclasses.dataclass(eq=False)
class Gradient:
    """Gradients for rows of one table. Those of equal ids are summed in order.

    ids             integers of any shape
    gradient        numbers, [*ids.shape, dim]
    learning_rate   for this push in place of the table's: finite, 0 or more
    gradient_scale  multiplies the gradient, before everything: finite
    uid             16 bytes: of the incarnation that is meant, as Table.uid;
                    FailedPrecondition (TABLE_REPLACED) if it is another by now
    wire            in which type the gradient travels, as in Lookup. What is
                    finite and would become infinite is refused, and not sent:
                    InvalidArgument (NON_FINITE). "float16" ends at 65504.
    unique          gradients of equal ids are summed before they travel; the
                    rows become the same, but for the last bit if several
                    gradients of a push name the table. InvalidArgument
                    (BAD_VALUE) if it has scale_grad_by_freq or skips rows
    """

    table: str
    ids: Any
    gradient: Any
    learning_rate: Optional[float] = None
    gradient_scale: Optional[float] = None
    uid: Optional[bytes] = None
    wire: Optional[str] = None
    unique: bool = False

    def _bind(self) -> _library.GradientItem:
        self._ids = _arrays.as_ids(self.ids)
        self._floats = _check_gradient(self.gradient, self._ids.shape, "ids")
        return _library.GradientItem(
            _arrays.name_bytes(self.table), _uid(self.uid),
            _arrays.address(self._ids), self._ids.size,
            _arrays.address(self._floats), self._floats.size,
            _double(self.learning_rate, "learning_rate"),
            _double(self.gradient_scale, "gradient_scale"), None, None)

    def _weight_gradients(self) -> Optional[np.ndarray]:
        return None


@dataclasses.dataclass(eq=False)
class BagGradient:
    """Gradients for bags of one table.

    input, offsets, mode, per_sample_weights, include_last_offset
              those of the lookup that this is the gradient of
    gradient  numbers, [bags, dim]
    winners   of mode "max": as the lookup returned them
    return_weight_gradients
              of per_sample_weights: return their gradient too, from rows as
              they are before the push
    learning_rate, gradient_scale, uid, wire: see Gradient
    """

    table: str
    input: Any
    gradient: Any
    offsets: Any = None
    mode: str = "mean"
    per_sample_weights: Any = None
    include_last_offset: bool = False
    winners: Optional[np.ndarray] = None
    return_weight_gradients: bool = False
    learning_rate: Optional[float] = None
    gradient_scale: Optional[float] = None
    uid: Optional[bytes] = None
    wire: Optional[str] = None

    def _bind(self) -> _library.GradientItem:
        self._bags = bags = _Bags(self.input, self.offsets, self.mode,
                                  self.per_sample_weights,
                                  self.include_last_offset)
        self._floats = _check_gradient(self.gradient, (bags.count,), "bags")
        self._winners = self._check_winners()
        self._struct = bags.struct(self._winners)
        self._of_weights = None
        if self.return_weight_gradients:
            if bags.weights is None:
                raise _invalid("there is no gradient of weights without "
                               "per_sample_weights", "return_weight_gradients")
            self._of_weights = np.empty(bags.shape, np.float32)
        return _library.GradientItem(
            _arrays.name_bytes(self.table), _uid(self.uid),
            _arrays.address(bags.ids), bags.ids.size,
            _arrays.address(self._floats), self._floats.size,
            _double(self.learning_rate, "learning_rate"),
            _double(self.gradient_scale, "gradient_scale"),
            ctypes.pointer(self._struct), _arrays.address(self._of_weights))

    def _check_winners(self) -> Optional[np.ndarray]:
        if self.mode != "max":
            if self.winners is not None:
                raise _invalid("winners go with mode 'max'", "winners")
            return None
        if self.winners is None:
            raise _invalid("the gradient of mode 'max' needs the winners that "
                           "its lookup returned (return_winners=True)",
                           "winners")
        winners = _arrays.as_ids(self.winners, "winners")
        _arrays.check_shape(winners, self._floats.shape, "winners",
                            "the gradient")
        return winners.astype(np.int32)

    def _weight_gradients(self) -> Optional[np.ndarray]:
        return self._of_weights


def _check_gradient(given: Any, shape: Tuple[int, ...],
                    of_what: str) -> np.ndarray:
    gradient = _arrays.as_floats(given, "gradient")
    if gradient.shape[:-1] != shape or gradient.ndim != len(shape) + 1:
        needed = ", ".join([*map(str, shape), "dim"])
        raise _invalid(f"gradient has shape {gradient.shape}; for these "
                       f"{of_what} it is ({needed})", "gradient", "BAD_SHAPE")
    return gradient


def _uid(given: Optional[bytes]) -> Optional[bytes]:
    if given is None:
        return None
    if not isinstance(given, bytes) or len(given) != 16:
        raise _invalid(f"uid is {given!r}; it is 16 bytes", "uid")
    return given


def structs(items: List[Any], kind: type) -> Any:
    return (kind * len(items))(*items)


def wire_types(items: Sequence[Any]) -> Any:
    """Of lookups or gradients; None if all are float32."""
    return _numbers([1 if one.wire is None else one_of(WIRES, one.wire, "wire")
                     for one in items], 1)


def unique_ids(items: Sequence[Any]) -> Any:
    """Of lookups or gradients; None if none has them."""
    return _numbers([int(getattr(one, "unique", False)) for one in items], 0)


def _numbers(numbers: List[int], usual: int) -> Any:
    return (ctypes.c_int32 * len(numbers))(*numbers) \
        if set(numbers) - {usual} else None
