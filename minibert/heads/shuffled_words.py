"""Word structure: which token stood at each position of a run of tokens that was shuffled?

Wang et al. 2019, arXiv 1908.04577, section 2.2: maximise log P(pos₁ = t₁, …, pos_K = t_K | the shuffled run), the
positions independent. Head and loss are those of `masked_lm`, asked at other positions; the parameters may be the same.
"""

from typing import Any

import numpy as np

from minibert.heads import masked_lm
from minibert.heads.masked_lm import loss_backward, predict, right, shapes

__all__ = ["BASELINE", "LABELS", "SHORT", "count", "draw", "loss", "loss_backward", "predict", "right", "shapes"]

Array = np.ndarray
Tree = dict[str, Any]

LABELS = {"shuffled_positions": "(B,N)<T", "shuffled_ids": "(B,N)<vocab_size", "shuffled_weights": "(B,N)+"}
SHORT = "shuffled"
BASELINE = "unigram"


def _masked(labels: Tree) -> Tree:
    """The labels as `masked_lm` calls them."""
    return {name.replace("shuffled", "masked_lm"): value for name, value in labels.items()}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, table: tuple[int, int], **_: Any) -> Tree:
    """Labels of an example: a run of N targets a row, 3 unless dims has N, none at the first position."""
    count, room = dims.get("N", 3), int(lengths["T"].min()) - 1
    first = rng.integers(0, room, (dims["B"], 1))
    return {
        "shuffled_positions": np.sort(1 + (first + np.arange(count)) % room, axis=1),
        "shuffled_ids": rng.integers(0, table[0], (dims["B"], count)),
        "shuffled_weights": np.ones((dims["B"], count), np.float32),
    }


def loss(h: Array, p: Tree, labels: Tree, **given: Any) -> tuple[Array, Tree]:
    """The mean over the shuffled positions of -log softmax(z)[label], of h (B, T, D); as `masked_lm.loss`."""
    return masked_lm.loss(h, p, _masked(labels), **given)


def count(labels: Tree) -> float:
    """The sum of the weights."""
    return masked_lm.count(_masked(labels))
