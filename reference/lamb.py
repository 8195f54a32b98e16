"""LAMB: p <- p - rate r u, u = m / (sqrt v + eps) + decay p as in BERT's Adam, r = |p| / |u|.

The Euclidean norms are of the whole tensor before the update. r = 1 where either is 0, and for tensors that are not
`adapted`: norms and biases. No bias correction, no clipping of r. One tensor, any shape -> (p, m, v). You et al. 2019
(1904.00962), algorithm 2; google-research/albert lamb_optimizer.py; SPEC OPT-LAMB.
"""

from .lists import each, leaves
from .scalars import sqrt


def lamb(parameter, gradient, m, v, *, rate, decay, beta1, beta2, eps, adapted=True):
    def norm(tensor):
        return sqrt(sum(x * x for x in leaves([tensor])))

    m = each(0, lambda a, g: beta1 * a + (1 - beta1) * g, m, gradient)
    v = each(0, lambda a, g: beta2 * a + (1 - beta2) * g * g, v, gradient)
    update = each(0, lambda p, a, b: a / (sqrt(b) + eps) + decay * p, parameter, m, v)
    old, new = norm(parameter), norm(update)
    ratio = old / new if adapted and old and new else 1
    return each(0, lambda p, u: p - rate * ratio * u, parameter, update), m, v
