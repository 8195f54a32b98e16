"""sqrt(D) E_i[x] P_i^T of each token x, i the part of the vocabulary that it is in: ids (b, t) -> (b, t, D).

p: of each part, or of all together, {word {weight}, projection {weight (D, e)} or none}; ends: 0, the cutoffs, V.
Baevski and Auli 2018 (1809.10853), section 3; the scale is that of the release of Transformer-XL; SPEC TXL-EMB.
"""

from .linear import linear
from .lists import each
from .scalars import constant, sqrt


def adaptive_embedding(p, ids, ends):
    def embedded(token):
        parts = [(0, p[0])] if len(p) == 1 else zip(ends, p, strict=False)
        begin, held = [(begin, held) for begin, held in parts if begin <= token][-1]
        row = held["word"]["weight"][token - begin]
        row = linear(row, held["projection"]["weight"]) if "projection" in held else row
        return [sqrt(constant("1", a) * len(row)) * a for a in row]

    return each(0, embedded, ids)
