"""What happens to gradients between the request and the formula.

The tables here step by plain SGD at learning rate 1, so that a row moves by
the gradient that reached it.
"""

import numpy

import draw
import torch_oracle
from case import group
from connection import Refusal


def minus(rows, gradient):
    """torch's step of plain SGD at learning rate 1."""
    return torch_oracle.tensor(rows).add_(torch_oracle.tensor(gradient),
                                          alpha=-1).numpy()


def drawn_push(case, ids=None):
    """(rows, ids, gradient) with duplicates."""
    random = case.random
    rows = draw.table(random)
    count = int(random.integers(1, 60))
    ids = draw.ids(random, len(rows), count)
    return rows, ids, draw.floats(
        random, count, rows.shape[1],
        scale=10.0 ** random.uniform(-3, 2))


@group(cases=300)
def duplicates(case):
    """Gradients of one id are summed in request order, then the row moves."""
    rows, ids, gradient = drawn_push(case)
    table = case.bring(numpy.zeros_like(rows))
    pushed = table.push(ids, gradient, learning_rate=1.0)
    case.equal("rows_changed", pushed.rows_changed, len(numpy.unique(ids)))
    want = torch_oracle.dense_gradient(rows, ids, gradient)
    case.exact("the sums", 0 - table.read()[0], want)


@group(cases=200)
def by_frequency(case):
    """scale_grad_by_freq: each occurrence over the count in the push."""
    rows, ids, gradient = drawn_push(case)
    padding_idx = draw.padding(case.random, len(rows))
    table = case.bring(numpy.zeros_like(rows), scale_grad_by_freq=True,
                       padding_idx=padding_idx)
    table.push(ids, gradient, learning_rate=1.0)
    want = torch_oracle.dense_gradient(rows, ids, gradient, padding_idx, True)
    case.exact("the sums", 0 - table.read()[0], want)


@group(cases=100)
def gradient_scale(case):
    """gradient_scale multiplies what came, before the sum."""
    rows, ids, gradient = drawn_push(case)
    scale = draw.one_of(case.random, 0.5, 0.0, -1.0,
                        float(case.random.uniform(-2, 2)))
    table = case.bring(numpy.zeros_like(rows))
    table.push(ids, gradient, learning_rate=1.0, scale=scale)
    scaled = torch_oracle.tensor(gradient).mul_(scale).numpy()
    case.exact("the sums", 0 - table.read()[0],
               torch_oracle.dense_gradient(rows, ids, scaled))


@group(cases=100)
def two_entries_of_one_table(case):
    """A table named twice in a push is one table: one sum, one step."""
    random = case.random
    rows, ids, gradient = drawn_push(case)
    cut = int(random.integers(0, len(ids) + 1))
    by_frequency = draw.chance(random)
    table = case.bring(numpy.zeros_like(rows), scale_grad_by_freq=by_frequency)
    other = case.bring(rows)
    entries = [table.gradient(ids[:cut], gradient[:cut], learning_rate=1.0),
               other.gradient(ids, gradient, learning_rate=1.0),
               table.gradient(ids[cut:], gradient[cut:], learning_rate=1.0)]
    first, _, last = case.connection.push(entries)
    case.equal("figures of the two entries", first.rows_changed,
               last.rows_changed)
    case.equal("step", (first.step, last.step), (1, 1))
    want = torch_oracle.dense_gradient(rows, ids, gradient, None, by_frequency)
    case.exact("the sums", 0 - table.read()[0], want)
    case.exact("the table between", other.read()[0], minus(
        rows, torch_oracle.dense_gradient(rows, ids, gradient)))


# --- Clipping ---

def clipped(torch_gradient, kind, bound):
    """torch.nn.utils on the sums [n, D]."""
    utils = torch_oracle.torch.nn.utils
    parts = torch_gradient if kind == "row_norm" else [torch_gradient]
    for part in parts:
        parameter = torch_oracle.torch.nn.Parameter(
            torch_oracle.torch.zeros_like(part))
        parameter.grad = part
        if kind == "value":
            utils.clip_grad_value_([parameter], bound)
        else:
            utils.clip_grad_norm_([parameter], bound)
    return torch_gradient.numpy()


@group(cases=240, rule="value bit-exact, norms 1e-6")
def clipping(case):
    """After the sum: values, rows, or the push as one vector."""
    random = case.random
    api = case.connection.api
    rows = draw.table(random)
    ids = draw.ids(random, len(rows), int(random.integers(1, 40)))
    gradient = draw.floats(random, *ids.shape, rows.shape[1])
    kind = draw.one_of(random, "value", "row_norm", "push_norm")
    bound = float(random.uniform(0.1, 1.5) * {
        "value": 1, "row_norm": rows.shape[1] ** 0.5,
        "push_norm": (len(numpy.unique(ids)) * rows.shape[1]) ** 0.5}[kind])
    table = case.bring(numpy.zeros_like(rows),
                       clip=api.GradientClip(**{kind: bound}))
    table.push(ids, gradient, learning_rate=1.0)
    sums = torch_oracle.dense_gradient(rows, ids, gradient)
    touched = torch_oracle.touched(ids, len(rows))
    want = numpy.zeros_like(rows)
    want[touched] = clipped(torch_oracle.tensor(sums[touched]), kind, bound)
    compare = case.exact if kind == "value" else case.close
    compare(f"sums clipped by {kind} {bound}", 0 - table.read()[0], want)


# --- What is not finite ---

BAD = (numpy.nan, numpy.inf, -numpy.inf)


def spoiled(case):
    """(rows, ids, gradient, which occurrences are bad)."""
    random = case.random
    rows, ids, gradient = drawn_push(case)
    bad = random.random(len(ids)) < 0.3
    bad[random.integers(len(ids))] = True
    for row in numpy.flatnonzero(bad):
        gradient[row, random.integers(rows.shape[1])] = random.choice(BAD)
    return rows, ids, gradient, bad


@group(cases=100)
def non_finite_reject(case):
    """reject: INVALID_ARGUMENT, and nothing has changed."""
    rows, ids, gradient, bad = spoiled(case)
    table = case.bring(rows)
    other = case.bring(rows)
    good = numpy.where(numpy.isfinite(gradient), gradient, 0)
    refused = refusal(case, lambda: case.connection.push(
        [other.gradient(ids, good), table.gradient(ids, gradient)]))
    case.equal("code and reason", (refused.code, refused.reason),
               ("INVALID_ARGUMENT", "NON_FINITE"))
    case.equal("field", refused.field, "tables[1].gradient")
    first = int(numpy.flatnonzero(bad)[0])
    case.true(f"the id is named: {refused.sentence}",
              f"id {ids[first]}" in refused.sentence)
    for each in (table, other):
        case.copied("rows after a refusal", each.read()[0], rows)
        case.equal("step after a refusal", each.describe().step, 0)


@group(cases=100)
def non_finite_skip(case):
    """skip_row: bad occurrences are dropped before the sum, and counted."""
    api = case.connection.api
    rows, ids, gradient, bad = spoiled(case)
    table = case.bring(rows,
                       non_finite_policy=api.NON_FINITE_POLICY_SKIP_ROW)
    pushed = table.push(ids, gradient, learning_rate=1.0)
    case.equal("rows_skipped", pushed.rows_skipped, int(bad.sum()))
    want = minus(rows, torch_oracle.dense_gradient(rows, ids[~bad],
                                                   gradient[~bad]))
    case.exact("rows", table.read()[0], want)


@group(cases=100)
def non_finite_allow(case):
    """allow: torch's numbers, NaN and infinity among them."""
    api = case.connection.api
    rows, ids, gradient, _ = spoiled(case)
    table = case.bring(rows, non_finite_policy=api.NON_FINITE_POLICY_ALLOW)
    table.push(ids, gradient, learning_rate=1.0)
    want = minus(rows, torch_oracle.dense_gradient(rows, ids, gradient))
    case.exact("rows", table.read()[0], want)


@group(cases=60)
def non_finite_result(case):
    """A row whose new bytes would not be finite stays, and is counted."""
    random = case.random
    api = case.connection.api
    dim = draw.size(random)
    rows = random.uniform(-3e38, 3e38, (8, dim)).astype(numpy.float32)
    ids = random.permutation(8)[:5]
    gradient = random.uniform(-1e38, 1e38, (5, dim)).astype(numpy.float32)
    gradient[0] = 0
    policy = draw.one_of(random, api.NON_FINITE_POLICY_REJECT,
                         api.NON_FINITE_POLICY_SKIP_ROW)
    table = case.bring(rows, non_finite_policy=policy)
    pushed = table.push(ids, gradient, learning_rate=4.0)
    with numpy.errstate(over="ignore"):
        want = torch_oracle.SlicedSgd(
            rows, momentum=0.0, dampening=0.0, nesterov=False,
            weight_decay=0.0, maximize=False)
        want.step(ids, torch_oracle.dense_gradient(rows, ids, gradient), 4.0)
    finite = numpy.isfinite(want.rows).all(axis=1)
    case.equal("rows_skipped", pushed.rows_skipped, int((~finite).sum()))
    case.equal("rows_changed", pushed.rows_changed, 5 - int((~finite).sum()))
    case.exact("rows", table.read()[0],
               numpy.where(finite[:, None], want.rows, rows))


def refusal(case, call):
    """The refusal that a call must meet."""
    try:
        call()
    except Refusal as refused:
        return refused
    case.fail("the server accepted what it must refuse")
