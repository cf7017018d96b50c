"""nn.Embedding and nn.EmbeddingBag, whose rows are on a server."""

from __future__ import annotations

import dataclasses
from typing import Any, List, Mapping, Optional, Tuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from . import _checkpoint, _wire
from ._kept import Kept
from ._lookup import RemoteLookup, Request
from ._table import RemoteTable, TableSettings


class RemoteModule(nn.Module):
    """What the two modules share: a table, an anchor, kept gradients.

    `anchor` is the module's only parameter, one number without a meaning of
    its own: it carries requires_grad, and makes a backward pass come to the
    table. The rows are on the server.

    Thread safety: as nn.Embedding's: many threads may call forward.
    """

    def __init__(self, settings: TableSettings, server: Optional[str],
                 client: Any, table: Optional[str], weight: Optional[Tensor],
                 wire_dtype: Any, unique: bool) -> None:
        super().__init__()
        travel = _wire.Travel(_wire_name(wire_dtype), unique)
        self.num_embeddings = settings.num_embeddings
        self.embedding_dim = settings.embedding_dim
        self.padding_idx = settings.padding_idx
        self.max_norm = settings.max_norm
        self.norm_type = settings.norm_type
        self.scale_grad_by_freq = settings.scale_grad_by_freq
        self.anchor = nn.Parameter(torch.zeros(1))
        self._ready: List[Tuple[Request, _wire.Rows]] = []
        self.remote = RemoteTable.open(settings, server, client, table, weight)
        self.wire_dtype = wire_dtype or torch.float32
        self.unique = unique
        self._travel = travel
        self._kept = Kept(_of_gradients(travel, self.remote.spec))

    @property
    def table(self) -> str:
        """The table's name on the server."""
        return self.remote.name

    def read_rows(self, ids: Tensor) -> Tensor:
        """The stored rows: with max_norm, before it is applied.

        ids  int64 [n]; the result is float32 [n, dim], on the CPU.
        """
        flat = ids.detach().cpu().to(torch.int64).reshape(-1).numpy()
        return torch.from_numpy(self.remote.read(flat))

    def write_rows(self, ids: Tensor, values: Tensor) -> None:
        """Sets stored rows; optimizer state stays.

        ids     int64 [n], each once
        values  [n, dim]
        """
        flat = ids.detach().cpu().to(torch.int64).reshape(-1).numpy()
        self.remote.write(
            flat, values.detach().cpu().to(torch.float32).numpy())

    def forget(self) -> None:
        """Drops gradients and rows that are kept: the table is another."""
        self._ready.clear()
        self._kept.clear()

    def fetch(self, request: Request) -> _wire.Rows:
        """The rows of a request: those brought in ahead of time, else those
        of a lookup made now."""
        for ready in list(self._ready):
            if ready[0].same_as(request):
                try:
                    self._ready.remove(ready)
                except ValueError:
                    continue  # Another thread has it.
                return ready[1]
        return _wire.lookup(self.remote.client, [self.wanted(request)])[0]

    def wanted(self, request: Request) -> _wire.Wanted:
        """A request as a part of a lookup."""
        bags = request.bags
        winners = (bags is not None and bags.pooling == "max"
                   and self.anchor.requires_grad)
        return _wire.Wanted(self.table, request.ids, bags, winners,
                            self._travel)

    def to_tensor(self, request: Request, rows: _wire.Rows) -> Tensor:
        """Rows as autograd has them."""
        if self.anchor.requires_grad:
            self._kept.watch(self.anchor)
        return RemoteLookup.apply(self.anchor, self._kept, request, rows)

    def __getattr__(self, name: str) -> Any:
        if name == "weight":
            raise AttributeError(
                f"the rows of table '{self.table}' are on the server, not in "
                "the module: call the module to look rows up, read_rows(ids) "
                "and write_rows(ids, values) for stored rows, "
                "quire.torch.gather_state_dict(model) for all of them")
        return super().__getattr__(name)

    def _apply(self, fn: Any, *arguments: Any) -> "RemoteModule":
        # half() and double() are about weights; there are none here.
        super()._apply(fn, *arguments)
        if self.anchor.dtype != torch.float32:
            self.anchor.data = self.anchor.data.float()
        return self

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "_ready": []}

    def get_extra_state(self) -> Mapping[str, Any]:
        """Which table this is, for a state_dict: never its rows."""
        return self.remote.token()

    def _save_to_state_dict(self, destination: Any, prefix: str,
                            keep_vars: bool) -> None:
        del keep_vars
        destination[prefix + _checkpoint.TOKEN] = self.get_extra_state()

    def _load_from_state_dict(self, state_dict: Any, prefix: str,
                              local_metadata: Any, strict: bool,
                              missing_keys: List[str],
                              unexpected_keys: List[str],
                              error_msgs: List[str]) -> None:
        del local_metadata
        _checkpoint.load(self.remote, state_dict, prefix, strict, missing_keys,
                         unexpected_keys, error_msgs)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            text += ", scale_grad_by_freq=True"
        if self.wire_dtype != torch.float32:
            text += f", wire_dtype={self.wire_dtype}"
        if self.unique:
            text += ", unique=True"
        return f"{text}, table='{self.table}', server='{self.remote.server}'"


class RemoteEmbedding(RemoteModule):
    """nn.Embedding with its rows on a Quire server.

    The first eight arguments are nn.Embedding's and mean the same; `sparse`
    makes no difference: a gradient always travels as ids and rows. The others
    have to be named:

    server     "host:port" or "unix:path"; default: $QUIRE_SERVER, else
               127.0.0.1:7847
    client     a quire.Client, in place of `server`
    table      its name. One that exists is attached to, and must agree with
               the other arguments. Default: a name of its own, of a table
               that stays until it is dropped.
    optimizer  how the server applies gradients, as quire.Client.create_table
               takes it; default: SGD with learning rate 0.01, or what an
               existing table has
    wire_dtype  torch.float16 or torch.bfloat16: rows and gradients travel as
               that, half the bytes, rounded to the nearest; they are float32
               on both sides. Default: torch.float32. A gradient that is
               infinite as float16 (from 65520 on) is an overflow to a
               GradScaler, and refused at step().
    unique     of equal ids in a batch only the first travels, and the sum of
               their gradients; the numbers are the same. Where it matters how
               often an id occurs (scale_grad_by_freq, skip_row) gradients
               travel as they are.
    settings   further arguments of quire.Client.create_table

    Errors: those of nn.Embedding; quire.Error.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int,
                 padding_idx: Optional[int] = None,
                 max_norm: Optional[float] = None, norm_type: float = 2.,
                 scale_grad_by_freq: bool = False, sparse: bool = False,
                 _weight: Optional[Tensor] = None, device: Any = None,
                 dtype: Any = None, *, server: Optional[str] = None,
                 client: Any = None, table: Optional[str] = None,
                 optimizer: Any = None, wire_dtype: Any = None,
                 unique: bool = False, **settings: Any) -> None:
        del device  # Rows come back on the device of the ids.
        padding_idx = _checked(num_embeddings, embedding_dim, padding_idx,
                               _weight, dtype, "Padding_idx")
        super().__init__(
            TableSettings(num_embeddings, embedding_dim, padding_idx, max_norm,
                          norm_type, scale_grad_by_freq, optimizer, settings),
            server, client, table, _weight, wire_dtype, unique)
        self.sparse = sparse

    def forward(self, input: Tensor) -> Tensor:
        """The rows of `input`.

        input  int64 or int32, any shape
        The result is float32, input.shape + [dim], on the device of `input`.
        """
        request = self.request(input)
        return self.to_tensor(request, self.fetch(request))

    def request(self, input: Tensor) -> Request:
        """What forward(input) asks of the table."""
        return Request(_ids(input), input.shape, input.device)

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True,
                        padding_idx: Optional[int] = None,
                        max_norm: Optional[float] = None,
                        norm_type: float = 2.,
                        scale_grad_by_freq: bool = False,
                        sparse: bool = False,
                        **remote: Any) -> "RemoteEmbedding":
        """A new table that holds `embeddings`, float [rows, dim].

        freeze  no gradients; as torch's, true unless said otherwise
        remote  server, client, table, optimizer, wire_dtype, unique, as in the
                constructor
        quire.AlreadyExists if there is such a table.
        """
        assert embeddings.dim() == 2, \
            "Embeddings parameter is expected to be 2-dimensional"
        rows, dim = embeddings.shape
        module = cls(rows, dim, padding_idx, max_norm, norm_type,
                     scale_grad_by_freq, sparse, embeddings, **remote)
        module.anchor.requires_grad = not freeze
        return module


class RemoteEmbeddingBag(RemoteModule):
    """nn.EmbeddingBag with its rows on a Quire server, which pools them: only
    the bags cross the wire.

    The arguments are nn.EmbeddingBag's and RemoteEmbedding's. If
    per_sample_weights wants a gradient, the rows themselves are fetched, and
    pooled here. Bags travel as they are, `unique` or not.

    Errors: those of nn.EmbeddingBag; quire.Error.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int,
                 max_norm: Optional[float] = None, norm_type: float = 2.,
                 scale_grad_by_freq: bool = False, mode: str = "mean",
                 sparse: bool = False, _weight: Optional[Tensor] = None,
                 include_last_offset: bool = False,
                 padding_idx: Optional[int] = None, device: Any = None,
                 dtype: Any = None, *, server: Optional[str] = None,
                 client: Any = None, table: Optional[str] = None,
                 optimizer: Any = None, wire_dtype: Any = None,
                 unique: bool = False, **settings: Any) -> None:
        del device
        padding_idx = _checked(num_embeddings, embedding_dim, padding_idx,
                               _weight, dtype, "padding_idx")
        super().__init__(
            TableSettings(num_embeddings, embedding_dim, padding_idx, max_norm,
                          norm_type, scale_grad_by_freq, optimizer, settings),
            server, client, table, _weight, wire_dtype, unique)
        self.mode = mode
        self.sparse = sparse
        self.include_last_offset = include_last_offset

    def forward(self, input: Tensor, offsets: Optional[Tensor] = None,
                per_sample_weights: Optional[Tensor] = None) -> Tensor:
        """One row for each bag.

        input    int64 or int32: [bags, n], or [n] with `offsets` [bags], or
                 [bags + 1] with include_last_offset
        per_sample_weights  float32, as input; mode "sum"
        The result is float32 [bags, dim], on the device of `input`.
        """
        if per_sample_weights is not None and torch.is_grad_enabled():
            if self.scale_grad_by_freq and self.anchor.requires_grad:
                raise ValueError(
                    f"table '{self.table}' has scale_grad_by_freq, which the "
                    "server does not offer for weighted bags: leave out one of "
                    "the two, or use torch.no_grad()")
            if per_sample_weights.requires_grad:
                return self._pool_here(input, offsets, per_sample_weights)
        request = self.request(input, offsets, per_sample_weights)
        return self.to_tensor(request, self.fetch(request))

    def request(self, input: Tensor, offsets: Optional[Tensor] = None,
                per_sample_weights: Optional[Tensor] = None) -> Request:
        """What forward of these asks of the table."""
        self._check(input, offsets, per_sample_weights)
        bounds = self._bounds(input, offsets)
        weights = None
        if per_sample_weights is not None:
            weights = np.ascontiguousarray(
                per_sample_weights.detach().cpu().reshape(-1).numpy())
        return Request(_ids(input), torch.Size([len(bounds) - 1]),
                       input.device, _wire.Bags(self.mode, bounds, weights))

    def _pool_here(self, input: Tensor, offsets: Optional[Tensor],
                   weights: Tensor) -> Tensor:
        self._check(input, offsets, weights)
        self._bounds(input, offsets)
        # With padding_idx torch rounds otherwise, also where no id is padding:
        # so there is always one to name, whose gradient is 0.
        padding = np.array([] if self.padding_idx is None
                           else [self.padding_idx], np.int64)
        unique, places = np.unique(np.append(_ids(input), padding),
                                   return_inverse=True)
        request = Request(unique, torch.Size([len(unique)]), input.device)
        rows = self.to_tensor(request, self.fetch(request))
        local = torch.from_numpy(places[:input.numel()])
        return functional.embedding_bag(
            local.reshape(input.shape).to(input.device), rows,
            None if offsets is None else offsets.to(torch.int64),
            mode=self.mode, per_sample_weights=weights,
            include_last_offset=self.include_last_offset,
            padding_idx=int(places[-1]) if len(padding) else None)

    def _bounds(self, input: Tensor, offsets: Optional[Tensor]) -> np.ndarray:
        """int64 [bags + 1]: where each bag begins, and the last one ends."""
        if offsets is None:
            bags, length = input.shape
            return np.arange(bags + 1, dtype=np.int64) * length
        bounds = offsets.detach().cpu().to(torch.int64).numpy()
        count = input.numel()
        if self.include_last_offset:
            if len(bounds) == 0:
                raise RuntimeError("include_last_offset: number of offset "
                                   "should be at least 1")
            if bounds[-1] < count:
                raise RuntimeError(
                    f"the last offset is {bounds[-1]}, but there are {count} "
                    "ids: with include_last_offset it is their number")
        if len(bounds) and bounds[0] != 0:
            raise RuntimeError(
                "offsets[0] has to be 0, i.e., the first sequence in the "
                "mini-batch has to start from position 0. However, got "
                f"{bounds[0]}")
        if len(bounds) and bounds[-1] > count:
            raise RuntimeError(
                "offsets[-1] can not be greater than input's length "
                f"{count} but got offsets[-1] of {bounds[-1]}")
        if not self.include_last_offset:
            if len(bounds) == 0 and count:
                raise RuntimeError(f"{count} ids, but no bag: offsets is empty")
            bounds = np.append(bounds, count)
        return bounds

    def _check(self, input: Tensor, offsets: Optional[Tensor],
               weights: Optional[Tensor]) -> None:
        # torch.nn.functional.embedding_bag: the order and the sentences.
        if weights is not None and input.size() != weights.size():
            raise ValueError(
                f"embedding_bag: If per_sample_weights ({weights.shape}) is "
                "not None, then it must have the same shape as the input "
                f"({input.shape})")
        if input.dim() == 2:
            if offsets is not None:
                raise ValueError(
                    "if input is 2D, then offsets has to be None, as input is "
                    "treated is a mini-batch of fixed length sequences. "
                    f"However, found offsets of type {type(offsets)}")
        elif input.dim() == 1:
            if offsets is None:
                raise ValueError(
                    "offsets has to be a 1D Tensor but got None")
            if offsets.dim() != 1:
                raise ValueError("offsets has to be a 1D Tensor")
        else:
            raise ValueError("input has to be 1D or 2D Tensor, but got Tensor "
                             f"of dimension {input.dim()}")
        if self.mode not in ("sum", "mean", "max"):
            raise ValueError("mode has to be one of sum, mean or max")
        if self.mode == "max" and self.scale_grad_by_freq:
            raise ValueError("max mode does not support scaling the gradient "
                             "by the frequency")
        if self.mode == "max" and self.sparse:
            raise ValueError("max mode does not support sparse weights")
        if weights is not None and self.mode != "sum":
            raise NotImplementedError(
                "embedding_bag: per_sample_weights was not None. "
                "per_sample_weights is only supported for mode='sum' "
                f"(got mode='{self.mode}').")
        if weights is not None and weights.dtype != torch.float32:
            raise RuntimeError(
                "Expected tensor for argument #1 'weight' to have the same "
                "type as tensor for argument #1 'per_sample_weights'; but type "
                f"torch.FloatTensor does not equal {weights.type()} (while "
                "checking arguments for embedding_bag)")

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True,
                        max_norm: Optional[float] = None,
                        norm_type: float = 2.,
                        scale_grad_by_freq: bool = False, mode: str = "mean",
                        sparse: bool = False,
                        include_last_offset: bool = False,
                        padding_idx: Optional[int] = None,
                        **remote: Any) -> "RemoteEmbeddingBag":
        """As RemoteEmbedding.from_pretrained, with the arguments of
        nn.EmbeddingBag's."""
        assert embeddings.dim() == 2, \
            "Embeddings parameter is expected to be 2-dimensional"
        rows, dim = embeddings.shape
        module = cls(rows, dim, max_norm, norm_type, scale_grad_by_freq, mode,
                     sparse, embeddings, include_last_offset, padding_idx,
                     **remote)
        module.anchor.requires_grad = not freeze
        return module

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, mode='{self.mode}'"


def _ids(input: Tensor) -> np.ndarray:
    """int64 [n], in memory of its own or of a tensor that nobody changes
    while a lookup runs."""
    if input.dtype not in (torch.int64, torch.int32):
        # torch.nn.functional.embedding: the sentence.
        kind = input.type().replace("torch.cuda.", "torch.")
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the "
            f"following scalar types: Long, Int; but got {kind} instead "
            "(while checking arguments for embedding)")
    flat = input.detach().reshape(-1)
    ids = flat.to("cpu", torch.int64).numpy()
    # A copy: the ids are needed again for the gradient, and a loop may fill
    # the same tensor with the next batch before that.
    return ids.copy() if flat.dtype == torch.int64 and \
        flat.device.type == "cpu" else ids


def _wire_name(wire_dtype: Any) -> Optional[str]:
    names = {None: None, torch.float32: None, torch.float16: "float16",
             torch.bfloat16: "bfloat16"}
    if wire_dtype not in names:
        raise ValueError(f"wire_dtype is {wire_dtype}; it is torch.float32, "
                         "torch.float16 or torch.bfloat16")
    return names[wire_dtype]


def _of_gradients(travel: _wire.Travel, spec: Any) -> _wire.Travel:
    """How a table's gradients travel: each by itself where it matters how
    often an id occurs."""
    counts = spec.scale_grad_by_freq or spec.non_finite_policy == "skip_row"
    return dataclasses.replace(travel, unique=travel.unique and not counts)


def _checked(num_embeddings: int, embedding_dim: int,
             padding_idx: Optional[int], weight: Optional[Tensor], dtype: Any,
             padding_name: str) -> Optional[int]:
    """padding_idx from the front; the errors of torch's constructors."""
    if num_embeddings < 0 or embedding_dim < 0:
        raise RuntimeError(
            "Trying to create tensor with negative dimension "
            f"{min(num_embeddings, embedding_dim)}: "
            f"[{num_embeddings}, {embedding_dim}]")
    if dtype not in (None, torch.float32):
        raise ValueError(f"dtype is {dtype}; rows are torch.float32")
    if padding_idx is not None:
        assert -num_embeddings <= padding_idx < num_embeddings, \
            f"{padding_name} must be within num_embeddings"
        padding_idx %= num_embeddings
    if weight is not None:
        assert list(weight.shape) == [num_embeddings, embedding_dim], \
            "Shape of weight does not match num_embeddings and embedding_dim"
    return padding_idx
