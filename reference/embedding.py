"""Table look-up: y_t = weight_(ids_t).

weight (v, d), ids (...) -> (..., d). `padding_idx` says only that this row gets no gradient from the look-up:
the value does not depend on it, so no derivative of this double shows it. SPEC OP-EMB.
"""

from .lists import each


def embedding(weight, *, ids, padding_idx=None):
    return each(0, lambda i: list(weight[i]), ids)
