"""A BERT that trains, in plain NumPy: network, gradient, Adam, data. At the end the engine computes the same losses.

    x⁰ = LN(E[ids] + P)     x' = LN(x + softmax(q kᵀ/√K) v W_o)     x = LN(x' + gelu(x' W₁) W₂)     z = x[masked] Eᵀ

Linear layers have a bias; the masked head is the table alone. Every backward stands below its forward.
"""

from math import erf, pi, sqrt

import numpy as np

from minibert import layers, ops, tree

D, H, F, L, T, B, EPS = 24, 4, 48, 2, 8, 16, 1e-12
rng = np.random.default_rng(0)


def linear(x, p):
    return x @ p["weight"].T + p["bias"], (x, p)


def linear_backward(dy, cache):
    x, p = cache
    rows = dy.reshape(-1, dy.shape[-1])
    return dy @ p["weight"], {"weight": rows.T @ x.reshape(-1, x.shape[-1]), "bias": rows.sum(0)}


def norm(x, p):
    r = 1 / np.sqrt(x.var(-1, keepdims=True) + EPS)
    hat = (x - x.mean(-1, keepdims=True)) * r
    return p["weight"] * hat + p["bias"], (hat, r, p)


def norm_backward(dy, cache):
    hat, r, p = cache
    d = dy * p["weight"]
    dx = r * (d - d.mean(-1, keepdims=True) - hat * (d * hat).mean(-1, keepdims=True))
    return dx, {"weight": (dy * hat).sum((0, 1)), "bias": dy.sum((0, 1))}


def below(x):
    return (1 + np.vectorize(erf)(x / sqrt(2))) / 2


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def split(x):
    return x.reshape(*x.shape[:2], H, D // H).swapaxes(1, 2)


def merge(x):
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], D)


def layer(x, p):
    c, a, f = {}, p["attention"], p["feed_forward"]
    for name in ("query", "key", "value"):
        y, c[name] = linear(x, a[name])
        c[name[0]] = split(y)
    c["w"] = softmax(c["q"] @ c["k"].swapaxes(-1, -2) / sqrt(D // H))
    u, c["output"] = linear(merge(c["w"] @ c["v"]), a["output"])
    x, c["norm"] = norm(x + u, a["norm"])
    c["z"], c["in"] = linear(x, f["in"])
    u, c["out"] = linear(c["z"] * below(c["z"]), f["out"])
    y, c["norm2"] = norm(x + u, f["norm"])
    return y, c


def layer_backward(dy, c):
    a, f = {}, {}
    dx, f["norm"] = norm_backward(dy, c["norm2"])
    dh, f["out"] = linear_backward(dx, c["out"])
    dz = dh * (below(c["z"]) + c["z"] * np.exp(-(c["z"] ** 2) / 2) / sqrt(2 * pi))
    du, f["in"] = linear_backward(dz, c["in"])
    dx, a["norm"] = norm_backward(dx + du, c["norm"])
    dm, a["output"] = linear_backward(dx, c["output"])
    dm = split(dm)
    dw = dm @ c["v"].swapaxes(-1, -2)
    ds = c["w"] * (dw - (dw * c["w"]).sum(-1, keepdims=True)) / sqrt(D // H)
    d = {"query": ds @ c["k"], "key": ds.swapaxes(-1, -2) @ c["q"], "value": c["w"].swapaxes(-1, -2) @ dm}
    for name in d:
        du, a[name] = linear_backward(merge(d[name]), c[name])
        dx = dx + du
    return dx, {"attention": a, "feed_forward": f}


def loss(p, ids, at, labels):
    """The mean surprise of the masked words, and its gradient: the table E is read twice, and both parts add up."""
    x, c0 = norm(p["word"][ids] + p["position"], p["norm"])
    caches, rows = [None] * L, np.arange(len(ids))
    for i in range(L):
        x, caches[i] = layer(x, p["layers"][i])
    h = x[rows, at]
    shares = softmax(h @ p["word"].T)
    value = -np.log(shares[rows, labels]).mean()
    dz = (shares - np.eye(len(p["word"]))[labels]) / len(ids)
    g, dx = {"word": dz.T @ h, "layers": [None] * L}, np.zeros_like(x)
    dx[rows, at] = dz @ p["word"]
    for i in reversed(range(L)):
        dx, g["layers"][i] = layer_backward(dx, caches[i])
    dx, g["norm"] = norm_backward(dx, c0)
    np.add.at(g["word"], ids, dx)
    return value, {**g, "position": dx.sum(0)}


def drawn(*shape):
    return 0.1 * rng.standard_normal(shape)


def dense(out, read):
    return {"weight": drawn(out, read), "bias": np.zeros(out)}


def batch():
    """Sentences of a small language, in each of which one word is masked."""
    who, does, where = rng.integers(0, 4, B), rng.integers(0, 3, B), rng.integers(0, 3, B)
    ids = np.stack([0 * who, 1 + who, 5 + does, 1 + (who + 1 + does) % 4, 8 + where, 0 * who + 11, 1 + who, 0 * who], 1)
    at = rng.choice([1, 2, 3, 6], B)  # what can be told from the rest
    labels = ids[np.arange(B), at].copy()
    ids[np.arange(B), at] = len(WORDS) - 1
    return ids, at, labels


WORDS = [".", "cat", "dog", "bird", "fish", "sees", "likes", "hunts", "here", "there", "outside", "and", "[MASK]"]
one = {"weight": np.ones(D), "bias": np.zeros(D)}
params = tree.map(np.copy, {"word": drawn(len(WORDS), D), "position": drawn(T, D), "norm": one, "layers": [
    {"attention": {**{name: dense(D, D) for name in ("query", "key", "value", "output")}, "norm": one},
     "feed_forward": {"in": dense(F, D), "out": dense(D, F), "norm": one}} for _ in range(L)]})  # fmt: skip
weights = tree.flatten(params)
first, second = ({path: np.zeros_like(w) for path, w in weights.items()} for _ in range(2))
for step in range(1, 401):
    ids, at, labels = batch()
    value, gradient = loss(params, ids, at, labels)
    if step == 1:  # the same through the engine: its layers, its norm, its loss
        x, _ = ops.layer_norm(params["word"][ids] + params["position"], **params["norm"], eps=EPS)
        for own in params["layers"]:
            x, _ = layers.encoder_layer(x, own, heads=H, act="gelu", eps=EPS)
        due, _ = ops.cross_entropy(x[np.arange(B), at] @ params["word"].T, labels=labels)
        assert abs(due - value) < 1e-12, "the engine says otherwise"
    for path, g in tree.flatten(gradient).items():
        w, m, v = weights[path], first[path], second[path]
        m += 0.1 * (g - m)
        v += 0.01 * (g * g - v)
        w -= 4e-3 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + 1e-8)
    if step in (1, 100, 200, 300, 400):
        print(f"step {step:>3}  loss {value:.4f} nats a word; a guess among all {len(WORDS)}: {np.log(len(WORDS)):.4f}")
