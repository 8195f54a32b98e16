"""Multiple choice: which of C texts is it? Each is a row of the network, with the question in front of it.

Devlin et al. 2018, arXiv 1810.04805, section 4.4 (SWAG); published classes "…ForMultipleChoice".

    z_i = s_i·w + b, s_i what stands for the i-th text (`summaries`)                                               (1)
    L = mean over the rows of -log softmax(z)[label]                                                                (2)

The paper has no b, which shifts all of a row's logits alike: its gradient is 0 but for rounding.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.config import check, rate

Array = np.ndarray
Tree = dict[str, Any]

TASKS: dict[str, Tree] = {"choose": {}}
READS = "choice"
PUBLISHED = "MultipleChoice"
LABELS = {"labels": "(B)<C"}
SHORT = "choice"
BASELINE = "majority"
COMMAND = "predict"


@dataclass(frozen=True)
class Settings:
    """dropout: the rate at which the summary is dropped, None: as the family says."""

    dropout: float | None = rate(None)

    def __post_init__(self) -> None:
        check(self)

    def sizes(self) -> Tree:
        """For `shapes` and `draw`."""
        return {}

    def constants(self) -> Tree:
        """For `loss`."""
        return {}


def shapes(*, width: int, biased: bool = True, **_: Any) -> Tree:
    """width: of the summary, D."""
    return {"weight": (1, width), **({"bias": (1,)} if biased else {})}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, **_: Any) -> Tree:
    """Labels of an example: at random."""
    return {"labels": rng.integers(0, dims["C"], dims["B"])}


def loss(
    s: Array, p: Tree, labels: Tree, *, table: None = None, total: float | None = None, dense: bool = False
) -> tuple[Array, Tree]:
    """(1), (2) of s (B, C, D)."""
    c: Tree = {}
    z, c["head"] = ops.linear(s, **p)  # (1)
    value, c["loss"] = ops.cross_entropy(z[..., 0], labels=labels["labels"], denominator=total)  # (2)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(ds, g, None)."""
    dz = ops.cross_entropy_backward(dloss, c["loss"])  # (2)
    return *ops.linear_backward(dz[..., None], c["head"]), None  # (1)


def count(labels: Tree) -> float:
    """The number of rows."""
    return float(len(labels["labels"]))


def right(c: Tree) -> layers.Right:
    return layers.right(c["loss"], classes=True)


def predict(s: Array, p: Tree, *, table: None = None) -> Array:
    """(1) of s (…, C, D): a logit for each text, (…, C)."""
    return ops.linear(s, **p)[0][..., 0]
