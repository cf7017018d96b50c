"""How a push changes rows: docs/OPTIMIZERS.md has the formulas.

    client.create_table("words", 1000, 64,
                        optimizer=quire.optimizers.Adam(learning_rate=1e-3))

What is None is the server's default, which a table's description fills in.
"""

from __future__ import annotations

import dataclasses
from typing import (Any, ClassVar, Dict, List, Optional, Sequence, Tuple,
                    Type)

from . import _json
from ._json import of_enum

# None: as many floats as the row has.
_MOMENTS: Tuple[Tuple[str, Optional[int]], ...] = (
    ("exp_avg", None), ("exp_avg_sq", None))


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """What all of them have."""

    #: Finite, 0 or more. A push may bring its own.
    learning_rate: Optional[float] = None

    _kind: ClassVar[str] = ""

    def state_parts(self, dim: int) -> List[Tuple[str, int]]:
        """Of the state of a row of `dim` floats: name and floats of each part,
        in the order of read_rows. Of a table's own optimizer: what is None is
        taken for off."""
        return [(name, dim if floats is None else floats)
                for name, floats in self._parts()]

    def _parts(self) -> Sequence[Tuple[str, Optional[int]]]:
        """None: as many floats as the row."""
        return ()

    def _to_json(self) -> Dict[str, Any]:
        result: Dict[str, Any] = {}
        if self._kind:
            result[self._kind] = _json.fields_to_json(
                self, skip=("learning_rate",))
        if self.learning_rate is not None:
            result["learning_rate"] = _json._value_to_json(
                self.learning_rate, "learning_rate")
        return result

    @classmethod
    def _from_json(cls, data: Dict[str, Any]) -> Optimizer:
        for kind, optimizer in _BY_KIND.items():
            if kind in data:
                return _json.fields_from_json(
                    optimizer, {**data, **data[kind]})
        return cls(float(data["learning_rate"]))


@dataclasses.dataclass(frozen=True)
class Sgd(Optimizer):
    """torch.optim.SGD, dense form. State: momentum_buffer, with a momentum."""

    momentum: Optional[float] = None
    dampening: Optional[float] = None
    nesterov: Optional[bool] = None
    weight_decay: Optional[float] = None
    maximize: Optional[bool] = None
    #: "touched" (default): the rows of the push; "all": every row.
    scope: Optional[str] = of_enum("SCOPE_")

    _kind: ClassVar[str] = "sgd"

    def _parts(self) -> Sequence[Tuple[str, Optional[int]]]:
        return (("momentum_buffer", None),) if self.momentum else ()


@dataclasses.dataclass(frozen=True)
class Adagrad(Optimizer):
    """torch.optim.Adagrad, dense form. State: sum."""

    lr_decay: Optional[float] = None
    initial_accumulator_value: Optional[float] = None
    eps: Optional[float] = None
    weight_decay: Optional[float] = None
    maximize: Optional[bool] = None

    _kind: ClassVar[str] = "adagrad"

    def _parts(self) -> Sequence[Tuple[str, Optional[int]]]:
        return (("sum", None),)


@dataclasses.dataclass(frozen=True)
class RowwiseAdagrad(Optimizer):
    """FBGEMM's exact row-wise Adagrad. State: one accumulator."""

    eps: Optional[float] = None
    initial_accumulator_value: Optional[float] = None
    weight_decay: Optional[float] = None
    #: "none" (default), "l2" or "decouple".
    weight_decay_mode: Optional[str] = of_enum("WEIGHT_DECAY_MODE_")

    _kind: ClassVar[str] = "rowwise_adagrad"

    def _parts(self) -> Sequence[Tuple[str, Optional[int]]]:
        return (("sum", 1),)


@dataclasses.dataclass(frozen=True)
class SparseAdam(Optimizer):
    """torch.optim.SparseAdam. State: exp_avg, exp_avg_sq."""

    beta1: Optional[float] = None
    beta2: Optional[float] = None
    eps: Optional[float] = None
    maximize: Optional[bool] = None

    _kind: ClassVar[str] = "sparse_adam"

    def _parts(self) -> Sequence[Tuple[str, Optional[int]]]:
        return _MOMENTS


@dataclasses.dataclass(frozen=True)
class Adam(Optimizer):
    """torch.optim.Adam. State: exp_avg, exp_avg_sq, with amsgrad also
    max_exp_avg_sq."""

    beta1: Optional[float] = None
    beta2: Optional[float] = None
    eps: Optional[float] = None
    weight_decay: Optional[float] = None
    amsgrad: Optional[bool] = None
    maximize: Optional[bool] = None
    #: "touched" (default) or "all".
    scope: Optional[str] = of_enum("SCOPE_")

    _kind: ClassVar[str] = "adam"

    def _parts(self) -> Sequence[Tuple[str, Optional[int]]]:
        return _MOMENTS + ((("max_exp_avg_sq", None),) if self.amsgrad else ())


@dataclasses.dataclass(frozen=True)
class AdamW(Adam):
    """torch.optim.AdamW. State: as Adam's."""

    _kind: ClassVar[str] = "adamw"


@dataclasses.dataclass(frozen=True)
class RowwiseRmsprop(Optimizer):
    """FBGEMM's row-wise RMSprop. State: the mean square, and the step of the
    row's last push."""

    beta: Optional[float] = None
    eps: Optional[float] = None
    alpha: Optional[float] = None
    min_shrinkage: Optional[float] = None

    _kind: ClassVar[str] = "rowwise_rmsprop"

    def _parts(self) -> Sequence[Tuple[str, Optional[int]]]:
        return (("mean_square", 1), ("last_step", 1))


@dataclasses.dataclass(frozen=True)
class PartialRowwiseAdam(Optimizer):
    """FBGEMM's partial row-wise Adam. State: exp_avg, exp_avg_sq of one
    float."""

    beta1: Optional[float] = None
    beta2: Optional[float] = None
    eps: Optional[float] = None
    weight_decay: Optional[float] = None

    _kind: ClassVar[str] = "partial_rowwise_adam"

    def _parts(self) -> Sequence[Tuple[str, Optional[int]]]:
        return (("exp_avg", None), ("exp_avg_sq", 1))


@dataclasses.dataclass(frozen=True)
class Lamb(PartialRowwiseAdam):
    """FBGEMM's LAMB. State: exp_avg, exp_avg_sq."""

    _kind: ClassVar[str] = "lamb"

    def _parts(self) -> Sequence[Tuple[str, Optional[int]]]:
        return _MOMENTS


@dataclasses.dataclass(frozen=True)
class PartialRowwiseLamb(PartialRowwiseAdam):
    """FBGEMM's LAMB with one second moment per row."""

    _kind: ClassVar[str] = "partial_rowwise_lamb"


@dataclasses.dataclass(frozen=True)
class LarsSgd(Optimizer):
    """FBGEMM's LARS over SGD. State: momentum_buffer."""

    momentum: Optional[float] = None
    eta: Optional[float] = None
    weight_decay: Optional[float] = None

    _kind: ClassVar[str] = "lars_sgd"

    def _parts(self) -> Sequence[Tuple[str, Optional[int]]]:
        return (("momentum_buffer", None),)


@dataclasses.dataclass(frozen=True)
class Ftrl(Optimizer):
    """TensorFlow's FTRL-proximal. State: accumulator, linear."""

    l1: Optional[float] = None
    l2: Optional[float] = None
    beta: Optional[float] = None
    initial_accumulator_value: Optional[float] = None
    learning_rate_power: Optional[float] = None

    _kind: ClassVar[str] = "ftrl"

    def _parts(self) -> Sequence[Tuple[str, Optional[int]]]:
        return (("accumulator", None), ("linear", None))


_BY_KIND: Dict[str, Type[Optimizer]] = {
    optimizer._kind: optimizer for optimizer in (
        Sgd, Adagrad, RowwiseAdagrad, SparseAdam, Adam, AdamW, RowwiseRmsprop,
        PartialRowwiseAdam, Lamb, PartialRowwiseLamb, LarsSgd, Ftrl)}
