"""Long short-term memories and gated units over a text: a layer in one direction or both, and a stack of layers.

A layer's tree holds the tensors of `ops.lstm` as torch.nn.LSTM stores them, weight_ih, weight_hh, and bias_ih, bias_hh
where there are such, or those of `ops.gru`; with "forward" and "backward", each such a tree, the text is read in both
directions. Padding is passed over: from the right a row begins at its own last token.
"""

import functools
from typing import Any

import numpy as np

from minibert import kernels, ops, tree
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]


def shapes(width: int, hidden: int, *, both: bool = False, gates: int = 4) -> Tree:
    """The shapes of a layer that reads (B, T, width), two biases as torch has them; both: in both directions. gates: 4
    blocks of rows, 3 of a GRU.
    """
    rows = gates * hidden
    one = {"weight_ih": (rows, width), "weight_hh": (rows, hidden), "bias_ih": (rows,), "bias_hh": (rows,)}
    return {"forward": one, "backward": dict(one)} if both else one


@block
def lstm_layer(x: Array, p: Tree, *, seen: Array | None = None, state: Any = None) -> tuple[Array, Tree]:
    """The outputs behind each token, x (B, T, I) -> (B, T, N), or (B, T, 2N), those from the left first, where p has
    both directions (torch.nn.LSTM, batch_first).

    seen: bits (B, T), 1 = there; behind the last token that is there an output stays what it was. state: (2, B, N), h
    and c before the first token, as data, which get no gradient (`ops.lstm` gives one); of both directions a dict of
    two. 0 unless given.
    """
    return _layer("lstm", x, p, seen, state)


@block_backward
def lstm_layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    return _layer_backward("lstm", dy, c)


def truncated_layer(
    x: Array, p: Tree, *, every: int, seen: Array | None = None, state: Any = None
) -> tuple[Array, Tree]:  # fmt: skip
    """`lstm_layer` from the left, of so many tokens at a time, each going on from the state behind the ones before:
    the same outputs, but no gradient goes back from one to the other (truncated backward through time).
    """
    ys, own = [], []
    for i in range(0, x.shape[1], every):
        part = slice(i, i + every)
        y, c = lstm_layer(x[:, part], p, seen=None if seen is None else seen[:, part], state=state)
        state = last_state(c)
        ys.append(y)
        own.append(c)
    return (np.concatenate(ys, 1) if len(ys) > 1 else ys[0]), {"parts": own, "every": every, "last": state}


def truncated_layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    """(dx, g), of each part by itself."""
    found = [lstm_layer_backward(dy[:, i * c["every"] : (i + 1) * c["every"]], own)
             for i, own in enumerate(c["parts"])]  # fmt: skip
    dx = np.concatenate([dpart for dpart, _ in found], 1) if len(found) > 1 else found[0][0]
    return dx, functools.reduce(tree.add, [g for _, g in found])


@block
def gru_layer(x: Array, p: Tree, *, seen: Array | None = None, state: Any = None) -> tuple[Array, Tree]:
    """As `lstm_layer`, of `ops.gru` (torch.nn.GRU, batch_first); its tree holds the same names, three blocks of rows.
    state: (B, N), of both directions a dict of two.
    """
    return _layer("gru", x, p, seen, state)


@block_backward
def gru_layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    return _layer_backward("gru", dy, c)


@block
def reset_first_layer(x: Array, p: Tree, *, seen: Array | None = None, state: Any = None) -> tuple[Array, Tree]:
    """As `gru_layer`, of `ops.reset_first_gru`, which has one bias."""
    return _layer("reset_first_gru", x, p, seen, state)


@block_backward
def reset_first_layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    return _layer_backward("reset_first_gru", dy, c)


def _layer(op: str, x: Array, p: Tree, seen: Array | None, state: Any) -> tuple[Array, Tree]:
    if "backward" not in p:
        y, own = getattr(ops, op)(x, state, **p, mask=seen)
        return _outputs(y), {op: own, "last": y[..., -1, :]}
    state, c = state or {}, {}
    y, c["forward"] = getattr(ops, op)(x, state.get("forward"), **p["forward"], mask=seen)
    turned = None if seen is None else seen[:, ::-1]
    z, c["backward"] = getattr(ops, op)(x[:, ::-1], state.get("backward"), **p["backward"], mask=turned)
    c["last"] = {"forward": y[..., -1, :], "backward": z[..., -1, :]}
    return np.concatenate([_outputs(y), _outputs(z)[:, ::-1]], -1), c


def _outputs(y: Array) -> Array:
    """The outputs h of an op's states: of an LSTM without the cells."""
    return y[0] if y.ndim == 4 else y


def _layer_backward(op: str, dy: Array, c: Tree) -> tuple[Array, Tree]:
    if op in c:
        return _of_outputs(op, dy, c[op])
    left, right = np.split(dy, 2, -1)
    g: Tree = {}
    dx, g["forward"] = _of_outputs(op, left, c["forward"])
    dturned, g["backward"] = _of_outputs(op, right[:, ::-1], c["backward"])
    return kernels.add(dx, dturned[:, ::-1]), g


def _of_outputs(op: str, dy: Array, c: Tree) -> tuple[Array, Tree]:
    dstates = np.stack([dy, np.zeros_like(dy)]) if op == "lstm" else dy
    dx, *_, g = getattr(ops, f"{op}_backward")(dstates, c)
    return dx, g


def last_state(c: Tree) -> Any:
    """The state behind the last token of a layer's cache, what it takes as `state` to read on: (2, B, N), of a GRU
    (B, N), of both directions a dict of two; from the right it is that behind the first token.
    """
    return c["last"]


@block
def whole_text(h: Array, *, both: bool) -> tuple[Array, Tree]:
    """What stands for the text among a layer's outputs, (B, T, ·) -> (B, ·): that behind the last token that is there;
    both: of two directions, each where it has read all.
    """
    half = h.shape[-1] // 2
    y = np.concatenate([h[:, -1, :half], h[:, 0, half:]], -1) if both else h[:, -1]
    return y, {"length": h.shape[1], "both": both}


@block_backward
def whole_text_backward(dy: Array, c: Tree) -> Array:
    dh = np.zeros((len(dy), c["length"], dy.shape[-1]), dy.dtype)
    half = dy.shape[-1] // 2 if c["both"] else dy.shape[-1]
    dh[:, -1, :half] = dy[:, :half]
    if c["both"]:
        dh[:, 0, half:] = dy[:, half:]
    return dh


@block
def lstm_stack(
    x: Array,
    ps: list[Tree],
    *,
    seen: Array | None = None,
    states: list | None = None,
    keep: list[Array | None] | None = None,
    rate: float = 0.0,
) -> tuple[Array, Tree]:
    """x (B, T, I) through layers, each reading the outputs of the one before it; the outputs of the last one.

    seen as in `lstm_layer`; states: a state for each layer. keep: a mask for each layer but the last, of the dropout at
    rate behind it: (B, T, ·), or (B, 1, ·) for one that is the same at each token.
    """
    layers, dropped = [], []
    for i, p in enumerate(ps):
        x, own = lstm_layer(x, p, seen=seen, state=None if states is None else states[i])
        layers.append(own)
        if keep is not None and i + 1 < len(ps):
            x, own = ops.dropout(x, keep=keep[i], rate=rate)
            dropped.append(own)
    return x, {"layers": layers, "dropout": dropped}


@block_backward
def lstm_stack_backward(dy: Array, c: Tree) -> tuple[Array, list[Tree]]:
    gs = []
    for i, own in reversed([*enumerate(c["layers"])]):
        if i < len(c["dropout"]):
            dy = ops.dropout_backward(dy, c["dropout"][i])
        dy, g = lstm_layer_backward(dy, own)
        gs.append(g)
    return dy, gs[::-1]
