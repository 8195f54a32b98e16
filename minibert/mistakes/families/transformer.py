"""Mistakes of the Transformer: the root of the width, sinusoids, smoothing, norms, three uses of one table."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.families import transformer
from minibert.golden.subject import Subject
from minibert.mistakes import catalogue
from minibert.mistakes.catalogue import Mutant, config, only, swap, weights
from minibert.mistakes.swap import Replacement, Site, edited, graded, zeros

Array = np.ndarray
OWN = ("transformer",)


def entry(*about: Any, mutants: list[Callable], **fields: Any) -> None:
    """An entry whose makers are for the Transformer and its kin."""
    catalogue.entry(*about, mutants=[only("transformer", maker) for maker in mutants], **fields)


def _entering(what: str, edit: Callable[[dict[str, Any], Any], dict[str, Any]]) -> Callable:
    """The sum that enters a stack on other arguments: edit(arguments, config)."""
    made = lambda subject, _: edited(layers.embeddings, lambda given: edit(given, subject.config))  # noqa: E731
    return swap(what, "embeddings", made)


def _sines(what: str, table: Callable[[int, Any], Array]) -> Callable:
    """Other sinusoids: table(rows, config), of which as many last rows are taken as there were."""

    def edit(given: dict[str, Any], config: Any) -> dict[str, Any]:
        held = given["p"]["position"]["weight"]
        return {"p": {**given["p"], "position": {"weight": table(len(held), config).astype(held.dtype)}}}

    return _entering(what, edit)


def _one_later(rows: int, config: Any) -> Array:
    return transformer.sinusoids(rows + 1, config)[1:]


def _own_rates(rows: int, config: Any) -> Array:
    """cos(t/10000^((2i+1)/D)), where the sine before it has 2i."""
    d = config.d_model
    angles = np.arange(rows)[:, None] * 10000.0 ** (-np.arange(d) / d)
    return np.where(np.arange(d) % 2 == 0, np.sin(angles), np.cos(angles))


def _cosines_first(rows: int, config: Any) -> Array:
    s = transformer.sinusoids(rows, config)
    d = config.d_model
    order = np.arange(d) ^ 1 if config.positions == "interleaved" else np.roll(np.arange(d), d // 2)
    return s[:, order]


Form = Callable[[float, int], float]


def _smoothed(what: str, other: Form, less: Form | None = None) -> Callable:
    """Another smoothing: other(ε, V); less: what is taken from the loss of each target."""

    def forward(logits: Array, *, smoothing: float, **given: Any) -> tuple[Array, Any]:
        classes = logits.shape[-1]
        loss, c = ops.smoothed_cross_entropy(logits, smoothing=other(smoothing, classes), **given)
        taken = less(smoothing, classes) * c["weights"].sum() if less else 0
        return np.asarray(loss - loss.dtype.type(taken)), c

    return swap(what, "smoothed_cross_entropy", Replacement(forward, ops.smoothed_cross_entropy_backward))


def _entropy(smoothing: float, classes: int) -> float:
    """Of a target with ε/(V - 1) on every other class."""
    rest = smoothing / (classes - 1)
    return -(1 - smoothing) * np.log(1 - smoothing) - smoothing * np.log(rest) if 0 < smoothing < 1 else 0.0


def _rooted(what: str, power: float) -> Callable:
    """The table times a power of √D, when loaded."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        factor = subject.config.d_model**power
        return weights(what, lambda _, a: a * a.dtype.type(factor), r"embeddings\.word\.weight")(subject, at)

    return maker


def _without_last(subject: Subject, at: list[Site]) -> list[Mutant]:
    """The norm behind the decoder left out, or both (X06 has the encoder's)."""
    names = [name for name in ("encoder_norm", "decoder_norm") if name in subject.params]

    def without(*gone: str) -> Callable[[Subject], Subject]:
        return lambda s: replace(s, params={name: part for name, part in s.params.items() if name not in gone})

    sites = {name: tuple(site.path for site in at if site.local.endswith(name)) for name in names}
    if not names:
        return []
    last = Mutant("no norm behind the decoder", without("decoder_norm"), sites=sites["decoder_norm"])
    return [last, Mutant("no norm behind either stack", without(*names))]


entry(
    "transformer-01", "look-ups not multiplied by √D, or more than they", "√D E[x] + S(t)",
    "annotated-transformer and T2T multiply, many ports do not", "output", "TR-EMB-1", families=OWN,
    mutants=[
        _entering("look-ups as they are", lambda given, _: {"scales": None}),
        _entering("look-ups times D", lambda given, c: {"scales": {"word": float(c.d_model)}}),
        _entering("look-ups divided by √D", lambda given, c: {"scales": {"word": c.d_model**-0.5}}),
        _entering("the sum with the positions times √D",
                  lambda given, c: {"scales": dict.fromkeys(("word", "position"), c.d_model**0.5)}),
    ],
)  # fmt: skip
entry(
    "transformer-02", "the root of the width in the table itself, so in the logits too",
    "z = h Eᵀ; the root at look-ups",
    "spec A1; src fairseq transformer_embeddings", "output", "TR-EMB-1", families=OWN,
    mutants=[_rooted("the table times √D when loaded", 0.5), _rooted("the table divided by √D when loaded", -0.5)],
)  # fmt: skip
entry(
    "transformer-03", "the sinusoids in another order", "sine and cosine of one rate side by side",
    "src tensor2tensor common_attention (all sines first)", "output", "TR-EMB-2", families=OWN,
    mutants=[
        config("all sines first, then all cosines", positions="concatenated"),
        config("sines and cosines side by side", positions="interleaved"),
        _sines("cosines before sines", _cosines_first),
    ],
)  # fmt: skip
entry(
    "transformer-04", "sinusoids at other angles", "t/10000^(2i/D), t from 0, one rate for a sine and its cosine",
    "stackoverflow 64462693; common_attention", "output", "TR-EMB-2", families=OWN,
    mutants=[
        _sines("positions from 1 on", _one_later),
        _sines("the cosine has a rate of its own, (2i + 1)/D", _own_rates),
        _sines("positions all 0", lambda rows, c: np.repeat(transformer.sinusoids(1, c), rows, 0)),
        _sines("no positions", lambda rows, c: np.zeros((rows, c.d_model))),
    ],
)  # fmt: skip
entry(
    "transformer-05", "labels smoothed in another form", "1 - ε + ε/V at the label, ε/V elsewhere",
    "src tensor2tensor (less the entropy), annotated-transformer", "loss", "TR-LOSS-1", families=OWN,
    mutants=[
        _smoothed("ε/(V - 1) on the other classes", lambda s, v: s * v / (v - 1)),
        _smoothed("ε/(V - 1), less the entropy of the target", lambda s, v: s * v / (v - 1), _entropy),
        _smoothed("not smoothed", lambda s, v: 0.0),
        _smoothed("ε for 1 - ε", lambda s, v: 1 - s),
    ],
)  # fmt: skip
entry(
    "transformer-06", "norms at the inputs of sub-layers, or behind them, where the other is due",
    "post-norm; with norm_first pre-norm", "annotated-transformer is pre-norm; T2T v1 against v2", "output", "TR-CFG-3",
    families=OWN,
    mutants=[
        lambda subject, at: config("pre-norm" if not subject.config.norm_first else "post-norm",
                                   norm_first=not subject.config.norm_first)(subject, at),
    ],
)  # fmt: skip
entry(
    "transformer-07", "the norm behind a stack left out", "where the tree has one", "PT#24930", "output", "TR-CFG-3",
    families=OWN, when="norm_first or final_norm",
    mutants=[_without_last],
)  # fmt: skip
entry(
    "transformer-08", "the shared table learns from fewer than its three uses", "the sum of three gradients",
    "spec A1 (backward)", "gradient", "TR-LM-1", families=OWN,
    mutants=[
        swap("look-ups of one stack give no gradient", "embeddings",
             graded(layers.embeddings, lambda g, dy, c: zeros(g))),
        swap("the gradient of look-ups lacks √D", "embeddings",
             graded(layers.embeddings,
                    lambda g, dy, c: {**g, "word": {"weight": g["word"]["weight"] / c["scales"].get("word", 1.0)}})),
    ],
)  # fmt: skip
