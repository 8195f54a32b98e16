"""One pair's loss: - sum over the turns of log s((1 - 2 c) h.theta_n), the nodes n and codes c on the way to word t.

h (d), table (v, d), nodes and codes (l, t), -100 behind the end of a way -> scalar. Mikolov et al. 2013 (1310.4546),
equation 3; SPEC W2V-HS.
"""

from .lists import dot
from .negative_sampling import minus_log_sigmoid


def hierarchical_softmax(h, table, nodes, codes, t):
    turns = [(n[t], c[t]) for n, c in zip(nodes, codes, strict=True) if n[t] != -100]
    return sum(minus_log_sigmoid((1 - 2 * c) * dot(h, table[n])) for n, c in turns)
