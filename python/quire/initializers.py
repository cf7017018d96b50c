"""Initial values of a table's rows: the same on every machine, by the seed.

    client.create_table("words", 1000, 64,
                        initializer=quire.initializers.Uniform(-0.1, 0.1))
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Dict, Optional, Type

from . import _json


@dataclasses.dataclass(frozen=True)
class Initializer:
    """One of those below."""

    _kind: ClassVar[str] = ""

    def _to_json(self) -> Dict[str, Any]:
        if not self._kind:
            return {}
        return {self._kind: _json.fields_to_json(self, skip=())}

    @classmethod
    def _from_json(cls, data: Dict[str, Any]) -> Initializer:
        for kind, initializer in _BY_KIND.items():
            if kind in data:
                return _json.fields_from_json(initializer, data[kind])
        return cls()


@dataclasses.dataclass(frozen=True)
class Zeros(Initializer):
    """Every element is 0."""

    _kind: ClassVar[str] = "zeros"


@dataclasses.dataclass(frozen=True)
class Constant(Initializer):
    """Every element is the same: finite."""

    value: float = 0.0

    _kind: ClassVar[str] = "constant"


@dataclasses.dataclass(frozen=True)
class Uniform(Initializer):
    """Uniform in [low, high): finite."""

    low: float = 0.0
    high: float = 1.0

    _kind: ClassVar[str] = "uniform"


@dataclasses.dataclass(frozen=True)
class Normal(Initializer):
    """Normal. stddev: finite, 0 or more; None: 1."""

    mean: float = 0.0
    stddev: Optional[float] = None

    _kind: ClassVar[str] = "normal"


_BY_KIND: Dict[str, Type[Initializer]] = {
    initializer._kind: initializer
    for initializer in (Zeros, Constant, Uniform, Normal)}
