"""A gated recurrent unit that resets the state before the product: the states behind each token, (b, t, n).

x (b, t, i), state (b, n) or none, weights (3n, i), (3n, n) of rows r z n, a bias (3n) or none. With a = W_ih x + b:
r = s(a_r + U_r h), z = s(a_z + U_z h), h' = (1 - z) tanh(a_n + U (r h)) + z h. mask (b, t): at 0 the state stays. Cho
et al. 2014 (1406.1078), eq. 5-8; TensorFlow's GRUCell; SPEC OP-GRUR.
"""

from .lists import dot
from .scalars import tanh
from .sigmoid import sigmoid
from .slopes import zeros


def reset_first_gru(x, state, weight_ih, weight_hh, bias_ih=None, *, mask=None):
    n = len(weight_hh[0])
    states = []
    for row, tokens in enumerate(x):
        h = [0 * tokens[0][0]] * n if state is None else state[row]
        states.append([])
        for t, token in enumerate(tokens):
            h = gates(token, h, weight_ih, weight_hh, bias_ih)[-1] if mask is None or mask[row][t] else h
            states[-1].append(h)
    return states


def gates(token, h, weight_ih, weight_hh, bias_ih):
    """(r, z, n, h') of one token."""
    n = len(h)
    a = [dot(w, token) + b for w, b in zip(weight_ih, bias_ih or [0] * (3 * n), strict=True)]
    r = [sigmoid(a[k] + dot(weight_hh[k], h)) for k in range(n)]
    z = [sigmoid(a[n + k] + dot(weight_hh[n + k], h)) for k in range(n)]
    kept = [r[k] * h[k] for k in range(n)]
    new = [tanh(a[2 * n + k] + dot(weight_hh[2 * n + k], kept)) for k in range(n)]
    return r, z, new, [(1 - z[k]) * new[k] + z[k] * h[k] for k in range(n)]


def reset_first_gru_backward(dy, x, state, weight_ih, weight_hh, bias_ih=None, *, mask=None):
    """Through time, from the last token to the first: dh' is dy of a token and what comes back from the one behind it.
    With k = r h and h' = (1 - z) n + z h:

        dz = dh' (h - n),  dn = dh' (1 - z),  dh = dh' z,  da_n = dn (1 - n^2)
        dk = U^T da_n,  dr = dk h,  dh += dk r,  dU += da_n k
        da_z = dz z (1 - z),  da_r = dr r (1 - r),  dh += U_z^T da_z + U_r^T da_r

    a = W_ih x + b is linear: dx = W_ih^T da. At mask 0 the state stays: its gradient passes as it is.
    """
    n = len(weight_hh[0])
    states = reset_first_gru(x, state, weight_ih, weight_hh, bias_ih, mask=mask)
    dx, dih, dhh, dbias, dstate = zeros(x), zeros(weight_ih), zeros(weight_hh), [0] * (3 * n), []
    for row, tokens in enumerate(x):
        first = [0 * tokens[0][0]] * n if state is None else state[row]
        dh = [0 * tokens[0][0]] * n
        for t in reversed(range(len(tokens))):
            dh = [a + b for a, b in zip(dh, dy[row][t], strict=True)]
            if mask is not None and not mask[row][t]:
                continue
            h = states[row][t - 1] if t else first
            r, z, new, _ = gates(tokens[t], h, weight_ih, weight_hh, bias_ih)
            dn = [dh[k] * (1 - z[k]) * (1 - new[k] * new[k]) for k in range(n)]
            dkept = [sum(dn[g] * weight_hh[2 * n + g][k] for g in range(n)) for k in range(n)]
            dr = [dkept[k] * h[k] * r[k] * (1 - r[k]) for k in range(n)]
            da = [*dr, *(dh[k] * (h[k] - new[k]) * z[k] * (1 - z[k]) for k in range(n)), *dn]
            dh = [dh[k] * z[k] + dkept[k] * r[k] for k in range(n)]
            for g in range(3 * n):
                dbias[g] += da[g]
                for i, value in enumerate(tokens[t]):
                    dx[row][t][i] += da[g] * weight_ih[g][i]
                    dih[g][i] += da[g] * value
                for k in range(n):
                    dhh[g][k] += da[g] * (h[k] if g < 2 * n else r[k] * h[k])
                    dh[k] += da[g] * weight_hh[g][k] if g < 2 * n else 0
        dstate.append(dh)
    given = {"state": (state, dstate), "bias_ih": (bias_ih, dbias)}
    some = {name: slope for name, (value, slope) in given.items() if value is not None}
    return {"x": dx, "weight_ih": dih, "weight_hh": dhh, **some}
