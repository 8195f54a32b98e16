"""Mistakes of ChineseBERT: how letters are read, how parts are fused, what learns, what gives an answer away."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops
from minibert.families import chinesebert
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import batch, entry, only, swap
from minibert.mistakes.swap import Replacement, Site, edited, graded

Array = np.ndarray
FUSION = r"encode\.embeddings\.fusion"


def own(*makers: Callable) -> list[Callable]:
    """The makers for ChineseBERT and its kin."""
    return [only("chinesebert", maker) for maker in makers]


def _exchanged(x: Array, width: int) -> Array:
    word, first, second = (x[..., n * width : (n + 1) * width] for n in range(3))
    return np.concatenate([word, second, first], axis=-1)


def exchanged(subject: Subject, site: Site) -> Replacement | None:
    """[word; glyph; pinyin] where both are there."""
    if not (subject.config.use_pinyin and subject.config.use_glyphs):
        return None
    width = subject.config.hidden_size

    def backward(dy: Array, c: Any) -> tuple[Array, Any]:
        dx, g = ops.linear_backward(dy, c)
        return _exchanged(dx, width), g

    return Replacement(edited(ops.linear, lambda given: {"x": _exchanged(given["x"], width)}).forward, backward)


def unfilled(p: Any, *, letters: Array) -> tuple[Array, Any]:
    """The letters that fill up are not read: no window begins at one."""
    e, letter = ops.embedding(**p["letter"], ids=letters)
    windows, conv = ops.convolution(e.reshape(-1, *e.shape[2:]), **p["conv"])
    s, most = ops.max_over_time(windows, mask=letters.reshape(len(windows), -1)[:, :-1] > 0)
    rows = letters.shape[:2]
    return s.reshape(*rows, -1), {"rows": rows, "letter": letter, "conv": conv, "max": most}


def pooled(act: Callable, act_backward: Callable, pool: Callable, pool_backward: Callable) -> Replacement:
    """Another activation behind the convolution, or another way from its positions to one value."""

    def forward(p: Any, *, letters: Array) -> tuple[Array, Any]:
        e, letter = ops.embedding(**p["letter"], ids=letters)
        windows, conv = ops.convolution(e.reshape(-1, *e.shape[2:]), **p["conv"])
        bent, bend = act(windows)
        s, most = pool(bent)
        rows = letters.shape[:2]
        return s.reshape(*rows, -1), {"rows": rows, "letter": letter, "conv": conv, "act": bend, "pool": most}

    def backward(dy: Array, c: Any) -> Any:
        dwindows = act_backward(pool_backward(dy.reshape(-1, dy.shape[-1]), c["pool"]), c["act"])
        de, conv = ops.convolution_backward(dwindows, c["conv"])
        return {"letter": ops.embedding_backward(de.reshape(*c["rows"], *de.shape[1:]), c["letter"]), "conv": conv}

    return Replacement(forward, backward)


def _kept(x: Array) -> tuple[Array, None]:
    return x, None


def _spread(_: Any, dy: Array, c: Any) -> Array:
    length = c["shape"][1]
    return np.repeat(dy[:, None], length, axis=1) / length


def _unlearnt(right: Any, dy: Array, c: Any) -> Any:
    if "glyph" not in right:
        return right
    return {**right, "glyph": {**right["glyph"], "image": {"weight": 0 * right["glyph"]["image"]["weight"]}}}


entry(
    "chinesebert-01", "parts fused in the order of the paper's figures", "[word; pinyin; glyph], as the release has it",
    "src fusion_embedding.py; arXiv 2106.16038, figure 2", "output", "CHB-EMB-3", families=("chinesebert",),
    mutants=own(swap("[word; glyph; pinyin]", "linear", exchanged, FUSION)),
)  # fmt: skip
entry(
    "chinesebert-02", "letters that fill up left out of the maximum", "letters like any, with a row",
    "src pinyin_embedding.py; own knowledge", "output", "CHB-EMB-1", families=("chinesebert",),
    mutants=own(swap("windows of letters alone", "pinyin_encoder",
                     Replacement(unfilled, chinesebert.pinyin_encoder_backward.__wrapped__))),
)  # fmt: skip
entry(
    "chinesebert-03", "an activation behind the convolution, or a mean for the maximum", "its largest value",
    "src pinyin_embedding.py; own knowledge: text classifiers have ReLU there", "output", "CHB-EMB-1",
    families=("chinesebert",),
    mutants=own(
        swap("ReLU before the maximum", "pinyin_encoder",
             pooled(ops.relu, ops.relu_backward, ops.max_over_time, ops.max_over_time_backward)),
        swap("the mean of all positions", "pinyin_encoder",
             pooled(_kept, lambda dy, _: dy, ops.mean_over_time, ops.mean_over_time_backward)),
    ),
)  # fmt: skip
entry(
    "chinesebert-04", "the maximum's gradient spread over all positions", "it goes to the one that was taken",
    "own knowledge", "gradient", "CHB-EMB-1", families=("chinesebert",),
    mutants=own(swap("an equal share for each", "max_over_time", graded(ops.max_over_time, _spread),
                     r"encode\.embeddings\.pinyin\.max", section="gradients")),
)  # fmt: skip
entry(
    "chinesebert-05", "pixels that do not learn", "the table of glyphs is a parameter as any",
    "src glyph_embedding.py; own knowledge", "gradient", "CHB-EMB-2", families=("chinesebert",),
    mutants=own(swap("no gradient", "fused_embeddings", graded(chinesebert.fused_embeddings, _unlearnt),
                     section="gradients")),
)  # fmt: skip
entry(
    "chinesebert-06", "letters not handed on, or those of the token before", "each token's own",
    "own knowledge", "output", "CHB-EMB-1", families=("chinesebert",),
    mutants=own(
        batch("no letters", lambda b, _: {"pinyin_ids": 0 * b["pinyin_ids"]} if "pinyin_ids" in b else {}),
        batch("one place too far", lambda b, _: {"pinyin_ids": np.roll(b["pinyin_ids"], 1, 1)}
              if "pinyin_ids" in b else {}),
    ),
)  # fmt: skip
entry(
    "chinesebert-07", "a masked token that keeps its letters", "blank, or they say which character it was",
    "src bert_mask_dataset.py; own knowledge", "data", "CHB-DATA-2", families=("chinesebert",),
    reason="rows are masked by the family's own function, of which no case holds the law; its test does",
)  # fmt: skip
entry(
    "chinesebert-08", "fonts in the order of a folder's listing", "the order of the weights' training, on record",
    "src fusion_embedding.py", "data", "CHB-EMB-2", families=("chinesebert",),
    reason="pixels stand in a checkpoint's own table, which is read instead; a new table is a new model",
)  # fmt: skip
