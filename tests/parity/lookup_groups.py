"""Lookups, initial rows and the padding row: what is copied, not computed."""

import numpy

import bits
import draw
import torch_oracle
from case import group


@group(cases=300)
def lookup(case):
    """Ids of rank 0 to 4, empty ones too, give ids.shape + [dim]."""
    random = case.random
    rows = draw.table(random)
    table = case.bring(rows)
    batches = [draw.ids(random, len(rows), *draw.shape(random, rank))
               for rank in range(5)]
    for ids, got in zip(batches, table.lookups(batches)):
        case.copied(f"lookup of ids of shape {list(ids.shape)}", got,
                    torch_oracle.embedding(rows, ids)[0])


SPECIAL = numpy.array(
    [0x7fc00000, 0xffc00000, 0x7fc12345, 0x7f800001, 0xffbfffff, 0x7fffffff,
     0x80000000, 0x00000000, 0x00000001, 0x807fffff, 0x00800000, 0x7f7fffff,
     0x7f800000, 0xff800000], numpy.uint32)


@group(cases=100)
def special_values(case):
    """NaN payloads, -0.0, denormals and infinities come back as they went."""
    random = case.random
    row_count, dim = draw.row_count(random), draw.size(random)
    rows = random.choice(SPECIAL, (row_count, dim))
    api = case.connection.api
    table = case.create(row_count, dim,
                        non_finite_policy=api.NON_FINITE_POLICY_ALLOW)
    messages = bits.Messages(case.connection)
    messages.write(table, rows)
    ids = draw.ids(random, row_count, int(random.integers(1, 30)))
    want = torch_oracle.embedding(rows.view(numpy.float32), ids)[0]
    case.copied("lookup", messages.lookup(table, ids).view(numpy.float32),
                want)
    case.copied("stored rows", messages.read(table).view(numpy.float32),
                rows.view(numpy.float32))


@group(cases=100)
def initialiser_padding(case):
    """The padding row is born as zeros; an import keeps what it brings."""
    random = case.random
    row_count, dim = draw.row_count(random), draw.size(random)
    padding = int(random.integers(-row_count, row_count))
    api = case.connection.api
    initializer = draw.one_of(
        random, api.Initializer(),
        api.Initializer(constant=api.Initializer.Constant(value=0.5)),
        api.Initializer(uniform=api.Initializer.Uniform(low=1, high=2)))
    seed = int(random.integers(1 << 62))
    all_ids = numpy.arange(row_count)
    without = case.create(row_count, dim, seed=seed, initializer=initializer)
    born = case.create(row_count, dim, seed=seed, initializer=initializer,
                       padding_idx=padding)
    want = without.lookup(all_ids)
    want[padding] = 0
    case.copied("a table born with padding", born.lookup(all_ids), want)
    case.equal("padding_idx as described", born.describe().spec.padding_idx,
               padding % row_count)

    rows = draw.floats(random, row_count, dim)
    brought = case.bring(rows, padding_idx=padding)
    case.copied("an import with padding", brought.lookup(all_ids),
                torch_oracle.embedding(rows, all_ids, padding)[0])


@group(cases=200)
def padding(case):
    """The padding row takes no gradient; those that came are counted."""
    random = case.random
    rows = draw.table(random)
    padding_idx = int(random.integers(-len(rows), len(rows)))
    row = padding_idx % len(rows)
    table = case.bring(rows, padding_idx=padding_idx)
    ids = draw.ids(random, len(rows), *draw.shape(random, 2, largest=8))
    if draw.chance(random):
        ids[random.random(ids.shape) < 0.5] = row
    gradient = draw.gradients(random, ids, rows.shape[1])
    pushed = table.push(ids, gradient, learning_rate=1.0)
    case.equal("padding_dropped", pushed.padding_dropped,
               int((ids == row).sum()))
    case.equal("rows_changed", pushed.rows_changed,
               len(torch_oracle.touched(ids, len(rows), padding_idx)))
    want = torch_oracle.tensor(rows).sub_(torch_oracle.tensor(
        torch_oracle.dense_gradient(rows, ids, gradient, padding_idx)))
    case.exact("rows after a push", table.read()[0], want.numpy())
    case.copied("the padding row", table.lookup(row), rows[row])
