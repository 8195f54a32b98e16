"""Next token of texts with fields: which token follows each position, a field's ends among them?

Zellers, Holtzman, Rashkin, Bisk, Farhadi, Roesner, Choi, 2019, "Defending Against Neural Fake News", arXiv 1905.12616,
section 3.1; released code: rowanz/grover (`lm/modeling.py`, `lm_loss`). As `next_token`, except:

    L = Σ -log softmax(z_t)[x_{t+1}] / (n + ε) over the n positions that are asked; ε 1e-5 in the release           (1)

What is asked are the tokens of fields as well as the text's own: they are counted together (`asked`).
"""

from typing import Any

import numpy as np

from minibert.heads import next_token
from minibert.heads.next_token import loss_backward, right, shapes

__all__ = ["asked", "count", "draw", "loss", "loss_backward", "predict", "right", "shapes"]

Array = np.ndarray
Tree = dict[str, Any]

IGNORED, AHEAD = next_token.IGNORED, next_token.AHEAD
LABELS, SHORT, BASELINE = next_token.LABELS, next_token.SHORT, next_token.BASELINE
PERPLEXITY, COMMAND = next_token.PERPLEXITY, next_token.COMMAND
count, draw = next_token.count, next_token.draw


def loss(
    h: Array, p: Tree | None, labels: Tree, *, table: Array, denominator_eps: float = 0.0, total: float | None = None,
    dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1) of the states h (B, T, D), and the cache; denominator_eps: ε."""
    total = (count(labels) if total is None else total) + denominator_eps
    return next_token.loss(h, p, labels, table=table, total=total, dense=dense)


def asked(labels: Tree) -> Array:
    """The labels of these positions."""
    following = labels["labels"][:, 1:]
    return following[following != IGNORED]


def predict(h: Array, p: Tree | None, *, table: Array, denominator_eps: float = 0.0) -> Array:
    """As `next_token.predict`."""
    return next_token.predict(h, p, table=table)
