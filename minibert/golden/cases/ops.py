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


def _square() -> dict[str, np.ndarray]:
    """Two vectors of one width: what changes their places is no other shape."""
    draws = Draws(0, "bilinear of equal widths")
    return {name: draws.standard_normal(size) for name, size in (("u", (2, 4)), ("v", (2, 4)), ("weight", (3, 4, 4)))}


NEAR = 0.7 + 2e-4 * Draws(0, "nearly constant").standard_normal((2, 3, 5))
CASES = {
    **{name: alone(f"{name} alone", name) for name in PAIRS},
    "attention-masked": alone("float32: padding, and a row masked everywhere", "attention", dtype="float32",
                              arrays={"bias": _masked()}, slope=False),
    "layer_norm-eps": alone("rows of deviation 2e-4 under eps 1e-12", "layer_norm", {"eps": 1e-12},
                            arrays={"x": NEAR}),
    "lstm": alone("lstm alone; a token that is not there between two that are", "lstm",
                  arrays={"x": Draws(0, "three tokens").standard_normal((2, 3, 4)),
                          "mask": np.array([[1.0, 0, 1], [1, 1, 0]])}),
    "gru": alone("gru alone; a token that is not there between two that are", "gru",
                 arrays={"x": Draws(0, "three tokens").standard_normal((2, 3, 4)),
                         "mask": np.array([[1.0, 0, 1], [1, 1, 0]])}),
    "projected_lstm": alone("projected_lstm alone, cells and outputs clipped; a token that is not there between two",
                            "projected_lstm", {"cell_clip": 0.6, "clip": 0.3},
                            arrays={"x": Draws(0, "three tokens").standard_normal((2, 3, 4)),
                                    "mask": np.array([[1.0, 0, 1], [1, 1, 0]])}),
    "crf_loss": alone("crf_loss alone; steps that are not in the chain within it and at its end", "crf_loss",
                      arrays={"emissions": Draws(0, "four steps").standard_normal((2, 4, 3)),
                              "mask": np.array([[1.0, 0, 1, 1], [1, 1, 1, 0]]),
                              "labels": np.array([[2, 0, 1, 0], [2, 2, 0, 1]])}),
    "convolution-valid": alone("windows within the text, of which one row has two tokens", "convolution",
                               {"same": False}, arrays={"mask": np.array([[1.0, 1, 1, 1], [1, 1, 0, 0]])}),
    "max_over_time-negative": alone("all entries below 0", "max_over_time",
                                    arrays={"x": -abs(Draws(0, "negative").standard_normal((2, 4, 3)))}),
    "bilinear-square": alone("u and v of one width", "bilinear", arrays=_square()),
    "embedding-padding": alone("row 2 gets no look-up gradient", "embedding", {"padding_idx": 2}, slope=False),
    "cross_entropy-none": alone("nothing counts: loss and gradient 0", "cross_entropy", {"ignore": -100},
                                arrays={"labels": np.full((3, 2, 3), -100)}),
}  # fmt: skip
