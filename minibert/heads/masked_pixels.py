"""Masked pixels: what do the patches show that are hidden?

SimMIM, Xie et al. 2021, arXiv 2111.09886, section 3.1, as transformers' `…ForMaskedImageModeling` has it:

    x̂ = h Wᵀ + b, of each patch of S·S pixels all of them; S: the pixels that a state stands for, either way        (1)
    L = Σ m·|x - x̂| / (Σ m + ε) / C, over pixels and channels; m 1 in hidden patches of P·P pixels; ε 1e-5          (2)

x is the picture as it is read: nothing is normalised patch by patch, as others do. Nothing hidden gives 0.
"""

from typing import Any

import numpy as np

from minibert import ops, vision
from minibert.config import require

Array = np.ndarray
Tree = dict[str, Any]

LABELS = {"bool_masked_pos": "(B,N)?"}
SHORT = "L1"
BASELINE = "constant"


def shapes(*, width: int, stride: int, channels: int) -> Tree:
    """width: of the states; stride: S; channels: C."""
    return {"decoder": {"weight": (channels * stride**2, width), "bias": (channels * stride**2,)}}


def draw(rng: np.random.Generator, dims: dict[str, int], lengths: Tree, **_: Any) -> Tree:
    """Labels of an example: some patches, not all of a picture, the first of the first."""
    hidden = (rng.random((dims["B"], dims["N"])) < 0.5).astype(np.int64)
    hidden[:, -1], hidden[0, 0] = 0, 1
    return {"bool_masked_pos": hidden}


def loss(
    h: Array, p: Tree, labels: Tree, *, pixels: Array, patch: int, stride: int, eps: float, table: None = None,
    total: float | None = None, dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1), (2) of h (B, …, D), the states of the pictures (B, C, Y, X) behind a class token, if any; patch: P, of what
    is hidden. total: how many patches are hidden, unless given.
    """
    c: Tree = {"shape": h.shape}
    due = vision.cut(pixels.astype(h.dtype, copy=False), stride)
    own = _states(h, due)
    y, c["head"] = ops.linear(own, **p["decoder"])  # (1)
    down, across = vision.grid(pixels.shape, patch)
    hidden = labels["bool_masked_pos"].reshape(-1, 1, down, across).repeat(patch, 2).repeat(patch, 3)
    weights = np.tile(vision.cut(hidden, stride), (1, 1, pixels.shape[1]))
    counted = (count(labels) if total is None else total) * patch**2 + eps
    given = {"weights": weights, "denominator": counted * pixels.shape[1]}
    value, c["loss"] = ops.mean_absolute_error(y, target=due, **given)  # (2)
    return value, c


def _states(h: Array, due: Array) -> Array:
    """Those of the patches, which stand behind the others."""
    fits = 0 <= h.shape[1] - due.shape[1] <= 1
    require(fits, f"encoder_stride: its patches of the pictures are {due.shape[1]}, their states {h.shape[1]}")
    return np.ascontiguousarray(h[:, h.shape[1] - due.shape[1] :])


def loss_backward(dloss: Array, c: Tree) -> tuple[Array, Tree, None]:
    """(dh, g, None)."""
    down, decoder = ops.linear_backward(ops.mean_absolute_error_backward(dloss, c["loss"]), c["head"])
    dh = np.zeros(c["shape"], down.dtype)
    dh[:, dh.shape[1] - down.shape[1] :] = down
    return dh, {"decoder": decoder}, None


def count(labels: Tree) -> float:
    """The patches that are hidden."""
    return float(labels["bool_masked_pos"].sum())


def right(c: Tree) -> None:
    """None: a value is never right to the bit."""
    return None


def predict(h: Array, p: Tree, *, pixels: Array, stride: int, table: None = None, **_: Any) -> Array:
    """The pictures (B, C, Y, X) of (1)."""
    own = _states(h, vision.cut(pixels, stride))
    return vision.put(ops.linear(own, **p["decoder"])[0], stride, pixels.shape)


def constants(labels: Tree, **_: Any) -> dict[str, float]:
    """What (2) is of the best pictures that are the same for all, made with hindsight: each pixel's "median", below
    which none comes, and its "mean". labels: with the pictures, pixel_values, all of one size.
    """
    x, hidden = labels["pixel_values"].astype(np.float64), labels["bool_masked_pos"]
    patch = round((x[0, 0].size / hidden.shape[1]) ** 0.5)
    hidden = hidden.reshape(-1, 1, *vision.grid(x.shape, patch)).repeat(patch, 2).repeat(patch, 3)
    total = hidden.sum() * x.shape[1]
    return {name: float((abs(x - guess(x, 0)) * hidden).sum() / total)
            for name, guess in (("median", np.median), ("mean", np.mean))}  # fmt: skip
