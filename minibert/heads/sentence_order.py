"""Sentence order prediction: do two consecutive segments stand in their order, or swapped?

Lan et al. 2019, arXiv 1909.11942, section 3.1. The equations are those of `next_sentence`, of another question: class
0 = in order, 1 = swapped.
"""

from minibert.heads.next_sentence import BASELINE, count, loss, loss_backward, predict, right, shapes

__all__ = ["BASELINE", "LABELS", "count", "loss", "loss_backward", "predict", "right", "shapes"]

LABELS = {"sentence_order_labels": "(B)<2"}
