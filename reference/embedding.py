"""Table look-up: y_t = weight_(ids_t).

weight (v, d), ids (...) -> (..., d). `padding_idx` says only that this row gets no gradient from the look-up:
the value does not depend on it, so no derivative of this double shows it. SPEC OP-EMB.
"""

from .lists import each, leaves
from .slopes import rows_of, zeros


def embedding(weight, *, ids, padding_idx=None):
    return each(0, lambda i: list(weight[i]), ids)


def embedding_backward(dy, weight, *, ids, padding_idx=None):
    """From y_t = weight_(ids_t): dy_t / dweight_r is 1 where r = ids_t, else 0. So row r gets the dy of every token
    that looked it up: dweight_r = sum over t with ids_t = r of dy_t. A row that nobody looked up gets 0, the row
    `padding_idx` none by convention.
    """
    dweight = zeros(weight)
    for i, slope in zip(leaves(ids), rows_of(dy), strict=True):
        if i != padding_idx:
            dweight[i] = [a + b for a, b in zip(dweight[i], slope, strict=True)]
    return {"weight": dweight}
