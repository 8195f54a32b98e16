"""Convolution and pooling over time."""

from typing import Any

import numpy as np

from minibert import kernels
from minibert.pairs import backward, pair

Array = np.ndarray
Cache = dict[str, Any]


@pair("(b,4,i),(o,i,3),(o)->(b,4,o)", mask="(b,4)?", same=True)
def convolution(
    x: Array, weight: Array, bias: Array | None = None, *, same: bool = False, mask: Array | None = None
) -> tuple[Array, Cache]:
    """y[t] = b + Σ_j W[:, :, j] x[t + j] for each window of k tokens; x (B, T, I), weight (O, I, k), as torch.nn.Conv1d
    stores it (Kim 2014, arXiv 1408.5882, eq. 1-2).

    Windows lie within the text, so that y is (B, T - k + 1, O), and there is none where T < k. same: one about each
    token, (B, T, O), with zeros beyond the ends: ⌊(k - 1)/2⌋ before the first. mask: bits (B, T), 1 = there; what is
    not there is read as 0.
    """
    before = (weight.shape[-1] - 1) // 2 if same else 0
    behind = weight.shape[-1] - 1 - before if same else 0
    mask = None if mask is None else mask.astype(bool)[..., None]
    read = np.pad(x if mask is None else np.where(mask, x, 0), ((0, 0), (before, behind), (0, 0)))
    if read.shape[1] < weight.shape[-1]:
        windows = np.empty((len(x), 0, *weight.shape[1:]), x.dtype)
    else:
        windows = np.lib.stride_tricks.sliding_window_view(read, weight.shape[-1], 1)  # (B, windows, I, k)
    y = kernels.product(windows.reshape(-1, weight[0].size), weight.reshape(len(weight), -1).T)
    if bias is not None:
        kernels.add_row(y, bias)
    c = {"windows": windows, "weight": weight, "mask": mask, "biased": bias is not None}
    return y.reshape(*windows.shape[:2], len(weight)), {**c, "length": x.shape[1], "before": before, "behind": behind}


@backward
def convolution_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
    # the windows overlap: dx[t + j] takes its share of each
    windows, weight = c["windows"], c["weight"]
    dy_rows = np.ascontiguousarray(dy).reshape(-1, len(weight))
    dwindows = kernels.product(dy_rows, weight.reshape(len(weight), -1)).reshape(windows.shape)
    dread = np.zeros((len(dy), c["before"] + c["length"] + c["behind"], weight.shape[1]), dwindows.dtype)
    for j in range(weight.shape[-1]):
        dread[:, j : j + windows.shape[1]] += dwindows[..., j]
    dx = dread[:, c["before"] : c["before"] + c["length"]]
    dweight = kernels.product(dy_rows.T, windows.reshape(-1, weight[0].size)).reshape(weight.shape)
    dx = dx if c["mask"] is None else np.where(c["mask"], dx, 0)
    return dx, {"weight": dweight, **({"bias": kernels.column_sums(dy_rows)} if c["biased"] else {})}


def windows_there(mask: Array, width: int) -> Array:
    """The mask (B, T - k + 1) of `convolution`'s windows, of one of tokens (B, T): 1 where all k of them are there."""
    count = max(0, mask.shape[1] - width + 1)
    return np.all([mask[:, j : j + count] for j in range(width)], 0)


@pair("(b,t,d)->(b,d)", mask="(b,t)?")
def max_over_time(x: Array, *, mask: Array | None = None) -> tuple[Array, Cache]:
    """y = max over t, entry by entry; x (B, T, D), mask bits (B, T), 1 = there (arXiv 1408.5882, section 2).

    Of equal entries the first one is taken, and gets the gradient; where nothing is there y is 0, and has none.
    """
    mask = np.ones(x.shape[:2], bool) if mask is None else mask.astype(bool)
    c = {"mask": mask, "shape": x.shape, "first": np.zeros((len(x), x.shape[2]), np.int64)}
    if not x.shape[1]:
        return np.zeros((len(x), x.shape[2]), x.dtype), c
    c["first"] = np.where(mask[..., None], x, -np.inf).argmax(1)
    y = np.take_along_axis(x, c["first"][:, None], 1)[:, 0]
    return np.where(mask.any(1)[:, None], y, 0), c


@backward
def max_over_time_backward(dy: Array, c: Cache) -> Array:
    dx = np.zeros(c["shape"], dy.dtype)
    if c["shape"][1]:
        np.put_along_axis(dx, c["first"][:, None], (dy * c["mask"].any(1)[:, None])[:, None], 1)
    return dx


@pair("(b,t,d)->(b,d)", weights="(b,t)+")
def mean_over_time(x: Array, *, weights: Array | None = None) -> tuple[Array, Cache]:
    """y = Σ_t w[t] x[t] / Σ w; x (B, T, D), weights (B, T), 1 unless given: a mask of bits, or 1, 2, … for the tokens
    that are there. Where nothing has a weight y is 0.
    """
    w = np.ones(x.shape[:2], x.dtype) if weights is None else weights.astype(x.dtype)
    total = w.sum(1, keepdims=True)
    share = (w / np.where(total == 0, 1, total))[..., None]
    return np.where(share == 0, 0, share * x).sum(1), {"share": share}


@backward
def mean_over_time_backward(dy: Array, c: Cache) -> Array:
    return c["share"] * dy[:, None]


@pair("(m,...,d),(m),(1)->(...,d)")
def scalar_mix(x: Array, weight: Array, gamma: Array) -> tuple[Array, Cache]:
    """y = γ Σ_m s[m] x[m], s = softmax w: layers x (M, …, D), weight (M,), gamma (1,) (arXiv 1802.05365, eq. 1)."""
    e = np.exp(weight - weight.max())
    s = e / e.sum()
    mix = np.tensordot(s, x, 1)
    return gamma * mix, {"x": x, "s": s, "mix": mix, "gamma": gamma}


@backward
def scalar_mix_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
    # ds[m] = γ Σ dy∘x[m], through the softmax dw = s∘(ds - Σ ds∘s)
    s, rows = c["s"], c["gamma"] * dy
    ds = (c["x"] * rows).reshape(len(s), -1).sum(1)
    dgamma = (dy * c["mix"]).sum().reshape(1)
    return s.reshape(-1, *[1] * dy.ndim) * rows, {"weight": s * (ds - (ds * s).sum()), "gamma": dgamma}
