"""How far two predictions are apart: the Euclidean norm of the difference of their probabilities, summed over the rows.

z, other (b, c) logits -> scalar. Zhang, Li 2020 (2008.11869), eq. 2, the last term; SPEC AMB-CLS.
"""

from .scalars import sqrt
from .softmax import softmax


def disagreement(z, other):
    pairs = zip(softmax(z), softmax(other), strict=True)
    return sum(sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True))) for x, y in pairs)
