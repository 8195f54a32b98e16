"""One pair's loss: - sum over the turns of log s((1 - 2 c) h.theta_n), the nodes n and codes c on the way to word t.

h (d), table (v, d), nodes and codes (l, t), -100 behind the end of a way -> scalar. Mikolov et al. 2013 (1310.4546),
equation 3; SPEC W2V-HS.
"""

from .lists import dot
from .negative_sampling import minus_log_sigmoid
from .sigmoid import sigmoid
from .slopes import zeros


def hierarchical_softmax(h, table, nodes, codes, t):
    turns = [(n[t], c[t]) for n, c in zip(nodes, codes, strict=True) if n[t] != -100]
    return sum(minus_log_sigmoid((1 - 2 * c) * dot(h, table[n])) for n, c in turns)


def hierarchical_softmax_backward(dy, h, table, nodes, codes, t):
    """Each turn is a decision of its own, with z = (1 - 2 c) h·theta_n: d -log s(z) / dz = -s(-z)."""
    dh, dtable = [0 * a for a in h], zeros(table)
    for n, c in ((n[t], c[t]) for n, c in zip(nodes, codes, strict=True) if n[t] != -100):
        slope = -dy * (1 - 2 * c) * sigmoid(-(1 - 2 * c) * dot(h, table[n]))
        dh = [a + slope * b for a, b in zip(dh, table[n], strict=True)]
        dtable[n] = [a + slope * b for a, b in zip(dtable[n], h, strict=True)]
    return {"h": dh, "table": dtable}
