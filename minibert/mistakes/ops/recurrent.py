"""Mistakes in recurrence."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from minibert import ops, tree
from minibert.mistakes.catalogue import entry, swap
from minibert.mistakes.swap import Replacement, edited, graded, turned, zeros

SECTION = {"R": "Recurrence"}

Array = np.ndarray
Cache = dict[str, Any]
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


# ---- Pairs -----------------------------------------------------------------------------------------------------------
def ordered(order: str, op: Callable = ops.lstm, gates: str = "ifgo") -> Replacement:
    """The rows of weights and biases read as if they stood in another order of the gates."""
    there = [order.index(gate) for gate in gates]
    back = np.argsort(there)

    def rows(blocks: Any) -> Callable[[Array], Array]:
        return lambda a: np.concatenate([np.split(a, len(gates))[n] for n in blocks])

    return turned(op, **dict.fromkeys(WEIGHTS, (rows(there), rows(back))))


def forgetting(a: Array, more: float) -> Array:
    """A bias with more at the forget gate."""
    n = len(a) // 4
    return a + np.repeat(np.array([0, more, 0, 0], a.dtype), n)


def silent(name: str, op: Callable = ops.lstm) -> Replacement:
    """The argument read as 0, which gets no gradient."""
    return turned(op, **{name: (np.zeros_like, np.zeros_like)})


def squashed(candidate: Callable, output: Callable) -> Replacement:
    """c = σ(f) c + σ(i) candidate(g), h = σ(o) output(c); candidate and output give (value, slope)."""

    def lstm(x: Array, state: Array | None, weight_ih: Array, weight_hh: Array, bias_ih: Array | None = None,
             bias_hh: Array | None = None, *, mask: Array | None = None) -> tuple[Array, Cache]:  # fmt: skip
        there = np.ones(x.shape[:2], bool) if mask is None else mask.astype(bool)
        bias_ih, bias_hh = (0 if bias is None else bias for bias in (bias_ih, bias_hh))  # stored or not
        state = np.zeros((2, len(x), weight_hh.shape[1]), x.dtype) if state is None else state
        steps, states = [], [state]
        for t in range(x.shape[1]):
            (h, c), m = states[-1], there[:, t, None]
            i, f, g, o = np.split(x[:, t] @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh, 4, 1)
            gates = [ops.sigmoid(z)[0] for z in (i, f, o)]
            (g, dg), new = candidate(g), None
            new = gates[1] * c + gates[0] * g
            u, du = output(new)
            states.append(np.where(m, np.stack([gates[2] * u, new]), states[-1]))
            steps.append({"gates": gates, "g": g, "dg": dg, "u": u, "du": du, "m": m, "x": x[:, t], "h": h, "c": c})
        return np.stack(states[1:], 2), {"steps": steps, "weight_ih": weight_ih, "weight_hh": weight_hh}

    def lstm_backward(dy: Array, c: Cache) -> tuple[Any, ...]:
        dh, dc = np.zeros_like(dy[:, :, 0])
        dxs, dweights = [], []
        for t, step in reversed([*enumerate(c["steps"])]):
            dh, dc = dh + dy[0, :, t], dc + dy[1, :, t]
            (i, f, o), m = step["gates"], step["m"]
            inside = m * (dc + dh * o * step["du"])
            dz = np.concatenate([
                inside * step["g"] * i * (1 - i), inside * step["c"] * f * (1 - f),
                inside * i * step["dg"], m * dh * step["u"] * o * (1 - o),
            ], 1)  # fmt: skip
            dh, dc = dz @ c["weight_hh"] + ~m * dh, inside * f + ~m * dc
            dxs.append(dz @ c["weight_ih"])
            dweights.append((dz.T @ step["x"], dz.T @ step["h"], dz.sum(0), dz.sum(0)))
        sums = [reduce(np.add, parts) for parts in zip(*dweights, strict=True)]
        return np.stack(dxs[::-1], 1), np.stack([dh, dc]), dict(zip(WEIGHTS, sums, strict=True))

    return Replacement(lstm, lstm_backward)


def _tanh(x: Array) -> tuple[Array, Array]:
    y = np.tanh(x)
    return y, 1 - y * y


def _sigmoid(x: Array) -> tuple[Array, Array]:
    y = ops.sigmoid(x)[0]
    return y, y * (1 - y)


def _same(x: Array) -> tuple[Array, Array]:
    return x, np.ones_like(x)


def backwards(again: bool) -> Replacement:
    """Read from the last token to the first; again: the outputs turned round again."""

    def lstm(x: Array, state: Array, *, mask: Array | None = None, **weights: Array) -> tuple[Array, Cache]:
        y, c = ops.lstm(x[:, ::-1], state, **weights, mask=None if mask is None else mask[:, ::-1])
        return y[:, :, ::-1] if again else y, c

    def lstm_backward(dy: Array, c: Cache) -> tuple[Any, ...]:
        dx, *others = ops.lstm_backward(dy[:, :, ::-1] if again else dy, c)
        return dx[:, ::-1], *others

    return Replacement(lstm, lstm_backward)


def padding_of_zeros() -> Replacement:
    """Outputs and cells of padding 0, as a packed sequence gives them."""

    def lstm(x: Array, state: Array, *, mask: Array | None = None, **weights: Array) -> tuple[Array, Cache]:
        y, c = ops.lstm(x, state, **weights, mask=mask)
        there = np.ones(x.shape[:2]) if mask is None else mask
        return np.where(there[..., None] == 0, 0, y), {**c, "zeroed": there[..., None] == 0}

    return Replacement(lstm, lambda dy, c: ops.lstm_backward(np.where(c["zeroed"], 0, dy), c))


def restarted() -> Replacement:
    """Padding puts the state back to 0: h and c are multiplied by the mask."""

    def lstm(x: Array, state: Array, *, mask: Array | None = None, **weights: Array) -> tuple[Array, Cache]:
        there = np.ones(x.shape[:2], x.dtype) if mask is None else mask.astype(x.dtype)
        ys, steps = [], []
        for t in range(x.shape[1]):
            y, c = ops.lstm(x[:, t : t + 1], state, **weights)
            state = y[:, :, 0] * there[:, t, None]
            ys.append(state)
            steps.append(c)
        return np.stack(ys, 2), {"steps": steps, "there": there}

    return Replacement(lstm, lambda dy, c: _through(dy, c["steps"], c["there"], 1))


def _through(dy: Array, steps: list[Cache], there: Array, kept: float) -> tuple[Any, ...]:
    """The gradients of tokens read one by one, `kept` of what comes from the token behind."""
    dstate, dxs, gs = np.zeros_like(dy[:, :, 0]), [], []
    for t, c in reversed([*enumerate(steps)]):
        total = (dy[:, :, t] + kept * dstate) * there[:, t, None]
        dx, *before, g = ops.lstm_backward(total[:, :, None], c)
        dstate = before[0] if before else np.zeros_like(total)  # the text begins here
        dxs.append(dx)
        gs.append(g)
    return np.concatenate(dxs[::-1], 1), dstate, reduce(lambda a, b: tree.map(np.add, a, b), gs)


def detached() -> Replacement:
    """The right states; no gradient from a token to the one before it."""

    def lstm_backward(dy: Array, c: Cache) -> tuple[Any, ...]:
        there = np.ones(c["x"].shape[:2], bool) if c["there"] is None else c["there"][..., 0]
        before = np.concatenate([c["start"][:, :, None], c["y"][:, :, :-1]], 2)
        zero = np.zeros(len(c["weight_hh"]), c["x"].dtype)
        steps = []
        for t in range(c["x"].shape[1]):
            own = ops.lstm(c["x"][:, t : t + 1], before[:, :, t], c["weight_ih"], c["weight_hh"], zero, zero)[1]
            steps.append({**own, "gates": c["gates"][:, t : t + 1], "y": c["y"][:, :, t : t + 1]})
        return _through(dy, steps, there, 0)

    return Replacement(ops.lstm, lstm_backward, faithful=False)


def of_lstm(what: str, replacement: Replacement, **fields: Any) -> Callable:
    """The LSTM replaced."""
    return swap(what, "lstm", replacement, **fields)


def of_projected(what: str, replacement: Replacement, **fields: Any) -> Callable:
    """The LSTM with projected outputs replaced."""
    return swap(what, "projected_lstm", replacement, **fields)


def of_gru(what: str, replacement: Replacement, **fields: Any) -> Callable:
    """The GRU replaced."""
    return swap(what, "gru", replacement, **fields)


def unprojected() -> Replacement:
    """The projection the identity, as far as it goes: its matrix gets no gradient."""
    eye = edited(ops.projected_lstm, lambda given: {"weight_hr": np.eye(*given["weight_hr"].shape, dtype=float)})

    def unprojected_backward(dy: Array, c: Cache) -> tuple[Any, ...]:
        *others, g = eye.backward(dy, c)
        return *others, {**g, "weight_hr": zeros(g["weight_hr"])}

    return Replacement(eye.forward, unprojected_backward)


def _clips_ignored() -> Replacement:
    """The right value, its gradient as if nothing had been clipped."""
    return Replacement(
        ops.projected_lstm, lambda dy, c: ops.projected_lstm_backward(dy, {**c, "clips": (None, None)}), faithful=False
    )


def _negated(a: Array) -> Array:
    """The rows of the update gate negated: σ(-z) = 1 - σ(z)."""
    r, z, n = np.split(a, 3)
    return np.concatenate([r, -z, n])


def resetting(before: bool) -> Replacement:
    """tanh(a_n + U_n (r∘h) + b_n) with the reset before the product; else tanh(a_n + r∘(U_n h) + b_n), its bias outside
    the reset.
    """

    def gru(x: Array, state: Array | None, weight_ih: Array, weight_hh: Array, bias_ih: Array | None = None,
            bias_hh: Array | None = None, *, mask: Array | None = None) -> tuple[Array, Cache]:  # fmt: skip
        there = np.ones(x.shape[:2], bool) if mask is None else mask.astype(bool)
        n = weight_hh.shape[1]
        zero = np.zeros(len(weight_hh), x.dtype)
        stored = bias_ih is not None, bias_hh is not None
        bias = (bias_ih if stored[0] else zero) + (bias_hh if stored[1] else zero)
        states, steps = [np.zeros((len(x), n), x.dtype) if state is None else state], []
        for t in range(x.shape[1]):
            h, m, a = states[-1], there[:, t, None], x[:, t] @ weight_ih.T + bias
            r, z = (ops.sigmoid(a[:, k * n : (k + 1) * n] + h @ weight_hh[k * n : (k + 1) * n].T)[0] for k in (0, 1))
            read = r * h if before else h
            product = read @ weight_hh[2 * n :].T
            new = np.tanh(a[:, 2 * n :] + (product if before else r * product))
            states.append(np.where(m, (1 - z) * new + z * h, h))
            steps.append((x[:, t], h, m, r, z, read, product, new))
        c = {"steps": steps, "weight_ih": weight_ih, "weight_hh": weight_hh, "stored": stored}
        return np.stack(states[1:], 1), {**c, "given": state is not None}

    def gru_backward(dy: Array, c: Cache) -> tuple[Any, ...]:
        u, dh, dxs = c["weight_hh"], np.zeros_like(dy[:, 0]), []
        n, gs = u.shape[1], [np.zeros_like(c["weight_ih"]), np.zeros_like(u), np.zeros(len(u), dy.dtype)]
        for t, (x, h, m, r, z, read, product, new) in reversed([*enumerate(c["steps"])]):
            total = dh + dy[:, t]
            inside = m * total
            dnew = inside * (1 - z) * (1 - new * new)
            dproduct = dnew if before else dnew * r
            dread = dproduct @ u[2 * n :]
            dr = dread * h if before else dnew * product
            dz = inside * (h - new)
            da = np.concatenate([dr * r * (1 - r), dz * z * (1 - z), dnew], 1)
            dh = ~m * total + inside * z + da[:, : 2 * n] @ u[: 2 * n] + (dread * r if before else dread)
            gs[0] += da.T @ x
            gs[1] += np.concatenate([da[:, : 2 * n].T @ h, dproduct.T @ read])
            gs[2] += da.sum(0)
            dxs.append(da @ c["weight_ih"])
        g = {"weight_ih": gs[0], "weight_hh": gs[1]}
        g |= {name: gs[2] for name, there in zip(WEIGHTS[2:], c["stored"], strict=True) if there}
        dx = np.stack(dxs[::-1], 1)
        return (dx, dh, g) if c["given"] else (dx, g)

    return Replacement(gru, gru_backward)


# ---- Entries ---------------------------------------------------------------------------------------------------------
def _doubled(g: tuple[Any, ...], dy: Array, c: Cache) -> tuple[Any, ...]:
    *others, named = g
    return *others, {name: zeros(slope) if name == "bias_hh" else slope for name, slope in named.items()}


entry(
    "R01", "gates in another order", "i f g o: rows of other releases are permuted when they are read",
    "src allennlp modules/elmo_lstm.py (i j f o of TensorFlow); src keras LSTMCell (i f c o)", "output", "OP-LSTM-1",
    mutants=[
        *(of_lstm(f"rows read as {' '.join(o)}", ordered(o)) for o in ("igfo", "ifog", "fiog", "ofig", "gifo")),
        of_projected("rows read as i g f o", ordered("igfo", ops.projected_lstm)),
    ],
)  # fmt: skip
entry(
    "R02", "the forget bias of another release added at run time", "in the stored bias, once",
    "src TensorFlow BasicLSTMCell (forget_bias=1.0)", "output", "OP-LSTM-1",
    mutants=[
        of_lstm("1 added at the forget gate",
                edited(ops.lstm, lambda given: {"bias_ih": forgetting(given["bias_ih"], 1.0)})),
    ],
)  # fmt: skip
entry(
    "R03", "one of the two biases lost, or one of them twice", "b_ih + b_hh",
    "src torch nn/modules/rnn.py (bias_ih and bias_hh); src allennlp (state_linearity.bias alone)",
    "output", "OP-LSTM-2",
    mutants=[
        *(of_lstm(f"{name} is not added", silent(name)) for name in ("bias_ih", "bias_hh")),
        of_lstm("bias_hh gets no gradient", graded(ops.lstm, _doubled), section="gradients"),
    ],
)  # fmt: skip
entry(
    "R04", "no tanh of the cell at the output", "h = σ(o) tanh(c)",
    "own knowledge", "output", "OP-LSTM-1", mutants=[of_lstm("h = σ(o) c", squashed(_tanh, _same))],
)  # fmt: skip
entry(
    "R05", "the candidate without its tanh", "c = σ(f) c + σ(i) tanh(g)",
    "own knowledge", "output", "OP-LSTM-1",
    mutants=[
        of_lstm("σ for tanh at the candidate", squashed(_sigmoid, _tanh)),
        of_lstm("no tanh at the candidate", squashed(_same, _tanh)),
    ],
)  # fmt: skip
entry(
    "R06", "the state before the text lost", "h and c of the text before, or of the encoder",
    "own knowledge: states reset between slices", "output", "OP-LSTM-3",
    mutants=[of_lstm("begun from 0", silent("state")),
             of_projected("begun from 0", silent("state", ops.projected_lstm)),
             of_gru("begun from 0", silent("state", ops.gru))],
)  # fmt: skip
entry(
    "R07", "h and c of the state in each other's place", "(h, c)",
    "src TensorFlow LSTMStateTuple is (c, h)", "output", "OP-LSTM-3",
    mutants=[of_lstm("the state read as (c, h)", turned(ops.lstm, state=(np.flip, np.flip)))],
)  # fmt: skip
entry(
    "R08", "padding read as if it were text", "a token that is not there passes the state on",
    "src 649453932/Bert-Chinese-Text-Classification-Pytorch bert_RNN.py (out[:, -1] behind padding)",
    "output", "OP-LSTM-4",
    mutants=[of_lstm("no mask", edited(ops.lstm, lambda _: {"mask": None})),
             of_projected("no mask", edited(ops.projected_lstm, lambda _: {"mask": None})),
             of_gru("no mask", edited(ops.gru, lambda _: {"mask": None}))],
)  # fmt: skip
entry(
    "R09", "outputs of padding are 0", "the last state, or 0 where that is declared",
    "src torch nn/utils/rnn.py pad_packed_sequence", "output", "OP-LSTM-4", variant=True,
    mutants=[of_lstm("outputs of padding are 0", padding_of_zeros())],
)  # fmt: skip
entry(
    "R10", "padding puts the state back to 0", "it passes the state on",
    "own knowledge: h and c multiplied by the mask", "output", "OP-LSTM-4",
    mutants=[of_lstm("the state is multiplied by the mask", restarted())],
)  # fmt: skip
entry(
    "R11", "no gradient from a token to the one before it", "through time, to the first token",
    "own knowledge: states detached in the loop", "gradient", "OP-LSTM-5",
    mutants=[of_lstm("the state is detached before each token", detached(), section="gradients")],
)  # fmt: skip
entry(
    "R12", "read from the wrong end", "from the first token to the last; from the right outputs are turned round again",
    "src allennlp modules/elmo_lstm.py (forward_layer, backward_layer)", "output", "OP-LSTM-6",
    mutants=[of_lstm("read from the right", backwards(True)),
             of_lstm("read from the right, outputs in the order of reading", backwards(False))],
)  # fmt: skip
entry(
    "R13", "outputs that are not projected", "h = W_hr (σ(o) tanh(c))",
    "src torch nn/modules/rnn.py (proj_size)", "output", "OP-LSTMP-1",
    mutants=[of_projected("the first cells as they are", unprojected())],
)  # fmt: skip
entry(
    "R14", "cells or outputs not clipped", "cells to ±cell_clip, outputs to ±clip, and both are the state",
    "src allennlp modules/lstm_cell_with_projection.py (memory_cell_clip_value, state_projection_clip_value)",
    "output", "OP-LSTMP-2",
    mutants=[
        *(of_projected(f"no {name}", edited(ops.projected_lstm, lambda _, name=name: {name: None}))
          for name in ("cell_clip", "clip")),
        of_projected("one clip for both", edited(ops.projected_lstm, lambda given: {"cell_clip": given["clip"]})),
    ],
)  # fmt: skip
entry(
    "R15", "a gradient where a clip stopped the state", "it passes where a clip changes nothing",
    "own knowledge: straight through", "gradient", "OP-LSTMP-2",
    mutants=[of_projected("straight through both clips", _clips_ignored(), section="gradients")],
)  # fmt: skip
entry(
    "R16", "a GRU's gates in another order", "r z n: rows of other releases are permuted when they are read",
    "src keras GRUCell (z r h)", "output", "OP-GRU-1",
    mutants=[of_gru(f"rows read as {' '.join(order)}", ordered(order, ops.gru, "rzn")) for order in ("zrn", "nrz")],
)  # fmt: skip
entry(
    "R17", "the update gate the other way round", "h = (1 - z) n + z h: the gate keeps",
    "arXiv 1406.1078 eq. 7 (keeps) and arXiv 1412.3555 eq. 2 (renews)", "output", "OP-GRU-1",
    mutants=[of_gru("h = z n + (1 - z) h", turned(ops.gru, **dict.fromkeys(WEIGHTS, (_negated, _negated))))],
)  # fmt: skip
entry(
    "R18", "the reset before the recurrent product", "it multiplies what the matrix gives",
    "src TensorFlow GRUCell; torch nn/modules/rnn.py says so in a note", "output", "OP-GRU-2", variant=True,
    mutants=[of_gru("tanh(a + U (r h))", resetting(before=True))],
)  # fmt: skip
entry(
    "R19", "the candidate's recurrent bias outside the reset", "r (U h + b)",
    "src keras GRU (reset_after=False has one bias)", "output", "OP-GRU-2",
    mutants=[of_gru("tanh(a + b + r (U h))", resetting(before=False))],
)  # fmt: skip
