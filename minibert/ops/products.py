"""Linear maps: dense, of low rank, bilinear."""

from typing import Any

import numpy as np

from minibert import kernels
from minibert.pairs import backward, pair

Array = np.ndarray
Cache = dict[str, Any]


# ---- Linear ----------------------------------------------------------------------------------------------------------
@pair("(...,i),(o,i),(o)->(...,o)")
def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Cache]:
    """y = x Wᵀ + b; weight (out, in), as published checkpoints store it; without a bias y = x Wᵀ."""
    y = kernels.product(x.reshape(-1, x.shape[-1]), weight.T)
    if bias is not None:
        kernels.add_row(y, bias)
    return y.reshape(*x.shape[:-1], len(weight)), {"x": x, "weight": weight, "biased": bias is not None}


@backward
def linear_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
    x, weight = c["x"], c["weight"]
    dy_rows = dy.reshape(-1, dy.shape[-1])
    dx = kernels.product(dy_rows, weight).reshape(x.shape)
    dweight = kernels.product(dy_rows.T, x.reshape(-1, x.shape[-1]))
    return dx, {"weight": dweight, **({"bias": kernels.column_sums(dy_rows)} if c["biased"] else {})}


# ---- Low rank --------------------------------------------------------------------------------------------------------
@pair("(o,i),(k,i),(o,k),(1)->(o,i)")
def low_rank(weight: Array, down: Array, up: Array, scale: Array) -> tuple[Array, Cache]:
    """W + s·B A: weight W (O, I), down A (R, I), up B (O, R), scale s (1,) (arXiv 2106.09685, section 4.1)."""
    product = up @ down
    return kernels.add(weight, scale * product), {"down": down, "up": up, "scale": scale, "product": product}


@backward
def low_rank_backward(dy: Array, c: Cache) -> tuple[Array, ...]:
    # dW = dW', dA = s Bᵀ dW', dB = s dW' Aᵀ, ds = Σ dW'∘B A
    scale = c["scale"]
    return dy, scale * (c["up"].T @ dy), scale * (dy @ c["down"].T), (dy * c["product"]).sum().reshape(1)


# ---- Bilinear --------------------------------------------------------------------------------------------------------
@pair("(...,d),(...,i),(o,d,i),(o)->(...,o)")
def bilinear(u: Array, v: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Cache]:
    """y_o = uᵀ W_o v + b_o; u (…, D), v (…, I), weight (O, D, I), as torch.nn.Bilinear stores it (Socher et al. 2013,
    "Reasoning with neural tensor networks", eq. 1).
    """
    (u_rows, v_rows), (o, d, i) = kernels.rows(u, v), weight.shape
    left = kernels.product(u_rows, weight.transpose(1, 0, 2).reshape(d, o * i)).reshape(-1, o, i)  # uᵀ W_o
    y = (left @ v_rows[..., None])[..., 0]
    if bias is not None:
        y = y + bias
    return y.reshape(*u.shape[:-1], o), {"u": u, "v": v, "weight": weight, "left": left, "biased": bias is not None}


@backward
def bilinear_backward(dy: Array, c: Cache) -> tuple[Array, Array, dict[str, Array]]:
    # du = Σ_o dy_o W_o v, dv = Σ_o dy_o W_oᵀ u, dW_o = dy_o u vᵀ
    (u, v, dy_rows), (o, d, i) = kernels.rows(c["u"], c["v"], dy), c["weight"].shape
    scaled = (dy_rows[:, :, None] * v[:, None]).reshape(-1, o * i)  # dy_o v
    du = kernels.product(scaled, c["weight"].transpose(0, 2, 1).reshape(o * i, d))
    dv = (dy_rows[:, None] @ c["left"])[:, 0]
    dweight = kernels.product(u.T, scaled).reshape(d, o, i).transpose(1, 0, 2)
    g = {"weight": dweight, **({"bias": kernels.column_sums(dy_rows)} if c["biased"] else {})}
    return du.reshape(c["u"].shape), dv.reshape(c["v"].shape), g
