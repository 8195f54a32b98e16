"""Mistakes in convolution over time, in pooling and in bilinear maps."""

from typing import Any

import numpy as np

from minibert import ops
from minibert.mistakes.catalogue import entry, swap
from minibert.mistakes.swap import Replacement, edited, graded, turned, zeros

SECTION = {"P": "Convolution and pooling"}

Array = np.ndarray
Cache = dict[str, Any]


# ---- Pairs -----------------------------------------------------------------------------------------------------------
def _flipped(weight: Array) -> Array:
    return np.flip(weight, -1)


def _exchanged(weight: Array) -> Array:
    """(O, I, k) read as if it were (k, I, O), where that has the same shape."""
    if weight.shape[0] != weight.shape[-1]:
        raise ValueError("another shape")
    return weight.swapaxes(0, 2)


def behind() -> Replacement:
    """All zeros in front: y[t] reads nothing behind t."""

    def convolution(x: Array, weight: Array, bias: Array, **given: Any) -> tuple[Array, Cache]:
        if not given.get("same"):
            raise ValueError("another shape")
        width = weight.shape[-1]
        mask = np.ones(x.shape[:2]) if given.get("mask") is None else given["mask"]
        wide = np.pad(np.where(mask[..., None] == 0, 0, x), ((0, 0), (width - 1, 0), (0, 0)))
        y, c = ops.convolution(wide, weight, bias)
        return y, {**c, "there": mask[..., None] != 0}

    def convolution_backward(dy: Array, c: Cache) -> tuple[Array, Any]:
        dx, g = ops.convolution_backward(dy, c)
        return dx[:, c["weight"].shape[-1] - 1 :] * c["there"], g

    return Replacement(convolution, convolution_backward)


def zeros_count() -> Replacement:
    """The maximum of x∘mask."""

    def max_over_time(x: Array, *, mask: Array | None = None) -> tuple[Array, Cache]:
        there = np.ones((*x.shape[:2], 1)) if mask is None else mask[..., None]
        y, c = ops.max_over_time(np.where(there == 0, 0, x))
        return y, {**c, "there": there != 0}

    return Replacement(max_over_time, lambda dy, c: ops.max_over_time_backward(dy, c) * c["there"])


def by_length() -> Replacement:
    """Σ w x / T."""

    def share(weights: Array) -> Array:
        return (weights.sum(1) / weights.shape[1])[:, None]

    def mean_over_time(x: Array, *, weights: Array) -> tuple[Array, Cache]:
        y, c = ops.mean_over_time(x, weights=weights)
        return y * share(weights), {**c, "by": share(weights)}

    return Replacement(mean_over_time, lambda dy, c: ops.mean_over_time_backward(dy * c["by"], c))


def raw_mix() -> Replacement:
    """γ Σ w x, no softmax of w."""

    def scalar_mix(x: Array, weight: Array, gamma: Array) -> tuple[Array, Cache]:
        mix = np.tensordot(weight, x, 1)
        return gamma * mix, {"x": x, "weight": weight, "gamma": gamma, "mix": mix}

    def scalar_mix_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        rows = c["gamma"] * dy
        dweight = (c["x"] * rows).reshape(len(c["x"]), -1).sum(1)
        dx = c["weight"].reshape(-1, *[1] * dy.ndim) * rows
        return dx, {"weight": dweight, "gamma": (dy * c["mix"]).sum().reshape(1)}

    return Replacement(scalar_mix, scalar_mix_backward)


def _uncoupled(g: tuple[Array, dict], dy: Array, c: Cache) -> tuple[Array, dict]:
    """s ds: the softmax as if each weight had its share by itself."""
    ds = (c["x"] * (c["gamma"] * dy)).reshape(len(c["s"]), -1).sum(1)
    return g[0], {**g[1], "weight": c["s"] * ds}


def _everywhere(dx: Array, dy: Array, c: Cache) -> Array:
    """What the maximum gets, at each token."""
    return np.where(c["mask"][..., None], dy[:, None], 0)


def _scattered(weight: Array) -> Array:
    """The numbers of (O, D, I) read in the order of (D, I, O)."""
    o, d, i = weight.shape
    return weight.reshape(d, i, o).transpose(2, 0, 1)


def _gathered(g: Array) -> Array:
    return np.ascontiguousarray(g.transpose(1, 2, 0)).reshape(g.shape)


def _across(weight: Array) -> Array:
    if weight.shape[1] != weight.shape[2]:
        raise ValueError("another shape")
    return weight.swapaxes(1, 2)


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "P01", "the kernel turned round", "y_t = Σ_j W_j x_(t+j), as the libraries have it",
    "own knowledge: numpy.convolve and the mathematical convolution turn it", "output", "OP-CONV-1",
    mutants=[swap("W_(k-1-j) for W_j", "convolution", turned(ops.convolution, weight=(_flipped, _flipped)))],
)  # fmt: skip
entry(
    "P02", "a kernel of another layout taken as it is", "(O, I, k) in torch, (k, I, O) in TensorFlow",
    "src allenai/bilm-tf bilm/training.py (1, width, C, F); src allennlp modules/elmo.py", "output", "OP-CONV-1",
    mutants=[swap("read as (k, I, O)", "convolution", turned(ops.convolution, weight=(_exchanged, _exchanged)))],
)  # fmt: skip
entry(
    "P03", "the zeros of a window about each token all on one side", "⌊(k - 1)/2⌋ in front",
    "own knowledge: a causal convolution", "output", "OP-CONV-2",
    mutants=[swap("all zeros in front", "convolution", behind())],
)  # fmt: skip
entry(
    "P04", "padding convolved with the text", "what is not there is read as zeros",
    "src 649453932/Bert-Chinese-Text-Classification-Pytorch bert_CNN.py", "output", "OP-CONV-3",
    mutants=[swap("no mask", "convolution", edited(ops.convolution, lambda _: {"mask": None}))],
)  # fmt: skip
entry(
    "P05", "the maximum over padding", "over the tokens that are there",
    "src 649453932/Bert-Chinese-Text-Classification-Pytorch bert_CNN.py, bert_RCNN.py", "output", "OP-MAX-1",
    mutants=[swap("no mask", "max_over_time", edited(ops.max_over_time, lambda _: {"mask": None}))],
)  # fmt: skip
entry(
    "P06", "padding counts as 0 in the maximum", "it does not take part",
    "own knowledge: states multiplied by the mask; negative maxima are lost", "output", "OP-MAX-1",
    mutants=[swap("max of x times the mask", "max_over_time", zeros_count())],
)  # fmt: skip
entry(
    "P07", "the gradient of a maximum at each token", "at the one that was taken",
    "own knowledge: broadcast as that of a mean", "gradient", "OP-MAX-2",
    mutants=[swap("dy at each token", "max_over_time", graded(ops.max_over_time, _everywhere), section="gradients")],
)  # fmt: skip
entry(
    "P08", "a mean divided by the padded length", "by Σ w",
    "own knowledge", "output", "OP-MEAN-1", mutants=[swap("divided by T", "mean_over_time", by_length())],
)  # fmt: skip
entry(
    "P09", "layers mixed by their raw weights", "by softmax(w)",
    "own knowledge; sentence-transformers WeightedLayerPooling divides by Σ w", "output", "OP-MIX-1",
    mutants=[swap("no softmax of the weights", "scalar_mix", raw_mix())],
)  # fmt: skip
entry(
    "P10", "γ of the mix left out", "γ Σ s_m x_m",
    "own knowledge", "output", "OP-MIX-1",
    mutants=[swap("γ = 1", "scalar_mix", Replacement(
        edited(ops.scalar_mix, lambda given: {"gamma": np.ones_like(given["gamma"])}).forward,
        lambda dy, c: (lambda dx, g: (dx, {**g, "gamma": zeros(g["gamma"])}))(*ops.scalar_mix_backward(dy, c))))],
)  # fmt: skip
entry(
    "P11", "the softmax of the mix not coupled in its gradient", "dw = s (ds - Σ ds s)",
    "own knowledge", "gradient", "OP-MIX-2",
    mutants=[swap("dw = s ds", "scalar_mix", graded(ops.scalar_mix, _uncoupled), section="gradients")],
)  # fmt: skip
entry(
    "P12", "the tensor read in another order", "(O, D, I), the slice first",
    "own knowledge: a tensor of (D, I, O) reshaped", "output", "OP-BIL-1",
    mutants=[swap("read in the order of (D, I, O)", "bilinear",
                  turned(ops.bilinear, weight=(_scattered, _gathered)))],
)  # fmt: skip
entry(
    "P13", "u and v in each other's place", "uᵀ W v: they do not commute",
    "own knowledge", "output", "OP-BIL-1",
    mutants=[swap("vᵀ W u", "bilinear", turned(ops.bilinear, weight=(_across, _across)))],
)  # fmt: skip
entry(
    "P14", "one of the two vectors gets no gradient", "both",
    "own knowledge: du and dv of a form that is linear in each", "gradient", "OP-BIL-2",
    mutants=[
        swap("no gradient of v", "bilinear", graded(ops.bilinear, lambda g, dy, c: (g[0], zeros(g[1]), g[2])),
             section="gradients"),
        swap("no gradient of u", "bilinear", graded(ops.bilinear, lambda g, dy, c: (zeros(g[0]), *g[1:])),
             section="gradients"),
    ],
)  # fmt: skip
