"""Sentence structure: is segment B from elsewhere, the next after A, or the one before it?

Wang et al. 2019, arXiv 1908.04577, section 2.2. The equations are those of `next_sentence`, with three classes: 0 = of
another document, 1 = next, 2 = previous. (The paper numbers none, and descriptions differ.)
"""

from typing import Any

import numpy as np

from minibert.heads.next_sentence import BASELINE, count, loss, loss_backward, predict, right

__all__ = ["BASELINE", "LABELS", "SHORT", "count", "draw", "loss", "loss_backward", "predict", "right", "shapes"]

LABELS = {"sentence_structure_labels": "(B)<3"}
SHORT = "order"


def shapes(*, width: int) -> dict[str, Any]:
    """width: of the pooled state, D."""
    return {"weight": (3, width), "bias": (3,)}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Labels of an example: all three, in turn."""
    return {"sentence_structure_labels": np.arange(dims["B"]) % 3}
