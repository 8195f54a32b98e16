"""Every op alone, and where one may do something special."""

import numpy as np

from minibert.golden.draws import Draws
from minibert.golden.recipe import CaseRecipe
from minibert.pairs import PAIRS


def alone(title: str, pair: str, config: dict | None = None, **fields: object) -> CaseRecipe:
    """An op's case."""
    return CaseRecipe(title, kind="op", pair=pair, config=config or {}, steps=(), **fields)


def _masked() -> np.ndarray:
    """(B, 1, 1, S): padding at the end of the first row, the second masked everywhere."""
    bias = np.zeros((2, 1, 1, 5), np.float32)
    bias[0, ..., 3:] = bias[1] = np.finfo(np.float32).min
    return bias


NEAR = 0.7 + 2e-4 * Draws(0, "nearly constant").standard_normal((2, 3, 5))
CASES = {
    **{name: alone(f"{name} alone", name) for name in PAIRS},
    "attention-masked": alone("float32: padding, and a row masked everywhere", "attention", dtype="float32",
                              arrays={"bias": _masked()}, slope=False),
    "layer_norm-eps": alone("rows of deviation 2e-4 under eps 1e-12", "layer_norm", {"eps": 1e-12},
                            arrays={"x": NEAR}),
    "embedding-padding": alone("row 2 gets no look-up gradient", "embedding", {"padding_idx": 2}, slope=False),
    "cross_entropy-none": alone("nothing counts: loss and gradient 0", "cross_entropy", {"ignore": -100},
                                arrays={"labels": np.full((3, 2, 3), -100)}),
}  # fmt: skip
