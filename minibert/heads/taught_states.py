"""A student's hidden states and a teacher's, which are data: no gradient goes to whoever made them.

    L = mean over tokens, pairs of layers and features of (h^k Wᵀ - t^k)²                                            (1)

Without W where both are as wide (Sanh et al. 2019, arXiv 1910.01108, compare them by cosine; Jiao et al. 2019,
arXiv 1909.10351, eq. 8: (1)). The mean goes over the tokens that have a weight,
as all that are there.
"""

from typing import Any

import numpy as np

from minibert import kernels, ops

Array = np.ndarray
Tree = dict[str, Any]

LABELS = {"states": "(B,...)", "tokens": "(B,T)"}
BASELINE = "none"
COMMAND = "predict"
SHORT = "states"


def labels(*, layers: tuple[int, ...], wide: int, **_: Any) -> dict[str, str]:
    """The specs of the teacher's states, and of how much each token counts."""
    return {"states": f"(B,{len(layers)},T,{wide})", "tokens": "(B,T)"}


def shapes(*, width: int, wide: int, **_: Any) -> Tree:
    """W of (1), where there is one; width: the student's, wide: the teacher's."""
    return {} if width == wide else {"weight": (wide, width)}


def draw(
    rng: np.random.Generator, dims: dict[str, int], lengths: Tree, *, layers: tuple[int, ...], wide: int, **_: Any
) -> Tree:  # fmt: skip
    """Labels of an example: of the tokens that are there."""
    there = np.arange(dims["T"]) < lengths["T"][:, None]
    states = rng.standard_normal((dims["B"], len(layers), dims["T"], wide))
    return {"states": states, "tokens": there.astype(float)}


def loss(
    h: list[Array], p: Tree | None, labels: Tree, *, layers: tuple[int, ...], table: None = None,
    total: float | None = None, dense: bool = False,
) -> tuple[Array, Tree]:  # fmt: skip
    """(1) of h, the states (B, T, D) behind all layers, of which the `layers` are compared."""
    c: Tree = {"layers": layers, "projected": [], "losses": [], "like": h}
    due = labels["states"].astype(h[0].dtype, copy=False)
    weights = np.broadcast_to(labels["tokens"].astype(due.dtype)[..., None], due[:, 0].shape)
    rows = (count(labels) if total is None else total) or 1.0
    given = {"weights": weights, "denominator": rows * len(layers) * due.shape[-1]}
    value = np.zeros((), due.dtype)
    for n, k in enumerate(layers):
        y, own = ops.linear(h[k], p["weight"]) if p else (h[k], None)
        one, of_loss = ops.mean_squared_error(y, target=due[:, n], **given)  # (1)
        value = value + one
        c["projected"].append(own)
        c["losses"].append(of_loss)
    return np.asarray(value), c


def loss_backward(dloss: Array, c: Tree) -> tuple[list[Array], Tree, None]:
    """(dh, of every layer, g, None)."""
    dh, g = [np.zeros_like(h) for h in c["like"]], {}
    for k, own, of_loss in zip(c["layers"], c["projected"], c["losses"], strict=True):
        d = ops.mean_squared_error_backward(dloss, of_loss)
        if own is not None:
            d, one = ops.linear_backward(d, own)
            g = {name: kernels.add(g[name], a) if name in g else a for name, a in one.items()}
        dh[k] = dh[k] + d
    return dh, g, None


def count(labels: Tree) -> float:
    """How many tokens there are, each by its weight."""
    return float(labels["tokens"].sum())


def right(c: Tree) -> None:
    """None: there is no right answer."""
    return None
