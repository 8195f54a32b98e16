"""Checking your own function: write a forward and a backward, and let minibert say whether they belong together.

The function is the RMS norm of T5 and of most recent language models (Zhang & Sennrich 2019, arXiv 1910.07467):

    y = γ x / √(mean(x²) + ε)

Its backward is written twice, once with a mistake that is often made: the root is taken for a constant.
"""

import numpy as np
from hypothesis import given, settings

from minibert import gradcheck, strategies


def rms_norm(x, weight, *, eps):
    r = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    return weight * x * r, {"x": x, "r": r, "weight": weight}


def rms_norm_backward(dy, c):
    xhat, dxhat = c["x"] * c["r"], dy * c["weight"]
    dx = c["r"] * (dxhat - xhat * (dxhat * xhat).mean(-1, keepdims=True))
    return dx, {"weight": (dy * xhat).reshape(-1, dy.shape[-1]).sum(0)}


def wrong_backward(dy, c):
    """The mistake: dx without the part through the root."""
    return dy * c["weight"] * c["r"], rms_norm_backward(dy, c)[1]


def double(x, weight, *, eps):
    """The equation once more, in scalar loops, which minibert can differentiate at 50 digits."""
    if isinstance(x[0], list):
        return [double(row, weight, eps=eps) for row in x]
    root = (sum(a * a for a in x) / len(x) + eps) ** type(eps)("0.5")
    return [g * a / root for a, g in zip(x, weight, strict=True)]


# 1. one input: the error of each gradient against finite differences, then against 50 digits
rng = np.random.default_rng(0)
args, constants = {"x": rng.standard_normal((3, 4)), "weight": rng.standard_normal(4)}, {"eps": 1e-3}
print("error of the gradient of           x      weight")
for name, backward in (("right backward", rms_norm_backward), ("wrong backward", wrong_backward)):
    errors = gradcheck.check(rms_norm, backward, args, constants)
    print(f"{name}, differences {errors['x']:10.1e} {errors['weight']:10.1e}")
    assert (errors["x"] < 1e-9) == (backward is rms_norm_backward)
    assert errors["weight"] < 1e-9
exact = gradcheck.exact(rms_norm, rms_norm_backward, double, args, constants)
print(f"right backward, 50 digits   {exact['x']:10.1e} {exact['weight']:10.1e}")
assert max(exact.values()) < 1e-12


# 2. many inputs: hypothesis draws shapes and values from a signature, as for the engine's own ops
def property_of(backward):
    @settings(max_examples=30, deadline=None, derandomize=True, database=None)
    @given(strategies.arguments("(...,d),(d)->(...,d)", names=("x", "weight"), eps=1e-3))
    def gradient_is_right(drawn):
        arrays, constants = drawn
        errors = gradcheck.check(rms_norm, backward, arrays, constants)
        assert max(errors.values()) < 1e-9, {name: f"{error:.0e}" for name, error in errors.items()}

    return gradient_is_right


property_of(rms_norm_backward)()
print("30 shapes and values from \"(...,d),(d)->(...,d)\": the right backward holds for all")
try:
    property_of(wrong_backward)()
except AssertionError as caught:
    print(f"the wrong one is caught: {str(caught).splitlines()[0]}")
else:
    raise SystemExit("the wrong backward was not caught")
