"""Tagging behind an LSTM: of which class is each token, as one sees it who has read the text from both ends?

Huang et al. 2015, arXiv 1508.01991, section 2.2, over a network's states in the place of word vectors.

    →g, ←g = LSTMs over the states h that are there, from the left and from the right                              (1)
    z_t = [→g_t; ←g_t] Wᵀ + b                                                                                      (2)
    L = mean of -log softmax(z_t)[label_t] over the tokens that are asked; a label of -100 asks nothing             (3)

Every token that is there is read, asked or not; padding is passed over.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, ops, recurrent
from minibert.config import number
from minibert.heads import inherited, tagging

Array = np.ndarray
Tree = dict[str, Any]

KIN = "tagging"
__getattr__ = inherited(KIN)

IGNORED = tagging.IGNORED
TASKS = {"tag_lstm": {"classes": 2}}
ROWS = "tag"
SEEN = True
PUBLISHED = "TokenClassificationLstm"
NAMED = ""  # its tensors stand beside the network's: lstm.forward.weight_ih, classifier.weight
TRACED = {"lstm": "lstm", "head": "classifier"}


@dataclass(frozen=True)
class Settings(tagging.Settings):
    """units: of each direction, 0: half the states' width; and those of tagging."""

    units: int = number(0, 0, 1 << 16)

    def sizes(self) -> Tree:
        """For `shapes`, `draw` and `labels`."""
        return {"classes": self.classes, "units": self.units}


def shapes(*, width: int, classes: int, units: int = 0, **_: Any) -> Tree:
    """width: of the states that are read, D."""
    units = units or max(1, width // 2)
    classifier = {"weight": (classes, 2 * units), "bias": (classes,)}
    return {"lstm": recurrent.shapes(width, units, both=True), "classifier": classifier}


def loss(
    h: Array, p: Tree, labels: Tree, *, table: None = None, total: float | None = None, dense: bool = False,
    seen: Array | None = None,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1)-(3) of h (B, T, D); seen: bits (B, T), 1 = there."""
    c: Tree = {}
    g, c["lstm"] = recurrent.lstm_layer(h, p["lstm"], seen=layers.by_anybody(seen))  # (1)
    z, c["head"] = ops.linear(g, **p["classifier"])  # (2)
    value, c["loss"] = ops.cross_entropy(z, labels=labels["labels"], ignore=IGNORED, denominator=total)  # (3)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(dh, g, None)."""
    dg, classifier = ops.linear_backward(ops.cross_entropy_backward(dloss, c["loss"]), c["head"])  # (3), (2)
    dh, lstm = recurrent.lstm_layer_backward(dg, c["lstm"])  # (1)
    return dh, {"lstm": lstm, "classifier": classifier}, None


def predict(h: Array, p: Tree, *, table: None = None, seen: Array | None = None) -> Array:
    """(1), (2) of h (B, T, D): a logit for each tag, (B, T, C)."""
    return ops.linear(recurrent.lstm_layer(h, p["lstm"], seen=layers.by_anybody(seen))[0], **p["classifier"])[0]
