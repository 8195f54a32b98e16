"""One BERT layer, forward and backward, read against the equations (2)-(6) at the top of minibert/families/bert.py.

Each line computes one equation with bare NumPy, from the engine's input alone, and puts it beside what the engine
recorded for the op of that equation. The backward goes from (6) up to (2), each cotangent from the one below it.
"""

from math import erf, sqrt

import numpy as np

import minibert
from minibert import layers, trace, tree

B, T, D, H, eps, rng = 2, 5, 8, 2, 1e-12, np.random.default_rng(0)
model = minibert.create("bert", dtype="float64", hidden_size=D, num_attention_heads=H, intermediate_size=12)
p = tree.map(lambda a: a + 0.4 * rng.standard_normal(a.shape), model.params["encoder"][0])
x, dy = rng.standard_normal((2, B, T, D))
mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])[:, None, None, :]  # 1 = attend
with trace.recording() as record:
    y, cache = layers.encoder_layer(x, p, heads=H, act="gelu", eps=eps, mask=mask)
    dx, g = layers.encoder_layer_backward(dy, cache)
op = record.named(cache)  # what each op returned (output), and the cotangent its backward received


def show(tag: str, equation: str, ours: np.ndarray, engine: np.ndarray) -> None:
    error = np.abs(ours - engine).max() / np.abs(engine).max()
    assert error < 1e-13, equation
    print(f"{tag:>5}  {equation:<34}{ours.flat[0]:>14.9f}{engine.flat[0]:>14.9f}   < 1e-13")


def norm(x, p):
    return p["weight"] * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) + p["bias"]


def norm_backward(dy, x, p):
    r = 1 / np.sqrt(x.var(-1, keepdims=True) + eps)
    xhat, d = (x - x.mean(-1, keepdims=True)) * r, dy * p["weight"]
    return r * (d - d.mean(-1, keepdims=True) - xhat * (d * xhat).mean(-1, keepdims=True))


def heads(a):
    return a.reshape(B, T, H, D // H).swapaxes(1, 2)


print(f"{'forward, the first entry of each array':41}{'equation':>14}{'engine':>14}{'error':>10}")
att, feed = p["attention"], p["feed_forward"]
q, k, v = (x @ att[name]["weight"].T + att[name]["bias"] for name in ("query", "key", "value"))
show("(2)", "q = x W_qᵀ + b_q", q, op["attention.query"].output)
scores = heads(q) @ heads(k).swapaxes(-1, -2) / sqrt(D // H) + np.where(mask, 0, -np.inf)
probs = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
show("(3)", "softmax(q kᵀ/√K + mask)", probs, op["attention.attention"].cache["probs"])
merged = (probs @ heads(v)).swapaxes(1, 2).reshape(B, T, D)
u = merged @ att["output"]["weight"].T + att["output"]["bias"]
show("(3)", "u W_oᵀ + b_o", u, op["attention.output"].output)
a = norm(x + u, att["norm"])
show("(4)", "a = LN(x + u)", a, op["attention.add_norm.norm"].output)
z = a @ feed["in"]["weight"].T + feed["in"]["bias"]
cdf = (1 + np.vectorize(erf)(z / sqrt(2))) / 2
f = z * cdf @ feed["out"]["weight"].T + feed["out"]["bias"]
show("(5)", "f = gelu(a W₁ᵀ + b₁) W₂ᵀ + b₂", f, op["feed_forward.out"].output)
show("(6)", "y = LN(a + f)", norm(a + f, feed["norm"]), y)
print("backward, from a random dy; f' is the backward of f")
df = norm_backward(dy, a + f, feed["norm"])
show("(6)", "df = LN'(dy)", df, op["feed_forward.out"].cotangent)
show("(5)", "dW₂ = dfᵀ gelu(z)", np.einsum("bto,bti->oi", df, z * cdf), g["feed_forward"]["out"]["weight"])
dz = df @ feed["out"]["weight"] * (cdf + z * np.exp(-z * z / 2) / sqrt(2 * np.pi))
show("(5)", "dz = df W₂ (Φ(z) + z φ(z))", dz, op["feed_forward.in"].cotangent)
du = norm_backward(df + dz @ feed["in"]["weight"], x + u, att["norm"])
show("(4)", "du = LN'(df + dz W₁)", du, op["attention.output"].cotangent)
dmerged = heads(du @ att["output"]["weight"])
dprobs = dmerged @ heads(v).swapaxes(-1, -2)
dscores = probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True)) / sqrt(D // H)
dq, dk, dv = dscores @ heads(k), dscores.swapaxes(-1, -2) @ heads(q), probs.swapaxes(-1, -2) @ dmerged
dq, dk, dv = (d.swapaxes(1, 2).reshape(B, T, D) for d in (dq, dk, dv))
show("(3)", "dq = softmax'(du W_o vᵀ) k/√K", dq, op["attention.query"].cotangent)
show("(2)", "dW_q = dqᵀ x", np.einsum("bto,bti->oi", dq, x), g["attention"]["query"]["weight"])
through = [d @ att[name]["weight"] for d, name in ((dq, "query"), (dk, "key"), (dv, "value"))]
show("", "dx = du + dq W_q + dk W_k + dv W_v", du + sum(through), dx)
print("Every equation and its engine agree within 1e-13 of the largest entry.")
