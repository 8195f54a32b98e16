"""Negative sampling: is this word one that stood there, or one that was drawn?

Mikolov et al. 2013, arXiv 1310.4546, section 2.2, equation 4; tmikolov/word2vec, `TrainModelThread`.

    z_w = h·u_w, u_w the row of w in a table of outputs                                                             (1)
    L = mean over the pairs (h, w) of -log σ(z_w) - (k/N) Σ_{n ≤ N, n ≠ w} log σ(-z_n)                              (2)

N words are drawn for a row of text and shared by all its pairs, each counting k/N, so that a pair has k in the mean. A
row of one pair with N = k is the release's: there every pair draws its own. A word drawn that is the pair's own is left
out, not drawn again, as there.
"""

from typing import Any

import numpy as np

from minibert import kernels, layers, ops

Array = np.ndarray
Tree = dict[str, Any]

IGNORED = -100
LABELS = {"targets": f"(B,P,T)<T|{IGNORED}", "negatives": "(B,N)<vocab_size"}
SHORT = "NS"
BASELINE = "majority"
COMMAND = "neighbours"


def shapes(*, table: tuple[int, int]) -> Tree:
    """table: the vocabulary and the width of the states that are read, (V, D)."""
    return {"word": {"weight": table}}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, table: tuple[int, int], **_: Any) -> Tree:
    """Labels of an example: targets among the tokens that are there, one state that is asked nothing, and a word drawn
    that stands in its row.
    """
    size = lengths.get("T", np.full(dims["B"], dims["T"]))
    return {"targets": pointed(rng, dims, size), "negatives": rng.integers(0, table[0], (dims["B"], dims.get("N", 3)))}


def pointed(rng: np.random.Generator, dims: dict[str, int], size: Array) -> Array:
    """targets (B, P, T) of an example, in rows of these sizes."""
    targets = rng.integers(0, size[:, None, None], (dims["B"], dims.get("P", 2), dims["T"]))
    targets[(np.arange(dims["T"]) >= size[:, None])[:, None] & np.ones_like(targets, bool)] = IGNORED
    targets[:, 0, 1], targets[0, :, 0] = IGNORED, IGNORED
    return targets


def wanted(targets: Array, dtype: Any) -> Array:
    """targets (B, P, S) as (B, S, T), T = S: how often the word at t is asked of the state at s."""
    rows, _, length = targets.shape
    asked = targets != IGNORED
    at = (np.arange(rows * length).reshape(rows, 1, length) * length + targets)[asked]
    return np.bincount(at, minlength=rows * length * length).reshape(rows, length, length).astype(dtype)


def loss(
    h: Array, p: Tree, labels: Tree, *, negative: int, words: Array, redrawn: bool = False, table: None = None,
    total: float | None = None, dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1), (2) of h (B, T, D); negative: k; words (B, T): those of the row, to which the targets point. redrawn: the
    others of a pair count so much more for each drawn word that is its own, as if that were drawn again.
    """
    drawn, length = labels["negatives"], h.shape[1]
    pairs = wanted(labels["targets"], h.dtype)
    other = (words[:, :, None] != drawn[:, None]).astype(h.dtype)
    other *= negative / np.maximum(1, other.sum(2, keepdims=True) if redrawn else drawn.shape[1])
    against = pairs @ other
    c: Tree = {"share": 1 / (1 + negative)}
    z = []
    for name, ids in (("stood", words), ("drawn", drawn)):
        u, own = ops.embedding(**p["word"], ids=ids)
        scores, c[name] = ops.scores(h[:, None], u[:, None], scale=1.0)  # (1)
        c[name] = {"word": own, "scores": c[name]}
        z.append(scores[:, 0])
    weights = np.concatenate([pairs, against], 2)
    stood = np.broadcast_to(np.arange(weights.shape[2]) < length, weights.shape)
    given = {"labels": stood, "weights": weights, "denominator": count(labels) if total is None else total}
    value, c["loss"] = ops.binary_cross_entropy(np.concatenate(z, 2), **given)  # (2)
    return value, {**c, "asked": weights}


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(dh, g, None)."""
    dz = ops.binary_cross_entropy_backward(dloss, c["loss"])[:, None]  # (2)
    length, dhs, gs = dz.shape[2], [], []
    for name, part in (("stood", dz[..., :length]), ("drawn", dz[..., length:])):
        dh, du = ops.scores_backward(part, c[name]["scores"])  # (1)
        dhs.append(dh[:, 0])
        gs.append(ops.embedding_backward(du[:, 0], c[name]["word"]))
    return kernels.add(*dhs), {"word": {"weight": kernels.add(gs[0]["weight"], gs[1]["weight"])}}, None


def count(labels: Tree) -> float:
    """The number of pairs."""
    return float(np.count_nonzero(labels["targets"] != IGNORED))


def right(c: Tree) -> layers.Right:
    """Of each pair the share of its 1 + k decisions that are right."""
    w, truth = c["asked"] * c["share"], c["loss"]["labels"]
    stood, guessed = float(w[truth].sum()), float(w[(c["loss"]["logits"] > 0) == truth].sum())
    return guessed, float(w.sum()), np.array([float(w.sum()) - stood, stood])


def guess(shares: list[float]) -> float:
    """The loss of a pair that says no or yes to all words alike: the entropy of its decisions, times their number."""
    q = np.array(shares) / sum(shares)
    return float(-(q * np.log(q)).sum() / q[1])


def predict(h: Array, p: Tree, *, table: None = None, **_: Any) -> Array:
    """(1) of h (…, D) for every word: (…, V)."""
    return h @ p["word"]["weight"].T
