"""Hierarchical softmax: a word is told by the turns on the way to it through a binary tree.

Morin and Bengio 2005; Mikolov et al. 2013, arXiv 1310.4546, section 2.1, equation 3; tmikolov/word2vec.

    p(w | h) = Π_j σ((1 - 2 c_j) h·θ_j) over the inner nodes from the root to w; c_j = 1 where the way turns to the
    second child                                                                                                    (1)
    L = mean over the pairs (h, w) of -log p(w | h)                                                                 (2)

The sum of p over all words is 1, whatever the tree; `corruption.windows.huffman` makes word2vec's.
"""

from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.heads.negative_sampling import IGNORED, count, pointed, wanted

Array = np.ndarray
Tree = dict[str, Any]

LABELS = {"targets": f"(B,P,T)<T|{IGNORED}", "nodes": f"(B,L,T)<vocab_size|{IGNORED}", "codes": "(B,L,T)<2"}
SHORT = "HS"
BASELINE = "unigram"
COMMAND = "neighbours"
__all__ = ["count"]


def shapes(*, table: tuple[int, int]) -> Tree:
    """table: the vocabulary and the width of the states that are read, (V, D); of the rows one stays unused."""
    return {"weight": table}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, table: tuple[int, int], **_: Any) -> Tree:
    """Labels of an example: any nodes, ways of unequal lengths."""
    size = lengths.get("T", np.full(dims["B"], dims["T"]))
    shape = dims["B"], dims.get("L", 3), dims["T"]
    nodes = rng.integers(0, table[0] - 1, shape)
    nodes[:, -1, ::2] = IGNORED
    return {"targets": pointed(rng, dims, size), "nodes": nodes, "codes": rng.integers(0, 2, shape)}


def loss(
    h: Array, p: Tree, labels: Tree, *, words: Array, table: None = None, total: float | None = None,
    dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1), (2) of h (B, T, D); words (B, T): those of the row, to which the targets point."""
    rows, nodes = len(h), labels["nodes"].reshape(len(h), -1)
    there, pairs = nodes != IGNORED, wanted(labels["targets"], h.dtype)
    c: Tree = {"turns": labels["nodes"].shape[1], "pairs": pairs}
    theta, c["nodes"] = ops.embedding(**p, ids=np.where(there, nodes, 0))
    z, c["scores"] = ops.scores(h[:, None], theta[:, None], scale=1.0)
    weights = np.tile(pairs, (1, 1, c["turns"])) * there[:, None]
    left = np.broadcast_to((labels["codes"].reshape(rows, 1, -1) == 0), weights.shape)
    given = {"labels": left, "weights": weights, "denominator": count(labels) if total is None else total}
    value, c["loss"] = ops.binary_cross_entropy(z[:, 0], **given)  # (1), (2)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(dh, g, None)."""
    dz = ops.binary_cross_entropy_backward(dloss, c["loss"])[:, None]
    dh, dtheta = ops.scores_backward(dz, c["scores"])
    return dh[:, 0], ops.embedding_backward(dtheta[:, 0], c["nodes"]), None


def right(c: Tree) -> layers.Right:
    """Where every turn is the likelier one."""
    wrong = ((c["loss"]["logits"] > 0) != c["loss"]["labels"]) & (c["loss"]["weights"] > 0)
    rows, length, _ = c["pairs"].shape
    missed = wrong.reshape(rows, length, c["turns"], length).any(2)
    return float(c["pairs"][~missed].sum()), float(c["pairs"].sum()), None


def asked(labels: Tree) -> Array:
    """The words of the pairs."""
    at = np.nonzero(labels["targets"] != IGNORED)
    return labels["input_ids"][at[0], labels["targets"][at]]
