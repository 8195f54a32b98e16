"""Adjacent sentence: which of these sentences stand beside this one?

Logeswaran, Lee, 2018, arXiv 1803.02893, section 3.

    u_i = f(s_i), v_j = g(s_j), the halves of what is read; z_ij = u_i·v_j, z_ii = 0: the sentence itself stays a
    candidate, of score 0                                                                                            (1)
    y_ij = 1/n_i for each of the n_i sentences at most `context` places before or behind s_i, else 0                 (2)
    L = mean over the sentences of rows that have several of -Σ_j y_ij log softmax(z_i)_j                           (3)

sentence_places are where the sentences of a row stand in the text, (B, C), -100: there is none, which is no candidate
either.
"""

from typing import Any

import numpy as np

from minibert import layers
from minibert.config import require
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]

IGNORED = -100
LABELS = {"sentence_places": f"(B,C)<C|{IGNORED}"}
SHORT = "adjacent"
BASELINE = "uniform"
COMMAND = "embed"


def shapes(**_: Any) -> Tree:
    """Nothing is learnt here."""
    return {}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, **_: Any) -> Tree:
    """Labels of an example: in the order of the text, the last of the last row missing."""
    places = np.tile(np.arange(dims["C"]), (dims["B"], 1))
    places[-1, -1] = IGNORED
    return {"sentence_places": places}


def neighbours(places: Array, context: int, dtype: Any) -> Array:
    """(2) (B, C, C) of places (B, C)."""
    there = places != IGNORED
    distance = abs(places[:, :, None] - places[:, None])
    found = (distance > 0) & (distance <= context) & there[:, None] & there[:, :, None]
    return (found / np.maximum(1, found.sum(-1, keepdims=True))).astype(dtype)


@block
def inner_scores(u: Array, v: Array) -> tuple[Array, Tree]:
    """(1): u, v (B, C, D) -> (B, C, C), 0 on the diagonal."""
    off = 1 - np.eye(u.shape[1], dtype=u.dtype)
    return (u @ v.swapaxes(1, 2)) * off, {"u": u, "v": v, "off": off}


@block_backward
def inner_scores_backward(dz: Array, c: Tree) -> tuple[Array, Array]:
    """(du, dv): the diagonal is constant."""
    dz = dz * c["off"]
    return dz @ c["v"], dz.swapaxes(1, 2) @ c["u"]


@block
def soft_cross_entropy(
    z: Array, *, targets: Array, there: Array, denominator: float
) -> tuple[Array, Tree]:  # fmt: skip
    """(3) of scores z (B, C, C), targets y likewise, their sum over the denominator; there: bits (B, C), which are
    candidates.
    """
    w = (targets.any(-1) / (denominator or 1)).astype(z.dtype)
    shown = np.where(there[:, None] != 0, z, np.finfo(z.dtype).min)
    top = shown.max(-1, keepdims=True)
    e = np.exp(shown - top) * (there[:, None] != 0)
    sums = np.maximum(e.sum(-1, keepdims=True), np.finfo(z.dtype).tiny)
    nll = (targets * (np.log(sums) - (z - top))).sum(-1)
    c = {"z": z, "probs": e / sums, "targets": targets, "weights": w, "there": there}
    return np.asarray((w * nll).sum()), c


@block_backward
def soft_cross_entropy_backward(dy: Array, c: Tree) -> Array:
    """dz = w (softmax(z) - y)."""
    return dy * c["weights"][..., None] * (c["probs"] - c["targets"])


def loss(
    s: Array, p: None, labels: Tree, *, context: int, table: None = None, total: float | None = None,
    dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(3) of s (B, C, 2D), both vectors of each sentence beside each other."""
    require(s.ndim == 3, "sentences are told from each other: give rows of several, input_ids (B, C, T)")
    places, c = labels["sentence_places"], {}
    u, v = np.split(s, 2, -1)
    z, c["scores"] = inner_scores(u, v)
    total = count(labels) if total is None else total
    given = {"targets": neighbours(places, context, s.dtype), "there": (places != IGNORED).astype(s.dtype)}
    value, c["loss"] = soft_cross_entropy(z, denominator=total, **given)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(ds, g, None)."""
    du, dv = inner_scores_backward(soft_cross_entropy_backward(dloss, c["loss"]), c["scores"])
    return np.concatenate([du, dv], -1), {}, None


def count(labels: Tree) -> float:
    """The sentences of rows that have several."""
    there = labels["sentence_places"] != IGNORED
    return float((there & (there.sum(-1, keepdims=True) > 1)).sum())


def right(c: Tree) -> layers.Right:
    """Whether the last neighbour of each sentence scores highest among all that are none, itself too: a constant guess
    is right once in so many candidates. Its classes are the neighbours' slots.
    """
    z, targets, there = c["loss"]["z"], c["loss"]["targets"] > 0, c["loss"]["there"][:, None] != 0
    others = np.where(there & ~targets, z, -np.inf).max(-1)
    slot = targets.shape[-1] - 1 - targets[..., ::-1].argmax(-1)
    asked = targets.any(-1)
    hits = np.take_along_axis(z, slot[..., None], -1)[..., 0] > others
    return int((hits & asked).sum()), int(asked.sum()), np.bincount(slot[asked], minlength=targets.shape[-1])
