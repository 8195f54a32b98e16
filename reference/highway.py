"""Highway: g x + (1 - g) relu(t), the rows of the matrix those of t, then those of g's logits: x (n, d) -> (n, d).

Srivastava et al. 2015 (1505.00387), eq. 3; allennlp modules/highway.py; SPEC ELMO-CHAR.
"""

from .linear import linear
from .relu import relu
from .sigmoid import sigmoid


def highway(x, p):
    d = len(x[0])
    z = linear(x, p["weight"], p["bias"])
    gated = []
    for row, v in zip(z, x, strict=True):
        u, g = relu([row[:d]])[0], [sigmoid(a) for a in row[d:]]
        gated.append([a * y + (1 - a) * b for a, b, y in zip(g, u, v, strict=True)])
    return gated
