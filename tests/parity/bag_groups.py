"""Bags: nn.EmbeddingBag's pooling, its winners and its gradients."""

import copy
import dataclasses

import numpy

import draw
import torch_oracle
from case import group
from connection import Bags

# torch sorts the ids of a backward pass, above this many unstably.
STABLE_IDS = 16


@dataclasses.dataclass
class Draw:
    """Ids in bags, as both sides take them."""
    rows: numpy.ndarray
    ids: numpy.ndarray
    offsets: object
    weights: object
    padding_idx: object

    def ranges(self):
        """Where each bag begins and ends in the flat ids."""
        if self.offsets is None:
            bags, length = self.ids.shape
            return [(b * length, (b + 1) * length) for b in range(bags)]
        ends = list(self.offsets[1:]) + [self.ids.size]
        return list(zip(self.offsets.tolist(), [int(e) for e in ends]))

    def counts(self):
        """Ids per bag that are not padding."""
        flat = self.ids.ravel()
        padding = self.padding()
        return numpy.array([int((flat[begin:end] != padding).sum())
                            for begin, end in self.ranges()])

    def padding(self):
        """The padding row, or one that no id names."""
        return -1 if self.padding_idx is None else (
            self.padding_idx % len(self.rows))

    def bags(self, pooling, **more):
        """The message's bags."""
        return Bags(pooling, offsets=self.offsets, weights=self.weights,
                    **more)

    def per_bag(self, values):
        """One value per bag, repeated for each of its ids."""
        lengths = [end - begin for begin, end in self.ranges()]
        return numpy.repeat(values, lengths, axis=0)


def draw_bags(case, weighted, largest_bag=12, scale=1.0, few=False):
    """Bags, some empty, some of padding alone; by offsets or by rows."""
    random = case.random
    rows = draw.table(random) * numpy.float32(scale)
    padding_idx = draw.padding(random, len(rows))
    bags = int(random.integers(1, 8))
    offsets = None
    if draw.chance(random, 0.6):
        lengths = random.integers(0, 3 if few else largest_bag, bags)
        lengths[random.random(bags) < 0.2] = 0
        offsets = numpy.concatenate([[0], numpy.cumsum(lengths)[:-1]])
        ids = draw.ids(random, len(rows), int(lengths.sum()))
    else:
        ids = draw.ids(random, len(rows), bags, int(
            random.integers(1, 3 if few else largest_bag)))
    if padding_idx is not None and draw.chance(random):
        ids[random.random(ids.shape) < 0.4] = padding_idx % len(rows)
    weights = draw.floats(random, *ids.shape) if weighted else None
    return Draw(rows, ids, offsets, weights, padding_idx)


def torch_pool(drawn, mode, **options):
    """nn.EmbeddingBag's output for a draw."""
    if not drawn.ids.size:
        # 1.13 refuses some of these; the sane answer is zeros.
        return numpy.zeros((len(drawn.ranges()), drawn.rows.shape[1]),
                           numpy.float32)
    return torch_oracle.pool(drawn.rows, drawn.ids, mode, drawn.offsets,
                             drawn.weights, drawn.padding_idx, **options)


def padding_spec(drawn):
    """The table's padding, if the draw has one."""
    return {} if drawn.padding_idx is None else {
        "padding_idx": drawn.padding_idx}


@group(cases=400, rule="bit-exact; sqrtn 1e-6")
def bags_forward(case):
    """Sum, weighted sum, mean, max and sqrtn of offsets and of rows."""
    pooling = draw.one_of(case.random, "sum", "sum", "mean", "max", "sqrtn")
    drawn = draw_bags(case, pooling == "sum" and draw.chance(case.random))
    table = case.bring(drawn.rows, **padding_spec(drawn))
    got = table.lookup(drawn.ids, drawn.bags(pooling))
    if pooling != "sqrtn":
        case.exact(f"{pooling} of bags", got, torch_pool(drawn, pooling))
        return
    want = torch_pool(drawn, "sum").astype(numpy.float64)
    root = numpy.sqrt(numpy.maximum(drawn.counts(), 1))
    case.close("sqrtn of bags", got, want / root[:, None])


@group(cases=60, rule="bit-exact")
def bags_special(case):
    """max: ties keep the first, a NaN is kept and never taken; no bags."""
    random = case.random
    api = case.connection.api
    rows = random.choice(numpy.array(
        [numpy.nan, 0.0, -0.0, 1.0, 2.0, numpy.inf, -numpy.inf],
        numpy.float32), (6, draw.size(random)))
    table = case.create(6, rows.shape[1],
                        non_finite_policy=api.NON_FINITE_POLICY_ALLOW)
    table.write(numpy.arange(6), rows)
    drawn = Draw(rows, draw.ids(random, 6, 4, 5), None, None, None)
    for mode in ("max", "sum", "mean"):
        case.exact(f"{mode} of special values",
                   table.lookup(drawn.ids, drawn.bags(mode)),
                   torch_pool(drawn, mode))
    for shape in ((0, 3), (3, 0)):
        empty = numpy.zeros(shape, numpy.int64)
        case.copied(f"bags of shape {shape}", table.lookup(
            empty, Bags("max")), numpy.zeros((shape[0], rows.shape[1]),
                                             numpy.float32))


@group(cases=150, rule="1e-6; norm inf bit-exact")
def bags_max_norm(case):
    """max_norm first, for every id of every bag, then the pooling."""
    random = case.random
    mode = draw.one_of(random, "sum", "mean", "max")
    drawn = draw_bags(case, mode == "sum" and draw.chance(random), scale=0.3)
    norm_type = draw.one_of(random, 2.0, 1.0, float("inf"))
    max_norm = float(random.uniform(0.1, 1))
    table = case.bring(drawn.rows, max_norm=max_norm, norm_type=norm_type,
                       **padding_spec(drawn))
    want = torch_pool(drawn, mode, max_norm=max_norm, norm_type=norm_type)
    compare = case.exact if norm_type == float("inf") else case.close
    compare(f"{mode} of renormalised rows",
            table.lookup(drawn.ids, drawn.bags(mode)), want)
    case.copied("stored rows", table.read()[0], drawn.rows)


# --- Winners ---

def winners_of(drawn, pooled):
    """[bags, dim]: the first position in the bag that holds the maximum."""
    flat = drawn.ids.ravel()
    winners = numpy.full(pooled.shape, -1, numpy.int32)
    for bag, (begin, end) in enumerate(drawn.ranges()):
        for position in reversed(range(end - begin)):
            row = flat[begin + position]
            if row != drawn.padding():
                held = drawn.rows[row] == pooled[bag]
                winners[bag][held] = position
    return winners


def with_ties(case, drawn):
    """Half of the tables hold few different numbers, so that rows tie."""
    if draw.chance(case.random):
        drawn.rows[:] = numpy.round(drawn.rows)
    return drawn


@group(cases=200)
def bags_winners(case):
    """The position that won each element: the first of equals, -1 if none."""
    drawn = with_ties(case, draw_bags(case, False))
    table = case.bring(drawn.rows, **padding_spec(drawn))
    pooled, winners = table.lookup_with_winners(
        drawn.ids, drawn.bags("max", return_winners=True))
    want = torch_pool(drawn, "max")
    case.exact("max of bags", pooled, want)
    case.equal("winners", winners.tolist(),
               winners_of(drawn, want).ravel().tolist())


# --- Gradients ---

def pushed_gradient(case, drawn, pooling, gradient, winners=None, **spec):
    """The table's rows after a step of SGD at learning rate 1, negated."""
    table = case.bring(numpy.zeros_like(drawn.rows), **padding_spec(drawn),
                       **spec)
    table.push(drawn.ids, gradient, learning_rate=1.0,
               bags=drawn.bags(pooling, winners=winners))
    return 0 - table.read()[0]


def bag_gradient(case, drawn):
    """A gradient for the bags' rows; small, since torch reorders its sums."""
    return draw.floats(case.random, len(drawn.ranges()), drawn.rows.shape[1],
                       scale=0.1)


def same_sums(case, what, drawn, gradient, pooling, got):
    """Torch's gradients: up to 16 ids it sums in request order, above that
    it may not. Sums of n terms in two orders differ by a share of the terms'
    magnitudes, n 2^-24 at most in each, however small the sum."""
    want = torch_gradients(drawn, gradient, pooling)[0]
    if drawn.ids.size <= STABLE_IDS:
        case.exact(what, got, want)
        return
    positive = copy.copy(drawn)
    if drawn.weights is not None:
        positive.weights = numpy.abs(drawn.weights)
    magnitude = torch_gradients(positive, numpy.abs(gradient), pooling)[0]
    case.close(what, got, want, drawn.ids.size * 2.0 ** -24 * magnitude)


def torch_gradients(drawn, gradient, mode, **options):
    """nn.EmbeddingBag's gradients for a draw."""
    if not drawn.ids.size:
        return numpy.zeros_like(drawn.rows), numpy.zeros(0, numpy.float32)
    return torch_oracle.pool_gradients(
        drawn.rows, drawn.ids, gradient, mode, drawn.offsets, drawn.weights,
        drawn.padding_idx, **options)


@group(cases=300, rule="1e-6; bit-exact to 16 ids")
def bags_backward(case):
    """The gradient of each mode reaches the rows that made the bag."""
    pooling = draw.one_of(case.random, "sum", "sum", "mean", "sqrtn")
    drawn = draw_bags(case, pooling == "sum" and draw.chance(case.random),
                      few=draw.chance(case.random))
    gradient = bag_gradient(case, drawn)
    got = pushed_gradient(case, drawn, pooling, gradient)
    if pooling == "sqrtn":
        scales = 1 / numpy.sqrt(numpy.maximum(drawn.counts(), 1))
        drawn.weights = drawn.per_bag(scales).astype(
            numpy.float32).reshape(drawn.ids.shape)
    same_sums(case, f"gradient of {pooling}", drawn, gradient,
              "sum" if pooling == "sqrtn" else pooling, got)
    if pooling == "sum" and drawn.weights is None:
        # The same sum, as nn.Embedding makes it: in request order.
        case.exact("gradient of sum, in request order", got,
                   torch_oracle.dense_gradient(
                       drawn.rows, drawn.ids.ravel(), drawn.per_bag(gradient),
                       drawn.padding_idx))


@group(cases=200)
def bags_backward_max(case):
    """Each element's gradient goes to its winner, ties to the first."""
    drawn = with_ties(case, draw_bags(case, False))
    gradient = bag_gradient(case, drawn)
    table = case.bring(drawn.rows, **padding_spec(drawn))
    _, winners = table.lookup_with_winners(
        drawn.ids, drawn.bags("max", return_winners=True))
    # Somebody else trains the rows meanwhile: the winners stay the lookup's.
    everything = numpy.arange(len(drawn.rows))
    table.push(everything, draw.floats(case.random, *drawn.rows.shape),
               learning_rate=10.0)
    before = table.read()[0]
    table.push(drawn.ids, gradient, learning_rate=1.0,
               bags=drawn.bags("max", winners=winners.view(numpy.uint32).view(
                   numpy.int32)))
    want = torch_oracle.tensor(before).add_(
        torch_oracle.tensor(torch_gradients(drawn, gradient, "max")[0]),
        alpha=-1)
    case.exact("rows after a push of max bags", table.read()[0], want.numpy())


@group(cases=150, rule="1e-6; bit-exact to 16 ids")
def bags_by_frequency(case):
    """scale_grad_by_freq as documented (D11): torch's CPU code is wrong."""
    pooling = draw.one_of(case.random, "sum", "mean")
    drawn = draw_bags(case, False, few=draw.chance(case.random))
    gradient = bag_gradient(case, drawn)
    got = pushed_gradient(case, drawn, pooling, gradient,
                          scale_grad_by_freq=True)
    flat = drawn.ids.ravel()
    frequency = numpy.bincount(flat, minlength=len(drawn.rows))
    scales = numpy.ones(len(drawn.ranges()))
    if pooling == "mean":
        scales /= numpy.maximum(drawn.counts(), 1)
    # The rule as weights of a sum, which torch gets right.
    drawn.weights = (drawn.per_bag(scales) / numpy.maximum(
        frequency[flat], 1)).astype(numpy.float32).reshape(drawn.ids.shape)
    same_sums(case, f"gradient of {pooling} by frequency", drawn, gradient,
              "sum", got)


@group(cases=200, rule="1e-6")
def weight_gradients(case):
    """Per-sample weights have gradients: of the rows as read; padding's 0."""
    random = case.random
    drawn = draw_bags(case, True, scale=0.3)
    if drawn.weights is None or not drawn.ids.size:
        return
    gradient = bag_gradient(case, drawn)
    norm = {} if draw.chance(random) else {
        "max_norm": float(random.uniform(0.1, 1))}
    table = case.bring(drawn.rows, **padding_spec(drawn), **norm)
    pushed = table.push(drawn.ids, gradient, bags=drawn.bags("sum"),
                        return_weight_gradients=True)
    want = torch_gradients(drawn, gradient, "sum", **norm)[1]
    case.close("weight gradients", pushed.weight_gradients, want.ravel())
    again = table.push(drawn.ids, gradient, bags=drawn.bags("sum"))
    case.equal("weight gradients that nobody asked for",
               again.weight_gradients.size, 0)
