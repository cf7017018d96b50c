"""Quire — embedding tables as a service.

    import quire

    client = quire.connect("127.0.0.1:7847")
    client.create_table("dictionary", num_embeddings=10, embedding_dim=5)
    rows = client.lookup("dictionary", [[2, 3], [1, 0], [8, 6]])  # (3, 2, 5)
    client.apply_gradient("dictionary", [2], [[1, 1, 1, 1, 1]])

docs/PYTHON.md shows the tasks. Needs numpy, and nothing else.
"""

import pkgutil

# Stubs of proto/quire/v1, elsewhere on sys.path by now, are still quire.v1.
__path__ = pkgutil.extend_path(__path__, __name__)

from . import initializers, optimizers
from ._client import Client, connect
from ._clock import Clock
from ._items import BagGradient, BagLookup, Gradient, Lookup
from ._library import library as _c
from .errors import (AlreadyExists, Cancelled, DataLoss, DeadlineExceeded,
                     Error, FailedPrecondition, Internal, InvalidArgument,
                     NotFound, OutOfRange, ResourceExhausted, Unavailable,
                     Unimplemented, WrongType)
from .futures import Future
from .messages import (Backup, Chunk, ClockState, GradientClip, LogStats,
                       MethodStats, Neighbours, Position, Pushed, PushedTable,
                       RecoveryStats, Rewound, Row, RowChange, ScrubStats,
                       ServerInfo, ServerLimits, Stats, StoredRows, Table,
                       TableSpec, TableStats, Verified)
from .transfer import Export, Import

__version__ = _c.quire_version().decode()

__all__ = [
    "connect", "Client", "Clock", "Future", "Import", "Export",
    "Lookup", "BagLookup", "Gradient", "BagGradient",
    "optimizers", "initializers", "GradientClip",
    "Table", "TableSpec", "TableStats", "Position", "Pushed", "PushedTable",
    "Rewound", "StoredRows", "Row", "RowChange", "Chunk", "Neighbours",
    "Backup", "ServerInfo", "ServerLimits", "Stats", "MethodStats", "LogStats",
    "RecoveryStats", "ScrubStats", "ClockState", "Verified",
    "Error", "InvalidArgument", "WrongType", "NotFound", "OutOfRange",
    "AlreadyExists", "FailedPrecondition", "ResourceExhausted", "Unavailable",
    "DeadlineExceeded", "Cancelled", "DataLoss", "Unimplemented", "Internal",
]
