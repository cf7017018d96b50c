"""What cases are made of: shapes, rows, ids with duplicates, gradients."""

import numpy


def size(random, largest=70):
    """A dim: small ones often, so that tails of vectors are met."""
    return int(random.integers(1, 10 if random.random() < 0.4 else largest + 1))


def row_count(random, largest=300):
    """Rows of a table: mostly few, so that ids meet again."""
    return int(random.choice([1, 2, 3, 5, 8, 13, 30, largest],
                             p=[.05, .05, .1, .2, .2, .2, .15, .05]))


def floats(random, *shape, scale=1.0):
    """Normal numbers."""
    return (random.standard_normal(shape) * scale).astype(numpy.float32)


def table(random, largest=300):
    """Rows [V, D] of a table to start from."""
    return floats(random, row_count(random, largest), size(random))


def shape(random, rank, largest=6):
    """A shape of this rank; one in four has an empty dimension somewhere."""
    dims = random.integers(1, largest, rank)
    if rank and random.random() < 0.25:
        dims[random.integers(rank)] = 0
    return tuple(int(d) for d in dims)


def ids(random, row_count, *shape):
    """Ids of a table; in half of the draws from a few of its rows."""
    pool = row_count
    if random.random() < 0.5:
        pool = min(row_count, 3)
    chosen = random.permutation(row_count)[:pool]
    return chosen[random.integers(0, pool, shape)].astype(numpy.int64)


def step_ids(random, row_count):
    """Ids of one push: duplicates, rank 1 or 2, now and then none."""
    if random.random() < 0.1:
        return numpy.zeros((0,), numpy.int64)
    if random.random() < 0.3:
        return ids(random, row_count, *random.integers(1, 5, 2))
    return ids(random, row_count, int(random.integers(1, 25)))


def gradients(random, ids, dim, scale=1.0):
    """Gradients of ids; some rows are all zero, which is a touch too."""
    drawn = floats(random, *ids.shape, dim, scale=scale)
    if ids.size and random.random() < 0.2:
        drawn.reshape(-1, dim)[random.integers(ids.size)] = 0
    return drawn


def chance(random, probability=0.5):
    """True so often."""
    return bool(random.random() < probability)


def one_of(random, *choices):
    """One of them, as it is."""
    return choices[random.integers(len(choices))]


def padding(random, row_count):
    """A padding index as torch takes it, also from the end; or none."""
    return one_of(random, None, int(random.integers(-row_count, row_count)))
