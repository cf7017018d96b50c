"""What calls return: tables, positions, figures. Field by field the messages of
quire/v1/*.proto, whose comments say more; enums are their names in small
letters: "logged" for PERSISTENCE_LOGGED."""

from __future__ import annotations

import dataclasses
from typing import Dict, List, Optional

import numpy as np

from ._json import of_enum
from .initializers import Initializer
from .optimizers import Optimizer


@dataclasses.dataclass(frozen=True, order=True)
class Position:
    """A place in a server's order of changes: of a push, of a snapshot, of the
    rows of a lookup, which then have all changes up to there.

    Positions of one epoch are ordered by their changes. One of a later epoch is
    the larger; it says nothing of a change that was lost with the epoch before
    (POSITION_LOST).

    They can be pickled; Position(**dataclasses.asdict(position)) is the same,
    by way of JSON too.
    """

    #: Which start of the server.
    epoch: int
    #: Which change: 1 for the first.
    lsn: int


@dataclasses.dataclass(frozen=True)
class GradientClip:
    """A bound on a push's gradients; one of the three, finite and more than
    0."""

    #: Each element is put into [-value, value].
    value: Optional[float] = None
    #: Each row gets this Euclidean norm at most.
    row_norm: Optional[float] = None
    #: All rows of the table in one push, as one vector, get this at most.
    push_norm: Optional[float] = None


@dataclasses.dataclass(frozen=True)
class TableSpec:
    """What a table is. In what a server returns every default is filled in."""

    name: str = ""
    kind: Optional[str] = of_enum("TABLE_KIND_")
    num_embeddings: int = 0
    embedding_dim: int = 0
    storage_dtype: Optional[str] = of_enum("ELEMENT_TYPE_")
    initializer: Optional[Initializer] = None
    seed: Optional[int] = None
    padding_idx: Optional[int] = None
    max_norm: Optional[float] = None
    norm_type: Optional[float] = None
    scale_grad_by_freq: bool = False
    optimizer: Optional[Optimizer] = None
    frozen: bool = False
    #: "memory" or "logged".
    persistence: Optional[str] = of_enum("PERSISTENCE_")
    #: "memory", "written" or "synced".
    default_durability: Optional[str] = of_enum("DURABILITY_")
    shard_count: Optional[int] = None
    #: "reject", "skip_row" or "allow".
    non_finite_policy: Optional[str] = of_enum("NON_FINITE_POLICY_")
    clip: Optional[GradientClip] = None


@dataclasses.dataclass(frozen=True)
class TableStats:
    """Counters of a table since it was made."""

    row_count: int = 0
    value_bytes: int = 0
    state_bytes: int = 0
    label_bytes: int = 0
    label_count: int = 0
    lookups: int = 0
    rows_looked_up: int = 0
    pushes: int = 0
    rows_changed: int = 0
    rows_skipped: int = 0


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as it is."""

    #: 16 bytes: this incarnation.
    uid: bytes = b""
    spec: TableSpec = TableSpec()
    #: "filling" or "ready".
    state: Optional[str] = of_enum("TABLE_STATE_")
    #: Share of initial rows written.
    filled: float = 0.0
    #: Pushes so far.
    step: int = 0
    stats: TableStats = TableStats()
    #: Of a MEMORY table of a server with a data directory: when it was saved.
    saved_unix_seconds: Optional[int] = None
    #: 16 bytes: the incarnation that was created, of one that was rewound.
    origin_uid: bytes = b""
    #: Of its rows, labels or step; None for a MEMORY table, and if it is not
    #: known.
    last_change_lsn: Optional[int] = None

    @property
    def name(self) -> str:
        return self.spec.name


@dataclasses.dataclass(frozen=True, eq=False)
class PushedTable:
    """What a push did to one table."""

    #: 16 bytes: the incarnation that was changed.
    uid: bytes
    rows_changed: int
    #: Gradients of the padding row, which were dropped.
    padding_dropped: int
    #: Rows that the non-finite policy left as they were.
    rows_skipped: int
    #: The table's step count, this push included.
    step: int
    #: When asked for: as per_sample_weights, from rows before the push. None
    #: otherwise, and of a duplicate.
    weight_gradients: Optional[np.ndarray] = None


@dataclasses.dataclass(frozen=True, eq=False)
class Pushed:
    """What a push did."""

    #: None for MEMORY tables.
    position: Optional[Position]
    #: How safe it was when it was answered: "memory", "written" or "synced".
    reached: Optional[str]
    #: An earlier try had been applied, whose answer was lost; figures are 0.
    duplicate: bool
    #: However often it was sent, it was applied once.
    exactly_once: bool
    #: In the order of the gradients.
    tables: List[PushedTable]


@dataclasses.dataclass(frozen=True)
class Rewound:
    """A table that is what it was."""

    #: The new incarnation.
    table: Table = Table()
    #: The change that put it in the place of the old one.
    position: Optional[Position] = None


@dataclasses.dataclass(frozen=True, eq=False)
class StoredRows:
    """Rows as they are stored."""

    #: float32 [*ids.shape, dim]
    values: np.ndarray
    #: float32 [*ids.shape, floats of state]: the optimizer's, in the order of
    #: docs/OPTIMIZERS.md; None if it has none.
    state: Optional[np.ndarray]


@dataclasses.dataclass(frozen=True)
class RowChange:
    """What last changed a row."""

    lsn: int = 0
    #: "push", "write" or "create".
    kind: Optional[str] = of_enum("ROW_CHANGE_KIND_")


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One stored row, and what last changed it."""

    table_uid: bytes
    #: Pushes of the table so far.
    step: int
    #: "" if it has none.
    label: str
    #: float32 [dim]
    values: np.ndarray
    #: The optimizer's, by name: float32 [dim], or [1].
    state: Dict[str, np.ndarray]
    #: All changes up to here are in it; None for a MEMORY table.
    position: Optional[Position]
    #: None: it was before first_lsn.
    last_change: Optional[RowChange]
    #: The oldest change whose record is kept.
    first_lsn: int


@dataclasses.dataclass(frozen=True, eq=False)
class Chunk:
    """Rows of consecutive ids."""

    first_id: int
    #: float32 [n, dim]
    values: np.ndarray
    #: [n]; None if no row of the table has one.
    labels: Optional[List[str]] = None
    #: float32 [n, floats of state]; None if it was not asked for, or the
    #: optimizer has none.
    state: Optional[np.ndarray] = None


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours:
    """The neighbours of one query, nearest first; ties by smaller id."""

    #: int64 [k], or fewer
    ids: np.ndarray
    #: float32, as many: as the metric says
    scores: np.ndarray
    #: As many, when asked for; "" where a row has none.
    labels: Optional[List[str]] = None


@dataclasses.dataclass(frozen=True)
class Backup:
    """A backup that is on the server's disk, and has been read back."""

    position: Optional[Position] = None
    bytes: int = 0
    files: int = 0


@dataclasses.dataclass(frozen=True)
class Verified:
    """What is stored of a table is as it was written."""

    #: Of the table, that were read; rows that were never changed are in none.
    chunks_verified: int = 0
    #: In which snapshot; 0 if there is none: the log has all.
    snapshot_lsn: int = 0


@dataclasses.dataclass(frozen=True)
class ClockState:
    """Where the workers of a clock are."""

    #: Steps of the slowest that has not left; None if all have.
    slowest_step: Optional[int] = None
    #: Which it is; the first of several.
    slowest_worker: Optional[int] = None
    #: Workers that have left, ascending.
    left: List[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class ServerLimits:
    """Bounds on requests, in force on a server."""

    ids_per_request: int = 0
    tables_per_request: int = 0
    rank: int = 0
    lookup_reply_bytes: int = 0
    push_bytes: int = 0
    embedding_dim: int = 0
    table_bytes: int = 0
    inflight_bytes: int = 0
    nearest_count: int = 0


@dataclasses.dataclass(frozen=True)
class ServerInfo:
    """What a server is."""

    version: str = ""
    features: List[str] = dataclasses.field(default_factory=list)
    limits: ServerLimits = ServerLimits()
    epoch: int = 0
    instruction_set: str = ""
    thread_count: int = 0


@dataclasses.dataclass(frozen=True)
class MethodStats:
    """Requests answered, of one method."""

    method: str = ""
    ok: int = 0
    failed: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0


@dataclasses.dataclass(frozen=True)
class ScrubStats:
    """How whole the snapshots are that are kept, by reading them back."""

    passes: int = 0
    #: Of the last pass, in seconds since 1970; 0: there was none.
    last_pass_unix_seconds: int = 0
    bytes_read: int = 0
    findings: int = 0


@dataclasses.dataclass(frozen=True)
class LogStats:
    """The log, and how safe what is in it is."""

    appended: Optional[Position] = None
    synced: Optional[Position] = None
    first_lsn: int = 0
    bytes: int = 0
    unsynced_bytes: int = 0
    writes: int = 0
    syncs: int = 0
    longest_unsynced_seconds: float = 0.0
    has_failed: bool = False
    snapshot_lsn: int = 0
    estimated_recovery_seconds: float = 0.0
    #: None if they are not read back.
    scrub: Optional[ScrubStats] = None
    #: Sentences: which, and what is damaged.
    damaged_snapshots: List[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class RecoveryStats:
    """How far a start is."""

    #: "snapshot" or "log".
    phase: Optional[str] = of_enum("RECOVERY_PHASE_")
    share_done: float = 0.0
    seconds_left: float = 0.0
    bytes_done: int = 0
    bytes_total: int = 0


@dataclasses.dataclass(frozen=True)
class Stats:
    """Counters since a server started."""

    uptime_seconds: float = 0.0
    table_bytes: int = 0
    inflight_bytes: int = 0
    methods: List[MethodStats] = dataclasses.field(default_factory=list)
    tables: List[Table] = dataclasses.field(default_factory=list)
    #: None without a data directory.
    log: Optional[LogStats] = None
    sessions: int = 0
    #: Only while the server recovers.
    recovery: Optional[RecoveryStats] = None
