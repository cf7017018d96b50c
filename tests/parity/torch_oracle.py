"""torch, asked for the numbers of one step.

Its CPU path is pinned before it is imported: the last bits of torch depend on
it (docs: "with torch on AVX2").
"""

import os
import warnings

os.environ["ATEN_CPU_CAPABILITY"] = "avx2"

import numpy  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch.optim import adagrad, adam, adamw, sgd  # noqa: E402
from torch.optim import _functional  # noqa: E402

torch.set_num_threads(1)
warnings.filterwarnings("ignore", module="torch")


def fused():
    """Whether this CPU has the instructions that torch's last bits are of."""
    with open("/proc/cpuinfo") as info:
        flags = set(info.read().split())
    return {"avx2", "fma"} <= flags


def tensor(array):
    """A copy."""
    return torch.tensor(numpy.asarray(array))


def embedding(rows, ids, padding_idx=None, max_norm=None, norm_type=2.0):
    """(what nn.Embedding returns, its weight afterwards)."""
    weight = tensor(rows)
    with torch.no_grad():
        out = F.embedding(tensor(ids), weight, padding_idx, max_norm,
                          norm_type)
    return out.numpy(), weight.numpy()


def renormalised(rows, ids, max_norm, norm_type=2.0):
    """The rows after those of `ids` were looked up."""
    if max_norm is None or not ids.size:
        return numpy.array(rows)
    return embedding(rows, ids, None, max_norm, norm_type)[1]


def dense_gradient(rows, ids, gradient, padding_idx=None, by_frequency=False):
    """nn.Embedding's gradient [V, D]: duplicates summed in request order."""
    if not ids.size:
        return numpy.zeros_like(rows)
    weight = tensor(rows).requires_grad_()
    F.embedding(tensor(ids), weight, padding_idx,
                scale_grad_by_freq=by_frequency).backward(tensor(gradient))
    return weight.grad.numpy()


def touched(ids, row_count, padding_idx=None):
    """The rows that a push moves, ascending."""
    rows = numpy.unique(ids)
    if padding_idx is not None:
        rows = rows[rows != padding_idx % row_count]
    return rows


def pool(rows, ids, mode, offsets=None, weights=None, padding_idx=None,
         max_norm=None, norm_type=2.0):
    """What nn.EmbeddingBag returns."""
    with torch.no_grad():
        return F.embedding_bag(
            tensor(ids), tensor(rows),
            None if offsets is None else tensor(offsets), max_norm, norm_type,
            mode=mode, padding_idx=padding_idx,
            per_sample_weights=None if weights is None else tensor(
                weights)).numpy()


def pool_gradients(rows, ids, gradient, mode, offsets=None, weights=None,
                   padding_idx=None, max_norm=None, norm_type=2.0):
    """(gradient of the weight [V, D], gradient of the per-sample weights)."""
    weight = tensor(rows).requires_grad_()
    per_sample = None
    if weights is not None:
        per_sample = tensor(weights).requires_grad_()
    F.embedding_bag(
        tensor(ids), weight, None if offsets is None else tensor(offsets),
        max_norm, norm_type, mode=mode, per_sample_weights=per_sample,
        padding_idx=padding_idx).backward(tensor(gradient))
    return (weight.grad.numpy(),
            None if per_sample is None else per_sample.grad.numpy())


class SlicedOptimizer:
    """torch's dense formulas, for the rows that a push touches alone.

    Holds the whole table and its state; a step gathers rows, runs torch's
    single-tensor function on them with the table's step, and puts them back.
    """

    state_names = ()

    def __init__(self, rows, **options):
        self.rows = numpy.array(rows)
        self.options = options
        self.steps = 0
        self.state = {name: numpy.zeros_like(self.rows)
                      for name in self.state_names}

    def step(self, ids, gradient, learning_rate):
        """One push: the rows `ids` (unique) by their dense gradients."""
        self.steps += 1
        if not ids.size:
            return
        rows = tensor(self.rows[ids])
        state = {name: tensor(part[ids]) for name, part in self.state.items()}
        self.move(rows, tensor(gradient[ids]), state, learning_rate)
        self.rows[ids] = rows.numpy()
        for name, part in state.items():
            self.state[name][ids] = part.numpy()

    def state_columns(self):
        """[V, state floats], as ReadRows gives them."""
        parts = [self.state[name] for name in self.state_names]
        return numpy.concatenate(parts + [self.rows[:, :0]], axis=1)

    def step_tensor(self):
        """The table's step before this push; torch adds one."""
        return torch.tensor(float(self.steps - 1))


class SlicedSgd(SlicedOptimizer):
    """torch.optim.SGD."""

    def __init__(self, rows, **options):
        if options["momentum"] != 0:
            self.state_names = ("momentum_buffer",)
        super().__init__(rows, **options)

    def move(self, rows, gradient, state, learning_rate):
        first = self.steps == 1 or not state
        buffers = [None if first else state["momentum_buffer"]]
        sgd._single_tensor_sgd([rows], [gradient], buffers, lr=learning_rate,
                               has_sparse_grad=False, **self.options)
        if state:
            state["momentum_buffer"] = buffers[0]


class SlicedAdagrad(SlicedOptimizer):
    """torch.optim.Adagrad, its dense form."""

    state_names = ("sum",)

    def __init__(self, rows, initial_accumulator_value=0.0, **options):
        super().__init__(rows, **options)
        self.state["sum"][:] = initial_accumulator_value

    def move(self, rows, gradient, state, learning_rate):
        adagrad._single_tensor_adagrad(
            [rows], [gradient], [state["sum"]], [self.step_tensor()],
            lr=learning_rate, has_sparse_grad=False, **self.options)


class SlicedSparseAdam(SlicedOptimizer):
    """torch.optim.SparseAdam, on a coalesced gradient."""

    state_names = ("exp_avg", "exp_avg_sq")

    def move(self, rows, gradient, state, learning_rate):
        all_rows = torch.arange(len(rows)).unsqueeze(0)
        coalesced = torch.sparse_coo_tensor(all_rows, gradient,
                                            rows.shape).coalesce()
        _functional.sparse_adam(
            [rows], [coalesced], [state["exp_avg"]], [state["exp_avg_sq"]],
            [self.steps], lr=learning_rate, **self.options)


class SlicedAdam(SlicedOptimizer):
    """torch.optim.Adam."""

    function = staticmethod(adam._single_tensor_adam)
    fixed = {"grad_scale": None, "found_inf": None, "capturable": False,
             "differentiable": False}

    def __init__(self, rows, **options):
        self.state_names = ("exp_avg", "exp_avg_sq")
        if options["amsgrad"]:
            self.state_names += ("max_exp_avg_sq",)
        super().__init__(rows, **options)

    def move(self, rows, gradient, state, learning_rate):
        largest = [state["max_exp_avg_sq"]] if "max_exp_avg_sq" in state else []
        self.function(
            [rows], [gradient], [state["exp_avg"]], [state["exp_avg_sq"]],
            largest, [self.step_tensor()], lr=learning_rate, **self.fixed,
            **self.options)


class SlicedAdamW(SlicedAdam):
    """torch.optim.AdamW."""

    function = staticmethod(adamw._single_tensor_adamw)
    fixed = {"capturable": False}


class WholeOptimizer:
    """A torch.optim optimizer over the whole table: what scope ALL equals."""

    def __init__(self, kind, rows, state_names, **options):
        self.parameter = torch.nn.Parameter(tensor(rows))
        self.optimizer = kind([self.parameter], lr=1.0, foreach=False,
                              **options)
        self.state_names = state_names

    @property
    def rows(self):
        """The table."""
        return self.parameter.detach().numpy()

    def step(self, _, gradient, learning_rate):
        """One push: every row moves, those without a gradient by zero."""
        self.optimizer.param_groups[0]["lr"] = learning_rate
        self.parameter.grad = tensor(gradient)
        self.optimizer.step()

    def state_columns(self):
        """[V, state floats], as ReadRows gives them."""
        state = self.optimizer.state[self.parameter]
        parts = [state[name].numpy() for name in self.state_names]
        return numpy.concatenate(parts + [self.rows[:, :0]], axis=1)
