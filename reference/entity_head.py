"""Entity head: z_j = LN(act(x W^T + b)) . e_j for each candidate j of the row, 0 for none (-100).

x (B, T, D), p {dense, norm}, table (N, E), ids (B, C) -> (B, T, C). Zhang et al. 2019 (1905.07129), equation 5; SPEC
THU-DEA.
"""

from .activation import activation as activated
from .activation import activation_backward
from .layer_norm import layer_norm, layer_norm_backward
from .linear import linear, linear_backward
from .slopes import zeros


def entity_head(x, p, table, ids, activation, eps):
    u = layer_norm(activated(linear(x, **p["dense"]), activation), **p["norm"], eps=eps)

    def score(state, j):
        return 0 * state[0] if j < 0 else sum(a * b for a, b in zip(state, table[j], strict=True))

    return [[[score(state, j) for j in known] for state in row] for row, known in zip(u, ids, strict=True)]


def entity_head_backward(dy, x, p, table, ids, activation, eps):
    """z_tj = u_t · e_j: du_t = sum_j dz_tj e_j, de_j = sum_t dz_tj u_t, of a candidate that stands in several rows the
    sum; then the norm's, the activation's and the linear map's.
    """
    made = linear(x, **p["dense"])
    active = activated(made, activation)
    u = layer_norm(active, **p["norm"], eps=eps)
    dtable, du = zeros(table), zeros(u)
    for b, known in enumerate(ids):
        for t, state in enumerate(u[b]):
            for slope, j in ((s, j) for s, j in zip(dy[b][t], known, strict=True) if j >= 0):
                du[b][t] = [a + slope * e for a, e in zip(du[b][t], table[j], strict=True)]
                dtable[j] = [a + slope * v for a, v in zip(dtable[j], state, strict=True)]
    norm = layer_norm_backward(du, active, **p["norm"], eps=eps)
    dense = linear_backward(activation_backward(norm.pop("x"), made, activation)["x"], x, **p["dense"])
    return {"x": dense.pop("x"), "p": {"dense": dense, "norm": norm}, "table": dtable}
