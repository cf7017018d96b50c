"""Training that is saved, and goes on from there: rows, optimizer state, steps
and the dense parameters together."""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import re
import shutil
import uuid
from typing import (Any, Dict, Iterator, List, Mapping, Optional, Tuple, Union)

import torch
from torch import nn

from . import _checkpoint, _group, _plain, _wire
from ._table import RemoteTable
from .embedding import RemoteModule

_VERSION = 1
_ROWS = ("snapshot", "file")
_Path = Union[str, "os.PathLike[str]"]


def gather_state_dict(model: nn.Module, optimizer_state: bool = False,
                      progress: Any = None) -> "Dict[str, Any]":
    """model.state_dict() as the same model has it with nn.Embedding: every
    token is replaced by `weight`, float32 [rows, dim] on the CPU, as stored.

    optimizer_state  also the table's: `optimizer.X`, float32 [rows, floats],
                     for each part X of docs/OPTIMIZERS.md (`optimizer.sum`,
                     `optimizer.exp_avg`, ...), and `optimizer.step`, int64:
                     what torch's optimizer of that name calls X and step.
                     load_state_dict of the model takes all of it
    progress         as quire.Client.export_table's, for each table

    It takes the memory of all tables. Each LOGGED table is as of one change,
    also while others push; of one in memory each row is whole. quire.Error.
    """
    modules = dict(_modules_of(model))
    result: Dict[str, Any] = collections.OrderedDict()
    for key, value in model.state_dict().items():
        owner, _, last = key.rpartition(".")
        if last == _checkpoint.TOKEN and owner in modules:
            result.update(_checkpoint.gather(
                modules[owner].remote, f"{owner}." if owner else "",
                optimizer_state, progress))
        else:
            result[key] = value
    return result


def save_checkpoint(path: _Path, model: nn.Module, optimizer: Any = None, *,
                    dense: Any = None, extra: Any = None,
                    rows: str = "snapshot", progress: Any = None) -> None:
    """Saves where training is; load_checkpoint goes on from there.

    path       appears when it is complete; one that is there stays until then
    optimizer  the quire.torch.Optimizer: its pushes in flight are waited for,
               its learning rates are saved
    dense      what else has a state_dict: an optimizer, a list, or a dict of
               optimizers, schedulers, scalers
    extra      whatever load_checkpoint is to return: numbers, texts, tensors,
               and lists, tuples, sets and dicts of them
    rows       "snapshot": they stay on the server, which makes a snapshot of
               all LOGGED tables; the file says to which change a table goes
               back. It can as long as the server keeps that snapshot (its
               --snapshot-keep). Tables in memory are refused: nothing is kept
               of what they were.
               "file": rows, optimizer state and labels of each table go to a
               file of safetensors in a directory beside `path`
               (`NAME.rows-...`), which belongs to it: it loads into any
               server, also after this one is gone, and takes any table
    progress   of "file": as quire.Client.export_table's, for each table

    Nobody pushes meanwhile. With torch.distributed every rank calls it after
    its last push: all wait until rank 0 has written the file, and raise what
    rank 0 raised.

    ValueError; OSError; TypeError for what a checkpoint cannot hold;
    quire.Error.
    """
    if rows not in _ROWS:
        raise ValueError(f"rows is {rows!r}; it is one of "
                         f"{', '.join(map(repr, _ROWS))}")
    _group.all_can(lambda: None if optimizer is None else optimizer.wait())
    _group.of_first(lambda: _save(
        pathlib.Path(path), model, optimizer, _named(dense), extra, rows,
        progress))


def load_checkpoint(path: _Path, model: nn.Module, optimizer: Any = None, *,
                    dense: Any = None, progress: Any = None) -> Any:
    """Brings a model, its tables and what else was saved to where they were;
    returns what was saved as `extra`.

    model, optimizer, dense  as save_checkpoint's; what is not given here is
               left as it is
    progress   of rows in files: as quire.Client.import_table's, for each table

    Everything is checked first: another model, a table that is not the one
    that was saved, and a past that the server does not keep (NOT_KEPT), are
    refused before anything has changed. Then each table whose last change is a
    later one goes back to the saved one (Client.rewind_table): it is another
    incarnation then, and pushes of who does not know that are refused. With
    rows in files each table is dropped, and made of its file, with the settings
    that it has. Gradients and rows that the model keeps are dropped: make
    Prefetch anew.

    Nothing of the file is run. With torch.distributed every rank calls it:
    rank 0 takes the tables back, all wait for it, and raise what it raised;
    then each loads the dense part.

    ValueError; OSError; quire.Error. After one in the middle of it (a
    connection lost, memory that was not enough), load again.
    """
    whole = pathlib.Path(path)
    plan = _group.all_can(lambda: _Plan(
        whole, _read_file(whole), model, optimizer, _named(dense)))
    _group.of_first(lambda: plan.restore_tables(progress))
    plan.restore_rest()
    return plan.extra


# --- Saving ---

def _save(path: pathlib.Path, model: nn.Module, optimizer: Any,
          dense: Mapping[str, Any], extra: Any, rows: str,
          progress: Any) -> None:
    modules = dict(_modules_of(model))
    remotes = _remotes_of(modules)
    if not remotes:
        raise ValueError("the model has no RemoteEmbedding and no "
                         "RemoteEmbeddingBag: torch.save does")
    directory: Optional[pathlib.Path] = None
    if rows == "snapshot":
        tables = _snapshots(remotes)
    else:
        directory = path.with_name(f"{path.name}.rows-{uuid.uuid4().hex[:8]}")
        directory.mkdir()
    with contextlib.ExitStack() as undo:
        if directory is not None:
            undo.callback(shutil.rmtree, directory, ignore_errors=True)
            tables = [_write_rows(remote, directory, i, progress)
                      for i, remote in enumerate(remotes)]
            _sync(directory)
        _write_file(path, {
            "model": _without_tokens(model.state_dict(), modules),
            "tables": tables,
            "modules": {name: _index_of(module.remote, remotes)
                        for name, module in modules.items()},
            "optimizer": None if optimizer is None else optimizer.state_dict(),
            "dense": {name: one.state_dict() for name, one in dense.items()},
            "extra": extra})
        undo.pop_all()
    _remove_old_rows(path, directory)


def _snapshots(remotes: List[RemoteTable]) -> List[Dict[str, Any]]:
    """Makes each server write one: which tables there are, and as of what."""
    for remote in remotes:
        if remote.refresh().spec.persistence != "logged":
            raise ValueError(
                f"table '{remote.name}' on {remote.server} is a MEMORY table: "
                "nothing is kept of what it was, and it could not be taken "
                "back. Save with rows='file', or make it LOGGED "
                "(quire-server --data-dir)")
    positions: Dict[str, Any] = {}
    for remote in remotes:
        if remote.server not in positions:
            positions[remote.server] = (_wire.snapshot(remote.client),
                                        _wire.last_position(remote.client))
    tables = []
    for remote in remotes:
        snapshot, after = positions[remote.server]
        described = remote.refresh()
        # Then it was the same after the snapshot was made, from which alone
        # that can be rebuilt: what was while it was made, cannot.
        is_same = (described.last_change_lsn or 0) <= snapshot.lsn
        position = after if is_same else snapshot
        tables.append({**remote.identity(described),
                       "step": described.step if is_same else None,
                       "position": {"epoch": position.epoch,
                                    "lsn": position.lsn}})
    return tables


def _write_rows(remote: RemoteTable, directory: pathlib.Path, number: int,
                progress: Any) -> Dict[str, Any]:
    # Tables of two servers may have one name.
    file = directory / f"{remote.name}.safetensors"
    if file.exists():
        file = directory / f"{remote.name}-{number}.safetensors"
    with _wire.export_table(remote.client, remote.name, True,
                            progress) as exported:
        described = exported.table
        _wire.write_table(str(file), exported,
                          _wire.state_parts(described.spec))
    return {**remote.identity(described), "step": described.step,
            "file": f"{directory.name}/{file.name}"}


def _write_file(path: pathlib.Path, content: Dict[str, Any]) -> None:
    packed = _plain.pack(content)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with open(draft, "xb") as file:
            torch.save({"quire_checkpoint": _VERSION, **packed}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        raise
    _sync(path.parent)


def _sync(directory: pathlib.Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_old_rows(path: pathlib.Path,
                     kept: Optional[pathlib.Path]) -> None:
    """Rows of files that `path` was before, and of saves that were cut off."""
    mine = re.compile(re.escape(path.name) + r"\.rows-[0-9a-f]{8}")
    for entry in list(path.parent.iterdir()):
        if entry != kept and mine.fullmatch(entry.name):
            shutil.rmtree(entry, ignore_errors=True)


# --- Loading ---

def _read_file(path: pathlib.Path) -> Dict[str, Any]:
    packed = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(packed, dict) \
            or packed.get("quire_checkpoint") != _VERSION:
        raise ValueError(
            f"'{path}' is no checkpoint of quire.torch.save_checkpoint, or of "
            "another version; load_state_dict loads those of torch.save")
    return _plain.unpack(packed)


class _Plan:
    """What of a checkpoint goes where. Made of what agrees."""

    def __init__(self, path: pathlib.Path, saved: Any, model: nn.Module,
                 optimizer: Any, dense: Mapping[str, Any]) -> None:
        self._path = path
        self._saved = saved
        self.extra = saved["extra"]
        self._model = model
        self._modules = dict(_modules_of(model))
        self._optimizer = optimizer
        self._dense = dense
        self._check()
        # One of each table, and what was saved of it.
        self._tables: List[Tuple[RemoteTable, Dict[str, Any]]] = []
        of_saved: Dict[int, RemoteTable] = {}
        for name, index in saved["modules"].items():
            remote = self._modules[name].remote
            if index not in of_saved:
                of_saved[index] = remote
                self._tables.append((remote, saved["tables"][index]))
            elif _key(of_saved[index]) != _key(remote):
                raise ValueError(
                    f"{name}: the checkpoint has one table for it and another "
                    f"module, this model has '{remote.name}' and "
                    f"'{of_saved[index].name}'")
        if len({_key(remote) for remote, _ in self._tables}) \
                < len(self._tables):
            raise ValueError("modules of this model share a table, which the "
                             "checkpoint has apart")

    def _check(self) -> None:
        """ValueError if the model is another than that which was saved."""
        wanted = _without_tokens(self._model.state_dict(), self._modules)
        found = self._saved["model"]
        _check_names("modules with tables", self._modules,
                     self._saved["modules"])
        _check_names("keys of the state_dict", wanted, found)
        for key, value in wanted.items():
            shapes = getattr(value, "shape", None), \
                getattr(found[key], "shape", None)
            if shapes[0] != shapes[1]:
                raise ValueError(f"{key} has the shape {shapes[1]} in the "
                                 f"checkpoint, {shapes[0]} in the model")
        missing = set(self._dense) - set(self._saved["dense"])
        if missing or (self._optimizer is not None
                       and self._saved["optimizer"] is None):
            what = ", ".join(sorted(missing)) or "an optimizer of tables"
            raise ValueError(f"the checkpoint has no state of: {what}")
        for name, index in self._saved["modules"].items():
            self._check_table(name, self._saved["tables"][index])

    def _check_table(self, name: str, table: Mapping[str, Any]) -> None:
        spec = self._modules[name].remote.spec
        saved = table["spec"]
        shape = saved["num_embeddings"], saved["embedding_dim"]
        if shape != (spec.num_embeddings, spec.embedding_dim):
            raise ValueError(
                f"{name}: the checkpoint's table is {shape[0]} x {shape[1]}, "
                f"table '{spec.name}' is {spec.num_embeddings} x "
                f"{spec.embedding_dim}")

    def restore_tables(self, progress: Any) -> None:
        """On one rank: all that can be refused is refused first."""
        in_files = [(remote, self._open(remote, saved))
                    for remote, saved in self._tables if "file" in saved]
        _rewind_all([(remote, saved) for remote, saved in self._tables
                     if "file" not in saved and _is_later(remote, saved)])
        for remote, file in in_files:
            remote.replace(file.chunks(), file.step, progress)

    def _open(self, remote: RemoteTable, saved: Mapping[str, Any]) -> Any:
        """The file of a table's rows, which fit the table."""
        # A name within the directory of the checkpoint, whatever the file
        # says.
        parts = saved["file"].split("/")
        if len(parts) != 2 or ".." in parts or "" in parts:
            raise ValueError(f"'{self._path}' names rows in {saved['file']!r}")
        file = _wire.TableFile(str(self._path.parent.joinpath(*parts)))
        spec = remote.refresh().spec
        needed = _wire.state_parts(spec)
        if (file.row_count, file.dim, file.parts) != (
                spec.num_embeddings, spec.embedding_dim, needed):
            raise ValueError(
                f"'{saved['file']}' has {file.row_count} x {file.dim} floats "
                f"with the optimizer state {file.parts}; table "
                f"'{remote.name}' is {spec.num_embeddings} x "
                f"{spec.embedding_dim} with {needed}")
        return file

    def restore_rest(self) -> None:
        """On every rank: the tables are what they were."""
        for module in self._modules.values():
            module.remote.refresh()
            module.forget()
        state = collections.OrderedDict(self._saved["model"])
        for name, module in self._modules.items():
            state[_token_key(name)] = {"uid": module.remote.uid.hex()}
        self._model.load_state_dict(state)
        if self._optimizer is not None:
            _load_optimizer(self._optimizer, self._saved["optimizer"])
        for name, one in self._dense.items():
            one.load_state_dict(self._saved["dense"][name])


def _is_later(remote: RemoteTable, saved: Mapping[str, Any]) -> bool:
    """Whether the table has changes after the saved one. ValueError if it is
    another table, or of another server."""
    described = remote.refresh()
    difference = _checkpoint.difference_of(remote, saved)
    if difference is not None:
        raise ValueError(difference.replace(
            "a checkpoint with rows, as gather_state_dict makes it",
            "one that was saved with rows='file'"))
    if described.spec.persistence != "logged":
        raise ValueError(f"table '{remote.name}' is a MEMORY table")
    position = saved["position"]
    last = _wire.last_position(remote.client)
    if last is None or last.epoch < position["epoch"] \
            or last.lsn < position["lsn"]:
        raise ValueError(
            f"the checkpoint is of {position['epoch']}:{position['lsn']} of "
            f"table '{remote.name}', and the log of {remote.server} ends "
            "before that: its data directory is an older copy, or another")
    # Not known: it may be.
    return described.last_change_lsn is None \
        or described.last_change_lsn > position["lsn"]


def _rewind_all(tables: List[Tuple[RemoteTable, Dict[str, Any]]]) -> None:
    """All of them, or, as far as that can be had, none."""
    with contextlib.ExitStack() as undo:
        for remote, saved in tables:
            _, before = _wire.moment(remote.client, remote.name)
            lsn = saved["position"]["lsn"]
            step = _rewind(remote, lsn)
            if before is not None:
                undo.callback(_rewind, remote, before.lsn)
            if saved["step"] not in (None, step):
                raise ValueError(
                    f"table '{remote.name}' had made {step} steps at LSN "
                    f"{lsn}, not the {saved['step']} of the checkpoint: the "
                    f"data directory of {remote.server} is a copy that has "
                    "gone on by itself")
        undo.pop_all()


def _rewind(remote: RemoteTable, lsn: int) -> int:
    table = _wire.rewind_table(remote.client, remote.name, lsn)
    remote.become(table)
    return int(table.step)


def _load_optimizer(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Groups are of the tables of this model, in its order."""
    tables = [group["table"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, table in zip(optimizer.param_groups, tables):
        group["table"] = table
    optimizer.zero_grad()


# --- Both ---

def _modules_of(model: nn.Module) -> Iterator[Tuple[str, RemoteModule]]:
    for name, module in model.named_modules():
        if isinstance(module, RemoteModule):
            yield name, module


def _key(remote: RemoteTable) -> Tuple[str, str]:
    return remote.server, remote.name


def _remotes_of(modules: Mapping[str, RemoteModule]) -> List[RemoteTable]:
    """One of each table."""
    found = {_key(module.remote): module.remote for module in modules.values()}
    return list(found.values())


def _index_of(remote: RemoteTable, remotes: List[RemoteTable]) -> int:
    return [_key(one) for one in remotes].index(_key(remote))


def _token_key(owner: str) -> str:
    return f"{owner}.{_checkpoint.TOKEN}" if owner else _checkpoint.TOKEN


def _without_tokens(state: Mapping[str, Any],
                    modules: Mapping[str, RemoteModule]) -> Dict[str, Any]:
    tokens = {_token_key(name) for name in modules}
    return {key: value for key, value in state.items() if key not in tokens}


def _named(dense: Any) -> Dict[str, Any]:
    if dense is None:
        return {}
    if isinstance(dense, Mapping):
        return {str(name): one for name, one in dense.items()}
    if not isinstance(dense, (list, tuple)):
        dense = [dense]
    return {str(i): one for i, one in enumerate(dense)}


def _check_names(what: str, wanted: Mapping[str, Any],
                 found: Mapping[str, Any]) -> None:
    missing = sorted(set(wanted) - set(found))
    others = sorted(set(found) - set(wanted))
    if missing or others:
        raise ValueError(
            f"the checkpoint is of another model: {what} that only the model "
            f"has: {', '.join(missing) or 'none'}; that only the checkpoint "
            f"has: {', '.join(others) or 'none'}")
