"""One generated case: its dice, its tables, and what it compares."""

import dataclasses
import zlib

import numpy

TOLERANCE = 1e-6


class Mismatch(AssertionError):
    """The server's number is not the oracle's."""


@dataclasses.dataclass
class Tally:
    """What a group compared."""
    cases: int = 0
    numbers: int = 0
    bit_exact: int = 0
    within: int = 0


@dataclasses.dataclass
class Group:
    """Cases of one kind: a function that runs one, and how many to run."""
    name: str
    run: object
    cases: int
    rule: str


GROUPS = {}


def group(cases, rule="bit-exact"):
    """Makes a function of one case the group of its name."""
    def register(run):
        GROUPS[run.__name__] = Group(run.__name__, run, cases, rule)
        return run
    return register


def _bits(numbers):
    return numpy.ascontiguousarray(numbers, numpy.float32).view(numpy.uint32)


class Case:
    """One case of a group; a seed, the group's name and an index make it."""

    def __init__(self, group_name, index, seed, connection, tally, fused):
        self.index = index
        self.random = numpy.random.default_rng(
            [seed, zlib.crc32(group_name.encode()), index])
        self.connection = connection
        self.origin = (f"group {group_name}, case {index}: run again with "
                        f"--seed {seed} --group {group_name} --case {index}")
        self._tally = tally
        # Without fused multiply-adds torch's own last bits are others.
        self._fused = fused
        self._tables = []

    def bring(self, rows, **spec):
        """A table that holds `rows`."""
        rows = numpy.asarray(rows, numpy.float32)
        message = self._spec(num_embeddings=rows.shape[0],
                             embedding_dim=rows.shape[1], **spec)
        self._tables.append(self.connection.bring(message, rows))
        return self._tables[-1]

    def create(self, row_count, dim, **spec):
        """A table that its initialiser fills."""
        message = self._spec(num_embeddings=row_count, embedding_dim=dim,
                             **spec)
        self._tables.append(self.connection.create(message))
        return self._tables[-1]

    def _spec(self, **fields):
        fields.setdefault("shard_count", int(self.random.choice([1, 2, 16])))
        return self.connection.spec(**fields)

    def end(self):
        """Drops the case's tables."""
        for table in self._tables:
            table.drop()

    # --- Comparing ---

    def copied(self, what, got, want):
        """Bytes that were moved: every bit, a NaN's payload too."""
        self._compare(what, got, want, "copied")

    def exact(self, what, got, want):
        """The same arithmetic: every bit, but a NaN is a NaN."""
        self._compare(what, got, want, "exact" if self._fused else "close")

    def close(self, what, got, want, slack=0):
        """Within 1e-6 + 1e-6 |want|, or within `slack` where that is more."""
        self._compare(what, got, want, "close", slack)

    def equal(self, what, got, want):
        """Counts, shapes and names."""
        if got != want:
            self.fail(f"{what}: the server says {got!r}, wanted {want!r}")

    def true(self, what, holds):
        """What must hold of the case itself."""
        if not holds:
            self.fail(what)

    def fail(self, sentence):
        """The end of this case."""
        tables = "\n".join(f"  table: {str(t.spec).strip()}".replace(
            "\n", "\n    ") for t in self._tables)
        raise Mismatch(f"{self.origin}\n  {sentence}\n{tables}")

    def _compare(self, what, got, want, rule, slack=0):
        want = numpy.asarray(want)
        if got.shape != want.shape:
            self.fail(f"{what}: shape {got.shape}, wanted {want.shape}")
        with numpy.errstate(all="ignore"):
            narrow = want.astype(numpy.float32)
            same = _bits(got) == _bits(narrow)
            if rule != "copied":
                same |= numpy.isnan(got) & numpy.isnan(want)
            near = same | (got == want) | (
                numpy.abs(got.astype(numpy.float64) - want) <=
                numpy.maximum(TOLERANCE + TOLERANCE * numpy.abs(want), slack))
        good = near if rule == "close" else same
        self._tally.numbers += got.size
        self._tally.bit_exact += int(same.sum())
        self._tally.within += int((near & ~same).sum())
        if good.all():
            return
        at = tuple(int(i) for i in numpy.argwhere(~good)[0])
        self.fail(
            f"{what}: {int((~good).sum())} of {got.size} numbers differ "
            f"({rule} is demanded); the first at {list(at)}: the server has "
            f"{got[at]!r} ({int(_bits(got)[at]):08x}), the oracle "
            f"{want[at]!r} ({int(_bits(narrow)[at]):08x})")
