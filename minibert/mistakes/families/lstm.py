"""Mistakes of recurrent language models: states between segments and from token to token, what is dropped where."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops
from minibert.mistakes.catalogue import batch, entry, only, swap, weights
from minibert.mistakes.going import Going, begun
from minibert.mistakes.swap import edited

Array = np.ndarray
Tree = dict[str, Any]
FAMILY = ("lstm",)


def dropped(what: str, paths: str, keep: Callable[[Array | None], Array | None]) -> Callable:
    """A dropout's mask replaced where the path matches."""
    return only("lstm", swap(what, "dropout", edited(ops.dropout, lambda given: {"keep": keep(given["keep"])}), paths))


def stated(what: str, edit: Callable[[list[Array]], list[Array]]) -> Callable:
    """Other states before the first token."""
    return only("lstm", batch(what, lambda b, _: {"states": edit(b["states"])}))


def handed(edit: Callable[[list[Array], list[Array]], list[Array]]) -> Callable:
    """From token to token another state: edit(the one before, the one behind) of all layers."""

    def of(network: Any, length: int) -> Going:
        def step(p: Tree, config: Any, ids: Array, state: Tree) -> tuple[Array, Tree]:
            logits, after = network.step(p, config, ids, state)
            return logits, {**after, "states": edit(state["states"], after["states"])} if state else after

        return network.start, step

    return of


def _cleared(which: int) -> Callable[[list[Array]], list[Array]]:
    """h (0) or c (1) is 0; of a GRU, which has one, nothing else."""
    return lambda states: [np.where(np.arange(s.shape[1])[:, None] == min(which, s.shape[1] - 1), 0, s) for s in states]


_locked = dropped("the first token's at all", r"encode\..*",
                  lambda keep: keep if keep is None else np.repeat(keep[:, :1], keep.shape[1], 1))  # fmt: skip


entry(
    "lstm-01", "a segment that does not go on from the state of the one before", "each layer from its own last state",
    "own knowledge: init_hidden in each step", "output", "LSTM-STATE-1", families=FAMILY, when="where there is a state",
    mutants=[stated("begun from 0", lambda states: [np.zeros_like(s) for s in states])],
)  # fmt: skip
entry(
    "lstm-02", "the state of another layer, or of another row", "of this layer, of this row",
    "own knowledge: rows shuffled between segments; (layers, rows) read as (rows, layers)", "output", "LSTM-STATE-1",
    families=FAMILY, when="where there is a state",
    mutants=[
        stated("that of the layer at the other end", lambda states: states[::-1]),
        stated("that of the row before", lambda states: [np.roll(s, 1, 0) for s in states]),
    ],
)  # fmt: skip
entry(
    "lstm-03", "h without c given on, or c without h", "both", "own knowledge", "output", "LSTM-STATE-1",
    families=FAMILY, when="where there is a state",
    mutants=[stated(f"no {name}", _cleared(which)) for which, name in enumerate("hc")],
)  # fmt: skip
entry(
    "lstm-04", "another state from token to token", "that behind the last token, of each layer",
    "own knowledge: the state of the prompt kept, or of one layer alone", "output", "LSTM-STATE-2", families=FAMILY,
    going={
        "what the prompt left": handed(lambda before, after: before),
        "of the first layer alone": handed(lambda before, after: [after[0], *map(np.zeros_like, after[1:])]),
        "no h": handed(lambda before, after: _cleared(0)(after)),
        "no c": handed(lambda before, after: _cleared(1)(after)),
    },
)  # fmt: skip
entry(
    "lstm-05", "padding of a prompt read as words", "it passes the state on", "own knowledge", "output", "LSTM-MASK-1",
    families=FAMILY,
    going={"no mask": begun(lambda given: {k: v for k, v in given.items() if k != "attention_mask"})},
)  # fmt: skip
entry(
    "lstm-06", "a dropout left out", "behind the table, between layers and behind the last layer",
    "src torch nn/modules/rnn.py (dropout between layers alone)", "output", "LSTM-DROP-1", families=FAMILY,
    when="where something is dropped",
    mutants=[
        dropped("none behind the table", r"encode\.drop", lambda _: None),
        dropped("none between layers", r"encode\.layers\.\d+\.dropout", lambda _: None),
        dropped("none behind the last layer", r"encode\.drop@1", lambda _: None),
    ],
)  # fmt: skip
entry(
    "lstm-07", "one mask for all tokens", "one for each token: the same at all is AWD-LSTM's",
    "arXiv 1512.05287 (variational dropout)", "output", "LSTM-DROP-1", families=FAMILY, variant=True,
    when="where something is dropped",
    mutants=[
        lambda subject, at: _locked(subject, at) if hasattr(subject.config, "dropout") else [],
    ],
)  # fmt: skip
entry(
    "lstm-08", "logits without the decoder's bias", "z = y Eᵀ + b, tied or not",
    "own knowledge: GPT-2's have none", "output", "LSTM-LOSS-1", families=FAMILY,
    mutants=[only("lstm", weights("no bias", lambda path, a: 0 * a, r"lm\.decoder\.bias"))],
)  # fmt: skip
