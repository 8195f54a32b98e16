"""Next sentence prediction of some rows: where a row is no pair of which it is asked, its weight is 0.

Devlin et al. 2018, arXiv 1810.04805, section 3.1, task 2; Dong et al. 2019, arXiv 1905.03197, section 2.3, of whose
rows only those of the bidirectional objective are asked.

    z = r Wᵀ + b, r the pooled state of the row; class 0 = B follows A, 1 = B is random                             (1)
    L = Σ w·(-log softmax(z)[label]) / Σ w                                                                          (2)
"""

from typing import Any

import numpy as np

from minibert import ops
from minibert.heads.next_sentence import BASELINE, SHORT, loss_backward, nsp_head, predict, right, shapes

__all__ = ["BASELINE", "LABELS", "SHORT", "count", "draw", "loss", "loss_backward", "predict", "right", "shapes"]

Array = np.ndarray
Tree = dict[str, Any]

LABELS = {"next_sentence_labels": "(B)<2", "next_sentence_weights": "(B)+"}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, **_: Any) -> Tree:
    """Labels of an example: both, in turn; the last row is not asked."""
    rows = np.arange(dims["B"])
    return {"next_sentence_labels": rows % 2, "next_sentence_weights": (rows < dims["B"] - 1).astype(np.float32)}


def loss(
    r: Array, p: Tree, labels: Tree, *, table: None = None, total: float | None = None, dense: bool = False
) -> tuple[Array, Tree]:
    """(1), (2) of r (B, D)."""
    c: Tree = {}
    z, c["head"] = nsp_head(r, p)
    given = {"labels": labels["next_sentence_labels"], "weights": labels["next_sentence_weights"].astype(r.dtype)}
    value, c["loss"] = ops.cross_entropy(z, **given, denominator=total)
    return value, c


def count(labels: Tree) -> float:
    """The sum of the weights."""
    return float(np.sum(labels["next_sentence_weights"], dtype=np.float64))
