"""Denoising entity auto-encoder: which entity does the token stand for, whatever one was given for it?

Zhang et al. 2019, arXiv 1905.07129, equation 5; thunlp/ERNIE, `BertEntPredictionHead`, `BertForPreTraining`.

    u_t = LN(act(h_t Wᵀ + b)), z_tj = u_t·e_j for the candidates j of the row, e_j the entity's vector; 0 for none  (1)
    L = mean of -log softmax(z_t)[label] over the tokens that are asked; a label of -100 asks nothing             (2)

entity_candidates: the entities that a row's tokens are told apart from, -100 for "none", whose vector is 0; what stands
there twice counts once. The release has all entities of the batch and the none, the paper those of the row.
"""

from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.config import require
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]

IGNORED = -100
LABELS = {
    "entity_labels": f"(B,T)<num_entities|{IGNORED}",
    "entity_candidates": f"(B,C)<num_entities|{IGNORED}",
}
SHORT = "dEA"
BASELINE = "given"


def shapes(*, width: int, table: tuple[int, int]) -> Tree:
    """width: of the states that are read, D; table: (N, E)."""
    inner = (table[1],)
    return {"dense": {"weight": (table[1], width), "bias": inner}, "norm": {"weight": inner, "bias": inner}}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, table: tuple[int, int], **_: Any) -> Tree:
    """Labels of an example: two tokens of each row, and a candidate more, which stands twice."""
    labels = np.full((dims["B"], dims["T"]), IGNORED)
    at = 1 + rng.random((len(labels), int(lengths["T"].min()) - 1)).argsort(1)[:, :2]
    np.put_along_axis(labels, at, rng.integers(0, table[0], at.shape), 1)
    more = np.repeat(rng.integers(0, table[0], (len(labels), 1)), 2, 1)
    return {"entity_labels": labels, "entity_candidates": candidates(labels, more)}


def candidates(labels: Array, more: Array | None = None) -> Array:
    """(B, C): the entities of these labels (B, T), and more (B, n), in each row; the none first."""
    every = np.concatenate([[IGNORED], np.unique(labels[labels != IGNORED])]).astype(labels.dtype)
    rows = np.broadcast_to(every, (len(labels), len(every)))
    return rows.copy() if more is None else np.concatenate([rows, more], 1)


@block
def entity_head(x: Array, p: Tree, table: Array, *, ids: Array, act: str, eps: float) -> tuple[Array, Tree]:
    """(1) x (B, T, D) -> (B, T, C) for the candidates ids (B, C); table (N, E). What stands there again is the most
    negative number.
    """
    c: Tree = {}
    u, c["dense"] = ops.linear(x, **p["dense"])
    u, c["act"] = layers.activation(u, name=act)
    u, c["norm"] = ops.layer_norm(u, **p["norm"], eps=eps)
    e, c["table"] = ops.embedding(table, ids=np.maximum(ids, 0))
    e, c["there"] = ops.dropout(e, keep=np.broadcast_to(ids[..., None] >= 0, e.shape), rate=0.0)
    z, c["scores"] = ops.scores(u[:, None], e[:, None], scale=1.0)
    c["again"] = _again(ids)[:, None]
    return np.where(c["again"], np.finfo(z.dtype).min, z[:, 0]), c


@block_backward
def entity_head_backward(dz: Array, c: Tree) -> tuple[Array, Tree, Array]:
    """(dx, g, dtable)."""
    g: Tree = {}
    du, de = ops.scores_backward(np.where(c["again"], 0, dz)[:, None], c["scores"])
    dtable = ops.embedding_backward(ops.dropout_backward(de[:, 0], c["there"]), c["table"])["weight"]
    du, g["norm"] = ops.layer_norm_backward(du[:, 0], c["norm"])
    dx, g["dense"] = ops.linear_backward(layers.activation_backward(du, c["act"]), c["dense"])
    return dx, g, dtable


def _again(ids: Array) -> Array:
    """Bool (B, C): what stands further in front of its row, too."""
    return np.tril(ids[:, :, None] == ids[:, None], -1).any(2)


def loss(
    h: Array, p: Tree, labels: Tree, *, table: Array, act: str, eps: float, learns: bool = True,
    given: Array | None = None, total: float | None = None, dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1), (2) of h (B, T, D). learns: whether the vectors get a gradient; given: the entities (B, T) that the network
    was given, for `right`.
    """
    asked, ids = labels["entity_labels"], labels["entity_candidates"]
    found = asked[..., None] == ids[:, None]
    known = found.any(2) | (asked == IGNORED)
    require(bool(known.all()), "entity_candidates: an entity of entity_labels is not among those of its row")
    given = np.full_like(asked, IGNORED) if given is None else given
    c: Tree = {"learns": learns, "as given": asked == given}
    z, c["head"] = entity_head(h, p, table, ids=ids, act=act, eps=eps)
    places = np.where(asked == IGNORED, IGNORED, found.argmax(2))
    value, c["loss"] = ops.cross_entropy(z, labels=places, ignore=IGNORED, denominator=total)  # (2)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, Array]:
    """(dh, g, dtable)."""
    dh, g, dtable = entity_head_backward(ops.cross_entropy_backward(dloss, c["loss"]), c["head"])
    return dh, g, dtable if c["learns"] else np.zeros_like(dtable)


def count(labels: Tree) -> float:
    """The tokens that are asked."""
    return float((labels["entity_labels"] != IGNORED).sum())


def right(c: Tree) -> layers.Right:
    """Its classes: given another entity or none, given the right one."""
    correct, counted, _ = layers.right(c["loss"])
    as_given = c["as given"].reshape(-1)[c["loss"]["weights"] != 0]
    return correct, counted, np.array([(~as_given).sum(), as_given.sum()])
