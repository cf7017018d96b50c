"""The rules that torch does not have, in double precision.

Written from SEMANTICS 4.2 and 4.3 (FBGEMM's genscript/optimizers.py and
TensorFlow's ApplyFtrl), one row at a time and without a thought for speed.
Gradients arrive as the float32 sums of a push. A row whose new numbers are not
finite stays as it was, as the policies reject and skip_row say.
"""

import numpy

sqrt = numpy.sqrt


def norm(row):
    """Euclidean."""
    return sqrt(numpy.sum(row * row))


class Reference:
    """Rows, their state and the table's step."""

    def __init__(self, rows, state_floats, **options):
        self.rows = rows.astype(numpy.float64)
        self.columns = numpy.zeros((len(rows), state_floats))
        self.options = options
        self.steps = 0
        self.skipped = 0

    def step(self, ids, gradient, learning_rate):
        """One push: the rows `ids` (unique) by their summed gradients."""
        self.steps += 1
        self.skipped = 0
        for row in ids:
            with numpy.errstate(all="ignore"):
                new_row, new_state = self.move(
                    self.rows[row], gradient[row].astype(numpy.float64),
                    self.columns[row], learning_rate, **self.options)
            if not (numpy.isfinite(new_row).all() and
                    numpy.isfinite(new_state).all()):
                self.skipped += 1
                continue
            self.rows[row] = new_row
            self.columns[row] = new_state

    def state_columns(self):
        """[V, state floats]."""
        return self.columns


class RowwiseAdagrad(Reference):
    """EXACT_ROWWISE_ADAGRAD; state: the sum of mean squares."""

    def __init__(self, rows, initial_accumulator_value, **options):
        super().__init__(rows, 1, **options)
        self.columns[:] = initial_accumulator_value

    def move(self, w, g, state, lr, eps, weight_decay, mode):
        decayed = g + weight_decay * w if mode == "L2" else g
        h = state[0] + numpy.mean(decayed * decayed)
        multiplier = lr / (sqrt(h) + eps)
        correction = {"NONE": 1.0, "L2": 1 - multiplier * weight_decay,
                      "DECOUPLE": 1 - lr * weight_decay}[mode]
        return correction * w - multiplier * g, numpy.array([h])


class RowwiseRmsprop(Reference):
    """ROWWISE_RMSPROP_AR; state: v, the step of the row's last push."""

    def __init__(self, rows, **options):
        super().__init__(rows, 2, **options)

    def move(self, w, g, state, lr, beta, eps, alpha, min_shrinkage):
        v, previous = state
        interval = 1 if previous == 0 else self.steps - previous
        v = beta * v + (1 - beta) * numpy.mean(g * g)
        shrink = max(min_shrinkage,
                     1 - min(max(lr * alpha * interval, 0.0), 1.0))
        return (shrink * w - lr / (sqrt(v) + eps) * g,
                numpy.array([v, self.steps]))


class MomentReference(Reference):
    """What Adam's kin share: m[D], then v[D] or one v for the row."""

    one_v = False

    def __init__(self, rows, **options):
        dim = rows.shape[1]
        super().__init__(rows, dim + 1 if self.one_v else 2 * dim, **options)

    def moments(self, g, state, beta1, beta2):
        """(new state, m and v after their bias corrections)."""
        m, v = state[:g.size], state[g.size:]
        square = numpy.mean(g * g) if self.one_v else g * g
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * square
        return (numpy.concatenate([m, v]), m / (1 - beta1 ** self.steps),
                v / (1 - beta2 ** self.steps))


class PartialRowwiseAdam(MomentReference):
    """PARTIAL_ROWWISE_ADAM."""

    one_v = True

    def move(self, w, g, state, lr, beta1, beta2, eps, weight_decay):
        state, m, v = self.moments(g, state, beta1, beta2)
        return w - lr * (m / (sqrt(v) + eps) + weight_decay * w), state


class Lamb(MomentReference):
    """LAMB."""

    def move(self, w, g, state, lr, beta1, beta2, eps, weight_decay):
        state, m, v = self.moments(g, state, beta1, beta2)
        r = m / (sqrt(v) + eps) + weight_decay * w
        return w - lr * (norm(w) / norm(r)) * r, state


class PartialRowwiseLamb(Lamb):
    """PARTIAL_ROWWISE_LAMB."""

    one_v = True


class LarsSgd(Reference):
    """LARS_SGD; state: m[D]."""

    def __init__(self, rows, **options):
        super().__init__(rows, rows.shape[1], **options)

    def move(self, w, g, m, lr, momentum, eta, weight_decay):
        local = lr * eta * norm(w) / (norm(g) + weight_decay * norm(w))
        m = momentum * m + local * (g + weight_decay * w)
        return w - m, m


class Ftrl(Reference):
    """TensorFlow's FTRL-proximal with Keras's beta; state: n[D], z[D]."""

    def __init__(self, rows, initial_accumulator_value, **options):
        dim = rows.shape[1]
        super().__init__(rows, 2 * dim, **options)
        self.columns[:, :dim] = initial_accumulator_value

    def move(self, w, g, state, lr, l1, l2, beta, learning_rate_power):
        n, z = state[:g.size], state[g.size:]
        p = learning_rate_power
        new_n = n + g * g
        z = z + g - (new_n ** -p - n ** -p) / lr * w
        pulled = (numpy.sign(z) * l1 - z) / (
            (beta + new_n ** -p) / lr + 2 * l2)
        return (numpy.where(numpy.abs(z) > l1, pulled, 0.0),
                numpy.concatenate([new_n, z]))
