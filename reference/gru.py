"""Gated recurrent unit: the states behind each token, (b, t, n).

x (b, t, i), state (b, n) or none, weights (3n, i), (3n, n), biases (3n) or none, rows r z n. With a = W_ih x + b_ih and
b = W_hh h + b_hh: r = s(a_r + b_r), z = s(a_z + b_z), h' = (1 - z) tanh(a_n + r b_n) + z h. mask (b, t): at 0 the state
stays. Cho et al. 2014 (1406.1078); torch.nn.GRU; SPEC OP-GRU.
"""

from .lists import dot
from .scalars import tanh
from .sigmoid import sigmoid
from .slopes import zeros


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


def gru_backward(dy, x, state, weight_ih, weight_hh, bias_ih=None, bias_hh=None, *, mask=None):
    """Through time, from the last token to the first: dh is dy of a token and what comes back from the one behind it.
    With n = tanh(a_n + r b_n), h' = (1 - z) n + z h:

        dz = dh' (h - n),  dn = dh' (1 - z),  dh = dh' z
        du = dn (1 - n^2),  da_n = du,  dr = du b_n,  db_n = du r
        da_z = db_z = dz z (1 - z),  da_r = db_r = dr r (1 - r)

    a = W_ih x + b_ih and b = W_hh h + b_hh are linear: dx = W_ih^T da, dh += W_hh^T db, dW_ih += da x, dW_hh += db h.
    At mask 0 the state stays: its gradient passes as it is.
    """
    n, none = len(weight_hh[0]), [0] * len(weight_hh)
    states = gru(x, state, weight_ih, weight_hh, bias_ih, bias_hh, mask=mask)
    dx, dih, dhh = zeros(x), zeros(weight_ih), zeros(weight_hh)
    dbias_ih, dbias_hh, dstate = [0] * (3 * n), [0] * (3 * n), []
    for row, tokens in enumerate(x):
        first = [0 * tokens[0][0]] * n if state is None else state[row]
        dh = [0 * tokens[0][0]] * n
        for t in reversed(range(len(tokens))):
            dh = [a + b for a, b in zip(dh, dy[row][t], strict=True)]
            if mask is not None and not mask[row][t]:
                continue
            h = states[row][t - 1] if t else first
            a = [dot(w, tokens[t]) + b for w, b in zip(weight_ih, bias_ih or none, strict=True)]
            b = [dot(w, h) + c for w, c in zip(weight_hh, bias_hh or none, strict=True)]
            da, db, back = [0] * (3 * n), [0] * (3 * n), [0] * n
            for k in range(n):
                r, z = sigmoid(a[k] + b[k]), sigmoid(a[n + k] + b[n + k])
                new = tanh(a[2 * n + k] + r * b[2 * n + k])
                du = dh[k] * (1 - z) * (1 - new * new)
                da[2 * n + k], db[2 * n + k] = du, du * r
                da[k] = db[k] = du * b[2 * n + k] * r * (1 - r)
                da[n + k] = db[n + k] = dh[k] * (h[k] - new) * z * (1 - z)
                back[k] = dh[k] * z
            for g in range(3 * n):
                dbias_ih[g] += da[g]
                dbias_hh[g] += db[g]
                for i, value in enumerate(tokens[t]):
                    dx[row][t][i] += da[g] * weight_ih[g][i]
                    dih[g][i] += da[g] * value
                for k in range(n):
                    back[k] += db[g] * weight_hh[g][k]
                    dhh[g][k] += db[g] * h[k]
            dh = back
        dstate.append(dh)
    given = {"state": (state, dstate), "bias_ih": (bias_ih, dbias_ih), "bias_hh": (bias_hh, dbias_hh)}
    some = {name: slope for name, (value, slope) in given.items() if value is not None}
    return {"x": dx, "weight_ih": dih, "weight_hh": dhh, **some}
