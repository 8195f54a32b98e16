"""AdamW: m, v as Adam; p = p (1 - rate decay) - rate m^ / (sqrt v^ + eps), m^ = m / (1 - b1^t), v^ = v / (1 - b2^t).

`step` t counts from 1. One tensor, any shape -> (p, m, v). Kingma & Ba 2014 (1412.6980), algorithm 1; Loshchilov &
Hutter 2017 (1711.05101), algorithm 2, with the rate multiplying the decay as torch.optim.AdamW does; SPEC OPT-ADAMW.
"""

from .lists import each
from .scalars import sqrt


def adamw(parameter, gradient, m, v, *, step, rate, decay, beta1, beta2, eps):
    def update(p, a, b):
        a, b = a / (1 - beta1**step), b / (1 - beta2**step)
        return p * (1 - rate * decay) - rate * a / (sqrt(b) + eps)

    m = each(0, lambda a, g: beta1 * a + (1 - beta1) * g, m, gradient)
    v = each(0, lambda a, g: beta2 * a + (1 - beta2) * g * g, v, gradient)
    return each(0, update, parameter, m, v), m, v
