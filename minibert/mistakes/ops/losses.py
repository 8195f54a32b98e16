"""Mistakes in the loss."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import numpy as np

from minibert import families, objective, ops
from minibert.golden.subject import Subject, Tensors
from minibert.heads.next_token import IGNORED
from minibert.mistakes import catalogue, solving
from minibert.mistakes.catalogue import Mutant, config, entry, field, lineage, swap, unlisted, whole
from minibert.mistakes.swap import Replacement, Site, edited, graded

SECTION = {"S": "Loss"}
TARGETS = {"masked_lm_positions", "labels"}

Array = np.ndarray
Cache = dict[str, Any]


# ---- Pairs -----------------------------------------------------------------------------------------------------------
def cleaned(given: dict[str, Any]) -> dict[str, Any]:
    """Cross-entropy's arguments with weights of 0 for the label that is ignored."""
    labels, weights, ignore = given["labels"], given.get("weights"), given.get("ignore")
    weights = np.ones(labels.shape, given["logits"].dtype) if weights is None else weights
    if ignore is not None:
        labels, weights = np.where(labels == ignore, 0, labels), weights * (labels != ignore)
    return {**given, "labels": labels, "weights": weights, "ignore": None}


def counted(edit: Callable[..., dict[str, Any]]) -> Replacement:
    """Cross-entropy with other labels, weights or denominator: edit(labels, weights, denominator) -> what changes."""

    def edit_(given: dict[str, Any]) -> dict[str, Any]:
        given = cleaned(given)
        return {**given, **edit(given["labels"], given["weights"], given.get("denominator"))}

    return edited(ops.cross_entropy, edit_)


def batched(edit: Callable[[dict, Array, Array, Any], dict[str, Any]]) -> Callable[[Subject, Site], Replacement]:
    """The same, where the edit needs the batch; the one whose flat labels and weights these are."""

    def made(subject: Subject, site: Site) -> Replacement:
        def with_batch(labels: Array, weights: Array, denominator: Any) -> dict[str, Any]:
            return edit(_whose(subject.batches, labels, weights), labels, weights, denominator)

        return counted(with_batch)

    return made


def _whose(batches: list[dict], labels: Array, weights: Array) -> dict:
    """The batch whose dense targets these are."""
    for b in batches:
        ids, dense = targets(b)
        if labels.size == ids.size and np.array_equal(dense, weights.reshape(-1)) and np.array_equal(ids, labels):
            return b
    return batches[0]


def targets(b: dict) -> tuple[Array, Array]:
    """(labels, weights) of every position, flat, of a batch that asks of some; a label of weight 0 is 0."""
    if "labels" in b:
        ids = followed(b, b["labels"], IGNORED)
        return np.where(ids == IGNORED, 0, ids), (ids != IGNORED).astype(float)
    flat, given = _slots(b), b["masked_lm_weights"].reshape(-1)
    dense = np.zeros(b["input_ids"].size)
    dense[flat[given != 0]] = given[given != 0]
    ids = np.zeros(b["input_ids"].size, np.int64)
    ids[flat[given != 0]] = b["masked_lm_ids"].reshape(-1)[given != 0]
    return ids, dense


def _slots(b: dict) -> Array:
    """The flat position of every target slot."""
    length = b["input_ids"].shape[1]
    return (b["masked_lm_positions"] + np.arange(len(b["input_ids"]))[:, None] * length).reshape(-1)


def followed(b: dict, values: Array, last: Any = 0) -> Array:
    """For each position, flat, the value (B, T) of the token that it predicts: its own, or the next one where the batch
    has labels, of which the last position has none.
    """
    if "labels" in b and "decoder_input_ids" not in b:  # a decoder with a source has read what stands before
        values = np.concatenate([values[..., 1:], np.full_like(values[..., :1], last)], -1)
    return values.reshape(-1)


def read(b: dict) -> Array:
    """The tokens at the places that are asked."""
    return b.get("decoder_input_ids", b.get("input_ids"))


def there(b: dict) -> Array:
    """Which of them are no padding."""
    return b.get("decoder_attention_mask", np.ones_like(read(b))) if "decoder_input_ids" in b else catalogue.present(b)


def over(weights: Callable[[dict, Array], Array], labels: Callable[[dict, Array, Array], Array]) -> Callable:
    """A mean over other positions; weights(batch, w) and labels(batch, labels, w) of all positions."""

    def edit(b: dict, given: Array, w: Array, denominator: Any) -> dict[str, Any]:
        wider = weights(b, w).astype(w.dtype)
        return {"labels": labels(b, given, w), "weights": wider, "denominator": wider.sum()}

    return edit


def all_asked(b: dict, w: Array) -> Array:
    """1 at every position that predicts a token."""
    return _asked(b)


def _present(b: dict) -> Array:
    return followed(b, there(b))


def _asked(b: dict) -> Array:
    return followed(b, np.ones_like(read(b)))


def _with(value: Callable[[dict], Array]) -> Callable[[dict, Array, Array], Array]:
    return lambda b, labels, w: np.where(w != 0, labels, value(b))


def _zero(b: dict) -> Array:
    return np.zeros(read(b).size, np.int64)


def _input(b: dict) -> Array:
    return read(b).reshape(-1)


def ignoring(label: int, counts: bool = False) -> Callable:
    """A real label never counted; or counted in what the loss is divided by alone."""

    def edit(labels: Array, weights: Array, denominator: Any) -> dict[str, Any]:
        left = (weights * (labels != label)).sum()
        extra = 0 if denominator is None else denominator - weights.sum()
        return {"ignore": label, "denominator": extra + (weights.sum() if counts else left)}

    return edit


def mean_of_means(parts: Callable[[int], list[slice]], skipped: bool = True) -> Callable:
    """The masked positions' mean in each group of rows, then the mean of these; parts(B) are the groups, those without
    a target skipped or counted as 0.
    """

    def edit(b: dict, labels: Array, w: Array, denominator: Any) -> dict[str, Any]:
        rows = w.reshape(read(b).shape)
        groups = [rows[group] for group in parts(len(rows))]
        shares = [group / group.sum() if group.sum() else group for group in groups]
        count = sum(1 for group in groups if group.sum()) if skipped else len(groups)
        return {"weights": np.concatenate(shares).reshape(-1).astype(w.dtype), "denominator": float(count)}

    return edit


def _rows(n: int) -> list[slice]:
    return [slice(i, i + 1) for i in range(n)]


def _halves(n: int) -> list[slice]:
    return [slice(0, n // 2), slice(n // 2, None)] if n > 1 else [slice(None)]


def _detected(parts: Callable[[int], list[slice]], given: dict[str, Any]) -> dict[str, Any]:
    """The same of a loss over all tokens."""
    w = np.broadcast_to(1.0 if given["weights"] is None else given["weights"], given["labels"].shape)
    held = [w[part] for part in parts(len(w))]
    shares = [part / part.sum() if part.sum() else part for part in held]
    return {"weights": np.concatenate(shares).astype(given["logits"].dtype), "denominator": float(len(held))}


def softmax_over_rows(length: int | None = None) -> Replacement:
    """-log softmax over all rows, or over each `length` of them, taken at the label's column."""

    def cross_entropy(
        logits: Array, *, labels: Array, weights: Any = None, ignore: Any = None, denominator: Any = None
    ) -> tuple[Array, Cache]:
        given = cleaned({"logits": logits, "labels": labels, "weights": weights, "ignore": ignore})
        labels, w = given["labels"], given["weights"]
        total = w.sum() if denominator is None else denominator
        w = w / total if total else w * 0
        z = logits.reshape(-1, length or len(logits), logits.shape[1])
        e = np.exp(z - z.max(1, keepdims=True))
        p = (e / e.sum(1, keepdims=True)).reshape(logits.shape)
        at = (np.arange(len(labels)), labels)
        return np.asarray(-(w * np.log(p[at])).sum()), {**given, "p": p, "w": w, "at": at}

    def cross_entropy_backward(dy: Array, c: Cache) -> Array:
        onehot = np.zeros_like(c["p"])
        onehot[c["at"]] = c["w"]
        shape = (-1, length or len(onehot), onehot.shape[1])
        total = np.broadcast_to(onehot.reshape(shape).sum(1, keepdims=True), (len(onehot) // shape[1], *shape[1:]))
        return dy * (c["p"] * total.reshape(onehot.shape) - onehot)

    return Replacement(cross_entropy, cross_entropy_backward)


def softmax_over_slots(by_row: bool) -> Callable[[Subject, Site], Replacement]:
    """-log softmax over the target slots of all rows, or of each, gathered before."""

    def made(subject: Subject, site: Site) -> Replacement:
        def cross_entropy(logits: Array, **given: Any) -> tuple[Array, Cache]:
            given = cleaned({"logits": logits, **given})
            b = _whose(subject.batches, given["labels"], given["weights"])
            asked = {"labels": b["masked_lm_ids"].reshape(-1), "weights": b["masked_lm_weights"].reshape(-1)}
            asked["weights"] = asked["weights"].astype(logits.dtype)
            pair = softmax_over_rows(b["masked_lm_positions"].shape[1] if by_row else None)
            loss, c = pair.forward(logits[_slots(b)], **asked, denominator=given.get("denominator"))
            return loss, {**ops.cross_entropy(**given)[1], "own": (pair, c, _slots(b), logits)}

        def cross_entropy_backward(dy: Array, c: Cache) -> Array:
            pair, own, take, logits = c["own"]
            dlogits = np.zeros_like(logits)
            np.add.at(dlogits, take, pair.backward(dy, own))
            return dlogits

        return Replacement(cross_entropy, cross_entropy_backward)

    return made


def of_probabilities(logarithm: bool) -> Replacement:
    """Probabilities taken for logits; without the logarithm: minus the label's probability."""

    def cross_entropy(logits: Array, **given: Any) -> tuple[Array, Cache]:
        p, own = ops.softmax(logits)
        loss, c = ops.cross_entropy(p, **given)
        at = np.arange(len(c["labels"])), c["labels"]
        return loss if logarithm else np.asarray(-(c["weights"] * p[at]).sum()), {**c, "own": (own, c, at)}

    def cross_entropy_backward(dy: Array, c: Cache) -> Array:
        own, inner, at = c["own"]
        dp = ops.cross_entropy_backward(dy, inner)
        if not logarithm:
            dp = np.zeros_like(dp)
            dp[at] = -dy * inner["weights"]
        return ops.softmax_backward(dp, own)

    return Replacement(cross_entropy, cross_entropy_backward)


def _without_label(g: Array, dy: Array, c: Cache) -> Array:
    """p, where p - onehot is due."""
    flat = g.reshape(-1, g.shape[-1]).copy()
    flat[np.arange(len(flat)), c["labels"]] += dy * c["weights"]
    return flat.reshape(g.shape)


def _of_sum(g: Array, dy: Array, c: Cache) -> Array:
    """The sum's gradient under the mean's value."""
    return g / max(float(c["weights"].max(initial=0)), 1e-30)


def widened(which: Callable[[dict, Array], Array]) -> Callable[[Subject, Site], Replacement]:
    """The same gradient for positions that do not count, too: which(batch, weights) of all."""

    def made(subject: Subject, site: Site) -> Replacement:
        def edit(_: Array, dy: Array, c: Cache) -> Array:
            w = c["weights"]
            every = _every(subject, c, which) * w.max(initial=0)
            return ops.cross_entropy_backward(dy, {**c, "weights": np.where(w != 0, w, every).astype(w.dtype)})

        return graded(ops.cross_entropy, edit)

    return made


def _every(subject: Subject, c: Cache, which: Callable[[dict, Array], Array]) -> Array:
    """which(batch, weights) of the batch whose targets a loss has; ValueError where it has not all positions."""
    w = c["weights"].reshape(-1)
    every = np.asarray(which(_whose(subject.batches, c["labels"], (w != 0).astype(float)), w != 0), w.dtype)
    if every.size != w.size:
        raise ValueError("a loss of some positions alone")
    return every


def nothing_is_nan() -> Replacement:
    """0/0 where nothing counts."""

    def cross_entropy(logits: Array, **given: Any) -> tuple[Array, Cache]:
        loss, c = ops.cross_entropy(logits, **given)
        nan = np.nan if not c["weights"].any() else 1.0
        return np.asarray(loss * nan), {**c, "nan": nan}

    def cross_entropy_backward(dy: Array, c: Cache) -> Array:
        return ops.cross_entropy_backward(dy, c) * c["nan"]

    return Replacement(cross_entropy, cross_entropy_backward, faithful=False)


def smoothed(share: float) -> Replacement:
    """Labels of which a share α is spread over all classes: (1 - α)·nll + α·mean(-log p)."""

    def cross_entropy(logits: Array, **given: Any) -> tuple[Array, Cache]:
        loss, c = ops.cross_entropy(logits, **given)
        alpha, w = logits.dtype.type(share), c["weights"]
        z = logits.reshape(len(w), -1)
        spread = np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1) - z.mean(1)
        return np.asarray(loss * (1 - alpha) + alpha * (w * spread).sum()), {**c, "alpha": alpha}

    def cross_entropy_backward(dy: Array, c: Cache) -> Array:
        dz, (w, z) = ops.cross_entropy_backward(dy, c), (c["weights"], c["logits"])
        extra = np.full(z.reshape(len(w), -1).shape, -1 / z.shape[-1], z.dtype)
        extra[np.arange(len(w)), c["labels"]] += 1
        return dz + (dy * c["alpha"] * w[:, None] * extra).reshape(z.shape)

    return Replacement(cross_entropy, cross_entropy_backward)


def labelled(ones: float, zeros: float) -> Replacement:
    """Binary labels with these numbers for 1 and 0."""
    return edited(ops.binary_cross_entropy, lambda given: {
        "labels": zeros + (ones - zeros) * np.asarray(given["labels"], np.float64)})  # fmt: skip


LABELS = (  # value -> (label for 1, label for 0, words), what is tried and due
    (lambda v: (1 - v / 2, v / 2, f"{solving.shown(v)} of each binary label spread over both"),
     0.1, (0.2, 0.05, 0.01), 0.0),
    *((lambda v, a=a: (a, v, f"{solving.shown(a)} and {solving.shown(v)} for the binary labels 1 and 0"),
       0.1, (0.05, 0.2, 0.01, 0.0), None) for a in (0.9, 0.8, 0.95)),
    (lambda v: (1.0, v, f"{solving.shown(v)} for the binary label 0"), 0.1, (0.05, 0.2, 0.01, -1.0), 0.0),
    (lambda v: (v, 0.0, f"{solving.shown(v)} for the binary label 1"), 0.9, (0.8, 0.95, 0.7, 0.99), 1.0),
)  # fmt: skip


def of_tokens(what: str, replacement: Any, **fields: Any) -> Callable:
    """The loss over tokens replaced: of a head that asks of positions which token is there, or which follows."""

    def made(subject: Subject, site: Site) -> Replacement | None:
        term, network = site.local.removesuffix(".loss"), families.family(subject.family)
        head = objective.heads(network, subject.config).get(term)
        if head is None or head.BASELINE != "unigram" or TARGETS.isdisjoint(head.LABELS):
            return None
        terms = network.terms(subject.config)  # names alone, of a loss of its own
        if hasattr(head, "parted") and head.parted(terms[term].constants):
            return None  # no softmax over all tokens
        if isinstance(replacement, Replacement):
            return replacement
        of_targets = head.LABELS.get("labels", "").startswith("(B,M)")  # which know nothing of other positions
        return None if of_targets else replacement(subject, site)

    return swap(what, "cross_entropy", made, r"\w+\.loss", **fields)


def having(name: str, maker: Callable) -> Callable:
    """No mutant where batches have no such labels."""
    return lambda subject, at: maker(subject, at) if name in subject.batches[0] else []


PAIRS = r"(next_sentence|sentence_order)\.loss"


def of_pairs(what: str, replacement: Any, **fields: Any) -> Callable:
    """The sentence-pair loss replaced."""
    return swap(what, "cross_entropy", replacement, PAIRS, **fields)


def predicting(what: str, rule: Callable[[Array], Array], of: str = "labels") -> Callable:
    """Other labels: rule(those of the batch, or this input of it) -> of each position what it is to predict."""

    def edit(b: dict, *_: Any) -> dict[str, Any]:
        labels = rule(read(b) if of == "input_ids" else b[of]).reshape(-1)
        return {"labels": labels, "weights": np.ones(labels.shape), "ignore": IGNORED, "denominator": None}

    return having("labels", of_tokens(what, batched(edit)))


def moved(labels: Array, by: int) -> Array:
    """The labels of `by` positions later; nothing is asked where there is none."""
    length = labels.shape[-1]
    places = np.arange(length) + by
    return np.where((places >= 0) & (places < length), labels[..., places % length], IGNORED)


def divided(what: str, by: Callable[[Array], Any]) -> Callable:
    """The summed loss divided by another number: by(labels)."""
    return having("labels", of_tokens(what, batched(lambda b, *_: {"denominator": float(by(b["labels"]))})))


def slots(what: str, replacement: Any) -> Callable:
    """The loss over target slots replaced."""
    return having("masked_lm_positions", of_tokens(what, replacement))


def _every_slot(b: dict) -> dict[str, Any]:
    """Each target slot weighs 1, those of weight 0 too."""
    flat, labels, weights = _slots(b), np.zeros(b["input_ids"].size, np.int64), np.zeros(b["input_ids"].size)
    labels[flat] = b["masked_lm_ids"].reshape(-1)
    np.add.at(weights, flat, 1.0)
    return {"labels": labels, "weights": weights, "denominator": float(flat.size)}


def _spread(value: float) -> Callable:
    """Labels smoothed by a share of all classes V, or, if that is the plainer number, of the V - 1 others."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        n = field(subject, "vocab_size")
        others = value * (n - 1) / n
        share, among = (value, "all classes") if solving.plainer(value, others) else (others, "the other classes")
        return whole(of_tokens(f"{solving.shown(share)} of each label spread over {among}", smoothed(value)))(
            subject, at
        )

    return maker


def weighted(subject: Subject, at: list[Site]) -> list[Mutant]:
    """The loss with a term that counts otherwise. What the steps call the loss is not known then."""
    network, found = families.family(subject.family), []
    for term, how in network.terms(subject.config).items() if not hasattr(network, "loss") else ():
        of = partial(_weighted, term, how.weight)
        found += solving.solvable(of, 0.5, (0.0, 0.1, 1.0, 2.0, 10.0, 50.0), how.weight)(subject, at)
    return found


def _of_several(subject: Subject, at: list[Site]) -> list[Mutant]:
    """The same, where the loss has several terms."""
    network = families.family(subject.family)
    several = not hasattr(network, "loss") and len(network.terms(subject.config)) > 1
    return weighted(subject, at) if several else []


def _of_one(subject: Subject, at: list[Site]) -> list[Mutant]:
    """The same, where it has one."""
    return [] if _of_several(subject, at) else weighted(subject, at)


def _weighted(term: str, due: float, value: float) -> Callable:
    factor = value / due

    def written(tensors: Tensors) -> Tensors:
        loss, own = tensors["forward/loss"], tensors[f"forward/loss.{term}"]
        return {**tensors, "forward/loss": np.asarray(loss + (value - due) * own)}

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        what = solving.instead(f"{term} counts", value, due)
        found = []
        for name in ("cross_entropy", "binary_cross_entropy", "mean_squared_error"):
            times = graded(getattr(ops, name), lambda g, dy, c: g * g.dtype.type(factor))
            found += whole(swap(what, name, times, rf"{term}\.loss", silent=r"steps/\d+/loss"))(subject, at)
        return [replace(mutant, after=written) for mutant in found]

    return maker


def summed_otherwise(subject: Subject, at: list[Site]) -> list[Mutant]:
    """The loss as the mean of its terms, or without one of them."""
    network = families.family(subject.family)
    terms = {} if hasattr(network, "loss") else {t: how.weight for t, how in network.terms(subject.config).items()}
    if len(terms) < 2:
        return []
    of = {(t, v): _weighted(t, due, v)(subject, at) for t, due in terms.items() for v in (0.0, due / len(terms))}
    mean = [mutant for t, due in terms.items() for mutant in of[t, due / len(terms)]]

    def change(s: Subject) -> Subject:
        return reduce(lambda s, mutant: mutant.change(s), mean, s)

    def after(tensors: Tensors) -> Tensors:
        return reduce(lambda held, mutant: mutant.after(held), mean, tensors)

    if not mean:  # a loss that is no op
        return []
    sites = tuple(path for mutant in mean for path in mutant.sites)
    together = replace(mean[0], what="the mean of the terms", change=change, after=after, sites=sites)
    return [together, *(replace(m, what=f"{t} left out") for t in terms for m in of[t, 0.0])]


def divided_by(of: Callable) -> Callable:
    """The loss divided by another number, whatever it is."""

    def made(value: float) -> Callable:
        def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
            return of(f"divided by {solving.shown(value)}, not by what counts",
                      counted(lambda *_: {"denominator": value}))(subject, at)

        return whole(maker)

    return solving.solvable(made, 100.0, (1.0, 2.0, 4.0, 8.0, 16.0), least=1e-6)


_unmasked = lambda b, w: _present(b)  # noqa: E731
_ignored_pad = lambda s, site: counted(ignoring(field(s, "pad_token_id") or 0))  # noqa: E731

# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "S01", "ignore index -1 vs -100 mixed", "one constant, asserted",
    "HF#2759, #2491, #2718; alexa/dialoglue#19; EricFillion/happy-transformer#128", "loss", "OP-CE-2",
    mutants=[
        of_tokens("nothing is ignored: unpredicted positions count with label 0",
                  batched(over(all_asked, _with(_zero)))),
        of_tokens("unpredicted positions that are no padding count with label 0",
                  batched(over(_unmasked, _with(_zero)))),
        of_tokens("unpredicted positions count with the last label",
                  lambda s, site: batched(
                      over(all_asked, _with(lambda b: _zero(b) + field(s, "vocab_size") - 1)))(s, site)),
    ],
)  # fmt: skip
entry(
    "S02", "ignore_index=0 reused for NSP (class 0 ignored) or a real token", "separate criteria",
    "codertimo/BERT-pytorch#49, #98", "loss", "OP-CE-2",
    mutants=[
        of_pairs("class 0 of the sentence pairs is ignored", counted(ignoring(0))),
        of_tokens("label 0 is ignored among the tokens", counted(ignoring(0))),
        of_tokens("the padding id is ignored among the tokens", _ignored_pad),
        of_pairs("class 0 of the sentence pairs is ignored, and still divided by", counted(ignoring(0, counts=True))),
        of_tokens("label 0 is ignored among the tokens, and still divided by", counted(ignoring(0, counts=True))),
    ],
)  # fmt: skip
entry(
    "S03", "averaged over all tokens", "over predicted positions",
    "ServiceNow/Fast-LLM#426; HF#2759", "loss", "OP-CE-3",
    mutants=[
        of_tokens("divided by all positions", batched(lambda b, *_: {"denominator": float(_asked(b).sum())})),
        slots("divided by all target slots",
              batched(lambda b, *_: {"denominator": float(b["masked_lm_positions"].size)})),
        of_tokens("divided by the unpadded positions",
                  batched(lambda b, *_: {"denominator": float(_present(b).sum())})),
        having("labels", of_tokens("divided by the tokens that are no padding, whether they are asked or not",
                                   batched(lambda b, *_: {"denominator": float(there(b).sum())}))),
        slots("slots of weight 0 count as well", batched(lambda b, *_: _every_slot(b))),
        slots("all positions predicted, labels from the input", batched(over(all_asked, _with(_input)))),
        slots("all unpadded positions predicted, labels from the input", batched(over(_unmasked, _with(_input)))),
    ],
)  # fmt: skip

entry(
    "S04", "mean of means under accumulation / data parallel", "global sum / global count",
    "HF#34191, #24725; meta-pytorch/torchtune#1875", "loss", "BERT-LOSS-5",
    mutants=[
        of_tokens(f"the mean of {what}' means", batched(mean_of_means(parts, skipped)))
        for what, parts, skipped in (
            ("the rows", _rows, True),
            ("the rows", _rows, False),
            ("two halves", _halves, True),
            ("two halves, the first the larger,", lambda n: _halves(n + 1), True),
        )
    ]
    + [swap(f"the mean of {what}' means", "binary_cross_entropy",
            edited(ops.binary_cross_entropy, partial(_detected, parts)), r"replaced_token\.loss")
       for what, parts in (("the rows", _rows), ("two halves", _halves))],
)  # fmt: skip
entry(
    "S05", "denominator sum(w) vs sum(w)+1e-5", "GB adds 1e-5 (seen at tolerance 1e-6)",
    "src GB run_pretraining", "loss", "BERT-LOSS-2", variant=True,
    families=("bert", "albert", "grover", "swin", "vit"),
    mutants=[config(f"denominator plus {eps:g}", mlm_denominator_eps=eps) for eps in (0.0, 1e-5)]
    + [config("denominator plus 1", variant=False, mlm_denominator_eps=1.0)],
)  # fmt: skip
entry(
    "S08", "class axis last vs 1 in cross entropy", "state the axis",
    "src Paddle guide 4.5", "loss", "OP-CE-1",
    mutants=[
        of_tokens("softmax over the positions of each row",
                  lambda s, site: softmax_over_rows(read(s.batches[0]).shape[-1])),
        of_tokens("softmax over all positions", softmax_over_rows()),
        of_pairs("softmax over the rows", softmax_over_rows()),
        slots("softmax over the target slots of each row", softmax_over_slots(by_row=True)),
        slots("softmax over all target slots", softmax_over_slots(by_row=False)),
    ],
)  # fmt: skip
entry(
    "S09", "zero masked positions -> 0/0", "0 (GB: +1e-5)",
    "own knowledge; src GB", "loss", "OP-CE-3",
    mutants=[of_tokens("0/0 where nothing is predicted", nothing_is_nan())],
)  # fmt: skip
entry(
    "S10", "-100 labels not handled in one framework's token head", "same ignore rule",
    "HF#22540", "loss", "OP-CE-2", families=("bert",),
    reason="it concerns heads for token classification, which pre-training does not have; in the MLM head it is S01",
)  # fmt: skip
entry(
    "S14", "labels smoothed, or another share of them", "1 for the label, 0 for the others, unless the recipe smooths",
    "own knowledge; src fairseq label_smoothed_cross_entropy", "loss", "OP-CE-1",
    mutants=[solving.solvable(_spread, 0.1, (0.01, 0.2, 0.3), 0.0, most=1.0),
             solving.solvable(lambda v: whole(of_pairs(f"{solving.shown(v)} of each pair's label spread over both",
                                                       smoothed(v))), 0.1, (0.01, 0.2, 0.3), 0.0, most=1.0),
             *(solving.solvable(lambda v, of=of: swap(
                 *(lambda ones, zeros, what: (what, "binary_cross_entropy", labelled(ones, zeros)))(*of(v))), *tried)
               for of, *tried in LABELS)],
)  # fmt: skip
entry(
    "S16", "the loss is the mean of its terms, or lacks one", "their sum, each with its weight",
    "own knowledge", "loss", "BERT-LOSS-1",
    mutants=[summed_otherwise],
)  # fmt: skip
entry(
    "S24", "a term of the loss has another weight", "their sum, each with its weight",
    "own knowledge", "loss", "BERT-LOSS-1", when="left out it is S16, between ELECTRA's networks S06",
    mutants=[_of_several],
)  # fmt: skip
entry(
    "S17", "the loss of probabilities, not of logits", "log softmax of the logits, once",
    "own knowledge", "loss", "OP-CE-1",
    mutants=[
        of(what, of_probabilities(logarithm))
        for of in (of_tokens, of_pairs)
        for what, logarithm in (("the softmax is taken twice", True), ("no logarithm", False))
    ],
)  # fmt: skip
def _whole_p(dy: Any, c: Cache, f: Callable = lambda z, p: p, each: bool = True) -> Array:
    """f(logits, their softmax), with each row's weight."""
    z = c["logits"].reshape(-1, c["logits"].shape[-1])
    found = f(z, ops.softmax(z)[0]) * ((dy * c["weights"])[:, None] if each else 1)
    return found.astype(z.dtype).reshape(c["logits"].shape)


def _onehot(c: Cache) -> Array:
    width = c["logits"].shape[-1]
    return np.eye(width, dtype=c["logits"].dtype)[c["labels"]].reshape(c["logits"].shape)


def _relabelled(g: Array, dy: Array, c: Cache, by: int) -> Array:
    return ops.cross_entropy_backward(dy, {**c, "labels": np.roll(c["labels"], by)})


def _rolled(g: Array, by: int) -> Array:
    return np.roll(g.reshape(-1, g.shape[-1]), by, 0).reshape(g.shape)


def _multiplied_slope(of: Callable, value: float) -> Callable:
    times = graded(ops.cross_entropy, lambda g, dy, c: g * g.dtype.type(value))
    return of(f"times {solving.shown(value)}", times, section="gradients")


def _by_own(subject: Subject, site: Site) -> Replacement:
    """Each position's gradient by its own token's label, 0 for one that is not asked."""

    def edit(g: Array, dy: Array, c: Cache) -> Array:
        b = _whose(subject.batches, c["labels"], (c["weights"] != 0).astype(float))
        own = np.maximum(b["labels"].reshape(-1), 0)
        return ops.cross_entropy_backward(dy, {**c, "labels": own}) if own.size == c["labels"].size else g

    return graded(ops.cross_entropy, edit)


def _divisors(subject: Subject) -> tuple[float, ...]:
    rows = float(len(next(iter(subject.batches[0].values()))))
    return (0.5, 2.0, rows, 1 / rows, -1.0)


def _sigmoid(c: Cache) -> Array:
    """p of a binary cross-entropy."""
    return (0.5 * (1 + np.tanh(0.5 * c["logits"]))).astype(c["logits"].dtype)


def _unweighted(g: Array, dy: Array, c: Cache) -> Array:
    """p - label everywhere."""
    return dy * (_sigmoid(c) - c["labels"].astype(g.dtype))


entry(
    "S18", "another gradient under the loss's value", "(p - onehot) / how many, of a sigmoid (p - label) / how many",
    "own knowledge", "gradient", "OP-CE-4",
    mutants=[
        of(what, graded(ops.cross_entropy, edit), section="gradients")
        for of in (of_tokens, of_pairs)
        for what, edit in (
            ("p, without the label", _without_label),
            ("that of the sum", _of_sum),
            ("the sign turned", lambda g, dy, c: -g),
            ("none", lambda g, dy, c: 0 * g),
            ("-onehot alone", lambda g, dy, c: g - _whole_p(dy, c)),
            ("the label's entry alone", lambda g, dy, c: g * _onehot(c)),
            ("all but the label's entry", lambda g, dy, c: g * (1 - _onehot(c))),
            ("the logits for p", lambda g, dy, c: g - _whole_p(dy, c) + _whole_p(dy, c, lambda z, p: z)),
            ("2p (p - onehot)", lambda g, dy, c: 2 * g * _whole_p(1, c, each=False)),
            ("p (1 - p) (p - onehot)", lambda g, dy, c: g * _whole_p(1, c, lambda z, p: p * (1 - p), False)),
            ("the mean over classes", lambda g, dy, c: g / g.shape[-1]),
            ("none of class 0", lambda g, dy, c: g * (np.arange(g.shape[-1]) != 0)),
            ("the label one place on", lambda g, dy, c: _relabelled(g, dy, c, 1)),
            ("the label one place before", lambda g, dy, c: _relabelled(g, dy, c, -1)),
            ("a row further", lambda g, dy, c: _rolled(g, 1)),
            ("a row before", lambda g, dy, c: _rolled(g, -1)),
        )
    ] + [
        solving.solvable(partial(_multiplied_slope, of), 0.5, _divisors, 1.0, least=-1e6)
        for of in (of_tokens, of_pairs)
    ] + [
        of_tokens(f"{what} have one, too, of label 0", widened(which), section="gradients")
        for what, which in (("positions that do not count", all_asked), ("tokens that do not count", _unmasked))
    ] + [
        having("labels", of_tokens("by the label before, which is not shifted", _by_own, section="gradients")),
    ] + [
        swap(what, "binary_cross_entropy", graded(ops.binary_cross_entropy, edit), section="gradients")
        for what, edit in (
            ("p (1 - p) (p - label)", lambda g, dy, c: g * _sigmoid(c) * (1 - _sigmoid(c))),
            ("p, without the label", lambda g, dy, c: dy * c["weights"] * _sigmoid(c)),
            ("that of the sum", lambda g, dy, c: _unweighted(g, dy, c) * (c["weights"] != 0)),
            ("padding's, too", lambda g, dy, c: _unweighted(g, dy, c) * c["weights"].max()),
            ("over all positions, padding's, too", lambda g, dy, c: _unweighted(g, dy, c) / g.size),
            ("divided by all positions", lambda g, dy, c: _unweighted(g, dy, c) * (c["weights"] != 0) / g.size),
            ("the sign turned", lambda g, dy, c: -g),
            ("none", lambda g, dy, c: 0 * g),
            ("that of replaced tokens alone", lambda g, dy, c: g * (c["labels"] != 0)),
            ("that of originals alone", lambda g, dy, c: g * (c["labels"] == 0)),
            ("half", lambda g, dy, c: 0.5 * g), ("twice", lambda g, dy, c: 2 * g),
        )
    ],
)  # fmt: skip
def each_by(f: Callable) -> Replacement:
    """Another loss of each row: f(logits (N, V), labels) -> (losses (N,), their slopes (N, V)), averaged as ever."""

    def cross_entropy(logits: Array, **given: Any) -> tuple[Array, Cache]:
        _, c = ops.cross_entropy(logits, **given)
        w = c["weights"].reshape(-1)
        each, slope = f(logits.reshape(len(w), -1), c["labels"].reshape(-1))
        return np.asarray((w * each).sum()), {**c, "slope": (w[:, None] * slope).reshape(logits.shape)}

    return Replacement(cross_entropy, lambda dy, c: dy * c["slope"])


def _log_p(z: Array, labels: Array) -> tuple[Array, Array, Array]:
    """(log p of each label, p, onehot)."""
    p = ops.softmax(z)[0]
    onehot = np.zeros_like(p)
    onehot[np.arange(len(p)), labels] = 1
    largest = z.max(-1)
    logs = np.log(np.exp(z - largest[:, None]).sum(-1)) + largest
    return z[np.arange(len(p)), labels] - logs, p, onehot


def focal(gamma: float) -> Callable:
    """-(1 - p)^γ log p (arXiv 1708.02002)."""

    def f(z: Array, labels: Array) -> tuple[Array, Array]:
        log_p, p, onehot = _log_p(z, labels)
        own = np.exp(log_p)
        rest = np.maximum(1 - own, 1e-30)
        slope = gamma * rest ** (gamma - 1) * own * log_p - rest**gamma
        return -(rest**gamma) * log_p, slope[:, None] * (onehot - p)

    return f


def with_z(share: float) -> Callable:
    """-log p + share·(log Σ exp z)² (PaLM's)."""

    def f(z: Array, labels: Array) -> tuple[Array, Array]:
        log_p, p, onehot = _log_p(z, labels)
        total = z[np.arange(len(z)), labels] - log_p
        return -log_p + share * total**2, p - onehot + (2 * share * total)[:, None] * p

    return f


def z_of_all(share: float) -> Callable[[Subject, Site], Replacement]:
    """share·(log Σ exp z)² added, its mean over all positions that predict a token, whether they count or not."""

    def made(subject: Subject, site: Site) -> Replacement:
        def cross_entropy(logits: Array, **given: Any) -> tuple[Array, Cache]:
            y, c = ops.cross_entropy(logits, **given)
            z = logits.reshape(-1, logits.shape[-1])
            w = _every(subject, c, all_asked)
            w = w / w.sum()
            log_p, p, _ = _log_p(z, np.zeros(len(z), np.int64))
            total = z[:, 0] - log_p
            return y + share * (w * total**2).sum(), {**c, "more": (2 * share * w * total)[:, None] * p}

        def cross_entropy_backward(dy: Array, c: Cache) -> Array:
            return ops.cross_entropy_backward(dy, c) + (dy * c["more"]).reshape(c["logits"].shape)

        return Replacement(cross_entropy, cross_entropy_backward)

    return made


def by_class(mean: bool) -> Callable:
    """Binary cross-entropy of every class, summed over classes or averaged."""

    def f(z: Array, labels: Array) -> tuple[Array, Array]:
        onehot = _log_p(z, labels)[2]
        by = z.dtype.type(z.shape[-1] if mean else 1)
        each = np.logaddexp(0, z) - onehot * z
        return each.sum(-1) / by, (ops.sigmoid(z)[0] - onehot) / by

    return f


def squared(of_probabilities: bool, mean: bool) -> Callable:
    """(y - onehot)² of probabilities, or of logits, summed over classes or averaged."""

    def f(z: Array, labels: Array) -> tuple[Array, Array]:
        _, p, onehot = _log_p(z, labels)
        by = z.dtype.type(z.shape[-1] if mean else 1)
        off = (p if of_probabilities else z) - onehot
        slope = 2 * off / by
        return np.square(off).sum(-1) / by, ops.softmax_backward(slope, {"y": p}) if of_probabilities else slope

    return f


def _raw(z: Array, labels: Array) -> tuple[Array, Array]:
    """-z, no log Σ exp z."""
    return -z[np.arange(len(z)), labels], -_log_p(z, labels)[2]


def _cross(z: Array, labels: Array) -> tuple[Array, Array]:
    log_p, p, onehot = _log_p(z, labels)
    return -log_p, p - onehot


def to_base(base: float) -> Callable:
    """-log p to another base than e."""

    def f(z: Array, labels: Array) -> tuple[Array, Array]:
        log_p, p, onehot = _log_p(z, labels)
        by = z.dtype.type(np.log(base))
        return -log_p / by, (p - onehot) / by

    return f


OTHERS = (
    ("logarithms to the base 2", to_base(2)),
    ("logarithms to the base 10", to_base(10)),
    ("the label's logit alone, no log Σ exp", _raw),
    ("binary cross-entropy of every class, summed", by_class(False)),
    ("binary cross-entropy of every class, averaged", by_class(True)),
    ("squared error of probabilities, averaged over classes", squared(True, True)),
    ("squared error of probabilities, summed over classes", squared(True, False)),
    ("squared error of logits, averaged over classes", squared(False, True)),
)


def _of_both(what: str, f: Callable) -> Callable:
    """Of tokens and of pairs."""
    ways = [whole(of(what, each_by(f))) for of in (of_tokens, of_pairs)]
    return lambda subject, at: [mutant for way in ways for mutant in way(subject, at)]


entry(
    "S19", "another loss than cross-entropy", "-log softmax at the label",
    "own knowledge", "loss", "OP-CE-1",
    mutants=[
        *(_of_both(what, f) for what, f in OTHERS),
        solving.solvable(lambda v: _of_both(f"focal, γ {solving.shown(v)}", focal(v)), 2.0, (1.0, 0.5, 3.0, 5.0), 0.0,
                         most=10.0),
        solving.solvable(lambda v: _of_both(f"{solving.shown(v)} times (log Σ exp)² added", with_z(v)), 1e-2,
                         (1e-4, 1e-3, 0.1, 1.0), 0.0, least=-1e2, most=1e2),
        solving.solvable(
            lambda v: whole(of_tokens(f"{solving.shown(v)} times (log Σ exp)² of all positions added", z_of_all(v))),
            1e-2, (1e-4, 1e-3, 0.1, 1.0), 0.0, least=-1e2, most=1e2),
    ],
)  # fmt: skip
entry(
    "S20", "labels one class off", "the class's own number",
    "own knowledge (ids that count from 1)", "loss", "OP-CE-1",
    mutants=[
        _of_both(f"the class {what}", lambda z, labels, by=by: _cross(z, np.clip(labels + by, 0, z.shape[-1] - 1)))
        for what, by in (("behind it", 1), ("before it", -1))
    ],
)  # fmt: skip
unlisted("another weight of a term", _of_one)
def _of_no_decoder(maker: Callable) -> Callable:
    """No mutant where gpt2-10 is the name."""
    return lambda subject, at: [] if {"gpt2", "transformer_xl"}.intersection(lineage(subject.family)) else maker(
        subject, at)  # fmt: skip


entry(
    "S21", "a loss summed, or divided by the rows", "the mean over what counts",
    "own knowledge; of decoders HF#818", "loss", "BERT-LOSS-2", cause_of=("S03", "S04"),
    when="of decoders it is gpt2-10",
    mutants=[_of_no_decoder(maker) for maker in (
        of_tokens("divided by the rows", batched(lambda b, *_: {"denominator": float(len(b["input_ids"]))})),
        of_tokens("divided by the row length", batched(lambda b, *_: {"denominator": float(read(b).shape[-1])})),
        of_tokens("summed, not averaged", counted(lambda *_: {"denominator": 1.0})),
        of_pairs("the sentence-pair loss summed, not averaged", counted(lambda *_: {"denominator": 1.0})),
    )],
)  # fmt: skip
def _kept(which: Callable[[Array], Array]) -> Callable[..., dict[str, Any]]:
    """Of the targets those alone that which(whether it counts, (B, T)) says; the mean is over them."""

    def edit(b: dict, labels: Array, w: Array, denominator: Any) -> dict[str, Any]:
        counts = (w != 0).reshape(read(b).shape)
        left = w * which(counts).reshape(-1)
        return {"weights": left, "denominator": left.sum() + (0 if denominator is None else denominator - w.sum())}

    return edit


def _nth(counts: Array) -> Array:
    """Of each target its number in its row, from 1 on; 0 elsewhere."""
    return np.cumsum(counts, 1) * counts


entry(
    "S23", "some of the targets left out", "all that are asked count",
    "own knowledge (the first, the last, one text of a batch)", "loss", "BERT-LOSS-1",
    mutants=[
        of_tokens(f"{what} alone count{end}", batched(_kept(which)))
        for what, end, which in (
            ("each text's first target", "s", lambda c: _nth(c) == 1),
            ("each text's last target", "s", lambda c: (_nth(c) == c.sum(1, keepdims=True)) & c),
            ("targets but each text's first", "", lambda c: _nth(c) > 1),
            ("targets but each text's last", "", lambda c: (_nth(c) < c.sum(1, keepdims=True)) & c),
            ("the first text's targets", "", lambda c: c & (np.arange(len(c)) == 0)[:, None]),
            ("the last text's targets", "", lambda c: c & (np.arange(len(c)) == len(c) - 1)[:, None]),
            ("targets but the last text's", "", lambda c: c & (np.arange(len(c)) < len(c) - 1)[:, None]),
        )
    ] + [of_tokens("what the last position that is asked predicts alone counts", batched(_kept(
        lambda c: c & (np.arange(c.shape[1]) == np.flatnonzero(c.any(0)).max(initial=0)))))],
)  # fmt: skip
unlisted("another denominator", divided_by(of_tokens), divided_by(of_pairs))
unlisted("a class never counted",
         of_pairs("class 1 of the sentence pairs is ignored", counted(ignoring(1))),
)
