"""Checking your own function: write a forward and a backward, and let minibert say whether they belong together.

The function is the RMS norm of T5 and of most recent language models (Zhang & Sennrich 2019, arXiv 1910.07467):

    y = γ x / √(mean(x²) + ε)

Its backward is written twice, once with a mistake that is often made: the root is taken for a constant.
"""

import textwrap

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


# 1. one input: a right backward passes; of a wrong one it is said where, by how much, and how surely
rng = np.random.default_rng(0)
args, constants = {"x": rng.standard_normal((3, 4)), "weight": rng.standard_normal(4)}, {"eps": 1e-3}
gradcheck.require(rms_norm, rms_norm_backward, args, constants)
print("the right backward passes")
try:
    gradcheck.require(rms_norm, wrong_backward, args, constants)
except gradcheck.GradientError as caught:
    print(textwrap.fill(str(caught), 79))
else:
    raise SystemExit("the wrong backward was not caught")
# the same in numbers, against finite differences and against 50 digits
errors = gradcheck.check(rms_norm, rms_norm_backward, args, constants)
exact = gradcheck.exact(rms_norm, rms_norm_backward, double, args, constants)
for name in args:
    print(f"gradient of {name:7} {errors[name]:8.1e} by differences {exact[name]:8.1e} against 50 digits")
assert max(errors.values()) < 1e-9
assert max(exact.values()) < 1e-12


# 2. many inputs: hypothesis draws shapes, values and memory orders from a signature, as for the engine's own ops
def property_of(backward):
    @settings(max_examples=30, deadline=None, derandomize=True, database=None)
    @given(strategies.arguments("(...,d),(d)->(...,d)", names=("x", "weight"), eps=1e-3))
    def gradient_is_right(drawn):
        gradcheck.require(rms_norm, backward, *drawn)

    return gradient_is_right


property_of(rms_norm_backward)()
print("30 arrays from \"(...,d),(d)->(...,d)\": the right backward holds for all")
try:
    property_of(wrong_backward)()
except gradcheck.GradientError as caught:
    print(f"the wrong one is caught: {caught.argument}{list(caught.index)}, shape {caught.shapes[0]}")
else:
    raise SystemExit("the wrong backward was not caught")
