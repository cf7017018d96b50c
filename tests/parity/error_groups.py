"""What torch refuses, Quire refuses: SEMANTICS' tables of errors, row by row.

Each row is (what torch is asked, what Quire is asked, code, reason, parts of
the sentence). Where torch crashes, or has no such rule, nothing is asked of
it. A refused request has changed nothing.
"""

import numpy

import torch_oracle
from case import Mismatch, group
from connection import Bags, Refusal

torch = torch_oracle.torch
ROWS = numpy.arange(15, dtype=numpy.float32).reshape(5, 3)
BAD_ID = ("OUT_OF_RANGE", "ID_OUT_OF_RANGE")
BAD_VALUE = ("INVALID_ARGUMENT", "BAD_VALUE")
BAD_SHAPE = ("INVALID_ARGUMENT", "BAD_SHAPE")
ONES = numpy.ones


def look(ids, **options):
    """A lookup by torch."""
    return lambda: torch_oracle.embedding(ROWS, numpy.array(ids), **options)


def module(**arguments):
    """A module as torch makes it."""
    return lambda: torch.nn.Embedding(5, 3, **arguments)


def stepper(kind, **arguments):
    """An optimizer as torch makes it."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    return lambda: kind([parameter], **{"lr": 0.1, **arguments})


def create(**spec):
    """A table's creation, on Quire."""
    return lambda case, _: case.create(5, 3, **spec)


def optimizer(field, message, learning_rate=0.1, **fields):
    """A table's creation with this optimizer."""
    def ask(case, _):
        api = case.connection.api
        case.create(5, 3, optimizer=api.Optimizer(
            learning_rate=learning_rate,
            **{field: getattr(api, message)(**fields)}))
    return ask


def lookup(ids, bags=None):
    """A lookup, on Quire."""
    return lambda case, table: table.lookup(ids, bags)


def push(ids, shape, **options):
    """A push of ones, on Quire."""
    return lambda case, table: table.push(ids, ONES(shape), **options)


OPTIM = torch.optim
EMBEDDING_ROWS = [
    (look([1, 7]), lookup([1, 7]), *BAD_ID, ("id 7", "position 1", "5")),
    (look([0, -1]), lookup([0, -1]), *BAD_ID, ("id -1", "position 1")),
    (look([1, 7], max_norm=1.0), lookup([1, 7]), *BAD_ID, ("id 7",)),
    (None, push([1, 7], (2, 3)), *BAD_ID, ("id 7", "position 1")),
    (None, push([1, -2], (2, 3)), *BAD_ID, ("id -2",)),
    (None, push([1, 2], (2, 4)), *BAD_SHAPE, ("4", "3")),
    (None, push([1, 2], (1, 3)), *BAD_SHAPE, ()),
    (module(padding_idx=5), create(padding_idx=5), *BAD_VALUE,
     ("5", "-5 through 4")),
    (module(padding_idx=-6), create(padding_idx=-6), *BAD_VALUE, ("-6",)),
    (lambda: torch.nn.Embedding(-1, 3),
     lambda case, _: case.create(-1, 3), *BAD_VALUE, ("-1",)),
    (None, create(max_norm=-1.0), *BAD_VALUE, ("-1", "0 or more")),
    (None, create(max_norm=float("nan")), *BAD_VALUE, ("nan",)),
    (None, create(max_norm=1.0, norm_type=float("nan")), *BAD_VALUE,
     ("nan",)),
]
OPTIMIZER_ROWS = [
    (stepper(OPTIM.SGD, lr=-1.0), optimizer("sgd", "Sgd", -1.0), *BAD_VALUE,
     ("learning_rate", "-1")),
    (stepper(OPTIM.SGD, momentum=-1.0),
     optimizer("sgd", "Sgd", momentum=-1.0), *BAD_VALUE, ("momentum", "-1")),
    (stepper(OPTIM.SGD, weight_decay=-1.0),
     optimizer("sgd", "Sgd", weight_decay=-1.0), *BAD_VALUE,
     ("weight_decay", "-1")),
    (stepper(OPTIM.SGD, nesterov=True), optimizer(
        "sgd", "Sgd", nesterov=True), *BAD_VALUE, ("nesterov", "momentum")),
    (stepper(OPTIM.SGD, nesterov=True, momentum=0.9, dampening=0.1),
     optimizer("sgd", "Sgd", nesterov=True, momentum=0.9, dampening=0.1),
     *BAD_VALUE, ("dampening",)),
    (stepper(OPTIM.Adagrad, lr_decay=-1.0),
     optimizer("adagrad", "Adagrad", lr_decay=-1.0), *BAD_VALUE,
     ("lr_decay", "-1")),
    (stepper(OPTIM.Adagrad, initial_accumulator_value=-1.0),
     optimizer("adagrad", "Adagrad", initial_accumulator_value=-1.0),
     *BAD_VALUE, ("initial_accumulator_value", "-1")),
    (stepper(OPTIM.Adagrad, eps=-1.0),
     optimizer("adagrad", "Adagrad", eps=-1.0), *BAD_VALUE, ("eps", "-1")),
    (stepper(OPTIM.SparseAdam, eps=0.0),
     optimizer("sparse_adam", "SparseAdam", eps=0.0), *BAD_VALUE,
     ("eps", "0")),
    (stepper(OPTIM.SparseAdam, betas=(1.0, 0.9)),
     optimizer("sparse_adam", "SparseAdam", beta1=1.0), *BAD_VALUE,
     ("beta1", "1")),
    (stepper(OPTIM.Adam, betas=(0.9, 1.0)),
     optimizer("adam", "Adam", beta2=1.0), *BAD_VALUE, ("beta2", "1")),
    (stepper(OPTIM.AdamW, weight_decay=-0.1),
     optimizer("adamw", "AdamW", weight_decay=-0.1), *BAD_VALUE,
     ("weight_decay", "-0.1")),
]


def pooled(ids, **options):
    """Bags by torch."""
    mode = options.pop("mode", "sum")
    options = {name: value if value is None else numpy.array(value)
               for name, value in options.items()}
    return lambda: torch_oracle.pool(ROWS, numpy.array(ids), mode, **options)


PAIR = ((1, 2), (3, 4))
BAG_ROWS = [
    (pooled([1, 7], offsets=[0]), lookup([1, 7], Bags("sum", [0])), *BAD_ID,
     ("id 7",)),
    (pooled([1, 7], offsets=[0], mode="max"),
     lookup([1, 7], Bags("max", [0])), *BAD_ID, ("id 7",)),
    (pooled([1, 2], offsets=[1]), lookup([1, 2], Bags("sum", [1])),
     "INVALID_ARGUMENT", None, ("1", "0")),
    (pooled([1, 2], offsets=[0, 3]), lookup([1, 2], Bags("sum", [0, 3])),
     "INVALID_ARGUMENT", None, ("3", "2")),
    (None, lookup([1, 2, 3], Bags("sum", [0, 2, 1])), "INVALID_ARGUMENT",
     None, ("1", "2")),
    (None, lookup([1, 2], Bags("max", [])), "INVALID_ARGUMENT", None, ()),
    (pooled([[[1]]]), lookup([[[1]]], Bags("sum")), "INVALID_ARGUMENT", None,
     ("rank",)),
    (pooled([1, 2]), lookup([1, 2], Bags("sum")), "INVALID_ARGUMENT", None,
     ()),
    (pooled(PAIR, offsets=[0]), lookup(PAIR, Bags("sum", [0])),
     "INVALID_ARGUMENT", None, ()),
    (pooled(PAIR, weights=ONES(2, numpy.float32)),
     lookup(PAIR, Bags("sum", None, ONES(2))), "INVALID_ARGUMENT", None,
     ("2", "4")),
    (pooled(PAIR, weights=ONES((2, 2), numpy.float32), mode="mean"),
     lookup(PAIR, Bags("mean", None, ONES((2, 2)))), "INVALID_ARGUMENT", None,
     ("weights",)),
    (pooled(PAIR, mode="median"), lookup(PAIR, Bags("unspecified")),
     "INVALID_ARGUMENT", None, ()),
    (None, push(PAIR, (2, 3), bags=Bags("max")), "INVALID_ARGUMENT", None,
     ("winners",)),
    (None, push(PAIR, (2, 3), bags=Bags("max", winners=[2] * 6)),
     "INVALID_ARGUMENT", None, ("2",)),
    (None, push(PAIR, (3, 3), bags=Bags("sum")), *BAD_SHAPE, ()),
]


def refused_alike(case, rows):
    """One row of a table of errors."""
    asked_of_torch, ask, code, reason, parts = rows[case.index % len(rows)]
    if asked_of_torch is not None:
        try:
            asked_of_torch()
            case.fail("torch accepts it")
        except Mismatch:
            raise
        except (RuntimeError, ValueError, IndexError, AssertionError,
                NotImplementedError):
            pass
    table = case.bring(ROWS)
    try:
        ask(case, table)
    except Refusal as refused:
        if refused.reason == "NOT_BUILT":
            raise
        case.equal("code", refused.code, code)
        if reason is not None:
            case.equal("reason", refused.reason, reason)
        for part in parts:
            case.true(f"{part!r} is named: {refused.sentence}",
                      part in refused.sentence)
    else:
        case.fail("Quire accepts it")
    case.copied("rows after a refusal", table.read()[0], ROWS)
    case.equal("step after a refusal", table.describe().step, 0)


@group(cases=len(EMBEDDING_ROWS), rule="refused alike")
def errors(case):
    """nn.Embedding's errors."""
    refused_alike(case, EMBEDDING_ROWS)


@group(cases=len(OPTIMIZER_ROWS), rule="refused alike")
def optimizer_errors(case):
    """torch.optim's errors."""
    refused_alike(case, OPTIMIZER_ROWS)


@group(cases=len(BAG_ROWS), rule="refused alike")
def bag_errors(case):
    """nn.EmbeddingBag's errors."""
    refused_alike(case, BAG_ROWS)
