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
def ordered(order: str) -> Replacement:
    """The rows of weights and biases read as if they stood in another order of the gates i, f, g, o."""
    there = [order.index(gate) for gate in "ifgo"]
    back = np.argsort(there)

    def rows(blocks: Any) -> Callable[[Array], Array]:
        return lambda a: np.concatenate([np.split(a, 4)[n] for n in blocks])

    return turned(ops.lstm, **dict.fromkeys(WEIGHTS, (rows(there), rows(back))))


def forgetting(a: Array, more: float) -> Array:
    """A bias with more at the forget gate."""
    n = len(a) // 4
    return a + np.repeat(np.array([0, more, 0, 0], a.dtype), n)


def silent(name: str) -> Replacement:
    """The argument read as 0, which gets no gradient."""
    return turned(ops.lstm, **{name: (np.zeros_like, np.zeros_like)})


def squashed(candidate: Callable, output: Callable) -> Replacement:
    """c = σ(f) c + σ(i) candidate(g), h = σ(o) output(c); candidate and output give (value, slope)."""

    def lstm(x: Array, state: Array | None, weight_ih: Array, weight_hh: Array, bias_ih: Array, bias_hh: Array, *,
             mask: Array | None = None) -> tuple[Array, Cache]:  # fmt: skip
        there = np.ones(x.shape[:2], bool) if mask is None else mask.astype(bool)
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
        dx, dstate, g = ops.lstm_backward(total[:, :, None], c)
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


# ---- Entries ---------------------------------------------------------------------------------------------------------
def _doubled(g: tuple[Any, ...], dy: Array, c: Cache) -> tuple[Any, ...]:
    *others, named = g
    return *others, {**named, "bias_hh": zeros(named["bias_hh"])}


entry(
    "R01", "gates in another order", "i f g o: rows of other releases are permuted when they are read",
    "src allennlp modules/elmo_lstm.py (i j f o of TensorFlow); src keras LSTMCell (i f c o)", "output", "OP-LSTM-1",
    mutants=[
        of_lstm(f"rows read as {' '.join(order)}", ordered(order)) for order in ("igfo", "ifog", "fiog", "ofig", "gifo")
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
    mutants=[of_lstm("begun from 0", silent("state"))],
)  # fmt: skip
entry(
    "R07", "h and c of the state in each other's place", "(h, c)",
    "src TensorFlow LSTMStateTuple is (c, h)", "output", "OP-LSTM-3",
    mutants=[of_lstm("the state read as (c, h)", turned(ops.lstm, state=(np.flip, np.flip)))],
)  # fmt: skip
entry(
    "R08", "padding read as if it were text", "a token that is not there passes the state on",
    "src 649453932/Bert-Chinese-Text-Classification-Pytorch bert_RNN.py (out[:, -1] behind padding)",
    "output", "OP-LSTM-4", mutants=[of_lstm("no mask", edited(ops.lstm, lambda _: {"mask": None}))],
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
