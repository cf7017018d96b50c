"""Many tables, one round trip."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Tuple

from torch import Tensor, nn

from . import _wire
from ._lookup import Request
from .embedding import RemoteModule


def as_arguments(given: Any) -> Tuple[Any, ...]:
    """What a module's forward is called with: ids, or a tuple."""
    return tuple(given) if isinstance(given, (tuple, list)) else (given,)


def requests_of(modules: Mapping[str, RemoteModule],
                     inputs: Mapping[str, Any]) -> Dict[str, Request]:
    """What the modules named ask for. KeyError names one that is not there."""
    requests = {}
    for name, given in inputs.items():
        if name not in modules:
            raise KeyError(f"there is no remote module '{name}'; there are "
                           f"{', '.join(map(repr, modules))}")
        requests[name] = modules[name].request(*as_arguments(given))
    return requests


def wanted_of(modules: Mapping[str, RemoteModule],
              requests: Mapping[str, Request]) -> List[_wire.Wanted]:
    """The parts of one lookup, in the order of the requests."""
    return [modules[name].wanted(request)
            for name, request in requests.items()]


class RemoteEmbeddingCollection(nn.Module):
    """Many RemoteEmbedding and RemoteEmbeddingBag modules of one server,
    looked up in one round trip.

        features = RemoteEmbeddingCollection({
            "user": RemoteEmbedding(10**6, 64, table="user"),
            "words": RemoteEmbeddingBag(50000, 64, table="words")})
        rows = features({"user": users, "words": (words, offsets)})

    Thread safety: as its modules'.
    """

    def __init__(self, modules: Mapping[str, RemoteModule]) -> None:
        super().__init__()
        for name, module in modules.items():
            if not isinstance(module, RemoteModule):
                raise TypeError(f"'{name}' is a {type(module).__name__}; it "
                                "must be a RemoteEmbedding or a "
                                "RemoteEmbeddingBag")
        servers = {module.remote.server for module in modules.values()}
        if len(servers) > 1:
            raise ValueError(f"the tables are on {len(servers)} servers "
                             f"({', '.join(sorted(servers))}): one round trip "
                             "goes to one")
        self.tables = nn.ModuleDict(modules)

    def forward(self, inputs: Mapping[str, Any]) -> Dict[str, Tensor]:
        """Rows by name.

        inputs  by name, what the module takes: ids, or a tuple of (ids,
                offsets[, per_sample_weights]); not every name is needed
        The result has the names of `inputs`; KeyError for another one.
        """
        requests = requests_of(self.tables, inputs)
        if not requests:
            return {}
        client = self.tables[next(iter(requests))].remote.client
        rows = _wire.lookup(client, wanted_of(self.tables, requests))
        return {name: self.tables[name].to_tensor(request, one)
                for (name, request), one in zip(requests.items(), rows)}
