"""Long short-term memory: the states behind each token, [outputs h, cells c], each (b, t, n).

x (b, t, i), state [h, c] (2, b, n) or none, weights (4n, i), (4n, n), biases (4n) or none, rows i f g o. With gates
W_ih x + b_ih + W_hh h + b_hh: c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c'). mask (b, t): at 0 the state stays.
Hochreiter and Schmidhuber 1997; torch.nn.LSTM; SPEC OP-LSTM.
"""

from .lists import dot
from .numbers import tanh
from .sigmoid import sigmoid


def lstm(x, state, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, mask=None):
    n, none = len(weight_hh[0]), [0] * len(weight_hh)
    bias = [a + b for a, b in zip(bias_ih or none, bias_hh or none, strict=True)]

    def after(token, h, c):
        gates = [dot(v, token) + dot(w, h) + b for v, w, b in zip(weight_ih, weight_hh, bias, strict=True)]
        i, f, g, o = (gates[k * n : (k + 1) * n] for k in range(4))
        c = [y * sigmoid(b) + sigmoid(a) * tanh(d) for a, b, d, y in zip(i, f, g, c, strict=True)]
        return [sigmoid(a) * tanh(y) for a, y in zip(o, c, strict=True)], c

    outputs, cells = [], []
    for row, tokens in enumerate(x):
        h, c = ([0 * tokens[0][0]] * n,) * 2 if state is None else (state[0][row], state[1][row])
        outputs.append([])
        cells.append([])
        for t, token in enumerate(tokens):
            h, c = after(token, h, c) if mask is None or mask[row][t] else (h, c)
            outputs[-1].append(h)
            cells[-1].append(c)
    return [outputs, cells]
