"""A step of TransE: entities normed, then gradient descent on Σ max(0, γ + d(h, r, t) - d(h', r, t')).

entities (N, E), relations (R, E), triples and corrupted (M, 3) -> (entities, relations, loss). d = |e_h + w_r - e_t|²,
so ∂d/∂e_h = ∂d/∂w_r = 2 (e_h + w_r - e_t) = -∂d/∂e_t. Bordes et al. 2013, algorithm 1; SPEC THU-KNOW-2.
"""

from .scalars import sqrt


def transe(entities, relations, triples, corrupted, margin, rate):
    normed = []
    for vector in entities:
        length = sqrt(sum(x * x for x in vector))
        normed.append([x / length for x in vector])
    moved, turned = [list(vector) for vector in normed], [list(vector) for vector in relations]
    total = 0

    def apart(triple):
        head, relation, tail = triple
        return [a + b - c for a, b, c in zip(normed[head], relations[relation], normed[tail], strict=True)]

    for right, wrong in zip(triples, corrupted, strict=True):
        distances = [sum(x * x for x in apart(triple)) for triple in (right, wrong)]
        excess = margin + distances[0] - distances[1]
        if excess <= 0:
            continue
        total += excess
        for sign, triple in ((1, right), (-1, wrong)):
            head, relation, tail = triple
            for i, x in enumerate(apart(triple)):
                moved[head][i] -= rate * sign * 2 * x
                moved[tail][i] += rate * sign * 2 * x
                turned[relation][i] -= rate * sign * 2 * x
    return moved, turned, total
