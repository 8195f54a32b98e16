"""RoBERTa's Adam: p = p (1 - rate decay) - rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt v + eps), m and v as Adam.

`step` t counts from 1; eps is added to the root that is not corrected. One tensor, any shape -> (p, m, v). Liu et al.
2019 (1907.11692), section 3.1; fairseq optim/adam.py; SPEC ROB-OPT.
"""

from .lists import each
from .scalars import sqrt


def roberta_adam(parameter, gradient, m, v, *, step, rate, decay, beta1, beta2, eps):
    def update(p, a, b):
        return p * (1 - rate * decay) - rate * sqrt(1 - beta2**step) / (1 - beta1**step) * a / (sqrt(b) + eps)

    m = each(0, lambda a, g: beta1 * a + (1 - beta1) * g, m, gradient)
    v = each(0, lambda a, g: beta2 * a + (1 - beta2) * g * g, v, gradient)
    return each(0, update, parameter, m, v), m, v
