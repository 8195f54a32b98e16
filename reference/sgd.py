"""SGD with momentum: b = momentum b + g + decay p, p = p - rate b. One tensor, any shape -> (p, b), b from zeros.

Polyak 1964 as torch.optim.SGD writes it (dampening 0; the decay is L2, inside the momentum); SPEC OPT-SGD.
"""

from .lists import each


def sgd(parameter, gradient, velocity, *, rate, momentum=0, decay=0):
    velocity = each(0, lambda b, g, p: momentum * b + g + decay * p, velocity, gradient, parameter)
    return each(0, lambda p, b: p - rate * b, parameter, velocity), velocity
