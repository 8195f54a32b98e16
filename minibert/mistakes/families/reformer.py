"""Mistakes of Reformer: what is hashed where, what a token sees, rounds, two streams, positions."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import hashed, layers, ops, reversible
from minibert.families import reformer
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import entry, only, swap, weights
from minibert.mistakes.swap import Replacement, Site, edited, graded, turned, zeros
from minibert.ops.chunks import OWN

Array = np.ndarray
Tree = dict[str, Any]
FAMILY = ("reformer",)
OWN_ALONE = ("own",)  # the op's rules where none are given
LENGTHS = r"encode\.encoder\.\d+\.attention\.length_norm"
NORM = r"encode\.norm"


def seeing(what: str, edit: Callable[[Tree], Tree]) -> Callable:
    """Attention by hashing on other arguments."""
    return swap(what, "lsh_attention", edited(ops.lsh_attention, edit))


def near(what: str, edit: Callable[[Tree], Tree]) -> list[Callable]:
    """Both kinds of attention on other arguments."""
    both = hashed.local_attention, hashed.hashed_attention
    return [swap(f"{what} ({f.__name__.partition('_')[0]})", f.__name__, edited(f, edit)) for f in both]


def hashing(what: str, find: Callable[[Array, Tree], Array]) -> Callable:
    """Other buckets: find(queries (B, H, T, K), the arguments of the block) -> (B, H, R, T)."""

    def edit(given: Tree) -> Tree:
        if given["x"].shape[1] <= given["chunk"]:
            return {}
        heads = len(given["p"]["query"]["weight"]) // given["width"]
        return {"known": find(layers.projected(given["x"], given["p"], "query", heads=heads)[0], given)}

    return swap(what, "hashed_attention", edited(hashed.hashed_attention, edit))


def _found(q: Array, given: Tree, **other: Any) -> Array:
    mask = given.get("mask")
    own = {name: given[name] for name in ("rotations", "factors")}
    own["seen"] = None if mask is None or mask.all() else mask
    return hashed.buckets(q, **{**own, **other})


def _slowest(q: Array, given: Tree) -> Array:
    """The first factor counts slowest."""
    found, seen, of = _found(q, given), given.get("mask"), given["factors"]
    rest, parts = found.copy(), []
    for factor in of:
        parts.append(rest % factor)
        rest //= factor
    other = np.zeros_like(found)
    for factor, part in zip(of, parts, strict=True):
        other = other * factor + part
    return other if seen is None or seen.all() else np.where(seen.astype(bool)[:, None, None], other, found)


def _unwrapped() -> Replacement:
    """Zeros where the ring closes."""

    def outside(y: Array, before: int, after: int) -> Array:
        count, size = y.shape[2], y.shape[3] // (before + 1 + after)
        at = np.arange(count)[:, None] + np.arange(-before, after + 1)
        beyond = np.repeat((at < 0) | (at >= count), size, 1)
        return np.where(beyond[..., None], 0, y)

    def forward(x: Array, **given: Any) -> tuple[Array, Tree]:
        y, c = ops.neighbours(x, **given)
        return outside(y, given["before"], given["after"]), c

    def backward(dy: Array, c: Tree) -> Array:
        return ops.neighbours_backward(outside(dy, *c["around"]), c)

    return Replacement(forward, backward)


def _mean(c: Tree) -> Tree:
    """A cache whose rounds count alike, and give z nothing."""
    mean, share = c["outputs"].mean(2, keepdims=True), np.full_like(c["share"], 1 / c["share"].shape[2])
    return {**c, "outputs": np.broadcast_to(mean, c["outputs"].shape), "share": share}


def _averaged(q: Array, k: Array, v: Array, **given: Any) -> tuple[Array, Tree]:
    c = ops.lsh_attention(q, k, v, **given)[1]
    return c["outputs"].mean(2), _mean(c)


def _rounds_apart(gradient: Any, dy: Array, c: Tree) -> Any:
    """z as if it were a constant."""
    mean = (c["share"][..., None] * c["outputs"]).sum(2, keepdims=True)
    return ops.lsh_attention_backward.__wrapped__(dy, {**c, "outputs": np.broadcast_to(mean, c["outputs"].shape)})


def _plain(x: Array, weight: Array, *, eps: float) -> tuple[Array, Tree]:
    return x.copy(), {"weight": weight}


def _plain_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    return dy, {"weight": np.zeros_like(c["weight"])}


def _parallel(x: Array, p: Tree, **given: Any) -> tuple[Array, Tree]:
    """The feed-forward reads x₁."""
    f, attention = reversible._attention(x[1], p["attention"], given)
    g, feed = reversible._feed_forward(x[0], p["feed_forward"], given)
    return np.stack([x[0] + f, x[1] + g]), {"attention": attention, "feed_forward": feed}


def _parallel_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    dfirst, g["feed_forward"] = reversible._feed_forward_backward(dy[1], c["feed_forward"])
    dsecond, g["attention"] = reversible._attention_backward(dy[0], c["attention"])
    return np.stack([dy[0] + dfirst, dy[1] + dsecond]), g


def _half(x: Array) -> Array:
    return np.roll(x, x.shape[-1] // 2, -1)


def _dropped_late(x: Array, p: Tree, *, act: str, eps: float, keep: Array | None = None, rate: float = 0.0) -> Any:
    c: Tree = {}
    h, c["norm"] = ops.layer_norm(x, **p["norm"], eps=eps)
    h, c["in"] = ops.linear(h, **p["in"])
    h, c["act"] = layers.activation(h, name=act)
    h, c["dropout"] = ops.dropout(h, keep=keep, rate=rate)
    y, c["out"] = ops.linear(h, **p["out"])
    return y, c


def _dropped_late_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    dh, g["out"] = ops.linear_backward(dy, c["out"])
    dh = layers.activation_backward(ops.dropout_backward(dh, c["dropout"]), c["act"])
    dh, g["in"] = ops.linear_backward(dh, c["in"])
    dx, g["norm"] = ops.layer_norm_backward(dh, c["norm"])
    return dx, g


def _column_first(given: Tree) -> Tree:
    rows, columns = (len(table["weight"]) for table in given["p"])
    places = given["places"]
    return {"places": (places % rows) * columns + places // rows % columns}


def _unmasked(given: Tree) -> Tree:
    return {} if given.get("mask") is None else {"mask": None}


def _late(subject: Subject, site: Site) -> Replacement | None:
    dropped = any(b.get("dropout") for b in subject.batches)
    return Replacement(_dropped_late, _dropped_late_backward) if dropped else None


def _swallowing(kind: type) -> Replacement:
    """Probabilities and shares by sums of exponents that stand beside the own score of -1e5, which has few digits left
    for them: the rows of tokens that see themselves alone, several times.
    """

    def summed(z: Array, axis: int) -> Array:
        """log Σ exp z, rounded."""
        top = z.max(axis, keepdims=True)
        return (top + np.log(np.exp(z - top).sum(axis, keepdims=True)).astype(kind)).astype(kind)

    def forward(q: Array, k: Array, v: Array, **given: Any) -> tuple[Array, Tree]:
        _, c = ops.lsh_attention(q, k, v, **given)
        there, order, back = c["probs"] > 0, c["order"], c["back"]
        alone = ~(there & ~c["fixed"]).any(-1, keepdims=True)
        z = summed(np.where(there, kind(OWN), kind(-np.inf)), -1)
        probs = np.where(alone & there, np.exp(kind(OWN) - z), c["probs"]).astype(q.dtype)
        found = (probs if c["dropout"] is None else probs * c["dropout"]) @ c["values"]
        outputs = np.take_along_axis(found.reshape(*order.shape, -1), back[..., None], 3)
        z, alone = (np.take_along_axis(part.reshape(order.shape), back, 3) for part in (z, alone))
        share = np.where(alone.all(2, keepdims=True), np.exp(z - summed(z, 2)), c["share"]).astype(q.dtype)
        return (share[..., None] * outputs).sum(2), {**c, "probs": probs, "outputs": outputs, "share": share}

    return Replacement(forward, ops.lsh_attention_backward.__wrapped__, faithful=False)


entry(
    "reformer-01", "logits without the head's bias", "z = h W_Vᵀ + b_V",
    "src transformers 5 modeling_reformer.py: ReformerOnlyLMHead has a bias and does not add it", "output",
    "REFORMER-LOSS-1", families=FAMILY,
    mutants=[only("reformer", weights("no bias", lambda path, a: 0 * a, r"lm\.decoder\.bias"))],
)  # fmt: skip
entry(
    "reformer-02", "keys that are not of one length", "a key is its query divided by the root of its mean square",
    "own knowledge: arXiv 2001.04451, section 2 (k_j = q_j/|q_j|)", "output", "REFORMER-ATT-3", families=FAMILY,
    mutants=[
        swap("as the queries are", "rms_norm", Replacement(_plain, _plain_backward), LENGTHS),
        swap("of length 1, and divided by √K once more", "rms_norm",
             turned(ops.rms_norm, weight=(lambda w: w / len(w) ** 0.5, lambda w: w / len(w) ** 0.5)), LENGTHS),
    ],
)  # fmt: skip
entry(
    "reformer-03", "a token attends to itself", "its own score is -1e5: only where there is nothing else",
    "arXiv 2001.04451, section 2 (causal masking for shared-QK attention)", "output", "REFORMER-ATT-5", families=FAMILY,
    mutants=[seeing("no mask of itself", lambda a: {"rules": tuple({*a.get("rules", OWN_ALONE)} - {"own"})})],
)  # fmt: skip
entry(
    "reformer-04", "other buckets hidden, or not", "released: chunks decide alone; the paper hides them, too",
    "arXiv 2001.04451, eq. 4, against trax and transformers", "output", "REFORMER-ATT-6", families=FAMILY, variant=True,
    mutants=[
        seeing("the other", lambda a: {"rules": tuple({*a.get("rules", OWN_ALONE)} ^ {"buckets"})}),
    ],
)  # fmt: skip
entry(
    "reformer-05", "a key that is met in several rounds counts several times, or once",
    "released: each time; the paper takes log N from its score", "arXiv 2001.04451, appendix A", "output",
    "REFORMER-ATT-6", families=FAMILY, variant=True,
    mutants=[
        seeing("the other", lambda a: {"rules": tuple({*a.get("rules", OWN_ALONE)} ^ {"meetings"})}),
    ],
)  # fmt: skip
entry(
    "reformer-06", "a causal model that sees what comes behind", "by place in the text, not in the sorted line",
    "own knowledge: a mask of chunks in their order", "output", "REFORMER-ATT-2", families=FAMILY,
    when="where is_decoder is true", mutants=near("no causal mask", lambda a: {"causal": False}),
)  # fmt: skip
entry(
    "reformer-07", "the chunks behind in the place of those before", "`num_chunks_before` in front, `after` behind",
    "own knowledge: rolled the other way", "output", "REFORMER-ATT-1", families=FAMILY,
    mutants=near("exchanged", lambda a: {"before": a["after"], "after": a["before"]}),
)  # fmt: skip
entry(
    "reformer-08", "nothing before the first chunk", "the last one: chunks are a ring",
    "src transformers _look_adjacent: concatenated, not padded", "output", "REFORMER-ATT-1", families=FAMILY,
    when="where no mask hides it", mutants=[swap("zeros", "neighbours", _unwrapped())],
)  # fmt: skip
entry(
    "reformer-09", "other buckets", "the largest of [x R; -x R], a round its own rotations; the first factor fastest",
    "own knowledge: [-x R; x R], one rotation for all rounds, factors the other way", "output", "OP-LSH-1",
    families=FAMILY, when="where a row is longer than a chunk",
    mutants=[
        hashing("[-x R; x R]", lambda q, a: _found(q, a, rotations=-a["rotations"])),
        hashing("each round as the first", lambda q, a: np.repeat(_found(q, a)[:, :, :1], a["rotations"].shape[3], 2)),
        hashing("the first factor slowest", _slowest),
    ],
)  # fmt: skip
entry(
    "reformer-10", "padding hashed as words are", "it has a bucket of its own, the last",
    "src transformers _hash_vectors (num_buckets + 1)", "output", "OP-LSH-1", families=FAMILY,
    when="where there is padding", mutants=[hashing("no bucket of its own", lambda q, a: _found(q, a, seen=None))],
)  # fmt: skip
entry(
    "reformer-11", "rounds that count alike", "by what each sums up: exp(z_r - log Σ exp z)",
    "own knowledge: a mean over hashes", "output", "OP-LSH-3", families=FAMILY, when="where there are several rounds",
    mutants=[swap("their mean", "lsh_attention", Replacement(_averaged, ops.lsh_attention_backward.__wrapped__))],
)  # fmt: skip
entry(
    "reformer-12", "nothing flows back through how much a round counts", "dS = P∘(dP - Σ dP∘P + dz)",
    "own knowledge: logits detached", "gradient", "OP-LSH-4", families=FAMILY, when="where there are several rounds",
    mutants=[swap("z as a constant", "lsh_attention", graded(ops.lsh_attention, _rounds_apart))],
)  # fmt: skip
entry(
    "reformer-13", "nothing flows back through keys", "query and key are one projection: the sum of both gradients",
    "own knowledge: shared projections differentiated once", "gradient", "REFORMER-ATT-3", families=FAMILY,
    mutants=[swap("queries alone", "rms_norm", graded(ops.rms_norm, lambda g, dy, c: zeros(g)), LENGTHS)],
)  # fmt: skip
entry(
    "reformer-14", "streams exchanged", "y₁ = x₁ + attention(x₂), y₂ = x₂ + feed-forward(y₁)",
    "arXiv 2001.04451, eq. 9 (Gomez et al. 2017); lucidrains/reformer-pytorch reversible.py", "output",
    "REFORMER-LAYER-1", families=FAMILY,
    mutants=[
        swap("attention reads x₁", "reversible_layer",
             turned(reversible.reversible_layer, x=(lambda x: x[::-1], lambda x: x[::-1]))),
        swap("the feed-forward reads x₁, not y₁", "reversible_layer", Replacement(_parallel, _parallel_backward)),
    ],
)  # fmt: skip
entry(
    "reformer-15", "[y₂; y₁] at the end", "[y₁; y₂], and one norm over both",
    "src transformers ReformerEncoder (torch.cat of attn_output, hidden_states)", "output", "REFORMER-OUT-1",
    families=FAMILY,
    mutants=[only("reformer", swap("the other way", "layer_norm", turned(ops.layer_norm, x=(_half, _half)), NORM))],
)  # fmt: skip
entry(
    "reformer-16", "axial positions column by column", "row ⌊t/n₂⌋, column t mod n₂",
    "own knowledge: reshape in the other order", "output", "REFORMER-EMB-1", families=FAMILY,
    when="where axial_pos_embds is true",
    mutants=[swap("row t mod n₁", "axial_positions", edited(reformer.axial_positions, _column_first))],
)  # fmt: skip
entry(
    "reformer-17", "dropout behind the activation", "before it: act(Drop(x W₁ᵀ + b₁))",
    "src transformers ReformerFeedForwardDense", "output", "REFORMER-FF-1", families=FAMILY,
    when="where something is dropped", mutants=[swap("behind", "normed_feed_forward", _late)],
)  # fmt: skip
entry(
    "reformer-18", "what fills up chunks is seen", "it is padding: masked in every layer",
    "src transformers _pad_to_mult_of_chunk_length", "output", "REFORMER-EMB-3", families=FAMILY,
    when="where there is padding", mutants=near("no mask", _unmasked),
)  # fmt: skip
entry(
    "reformer-19", "the own score of -1e5 swallows digits",
    "each of N meetings with itself has 1/N, as exactly as other shares",
    "src transformers 5 modeling_reformer.py: logsumexp of scores of -1e5 in float32 has steps of 0.008", "output",
    "REFORMER-ATT-5", families=FAMILY, variant=True,
    mutants=[swap(f"sums of exponents beside it in {kind.__name__}", "lsh_attention", _swallowing(kind))
             for kind in (np.float32, np.float64)],
)  # fmt: skip
