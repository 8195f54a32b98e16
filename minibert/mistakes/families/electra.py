"""Mistakes of replaced-token detection (ELECTRA)."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minibert import families, layers, ops
from minibert.corruption import rules
from minibert.golden.subject import Subject
from minibert.mistakes import solving
from minibert.mistakes.catalogue import GRADIENTS, Mutant, config, entry, only, swap, unlisted
from minibert.mistakes.swap import Replacement, Site, edited, graded, swapped, zeros

Array = np.ndarray
Cache = dict[str, Any]


# ---- The loss --------------------------------------------------------------------------------------------------------
def counted(edit: Callable[[dict, Array, Array], dict[str, Any]]) -> Callable[[Subject, Site], Replacement]:
    """The detection loss with other labels, weights or denominator: edit(batch, labels, weights) -> what changes."""

    def made(subject: Subject, site: Site) -> Replacement:
        b = lambda given: _whose(subject, given["labels"])  # noqa: E731
        return edited(ops.binary_cross_entropy, lambda given: edit(b(given), given["labels"], given["weights"]))

    return made


def _whose(subject: Subject, labels: Array) -> dict:
    """The batch with these labels."""
    for b in subject.batches:
        own = b["replaced_labels"] if "replaced_labels" in b else _replaced(subject, b)[1]
        if np.array_equal(own, labels):
            return b
    return subject.batches[0]


def _replaced(subject: Subject, b: dict) -> tuple[Array, Array]:
    return families.family(subject.family).replaced(b, subject.config.duplicates)


def _chosen(b: dict) -> Array:
    """1 at the chosen positions (B, T)."""
    chosen = np.zeros(b["input_ids"].shape)
    row, slot = np.nonzero(b["masked_lm_weights"])
    chosen[row, b["masked_lm_positions"][row, slot]] = 1
    return chosen


def of_detection(what: str, edit: Callable, joint: bool = False) -> Callable:
    """The detection loss replaced; joint: only where a generator chose the positions."""
    maker = swap(what, "binary_cross_entropy", counted(edit), r"replaced_token\.loss")
    return lambda subject, at: maker(subject, at) if not joint or "replacement_ids" in subject.batches[0] else []


def _squashed(logits: Array, **given: Any) -> tuple[Array, Cache]:
    """The loss of σ(logits), as if these were the logits."""
    p, _ = ops.sigmoid(logits)
    loss, c = ops.binary_cross_entropy(p, **given)
    return loss, {**c, "slope": p * (1 - p)}


def _squashed_backward(dy: Array, c: Cache) -> Array:
    return ops.binary_cross_entropy_backward(dy, c) * c["slope"]


def _weights(chosen: Callable[[dict], Array]) -> Callable:
    def edit(b: dict, labels: Array, weights: Array) -> dict[str, Any]:
        own = chosen(b)
        return {"weights": own, "denominator": float(own.sum())}

    return edit


def _favoured(value: float, all_of_it: bool) -> Callable:
    """What is replaced counts so many times, all_of_it: in the denominator, too."""

    def edit(b: dict, labels: Array, w: Array) -> dict[str, Any]:
        own = w * np.where(labels == 1, value, 1.0)
        return {"weights": own, "denominator": float((own if all_of_it else w).sum())}

    return edit


def joint(maker: Callable) -> Callable:
    """No mutant where there is one network."""
    both = only("electra", maker)
    return lambda subject, at: both(subject, at) if getattr(subject.config, "role", "") == "joint" else []


# ---- The head --------------------------------------------------------------------------------------------------------
def rtd_head(*steps: str) -> Replacement:
    """The detection head of these steps before its last layer, of dense, act and a norm of weights 1 and 0."""

    def forward(x: Array, p: Any, *, act: str) -> tuple[Array, Cache]:
        c: Cache = {"plain": p["dense"], "own": ()}
        for step in steps:
            if step == "dense":
                x, c[step] = ops.linear(x, **p[step])
            elif step == "act":
                x, c[step] = layers.activation(x, name=act)
            else:
                ones = np.ones(x.shape[-1], x.dtype)
                x, normed = ops.layer_norm(x, ones, 0 * ones, eps=1e-12)
                c["own"] = (normed,)
        z, c["out"] = ops.linear(x, **p["out"])
        return z[..., 0], c

    def backward(dz: Array, c: Cache) -> tuple[Array, Any]:
        g: Any = {"dense": zeros(c["plain"])}
        du, g["out"] = ops.linear_backward(dz[..., None], c["out"])
        for step in reversed(steps):
            if step == "dense":
                du, g[step] = ops.linear_backward(du, c[step])
            elif step == "act":
                du = layers.activation_backward(du, c[step])
            else:
                du, _ = ops.layer_norm_backward(du, c["own"][0])
        return du, g

    return Replacement(forward, backward)


# ---- The sample ------------------------------------------------------------------------------------------------------
def _through_the_sample(subject: Subject, at: list[Site]) -> list[Mutant]:
    """The discriminator's gradient at a sampled token goes on to the generator's logits, as if the one-hot sample were
    the probabilities (straight-through).
    """
    found = {site.path: site for site in at}
    look_up = found.get("discriminator.encode.embeddings.tables.word")
    term = found.get("generator.masked_lm.loss")
    if look_up is None or term is None:
        return []
    held = threading.local()

    def embedding(weight: Array, *, ids: Array, padding_idx: int | None = None) -> tuple[Array, Cache]:
        y, c = ops.embedding(weight, ids=ids, padding_idx=padding_idx)
        return y, {**c, "own": (weight,)}

    def embedding_backward(dy: Array, c: Cache) -> dict[str, Array]:
        held.scores = (dy @ c["own"][0].T).reshape(-1, len(c["own"][0]))  # d loss / d one-hot ids
        return ops.embedding_backward(dy, c)

    def cross_entropy(logits: Array, **given: Any) -> tuple[Array, Cache]:
        loss, c = ops.cross_entropy(logits, **given)
        return loss, {**c, "own": (logits, np.asarray(given["weights"]) != 0)}

    def cross_entropy_backward(dy: Array, c: Cache) -> Array:
        logits, chosen = c["own"]
        e = np.exp(logits - logits.max(-1, keepdims=True))
        probs = e / e.sum(-1, keepdims=True)
        through = probs * (held.scores - (probs * held.scores).sum(-1, keepdims=True))
        own = ops.cross_entropy_backward(dy, c)
        return own + np.where(chosen[:, None], through, 0).astype(own.dtype)

    pairs = {
        look_up.key: Replacement(embedding, embedding_backward, faithful=False),
        term.key: Replacement(cross_entropy, cross_entropy_backward, faithful=False),
    }
    what = "the discriminator's gradient goes through the sample"
    return [Mutant(what, partial(swapped, at=pairs), section=GRADIENTS, sites=(look_up.path, term.path))]


def _unsampled(subject: Subject, site: Site) -> Replacement | None:
    """The discriminator's look-up of what the generator reads."""
    if site.tower != "discriminator":
        return None

    def edit(given: dict[str, Any]) -> dict[str, Any]:
        whose = (b["input_ids"] for b in subject.batches if np.array_equal(_replaced(subject, b)[0], given["ids"]))
        return {"ids": next(whose, given["ids"])}

    return edited(ops.embedding, edit)


def _written(what: str, other: Callable[[dict], dict]) -> Callable:
    """Samples written elsewhere, and labelled accordingly: other(batch) -> what of it decides where."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        tables = [s for s in at if s.tower == "discriminator" and s.local.endswith("embeddings.tables.word")]
        terms = [s for s in at if s.name == "binary_cross_entropy" and s.path.endswith("replaced_token.loss")]
        if not (tables and terms):
            return []
        written = [(_replaced(subject, b), _replaced(subject, {**b, **other(b)})) for b in subject.batches]
        if all(np.array_equal(own, moved) for (own, _), (moved, _) in written):
            return []

        def ids(given: dict[str, Any]) -> dict[str, Any]:
            return {"ids": next((moved[0] for own, moved in written if np.array_equal(own[0], given["ids"])),
                                written[0][1][0])}  # fmt: skip

        def labels(given: dict[str, Any]) -> dict[str, Any]:
            return {"labels": _replaced(subject, (b := _whose(subject, given["labels"])) | other(b))[1]}

        pairs = {tables[0].key: edited(ops.embedding, ids), terms[0].key: edited(ops.binary_cross_entropy, labels)}
        return [Mutant(what, partial(swapped, at=pairs), sites=(tables[0].path, terms[0].path))]

    return maker


# ---- Sharing ---------------------------------------------------------------------------------------------------------
def _one_network(subject: Subject, at: list[Site]) -> list[Mutant]:
    """Shared tables get the gradient of one network alone."""
    if len({site.tower for site in at}) < 2:
        return []

    lost = graded(layers.embeddings, lambda g, dy, c: zeros(g))
    made = swap("the look-ups of one network pass no gradient", "embeddings", lost, section=GRADIENTS)(subject, at)
    return [mutant for mutant in made if mutant.where]


def _weighed(network: str, likely: tuple[float, ...]) -> Callable:
    """Another weight of a network's loss."""
    field = f"{network}_weight"
    return solving.solvable(
        lambda v: config(f"the {network}'s loss weighs {solving.shown(v)}", **{field: v}), likely[0], likely,
        lambda subject: getattr(subject.config, field))  # fmt: skip


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "S06", "ELECTRA weights or only generator trained", "1 * MLM + 50 * disc",
    "simpletransformers#390; src electra (disc_weight 50)", "loss", "ELEC-LOSS-2", families=("electra",),
    mutants=[
        joint(config("both terms weigh 1", generator_weight=1.0, discriminator_weight=1.0)),
        joint(config("both terms weigh 50", generator_weight=50.0, discriminator_weight=50.0)),
        joint(config("the weights change places", generator_weight=lambda c: c.discriminator_weight,
                     discriminator_weight=lambda c: c.generator_weight)),
        joint(config("the generator alone is trained", discriminator_weight=0.0)),
        joint(config("the discriminator alone is trained", generator_weight=0.0)),
        joint(_weighed("discriminator", (1.0, 10.0, 25.0, 20.0, 5.0, 100.0))),
        joint(_weighed("generator", (0.5, 2.0, 50.0, 0.1))),
    ],
)  # fmt: skip
entry(
    "S07", "discriminator loss over pads", "weight by input mask",
    "PaddlePaddle/PaddleNLP#35; src electra", "loss", "ELEC-LOSS-1", families=("electra",),
    mutants=[
        of_detection("padding counts", _weights(lambda b: np.ones(b["input_ids"].shape))),
        of_detection("divided by all positions", lambda b, labels, w: {"denominator": float(w.size)}),
    ],
)  # fmt: skip
entry(
    "S11", "replaced-token loss averaged over the masked positions only", "over all attended tokens",
    "own knowledge; src electra", "loss", "ELEC-LOSS-1", families=("electra",),
    mutants=[
        of_detection("the chosen positions alone count", _weights(_chosen), joint=True),
        of_detection("divided by the chosen positions",
                     lambda b, labels, w: {"denominator": float(_chosen(b).sum())}, joint=True),
        of_detection("the positions that were not chosen alone count",
                     _weights(lambda b: (1 - _chosen(b)) * b.get("attention_mask", 1)), joint=True),
    ],
)  # fmt: skip
entry(
    "S15", "sigmoid before a loss that takes logits", "the logits go into the loss as they are",
    "own knowledge", "loss", "ELEC-LOSS-1", families=("electra",),
    mutants=[
        swap("the sigmoid is taken twice", "binary_cross_entropy", Replacement(_squashed, _squashed_backward),
             r"replaced_token\.loss"),
    ],
)  # fmt: skip
entry(
    "S12", "gradient flows through the sampled tokens", "the sample is a constant",
    "own knowledge; paper section 2", "gradient", "ELEC-LOSS-3", families=("electra",),
    mutants=[_through_the_sample],
)  # fmt: skip
entry(
    "H13", "discriminator head: LN added; labels turned, or sampled-equal tokens labelled fake",
    "dense+act+linear(1); label 0 if sample = original",
    "src electra", "output", "ELEC-DISC-1", families=("electra",), cause_of=("G09",),
    mutants=[
        swap("a norm after the activation", "rtd_head", rtd_head("dense", "act", "norm")),
        swap("no activation", "rtd_head", rtd_head("dense")),
        swap("no dense layer", "rtd_head", rtd_head("act")),
        of_detection("a token guessed right counts as replaced", lambda b, labels, w: {"labels": _chosen(b)},
                     joint=True),
        of_detection("labels turned: 1 is an original", lambda b, labels, w: {"labels": 1 - labels}),
    ],
)  # fmt: skip
entry(
    "D27", "the discriminator reads the masked input", "it reads the samples where tokens were chosen",
    "own knowledge", "output", "ELEC-RTD-2", families=("electra",),
    mutants=[joint(swap("the samples are not written", "embedding", _unsampled,
                        r"encode\.embeddings\.tables\.word"))],
)  # fmt: skip
entry(
    "D30", "samples written where they don't belong", "at the slots of weight 1",
    "own knowledge", "output", "ELEC-RTD-2", families=("electra",),
    when="at slots of weight 0 where rows have fewer targets than slots",
    mutants=[
        joint(_written("samples written at slots of weight 0, too",
                       lambda b: {"masked_lm_weights": np.ones_like(b["masked_lm_weights"])})),
        *(joint(_written(f"samples written at the position {which} their own", lambda b, by=by: {
            "masked_lm_positions": np.clip(b["masked_lm_positions"] + by, 0, b["input_ids"].shape[1] - 1)}))
          for which, by in (("before", -1), ("behind", 1))),
    ],
)  # fmt: skip
entry(
    "E17", "tables shared by two networks get one network's gradient", "the sum of both",
    "own knowledge; src electra (one variable scope)", "gradient", "ELEC-SHARE-1", families=("electra",),
    mutants=[only("electra", _one_network)],
)  # fmt: skip
entry(
    "D09", "ELECTRA masked as 80/10/10", "85 % mask, 15 % keep, no random",
    "src electra", "data", "ELEC-DATA-2", families=("electra",),
    rule={"electra": lambda *given: rules.bert(*given)},
)  # fmt: skip
entry(
    "S22", "the replaced-token loss summed, or divided by the rows", "the mean over all attended tokens",
    "own knowledge", "loss", "ELEC-LOSS-1", families=("electra",), cause_of=("S07", "S11"),
    mutants=[
        of_detection("summed, not averaged", lambda b, labels, w: {"denominator": 1.0}),
        of_detection("divided by the rows", lambda b, labels, w: {"denominator": float(len(labels))}),
    ],
)  # fmt: skip
unlisted(
    "another sum of the detection loss",
    of_detection("what is replaced alone counts", lambda b, labels, w: {
        "weights": w * (labels == 1), "denominator": float((w * (labels == 1)).sum())}),
    *(solving.solvable(lambda v, text=text, own=own: of_detection(
        f"what is replaced counts {solving.shown(v)} times{text}", _favoured(v, own)),
        2.0, (5.0, 10.0, 0.5, 50.0), 1.0, most=1e4) for text, own in (("", False), (" in the mean", True))),
)
