"""Dataclasses whose fields are those of a message of quire/v1, and JSON.

A field's annotation says how it is read. A field that holds one of an enum has
the prefix of its names as metadata: `of_enum("SCOPE_")` reads SCOPE_ALL as
"all", and SCOPE_UNSPECIFIED as None. A class that is a oneof has _to_json and
_from_json of its own.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import math
import typing
from typing import Any, Dict, Optional, Type, TypeVar

from .errors import _invalid, _wrong_type

T = TypeVar("T")


def of_enum(prefix: str) -> Any:
    return dataclasses.field(default=None, metadata={"prefix": prefix})


def to_enum(value: Optional[str], prefix: str, field: str) -> Optional[str]:
    if value is not None and not isinstance(value, str):
        raise _wrong_type(f"{field} is {value!r}; it is a str", field)
    return value if value is None else prefix + value.upper()


def from_enum(name: str, prefix: str) -> Optional[str]:
    word = name[len(prefix):].lower()
    return None if word == "unspecified" else word


def to_json(message: Any) -> Any:
    """What json.dumps takes. Fields that are None are left out."""
    if hasattr(message, "_to_json"):
        return message._to_json()
    return fields_to_json(message, skip=())


def fields_to_json(message: Any, skip: typing.Collection[str],
                   ) -> Dict[str, Any]:
    result = {}
    for field in dataclasses.fields(message):
        value = getattr(message, field.name)
        if value is None or field.name in skip:
            continue
        if "prefix" in field.metadata:
            value = to_enum(value, field.metadata["prefix"], field.name)
        result[field.name] = _value_to_json(value, field.name)
    return result


def _value_to_json(value: Any, field: str) -> Any:
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()  # a scalar of numpy's
    if isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return str(value)  # exact also beyond 2^53
    if isinstance(value, float):
        return value if math.isfinite(value) else \
            "NaN" if math.isnan(value) else \
            "Infinity" if value > 0 else "-Infinity"
    if dataclasses.is_dataclass(value):
        return to_json(value)
    raise _wrong_type(f"{field} cannot be {value!r}", field)


@functools.lru_cache(maxsize=None)
def _hints(cls: type) -> Dict[str, Any]:
    return typing.get_type_hints(cls)


def from_json(cls: Type[T], data: Dict[str, Any]) -> T:
    """A message as json.loads gave it. Fields that `cls` does not have are
    those of a later server: they are passed over."""
    if hasattr(cls, "_from_json"):
        return cls._from_json(data)  # type: ignore[attr-defined]
    return fields_from_json(cls, data)


def fields_from_json(cls: Type[T], data: Dict[str, Any]) -> T:
    values = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name not in data:
            continue
        value = data[field.name]
        if "prefix" in field.metadata:
            values[field.name] = from_enum(value, field.metadata["prefix"])
        else:
            values[field.name] = _value_from_json(_hints(cls)[field.name],
                                                  value)
    return cls(**values)


def _value_from_json(hint: Any, value: Any) -> Any:
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin is typing.Union:  # Optional
        return _value_from_json(arguments[0], value)
    if origin is list:
        return [_value_from_json(arguments[0], one) for one in value]
    if hint is bytes:
        return base64.b64decode(value)
    if hint in (int, float):
        return hint(value)
    if hint in (str, bool):
        return value
    return from_json(hint, value)


def one_of(options: Dict[str, Any], name: Any, field: str) -> Any:
    """The option that is named; an error that names them all."""
    if not isinstance(name, str):
        raise _wrong_type(f"{field} is {name!r}; it is one of "
                          f"{', '.join(map(repr, options))}", field)
    if name not in options:
        raise _invalid(f"{field} is {name!r}; it is one of "
                       f"{', '.join(map(repr, options))}", field)
    return options[name]
