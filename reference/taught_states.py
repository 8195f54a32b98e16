"""A student's states held to a teacher's: the mean over tokens, pairs of layers and features of (W h - t)^2.

h: a list of states (b, t, D), of which `layers` are compared; p {weight (E, D)}, or none where they are as wide; labels
{states (b, k, t, E), tokens (b, t)}. Jiao et al. 2019 (1909.10351), eq. 8; SPEC TRANS-DISTIL.
"""

from .lists import dot, leaves
from .slopes import zeros


def taught_states(h, p, labels, layers):
    total, count = 0, 0
    for b, weights in enumerate(labels["tokens"]):
        for t, w in enumerate(weights):
            count += w
            for n, k in enumerate(layers):
                state, due = h[k][b][t], labels["states"][b][n][t]
                made = [dot(row, state) for row in p["weight"]] if p else state
                total += w * sum((x - y) ** 2 for x, y in zip(made, due, strict=True)) / (len(layers) * len(due))
    return total / count


def taught_states_backward(dy, h, p, labels, layers):
    """With e = W h - t: de = dy 2 w e / (sum w, layers, features), dh = W^T de, dW = sum de h^T. A layer that is not
    compared gets 0.
    """
    dh, dweight = zeros(h), zeros(p["weight"]) if p else None
    count = sum(leaves(labels["tokens"]))
    for b, weights in enumerate(labels["tokens"]):
        for t, w in enumerate(weights):
            for n, k in enumerate(layers):
                state, due = h[k][b][t], labels["states"][b][n][t]
                made = [dot(row, state) for row in p["weight"]] if p else state
                de = [dy * 2 * w * (x - y) / (count * len(layers) * len(due)) for x, y in zip(made, due, strict=True)]
                back = [dot(de, column) for column in zip(*p["weight"], strict=True)] if p else de
                dh[k][b][t] = [x + y for x, y in zip(dh[k][b][t], back, strict=True)]
                for e, slope in enumerate(de) if p else ():
                    dweight[e] = [x + slope * y for x, y in zip(dweight[e], state, strict=True)]
    return {"h": dh, "p": {"weight": dweight} if p else {}}
