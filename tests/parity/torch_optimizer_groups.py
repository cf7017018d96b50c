"""The optimizers that torch has, over several steps, state and all."""

import numpy

import draw
import torch_oracle
from case import group

STEPS = 6


def train(case, spec, rows, reference, state=None, compare=None,
          padding_idx=None, scale=1.0,
          learning_rates=(0.001, 0.3)):
    """Pushes, and after each of them rows and state like the reference's.

    Ids repeat, learning rates change from push to push, and a push may be
    empty: it counts as a step.
    """
    random = case.random
    compare = compare or case.exact
    table = case.bring(rows, padding_idx=padding_idx, **spec)
    default = spec["optimizer"].learning_rate
    for step in range(1, STEPS + 1):
        ids = draw.step_ids(random, len(rows))
        gradient = draw.gradients(random, ids, rows.shape[1], scale)
        own = draw.one_of(random, None, float(random.uniform(
            *learning_rates)))
        pushed = table.push(ids, gradient, learning_rate=own)
        touched = torch_oracle.touched(ids, len(rows), padding_idx)
        dense = torch_oracle.dense_gradient(rows, ids, gradient, padding_idx)
        reference.step(touched, dense, default if own is None else own)
        values, columns = table.read()
        case.equal("step", pushed.step, step)
        compare(f"rows after push {step}", values, reference.rows)
        compare(f"state after push {step}", columns,
                reference.state_columns())
    return table


def learning_rate(random):
    """A double that no float holds."""
    return float(random.uniform(0.001, 0.3))


def weight_decay(random):
    """None in half of the draws."""
    return draw.one_of(random, 0.0, float(random.uniform(0.001, 0.2)))


def draw_table(case):
    """Rows, and a padding index or none."""
    rows = draw.table(case.random, largest=120)
    return rows, draw.padding(case.random, len(rows))


def scoped(case, options, rows, sliced, whole, state_names):
    """(scope, reference): torch's formulas for the rows touched, or for all."""
    api = case.connection.api
    if draw.chance(case.random, 0.6):
        return draw.one_of(case.random, api.SCOPE_UNSPECIFIED,
                           api.SCOPE_TOUCHED), sliced(rows, **options)
    return api.SCOPE_ALL, torch_oracle.WholeOptimizer(
        whole, rows, state_names, **options)


@group(cases=250)
def sgd(case):
    """torch.optim.SGD: momentum, dampening, nesterov, decay, maximize."""
    random = case.random
    api = case.connection.api
    rows, padding_idx = draw_table(case)
    momentum = draw.one_of(random, 0.0, 0.9, float(random.uniform(0.1, 0.99)))
    nesterov = momentum > 0 and draw.chance(random, 0.3)
    options = {
        "momentum": momentum,
        "dampening": 0.0 if nesterov or momentum == 0 else draw.one_of(
            random, 0.0, float(random.uniform(0, 0.9))),
        "nesterov": nesterov,
        "weight_decay": weight_decay(random),
        "maximize": draw.chance(random, 0.3)}
    scope, reference = api.SCOPE_TOUCHED, None
    if momentum or options["weight_decay"]:
        scope, reference = scoped(
            case, options, rows, torch_oracle.SlicedSgd,
            torch_oracle.torch.optim.SGD,
            ("momentum_buffer",) if momentum else ())
    reference = reference or torch_oracle.SlicedSgd(rows, **options)
    optimizer = api.Optimizer(learning_rate=learning_rate(random),
                              sgd=api.Sgd(scope=scope, **options))
    train(case, {"optimizer": optimizer}, rows, reference,
          padding_idx=padding_idx)


@group(cases=250)
def adagrad(case):
    """torch.optim.Adagrad, dense form: lr_decay, initial value, decay."""
    random = case.random
    api = case.connection.api
    rows, padding_idx = draw_table(case)
    options = {
        "lr_decay": draw.one_of(random, 0.0, float(random.uniform(0, 0.5))),
        "initial_accumulator_value": draw.one_of(
            random, 0.0, float(random.uniform(0.01, 1))),
        "eps": draw.one_of(random, 1e-10, 1e-6, 0.01),
        "weight_decay": weight_decay(random),
        "maximize": draw.chance(random, 0.3)}
    optimizer = api.Optimizer(learning_rate=learning_rate(random),
                              adagrad=api.Adagrad(**options))
    train(case, {"optimizer": optimizer}, rows,
          torch_oracle.SlicedAdagrad(rows, **options),
          padding_idx=padding_idx)


def betas(random):
    """Adam's, in doubles that floats do not hold."""
    return {"beta1": draw.one_of(random, 0.9, float(random.uniform(0, 0.99))),
            "beta2": draw.one_of(random, 0.999,
                                 float(random.uniform(0.5, 0.9999)))}


@group(cases=250)
def sparse_adam(case):
    """torch.optim.SparseAdam: one step count for the table."""
    random = case.random
    api = case.connection.api
    rows, padding_idx = draw_table(case)
    options = {**betas(random), "eps": draw.one_of(random, 1e-8, 1e-3),
               "maximize": draw.chance(random, 0.3)}
    optimizer = api.Optimizer(learning_rate=learning_rate(random),
                              sparse_adam=api.SparseAdam(**options))
    train(case, {"optimizer": optimizer}, rows,
          torch_oracle.SlicedSparseAdam(rows, **options),
          padding_idx=padding_idx)


def adam_case(case, field, message, sliced, whole):
    """Adam and AdamW differ in where the decay goes."""
    random = case.random
    api = case.connection.api
    rows, padding_idx = draw_table(case)
    options = {**betas(random), "eps": draw.one_of(random, 1e-8, 1e-3),
               "weight_decay": weight_decay(random),
               "amsgrad": draw.chance(random, 0.3),
               "maximize": draw.chance(random, 0.3)}
    names = ("exp_avg", "exp_avg_sq") + (
        ("max_exp_avg_sq",) if options["amsgrad"] else ())
    whole_options = dict(options)
    both = (whole_options.pop("beta1"), whole_options.pop("beta2"))
    if draw.chance(random, 0.6):
        scope, reference = api.SCOPE_TOUCHED, sliced(rows, **options)
    else:
        scope, reference = api.SCOPE_ALL, torch_oracle.WholeOptimizer(
            whole, rows, names, betas=both, **whole_options)
    optimizer = api.Optimizer(
        learning_rate=learning_rate(random),
        **{field: message(scope=scope, **options)})
    train(case, {"optimizer": optimizer}, rows, reference,
          padding_idx=padding_idx)


@group(cases=250)
def adam(case):
    """torch.optim.Adam."""
    adam_case(case, "adam", case.connection.api.Adam,
              torch_oracle.SlicedAdam, torch_oracle.torch.optim.Adam)


@group(cases=250)
def adamw(case):
    """torch.optim.AdamW."""
    adam_case(case, "adamw", case.connection.api.AdamW,
              torch_oracle.SlicedAdamW, torch_oracle.torch.optim.AdamW)


DEFAULTS = (
    ("sgd", "Sgd", torch_oracle.SlicedSgd, 0.01,
     {"momentum": 0.0, "dampening": 0.0, "nesterov": False,
      "weight_decay": 0.0, "maximize": False}),
    ("adagrad", "Adagrad", torch_oracle.SlicedAdagrad, 0.01,
     {"lr_decay": 0.0, "eps": 1e-10, "weight_decay": 0.0, "maximize": False}),
    ("sparse_adam", "SparseAdam", torch_oracle.SlicedSparseAdam, 0.001,
     {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "maximize": False}),
    ("adam", "Adam", torch_oracle.SlicedAdam, 0.001,
     {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0,
      "amsgrad": False, "maximize": False}),
    ("adamw", "AdamW", torch_oracle.SlicedAdamW, 0.001,
     {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01,
      "amsgrad": False, "maximize": False}),
)


@group(cases=50)
def optimizer_defaults(case):
    """A message without fields has torch's defaults."""
    random = case.random
    api = case.connection.api
    field, name, sliced, rate, options = DEFAULTS[case.index % len(DEFAULTS)]
    rows = draw.table(random, largest=40)
    table = case.bring(rows, optimizer=api.Optimizer(
        **{field: getattr(api, name)()}))
    reference = sliced(rows, **options)
    for _ in range(3):
        ids = draw.step_ids(random, len(rows))
        gradient = draw.gradients(random, ids, rows.shape[1])
        table.push(ids, gradient)
        reference.step(torch_oracle.touched(ids, len(rows)),
                       torch_oracle.dense_gradient(rows, ids, gradient), rate)
    values, columns = table.read()
    case.exact("rows", values, reference.rows)
    case.exact("state", columns, reference.state_columns())


@group(cases=100)
def state(case):
    """State that is written is read back, and the next step starts from it."""
    random = case.random
    api = case.connection.api
    rows = draw.table(random, largest=40)
    options = {**betas(random), "eps": 1e-8, "weight_decay": 0.0,
               "amsgrad": True, "maximize": False}
    table = case.bring(rows, optimizer=api.Optimizer(
        learning_rate=0.01, adam=api.Adam(**options)))
    reference = torch_oracle.SlicedAdam(rows, **options)
    for part in reference.state.values():
        part[:] = numpy.abs(draw.floats(random, *rows.shape))
    table.write(numpy.arange(len(rows)), rows, reference.state_columns())
    case.copied("state as written", table.read()[1],
                reference.state_columns())
    ids = draw.ids(random, len(rows), 8)
    gradient = draw.floats(random, 8, rows.shape[1])
    table.push(ids, gradient)
    reference.step(torch_oracle.touched(ids, len(rows)),
                   torch_oracle.dense_gradient(rows, ids, gradient), 0.01)
    values, columns = table.read()
    case.exact("rows after a step", values, reference.rows)
    case.exact("state after a step", columns, reference.state_columns())
