"""State as text and tensors, which torch.load reads without running anything:
weights_only, which in torch 1.13 knows no floats.

Numbers, texts, None, lists and dicts with keys of text are JSON; what JSON
does not have is an object of one key, whose first letter is a `$`.
"""

from __future__ import annotations

import base64
import collections
import collections.abc
import json
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import torch

_MAPPINGS: Dict[str, Callable[[Any], Any]] = {
    "$dict": dict, "$ordered": collections.OrderedDict,
    "$counter": lambda items: collections.Counter(dict(items))}


def pack(value: Any) -> Dict[str, Any]:
    """What torch.save writes. TypeError, naming its place, for anything but
    plain values, tensors, and tuples, lists, sets and dicts of them."""
    tensors: List[torch.Tensor] = []
    text = json.dumps(_to_json(value, "", tensors))
    return {"plain": text, "tensors": tensors}


def unpack(packed: Dict[str, Any]) -> Any:
    """What was packed: other mappings are dicts by now."""
    return _from_json(json.loads(packed["plain"]), packed["tensors"])


def _to_json(value: Any, place: str, tensors: List[torch.Tensor]) -> Any:
    if isinstance(value, (np.bool_, np.integer, np.floating)):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.Tensor):
        tensors.append(value.detach())
        return {"$tensor": len(tensors) - 1}
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, (list, tuple, set, frozenset)):
        parts = [_to_json(one, f"{place}[{i}]", tensors)
                 for i, one in enumerate(value)]
        return parts if isinstance(value, list) else {
            "$tuple" if isinstance(value, tuple) else "$set": parts}
    if isinstance(value, collections.abc.Mapping):
        return _mapping(value, place, tensors)
    raise TypeError(
        f"{place or 'it'} is a {type(value).__name__}: a checkpoint holds "
        "numbers, texts, tensors, and lists, tuples, sets and dicts of them")


def _mapping(value: Any, place: str, tensors: List[torch.Tensor]) -> Any:
    kind = "$counter" if isinstance(value, collections.Counter) else \
        "$ordered" if isinstance(value, collections.OrderedDict) else "$dict"
    items: List[Tuple[Any, Any]] = [
        (key, _to_json(one, f"{place}[{key!r}]", tensors))
        for key, one in value.items()]
    if kind == "$dict" and all(isinstance(key, str) and key[:1] != "$"
                               for key, _ in items):
        return dict(items)
    return {kind: [[_to_json(key, f"{place}'s key", tensors), one]
                   for key, one in items]}


def _from_json(value: Any, tensors: List[torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_from_json(one, tensors) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items() if len(value) == 1 else ((None, None),)
    if kind == "$tensor":
        return tensors[content]
    if kind == "$bytes":
        return base64.b64decode(content)
    if kind in ("$tuple", "$set"):
        parts = _from_json(content, tensors)
        return tuple(parts) if kind == "$tuple" else set(parts)
    if kind in _MAPPINGS:
        return _MAPPINGS[kind]([
            (_from_json(key, tensors), _from_json(one, tensors))
            for key, one in content])
    return {key: _from_json(one, tensors) for key, one in value.items()}
