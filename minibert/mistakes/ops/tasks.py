"""Mistakes in heads of tasks."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import families, layers, ops, pooling, recurrent, summaries
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import batch, entry, swap, whole
from minibert.mistakes.swap import Replacement, Site, edited, graded, relinear, turned, zeros

SECTION = {"K": "Heads of tasks"}

Array = np.ndarray
Cache = dict[str, Any]


# ---- Pairs -----------------------------------------------------------------------------------------------------------
def where(said: str, replacement: Replacement) -> Callable[[Subject, Site], Replacement | None]:
    """The replacement of a summary that has an activation ("act"), or reads a token ("at")."""

    def made(subject: Subject, site: Site) -> Replacement | None:
        own = families.family(subject.family).summary(subject.config)
        return None if getattr(own, said) is None else replacement

    return made


def at(place: int) -> Replacement:
    """The state of the token at this place of every row."""
    return edited(summaries.summary, lambda given: {"at": np.full(len(given["h"]), place % given["h"].shape[1])})


def without_activation() -> Replacement:
    """Drop(r) Wᵀ + b."""

    def summary(h: Array, p: Any, *, at: Array, act: str, keep: Array | None, rate: float) -> tuple[Array, Cache]:
        r, c = summaries.summary(h, None, at=at)
        r, c["dropout"] = ops.dropout(r, keep=keep, rate=rate)
        s, c["dense"] = ops.linear(r, **p)
        return s, c

    def summary_backward(ds: Array, c: Cache) -> tuple[Array, Any]:
        dr, g = ops.linear_backward(ds, c["dense"])
        dr = ops.dropout_backward(dr, c["dropout"])
        return ops.gather_backward(dr[:, None], c["gather"]), g

    return Replacement(summary, summary_backward)


def without_layer() -> Replacement:
    """The state itself."""

    def summary(h: Array, p: Any, *, at: Array, act: str, keep: Array | None, rate: float) -> tuple[Array, Cache]:
        r, c = summaries.summary(h, None, at=at)
        return r, {**c, "plain": p}

    def summary_backward(ds: Array, c: Cache) -> tuple[Array, Any]:
        return ops.gather_backward(ds[:, None], c["gather"]), zeros(c["plain"])

    return Replacement(summary, summary_backward)


def active(name: str) -> Replacement:
    """Another activation over the layer."""
    return edited(summaries.summary, lambda given: {"act": name})


def of_there(subject: Subject, site: Site) -> Replacement | None:
    """A softmax over the tokens that are there, of logits (B, 2, T)."""
    mask = subject.batches[0]["attention_mask"]
    return edited(ops.cross_entropy, lambda given: {"logits": np.where(mask[:, None] == 0, -1e4, given["logits"])})


def over_all() -> Replacement:
    """-log softmax(z)[label] with the softmax over the whole batch, (B, C)."""

    def cross_entropy(logits: Array, *, labels: Array, denominator: float | None = None) -> tuple[Array, Cache]:
        rows, texts = logits.shape
        at = labels + texts * np.arange(rows)
        value, c = ops.cross_entropy(np.repeat(logits.reshape(1, -1), rows, 0), labels=at, denominator=denominator)
        return value, {**c, "texts": texts}

    def cross_entropy_backward(dloss: Array, c: Cache) -> Array:
        return ops.cross_entropy_backward(dloss, c).sum(0).reshape(-1, c["texts"])

    return Replacement(cross_entropy, cross_entropy_backward)


def texts_first() -> Replacement:
    """The logits of (B, C) read in the order of (C, B)."""
    return turned(ops.cross_entropy, logits=(lambda z: z.T.reshape(z.shape), lambda g: g.reshape(g.shape[::-1]).T))


def last_slots() -> Replacement:
    """Both directions' outputs at the last slot of the row, padding or not."""

    def lstm_pooling(x: Array, ps: list, *, seen: Array | None = None) -> tuple[Array, Cache]:
        h, c = recurrent.lstm_stack(x, ps)
        return h[:, -1], {"lstm_stack": c, "shape": h.shape}

    def lstm_pooling_backward(dy: Array, c: Cache) -> tuple[Array, list]:
        dh = np.zeros(c["shape"], dy.dtype)
        dh[:, -1] = dy
        return recurrent.lstm_stack_backward(dh, c["lstm_stack"])

    return Replacement(lstm_pooling, lstm_pooling_backward)


def left_out() -> Replacement:
    """An activation that does nothing."""
    return Replacement(lambda x: (x, {}), lambda dy, c: dy)


def undivided() -> Replacement:
    """u·v."""

    def cosine(u: Array, v: Array) -> tuple[Array, Cache]:
        return (u * v).sum(-1), {"u": u, "v": v}

    return Replacement(cosine, lambda dy, c: (dy[..., None] * c["v"], dy[..., None] * c["u"]))


def constant_lengths() -> Replacement:
    """The gradient of u·v / (|u| |v|) with lengths that are constants."""

    def edit(g: Any, dy: Array, c: Cache) -> Any:
        a, b = c["norms"]
        return dy[..., None] * c["other"] / a, dy[..., None] * c["one"] / b

    return graded(pooling.cosine, edit)


def exchanged() -> Replacement:
    """A linear map of [a; b] applied to [b; a]."""

    def halves(weight: Array) -> Array:
        return np.roll(weight, weight.shape[1] // 2, 1)

    return relinear(weight=(halves, halves))


def behind() -> Replacement:
    """The token behind the one that is asked for."""
    return edited(ops.gather, lambda given: {"positions": (given["positions"] + 1) % given["x"].shape[1]})


def without_states() -> Replacement:
    """max over time of relu([x; LSTMs(x)]) in which x counts as 0."""

    def rcnn_pooling(x: Array, ps: list, *, seen: Array | None = None) -> tuple[Array, Cache]:
        c: Cache = {"width": x.shape[-1]}
        h, c["lstm_stack"] = recurrent.lstm_stack(x, ps, seen=seen)
        h, c["relu"] = ops.relu(np.concatenate([np.zeros_like(x), h], -1))
        y, c["max"] = ops.max_over_time(h, mask=seen)
        return y, c

    def rcnn_pooling_backward(dy: Array, c: Cache) -> tuple[Array, list]:
        dh = ops.relu_backward(ops.max_over_time_backward(dy, c["max"]), c["relu"])
        return recurrent.lstm_stack_backward(dh[..., c["width"] :], c["lstm_stack"])

    return Replacement(rcnn_pooling, rcnn_pooling_backward)


def reordered() -> Replacement:
    """[mean; max; last]."""

    def turn(y: Array) -> Array:
        return np.concatenate(np.split(y, 3, -1)[::-1], -1)

    def concat_pooling(x: Array, *, seen: Array | None = None) -> tuple[Array, Cache]:
        y, c = pooling.concat_pooling(x, seen=seen)
        return turn(y), c

    return Replacement(concat_pooling, lambda dy, c: pooling.concat_pooling_backward(turn(dy), c))


def statistics(of_batch: bool) -> Replacement:
    """A batch norm's of the batch, or those that it keeps, in training and behind it."""
    return edited(pooling.batch_norm, lambda given: {"batch": of_batch})


def without_statistics() -> Replacement:
    """dx as if the mean and the variance of a batch were numbers."""
    def edit(given: Any, dy: Array, c: Cache) -> Any:
        dx, g = given
        return (dy * c["weight"] * c["r"] if c["batch"] else dx), g

    return graded(pooling.batch_norm, edit)


def by_rows() -> Replacement:
    """The mean over rows of the mean over the tokens that are asked."""

    def edit(given: dict[str, Any]) -> dict[str, Any]:
        labels, asked = given["labels"], given["labels"] != given["ignore"]
        shares = asked / np.maximum(asked.sum(1, keepdims=True), 1)
        return {"labels": np.where(asked, labels, 0), "ignore": None, "weights": shares.astype(given["logits"].dtype),
                "denominator": len(labels)}  # fmt: skip

    return edited(ops.cross_entropy, edit)


def softmax_of_several() -> Replacement:
    """The mean over rows of -Σ_c y_c log softmax(z)_c."""

    def binary_cross_entropy(logits: Array, *, labels: Array, denominator: float | None = None) -> tuple[Array, Cache]:
        logp, c = ops.log_softmax(logits)
        rows = np.asarray(len(logits) if denominator is None else denominator / logits.shape[1], logits.dtype)
        return -(labels * logp).sum() / rows, {"log_softmax": c, "labels": labels, "rows": rows}

    def binary_cross_entropy_backward(dloss: Array, c: Cache) -> Array:
        return ops.log_softmax_backward(-dloss * c["labels"] / c["rows"], c["log_softmax"])

    return Replacement(binary_cross_entropy, binary_cross_entropy_backward)


def recommending(maker: Callable) -> Callable:
    """No mutant but of histories of items."""
    return lambda subject, at: maker(subject, at) if "+recommend" in subject.family else []


def until_there() -> Replacement:
    """Attention (B, H, T, T) to the keys up to the query's own."""

    def edit(given: dict[str, Any]) -> dict[str, Any]:
        length, mask = given["q"].shape[2], given["mask"]
        before = np.tri(length, dtype=bool)[None, None]
        return {"mask": before if mask is None else before & mask.astype(bool)}

    return edited(ops.attention, edit)


def attended(b: dict[str, Any], seen: int) -> dict[str, Any]:
    """The batch's mask with what is asked for attended to, or not."""
    mask = np.array(b["attention_mask"])
    np.put_along_axis(mask, b["masked_lm_positions"], seen, axis=1)
    return {"attention_mask": mask}


def of_items(given: dict[str, Any]) -> dict[str, Any]:
    """Logits (N, V) of items alone: neither padding, the first, nor the four marks, the last."""
    z = np.array(given["logits"])
    z[:, [0, -4, -3, -2, -1]] = -1e4
    return {"logits": z}


def sent(what: str, paths: str) -> Callable:
    """These attentions to the network's states send it nothing."""
    nothing = graded(layers.cross_attention, lambda g, dy, c: (g[0], np.zeros_like(g[1]), g[2]))
    return whole(swap(what, "cross_attention", nothing, paths, section="gradients"))


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "K01", "another activation over a classification head's layer, or none", "tanh (RoBERTa, BART), erf GELU (ELECTRA)",
    "candle#2968", "output", "TASK-SUM-1",
    mutants=[
        swap("no activation", "summary", where("act", without_activation())),
        *(swap(f"{name} in the place of it", "summary", where("act", active(name))) for name in ("gelu", "relu")),
    ],
)  # fmt: skip
entry(
    "K02", "the head reads another token", "the first; GPT-2 the last that is no padding",
    "HF#35909, #24265; HF#46782", "output", "TASK-SUM-1",
    mutants=[
        swap("the last place of the row, padding or not", "summary", where("at", at(-1))),
        swap("the second token", "summary", where("at", at(1))),
    ],
)  # fmt: skip
entry(
    "K03", "the layer over the first token is missing", "dense, activation, projection",
    "HF#8776, #1328", "output", "TASK-SUM-1",
    mutants=[swap("the token's state itself", "summary", where("act", without_layer()))],
)  # fmt: skip
entry(
    "K04", "the start of an answer and its end in each other's place", "row 0 is the start, row 1 the end",
    "own knowledge: the two columns of qa_outputs split the other way round", "output", "TASK-ANS-1",
    mutants=[swap("the rows of the span head exchanged", "linear",
                  relinear(weight=(np.flipud, np.flipud), bias=(np.flip, np.flip)), r"answer\.head")],
)  # fmt: skip
entry(
    "K05", "the losses of an answer's start and end summed", "½(start + end)",
    "own knowledge: total_loss without the division by 2 of the release's run_squad.py", "loss", "TASK-ANS-1",
    mutants=[swap("the sum of both", "cross_entropy",
                  edited(ops.cross_entropy, lambda given: {"denominator": given["labels"].size / 2}),
                  r"answer\.loss")],
)  # fmt: skip
entry(
    "K06", "the softmax over an answer's places leaves padding out", "over every token of the row, as published",
    "own knowledge", "loss", "TASK-ANS-1", variant=True,
    mutants=[swap("over the tokens that are there", "cross_entropy", of_there, r"answer\.loss")],
)  # fmt: skip
entry(
    "K07", "the softmax of multiple choice over all texts of the batch", "over the texts of a row",
    "own knowledge: logits left flat", "loss", "TASK-CHO-1",
    mutants=[swap("over the batch", "cross_entropy", over_all(), r"choose\.loss")],
)  # fmt: skip
entry(
    "K08", "logits of multiple choice in another order", "(B, C): the texts of a row stand side by side",
    "own knowledge: choices stacked first", "loss", "TASK-CHO-1",
    mutants=[swap("read as (C, B)", "cross_entropy", texts_first(), r"choose\.loss")],
)  # fmt: skip
entry(
    "K09", "the last slot of a padded row taken for the last output of LSTMs", "from the right the first token's",
    "src 649453932/Bert-Chinese-Text-Classification-Pytorch bert_RNN.py (out[:, -1])", "output", "TASK-POOL-3",
    mutants=[swap("both directions at the last slot", "lstm_pooling", last_slots())],
)  # fmt: skip
entry(
    "K10", "RCNN without its ReLU, or without the states beside the LSTMs", "max over tokens of relu([h; LSTMs(h)])",
    "own knowledge", "output", "TASK-POOL-4",
    mutants=[
        swap("no ReLU", "relu", left_out(), r"encode\.summary\.pooling\.relu"),
        swap("no states", "rcnn_pooling", without_states()),
    ],
)  # fmt: skip
entry(
    "K11", "the two parts of a relation in each other's place", "[head; tail]: a relation has a direction",
    "own knowledge", "output", "TASK-REL-1",
    mutants=[swap("[tail; head]", "linear", exchanged(), r"relate\.head")],
)  # fmt: skip
entry(
    "K12", "the state behind the mark of a part", "that of the mark itself",
    "own knowledge: first token of the entity in the place of its marker", "output", "TASK-REL-1", variant=True,
    mutants=[
        swap("one place on", "gather", behind(), r"relate\.\w+_token\.gather"),
    ],
)  # fmt: skip
entry(
    "K13", "a product taken for the cosine", "u·v / (|u| |v|)",
    "own knowledge", "output", "OP-COS-1", mutants=[swap("u·v", "cosine", undivided())],
)  # fmt: skip
entry(
    "K14", "the lengths of a cosine without a gradient", "du = dy (v/|v| - y u/|u|) / |u|",
    "own knowledge: vectors normalised where no gradient is kept", "gradient", "OP-COS-1",
    mutants=[swap("lengths that are constants", "cosine", constant_lengths(), section="gradients")],
)  # fmt: skip
entry(
    "K15", "labels of likeness the other way round", "1 = alike",
    "own knowledge: 1 stands for a distance in some collections", "loss", "TASK-SIM-1",
    mutants=[lambda subject, at: batch("0 for alike", lambda b, config: {"labels": 1 - b["labels"]})(subject, at)
             if "+similar" in subject.family else []],
)  # fmt: skip
entry(
    "K16", "the tensor layer without its tanh", "w·tanh(uᵀ W v + V [u; v] + b)",
    "own knowledge: a plain bilinear score", "output", "OP-NTN-1",
    mutants=[swap("no tanh", "tanh", left_out(), r"similar\.layer\.tanh")],
)  # fmt: skip
entry(
    "K17", "half the squares of a regression", "the mean of (z - y)²",
    "own knowledge: ½(z - y)² of textbooks", "loss", "TASK-CLS-3",
    mutants=[swap("½(z - y)²", "mean_squared_error",
                  edited(ops.mean_squared_error, lambda given: {"denominator": 2 * given["target"].size}))],
)  # fmt: skip
entry(
    "K18", "tags asked of the token behind theirs", "the logits of a token with its own tag",
    "own knowledge: labels shifted as for the next token", "loss", "TASK-TAG-1",
    mutants=[swap("labels one place on", "cross_entropy",
                  edited(ops.cross_entropy, lambda given: {"labels": np.roll(given["labels"], 1, -1)}),
                  r"tag\w*\.loss")],
)  # fmt: skip
entry(
    "K19", "tags of rows weighed alike", "the mean over the tokens that are asked, of all rows together",
    "own knowledge: the mean of each row's mean", "loss", "TASK-TAG-1",
    mutants=[swap("the mean of each row's mean", "cross_entropy", by_rows(), r"tag\w*\.loss")],
)  # fmt: skip
entry(
    "K20", "several labels of a row by one softmax", "a sigmoid of each class by itself",
    "own knowledge: the loss of one label, with several of them 1", "loss", "TASK-CLS-2",
    mutants=[swap("-Σ y log softmax(z)", "binary_cross_entropy", softmax_of_several(), r"classify\.loss")],
)  # fmt: skip
entry(
    "K21", "the losses of a row's several labels summed", "the mean over rows and classes",
    "own knowledge: a sum over the last axis, then the mean", "loss", "TASK-CLS-2",
    mutants=[swap("the sum over classes", "binary_cross_entropy",
                  edited(ops.binary_cross_entropy, lambda given: {"denominator": len(given["logits"])}),
                  r"classify\.loss")],
)  # fmt: skip
entry(
    "K22", "masked items leave the attention mask, or stay in it", "they stay; of the variant \"hidden\" they leave",
    "own knowledge: two recipes go by one name", "output", "TASK-REC-2",
    mutants=[
        recommending(batch("attended to", lambda b, config: attended(b, 1))),
        recommending(batch("not attended to", lambda b, config: attended(b, 0))),
    ],
)  # fmt: skip
entry(
    "K23", "a history is read from left to right", "an item sees all of its history, what comes behind it, too",
    "own knowledge: the recommender that BERT4Rec is compared with reads so (SASRec)", "output", "TASK-REC-4",
    mutants=[recommending(swap("no later item is seen", "attention", until_there()))],
)  # fmt: skip
entry(
    "K24", "the softmax over items alone", "over the whole table: padding and marks, too",
    "own knowledge; src FeiSun/BERT4Rec run.py (the whole table)", "loss", "TASK-REC-4", variant=True,
    mutants=[recommending(swap("over items", "cross_entropy", edited(ops.cross_entropy, of_items),
                               r"masked_lm\.loss"))],
)  # fmt: skip
entry(
    "K25", "ULMFiT's pools in another order", "[last; max; mean]",
    "src fastai `PoolingLinearClassifier`; arXiv 1801.06146 section 3.3", "output", "OP-CONCAT-1",
    mutants=[swap("[mean; max; last]", "concat_pooling", reordered())],
)  # fmt: skip
entry(
    "K26", "one kind of statistics in a batch norm", "of the batch in training, behind it what was kept",
    "own knowledge: model.eval() forgotten, or called too early", "output", "OP-BN-3",
    mutants=[
        swap("what it keeps, always", "batch_norm", statistics(False)),
        swap("the batch's, always", "batch_norm", statistics(True)),
    ],
)  # fmt: skip
entry(
    "K27", "mean and variance of a batch norm without a gradient", "dx = r (dh - mean dh - h mean(dh h))",
    "own knowledge: statistics detached", "gradient", "OP-BN-2",
    mutants=[swap("dx = dy weight r", "batch_norm", without_statistics())],
)  # fmt: skip
entry(
    "K28", "a caption's words are read where they are asked for", "the word before, behind the end word",
    "own knowledge: labels handed to the decoder as they are", "output", "TASK-CAP-1",
    mutants=[swap("unshifted", "embedding", edited(ops.embedding, lambda given: {"ids": np.roll(given["ids"], -1, 1)}),
                  r"caption\.embeddings\.tables\.word")],
)  # fmt: skip
entry(
    "K29", "a caption's decoder sees words to come", "a word and those before it",
    "own knowledge: no causal mask", "output", "TASK-CAP-1",
    mutants=[swap("no mask", "attention", edited(ops.attention, lambda given: {"mask": None}),
                  r"caption\.decoder\.\d+\.attention\.attention")],
)  # fmt: skip
entry(
    "K30", "the words of captions have the gradient of one use", "of being read and of being written",
    "own knowledge: tied tables where one use is detached", "gradient", "TASK-CAP-2",
    mutants=[
        swap("of being written alone", "embedding", graded(ops.embedding, lambda g, dy, c: zeros(g)),
             r"caption\.embeddings\.tables\.word", section="gradients"),
        swap("of being read alone", "linear", graded(ops.linear, lambda g, dy, c: (g[0], zeros(g[1]))),
             r"caption\.target\.head", section="gradients"),
    ],
)  # fmt: skip
entry(
    "K31", "the network learns nothing from its captions", "what the attention of all layers to it sends back",
    "own knowledge: a frozen or detached encoder", "gradient", "TASK-CAP-1",
    mutants=[sent("it is detached", r"caption\.decoder\.\d+\.cross_attention")],
)  # fmt: skip
