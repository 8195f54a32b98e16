"""Masked language model of a text's coarse tokens: `masked_lm` over states, targets and a vocabulary of their own.

Zhang, Li, 2020, "AMBERT", arXiv 2008.11869, section 3.3.
"""

from typing import Any

import numpy as np

from minibert import layers
from minibert.heads import masked_lm

Array = np.ndarray
Tree = dict[str, Any]

PREFIX = "coarse_"
LABELS = {
    "coarse_masked_lm_positions": "(B,N)<S",
    "coarse_masked_lm_ids": "(B,N)<coarse_vocab_size",
    "coarse_masked_lm_weights": "(B,N)+",
}
SHORT = "coarse MLM"
BASELINE = "none"  # its tokens are not those that are counted
shapes, loss_backward, predict = masked_lm.shapes, masked_lm.loss_backward, masked_lm.predict


def _plain(labels: Tree) -> Tree:
    return {name.removeprefix(PREFIX): value for name, value in labels.items()}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, **sizes: Any) -> Tree:
    """Labels of an example, as `masked_lm` draws them: N targets a row, 2 unless dims has N."""
    own = masked_lm.draw(rng, {**dims, "M": dims.get("N", 2)}, {"T": lengths["S"]}, **sizes)
    return {f"{PREFIX}{name}": value for name, value in own.items()}


def loss(h: Array, p: Tree, labels: Tree, **given: Any) -> tuple[Array, Tree]:
    """(1), (2) of `masked_lm`, of h (B, S, D)."""
    return masked_lm.loss(h, p, _plain(labels), **given)


def count(labels: Tree) -> float:
    """The sum of the weights."""
    return masked_lm.count(_plain(labels))


def right(c: Tree) -> layers.Right:
    return layers.right(c["loss"])
