"""Mistakes of T5: scores, relative positions, norms without a mean, gates, the scale of the logits."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from minibert import layers, ops, relative, tree
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import Mutant, entry, only, swap, weights
from minibert.mistakes.going import Going
from minibert.mistakes.ops.embeddings import summed
from minibert.mistakes.swap import Replacement, Site, edited, graded, relinear, zeros
from minibert.pairs import observing

Array = np.ndarray
Tree = dict[str, Any]

OWN = r"encode\.(encoder|decoder)\.\d+\.attention\.attention"
CROSS = r"encode\.decoder\.\d+\.cross_attention\.attention"
STACKS = ("encoder", "decoder")
GROUPS = (
    ("the encoder", r"encode\.encoder.*"),
    ("the decoder", r"encode\.decoder.*"),
    ("self-attention", OWN),
    ("attention to the source", CROSS),
)


def own(*makers: Callable) -> list[Callable]:
    """The makers for T5 and its kin."""
    return [only("t5", maker) for maker in makers]


# ---- Scores ----------------------------------------------------------------------------------------------------------
def _attending(what: str, edit: Callable[[dict[str, Any]], dict[str, Any]], paths: str = ".*") -> Callable:
    """Attention on other arguments."""
    return swap(what, "attention", edited(ops.attention, edit), paths, GROUPS)


def _root(given: dict[str, Any]) -> float:
    return given["q"].shape[-1] ** -0.5


def _unbiased(subject: Subject, site: Site) -> Replacement | None:
    """Attention without relative positions, but in the first layer."""
    return None if site.layer == 0 else _without_bias()


def _without_bias() -> Replacement:
    """Attention without the caller's bias, which gets no gradient."""

    def attention(q: Array, k: Array, v: Array, bias: Array, **given: Any) -> tuple[Array, Tree]:
        y, c = ops.attention(q, k, v, **given)
        return y, {**c, "of_caller": bias}

    def attention_backward(dy: Array, c: Tree) -> tuple[Array, ...]:
        return *ops.attention_backward(dy, c), np.zeros_like(c["of_caller"])

    return Replacement(attention, attention_backward)


def _alone(number: Callable[[Subject, Site], int]) -> Callable:
    """Attention whose gradient reaches the table of positions from one layer of a stack alone."""

    def made(subject: Subject, site: Site) -> Replacement | None:
        if site.layer == number(subject, site):
            return None
        return graded(ops.attention, lambda d, dy, c: (*d[:3], zeros(d[3])))

    return made


def _last(subject: Subject, site: Site) -> int:
    return len(subject.params["encoder" if "encode.encoder." in site.path else "decoder"]) - 1


def _cross_biased(subject: Subject, site: Site) -> Replacement:
    """The decoder's table of positions at the source's tokens, too; nothing flows back to it."""
    table, made = subject.params["decoder_positions"], subject.config

    def edit(given: dict[str, Any]) -> dict[str, Any]:
        queries, keys = given["q"].shape[2], given["k"].shape[2]
        count, most = made.relative_attention_num_buckets, made.relative_attention_max_distance
        places = relative.buckets(queries, keys, both=False, count=count, most=most)
        bias = table["weight"].astype(given["q"].dtype)[places].transpose(2, 0, 1)[None]
        return {"mask": None, "masked": "min", "bias": bias + _masked(given)}

    def forward(q: Array, k: Array, v: Array, bias: None = None, **given: Any) -> tuple[Array, Tree]:
        return ops.attention(q, k, v, **{**given, **edit({"q": q, "k": k, **given})})

    return Replacement(forward, lambda dy, c: ops.attention_backward(dy, c)[:3])


def _masked(given: dict[str, Any]) -> Array | float:
    added, _ = ops.masking(given.get("mask"), given.get("masked", "min"), given["q"].dtype)
    return 0.0 if added is None else added


# ---- Relative positions ----------------------------------------------------------------------------------------------
def _bucketed(what: str, rule: Callable[..., Array], stacks: tuple[str, ...] = STACKS) -> Callable:
    """Other buckets in these stacks: rule(T, S, both, count, most) -> (T, S)."""

    def made(subject: Subject, site: Site) -> Replacement | None:
        c, both = subject.config, "encoder" in site.path
        if STACKS[not both] not in stacks:
            return None
        sizes = {"count": c.relative_attention_num_buckets, "most": c.relative_attention_max_distance}
        return edited(relative.relative_bias, lambda given: {"buckets": rule(*given["buckets"].shape, both, **sizes)})

    groups = [(f"the {stack}", rf"encode\.{stack}_positions") for stack in STACKS]
    return swap(what, "relative_bias", made, groups=groups)


def _buckets(queries: int, keys: int, both: bool, count: int, most: float) -> Array:
    return relative.buckets(queries, keys, both=both, count=count, most=most)


def _sized(what: str, edit: Callable[[bool, int, int], tuple[bool, int, float]]) -> Callable:
    """Buckets of other sizes: edit(both, count, most) -> the same three."""
    return _bucketed(what, lambda t, s, both, count, most: _buckets(t, s, *edit(both, count, most)))


def _by(far: Callable[[Array, int, int, int], Array]) -> Callable[..., Array]:
    """Buckets with another rule for the distances beyond the first half: far(distance, exact, half, most)."""

    def rule(queries: int, keys: int, both: bool, count: int, most: int) -> Array:
        offset = np.arange(keys) - np.arange(queries)[:, None]
        half = count // 2 if both else count
        distance, exact = np.abs(offset) if both else np.maximum(-offset, 0), half // 2
        beyond = np.minimum(far(np.maximum(distance, exact), exact, half, most).astype(np.int64), half - 1)
        found = np.where(distance < exact, distance, beyond)
        return found + half * (offset > 0) if both else found

    return rule


def _log(distance: Array, exact: int, half: int, most: float) -> Array:
    return np.log(distance / exact) / np.log(most / exact) * (half - exact) * (1 + 1e-12)


def _moved(what: str, edit: Callable[[Tree], Tree]) -> Callable:
    """The whole tree of parameters otherwise: edit(it) -> the parts that change."""
    change = lambda s: replace(s, params={**s.params, **edit(s.params)})  # noqa: E731
    return lambda subject, at: [Mutant(what, change, silent=r"gradients/(en|de)coder_positions.*")]


# ---- Norms -----------------------------------------------------------------------------------------------------------
NORMS = (
    ("the encoder", r"encode\.encoder.*"), ("the decoder", r"encode\.decoder.*"),
    ("norms of sub-layers", r".*\d\..*"), ("norms behind the stacks", r"encode\.(en|de)coder_norm"),
)  # fmt: skip


def _normed(what: str, replacement: Replacement, **more: Any) -> Callable:
    return swap(what, "rms_norm", replacement, groups=NORMS, **more)


def _by_root(root: Callable[[Array, float], tuple[Array, Array]], centred: bool = False) -> Replacement:
    """γ x r(v, eps), v = mean x², x first centred or not; root gives (r, dr/dv)."""

    def rms_norm(x: Array, weight: Array, *, eps: float) -> tuple[Array, Tree]:
        x = x - x.mean(-1, keepdims=True) if centred else x
        r, slope = root((x * x).mean(-1, keepdims=True), eps)
        return x * r * weight, {"x": x, "r": r, "slope": slope, "weight": weight}

    def rms_norm_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
        x, g = c["x"], dy * c["weight"]
        dx = c["r"] * g + x * (2 / x.shape[-1]) * (g * x).sum(-1, keepdims=True) * c["slope"]
        dx = dx - dx.mean(-1, keepdims=True) if centred else dx
        return dx, {"weight": (dy * x * c["r"]).reshape(-1, x.shape[-1]).sum(0)}

    return Replacement(rms_norm, rms_norm_backward)


def _right(v: Array, eps: float) -> tuple[Array, Array]:
    r = (v + eps) ** -0.5
    return r, -0.5 * r**3


def _outside(v: Array, eps: float) -> tuple[Array, Array]:
    s = np.sqrt(v)
    return 1 / (s + eps), -0.5 / ((s + eps) ** 2 * s)


def _another(eps: float) -> Replacement:
    return edited(ops.rms_norm, lambda given: {"eps": eps})


def _from_one() -> Replacement:
    """(1 + γ) in the place of γ."""
    return edited(ops.rms_norm, lambda given: {"weight": 1 + given["weight"]})


def _in_float32() -> Replacement:
    """The mean square in float32; the derivative is that of the norm."""

    def rms_norm(x: Array, weight: Array, *, eps: float) -> tuple[Array, Tree]:
        narrow = x.astype(np.float32)
        rstd = 1 / np.sqrt((narrow * narrow).mean(-1, keepdims=True) + np.float32(eps))
        xhat = x * rstd
        return xhat * weight, {"xhat": xhat, "rstd": rstd, "weight": weight}

    return Replacement(rms_norm, ops.rms_norm_backward)


def _no_norm() -> Replacement:
    def rms_norm(x: Array, weight: Array, *, eps: float) -> tuple[Array, Tree]:
        return x, {"weight": weight}

    return Replacement(rms_norm, lambda dy, c: (dy, {"weight": np.zeros_like(c["weight"])}))


# ---- Feed-forward ----------------------------------------------------------------------------------------------------
def _gate(before: Callable[[Tree], Tree]) -> Replacement:
    """The gated feed-forward with its matrices in other places: before is its own inverse."""
    forward, backward = layers.gated_feed_forward.__wrapped__, layers.gated_feed_forward_backward.__wrapped__

    def back(dy: Array, c: Tree) -> tuple[Array, Tree]:
        dx, g = backward(dy, c)
        return dx, before(g)

    return Replacement(lambda x, p, **given: forward(x, before(p), **given), back)


def _exchanged(p: Tree) -> Tree:
    return {**p, "gate": p["in"], "in": p["gate"]}


def _activated(what: str, name: str) -> Callable:
    """This activation, where the configuration says another."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        if layers.ACTIVATIONS[subject.config.act] == layers.ACTIVATIONS[name]:
            return []
        return swap(what, "activation", edited(layers.activation, lambda given: {"name": name}))(subject, at)

    return maker


# ---- Logits, dropout -------------------------------------------------------------------------------------------------
def _times(factor: Callable[[Subject], float]) -> Callable:
    """The logits times a factor."""

    def made(subject: Subject, site: Site) -> Replacement:
        turn = lambda a: a * a.dtype.type(factor(subject))  # noqa: E731
        return relinear(weight=(turn, turn))

    return made


def _rooted(subject: Subject) -> float:
    return float(subject.config.d_model) ** 0.5


def _scaled(what: str, scaled: bool, factor: Callable[[Subject], float]) -> Callable:
    """Logits times a factor, where they are scaled, or are not."""
    maker = swap(what, "linear", _times(factor), r"next_token\.head")
    return lambda subject, at: maker(subject, at) if (subject.config.scale != 1) is scaled else []


def _tied(what: str, kept: str) -> Callable:
    """One table where there are two: the one at this path."""

    def change(s: Subject) -> Subject:
        flat = tree.flatten(s.params)
        flat["embeddings.word.weight"], _ = flat[kept], flat.pop("lm.decoder.weight")
        made = replace(s.config, tie_word_embeddings=True, scale_decoder_outputs=s.config.scale != 1)
        return replace(s, config=made, params=tree.unflatten(flat))

    return lambda subject, at: [] if subject.config.tie_word_embeddings else [Mutant(what, change)]


def _undropped(what: str, name: str, paths: str, argument: str = "keep") -> Callable:
    """Nothing dropped there, where something is."""

    def maker(subject: Subject, at: Any) -> list[Mutant]:
        f = {"dropout": ops.dropout, "embeddings": layers.embeddings, "attention": ops.attention,
             "feed_forward": layers.feed_forward, "gated_feed_forward": layers.gated_feed_forward}[name]  # fmt: skip
        there = bool(subject.batches[0].get("dropout"))
        return swap(what, name, edited(f, lambda given: {argument: None}), paths)(subject, at) if there else []

    return maker


# ---- From token to token ---------------------------------------------------------------------------------------------
def _from_zero(network: ModuleType, length: int) -> Going:
    """Each step's queries at positions 0, 1, …, whatever was read before."""

    def step(p: Tree, config: Any, ids: Array, state: Tree) -> tuple[Array, Tree]:
        def around(f: Callable, args: tuple, given: dict) -> Any:
            if f.__name__ == "relative_bias":
                count, most = config.relative_attention_num_buckets, config.relative_attention_max_distance
                given = {**given, "buckets": _buckets(*given["buckets"].shape, False, count, most)}
            return f(*args, **given)

        with observing(around):
            return network.step(p, config, ids, state)

    return network.start, step


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "t5-01", "scores divided by √K", "q kᵀ + bias, as the first values of W_q are divided",
    "allenai/allennlp#5360; own knowledge", "output", "T5-ATT-1", families=("t5",),
    mutants=own(_attending("scores divided by √K", lambda given: {"scale": _root(given)}),
                _attending("scores divided by the root of √K", lambda given: {"scale": _root(given) ** 0.5})),
)  # fmt: skip
entry(
    "t5-02", "relative positions in the first layer alone", "one bias a stack, added in every layer of it",
    "HF#10221 (asked); OpenNMT/CTranslate2#1335", "output", "T5-REL-1", families=("t5",),
    mutants=own(swap("no bias behind the first layer", "attention", _unbiased, OWN, GROUPS)),
)  # fmt: skip
entry(
    "t5-03", "the table of positions gets one layer's gradient", "the sum over the layers of its stack",
    "own knowledge", "gradient", "T5-REL-1", families=("t5",),
    mutants=own(
        swap("the first layer's gradient alone", "attention", _alone(lambda *_: 0), OWN, GROUPS, section="gradients"),
        swap("the last layer's gradient alone", "attention", _alone(_last), OWN, GROUPS, section="gradients"),
    ),
)  # fmt: skip
entry(
    "t5-04", "no relative positions", "the table's entry of the bucket and head is added to the score",
    "own knowledge", "output", "OP-REL-3", families=("t5",),
    mutants=own(swap("no bias", "attention", _without_bias(), OWN, GROUPS)),
)  # fmt: skip
entry(
    "t5-05", "relative positions in attention to the source", "none there",
    "HF#8518, #2334; guillaume-be/rust-bert#171 (with a table of its own, or this one)", "output", "T5-REL-2",
    families=("t5",),
    mutants=own(swap("the decoder's table at the source's tokens", "attention", _cross_biased, CROSS,
                     silent=r"gradients/decoder_positions.*")),
)  # fmt: skip
entry(
    "t5-06", "buckets of the wrong direction", "half for keys behind the query in the encoder, none in the decoder",
    "lucidrains/x-transformers#10; own knowledge", "output", "T5-REL-1", families=("t5",),
    mutants=own(_sized("two directions taken for one, one for two", lambda both, *sizes: (not both, *sizes))),
)  # fmt: skip
entry(
    "t5-07", "the sign of the distance turned round", "key − query",
    "lucidrains/x-transformers#10; sbryngelson/ANEForge#255", "output", "OP-REL-1", families=("t5",),
    mutants=own(
        _bucketed("query − key", lambda t, s, both, count, most: _buckets(s, t, both, count, most).T),
        _bucketed("the halves of both directions exchanged", lambda t, s, both, count, most: (
            _buckets(t, s, both, count, most) + count // 2) % (count // 2 * 2), STACKS[:1]),
    ),
)  # fmt: skip
entry(
    "t5-08", "another largest distance", "relative_attention_max_distance, of both directions, too",
    "own knowledge (both ways distances from 91 on share a bucket of 128's)", "output", "OP-REL-2", families=("t5",),
    mutants=own(
        _sized("the configuration's ignored for 128", lambda both, count, most: (both, count, 128)),
        _sized("half of it", lambda both, count, most: (both, count, max(most / 2, count // 2 + 1))),
        _sized("twice it", lambda both, count, most: (both, count, 2 * most)),
    ),
)  # fmt: skip
entry(
    "t5-09", "another number of buckets", "relative_attention_num_buckets, halved where both directions have some",
    "own knowledge", "output", "OP-REL-1", families=("t5",),
    mutants=own(
        _sized("half of them used", lambda both, count, most: (both, max(4, count // 2), most)),
        _bucketed("not halved for two directions", lambda t, s, both, count, most: np.where(
            np.tri(t, s, 0, bool), _buckets(t, s, False, count, most),
            np.minimum(_buckets(s, t, False, count, most).T + count // 2, count - 1)), STACKS[:1]),
    ),
)  # fmt: skip
entry(
    "t5-10", "far distances bucketed by another rule", "⌊log(d/e) / log(most/e) · (n − e)⌋ beyond e = n/2",
    "own knowledge", "output", "OP-REL-2", families=("t5",),
    mutants=own(*(_bucketed(what, _by(far)) for what, far in (
        ("linear up to the largest", lambda d, e, n, m: e + (d - e) / (m - e) * (n - e)),
        ("of another base than the divisor's", lambda d, e, n, m: e + _log(d, e, n, m) / np.log(2)),
        ("rounded up", lambda d, e, n, m: e + np.ceil(_log(d, e, n, m) - 1e-9)),
        ("rounded to the nearest", lambda d, e, n, m: e + np.rint(_log(d, e, n, m))),
        ("times n, not n − e", lambda d, e, n, m: e + _log(d, e, n, m) * n / (n - e)),
        ("divided by log most", lambda d, e, n, m: e + _log(d, e, n, m) * np.log(m / e) / np.log(m)),
        ("all of them in the first", lambda d, e, n, m: e + 0 * d),
        ("all of them in the last", lambda d, e, n, m: n - 1 + 0 * d)))),
)  # fmt: skip
entry(
    "t5-11", "one table of positions for both stacks", "each stack has its own",
    "own knowledge", "output", "T5-REL-1", families=("t5",),
    mutants=own(
        _moved("the encoder's for both", lambda p: {"decoder_positions": p["encoder_positions"]}),
        _moved("the decoder's for both", lambda p: {"encoder_positions": p["decoder_positions"]}),
        _moved("exchanged", lambda p: {f"{stack}_positions": p[f"{other}_positions"]
                                       for stack, other in zip(STACKS, STACKS[::-1], strict=True)}),
    ),
)  # fmt: skip
entry(
    "t5-12", "the table of positions read as (H, buckets)", "(buckets, H)",
    "own knowledge", "output", "OP-REL-3", families=("t5",),
    mutants=own(weights("reshaped, not transposed", lambda _, a: a.reshape(a.shape[::-1]).T, r"\w+_positions\.weight")),
)  # fmt: skip
entry(
    "t5-13", "relative positions scaled as scores are", "added as they are",
    "own knowledge", "output", "OP-REL-3", families=("t5",),
    mutants=own(swap("the bias divided by √K", "attention", edited(
        ops.attention, lambda given: {"bias": given["bias"] * given["q"].dtype.type(_root(given))}, faithful=False),
        OWN, GROUPS, silent=r"gradients/(en|de)coder_positions.*")),
)  # fmt: skip
entry(
    "t5-14", "layer norm for RMS norm", "no mean is taken away",
    "ggml-org/ggml#900 (of ports on it); own knowledge", "output", "T5-NORM-1", families=("t5",),
    mutants=own(_normed("the mean taken away", _by_root(_right, centred=True))),
)  # fmt: skip
entry(
    "t5-15", "RMS norm with another root", "γx/√(mean x² + eps)",
    "own knowledge", "output", "OP-RMS-1", families=("t5",),
    mutants=own(
        _normed("eps outside the root", _by_root(_outside)),
        _normed("no root", _by_root(lambda v, eps: (1 / (v + eps), -1 / (v + eps) ** 2))),
        _normed("(1 + γ) for γ", _from_one()),
    ),
)  # fmt: skip
entry(
    "t5-16", "another eps", "layer_norm_epsilon, 1e-6", "own knowledge", "output", "T5-CFG-1", families=("t5",),
    mutants=own(*(_normed(f"eps {eps:g}", _another(eps)) for eps in (1e-5, 1e-6, 1e-12))),
)  # fmt: skip
entry(
    "t5-17", "the mean square in float32", "in the precision of h", "transformers' T5LayerNorm", "nowhere", "T5-NORM-1",
    families=("t5",), variant=True, reason="float64 alone shows it: elsewhere it is rounding",
    mutants=own(_normed("the mean square in float32", _in_float32())),
)  # fmt: skip
entry(
    "t5-18", "no norm behind a stack", "one behind each",
    "own knowledge", "output", "T5-NORM-1", families=("t5",),
    mutants=own(swap("no norm behind the stacks", "rms_norm", _no_norm(), r"encode\.(en|de)coder_norm",
                     [(f"the {s}", rf"encode\.{s}_norm") for s in STACKS])),
)  # fmt: skip
entry(
    "t5-19", "gate and input exchanged", "wi_0 is the gate, which the activation is of, wi_1 the other",
    "own knowledge", "output", "OP-GATE-1", families=("t5",),
    mutants=own(swap("the activation of wi_1", "gated_feed_forward", _gate(_exchanged))),
)  # fmt: skip
entry(
    "t5-20", "another activation", "relu; gated-gelu takes the tanh form, gelu the erf form",
    "own knowledge", "output", "T5-CFG-2", families=("t5",),
    mutants=own(*(_activated(f"{name} for the configuration's", name)
                  for name in ("relu", "gelu", "gelu_new", "tanh", "sigmoid"))),
)  # fmt: skip
entry(
    "t5-21", "logits not scaled where the table is tied", "D^−½ h Eᵀ",
    "ml-explore/mlx-examples#591; own knowledge", "output", "T5-LM-1", families=("t5",),
    mutants=own(_scaled("no D^−½", True, _rooted), _scaled("D^−1", True, lambda s: 1 / _rooted(s)),
                _scaled("times D^½", True, lambda s: _rooted(s) ** 2)),
)  # fmt: skip
entry(
    "t5-22", "logits scaled where they are not to be", "h Uᵀ as it is in version 1.1",
    "HF#43681; ml-explore/mlx-examples#591", "output", "T5-LM-1", families=("t5",),
    mutants=own(_scaled("D^−½ of an untied head", False, lambda s: 1 / _rooted(s))),
)  # fmt: skip
entry(
    "t5-23", "tie_word_embeddings: false ignored", "logits by lm_head's own table",
    "HF 5.x of what is made anew; own knowledge", "output", "T5-LM-1", families=("t5",),
    mutants=own(_tied("logits by the word table", "embeddings.word.weight"),
                _tied("lm_head's table for the words, too", "lm.decoder.weight")),
)  # fmt: skip
entry(
    "t5-24", "embeddings multiplied by √D", "looked up as they are; their first deviation is 1",
    "own knowledge (the Transformer has it)", "output", "T5-EMB-1", families=("t5",),
    mutants=own(lambda subject, at: swap("word times √D", "embeddings", summed(
        {"word": float(subject.config.d_model) ** 0.5}), groups=GROUPS[:2])(subject, at)),
)  # fmt: skip
entry(
    "t5-25", "a dropout left out", "on embeddings, probabilities, inner units, residuals and behind the last norms",
    "own knowledge", "output", "T5-LAYER-1", families=("t5",),
    mutants=own(
        _undropped("none behind the norms of the stacks", "dropout", r"encode\.(en|de)coder_dropout"),
        _undropped("none of the embeddings", "embeddings", r".*"),
        _undropped("none of the probabilities", "attention", r".*", "dropout"),
        _undropped("none within the feed-forward", "gated_feed_forward", r".*", "dropout"),
    ),
)  # fmt: skip
entry(
    "t5-26", "positions from 0 again with every step", "a query's position counts from the first token written",
    "huggingface/candle#899", "output", "OP-REL-3", families=("t5",),
    going={"each step's queries from 0": _from_zero},
)  # fmt: skip
entry(
    "t5-27", "rows cut at n_positions", "there is no last position", "own knowledge", "nowhere", "T5-CFG-4",
    families=("t5",),
    reason="a case has no such row; distances beyond the largest share its bucket",
)  # fmt: skip
entry(
    "t5-28", "large values clamped", "nothing is", "transformers' T5Block, in float16",
    "nowhere", "T5-LAYER-1", families=("t5",), variant=True,
    reason="ports clamp where float16 overflows, and no case is in 16 bits",
)  # fmt: skip
