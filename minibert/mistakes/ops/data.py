"""Mistakes in data, masking and mode.

Masking is a law, not a tensor: a rule(ids, present, rng, vocabulary) -> (corrupted, chosen) is wrong when what it does
over many rows is (`broken`).
"""

import re
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import Any

import numpy as np

from minibert import families, ops
from minibert.config import rate
from minibert.corruption import masking
from minibert.corruption.masking import Vocabulary
from minibert.corruption.replacement import replacement
from minibert.corruption.selection import selection
from minibert.corruption.units import units
from minibert.golden import precision
from minibert.golden.subject import Subject
from minibert.mistakes import solving
from minibert.mistakes.catalogue import Mutant, batch, config, entry, everywhere, field, rounded, swap, whole
from minibert.mistakes.ops.attention import (
    UNCERTAIN_SCORES,
    by_hand,
    least,
    of_attention,
    of_scores,
    rounded_products,
    together,
)
from minibert.mistakes.ops.losses import (
    all_asked,
    batched,
    followed,
    having,
    moved,
    of_tokens,
    over,
    predicting,
    read,
    slots,
    there,
)
from minibert.mistakes.ops.slopes import DROPPED, factored, lending, placed
from minibert.mistakes.swap import Replacement, Site, edited, graded, swapped
from minibert.pairs import PAIRS

SECTION = {"D": "Data, masking, mode"}

Array = np.ndarray
Cache = dict[str, Any]
SIGMAS = 5.0
RATE = rate(0.0).metadata["allowed"]


# ---- The law ---------------------------------------------------------------------------------------------------------
def measured(ids: Array, present: Array, corrupted: Array, chosen: Array, vocabulary: Vocabulary) -> dict[str, float]:
    """What a masked batch shows, by the names of a masking case's statistics and of what must always hold."""
    candidates = (present == 1) & (ids != vocabulary.cls) & (ids != vocabulary.sep)
    mask, kept = corrupted[chosen] == vocabulary.mask, corrupted[chosen] == ids[chosen]
    return {
        "is [MASK] afterwards": float(mask.mean()),
        "is unchanged": float(kept.mean()),
        "is another token": float((~mask & ~kept).mean()),
        "rows whose number of chosen tokens is the budget": bool(
            (chosen.sum(1) == masking.budget(present.sum(1))).all()
        ),
        "chosen tokens that are [CLS], [SEP] or padding": int((chosen & ~candidates).sum()),
        "tokens changed that were not chosen": int(((corrupted != ids) & ~chosen).sum()),
        "tokens outside the vocabulary": int(((corrupted < 0) | (corrupted >= vocabulary.size)).sum()),
        "special tokens among the random ones": int(
            np.isin(corrupted[chosen & (corrupted != ids)], (vocabulary.cls, vocabulary.sep, vocabulary.pad)).sum()
        ),
    }


def broken(rule: Callable, text: dict[str, Any], rows: int = 4000, length: int = 32, seed: int = 0) -> list[str]:
    """What of a masking case's law a rule breaks, over rows drawn here; beyond `SIGMAS` deviations counts."""
    rng = np.random.default_rng(seed)
    vocabulary = Vocabulary(**text["vocabulary"])
    ids = rng.integers(5, vocabulary.size, (rows, length))
    tokens = rng.integers(length // 2, length + 1, rows)
    ids[:, 0] = vocabulary.cls
    ids[np.arange(rows), tokens // 2] = ids[np.arange(rows), tokens - 1] = vocabulary.sep
    present = (np.arange(length) < tokens[:, None]).astype(np.int64)
    ids = np.where(present, ids, vocabulary.pad)
    corrupted, chosen = rule(ids, present, rng, vocabulary)
    found = measured(ids, present, corrupted, chosen, vocabulary)
    wrong = []
    for row in text["statistics"]:
        name, expected = row["of the chosen tokens"], row["expected"]
        if name in found and expected is not None:
            deviation = np.sqrt(expected * (1 - expected) / max(1, chosen.sum()))
            wrong += [name] if abs(found[name] - expected) > SIGMAS * deviation else []
    always = {**text["always"], "tokens outside the vocabulary": 0}
    wrong += [name for name, value in always.items() if name in found and found[name] != value]
    if not found["special tokens among the random ones"]:
        wrong.append("special tokens among the random ones")
    return wrong


def rule(
    mask: float = 0.8,
    keep: float = 0.1,
    budget: Callable[[Array], Array] = masking.budget,
    specials: bool = False,
    exclude: bool = False,
    inserted: Callable[[Array, Vocabulary], Array] | None = None,
) -> Callable:
    """BERT's rule with other shares, another budget, special tokens and padding chosen too, specials never inserted."""

    def corrupted(ids: Array, present: Array, rng: np.random.Generator, vocabulary: Vocabulary) -> tuple[Array, Array]:
        present = np.asarray(present, bool)
        plain = (ids != vocabulary.cls) & (ids != vocabulary.sep)
        candidates = np.ones_like(present) if specials else present & plain
        n = budget(present.sum(-1))
        chosen = selection(units(candidates, candidates), n, rng) >= 0
        out = ids.copy()
        never = (vocabulary.pad, vocabulary.cls, vocabulary.sep, vocabulary.mask) if exclude else ()
        new = replacement(ids[chosen], rng, vocabulary, mask, keep, never)
        out[chosen] = new if inserted is None else inserted(new, vocabulary)
        return out, chosen

    return corrupted


def _overwritten(ids: Array, present: Array, rng: np.random.Generator, vocabulary: Vocabulary) -> tuple[Array, Array]:
    """A random step at 10 %, then a mask step at 80 % over the same tokens."""
    _, chosen = rule()(ids, present, rng, vocabulary)
    out = ids.copy()
    n = int(chosen.sum())
    new = np.where(rng.random(n) < 0.1, rng.integers(0, vocabulary.size, n), ids[chosen])
    out[chosen] = np.where(rng.random(n) < 0.8, vocabulary.mask, new)
    return out, chosen


def _nested(ids: Array, present: Array, rng: np.random.Generator, vocabulary: Vocabulary) -> tuple[Array, Array]:
    """One draw: below 0.15 chosen, then compared with 0.8 and 0.9, so always [MASK]."""
    plain = np.asarray(present, bool) & (ids != vocabulary.cls) & (ids != vocabulary.sep)
    draw = rng.random(ids.shape)
    chosen = plain & (draw < 0.15)
    return np.where(chosen & (draw < 0.8), vocabulary.mask, ids), chosen


# ---- Tensors ---------------------------------------------------------------------------------------------------------
def _has_dropout(subject: Subject) -> bool:
    return any(b.get("dropout") for b in subject.batches)


def with_dropout(maker: Callable) -> Callable:
    """No mutant where nothing is dropped."""
    return lambda subject, at: maker(subject, at) if _has_dropout(subject) else []


def undropped(what: str, name: str, mask: str, paths: str = ".*") -> Callable:
    """These dropouts left out: of the op `name`, whose keep-mask is its argument `mask`."""
    maker = swap(what, name, edited(getattr(ops, name), lambda given: {mask: None}), paths)
    return with_dropout(lambda subject, at: maker(subject, at)[:1])


def read_at(place: Callable[[Array, int], Array]) -> Callable[[Subject, Any], Replacement]:
    """The loss with every target's logits taken from another place: place(flat positions b·T + t, T) -> such ones."""

    def made(subject: Subject, site: Any) -> Replacement:
        length = subject.batches[0]["input_ids"].shape[1]

        def cross_entropy(logits: Array, *, labels: Array, weights: Array, **given: Any) -> tuple[Array, dict]:
            take = place(np.arange(len(logits)), length)
            loss, c = ops.cross_entropy(logits[take], labels=labels, weights=weights, **given)
            return loss, {**c, "own": (c, take, logits.shape)}

        def cross_entropy_backward(dy: Array, c: dict) -> Array:
            own, take, shape = c["own"]
            dlogits = np.zeros(shape, np.asarray(dy).dtype)
            np.add.at(dlogits, take, ops.cross_entropy_backward(dy, own))
            return dlogits

        return Replacement(cross_entropy, cross_entropy_backward)

    return made


def _within_row(by: int) -> Callable[[Array, int], Array]:
    """So many places later in the row, no further than its ends."""
    return lambda at, length: at - at % length + np.clip(at % length + by, 0, length - 1)


def _within_all(by: int) -> Callable[[Array, int], Array]:
    """So many places later in all rows behind one another, no further than their ends."""
    return lambda at, length: np.clip(at + by, 0, len(at) - 1)


def _end(norm: bool, last: bool) -> Replacement:
    """The end of a sub-layer, with norm or without, whose dropout falls on the sum; last: on what the norm gives."""

    def forward(x: Array, f: Array, p: Any, *, eps: float = 0.0, keep: Any, rate: float) -> tuple[Array, dict]:
        if "adapter" in p:
            raise ValueError("a sub-layer with an adapter")
        y, c = x + f, {}
        if not last:
            y, c["dropout"] = ops.dropout(y, keep=keep, rate=rate)
        if norm:
            y, c["norm"] = ops.layer_norm(y, **p["norm"], eps=eps)
        if last:
            y, c["dropout"] = ops.dropout(y, keep=keep, rate=rate)
        return y, c

    def backward(dy: Array, c: dict) -> tuple[Array, Array, Any]:
        g = {}
        if last:
            dy = ops.dropout_backward(dy, c["dropout"])
        if norm:
            dy, g["norm"] = ops.layer_norm_backward(dy, c["norm"])
        if not last:
            dy = ops.dropout_backward(dy, c["dropout"])
        return dy, dy, g

    return Replacement(forward, backward)


def _before_the_bias(subject: Subject, at: list[Site]) -> list[Mutant]:
    """Dropout on what a sub-layer's last linear layer gives without its bias: of both sub-layers, and of one."""
    ends = {"attention": r"(.*\.attention\.)output", "feed-forward": r"(.*\.feed_forward\.)out"}
    found = {name: [(site, other) for site in at if site.name == "linear" and (start := re.fullmatch(end, site.path))
                    for other in at if other.name == "dropout" and other.path.startswith(start[1] + "add")]
             for name, end in ends.items()}  # fmt: skip
    every = {"": [pair for held in found.values() for pair in held]}
    every |= {f"every layer's {name}": held for name, held in found.items()}
    held = threading.local()

    def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, dict]:
        held.bias = 0 if bias is None else bias
        return ops.linear(x, weight) if bias is None else ops.linear(x, weight, bias)

    def linear_backward(dy: Array, c: dict) -> tuple[Array, dict]:
        dx, g = ops.linear_backward(dy, c)
        return dx, {**g, "bias": held.dy.reshape(-1, dy.shape[-1]).sum(0)} if "bias" in g else g

    def dropout(x: Array, **given: Any) -> tuple[Array, dict]:
        y, c = ops.dropout(x - held.bias, **given)
        return y + held.bias, c

    def dropout_backward(dy: Array, c: dict) -> Array:
        held.dy = dy
        return ops.dropout_backward(dy, c)

    pairs = Replacement(linear, linear_backward), Replacement(dropout, dropout_backward)
    return [
        Mutant("before the bias is added", partial(swapped, at={
            site.key: pair for sites in chosen for site, pair in zip(sites, pairs, strict=True)}), where,
            sites=tuple(site.path for _, site in chosen))
        for where, chosen in every.items() if chosen
    ]  # fmt: skip


def turned_masks(what: str, chosen: Callable[[Array], bool] = lambda mask: True, where: str = "") -> Callable:
    """Keep-masks read as what is dropped."""

    def edit(b: dict, _: Any) -> dict[str, Any]:
        masks = b.get("dropout") or {}
        return {"dropout": {name: (m == 0).astype(m.dtype) if chosen(m) else m for name, m in masks.items()}}

    made = batch(what, edit)
    return with_dropout(lambda subject, at: [replace(mutant, where=where) for mutant in made(subject, at)])


def one_mask(what: str, chosen: Callable[[Array], bool], edit: Callable[[Array], Array]) -> Callable:
    """One keep-mask in the place of several: edit(mask) of those that are chosen."""

    def edited_(b: dict, _: Any) -> dict[str, Any]:
        masks = b.get("dropout") or {}
        return {"dropout": {name: edit(m) if chosen(m) else m for name, m in masks.items()}}

    return with_dropout(batch(what, edited_))


def _used_again(what: str, numbers: str, kinds: tuple[int, ...] = (3, 4)) -> Callable:
    """The first of the masks whose names differ in these numbers alone in the place of all."""

    def edit(b: dict, _: Any) -> dict[str, Any]:
        masks, first = b.get("dropout") or {}, {}
        order = sorted(masks, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
        for name in order:
            first.setdefault(re.sub(numbers, "#", name + "@0"), masks[name])
        lent = {name: first[re.sub(numbers, "#", name + "@0")] for name in order}
        return {"dropout": {name: lent[name] if mask.ndim in kinds and lent[name].shape == mask.shape else mask
                            for name, mask in masks.items()}}  # fmt: skip

    return with_dropout(batch(what, edit))


def _on_scores(behind: bool) -> Replacement:
    """Attention's dropout on the scores, before the mask is added or behind it, and none on the probabilities."""

    def attention(q: Array, k: Array, v: Array, *, bias: Any = None, dropout: Any = None, scale: Any = None) -> tuple:
        if dropout is None:
            raise ValueError("nothing is dropped")
        added = 0 if bias is None else least(bias)
        masked = lambda scores, _: (scores + added) * dropout if behind else scores * dropout + added  # noqa: E731
        made = by_hand(masked, slope=lambda bias, q: dropout)
        with np.errstate(over="ignore"):  # of what is masked
            return made.forward(q, k, v, bias=bias, scale=scale)

    return of_scores(attention, by_hand(lambda scores, bias: scores).backward)


def _summed_to_one() -> Replacement:
    """Attention whose probabilities are divided by their sum once more, behind dropout."""

    def attention(q: Array, k: Array, v: Array, *, dropout: Any = None, **given: Any) -> tuple[Array, Cache]:
        if dropout is None:
            raise ValueError("nothing is dropped")
        _, c = ops.attention(q, k, v, dropout=dropout, **given)
        total = np.maximum((c["probs"] * (dropout != 0)).sum(-1, keepdims=True), 1e-9)
        factor = (dropout != 0) / total
        return (c["probs"] * factor) @ v, {**c, "dropout": factor}

    def attention_backward(dy: Array, c: Cache) -> tuple[Array, Array, Array]:
        q, k, v, probs, factor = c["q"], c["k"], c["v"], c["probs"], c["dropout"]
        used, dused = probs * factor, dy @ v.swapaxes(-1, -2)
        dprobs = (dused - (dused * used).sum(-1, keepdims=True)) * factor
        dscores = probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True)) * c["scale"]
        return dscores @ k, dscores.swapaxes(-1, -2) @ q, used.swapaxes(-1, -2) @ dy

    def seen(part: str, c: Cache, dy: Array | None) -> tuple[Array, Array | None]:
        value, cotangent = PAIRS["attention"].parts.seen(part, c, dy)
        if part != "probs" or dy is None:
            return value, cotangent
        used, dused = c["probs"] * c["dropout"], dy @ c["v"].swapaxes(-1, -2)
        return value, (dused - (dused * used).sum(-1, keepdims=True)) * c["dropout"]

    return replace(of_scores(attention, attention_backward), seen=seen)


def _scaled_dropout(what: str, multiplier: Callable[[float], float]) -> Callable:
    """keep·x multiplied by something else than 1/(1 - rate)."""

    def dropout(x: Array, *, keep: Any, rate: float) -> tuple[Array, dict]:
        factor = multiplier(rate)
        if keep is None:
            return x, {"factor": None}
        return x * keep.astype(x.dtype) * x.dtype.type(factor), {"factor": keep.astype(x.dtype) * x.dtype.type(factor)}

    def dropout_backward(dy: Array, c: dict) -> Array:
        return dy if c["factor"] is None else dy * c["factor"]

    def edit(given: dict[str, Any]) -> dict[str, Any]:
        dropout = given.get("dropout")
        if dropout is None or not dropout.any():
            return {}
        return {"dropout": dropout / dropout.max() * dropout.dtype.type(multiplier(1 - 1 / float(dropout.max())))}

    hidden = swap(what, "dropout", Replacement(dropout, dropout_backward))
    probs = swap(what, "attention", edited(ops.attention, edit))

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        if not _has_dropout(subject):
            return []
        (one, *single), attending = hidden(subject, at), probs(subject, at)
        if not attending:  # a network without attention
            return [Mutant(what, one.change), *single]
        other = attending[0]
        return [
            Mutant(what, lambda s: other.change(one.change(s))),
            Mutant(what, one.change, "hidden dropout", inside=tuple(single)),
            Mutant(what, other.change, "attention dropout"),
        ]

    return maker


def _pads(b: dict, w: Array) -> Array:
    return np.where(followed(b, there(b), 1) == 0, 1, w)


def _or_input(b: dict, labels: Array, w: Array) -> Array:
    return np.where(w != 0, labels, followed(b, read(b)))


def _ends_counted(subject: Subject, site: Any) -> Replacement:
    end = subject.config.eos_token_id or 0
    return batched(over(_pads, lambda b, labels, w: np.where(w != 0, labels, end)))(subject, site)


def inverted(what: str, *names: str) -> Callable:
    """rate and 1 - rate change places in these dropouts, in all unless given."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        rates = [f.name for f in fields(subject.config) if f.metadata.get("allowed") == RATE]
        own = [families.field(families.family(subject.family), name) for name in names] or rates
        turned = {name: 1 - rate for name in own if (rate := getattr(subject.config, name))}
        return config(what, **turned)(subject, at)

    return with_dropout(maker)


def exchanged(*names: str) -> Callable:
    """Each of these dropouts at the rate of the next, the last at that of the first."""
    before = (*names[1:], names[0])
    given = {a: lambda c, b=b: getattr(c, b) for a, b in zip(names, before, strict=True)}
    what = ", ".join(f"{a} has the rate of {b}" for a, b in zip(names, before, strict=True))
    return with_dropout(config(what, **given))


def narrow_products(what: str, rounding: Callable[[Array], Array]) -> list[Callable]:
    """Products of rounded factors, of linear layers and attention or of some linear layers alone; what comes from
    behind in the backward pass is rounded, too, or not, as where rounding is imitated.
    """
    found = []
    for text, back in (("", rounding), (", the backward's not", lambda a: a)):
        pairs, scores = rounded_products(rounding, back)
        found.append(whole(together(f"products in {what}{text}", pairs)))
        for of, paths in (("linear layers", ".*"), ("feed-forwards", r".*\.feed_forward\..*"),
                          ("linear layers outside the attention", r"(?!.*attention).*")):  # fmt: skip
            found.append(whole(swap(f"products of {of} in {what}{text}", "linear", pairs["linear"], paths)))
        found.append(whole(swap(f"products of queries and keys in {what}{text}", "attention", scores)))
    return [*map(rounded, found)]


# ---- What a batch holds, moved --------------------------------------------------------------------------------------
INPUTS = ("input_ids", "segment_ids", "masked_lm_positions", "masked_lm_ids", "labels", "replaced_labels",
          "next_sentence_labels", "sentence_order_labels")  # fmt: skip
ROWS = (("of the row after", lambda a: np.roll(a, -1, 0)), ("of the row before", lambda a: np.roll(a, 1, 0)))


def _moved_by(by: int, fill: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Moved by a place, what comes in as fill(array) says, a column."""
    return lambda a: np.concatenate([a[:, 1:], fill(a)] if by < 0 else [fill(a), a[:, :-1]], 1)


PLACES = [
    (f"of the place {which}, at the end {what}", _moved_by(by, partial(fill, by=by)))
    for which, by in (("after", -1), ("before", 1))
    for what, fill in (
        ("the row's first or last", lambda a, by: a[:, :1] if by < 0 else a[:, -1:]),
        ("the same again", lambda a, by: a[:, -1:] if by < 0 else a[:, :1]),
        ("0", lambda a, by: np.zeros_like(a[:, :1])),
    )
]


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "D01", "random share 0.1 of the remainder -> 80/2/18 (false alarms when 0.5 of the remainder is misread)",
    "80/10/10",
    "HF#32329; misread: HF#10285, #10332, #17377", "data", "DATA-11", families=("bert", "roberta", "albert"),
    rule=rule(0.8, 0.18),
)  # fmt: skip
entry(
    "D02", "mask step overwrites the random step", "disjoint choices",
    "lucidrains/mlm-pytorch#6", "data", "DATA-11", families=("bert",),
    rule=_overwritten,
)  # fmt: skip
entry(
    "D03", "nested probability (`prob < 0.8` after `prob < 0.15`)", "divide by 0.15 or redraw",
    "codertimo/BERT-pytorch#29", "data", "DATA-11", families=("bert",),
    rule=_nested,
)  # fmt: skip
entry(
    "D04", "pads or specials selected", "excluded",
    "HF#11155", "data", "DATA-9",
    rule=rule(specials=True),
)  # fmt: skip
entry(
    "D05", "random replacement may be a special token", "GB draws from the whole vocabulary; declare",
    "CompEpigen/methylbert#28; gc-os-ai/pyaptamer#500", "data", "DATA-11", variant=True,
    rule=rule(exclude=True),
)  # fmt: skip
entry(
    "D08", "mask budget", "min(cap, max(1, round(len*0.15))), len includes specials",
    "src GB create_pretraining_data", "data", "DATA-10", families=("bert", "albert"),
    rule=rule(budget=lambda n: masking.budget(n - 3)),
)  # fmt: skip
entry(
    "D10", "pad_token None -> labels not ignored (or the reverse)", "ignore by mask",
    "HF#6213, #2001, #7135, #32832", "loss", "BERT-LOSS-1",
    mutants=[
        of_tokens(
            "padding counts, its label the padding id",
            lambda s, site: batched(
                over(_pads, lambda b, labels, w: np.where(w != 0, labels, field(s, "pad_token_id") or 0))
            )(s, site),
        ),
        of_tokens(
            "padding counts with label 0", batched(over(_pads, lambda b, labels, w: np.where(w != 0, labels, 0)))
        ),
        *(
            having("labels", of_tokens(f"{what}, its label the input's token", batched(over(counts, _or_input))))
            for what, counts in (("padding counts", _pads), ("what is not asked counts", all_asked))
        ),
        predicting("the input is predicted, padding too", partial(moved, by=1), "input_ids"),
        having("labels", of_tokens("padding counts, its label the end token", _ends_counted)),
    ],
)  # fmt: skip
entry(
    "D11", "dropout active while comparing", "inference mode",
    "HF#679, #695; GB#857; onnx#6101", "output", "OP-DROP-1",
    mutants=[with_dropout(batch("no dropout where the case has masks", lambda b, _: {"dropout": {}}))],
    reason="where the case has no masks, a candidate's own random masks can't be predicted: they are read off the "
    "first tensor behind a dropout",
)  # fmt: skip
entry(
    "D12", "keep probability passed as drop rate", "1 - p",
    "google-research/electra#61; google-research#369; aymericdamien/TensorFlow-Examples#205", "output", "OP-DROP-1",
    mutants=[
        inverted("rate and 1 - rate change places"),
        inverted("rate and 1 - rate change places in hidden dropout", "hidden_dropout_prob"),
        inverted("rate and 1 - rate change places in attention dropout", "attention_probs_dropout_prob"),
    ],
)  # fmt: skip
entry(
    "D13", "attention and hidden dropout confused", "two settings",
    "bojone/r-drop#7", "output", "BERT-DROP-1",
    mutants=[
        with_dropout(
            config(
                "the two rates change places",
                hidden_dropout_prob=lambda c: c.attention_probs_dropout_prob,
                attention_probs_dropout_prob=lambda c: c.hidden_dropout_prob,
            )
        ),
        with_dropout(
            config(
                "the attention's rate in both",
                hidden_dropout_prob=lambda c: c.attention_probs_dropout_prob,
            )
        ),
        with_dropout(
            config(
                "the hidden rate in both",
                attention_probs_dropout_prob=lambda c: c.hidden_dropout_prob,
            )
        ),
    ],
)  # fmt: skip
entry(
    "D14", "masked_lm_positions gathered without the batch offset", "flat index b*T + p",
    "src GB gather_indexes", "loss", "OP-GATH-1", families=("bert", "albert", "reformer"),
    mutants=[slots("every target read from row 0", read_at(lambda at, length: at % length))],
)  # fmt: skip
entry(
    "D25", "targets read one place off", "each target's logits are those at its own position",
    "own knowledge", "loss", "OP-GATH-1", families=("bert", "albert", "reformer"),
    mutants=[
        slots(f"every target read at the position {what}", read_at(within(by)))
        for what, within, by in (
            ("after its own, no further than its row", _within_row, 1),
            ("before its own, no further than its row", _within_row, -1),
            ("after its own, the next row's first behind the last", _within_all, 1),
            ("before its own, the row's before it last before the first", _within_all, -1),
        )
    ],
)  # fmt: skip
entry(
    "D15", "TF32 on by default, blamed on the port", "turn off before comparing",
    "Paddle#75041; PT#60234", "output", "NUM-1", when="on accelerators that have it",
    mutants=[*narrow_products("TF32: of 11 bits, summed in float32", precision.rounding("tf32"))],
)  # fmt: skip
entry(
    "D28", "products in bfloat16 by default, blamed on the port", "turn off before comparing",
    "own knowledge; src jax default_matmul_precision", "output", "NUM-1", when="on accelerators that have it",
    mutants=[*narrow_products("bfloat16, summed in float32", precision.rounding("bfloat16"))],
)  # fmt: skip
entry(
    "D16", "random replacement inserts an integer, not a token", "vocabulary item",
    "d2l-ai/d2l-en#1979", "data", "DATA-11", families=("bert",),
    rule=rule(inserted=lambda new, vocabulary: np.where(new == vocabulary.mask, new, new + vocabulary.size)),
)  # fmt: skip
entry(
    "D17", "validation with unrealistic random 0/1 masks", "right-padded masks + declared odd cases",
    "ORT#18945", "nowhere",
    reason="a mistake of the test, not of the model: with any mask of ones and zeros a right model stays right "
    "(BERT-ATT-4); the shipped cases pad at the end",
)  # fmt: skip
entry(
    "D23", "dropout missing in one kind of place", "after the embeddings, on probabilities, before both residuals",
    "own knowledge", "output", "BERT-DROP-1",
    mutants=[
        undropped("no dropout on the attention probabilities", "attention", "dropout"),
        undropped("no dropout after the embeddings", "dropout", "keep", r"encode\.embeddings\..*"),
        undropped("no dropout on feed-forward outputs", "dropout", "keep", r".*\.feed_forward\.add(_norm)?\..*"),
        undropped("no dropout on attention outputs", "dropout", "keep", r".*\.attention\.add(_norm)?\..*"),
        undropped("no dropout before the classes of pairs", "dropout", "keep", r"\w+_(sentence|order)\.dropout"),
    ],
)  # fmt: skip


def _places(name: str) -> list[tuple[str, Callable]]:
    """Moves by a place; those of positions that come twice nowhere."""
    if name == "labels" or "sent" in name:
        return []
    return PLACES[::3] if name == "masked_lm_positions" else PLACES


entry(
    "D34", "ids, segments or labels a place or a row off", "each token's own, and each text's",
    "own knowledge (shifted once too often; rows of another batch order)", "output", "DATA-1",
    when="labels of decoders moved by a place are gpt2-05 to gpt2-08",
    mutants=[
        *(batch(f"{name}: {what}", lambda b, _, name=name, edit=edit: {name: edit(b[name])})
          for name in INPUTS for what, edit in (*ROWS, *_places(name))),
        batch("masked_lm_ids: what stands at their positions in the masked input",
              lambda b, _: {"masked_lm_ids": np.take_along_axis(b["input_ids"], b["masked_lm_positions"], 1)}),
    ],
)  # fmt: skip
_first = lambda axis: lambda m: np.repeat(m.take([0], axis), m.shape[axis], axis)  # noqa: E731
entry(
    "D32", "dropout on the scores, or one mask for several", "on the probabilities, each with a mask entry of its own",
    "own knowledge", "output", "BERT-DROP-1",
    mutants=[
        *(with_dropout(everywhere(of_attention(f"on the scores, {what}", replacement=_on_scores(behind),
                                               silent=UNCERTAIN_SCORES)))
          for what, behind in (("before the mask is added", False), ("the mask added", True))),
        with_dropout(everywhere(of_attention("probabilities divided by their sum once more behind dropout",
                                             replacement=_summed_to_one()))),
        *(one_mask(f"the first {what}'s mask of the probabilities for all", lambda m: m.ndim == 4, _first(axis))
          for axis, what in enumerate(("text", "head", "query"))),
        *(one_mask(f"the first {what}'s mask of hidden dropout for all", lambda m: m.ndim == 3, _first(axis))
          for axis, what in enumerate(("text", "position"))),
        one_mask("queries and keys of the probabilities' mask change places", lambda m: m.ndim == 4,
                 lambda m: np.ascontiguousarray(m.swapaxes(-1, -2)) if m.shape[-1] == m.shape[-2] else m),
        _used_again("one set of masks in every pass of a shared layer", r"@\d.*"),
        *(_used_again(f"the first layer's masks{of} in all layers", r"\.\d+\.|@\d.*", kinds)
          for of, kinds in (("", (3, 4)), (" of the probabilities", (4,)), (" of hidden dropout", (3,)))),
    ],
)  # fmt: skip
entry(
    "D31", "dropout at another place of a sub-layer's end", "on f(x), before x is added",
    "own knowledge", "output", "BERT-DROP-1",
    mutants=[
        with_dropout(swap("on the sum", "add_norm", _end(norm=True, last=False))),
        with_dropout(swap("behind the norm", "add_norm", _end(norm=True, last=True))),
        with_dropout(swap("on the sum", "add", _end(norm=False, last=False))),
        with_dropout(_before_the_bias),
    ],
)  # fmt: skip
entry(
    "D26", "keep-masks read as what is dropped", "1 is kept, 0 dropped",
    "own knowledge", "output", "OP-DROP-1",
    mutants=[
        turned_masks("1 dropped, 0 kept"),
        turned_masks("1 dropped, 0 kept", lambda mask: mask.ndim != 4, "hidden dropout"),
        turned_masks("1 dropped, 0 kept", lambda mask: mask.ndim == 4, "attention dropout"),
    ],
)  # fmt: skip
def _masked(dy: Array, c: dict[str, Any], other: Callable) -> Array:
    """Dropout's backward with another mask."""
    return dy if c["keep"] is None else ops.dropout_backward(dy, {**c, "keep": other(c["keep"])})


def another_mask(subject: Subject, at: list[Site]) -> list[Mutant]:
    """The backward of a dropout with the mask of another, which is as large."""
    chosen = [site for site in at if site.name == "dropout"]
    found = []
    for lender in chosen:
        keeps, takes = lending("dropout", ("keep",))
        for site in chosen:
            if site is not lender:
                pairs = {lender.key: keeps, site.key: takes}
                change = partial(swapped, at=pairs)
                what = f"the mask of the {lender.words} in the backward"
                found.append(Mutant(what, change, site.words, "gradients", (site.path,)))
    return found


entry(
    "D29", "dropout's backward without its mask, or its factor", "dy · keep / (1 - rate), the forward's mask",
    "own knowledge", "gradient", "OP-DROP-1",
    mutants=[
        with_dropout(placed(f"no {what} in the backward of hidden dropout", "dropout", graded(ops.dropout, edit)))
        for what, edit in (
            ("mask", lambda g, dy, c: dy if c["keep"] is None else dy / dy.dtype.type(1 - c["rate"])),
            ("factor", lambda g, dy, c: dy if c["keep"] is None else dy * c["keep"].astype(dy.dtype)),
            ("mask and no factor", lambda g, dy, c: dy),
            ("single division by the share kept", lambda g, dy, c: g / dy.dtype.type(1 - c["rate"])),
            ("division, but a product,", lambda g, dy, c: g * dy.dtype.type(1 - c["rate"]) ** 2),
        )
    ] + [
        with_dropout(placed(f"{what} in the backward of hidden dropout", "dropout", graded(ops.dropout, edit)))
        for what, edit in (
            ("what was dropped, for what was kept,", lambda g, dy, c: _masked(dy, c, lambda keep: 1 - keep)),
            ("the mask of the texts in another order", lambda g, dy, c: _masked(dy, c, lambda keep: keep[::-1])),
        )
    ] + [with_dropout(everywhere(of_attention(what, section="gradients", replacement=factored(change))))
         for what, change in DROPPED]
    + [with_dropout(another_mask)],
)  # fmt: skip
entry(
    "D24", "dropout not rescaled, or otherwise", "kept values divided by 1 - rate",
    "own knowledge", "output", "OP-DROP-1",
    mutants=[
        _scaled_dropout("kept values not divided by 1 - rate", lambda rate: 1.0),
        solving.solvable(
            lambda value: _scaled_dropout(f"kept values times {solving.shown(value)}, not 1/(1 - rate)",
                                          lambda _: value),
            2.0, (0.5, 1.25, 1.5),
        ),
    ],
)  # fmt: skip
