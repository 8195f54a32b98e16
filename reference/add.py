"""The residual of a pre-norm sub-layer: x + Drop(f), Drop(f) through its adapter where p has one. x, f (..., D).

keep: bits (..., D), None where nothing is dropped. Houlsby et al. 2019 (1902.00751), section 2.1; the order of the two
is that of google-research/adapter-bert, modeling.py.
"""

from .adapter import adapter
from .dropout import dropout
from .lists import each


def add(x, f, p, keep, rate):
    f = f if keep is None else dropout(f, keep=keep, rate=rate)
    return each(0, lambda a, b: a + b, x, adapter(f, p["adapter"]) if "adapter" in p else f)
