"""Layer norm backward: from dy to the gradients of x, of the scale γ and of the shift β.

    x̂ = (x - μ) r,   r = 1 / √(σ² + ε),   dx̂ = dy γ
    dx = r (dx̂ - mean dx̂ - x̂ mean(dx̂ x̂)),   dγ = Σ dy x̂,   dβ = Σ dy

Means go over the last axis, sums over all rows. dy, x (..., d), weight γ (d), eps ε -> (dx (..., d), dγ (d), dβ (d)).
"""

import numpy as np

ORDER, CLAUSE, CASE = 4, "OP-LN-4", "bert/published"


def _back(dy, x, weight, eps, first=1.0, second=1.0, inner=None):
    """(dx, dγ, dβ) with factors before both means."""
    mean = x.mean(-1, keepdims=True)
    rate = 1 / np.sqrt(x.var(-1, keepdims=True) + eps)
    hat = (x - mean) * rate
    dhat = dy * weight if inner is None else inner(dy, weight)
    dx = rate * (dhat - first * dhat.mean(-1, keepdims=True) - second * hat * (dhat * hat).mean(-1, keepdims=True))
    axes = tuple(range(x.ndim - 1))
    return dx, (dy * hat).sum(axes), dy.sum(axes)


def layer_norm_backward(dy, x, weight, eps):
    mean = x.mean(-1, keepdims=True)
    rate = 1 / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + eps)
    hat = (x - mean) * rate
    dhat = dy * weight
    dx = rate * (dhat - dhat.mean(-1, keepdims=True) - hat * (dhat * hat).mean(-1, keepdims=True))
    rows = tuple(range(x.ndim - 1))
    return dx, (dy * hat).sum(rows), dy.sum(rows)


def calls(rng):
    yield {"dy": np.array([[1.0, 0.0, 0.0]]), "x": np.array([[1.0, 2.0, 6.0]]), "weight": np.ones(3), "eps": 1e-12}
    yield {
        "dy": np.array([[1.0, 2.0], [0.5, 0.0]]),
        "x": np.array([[1.0, 3.0], [0.0, 0.5]]),
        "weight": np.array([1.0, 2.0]),
        "eps": 0.5,
    }
    yield {
        "dy": rng.standard_normal((2, 3, 4)),
        "x": rng.standard_normal((2, 3, 4)) + 2,
        "weight": rng.standard_normal(4),
        "eps": 0.1,
    }


def _with(dx=None, dweight=None, dbias=None):
    """The right gradients but for those that are given."""

    def backward(dy, x, weight, eps):
        own = layer_norm_backward(dy, x, weight, eps)
        others = (dx, dweight, dbias)
        return tuple(right if f is None else f(dy, x, weight, eps) for right, f in zip(own, others, strict=True))

    return backward


def _rate(x, eps):
    return 1 / np.sqrt(x.var(-1, keepdims=True) + eps)


def _hat(x, eps):
    return (x - x.mean(-1, keepdims=True)) * _rate(x, eps)


def _sum(a):
    return a.sum(tuple(range(a.ndim - 1)))


WRONG = {
    "L12: mean dx̂ is missing: what comes through μ": _with(lambda *a: _back(*a, first=0)[0]),
    "L12: x̂ mean(dx̂ x̂) is missing: what comes through σ": _with(lambda *a: _back(*a, second=0)[0]),
    "L12: both means are missing: μ and σ are taken for constants": _with(lambda *a: _back(*a, first=0, second=0)[0]),
    "dx̂ is dy: γ is missing": _with(lambda *a: _back(*a, inner=lambda dy, w: dy)[0]),
    "r in front is missing": _with(lambda dy, x, w, eps: layer_norm_backward(dy, x, w, eps)[0] / _rate(x, eps)),
    "the second mean is of dx̂ alone": _with(
        lambda dy, x, w, eps: (
            _rate(x, eps)
            * (dy * w - (dy * w).mean(-1, keepdims=True) - _hat(x, eps) * (dy * w).mean(-1, keepdims=True))
        )
    ),
    "the second mean is of dy x̂, not of dx̂ x̂: γ is missing there": _with(
        lambda dy, x, w, eps: (
            _rate(x, eps)
            * (
                dy * w
                - (dy * w).mean(-1, keepdims=True)
                - _hat(x, eps) * (dy * _hat(x, eps)).mean(-1, keepdims=True)
            )
        )
    ),
    "the second mean is not multiplied by x̂": _with(
        lambda dy, x, w, eps: (
            _rate(x, eps)
            * (dy * w - (dy * w).mean(-1, keepdims=True) - (dy * w * _hat(x, eps)).mean(-1, keepdims=True))
        )
    ),
    "sums stand where means are due": _with(lambda dy, x, w, eps: _back(dy, x, w, eps, x.shape[-1], x.shape[-1])[0]),
    "the means go over all rows": _with(
        lambda dy, x, w, eps: _rate(x, eps) * (dy * w - (dy * w).mean() - _hat(x, eps) * (dy * w * _hat(x, eps)).mean())
    ),
    "a sign is turned: the means are to be taken away": _with(lambda *a: _back(*a, first=-1, second=-1)[0]),
    "ε is left out": lambda dy, x, weight, eps: layer_norm_backward(dy, x, weight, 0),
    "L04: the variance divides by d - 1": _with(lambda dy, x, w, eps: _unbiased(dy, x, w, eps)),
    "dγ sums dy x: x̂ is due": _with(None, lambda dy, x, w, eps: _sum(dy * x)),
    "dγ sums dy (x - μ): the factor r is missing": _with(
        None, lambda dy, x, w, eps: _sum(dy * (x - x.mean(-1, keepdims=True)))
    ),
    "dγ sums dx̂ x̂: dy is due, γ is no part of it": _with(None, lambda dy, x, w, eps: _sum(dy * w * _hat(x, eps))),
    "dβ sums dx̂: dy is due, γ is no part of it": _with(None, None, lambda dy, x, w, eps: _sum(dy * w)),
    "dγ and dβ are means over rows, not sums": lambda dy, x, weight, eps: (
        layer_norm_backward(dy, x, weight, eps)[0],
        *(g / (dy.size / dy.shape[-1]) for g in layer_norm_backward(dy, x, weight, eps)[1:]),
    ),
    "dγ and dβ are in each other's place": lambda dy, x, weight, eps: tuple(
        layer_norm_backward(dy, x, weight, eps)[i] for i in (0, 2, 1)
    ),
    "dγ and dβ are summed over the first axis alone": lambda dy, x, weight, eps: (
        layer_norm_backward(dy, x, weight, eps)[0],
        (dy * _hat(x, eps)).sum(0),
        dy.sum(0),
    ),
    "dγ and dβ are not summed over rows": lambda dy, x, weight, eps: (
        layer_norm_backward(dy, x, weight, eps)[0],
        dy * _hat(x, eps),
        dy,
    ),
    "L04: the variance divides by d - 1, in dγ as well": lambda dy, x, weight, eps: (
        _unbiased(dy, x, weight, eps),
        _sum(dy * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, ddof=1, keepdims=True) + eps)),
        _sum(dy),
    ),
}


def _unbiased(dy, x, weight, eps):
    rate = 1 / np.sqrt(x.var(-1, ddof=1, keepdims=True) + eps)
    hat, dhat = (x - x.mean(-1, keepdims=True)) * rate, dy * weight
    return rate * (dhat - dhat.mean(-1, keepdims=True) - hat * (dhat * hat).mean(-1, keepdims=True))


def put(answer):
    """In each norm of the model, on the way back."""
    seen = {}

    def forward(f, args, constants):
        y, c = f(*args, **constants)
        seen[id(c)] = args[0], args[1] if len(args) > 1 else constants["weight"], constants["eps"], c
        return y, c

    def backward(f, args, constants):
        x, weight, eps, _ = seen[id(args[1])]
        dx, dweight, dbias = answer(dy=args[0], x=x, weight=weight, eps=eps)
        return dx, {"weight": dweight, "bias": dbias}

    return {"layer_norm": forward, "layer_norm_backward": backward}
