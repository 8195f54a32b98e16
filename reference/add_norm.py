"""The post-norm residual: LN(x + Drop(f)), Drop(f) through its adapter where p {norm, adapter} has one. x, f (..., D).

Vaswani et al. 2017 (1706.03762), section 3.1; Houlsby et al. 2019 (1902.00751), section 2.1.
"""

from .add import add
from .layer_norm import layer_norm


def add_norm(x, f, p, eps, keep, rate):
    return layer_norm(add(x, f, p, keep, rate), **p["norm"], eps=eps)
