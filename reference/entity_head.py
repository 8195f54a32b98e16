"""Entity head: z_j = LN(act(x W^T + b)) . e_j for each candidate j of the row, 0 for none (-100).

x (B, T, D), p {dense, norm}, table (N, E), ids (B, C) -> (B, T, C). Zhang et al. 2019 (1905.07129), equation 5; SPEC
THU-DEA.
"""

from .activation import activation as activated
from .layer_norm import layer_norm
from .linear import linear


def entity_head(x, p, table, ids, activation, eps):
    u = layer_norm(activated(linear(x, **p["dense"]), activation), **p["norm"], eps=eps)

    def score(state, j):
        return 0 * state[0] if j < 0 else sum(a * b for a, b in zip(state, table[j], strict=True))

    return [[[score(state, j) for j in known] for state in row] for row, known in zip(u, ids, strict=True)]
