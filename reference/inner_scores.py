"""Scores of sentences among each other: z_ij = u_i . v_j, 0 where i = j; u, v (b, c, d) -> (b, c, c).

Logeswaran and Lee 2018 (1803.02893), section 3, as released: the diagonal is set to 0. SPEC QT-SCORE.
"""

from .lists import dot


def inner_scores(u, v):
    return [
        [[dot(a, b) if i != j else 0 * a[0] for j, b in enumerate(others)] for i, a in enumerate(row)]
        for row, others in zip(u, v, strict=True)
    ]
