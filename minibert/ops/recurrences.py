"""Gated recurrent layers, backward through time."""

from typing import Any

import numpy as np

from minibert import kernels
from minibert.ops.activations import logistic
from minibert.pairs import backward, pair

Array = np.ndarray
Cache = dict[str, Any]


@pair("(b,2,i),(2,b,2),(8,i),(8,2),(8),(8)->(2,b,2,2)", mask="(b,2)?")
def lstm(
    x: Array,
    state: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None = None,
    bias_hh: Array | None = None,
    *,
    mask: Array | None = None,
) -> tuple[Array, Cache]:
    """The states (h, c) of a long short-term memory behind each token, read from left to right: x (B, T, I) -> y
    (2, B, T, N), y[0] the outputs h, y[1] the cells c (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

    With (i, f, g, o) = W_ih x[t] + b_ih + W_hh h[t-1] + b_hh: c[t] = σ(f)∘c[t-1] + σ(i)∘tanh g, h[t] = σ(o)∘tanh c[t].

    state: (2, B, N), h and c before the first token, 0 where it is None; y[:, :, -1] is the one to read on from.
    weight_ih (4N, I), weight_hh (4N, N), biases (4N,), their rows in the order i f g o, as torch.nn.LSTM stores them;
    who stores one bias, or none, leaves the others out. mask: bits (B, T), 1 = there; a token that is not passes the
    state on as it is, so that y[:, :, -1] is the last state of each row.
    """
    n = weight_hh.shape[1]
    start = np.zeros((2, len(x), n), x.dtype) if state is None else state
    gates = _inputs(x, weight_ih, (bias_ih, bias_hh))
    there = None if mask is None else mask.astype(bool)[..., None]
    y = np.empty((2, *x.shape[:2], n), gates.dtype)
    before = start
    for t in range(x.shape[1]):
        i, f, g, o = np.split(gates[:, t] + kernels.product(before[0], weight_hh.T), 4, 1)
        i, f, g, o = logistic(i), logistic(f), np.tanh(g), logistic(o)
        gates[:, t] = np.concatenate([i, f, g, o], 1)
        cell = f * before[1] + i * g
        after = np.stack([o * np.tanh(cell), cell])
        before = y[:, :, t] = after if there is None else np.where(there[:, t], after, before)
    c = {"x": x, "start": start, "weight_ih": weight_ih, "weight_hh": weight_hh, "gates": gates, "y": y, "there": there}
    return y, {**c, "given": state is not None, "biases": (bias_ih is not None, bias_hh is not None)}


@backward
def lstm_backward(dy: Array, c: Cache) -> tuple[Any, ...]:
    """(dx, dstate where there was one, g): through time, from the last token to the first."""
    x, y, weight_hh, gates = c["x"], c["y"], c["weight_hh"], c["gates"]
    before = np.concatenate([c["start"][:, :, None], y[:, :, :-1]], 2)  # the state that each token finds
    dz, dh, dc = np.empty_like(gates), np.zeros_like(y[0, :, 0]), np.zeros_like(y[0, :, 0])
    for t in reversed(range(x.shape[1])):
        dh, dc = dh + dy[0, :, t], dc + dy[1, :, t]
        passed_h, passed_c = 0, 0
        if c["there"] is not None:
            absent = ~c["there"][:, t]
            passed_h, passed_c = dh * absent, dc * absent
            dh, dc = dh - passed_h, dc - passed_c
        (i, f, g, o), u = np.split(gates[:, t], 4, 1), np.tanh(y[1, :, t])
        dc = dc + dh * o * (1 - u * u)
        slopes = dc * g * i * (1 - i), dc * before[1, :, t] * f * (1 - f), dc * i * (1 - g * g), dh * u * o * (1 - o)
        dz[:, t] = np.concatenate(slopes, 1)
        dh, dc = kernels.product(dz[:, t], weight_hh) + passed_h, dc * f + passed_c
    dx, g = _inputs_backward(dz, c)
    g["weight_hh"] = kernels.product(_flat(dz).T, _flat(before[0]))
    return (dx, np.stack([dh, dc]), g) if c["given"] else (dx, g)


@pair("(b,2,i),(b,5),(12,i),(12,2),(2,3),(12),(12)->(b,2,5)", mask="(b,2)?", cell_clip=None, clip=None)
def projected_lstm(
    x: Array,
    state: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    weight_hr: Array,
    bias_ih: Array | None = None,
    bias_hh: Array | None = None,
    *,
    mask: Array | None = None,
    cell_clip: float | None = None,
    clip: float | None = None,
) -> tuple[Array, Cache]:
    """The states [h ; c] of a long short-term memory whose outputs are projected, behind each token: x (B, T, I) -> y
    (B, T, P + N), the outputs h first, then the cells c (Sak, Senior and Beaufays 2014, "Long short-term memory based
    recurrent neural network architectures", eq. 1-7; both clipped as in arXiv 1802.05365's release).

    With the gates of `lstm`, rows in the same order: c[t] = K(σ(f)∘c[t-1] + σ(i)∘tanh g), h[t] = k(W_hr (σ(o)∘tanh
    c[t])); K and k clip to ±cell_clip and ±clip, if given. state: (B, P + N), 0 where it is None. weight_ih (4N, I),
    weight_hh (4N, P), weight_hr (P, N), biases (4N,), either of which may be left out; mask as in `lstm`.
    """
    p, n = weight_hr.shape
    start = np.zeros((len(x), p + n), x.dtype) if state is None else state
    gates, there = _inputs(x, weight_ih, (bias_ih, bias_hh)), None if mask is None else mask.astype(bool)[..., None]
    y, raw, u = (np.empty((*x.shape[:2], width), gates.dtype) for width in (p + n, p + n, n))
    before = start
    for t in range(x.shape[1]):
        i, f, g, o = np.split(gates[:, t] + kernels.product(before[:, :p], weight_hh.T), 4, 1)
        i, f, g, o = logistic(i), logistic(f), np.tanh(g), logistic(o)
        gates[:, t] = np.concatenate([i, f, g, o], 1)
        raw[:, t, p:] = f * before[:, p:] + i * g
        cell = _clipped(raw[:, t, p:], cell_clip)
        u[:, t] = o * np.tanh(cell)
        raw[:, t, :p] = kernels.product(u[:, t], weight_hr.T)
        after = np.concatenate([_clipped(raw[:, t, :p], clip), cell], 1)
        before = y[:, t] = after if there is None else np.where(there[:, t], after, before)
    c = {"x": x, "start": start, "weight_ih": weight_ih, "weight_hh": weight_hh, "weight_hr": weight_hr, "y": y}
    c |= {"gates": gates, "u": u, "raw": raw, "there": there, "clips": (clip, cell_clip), "given": state is not None}
    return y, {**c, "biases": (bias_ih is not None, bias_hh is not None)}


@backward
def projected_lstm_backward(dy: Array, c: Cache) -> tuple[Any, ...]:
    """(dx, dstate where there was one, g); a clip passes the gradient where it changes nothing."""
    x, u, gates, raw, p = c["x"], c["u"], c["gates"], c["raw"], len(c["weight_hr"])
    before = np.concatenate([c["start"][:, None], c["y"][:, :-1]], 1)
    dz, dprojected, dstate = np.empty_like(gates), np.empty_like(dy[..., :p]), np.zeros_like(dy[:, 0])
    inside = np.concatenate([_unclipped(raw[..., :p], c["clips"][0]), _unclipped(raw[..., p:], c["clips"][1])], -1)
    for t in reversed(range(x.shape[1])):
        total = dstate + dy[:, t]
        passed = 0 if c["there"] is None else total * ~c["there"][:, t]
        total = total - passed
        (i, f, g, o), squashed = np.split(gates[:, t], 4, 1), np.tanh(c["y"][:, t, p:])
        dprojected[:, t] = total[:, :p] * inside[:, t, :p]
        du = kernels.product(dprojected[:, t], c["weight_hr"])
        dc = (total[:, p:] + du * o * (1 - squashed * squashed)) * inside[:, t, p:]
        slopes = dc * g * i * (1 - i), dc * before[:, t, p:] * f * (1 - f), dc * i * (1 - g * g), du * u[:, t] * (1 - o)
        dz[:, t] = np.concatenate(slopes, 1)
        dstate = np.concatenate([kernels.product(dz[:, t], c["weight_hh"]), dc * f], 1) + passed
    dx, g = _inputs_backward(dz, c)
    g["weight_hh"] = kernels.product(_flat(dz).T, _flat(before[..., :p]))
    g["weight_hr"] = kernels.product(_flat(dprojected).T, _flat(u))
    return (dx, dstate, g) if c["given"] else (dx, g)


@pair("(b,2,i),(b,2),(6,i),(6,2),(6),(6)->(b,2,2)", mask="(b,2)?")
def gru(
    x: Array,
    state: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None = None,
    bias_hh: Array | None = None,
    *,
    mask: Array | None = None,
) -> tuple[Array, Cache]:
    """The states h of a gated recurrent unit behind each token, read from left to right: x (B, T, I) -> y (B, T, N)
    (arXiv 1406.1078, section 2.3, with the reset behind the product, as torch.nn.GRU has it).

    With (r, z, n) = W_ih x[t] + b_ih and (r', z', n') = W_hh h[t-1] + b_hh: ρ = σ(r + r'), ζ = σ(z + z'),
    h[t] = (1 - ζ)∘tanh(n + ρ∘n') + ζ∘h[t-1]. state: (B, N), 0 where it is None; y[:, -1] is the one to read on from.
    weight_ih (3N, I), weight_hh (3N, N), biases (3N,), either of which may be left out; mask as in `lstm`.
    """
    n = weight_hh.shape[1]
    start = np.zeros((len(x), n), x.dtype) if state is None else state
    gates, there = _inputs(x, weight_ih, (bias_ih,)), None if mask is None else mask.astype(bool)[..., None]
    y, recurred = np.empty((*x.shape[:2], n), gates.dtype), np.empty((*x.shape[:2], n), gates.dtype)
    before = start
    for t in range(x.shape[1]):
        product = kernels.product(before, weight_hh.T)
        product = product if bias_hh is None else product + bias_hh
        r, z, recurred[:, t] = np.split(product, 3, 1)
        r, z = logistic(gates[:, t, :n] + r), logistic(gates[:, t, n : 2 * n] + z)
        new = np.tanh(gates[:, t, 2 * n :] + r * recurred[:, t])
        gates[:, t] = np.concatenate([r, z, new], 1)
        after = (1 - z) * new + z * before
        before = y[:, t] = after if there is None else np.where(there[:, t], after, before)
    c = {"x": x, "start": start, "weight_ih": weight_ih, "weight_hh": weight_hh, "gates": gates, "y": y, "there": there}
    return y, {**c, "recurred": recurred, "given": state is not None,
               "biases": (bias_ih is not None, bias_hh is not None)}  # fmt: skip


@backward
def gru_backward(dy: Array, c: Cache) -> tuple[Any, ...]:
    """(dx, dstate where there was one, g): through time, from the last token to the first."""
    x, gates = c["x"], c["gates"]
    before = np.concatenate([c["start"][:, None], c["y"][:, :-1]], 1)
    da, db, dh = np.empty_like(gates), np.empty_like(gates), np.zeros_like(dy[:, 0])
    for t in reversed(range(x.shape[1])):
        total = dh + dy[:, t]
        passed = 0 if c["there"] is None else total * ~c["there"][:, t]
        total = total - passed
        r, z, new = np.split(gates[:, t], 3, 1)
        dnew = total * (1 - z) * (1 - new * new)
        dr, dz = dnew * c["recurred"][:, t] * r * (1 - r), total * (before[:, t] - new) * z * (1 - z)
        da[:, t], db[:, t] = np.concatenate([dr, dz, dnew], 1), np.concatenate([dr, dz, dnew * r], 1)
        dh = kernels.product(db[:, t], c["weight_hh"]) + total * z + passed
    dx, g = _inputs_backward(da, {**c, "biases": (c["biases"][0], False)})
    g["weight_hh"] = kernels.product(_flat(db).T, _flat(before))
    if c["biases"][1]:
        g["bias_hh"] = kernels.column_sums(_flat(db))
    return (dx, dh, g) if c["given"] else (dx, g)


@pair("(b,2,i),(b,2),(6,i),(6,2),(6)->(b,2,2)", mask="(b,2)?")
def reset_first_gru(
    x: Array,
    state: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None = None,
    *,
    mask: Array | None = None,
) -> tuple[Array, Cache]:
    """The states of a gated recurrent unit that resets the state before the product: x (B, T, I) -> y (B, T, N) (arXiv
    1406.1078, eq. 5-8; TensorFlow's GRUCell).

    With (r, z, n) = W_ih x[t] + b and W_hh = [U_r; U_z; U]: ρ = σ(r + U_r h[t-1]), ζ = σ(z + U_z h[t-1]),
    h[t] = (1 - ζ)∘tanh(n + U (ρ∘h[t-1])) + ζ∘h[t-1]. state, mask and shapes as in `gru`; one bias, or none.
    """
    n = weight_hh.shape[1]
    start = np.zeros((len(x), n), x.dtype) if state is None else state
    gates, there = _inputs(x, weight_ih, (bias_ih,)), None if mask is None else mask.astype(bool)[..., None]
    y, reset, before = np.empty((*x.shape[:2], n), gates.dtype), np.empty((*x.shape[:2], n), gates.dtype), start
    for t in range(x.shape[1]):
        r, z = np.split(logistic(gates[:, t, : 2 * n] + kernels.product(before, weight_hh[: 2 * n].T)), 2, 1)
        reset[:, t] = r * before
        new = np.tanh(gates[:, t, 2 * n :] + kernels.product(reset[:, t], weight_hh[2 * n :].T))
        gates[:, t] = np.concatenate([r, z, new], 1)
        after = (1 - z) * new + z * before
        before = y[:, t] = after if there is None else np.where(there[:, t], after, before)
    c = {"x": x, "start": start, "weight_ih": weight_ih, "weight_hh": weight_hh, "gates": gates, "y": y, "there": there}
    return y, {**c, "reset": reset, "given": state is not None, "biases": (bias_ih is not None, False)}


@backward
def reset_first_gru_backward(dy: Array, c: Cache) -> tuple[Any, ...]:
    """(dx, dstate where there was one, g): through time, from the last token to the first."""
    x, gates, weight = c["x"], c["gates"], c["weight_hh"]
    n = weight.shape[1]
    before = np.concatenate([c["start"][:, None], c["y"][:, :-1]], 1)
    da, dh = np.empty_like(gates), np.zeros_like(dy[:, 0])
    for t in reversed(range(x.shape[1])):
        total = dh + dy[:, t]
        passed = 0 if c["there"] is None else total * ~c["there"][:, t]
        total = total - passed
        r, z, new = np.split(gates[:, t], 3, 1)
        dnew = total * (1 - z) * (1 - new * new)
        dreset = kernels.product(dnew, weight[2 * n :])
        dr, dz = dreset * before[:, t] * r * (1 - r), total * (before[:, t] - new) * z * (1 - z)
        da[:, t] = np.concatenate([dr, dz, dnew], 1)
        dh = kernels.product(da[:, t, : 2 * n], weight[: 2 * n]) + dreset * r + total * z + passed
    dx, g = _inputs_backward(da, c)
    both = kernels.product(_flat(da[..., : 2 * n]).T, _flat(before))
    g["weight_hh"] = np.concatenate([both, kernels.product(_flat(da[..., 2 * n :]).T, _flat(c["reset"]))])
    return (dx, dh, g) if c["given"] else (dx, g)


def _flat(a: Array) -> Array:
    """(B, T, N) -> (B·T, N)."""
    return a.reshape(-1, a.shape[-1])


def _inputs(x: Array, weight: Array, biases: tuple[Array | None, ...]) -> Array:
    """W x of all tokens at once, with the biases that there are: (B, T, ·)."""
    z = kernels.product(_flat(x), weight.T)
    for bias in filter(lambda b: b is not None, biases):
        kernels.add_row(z, bias)
    return z.reshape(*x.shape[:2], -1)


def _inputs_backward(dz: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
    """(dx, gradients of weight_ih and of the biases that there are)."""
    rows = _flat(dz)
    g = {"weight_ih": kernels.product(rows.T, _flat(c["x"]))}
    g |= {name: kernels.column_sums(rows) for name, biased in zip(("bias_ih", "bias_hh"), c["biases"], strict=True)
          if biased}  # fmt: skip
    return kernels.product(rows, c["weight_ih"]).reshape(c["x"].shape), g


def _clipped(a: Array, most: float | None) -> Array:
    return a if most is None else np.clip(a, -most, most)


def _unclipped(a: Array, most: float | None) -> Array:
    """Where a clip changes nothing."""
    return np.ones(a.shape, bool) if most is None else abs(a) <= most
