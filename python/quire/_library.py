"""libquire.so: client/client_c.h in ctypes.

It is found beside this file (a wheel has it there), else where QUIRE_LIBRARY
says, else where the system's loader finds it. Every call lets other threads of
Python run while it waits.
"""

from __future__ import annotations

import ctypes
import os
import pathlib
from ctypes import (POINTER, Structure, c_char_p, c_double, c_int,
                    c_int32, c_int64, c_size_t, c_uint8, c_uint64, c_void_p)
from typing import Optional

from . import errors


class Bags(Structure):
    _fields_ = [("pooling", c_int32), ("bag_count", c_int64),
                ("offsets", c_void_p), ("weights", c_void_p),
                ("winners", c_void_p)]


class LookupItem(Structure):
    _fields_ = [("table", c_char_p), ("uid", c_char_p), ("ids", c_void_p),
                ("id_count", c_int64), ("out", c_void_p),
                ("out_count", c_int64), ("bags", POINTER(Bags)),
                ("winners", c_void_p)]


class GradientItem(Structure):
    _fields_ = [("table", c_char_p), ("uid", c_char_p), ("ids", c_void_p),
                ("id_count", c_int64), ("gradient", c_void_p),
                ("gradient_count", c_int64),
                ("learning_rate", POINTER(c_double)),
                ("gradient_scale", POINTER(c_double)),
                ("bags", POINTER(Bags)), ("weight_gradients", c_void_p)]


class Position(Structure):
    _fields_ = [("epoch", c_uint64), ("lsn", c_uint64)]


class LookupOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("wire_types", POINTER(c_int32)),
                ("unique_ids", POINTER(c_int32)),
                ("min_position", POINTER(Position))]


class PushOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("wire_types", POINTER(c_int32)),
                ("unique_ids", POINTER(c_int32)), ("min_durability", c_int32)]


class Pushed(Structure):
    _fields_ = [("position", Position), ("reached", c_int32),
                ("duplicate", c_int32), ("exactly_once", c_int32)]


class PushedTable(Structure):
    _fields_ = [("uid", c_uint8 * 16), ("rows_changed", c_int64),
                ("padding_dropped", c_int64), ("rows_skipped", c_int64),
                ("step", c_int64)]


class TableInfo(Structure):
    _fields_ = [("uid", c_uint8 * 16), ("num_embeddings", c_int64),
                ("embedding_dim", c_int64), ("padding_idx", c_int64),
                ("step", c_int64)]


class Labels(Structure):
    _fields_ = [("text", c_void_p), ("offsets", c_void_p), ("count", c_int64)]


class NearestQuery(Structure):
    _fields_ = [("table", c_char_p), ("k", c_int32), ("metric", c_int32),
                ("return_labels", c_int32), ("ids", c_void_p),
                ("id_count", c_int64), ("vectors", c_void_p),
                ("vector_count", c_int64), ("dim", c_int64),
                ("exclude_ids", c_void_p), ("exclude_count", c_int64)]


_text = POINTER(c_char_p)
_handle = POINTER(c_void_p)
_labels = POINTER(Labels)

# Functions that can fail: their arguments; they return an error, or None.
_CALLS = {
    "connect": [c_char_p, c_int64, _handle],
    "lookup": [c_void_p, POINTER(LookupItem), c_int64, c_int64],
    "lookup_async": [c_void_p, POINTER(LookupItem), c_int64, c_int64, _handle],
    "lookup_with": [c_void_p, POINTER(LookupItem), c_int64,
                    POINTER(LookupOptions), c_int64, POINTER(Position)],
    "lookup_with_async": [c_void_p, POINTER(LookupItem), c_int64,
                          POINTER(LookupOptions), c_int64, _handle],
    "apply_gradient": [c_void_p, POINTER(GradientItem), c_int64, c_int32,
                       c_int64, POINTER(Pushed), POINTER(PushedTable)],
    "apply_gradient_async": [c_void_p, POINTER(GradientItem), c_int64, c_int32,
                             c_int64, _handle],
    "apply_gradient_with": [c_void_p, POINTER(GradientItem), c_int64,
                            POINTER(PushOptions), c_int64, POINTER(Pushed),
                            POINTER(PushedTable)],
    "apply_gradient_with_async": [c_void_p, POINTER(GradientItem), c_int64,
                                  POINTER(PushOptions), c_int64, _handle],
    "future_error": [c_void_p],
    "future_pushed": [c_void_p, POINTER(Pushed), POINTER(PushedTable)],
    "create_table": [c_void_p, c_char_p, c_int64, _text],
    "get_table": [c_void_p, c_char_p, c_int64, POINTER(TableInfo), _text],
    "list_tables": [c_void_p, c_int64, _text],
    "alter_table": [c_void_p, c_char_p, c_int64, _text],
    "drop_table": [c_void_p, c_char_p, c_int64],
    "rewind_table": [c_void_p, c_char_p, c_uint64, c_int64, _text],
    "read_rows": [c_void_p, c_char_p, c_void_p, c_int64, c_int32, c_int64,
                  _handle],
    "write_rows": [c_void_p, c_char_p, c_void_p, c_int64, c_void_p, c_int64,
                   c_void_p, c_int64, c_int64],
    "get_row": [c_void_p, c_char_p, c_int64, c_int64, _text],
    "set_labels": [c_void_p, c_char_p, c_void_p, c_int64, _labels, c_int64],
    "get_labels": [c_void_p, c_char_p, c_void_p, c_int64, c_int64,
                   POINTER(_labels)],
    "find_labels": [c_void_p, c_char_p, _labels, c_int64, c_void_p],
    "nearest": [c_void_p, POINTER(NearestQuery), c_int64, _handle],
    "import_begin": [c_void_p, c_char_p, c_int64, c_int64, _handle],
    "import_write": [c_void_p, c_void_p, c_int64, _labels, c_void_p, c_int64],
    "import_finish": [c_void_p, _text],
    "export_begin": [c_void_p, c_char_p, c_int64, _handle],
    "export_table": [c_void_p, _text],
    "export_read": [c_void_p, _handle],
    "server_info": [c_void_p, _text],
    "get_stats": [c_void_p, c_int64, _text],
    "health": [c_void_p, c_int64],
    "create_snapshot": [c_void_p, c_int64, POINTER(Position)],
    "back_up": [c_void_p, c_char_p, c_int64, _text],
    "verify_table": [c_void_p, c_char_p, c_int64, _text],
    "advance_clock": [c_void_p, c_char_p, c_int64, _text],
}

# All others: what they return, and their arguments.
_OTHERS = {
    "version": (c_char_p, []),
    "text_free": (None, [c_char_p]),
    "error_code_name": (c_char_p, [c_void_p]),
    "error_reason": (c_char_p, [c_void_p]),
    "error_field": (c_char_p, [c_void_p]),
    "error_message": (c_char_p, [c_void_p]),
    "error_retry_after_ms": (c_int64, [c_void_p]),
    "error_free": (None, [c_void_p]),
    "client_free": (None, [c_void_p]),
    "future_is_ready": (c_int, [c_void_p]),
    "future_wait": (c_int, [c_void_p, c_int64]),
    "future_position": (Position, [c_void_p]),
    "future_free": (None, [c_void_p]),
    "labels_free": (None, [_labels]),
    "rows_count": (c_int64, [c_void_p]),
    "rows_dim": (c_int64, [c_void_p]),
    "rows_first_id": (c_int64, [c_void_p]),
    "rows_values": (c_void_p, [c_void_p]),
    "rows_state_dim": (c_int64, [c_void_p]),
    "rows_state": (c_void_p, [c_void_p]),
    "rows_labels": (_labels, [c_void_p]),
    "rows_free": (None, [c_void_p]),
    "neighbours_query_count": (c_int64, [c_void_p]),
    "neighbours_offsets": (c_void_p, [c_void_p]),
    "neighbours_ids": (c_void_p, [c_void_p]),
    "neighbours_scores": (c_void_p, [c_void_p]),
    "neighbours_labels": (_labels, [c_void_p]),
    "neighbours_free": (None, [c_void_p]),
    "import_free": (None, [c_void_p]),
    "export_position": (Position, [c_void_p]),
    "export_free": (None, [c_void_p]),
}


def _open() -> ctypes.CDLL:
    beside = pathlib.Path(__file__).with_name("libquire.so")
    path = str(beside) if beside.exists() \
        else os.environ.get("QUIRE_LIBRARY", "libquire.so.0")
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise ImportError(
            f"quire cannot load its library: {error}. Is Debian's "
            "libgrpc++1.51 installed? QUIRE_LIBRARY names another "
            "libquire.so.") from error
    for name, arguments in _CALLS.items():
        function = getattr(library, f"quire_{name}")
        function.restype = c_void_p
        function.argtypes = arguments
    for name, (result, arguments) in _OTHERS.items():
        function = getattr(library, f"quire_{name}")
        function.restype = result
        function.argtypes = arguments
    return library


library = _open()

_is_used = False
_supports_fork = False
# This process is the child of one that used gRPC without having told it to
# expect children: it does not work here.
_is_cut_off = False


def begin_use() -> None:
    """Before a process connects."""
    global _is_used, _supports_fork
    check_process()
    if not _is_used:
        _is_used = True
        # As gRPC reads it, once, when it begins.
        _supports_fork = os.environ.get(
            "GRPC_ENABLE_FORK_SUPPORT", "").lower() in ("1", "t", "true", "y",
                                                        "yes")


def check_process() -> None:
    """Raises where a call would hang."""
    if _is_cut_off:
        raise errors.FailedPrecondition(
            "this process was forked from one that had connected, and gRPC "
            "does not work here. Set GRPC_ENABLE_FORK_SUPPORT=1 before the "
            "first quire.connect, or connect only in children, or start them "
            "with multiprocessing's 'spawn'", "FAILED_PRECONDITION")


def _after_fork_in_child() -> None:
    global _is_cut_off
    _is_cut_off = _is_used and not _supports_fork


os.register_at_fork(after_in_child=_after_fork_in_child)


def check(error: Optional[int]) -> None:
    """Raises what a function returned, if it is an error."""
    if error is None:
        return
    try:
        retry_ms = library.quire_error_retry_after_ms(error)
        raise errors._error(
            library.quire_error_message(error).decode("utf-8", "replace"),
            library.quire_error_code_name(error).decode(),
            library.quire_error_reason(error).decode(),
            library.quire_error_field(error).decode("utf-8", "replace"),
            None if retry_ms < 0 else retry_ms / 1000)
    finally:
        library.quire_error_free(error)


def take_text(text: c_char_p) -> str:
    """Copies a text that a function gave, and frees it."""
    try:
        return text.value.decode()
    finally:
        library.quire_text_free(text)
