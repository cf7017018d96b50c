"""state_dict and back: a token for each table, or all of its rows."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Optional

import numpy as np
import torch

from . import _wire
from ._table import RemoteTable, pieces

# What nn.Module calls state that is not a tensor.
TOKEN = "_extra_state"
WEIGHT = "weight"
# In front of the names of the parts of optimizer state; and their step.
STATE = "optimizer."
STEP = "optimizer.step"


def load(remote: RemoteTable, state_dict: Any, prefix: str, strict: bool,
         missing_keys: List[str], unexpected_keys: List[str],
         error_msgs: List[str]) -> None:
    """nn.Module._load_from_state_dict of a module whose rows are remote.

    A token must be this table's. The weight of an ordinary checkpoint is
    written to the table, piece by piece; optimizer state stays, unless it is
    there too: then the table is made anew of both.
    """
    state = {key[len(prefix):]: value for key, value in state_dict.items()
             if key.startswith(prefix + STATE)}
    if prefix + WEIGHT in state_dict:
        _upload(remote, state_dict[prefix + WEIGHT], state, prefix + WEIGHT,
                error_msgs)
    elif prefix + TOKEN in state_dict:
        _verify(remote, state_dict[prefix + TOKEN], prefix + TOKEN, error_msgs)
    elif strict:
        missing_keys.append(prefix + WEIGHT)
    if strict:
        known = {prefix + key for key in (WEIGHT, TOKEN, *state)}
        unexpected_keys.extend(
            key for key in state_dict
            if key.startswith(prefix) and key not in known)


def gather(remote: RemoteTable, prefix: str, optimizer_state: bool,
           progress: Any = None) -> Dict[str, torch.Tensor]:
    """All rows of a table as load() takes them, as of one change if the table
    is LOGGED."""
    with _wire.export_table(remote.client, remote.name, optimizer_state,
                            progress) as exported:
        spec = exported.table.spec
        columns = [(WEIGHT, spec.embedding_dim)]
        if optimizer_state:
            columns += [(STATE + name, floats)
                        for name, floats in _wire.state_parts(spec)]
        result = {prefix + name: torch.empty(spec.num_embeddings, floats)
                  for name, floats in columns}
        targets = [tensor.numpy() for tensor in result.values()]
        bounds = np.cumsum([floats for _, floats in columns])[:-1]
        for chunk in exported:
            whole = chunk.values if chunk.state is None else \
                np.concatenate([chunk.values, chunk.state], axis=1)
            rows = slice(chunk.first_id, chunk.first_id + len(whole))
            for target, part in zip(targets, np.split(whole, bounds, axis=1)):
                target[rows] = part
    if optimizer_state:
        result[prefix + STEP] = torch.tensor(exported.table.step)
    return result


def _upload(remote: RemoteTable, weight: torch.Tensor,
            state: Mapping[str, torch.Tensor], key: str,
            error_msgs: List[str]) -> None:
    expected = (remote.spec.num_embeddings, remote.spec.embedding_dim)
    if tuple(weight.shape) != expected:
        # nn.Module._load_from_state_dict: the sentence.
        error_msgs.append(
            f"size mismatch for {key}: copying a param with shape "
            f"{weight.shape} from checkpoint, the shape in current model is "
            f"{torch.Size(expected)}.")
        return
    if state:
        _replace(remote, weight, dict(state), key, error_msgs)
        return
    first = 0
    for rows in pieces(weight):
        remote.write(np.arange(first, first + len(rows)), rows)
        first += len(rows)


def _replace(remote: RemoteTable, weight: torch.Tensor,
             state: Dict[str, torch.Tensor], key: str,
             error_msgs: List[str]) -> None:
    rows = len(weight)
    needed = {STATE + name: (rows, floats)
              for name, floats in _wire.state_parts(remote.spec)}
    step = state.pop(STEP, None)
    found = {name: tuple(part.shape) for name, part in state.items()}
    if step is None or step.numel() != 1 or found != needed:
        error_msgs.append(
            f"{key}: beside it is the optimizer state {found} and "
            f"{'no ' if step is None else ''}{STEP}; table '{remote.name}' "
            f"needs {needed} and {STEP}, as gather_state_dict gives them. "
            "Without any of them rows are loaded alone.")
        return
    remote.replace(_chunks(weight, [state[name] for name in needed]),
                   int(step))


def _chunks(weight: torch.Tensor,
            state: List[torch.Tensor]) -> Iterator[Any]:
    first = 0
    for rows in pieces(weight):
        parts = [part[first:first + len(rows)].detach().to(
            "cpu", torch.float32).numpy() for part in state]
        yield _wire.Chunk(first, rows, None,
                          np.concatenate(parts, axis=1) if parts else None)
        first += len(rows)


def is_same(remote: RemoteTable, token: Mapping[str, Any]) -> bool:
    """Whether a token is of this table, or of what it was before a rewind.

    A rewind makes another incarnation (uid), whose origin is that of the one
    before; a table that was dropped and made again has another origin.
    """
    return bool(token["uid"] == remote.uid.hex()
                or token.get("origin", token["uid"]) == remote.origin.hex())


def _verify(remote: RemoteTable, token: Any, key: str,
            error_msgs: List[str]) -> None:
    remote.refresh()
    difference = difference_of(remote, token)
    if difference is not None:
        error_msgs.append(f"{key}: {difference}")


def difference_of(remote: RemoteTable,
                  token: Mapping[str, Any]) -> Optional[str]:
    """Why a token is not of this table, and what to do."""
    if is_same(remote, token):
        return None
    return (f"the checkpoint is of table '{token['table']}' (uid "
            f"{token['uid']}) on {token['server']}, this module has table "
            f"'{remote.name}' (uid {remote.uid.hex()}) on {remote.server}. "
            "Attach to the checkpoint's table, or load a checkpoint with "
            "rows, as gather_state_dict makes it.")
