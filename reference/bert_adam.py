"""BERT's Adam: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p = p - rate (m / (sqrt v + eps) + decay p).

No bias correction; the decay is decoupled and uses the parameter before the update. One tensor, any shape
-> (p, m, v). google-research/bert optimization.py AdamWeightDecayOptimizer; SPEC OPT-ADAM.
"""

from .lists import each
from .scalars import sqrt


def bert_adam(parameter, gradient, m, v, *, rate, decay, beta1, beta2, eps):
    m = each(0, lambda a, g: beta1 * a + (1 - beta1) * g, m, gradient)
    v = each(0, lambda a, g: beta2 * a + (1 - beta2) * g * g, v, gradient)
    parameter = each(0, lambda p, a, b: p - rate * (a / (sqrt(b) + eps) + decay * p), parameter, m, v)
    return parameter, m, v
