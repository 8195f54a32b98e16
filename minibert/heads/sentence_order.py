"""Sentence order prediction: do two consecutive segments stand in their order, or swapped?

Lan et al. 2019, arXiv 1909.11942, section 3.1. The equations are those of `next_sentence`, of another question: class
0 = in order, 1 = swapped.
"""

from typing import Any

import numpy as np

from minibert.heads.next_sentence import BASELINE, count, loss, loss_backward, predict, right, shapes

__all__ = ["BASELINE", "LABELS", "count", "draw", "loss", "loss_backward", "predict", "right", "shapes"]

LABELS = {"sentence_order_labels": "(B)<2"}
SHORT = "SOP"


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Labels of an example: both, in turn."""
    return {"sentence_order_labels": np.arange(dims["B"]) % 2}
