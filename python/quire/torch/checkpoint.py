"""All rows of a model's tables, as torch has them."""

from __future__ import annotations

import collections
from typing import Any, Dict

import numpy as np
import torch
from torch import nn

from . import _checkpoint
from .embedding import RemoteModule


def gather_state_dict(model: nn.Module) -> "Dict[str, Any]":
    """model.state_dict() as the same model has it with nn.Embedding: every
    token is replaced by `weight`, float32 [rows, dim] on the CPU, as stored.

    It takes the memory of all tables. Rows are read while others may push:
    each is whole, all of them are of one moment only if nobody pushes.
    quire.Error.
    """
    modules = {name: module for name, module in model.named_modules()
               if isinstance(module, RemoteModule)}
    result: Dict[str, Any] = collections.OrderedDict()
    for key, value in model.state_dict().items():
        owner, _, last = key.rpartition(".")
        if last == _checkpoint.TOKEN and owner in modules:
            prefix = f"{owner}." if owner else ""
            remote = modules[owner].remote
            result[prefix + _checkpoint.WEIGHT] = torch.from_numpy(
                remote.read(np.arange(remote.spec.num_embeddings)))
        else:
            result[key] = value
    return result
