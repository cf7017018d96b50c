"""state_dict and back: a token for each table, or all of its rows."""

from __future__ import annotations

from typing import Any, List

import numpy as np
import torch

from ._table import RemoteTable, pieces

# What nn.Module calls state that is not a tensor.
TOKEN = "_extra_state"
WEIGHT = "weight"


def load(remote: RemoteTable, state_dict: Any, prefix: str, strict: bool,
         missing_keys: List[str], unexpected_keys: List[str],
         error_msgs: List[str]) -> None:
    """nn.Module._load_from_state_dict of a module whose rows are remote.

    A token must be this table's. The weight of an ordinary checkpoint is
    written to the table, piece by piece; optimizer state stays.
    """
    if prefix + WEIGHT in state_dict:
        _upload(remote, state_dict[prefix + WEIGHT], prefix + WEIGHT,
                error_msgs)
    elif prefix + TOKEN in state_dict:
        _verify(remote, state_dict[prefix + TOKEN], prefix + TOKEN, error_msgs)
    elif strict:
        missing_keys.append(prefix + WEIGHT)
    if strict:
        known = {prefix + WEIGHT, prefix + TOKEN}
        unexpected_keys.extend(
            key for key in state_dict
            if key.startswith(prefix) and key not in known)


def _upload(remote: RemoteTable, weight: torch.Tensor, key: str,
            error_msgs: List[str]) -> None:
    expected = (remote.spec.num_embeddings, remote.spec.embedding_dim)
    if tuple(weight.shape) != expected:
        # nn.Module._load_from_state_dict: the sentence.
        error_msgs.append(
            f"size mismatch for {key}: copying a param with shape "
            f"{weight.shape} from checkpoint, the shape in current model is "
            f"{torch.Size(expected)}.")
        return
    first = 0
    for rows in pieces(weight):
        remote.write(np.arange(first, first + len(rows)), rows)
        first += len(rows)


def _verify(remote: RemoteTable, token: Any, key: str,
            error_msgs: List[str]) -> None:
    if token["uid"] == remote.uid.hex():
        return
    error_msgs.append(
        f"{key}: the checkpoint is of table '{token['table']}' (uid "
        f"{token['uid']}) on {token['server']}, this module has table "
        f"'{remote.name}' (uid {remote.uid.hex()}) on {remote.server}. Attach "
        "to the checkpoint's table, or load a checkpoint with rows, as "
        "gather_state_dict makes it.")
