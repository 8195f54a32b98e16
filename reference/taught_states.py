"""A student's states held to a teacher's: the mean over tokens, pairs of layers and features of (W h - t)^2.

h: a list of states (b, t, D), of which `layers` are compared; p {weight (E, D)}, or none where they are as wide; labels
{states (b, k, t, E), tokens (b, t)}. Jiao et al. 2019 (1909.10351), eq. 8; SPEC TRANS-DISTIL.
"""

from .lists import dot


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
