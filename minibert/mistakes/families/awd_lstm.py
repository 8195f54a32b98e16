"""Mistakes of AWD-LSTM: what is dropped, how often it is drawn, and the two terms beside the next token."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import config, entry, only, swap
from minibert.mistakes.families.lstm import dropped
from minibert.mistakes.swap import Replacement, Site, edited, graded, relinear, zeros

Array = np.ndarray
FAMILY = ("awd_lstm",)


def _mask(subject: Subject, name: str, rate: float) -> Array | None:
    """What a dropout multiplies by, in the one batch of a case; None where nothing is dropped."""
    keep = (subject.batches[0].get("dropout") or {}).get(name) if len(subject.batches) == 1 else None
    return None if keep is None else ops.dropout_multiplier(keep, rate, np.dtype(np.float64))


def _of_dropped(subject: Subject, site: Site) -> Replacement | None:
    """TAR of y instead of h: as one mask serves all tokens, the changes times that mask."""
    by = _mask(subject, "1.output_dp", subject.config.output_p)
    if by is None:
        return None

    def squared(x: Array, **given: Any) -> tuple[Array, Any]:
        return ops.mean_squared_error(x * by, **given)

    return Replacement(squared, lambda dy, c: ops.mean_squared_error_backward(dy, c) * by)


def _by_dropped_table(subject: Subject, site: Site) -> Replacement | None:
    by = _mask(subject, "0.encoder_dp", subject.config.embed_p)
    turn = (lambda a: a * by, lambda g: g * by)
    return relinear(weight=turn) if by is not None and subject.config.tie_weights else None


def first_of(paths: str) -> Callable:
    """The first row's mask for all rows."""
    keep = lambda keep: keep if keep is None or keep.ndim < 3 else np.repeat(keep[:1], len(keep), 0)  # noqa: E731
    return dropped("the first row's mask for all", paths, keep)


entry(
    "awd_lstm-01", "the changes of what was dropped", "TAR reads the last layer before its dropout, AR behind it",
    "src salesforce/awd-lstm-lm main.py (dropped_rnn_hs, rnn_hs)", "loss", "AWD-LOSS-1", families=FAMILY,
    when="where the output is dropped",
    mutants=[only("awd_lstm", swap("TAR of what was dropped", "mean_squared_error", _of_dropped, r"temporal\.loss"))],
)  # fmt: skip
entry(
    "awd_lstm-02", "sums over the width in the two terms", "means over all entries", "own knowledge", "loss",
    "AWD-LOSS-1", families=FAMILY,
    mutants=[
        only("awd_lstm", swap(
            f"{what}: a squared norm", "mean_squared_error",
            edited(ops.mean_squared_error, lambda given: {"denominator": given["denominator"] / given["x"].shape[-1]}),
            rf"{term}\.loss"))
        for what, term in (("AR", "activation"), ("TAR", "temporal"))
    ],
)  # fmt: skip
entry(
    "awd_lstm-03", "α and β left out, or in each other's place", "α of AR, β of TAR", "own knowledge", "loss",
    "AWD-LOSS-1", families=FAMILY,
    mutants=[
        only("awd_lstm", config("β of AR, α of TAR", alpha=lambda f: f.beta, beta=lambda f: f.alpha)),
        only("awd_lstm", config("no AR", alpha=0.0)), only("awd_lstm", config("no TAR", beta=0.0)),
    ],
)  # fmt: skip
entry(
    "awd_lstm-04", "no gradient to the matrix of which a part was dropped", "mask/(1 - p) times that of what remains",
    "src salesforce/awd-lstm-lm weight_drop.py (a new Parameter each time)", "gradient", "AWD-DROP-3", families=FAMILY,
    mutants=[
        only("awd_lstm", swap("weight_hh stays as it is", "dropout", graded(ops.dropout, lambda g, *_: zeros(g)),
                              r"encode\.layers\.\d+\.weight", section="gradients")),
    ],
)  # fmt: skip
entry(
    "awd_lstm-05", "one of its dropouts left out", "of words, of the input, of matrices, of outputs", "own knowledge",
    "output", "AWD-DROP-1", families=FAMILY, when="where something is dropped",
    mutants=[
        only("awd_lstm", dropped(f"none of {what}", paths, lambda _: None))
        for what, paths in (("words", r"encode\.table"), ("the input", r"encode\.input"),
                            ("matrices", r"encode\.layers\.\d+\.weight"), ("the output", r"encode\.output"))
    ],
)  # fmt: skip
entry(
    "awd_lstm-06", "one mask for all rows", "each row has its own, the same at all of its tokens",
    "src fastai text/models/awdlstm.py (RNNDropout: x.size(0), 1, x.size(2))", "output", "AWD-DROP-2", families=FAMILY,
    when="where something is dropped", mutants=[only("awd_lstm", first_of(r"encode\..*"))],
)  # fmt: skip
entry(
    "awd_lstm-07", "logits by the table without dropped words", "by the table as it is", "own knowledge", "output",
    "AWD-LOSS-2", families=FAMILY, when="with tied tables, where words are dropped",
    mutants=[only("awd_lstm", swap("by E'", "linear", _by_dropped_table, r"next_token\.head"))],
)  # fmt: skip
entry(
    "awd_lstm-08", "a dropout's rate taken for another's", "each place has its own", "own knowledge", "output",
    "AWD-CFG-1", families=FAMILY, when="where something is dropped",
    mutants=[
        only("awd_lstm", config("the output by hidden_p", output_p=lambda f: f.hidden_dropout_prob)),
        only("awd_lstm", config("the input by embed_p", input_p=lambda f: f.embed_p)),
        only("awd_lstm", config("layers by weight_p", hidden_dropout_prob=lambda f: f.weight_p)),
    ],
)  # fmt: skip
