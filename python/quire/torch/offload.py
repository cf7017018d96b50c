"""The embedding modules of an existing model, moved to a server."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

from torch import Tensor, nn

from . import _wire
from .embedding import RemoteEmbedding, RemoteEmbeddingBag, RemoteModule
from .prefetch import Ahead, Inputs, modules_of


def offload(model: nn.Module, server: Optional[str] = None, *,
            client: Any = None, prefix: str = "", min_rows: int = 0,
            optimizer: Any = None,
            inputs_of: Optional[Callable[..., Inputs]] = None,
            **settings: Any) -> List[str]:
    """Replaces the nn.Embedding and nn.EmbeddingBag modules of a model, in
    place, by remote ones; the names of those replaced are returned.

    prefix     a module's table is prefix + its name in named_modules()
    min_rows   modules with fewer rows stay
    inputs_of  of forward's positional arguments: what it will ask of which
               module, as quire.torch.Prefetch takes it. All tables of a
               forward then come in one round trip. Without it each module
               looks up by itself: what a forward asks for is not known before
               it does.
    server, client, optimizer, settings (wire_dtype and unique are among them):
        see RemoteEmbedding

    Rows go to the server as they are; those of the meta device are born there,
    normal(0, 1). A table that exists already is attached to, and its rows win:
    all workers of a job call offload alike. Modules that share a weight share
    a table. Make optimizers after offload: those made before have the weights
    that are gone.

    ValueError for a weight that another kind of module has too (a tied output
    layer), and for a model that is itself an embedding. quire.Error.
    """
    found = _embeddings(model, min_rows)
    _refuse_tied(model, {id(module) for module, _ in found.values()})
    tables: Dict[int, str] = {}
    for module, names in found.values():
        weight = module.weight
        table = tables.setdefault(id(weight), prefix + names[0])
        remote = _remote(module, {"table": table, "server": server,
                                  "client": client, "optimizer": optimizer,
                                  **settings})
        remote.anchor.requires_grad = weight.requires_grad
        remote.train(module.training)
        for name in names:
            owner, _, last = name.rpartition(".")
            setattr(model.get_submodule(owner), last, remote)
    if inputs_of is not None:
        _fetch_before_forward(model, inputs_of)
    return [name for _, names in found.values() for name in names]


def _embeddings(model: nn.Module, min_rows: int,
                ) -> Dict[int, Tuple[nn.Module, List[str]]]:
    """By identity: the modules to replace, each with all of its names."""
    found: Dict[int, Tuple[nn.Module, List[str]]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if type(module) in (nn.Embedding, nn.EmbeddingBag) and \
                module.num_embeddings >= min_rows:
            if not name:
                raise ValueError(
                    "the model is itself an embedding and cannot be replaced "
                    "in place: use RemoteEmbedding.from_pretrained")
            found.setdefault(id(module), (module, []))[1].append(name)
    return found


def _refuse_tied(model: nn.Module, replaced: Any) -> None:
    weights = {id(module.weight): name
               for name, module in model.named_modules()
               if id(module) in replaced}
    for name, module in model.named_modules():
        if id(module) in replaced:
            continue
        for parameter_name, parameter in module.named_parameters(
                recurse=False):
            if id(parameter) in weights:
                raise ValueError(
                    f"'{name}.{parameter_name}' is the weight of "
                    f"'{weights[id(parameter)]}' too, and would be left "
                    "behind: untie them, or leave that module out (min_rows)")


def _remote(module: nn.Module, remote: Dict[str, Any]) -> RemoteModule:
    arguments = {
        "padding_idx": module.padding_idx, "max_norm": module.max_norm,
        "norm_type": module.norm_type,
        "scale_grad_by_freq": module.scale_grad_by_freq,
        "sparse": module.sparse}
    kind: Any = RemoteEmbedding
    if isinstance(module, nn.EmbeddingBag):
        kind = RemoteEmbeddingBag
        arguments.update(mode=module.mode,
                         include_last_offset=module.include_last_offset)
    weight: Optional[Tensor] = None if module.weight.is_meta \
        else module.weight
    client = remote["client"] or _wire.connect(
        _wire.address(remote["server"], None))
    if weight is not None and _wire.describe(client, remote["table"]) is None:
        try:
            return kind(module.num_embeddings, module.embedding_dim,
                        _weight=weight, **arguments, **remote)
        except _wire.AlreadyExists:  # Another worker was faster.
            pass
    return kind(module.num_embeddings, module.embedding_dim, **arguments,
                **remote)


def _fetch_before_forward(model: nn.Module,
                          inputs_of: Callable[..., Inputs]) -> None:
    def fetch(module: nn.Module, arguments: Tuple[Any, ...]) -> None:
        Ahead(modules_of(module), inputs_of(*arguments)).deliver()

    model.register_forward_pre_hook(fetch)
