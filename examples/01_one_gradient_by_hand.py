"""One gradient by hand: a layer norm of three numbers, derived on paper, then asked of the engine.

    m = Σ xⱼ/3    v = Σ (xⱼ - m)²/3    x̂ⱼ = (xⱼ - m) r,  r = 1/√(v + ε)    yⱼ = γⱼ x̂ⱼ + βⱼ

Some loss L depends on y, and all that is known of it is dyⱼ = ∂L/∂yⱼ. By the chain rule, backwards:

    dγⱼ = dyⱼ x̂ⱼ,   dβⱼ = dyⱼ,   dx̂ⱼ = dyⱼ γⱼ

x moves x̂ three ways: directly, through m, and through v. From ∂m/∂xⱼ = 1/3 and ∂v/∂xⱼ = 2 (xⱼ - m)/3:

    ∂x̂ᵢ/∂xⱼ = r (δᵢⱼ - 1/3 - x̂ᵢ x̂ⱼ/3)    so    dxⱼ = r (dx̂ⱼ - mean(dx̂) - x̂ⱼ mean(dx̂ x̂))
"""

from math import sqrt

import numpy as np

from minibert import ops

x, weight, bias, eps = [0.3, -1.2, 2.0], [1.5, 0.8, -0.6], [0.1, 0.0, -0.2], 1e-5
dy = [0.7, -0.4, 1.1]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def layer_norm(x: list[float]) -> list[float]:
    m = mean(x)
    r = 1 / sqrt(mean([(a - m) ** 2 for a in x]) + eps)
    return [g * (a - m) * r + b for a, g, b in zip(x, weight, bias, strict=True)]


# by hand: the equations above, one line each
m = mean(x)
r = 1 / sqrt(mean([(a - m) ** 2 for a in x]) + eps)
xhat = [(a - m) * r for a in x]
dxhat = [d * g for d, g in zip(dy, weight, strict=True)]
slope = mean([d * a for d, a in zip(dxhat, xhat, strict=True)])
by_hand = [r * (d - mean(dxhat) - a * slope) for d, a in zip(dxhat, xhat, strict=True)]
dweight_by_hand = [d * a for d, a in zip(dy, xhat, strict=True)]

# the engine: the same equations over arrays
y, cache = ops.layer_norm(np.array(x), np.array(weight), np.array(bias), eps=eps)
engine, gradients = ops.layer_norm_backward(np.array(dy), cache)

# no derivation at all: move each number a little, see how L = Σ dy y moves
h, differences = 1e-5, []
for j in range(3):
    above, below = (layer_norm([a + (step if i == j else 0) for i, a in enumerate(x)]) for step in (h, -h))
    differences.append(sum(d * (a - b) for d, a, b in zip(dy, above, below, strict=True)) / (2 * h))

print("y = layer_norm(x) of three numbers, and the gradient of L = Σ dy y in x\n")
print(f"{'x':>6}{'y':>10}{'by hand':>21}{'engine':>21}{'finite difference':>21}")
for row in zip(x, y, by_hand, engine, differences, strict=True):
    print("{:6.2f}{:10.5f}{:21.16f}{:21.16f}{:21.16f}".format(*row))
print(f"\nsum of dx: {sum(engine):.1e}: adding a constant to x changes nothing")

assert np.allclose(y, layer_norm(x), rtol=0, atol=1e-15)
assert np.allclose(engine, by_hand, rtol=0, atol=1e-15)
assert np.allclose(gradients["weight"], dweight_by_hand, rtol=0, atol=1e-15)
assert np.allclose(gradients["bias"], dy, rtol=0, atol=0)
assert np.allclose(engine, differences, rtol=0, atol=1e-9)
assert abs(sum(engine)) < 1e-15
print("The three agree: hand and engine to 1e-15, finite differences to 1e-9.")
