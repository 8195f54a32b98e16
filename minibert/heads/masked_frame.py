"""Masked frames: what stood in each frame m that was hidden, a vector of F features?

Liu et al. 2019, "Mockingjay", arXiv 1910.12638, section 2.2; s3prl/s3prl, `TransformerSpecPredictionHead`. BERT's head
over a vocabulary of features, and a distance in the place of a softmax.

    z = LN(act(h[m] W_zᵀ + b_z)) Wᵀ + b, a number for each feature                                                  (1)
    L = mean of |z - x[m]| over the hidden frames and their features                                                (2)
"""

from typing import Any

import numpy as np

from minibert import ops
from minibert.heads import masked_lm

Array = np.ndarray
Tree = dict[str, Any]

LABELS = {"target_frames": "(B,T,input_dim)", "frame_labels": "(B,T)<2"}
SHORT = "MAM"
BASELINE = "constant"


def shapes(*, width: int, features: int) -> Tree:
    """width: of the states that are read, D; features: of a frame, F."""
    return masked_lm.shapes(width=width, table=(features, width), tied=False)


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, features: int, **_: Any) -> Tree:
    """Labels of an example: some frames of each row, the second always."""
    hidden = rng.random((dims["B"], dims["T"])) < 0.4
    hidden[:, 1] = True
    hidden &= np.arange(dims["T"]) < np.asarray(lengths["T"])[:, None]
    return {"target_frames": rng.standard_normal((*hidden.shape, features)), "frame_labels": hidden.astype(np.int64)}


def loss(
    h: Array, p: Tree, labels: Tree, *, table: Array, act: str, eps: float, total: float | None = None,
    dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1), (2) of h (B, T, D); table (F, D): W. Only frames that are asked reach (1), unless `dense`."""
    c: Tree = {"rows": len(h)}
    asked = labels["frame_labels"].reshape(-1) != 0
    at = np.arange(len(asked)) if dense else np.flatnonzero(asked)
    chosen, c["gather"] = ops.gather(h.reshape(1, -1, h.shape[2]), positions=at[None])
    z, c["head"] = masked_lm.mlm_head(chosen[0], p, table, act=act, eps=eps)  # (1)
    target = labels["target_frames"].reshape(-1, z.shape[1])[at]
    weights = np.broadcast_to(asked[at, None], z.shape)
    total = count(labels) if total is None else total
    given = {"target": target, "weights": weights, "denominator": total * z.shape[1]}
    value, c["loss"] = ops.mean_absolute_error(z, **given)  # (2)
    return value, c


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, Array]:
    """(dh, g, dtable)."""
    dz = ops.mean_absolute_error_backward(dloss, c["loss"])
    dchosen, g, dtable = masked_lm.mlm_head_backward(dz, c["head"])
    dh = ops.gather_backward(dchosen[None], c["gather"])
    return dh.reshape(c["rows"], -1, dh.shape[-1]), g, dtable


def count(labels: Tree) -> float:
    """The number of hidden frames."""
    return float(np.count_nonzero(labels["frame_labels"]))


def right(c: Tree) -> None:
    """A frame is never right or wrong."""
    return None


def constants(labels: Tree, **_: Any) -> dict[str, float]:
    """What (2) is of the best guesses that are the same everywhere, made with hindsight: each feature's "median", below
    which no constant comes, and its "mean".
    """
    frames = labels["target_frames"][labels["frame_labels"] != 0].astype(np.float64)
    guesses = {"median": np.median(frames, 0), "mean": frames.mean(0)}
    return {name: float(abs(frames - guess).mean()) for name, guess in guesses.items()}


def predict(h: Array, p: Tree, *, table: Array, act: str, eps: float, **_: Any) -> Array:
    """(1) of h (…, D): frames, (…, F)."""
    return masked_lm.predict(h, p, table=table, act=act, eps=eps)
