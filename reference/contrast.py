"""InfoNCE: the mean over the rows i, with weights w_i, of log Σ_j e^z_ij - z_ii. x_j: the second views of all rows,
then the third ones, where there are any; z_ij = u_iᵀ W x_j, u_i·x_j, or their cosine over the temperature; the score of
a row's own third view is raised by `own`.

s (B, K, D), p {weight: (D, D)} or {}, labels {pair_weights: (B)} -> scalar. SPEC TASK-CTL.
"""

from .cosine import cosine
from .cross_entropy import cross_entropy
from .lists import dot


def contrast(s, p, labels, *, by, temperature=0, own=0):
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
    return cross_entropy(scores, labels=list(range(rows)), weights=labels["pair_weights"])
