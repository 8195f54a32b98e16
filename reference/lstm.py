"""Long short-term memory: the states behind each token, [outputs h, cells c], each (b, t, n).

x (b, t, i), state [h, c] (2, b, n) or none, weights (4n, i), (4n, n), biases (4n) or none, rows i f g o. With gates
W_ih x + b_ih + W_hh h + b_hh: c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c'). mask (b, t): at 0 the state stays.
Hochreiter and Schmidhuber 1997; torch.nn.LSTM; SPEC OP-LSTM.
"""

from .lists import dot
from .scalars import tanh
from .sigmoid import sigmoid
from .slopes import zeros


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


def lstm_backward(dy, x, state, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, mask=None):
    """Through time, from the last token to the first: dh and dc are dy of a token, [of h, of c], and what comes back
    from the one behind it. With c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c'):

        do = dh' tanh(c') s(o) (1 - s(o)),  dc' += dh' s(o) (1 - tanh(c')^2)
        di = dc' tanh(g) s(i) (1 - s(i)),  df = dc' c s(f) (1 - s(f)),  dg = dc' s(i) (1 - tanh(g)^2),  dc = dc' s(f)

    The gates are linear in x and h: dx = W_ih^T dgates, dh = W_hh^T dgates, dW_ih += dgates x, dW_hh += dgates h.
    At mask 0 the state stays: its gradients pass as they are.
    """
    n, none = len(weight_hh[0]), [0] * len(weight_hh)
    bias = [a + b for a, b in zip(bias_ih or none, bias_hh or none, strict=True)]
    outputs, cells = lstm(x, state, weight_ih, weight_hh, bias_ih, bias_hh, mask=mask)
    dx, dih, dhh, dbias = zeros(x), zeros(weight_ih), zeros(weight_hh), [0] * (4 * n)
    dstate = [[], []]
    for row, tokens in enumerate(x):
        zero = [0 * tokens[0][0]] * n
        first = (zero, zero) if state is None else (state[0][row], state[1][row])
        dh, dc = zero, zero
        for t in reversed(range(len(tokens))):
            dh, dc = ([a + b for a, b in zip(own, dy[part][row][t], strict=True)] for part, own in enumerate((dh, dc)))
            if mask is not None and not mask[row][t]:
                continue
            h, c = (outputs[row][t - 1], cells[row][t - 1]) if t else first
            gates = [dot(v, tokens[t]) + dot(w, h) + b for v, w, b in zip(weight_ih, weight_hh, bias, strict=True)]
            dgates, dc_before, dh_before = [0] * (4 * n), [0] * n, [0] * n
            for k in range(n):
                i, f, o = (sigmoid(gates[part * n + k]) for part in (0, 1, 3))
                g, out = tanh(gates[2 * n + k]), tanh(cells[row][t][k])
                slope = dc[k] + dh[k] * o * (1 - out * out)
                dgates[k] = slope * g * i * (1 - i)
                dgates[n + k] = slope * c[k] * f * (1 - f)
                dgates[2 * n + k] = slope * i * (1 - g * g)
                dgates[3 * n + k] = dh[k] * out * o * (1 - o)
                dc_before[k] = slope * f
            for gate, d in enumerate(dgates):
                dbias[gate] += d
                for i, value in enumerate(tokens[t]):
                    dx[row][t][i] += d * weight_ih[gate][i]
                    dih[gate][i] += d * value
                for k in range(n):
                    dh_before[k] += d * weight_hh[gate][k]
                    dhh[gate][k] += d * h[k]
            dh, dc = dh_before, dc_before
        dstate[0].append(dh)
        dstate[1].append(dc)
    given = {"state": (state, dstate), "bias_ih": (bias_ih, dbias), "bias_hh": (bias_hh, list(dbias))}
    some = {name: slope for name, (value, slope) in given.items() if value is not None}
    return {"x": dx, "weight_ih": dih, "weight_hh": dhh, **some}
