"""Long short-term memory with projected outputs: the states behind each token, outputs and then cells, (b, t, p + n).

As `lstm`, but h' = k(W_hr (s(o) tanh(c'))), and c' = K(...): K and k clip to cell_clip and clip, where there are such.
state (b, p + n) or none, weights (4n, i), (4n, p), (p, n). Sak et al. 2014; Peters et al. 2018 (1802.05365), release;
SPEC OP-LSTMP.
"""

from .lists import dot
from .scalars import constant, tanh
from .sigmoid import sigmoid


def projected_lstm(x, state, weight_ih, weight_hh, weight_hr, bias_ih=None, bias_hh=None, *, mask=None,
                   cell_clip=None, clip=None):  # fmt: skip
    p, n, none = len(weight_hr), len(weight_hr[0]), [0] * len(weight_hh)
    bias = [a + b for a, b in zip(bias_ih or none, bias_hh or none, strict=True)]

    def within(value, most):
        return value if most is None else max(-constant(most, value), min(constant(most, value), value))

    def after(token, s):
        h, c = s[:p], s[p:]
        gates = [dot(v, token) + dot(w, h) + b for v, w, b in zip(weight_ih, weight_hh, bias, strict=True)]
        i, f, g, o = (gates[k * n : (k + 1) * n] for k in range(4))
        c = [within(y * sigmoid(b) + sigmoid(a) * tanh(d), cell_clip) for a, b, d, y in zip(i, f, g, c, strict=True)]
        u = [sigmoid(a) * tanh(y) for a, y in zip(o, c, strict=True)]
        return [within(dot(row, u), clip) for row in weight_hr] + c

    states = []
    for row, tokens in enumerate(x):
        s = [0 * tokens[0][0]] * (p + n) if state is None else state[row]
        states.append([])
        for t, token in enumerate(tokens):
            s = after(token, s) if mask is None or mask[row][t] else s
            states[-1].append(s)
    return states
