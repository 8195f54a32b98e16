"""Mistakes of XLM: languages, positions that restart, padding that is 0, who sees whom, sinusoids, its rows."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops
from minibert.corruption import rules
from minibert.corruption.masking import Vocabulary
from minibert.corruption.rules import Corruption
from minibert.mistakes.catalogue import batch, config, entry, only, swap
from minibert.mistakes.ops.embeddings import summed
from minibert.mistakes.swap import Replacement, edited, graded

Array = np.ndarray


def own(*makers: Callable) -> list[Callable]:
    """The makers for XLM and its kin."""
    return [only("xlm", maker) for maker in makers]


def kept(*, forward: bool = True) -> Replacement:
    """What padding gives stays."""
    if not forward:
        return graded(ops.dropout, lambda _, dy, c: dy)
    return edited(ops.dropout, lambda given: {"keep": None})


def flipped(what: str, name: str, value: bool, **given: Any) -> Callable:
    """A switch taken for the other value, where it has this one."""
    maker = config(what, **{name: not value}, **given)
    return lambda subject, at: maker(subject, at) if getattr(subject.config, name, None) is value else []


def spoken(what: str, rule: Callable[[Array, int], Array]) -> Callable:
    """Other languages: rule(those of each token, how many there are)."""
    return batch(what, lambda b, c: {"langs": rule(b["langs"], c.n_langs)})


def _first_too(made: Corruption, ids: Array, vocabulary: Vocabulary) -> Corruption:
    """The first token of every row is asked for as well."""
    chosen, corrupted = made.chosen.copy(), made.ids.copy()
    chosen[:, 0], corrupted[:, 0] = True, vocabulary.mask
    groups = np.where(chosen, np.cumsum(chosen, axis=-1) - 1, -1).astype(np.int32)
    return Corruption(corrupted, chosen, groups)


PADDING = r"encode\.(encoder\.\d+\.)?padding"

entry(
    "xlm-01", "no language is added, or another", "E_language of each token's own language, where `langs` are given",
    "own knowledge; src XLM transformer.py", "output", "XLM-EMB-1", families=("xlm",),
    mutants=own(
        swap("no language is added", "embeddings", summed({"language": 0})),
        spoken("the row's first language for all of it", lambda langs, n: np.repeat(langs[:, :1], langs.shape[1], 1)),
        spoken("the first language for all", lambda langs, n: 0 * langs),
        spoken("the next language", lambda langs, n: (langs + 1) % n),
    ),
)  # fmt: skip
entry(
    "xlm-02", "positions go on in the second sentence", "they restart with it: `position_ids`",
    "own knowledge; src XLM utils.py, concat_batches", "output", "XLM-ROW-2", families=("xlm",),
    mutants=own(
        batch("positions go on", lambda b, _: {
            "position_ids": np.broadcast_to(np.arange(b["position_ids"].shape[1]), b["position_ids"].shape).copy()}),
        batch("positions of padding go on", lambda b, _: {
            "position_ids": np.where(b["input_mask"], b["position_ids"], np.arange(b["position_ids"].shape[1]))}),
    ),
)  # fmt: skip
entry(
    "xlm-03", "states of padding are not 0", "times the mask behind the embeddings and behind every layer",
    "src XLM transformer.py:386", "output", "XLM-EMB-3", families=("xlm",),
    mutants=own(
        swap("padding keeps its states", "dropout", kept(), PADDING),
        swap("padding keeps those of the layers", "dropout", kept(), r"encode\.encoder\.\d+\.padding"),
        swap("padding keeps those of the embeddings", "dropout", kept(), r"encode\.padding"),
        swap("the gradient goes through padding", "dropout", kept(forward=False), PADDING, section="gradients"),
    ),
)  # fmt: skip
entry(
    "xlm-04", "`causal` of the configuration is not read", "up to each token itself where it is set, else all",
    "own knowledge", "output", "XLM-ATT-1", families=("xlm",),
    mutants=own(
        flipped("every token sees all", "causal", True),
        flipped("every token sees those before it", "causal", False),
    ),
)  # fmt: skip
entry(
    "xlm-05", "`gelu_activation` is not read", "GELU by erf where it is set, else ReLU",
    "own knowledge; src XLM transformer.py", "output", "XLM-ACT-1", families=("xlm",),
    mutants=own(
        flipped("ReLU for GELU", "gelu_activation", True),
        flipped("GELU for ReLU", "gelu_activation", False),
    ),
)  # fmt: skip
entry(
    "xlm-06", "sinusoids learn, or do not", "the release's stay, ports' learn: declare",
    "src XLM transformer.py (create_sinusoidal_embeddings); HF modeling_xlm.py", "gradient", "XLM-EMB-4",
    families=("xlm",), variant=True, when="where positions are sinusoids",
    mutants=own(
        flipped("they stay", "sinusoids_learn", True, section="gradients"),
        flipped("they learn", "sinusoids_learn", False, section="gradients"),
    ),
)  # fmt: skip
entry(
    "xlm-07", "the first token of a row is masked too", "position 0 is never chosen; </s> within a row may be",
    "src XLM trainer.py, mask_out", "data", "XLM-ROW-3", families=("xlm",),
    rule={"xlm": lambda *given: _first_too(rules.xlm(*given), given[0], given[3])},
)  # fmt: skip
