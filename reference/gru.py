"""Gated recurrent unit: the states behind each token, (b, t, n).

x (b, t, i), state (b, n) or none, weights (3n, i), (3n, n), biases (3n) or none, rows r z n. With a = W_ih x + b_ih and
b = W_hh h + b_hh: r = s(a_r + b_r), z = s(a_z + b_z), h' = (1 - z) tanh(a_n + r b_n) + z h. mask (b, t): at 0 the state
stays. Cho et al. 2014 (1406.1078); torch.nn.GRU; SPEC OP-GRU.
"""

from .lists import dot
from .numbers import tanh
from .sigmoid import sigmoid


def gru(x, state, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, mask=None):
    n, none = len(weight_hh[0]), [0] * len(weight_hh)

    def after(token, h):
        a = [dot(row, token) + bias for row, bias in zip(weight_ih, bias_ih or none, strict=True)]
        b = [dot(row, h) + bias for row, bias in zip(weight_hh, bias_hh or none, strict=True)]
        new = []
        for k in range(n):
            r, z = sigmoid(a[k] + b[k]), sigmoid(a[n + k] + b[n + k])
            new.append((1 - z) * tanh(a[2 * n + k] + r * b[2 * n + k]) + z * h[k])
        return new

    states = []
    for row, tokens in enumerate(x):
        h = [0 * tokens[0][0]] * n if state is None else state[row]
        states.append([])
        for t, token in enumerate(tokens):
            h = after(token, h) if mask is None or mask[row][t] else h
            states[-1].append(h)
    return states
