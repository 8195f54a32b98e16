"""Layer norm and RMS norm."""

from typing import Any

import numpy as np

from minibert import kernels
from minibert.pairs import backward, pair

Array = np.ndarray
Cache = dict[str, Any]


@pair("(...,d),(d),(d)->(...,d)", eps=1e-3)
def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> tuple[Array, Cache]:
    """y = γ(x - μ)/√(σ² + ε) + β over the last axis, σ² the mean square deviation (arXiv 1607.06450, eq. 3-4)."""
    (x_rows,) = kernels.rows(x)
    y, xhat, rstd = kernels.layer_norm(x_rows, weight, bias, eps)
    if not rstd.all():  # a variance beyond the precision: no number, rather than the bias
        y[(rstd == 0)[:, 0]] = np.nan
    return y.reshape(x.shape), {"xhat": xhat, "rstd": rstd, "weight": weight}


@backward
def layer_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
    # x̂ = (x - μ)·r with r = 1/√(σ² + ε), so dx = r·(dx̂ - mean(dx̂) - x̂·mean(dx̂∘x̂)), dx̂ = dy∘γ
    (dy_rows,) = kernels.rows(dy)
    dx, dweight, dbias = kernels.layer_norm_slope(dy_rows, c["xhat"], c["rstd"], c["weight"])
    return dx.reshape(dy.shape), {"weight": dweight, "bias": dbias}


@pair("(...,d),(d)->(...,d)", eps=1e-3)
def rms_norm(x: Array, weight: Array, *, eps: float) -> tuple[Array, Cache]:
    """y = γx/√(mean(x²) + ε) over the last axis: no mean is taken away, nothing is added (arXiv 1910.07467, eq. 4)."""
    with np.errstate(over="ignore"):
        rstd = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + x.dtype.type(eps))
    xhat = x * rstd
    y = xhat * weight
    if not rstd.all():  # as in `layer_norm`
        y[(rstd == 0)[..., 0]] = np.nan
    return y, {"xhat": xhat, "rstd": rstd, "weight": weight}


@backward
def rms_norm_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
    # x̂ = x·r with r = 1/√(mean x² + ε), so dx = r·(dx̂ - x̂·mean(dx̂∘x̂)), dx̂ = dy∘γ
    xhat, dxhat = c["xhat"], dy * c["weight"]
    dx = c["rstd"] * (dxhat - xhat * (dxhat * xhat).mean(-1, keepdims=True))
    return dx, {"weight": kernels.column_sums((dy * xhat).reshape(-1, dy.shape[-1]))}
