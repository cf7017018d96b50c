"""FBGEMM's rules and FTRL, against the double-precision reference.

The sums of a push are taken from torch in float32 (the group `duplicates`
proves them); from there on the reference keeps a trajectory of its own.
"""

import numpy

import double_oracle
import draw
from case import group
from torch_optimizer_groups import draw_table, train

CASES = 120


def train_close(case, optimizer, reference_of, learning_rates=(0.005, 0.2),
                scale=1.0):
    """Trains a table by `optimizer` beside its reference."""
    rows, padding_idx = draw_table(case)
    rows *= numpy.float32(scale)
    optimizer.learning_rate = case.random.uniform(*learning_rates)
    train(case, {"optimizer": optimizer}, rows, reference_of(rows),
          compare=case.close, padding_idx=padding_idx,
          scale=scale,
          learning_rates=learning_rates)


@group(cases=CASES, rule="1e-6")
def rowwise_adagrad(case):
    """One accumulator per row; weight decay NONE, L2, DECOUPLE."""
    random = case.random
    api = case.connection.api
    mode = draw.one_of(random, "NONE", "L2", "DECOUPLE")
    options = {"eps": draw.one_of(random, 1e-8, 1e-3),
               "initial_accumulator_value": draw.one_of(
                   random, 0.0, float(random.uniform(0.01, 1))),
               "weight_decay": 0.0 if mode == "NONE" else float(
                   random.uniform(0.001, 0.2))}
    modes = api.RowwiseAdagrad.WeightDecayMode
    message = api.RowwiseAdagrad(
        weight_decay_mode=modes.Value("WEIGHT_DECAY_MODE_" + mode), **options)
    train_close(case, api.Optimizer(rowwise_adagrad=message),
                lambda rows: double_oracle.RowwiseAdagrad(
                    rows, mode=mode, **options))


@group(cases=CASES, rule="1e-6")
def rowwise_rmsprop(case):
    """Rows shrink by the steps that they missed."""
    random = case.random
    api = case.connection.api
    options = {"beta": float(random.uniform(0.5, 0.99)),
               "eps": draw.one_of(random, 1e-8, 1e-3),
               "alpha": draw.one_of(random, 0.0, float(random.uniform(0, 3))),
               "min_shrinkage": draw.one_of(random, 0.0, 0.5)}
    train_close(case, api.Optimizer(
        rowwise_rmsprop=api.RowwiseRmsprop(**options)),
        lambda rows: double_oracle.RowwiseRmsprop(rows, **options))


def moment_options(random):
    """Hyperparameters of Adam's kin."""
    return {"beta1": draw.one_of(random, 0.9, float(random.uniform(0, 0.99))),
            "beta2": draw.one_of(random, 0.999,
                                 float(random.uniform(0.5, 0.9999))),
            "eps": draw.one_of(random, 1e-8, 1e-3),
            "weight_decay": draw.one_of(
                random, 0.0, float(random.uniform(0.001, 0.2)))}


def train_moments(case, field, name, reference):
    """One of Adam's kin."""
    api = case.connection.api
    options = moment_options(case.random)
    optimizer = api.Optimizer(**{field: getattr(api, name)(**options)})
    train_close(case, optimizer, lambda rows: reference(rows, **options))


@group(cases=CASES, rule="1e-6")
def partial_rowwise_adam(case):
    """Adam with one second moment per row."""
    train_moments(case, "partial_rowwise_adam", "PartialRowwiseAdam",
                  double_oracle.PartialRowwiseAdam)


@group(cases=CASES, rule="1e-6")
def lamb(case):
    """Adam's direction at the length of the row."""
    train_moments(case, "lamb", "Lamb", double_oracle.Lamb)


@group(cases=CASES, rule="1e-6")
def partial_rowwise_lamb(case):
    """LAMB with one second moment per row."""
    train_moments(case, "partial_rowwise_lamb", "PartialRowwiseLamb",
                  double_oracle.PartialRowwiseLamb)


@group(cases=CASES, rule="1e-6")
def lars_sgd(case):
    """SGD with momentum, at a rate of each row's own."""
    random = case.random
    api = case.connection.api
    options = {"momentum": float(random.uniform(0, 0.99)),
               "eta": draw.one_of(random, 0.001, float(random.uniform(0, 1))),
               "weight_decay": draw.one_of(
                   random, 0.0, float(random.uniform(0.001, 0.2)))}
    train_close(case, api.Optimizer(lars_sgd=api.LarsSgd(**options)),
                lambda rows: double_oracle.LarsSgd(rows, **options))


@group(cases=CASES, rule="1e-6")
def ftrl(case):
    """FTRL-proximal: l1 makes zeros, l2, beta, any learning_rate_power."""
    random = case.random
    api = case.connection.api
    options = {"l1": draw.one_of(random, 0.0, float(random.uniform(0, 0.5))),
               "l2": draw.one_of(random, 0.0, float(random.uniform(0, 1))),
               "beta": draw.one_of(random, 0.0, float(random.uniform(0, 1))),
               "initial_accumulator_value": draw.one_of(
                   random, 0.1, float(random.uniform(0.1, 1))),
               "learning_rate_power": draw.one_of(
                   random, -0.5, float(random.uniform(-0.9, -0.1)))}
    # The difference in (n'^p - n^p) / lr cancels, and the division brings its
    # lost bits forward: at small rates, or large n, float32's own rounding of
    # z is more than 1e-6.
    train_close(case, api.Optimizer(ftrl=api.Ftrl(**options)),
                lambda rows: double_oracle.Ftrl(rows, **options),
                learning_rates=(0.5, 1.5), scale=0.2)


@group(cases=40, rule="bit-exact")
def zero_norms(case):
    """Where FBGEMM would make 0/0, the row stays and is counted."""
    random = case.random
    api = case.connection.api
    rows = draw.table(random, largest=30)
    dim = rows.shape[1]
    optimizer = draw.one_of(
        random, api.Optimizer(lamb=api.Lamb()),
        api.Optimizer(partial_rowwise_lamb=api.PartialRowwiseLamb()),
        api.Optimizer(lars_sgd=api.LarsSgd()))
    rows[0] = 0
    table = case.bring(rows, optimizer=optimizer)
    before = table.read()
    pushed = table.push([0], draw.floats(random, 1, dim) * 0)
    case.equal("(changed, skipped)", (pushed.rows_changed,
                                      pushed.rows_skipped), (0, 1))
    case.copied("rows", table.read()[0], before[0])
    case.copied("state", table.read()[1], before[1])
