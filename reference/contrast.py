"""InfoNCE: the mean over the rows i, with weights w_i, of log Σ_j e^z_ij - z_ii. x_j: the second views of all rows,
then the third ones, where there are any; z_ij = u_iᵀ W x_j, u_i·x_j, or their cosine over the temperature; the score of
a row's own third view is raised by `own`.

s (B, K, D), p {weight: (D, D)} or {}, labels {pair_weights: (B)} -> scalar. SPEC TASK-CTL.
"""

from .cosine import cosine, cosine_backward
from .cross_entropy import cross_entropy, cross_entropy_backward
from .lists import dot
from .slopes import zeros


def contrast(s, p, labels, *, by, temperature=0, own=0):
    z, _ = scored(s, p, by, temperature, own)
    return cross_entropy(z, labels=list(range(len(s))), weights=labels["pair_weights"])


def scored(s, p, by, temperature, own):
    rows, views = len(s), len(s[0])
    others = [s[i][k] for k in range(1, views) for i in range(rows)]
    scores = []
    for i in range(rows):
        u = s[i][0]
        if by == "bilinear":
            u = [sum(u[d] * p["weight"][d][e] for d in range(len(u))) for e in range(len(u))]
        z = [cosine(u, x) / temperature if by == "cosine" else dot(u, x) for x in others]
        if views == 3:
            z[rows + i] = z[rows + i] + own
        scores.append(z)
    return scores, others


def contrast_backward(dy, s, p, labels, *, by, temperature=0, own=0):
    """dz is the cross-entropy's. z_ij = u_i W x_j: du_i = sum_j dz_ij W x_j, dx_j = sum_i dz_ij u_i W and
    dW = sum_ij dz_ij u_i x_j^T, without a weight as if it were 1; of a cosine its slope, divided by the temperature. A
    score that is raised keeps its slope.
    """
    rows, views = len(s), len(s[0])
    z, others = scored(s, p, by, temperature, own)
    slope = cross_entropy_backward(dy, z, labels=list(range(rows)), weights=labels["pair_weights"])["logits"]
    ds, dweight = zeros(s), zeros(p["weight"]) if p else None
    places = [(i, k) for k in range(1, views) for i in range(rows)]
    for i in range(rows):
        u = s[i][0]
        for dz, x, (j, k) in zip(slope[i], others, places, strict=True):
            if by == "cosine":
                both = cosine_backward(dz / temperature, u, x)
                du, dx = both["u"], both["v"]
            else:
                du = [dz * (dot(w, x) if p else x[d]) for d, w in enumerate(p["weight"] if p else u)]
                dx = [dz * (sum(a * w[e] for a, w in zip(u, p["weight"], strict=True)) if p else u[e])
                      for e in range(len(x))]  # fmt: skip
                for d in range(len(u)) if p else ():
                    dweight[d] = [a + dz * u[d] * b for a, b in zip(dweight[d], x, strict=True)]
            ds[i][0] = [a + b for a, b in zip(ds[i][0], du, strict=True)]
            ds[j][k] = [a + b for a, b in zip(ds[j][k], dx, strict=True)]
    return {"s": ds, **({"p": {"weight": dweight}} if p else {})}
