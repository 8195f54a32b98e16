"""Mistakes in the heads."""

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minibert import families, layers, objective, ops, tree
from minibert.golden.subject import Subject
from minibert.heads import masked_lm, replaced_token
from minibert.mistakes import solving
from minibert.mistakes.catalogue import Mutant, apart, batch, entry, field, only, present, swap, unlisted, weights
from minibert.mistakes.ops.activations import elu, leaky
from minibert.mistakes.ops.attention import without_bias
from minibert.mistakes.ops.losses import of_pairs, of_tokens
from minibert.mistakes.ops.norms import no_norm
from minibert.mistakes.swap import Replacement, Site, edited, graded, relinear, swapped, zeros

SECTION = {"H": "Heads"}
WORDS = "embeddings.word.weight"
TRANSFORMED = r"(forward|gradients)/masked_lm\.head\.norm"  # of a transform that ends otherwise: its end, or the norm

Array = np.ndarray
Cache = dict[str, Any]


# ---- Tying -----------------------------------------------------------------------------------------------------------
def _untied(subject: Subject, _: Any) -> list[Mutant]:
    """A decoder with a copy of the table: the right loss, and a gradient that lacks a part."""
    if not getattr(subject.config, "tie_word_embeddings", False):
        return []
    module, apart = families.family(subject.family), replace(subject.config, tie_word_embeddings=False)
    wanted = [path for path, _ in tree.items(objective.trained(module, apart))]
    whole = any(path.endswith(WORDS) for path, _ in tree.items(subject.params))
    if len(wanted) == len(tree.leaves(subject.params)) or not whole:  # nothing is tied, or parts of a table are
        return []
    tied = {path: name for path, name, _ in module.names(subject.config)}
    renamed = {name: tied[path] for path, name, _ in module.names(apart) if path in tied and tied[path] != name}

    def change(s: Subject) -> Subject:
        flat = tree.flatten(s.params)
        tables = [(path, array) for path, array in flat.items() if path.endswith(WORDS)]

        def table(decoder: str) -> Array:  # of several the one whose name begins as the decoder's
            begins = decoder.partition("_")[0]
            return next((array for path, array in tables if path.startswith(begins)), tables[0][1])

        held = {path: flat[path] if path in flat else table(path) for path in wanted}
        return replace(s, config=apart, params=tree.unflatten(held))

    def tied_names(tensors: dict[str, Array]) -> dict[str, Array]:
        found = {}
        for key, array in tensors.items():
            other = next((key.removesuffix(name) + renamed[name] for name in renamed if key.endswith(name)), key)
            found[other] = array
        return found

    return [Mutant("the decoder is a copy of the word table", change, section="gradients", after=tied_names)]


def tied_gradient(what: str, decoder: float) -> Callable:
    """The logits' part of a word table's gradient multiplied by `decoder`, where that table makes them."""
    made = graded(ops.linear, lambda g, dz, c: (g[0], {**g[1], "weight": g[1]["weight"] * decoder}))

    def of_table(subject: Subject, site: Site) -> Replacement | None:
        return made if any(path.endswith(WORDS) for path in site.params) else None

    return swap(what, "linear", of_table, section="gradients")


def _set_logit(value: float) -> Callable:
    """The padding word's logit at a value of its own."""

    def made(subject: Subject, site: Site) -> Replacement | None:
        row = field(subject, "pad_token_id")
        if row is None:
            return None

        def forward(x: Array, **p: Any) -> tuple[Array, Any]:
            y, c = ops.linear(x, **p)
            y = y.copy()
            y[..., row] = value
            return y, c

        def backward(dy: Array, c: Any) -> Any:
            dy = dy.copy()
            dy[..., row] = 0
            return ops.linear_backward(dy, c)

        return of_logits(Replacement(forward, backward))(subject, site)

    return swap(f"the padding word's logit is {solving.shown(value)}", "linear", made)


def of_logits(replacement: Replacement) -> Callable[[Subject, Site], Replacement | None]:
    """The replacement of what makes logits of the vocabulary: the linear map of a matrix as large as a word table."""

    def made(subject: Subject, site: Site) -> Replacement | None:
        sizes = {a.shape for path, a in tree.items(subject.params) if path.endswith(WORDS)}
        return replacement if any(tree.get(subject.params, path).shape in sizes for path in site.params) else None

    return made


def lookup_gradient(factor: float) -> Replacement:
    """The word table's look-up gradient multiplied by a factor."""
    return graded(ops.embedding, lambda g, dy, c: {"weight": factor * g["weight"]})


def halved(subject: Subject, at: list) -> list[Mutant]:
    """Both parts of the tied gradient halved."""
    first = tied_gradient("", 0.5)(subject, at)
    second = swap("", "embedding", lookup_gradient(0.5), r".*\.word")(subject, at)
    if not (first and second and subject.config.tie_word_embeddings):
        return []
    return [
        Mutant(
            "half the gradient of the tied table", lambda s: second[0].change(first[0].change(s)), section="gradients"
        )
    ]


def only_when_tied(maker: Callable) -> Callable:
    """No mutant where nothing is tied."""
    return lambda subject, at: maker(subject, at) if subject.config.tie_word_embeddings else []


# ---- Pairs -----------------------------------------------------------------------------------------------------------
def mlm_head(*steps: str) -> Callable:
    """The MLM head's transform of these steps, of dense, act and norm; without dense only where that is square."""
    made = _mlm_head(steps)

    def fitting(subject: Subject, site: Site) -> Replacement | None:
        own = [a for path, a in tree.items(subject.params) if path.endswith("mlm.dense.weight")]
        return made if "dense" in steps or all(a.shape[0] == a.shape[1] for a in own) else None

    return fitting


def _mlm_head(steps: tuple[str, ...]) -> Replacement:
    def forward(x: Array, p: Any, table: Array, *, act: str, eps: float) -> tuple[Array, Cache]:
        c: Cache = {"plain": {"dense": p["dense"], "norm": p["norm"]}}
        for step in steps:
            if step == "dense":
                x, c[step] = ops.linear(x, **p[step])
            elif step == "act":
                x, c[step] = layers.activation(x, name=act)
            else:
                x, c[step] = ops.layer_norm(x, **p[step], eps=eps)
        z, c["decoder"] = ops.linear(x, weight=table, bias=p["decoder"]["bias"])
        return z, c

    def backward(dz: Array, c: Cache) -> tuple[Array, Any, Array]:
        du, decoder = ops.linear_backward(dz, c["decoder"])
        g = {**zeros(c["plain"]), "decoder": {"bias": decoder["bias"]}}
        for step in reversed(steps):
            if step == "act":
                du = layers.activation_backward(du, c[step])
            else:
                du, g[step] = (ops.linear_backward if step == "dense" else ops.layer_norm_backward)(du, c[step])
        return du, g, decoder["weight"]

    return Replacement(forward, backward)


def bias_times(factor: float) -> Replacement:
    """x Wᵀ + factor·b."""
    return relinear(bias=(lambda b: b * factor, lambda g: g * factor))


def reread() -> Replacement:
    """A weight (o, i) whose numbers are read in the order of (i, o) and then transposed."""
    return relinear(weight=(lambda w: w.reshape(w.shape[::-1]).T, lambda g: g.T.reshape(g.shape)))


def transposed() -> Replacement:
    """y = x W + b with a square W."""
    return relinear(weight=(np.transpose, np.transpose))


def pooler(select: Callable[[Array], tuple[Array, Callable]], dense: bool = True, tanh: bool = True) -> Replacement:
    """tanh(W s + b) of another selection s: select(x (B, T, D)) -> (s (B, D), its backward); without dense or tanh."""

    def forward(x: Array, p: Any) -> tuple[Array, Cache]:
        c: Cache = {"shape": x.shape, "plain": p}
        r, c["own"] = (lambda found: (found[0], (found[1],)))(select(x))
        if dense:
            r, c["dense"] = ops.linear(r, **p)
        if tanh:
            r, c["tanh"] = ops.tanh(r)
        return r, c

    def backward(dr: Array, c: Cache) -> tuple[Array, Any]:
        g: Any = {name: np.zeros_like(value) for name, value in c["plain"].items()}
        dr = ops.tanh_backward(dr, c["tanh"]) if tanh else dr
        if dense:
            dr, g = ops.linear_backward(dr, c["dense"])
        return c["own"][0](dr), g

    return Replacement(forward, backward)


def padded_vocabulary(count: float) -> Replacement:
    """So many logits of 0 appended, and part of the softmax: one of log n is as much as n."""

    def cross_entropy(logits: Array, **given: Any) -> tuple[Array, Cache]:
        more = np.full((*logits.shape[:-1], 1), np.log(max(count, 1e-30)), logits.dtype)
        loss, c = ops.cross_entropy(np.concatenate([logits, more], -1), **given)
        return loss, {**c, "logits": logits, "own": (c,)}

    def cross_entropy_backward(dy: Array, c: Cache) -> Array:
        return ops.cross_entropy_backward(dy, c["own"][0])[..., :-1]

    return Replacement(cross_entropy, cross_entropy_backward)


def _to_multiples(subject: Subject) -> tuple[float, ...]:
    """The rows that fill a vocabulary up to a multiple, for those that people pad to."""
    found = (-field(subject, "vocab_size") % n for n in (8, 16, 64, 128, 256, 512, 1024))
    return tuple(float(n) for n in found if n)


def token(index: int) -> Callable[[Array], tuple[Array, Callable]]:
    """The vector at one position."""

    def select(x: Array) -> tuple[Array, Callable]:
        def backward(d: Array) -> Array:
            dx = np.zeros(x.shape, d.dtype)
            dx[:, index] = d
            return dx

        return x[:, index], backward

    return select


def first_row(x: Array) -> tuple[Array, Callable]:
    """As many vectors of the first row as there are rows, where it has so many."""
    if len(x) > x.shape[1]:
        raise ValueError("a row of fewer positions than there are rows")

    def backward(d: Array) -> Array:
        dx = np.zeros(x.shape, d.dtype)
        dx[0, : len(x)] = d
        return dx

    return x[0, : len(x)], backward


def mean_over(mask: Array | None) -> Callable[[Array], tuple[Array, Callable]]:
    """The mean over positions, all or those of the mask (B, T)."""

    def select(x: Array) -> tuple[Array, Callable]:
        share = np.full(x.shape[:2], 1 / x.shape[1]) if mask is None else mask / mask.sum(1, keepdims=True)
        share = share[..., None].astype(x.dtype)
        return (x * share).sum(1), lambda d: d[:, None] * share

    return select


def largest(x: Array) -> tuple[Array, Callable]:
    """The maximum over positions."""
    at = x.argmax(1)[:, None]

    def backward(d: Array) -> Array:
        dx = np.zeros(x.shape, d.dtype)
        np.put_along_axis(dx, at, d[:, None], 1)
        return dx

    return x.max(1), backward


def _tanh_twice() -> tuple[Callable, Callable]:
    def forward(x: Array) -> tuple[Array, Any]:
        inner, c = ops.tanh(x)
        y, outer = ops.tanh(inner)
        return y, {**outer, "inner": c}

    return forward, lambda dy, c: ops.tanh_backward(ops.tanh_backward(dy, c), c["inner"])


def elementwise(f: Callable[[Array], tuple[Array, Array]]) -> tuple[Callable, Callable]:
    """An op of f(x) -> (y, dy/dx), and its backward."""

    def forward(x: Array) -> tuple[Array, Cache]:
        y, slope = f(x)
        return y, {"slope": slope}

    return forward, lambda dy, c: dy * c["slope"]


SQUASHING = (  # what stands for tanh in other networks, or is taken for it
    ("softsign, x/(1 + |x|),", lambda x: (x / (1 + np.abs(x)), 1 / (1 + np.abs(x)) ** 2)),
    ("hard tanh", lambda x: (np.clip(x, -1, 1), (np.abs(x) < 1).astype(x.dtype))),
    ("arctan", lambda x: (np.arctan(x), 1 / (1 + x * x))),
    ("x/√(1 + x²)", lambda x: (x / np.sqrt(1 + x * x), (1 + x * x) ** -1.5)),
    ("SiLU", lambda x: (x * ops.sigmoid(x)[0], (lambda s: s + x * s * (1 - s))(ops.sigmoid(x)[0]))),
    ("ELU", elu(1.0, 1.0)),
    ("leaky ReLU, 0.01,", leaky(0.01)),
    ("erf", lambda x: (2 * ops.gelu(x * 2**0.5)[0] / np.where(x == 0, 1, x * 2**0.5) - (x != 0),
                       2 / np.pi**0.5 * np.exp(-x * x))),
    ("1.7159 tanh(2x/3)", lambda x: (1.7159 * np.tanh(2 * x / 3), 1.7159 * 2 / 3 / np.cosh(2 * x / 3) ** 2)),
    ("ReLU6", lambda x: (np.clip(x, 0, 6), ((x > 0) & (x < 6)).astype(x.dtype))),
)


def _of_length_one() -> tuple[Callable, Callable]:
    def forward(x: Array) -> tuple[Array, Any]:
        t, c = ops.tanh(x)
        length = np.sqrt(np.square(t).sum(-1, keepdims=True))
        return t / length, {"own": (c, length, t / length)}

    def backward(dy: Array, c: Cache) -> Array:
        inner, length, y = c["own"]
        return ops.tanh_backward((dy - y * (dy * y).sum(-1, keepdims=True)) / length, inner)

    return forward, backward


def _squashed(x: Array) -> tuple[Array, Callable]:
    """The tanh of the first token's state."""
    s, back = token(0)(x)
    t = np.tanh(s)
    return t, lambda d: back(d * (1 - t * t))


def of_pooler(what: str, replacement: Any, **fields: Any) -> Callable:
    """The pooler replaced."""
    return trained(swap(what, "pooler", replacement, **fields))


def trained(maker: Callable) -> Callable:
    """No mutant where nothing trains the pooler."""

    def made(subject: Subject, at: list) -> list[Mutant]:
        heads = objective.needs(families.family(subject.family), subject.config)
        return maker(subject, at) if "pooler" in heads else []

    return made


def _mean_of_tokens(subject: Subject, _: Any) -> Replacement | None:
    """By the first batch's mask, which is the one of outputs and gradients."""
    given = apart(subject.batches[0])
    return pooler(mean_over(present(given))) if "attention_mask" in given else None


def flipped(labels: str) -> Callable:
    """These labels of pairs 0 for 1; no mutant where there are none."""
    maker = batch("labels flipped", lambda b, _: {labels: 1 - b[labels]})
    return lambda subject, at: maker(subject, at) if labels in subject.batches[0] else []


TURNED = (lambda a: np.ascontiguousarray(a[::-1]),) * 2  # what exchanges two rows is its own adjoint

def _past_the_pooler(subject: Subject, at: list[Site]) -> list[Mutant]:
    """The head of pairs reads the first token's state, while the pooler is run, and what it gives is read by nobody."""
    found = {name: [site for site in at if site.name == "linear" and re.fullmatch(paths, site.local)]
             for name, paths in (("pooler", r"encode\.pooler\.dense"), ("head", PAIR_LOGITS))}  # fmt: skip
    if any(len(held) != 1 for held in found.values()):
        return []
    kept = threading.local()

    def lent(x: Array, weight: Array, bias: Array) -> tuple[Array, Cache]:
        kept.x, kept.dx = x, 0
        return ops.linear(x, weight, bias)

    def lent_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        dx, g = ops.linear_backward(dy, c)
        return dx + kept.dx, g

    def used(x: Array, weight: Array, bias: Array) -> tuple[Array, Cache]:
        return ops.linear(kept.x, weight, bias)

    def used_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        kept.dx, g = ops.linear_backward(dy, c)
        return np.zeros_like(kept.dx), g

    pairs = {found["pooler"][0].key: Replacement(lent, lent_backward),
             found["head"][0].key: Replacement(used, used_backward)}  # fmt: skip
    change = partial(swapped, at=pairs)
    return [Mutant("the head of pairs reads the [CLS] vector, past the pooler", change,
                   sites=(found["head"][0].path,))]  # fmt: skip


def _scales(subject: Subject) -> tuple[float, ...]:
    """What people multiply logits by."""
    widths = {field(subject, "hidden_size"), getattr(subject.config, "embedding_size", None) or 1} - {1}
    return (2.0, 0.1, 10.0, *(width**-0.5 for width in sorted(widths)))


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "H01", "decoder not tied to word table", "tied; gradient = sum of both uses",
    "HF#9635; HF src add_new_model.md; onnxruntime/mobius#295", "gradient", "BERT-MLM-2",
    mutants=[
        _untied,
        tied_gradient("the table lacks the decoder's gradient", 0),
    ],
)  # fmt: skip
entry(
    "H02", "MLM transform (dense + act + LN) missing", "required",
    "HF#12215, #13740; src GB run_pretraining.py:240-262", "output", "BERT-MLM-1",
    families=("bert", "roberta", "albert", "audio_bert"),
    mutants=[
        swap(text, "mlm_head", mlm_head(*steps))
        for text, steps in (
            ("no transform", ()),
            ("no norm in the transform", ("dense", "act")),
            ("no dense layer in the transform", ("act", "norm")),
            ("no activation in the transform", ("dense", "norm")),
            ("the dense layer alone", ("dense",)),
            ("the norm alone", ("norm",)),
        )
    ] + [swap("the transform's norm gives what it is given", "layer_norm", no_norm(), r"masked_lm\.head\.norm")],
)  # fmt: skip
entry(
    "H03", "MLM output bias missing", "bias[V]",
    "OpenNMT/CTranslate2#833", "output", "BERT-MLM-1",
    mutants=[
        swap("no output bias", "linear", without_bias(), r"masked_lm\.head\.decoder"),
        weights("the output bias is zero", lambda path, a: np.zeros_like(a), r"mlm\.decoder\.bias"),
    ],
)  # fmt: skip
entry(
    "H04", "bias added twice (after re-tie)", "once",
    "deepset-ai/FARM#533", "output", "BERT-MLM-1", families=("bert",),
    mutants=[swap("the output bias twice", "linear", bias_times(2), r"masked_lm\.head\.decoder")],
)  # fmt: skip
entry(
    "H05", "decoder transposed", "logits = h E^T",
    "IndicoDataSolutions/finetune#518", "output", "BERT-MLM-1",
    mutants=[swap("the table read as (D, V)", "linear", of_logits(reread()))],
)  # fmt: skip
entry(
    "H06", "pooler: wrong dims, tanh missing, loaded uninitialised", "tanh(W h[:,0] + b)",
    "ml-explore/mlx-examples#262; bojone/SimCSE#11; HF#782", "output", "BERT-POOL-1", families=("bert", "albert"),
    mutants=[
        of_pooler("no tanh", pooler(token(0), tanh=False)),
        swap("no pooler bias", "linear", without_bias(), r"encode\.pooler\.dense"),
    ],
)  # fmt: skip
entry(
    "H07", "square pooler weight transposed; shape check passes", "check values, not shapes",
    "vllm-project/semantic-router#2249", "output", "NAME-2", families=("bert",),
    mutants=[
        weights("the pooler's weight transposed", lambda path, a: np.ascontiguousarray(a.T), r"pooler\.weight"),
        swap("the pooler's weight transposed", "linear", transposed(), r"encode\.pooler\.dense"),
    ],
)  # fmt: skip
entry(
    "H08", "pooled output confused with [CLS] hidden state", "differ by dense + tanh",
    "HF#7540; GB#43", "output", "BERT-POOL-1", families=("bert",),
    mutants=[of_pooler("the [CLS] vector itself", pooler(token(0), dense=False, tanh=False)), _past_the_pooler],
)  # fmt: skip
entry(
    "H10", "NSP label flipped", "0 = is next, 1 = random",
    "HF#836, #524; src GB create_pretraining_data", "loss", "BERT-NSP-1", families=("bert",),
    mutants=[
        flipped("next_sentence_labels"),
        lambda subject, at: (
            weights("the two classes change places", lambda path, a: np.ascontiguousarray(a[::-1]),
                    r"nsp\.(weight|bias)")(subject, at)
            if "next_sentence_labels" in subject.batches[0] else []
        ),
        swap("the two logits change places", "linear", relinear(weight=TURNED, bias=TURNED),
             r"next_sentence\.head\.dense"),
    ],
)  # fmt: skip
entry(
    "H11", "NSP weight [2,H] treated as [H,2]", "GB stores [2,H], transpose_b",
    "CyberZHG/keras-bert#137", "output", "BERT-NSP-1", families=("bert",),
    mutants=[
        swap("read in the order of (D, 2)", "linear", reread(), r"(next_sentence|sentence_order)\.head\.dense"),
        weights(
            "read in the order of (D, 2)",
            lambda path, a: np.ascontiguousarray(a.reshape(a.shape[::-1]).T),
            r"nsp\.weight",
        ),
    ],
)  # fmt: skip
entry(
    "H14", "mean pooling over pads", "weight by mask",
    "HKUDS/LightRAG#3675; HF#17463; jsboige/CoursIA#15045; lanterndata/lantern_extras#91",
    "output", "OP-MEAN-1",
    mutants=[swap("the mean of all tokens", "mean_over_time", edited(ops.mean_over_time, lambda _: {"weights": None}))],
)  # fmt: skip
entry(
    "H15", "index 0 taken as [CLS] under left padding", "first non-pad",
    "StarlightSearch/EmbedAnything#213", "output", "BERT-POOL-1",
    reason="BERT pads at the end (TOK-8) and pools position 0; under left padding no published BERT says what is right",
)  # fmt: skip
entry(
    "H16", "specials excluded from (or included in) pooling against the recipe", "as recipe",
    "aosama/astronomical#597", "output", families=("sentence_bert",),
)  # fmt: skip
entry(
    "H17", "XLNet labels not aligned with target_mapping", "predict at the mapped position, no shift",
    "HF#2822", "loss", families=("xlnet",), reason="xlnet-11 is XLNet's",
)  # fmt: skip
entry(
    "H18", "padded vocabulary rows take part in softmax", "slice to V, or -inf",
    "src llm.c; HF#12007", "loss", "OP-CE-1",
    when="where a port pads its table",
    mutants=[
        solving.solvable(
            lambda n: of_tokens(f"{solving.shown(n)} rows of zeros behind the vocabulary", padded_vocabulary(n)),
            lambda subject: next(iter(_to_multiples(subject)), 1.0), _to_multiples, whole=True,
        )
    ],
)  # fmt: skip
entry(
    "H23", "another vector pooled", "the first position's",
    "own knowledge", "output", "BERT-POOL-1",
    mutants=[
        of_pooler("the last position pooled", pooler(token(-1))),
        of_pooler("the second position pooled", pooler(token(1))),
        of_pooler("the mean of all positions pooled", pooler(mean_over(None))),
        of_pooler("the mean of unmasked positions pooled", _mean_of_tokens),
        of_pooler("the maximum over positions pooled", pooler(largest)),
        of_pooler("the first row's positions, one for each row", pooler(first_row)),
    ],
)  # fmt: skip
entry(
    "H24", "another activation in the pooler, or no dense layer", "tanh of a dense layer",
    "own knowledge", "output", "BERT-POOL-1",
    mutants=[
        *(
            trained(swap(f"{name} for tanh", "tanh", Replacement(*pair), r"encode\.pooler\.tanh"))
            for name, pair in (
                ("ReLU", (ops.relu, ops.relu_backward)),
                ("GELU", (ops.gelu, ops.gelu_backward)),
                ("the tanh form of GELU", (ops.gelu_tanh, ops.gelu_tanh_backward)),
                ("tanh brought to length 1", _of_length_one()),
                ("sigmoid", (ops.sigmoid, ops.sigmoid_backward)),
                ("tanh of tanh", _tanh_twice()),
                *((name, elementwise(f)) for name, f in SQUASHING),
            )
        ),
        solving.solvable(
            lambda v: trained(swap(f"tanh({solving.shown(v)} x) for tanh(x)", "tanh", Replacement(*elementwise(
                lambda x: (np.tanh(v * x), v / np.cosh(v * x) ** 2))), r"encode\.pooler\.tanh")),
            2.0, (0.5, 2 / 3, 0.1), 1.0, most=1e2,
        ),
        of_pooler("no dense layer", pooler(token(0), dense=False)),
        of_pooler("tanh in front of the dense layer, none behind", pooler(_squashed, tanh=False)),
    ],
)  # fmt: skip
entry(
    "H26", "another derivative under the pooler's tanh", "1 - y²",
    "own knowledge", "gradient", "BERT-POOL-1",
    mutants=[
        trained(swap(what, "tanh", graded(ops.tanh, edit), r"encode\.pooler\.tanh", section="gradients"))
        for what, edit in (
            ("1 - x²", lambda g, dy, c: dy * (1 - np.arctanh(c["y"]) ** 2)),
            ("1 - y", lambda g, dy, c: dy * (1 - c["y"])),
            ("1 - tanh² y", lambda g, dy, c: dy * (1 - np.tanh(c["y"]) ** 2)),
            ("1 + y²", lambda g, dy, c: dy * (1 + c["y"] ** 2)),
            ("y²", lambda g, dy, c: dy * c["y"] ** 2),
            ("-y²", lambda g, dy, c: -dy * c["y"] ** 2),
            ("dy - y²", lambda g, dy, c: dy - c["y"] ** 2),
            ("y (1 - y), the sigmoid's", lambda g, dy, c: dy * c["y"] * (1 - c["y"])),
            ("1", lambda g, dy, c: dy),
        )
    ],
)  # fmt: skip
entry(
    "H27", "no gradient passes the pooler", "the first token's state gets the pooled vector's",
    "own knowledge", "gradient", "BERT-POOL-1",
    mutants=[of_pooler("none from the pooled vector", graded(layers.pooler, lambda g, dr, c: (zeros(g[0]), g[1])),
                       section="gradients")],
)  # fmt: skip
entry(
    "H25", "the transform in another order", "dense, activation, norm",
    "own knowledge", "output", "BERT-MLM-1",
    mutants=[
        swap("the norm before the activation", "mlm_head", mlm_head("dense", "norm", "act")),
        swap("the norm before the activation", "mlm_head", mlm_head("dense", "norm", "act"), silent=TRANSFORMED),
    ],
)  # fmt: skip


# ---- What is made of logits, and of what -----------------------------------------------------------------------------
PAIR_LOGITS = r"(next_sentence|sentence_order)\.head\.dense"


def then(f: Callable, f_backward: Callable) -> Replacement:
    """A linear map and an op behind it."""

    def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Cache]:
        y, c = ops.linear(x, weight, bias)
        y, own = f(y)
        return y, {**c, "own": (own,)}

    return Replacement(linear, lambda dy, c: ops.linear_backward(f_backward(dy, c["own"][0]), c))


def capped(value: float) -> tuple[Callable, Callable]:
    """v tanh(z/v), and its backward."""

    def forward(z: Array) -> tuple[Array, Cache]:
        y = np.tanh(z / z.dtype.type(value))
        return y * z.dtype.type(value), {"y": y}

    return forward, lambda dy, c: dy * (1 - c["y"] * c["y"])


def in_the_loss(f: Callable, f_backward: Callable) -> Replacement:
    """The loss of a function of the logits."""

    def cross_entropy(logits: Array, **given: Any) -> tuple[Array, Cache]:
        z, own = f(logits)
        loss, c = ops.cross_entropy(z, **given)
        return loss, {**c, "own": own}

    return Replacement(cross_entropy, lambda dy, c: f_backward(ops.cross_entropy_backward(dy, c), c["own"]))


def _log_softmax(z: Array) -> tuple[Array, Cache]:
    p = ops.softmax(z)[0]
    return z - z.max(-1, keepdims=True) - np.log(np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True)), {"p": p}


def _less_mean(z: Array) -> tuple[Array, Cache]:
    return z - z.mean(-1, keepdims=True), {}


def _less_largest(z: Array) -> tuple[Array, Cache]:
    return z - z.max(-1, keepdims=True), {"at": z.argmax(-1)[..., None]}


def _falls(dy: Array, c: Cache) -> Array:
    dz = dy.copy()
    np.put_along_axis(dz, c["at"], np.take_along_axis(dz, c["at"], -1) - dy.sum(-1, keepdims=True), -1)
    return dz


def _log_softmax_backward(dy: Array, c: Cache) -> Array:
    return dy - c["p"] * dy.sum(-1, keepdims=True)


def _times(value: float) -> Replacement:
    return then(lambda z: (z * z.dtype.type(value), {}), lambda dz, c: dz * dz.dtype.type(value))


def _of_times(value: float) -> Replacement:
    def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Cache]:
        return ops.linear(x * x.dtype.type(value), weight, bias)

    def linear_backward(dy: Array, c: Cache) -> tuple[Array, dict[str, Array]]:
        dx, g = ops.linear_backward(dy, c)
        return dx * dx.dtype.type(value), g

    return Replacement(linear, linear_backward)


def tempered(value: float) -> Replacement:
    """The loss of the logits times a value."""

    def cross_entropy(logits: Array, **given: Any) -> tuple[Array, Cache]:
        return ops.cross_entropy(logits * logits.dtype.type(value), **given)

    def cross_entropy_backward(dy: Array, c: Cache) -> Array:
        dz = ops.cross_entropy_backward(dy, c)
        return dz * dz.dtype.type(value)

    return Replacement(cross_entropy, cross_entropy_backward)


def _logits(what: str, replacement: Replacement, pairs: str = PAIR_LOGITS) -> Callable:
    """The logits of tokens, those of pairs, and the former in every place alone."""
    ways = [swap(what, "linear", of_logits(replacement)), swap(what, "linear", replacement, pairs)]
    return lambda subject, at: [mutant for way in ways for mutant in way(subject, at)]


def reading(block: str, which: int) -> Callable:
    """A head that reads what layer `which`, counted from 0, was given, not the last one's output."""
    f, f_backward = (getattr(module, block + end).__wrapped__ for end in ("", "_backward")
                     for module in (layers, masked_lm, replaced_token) if hasattr(module, block))  # fmt: skip

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        users = [site for site in at if site.name == block]
        held = [site for site in at if site.name in ("encoder_layer", "pre_norm_layer") and site.layer is not None]
        if len(users) != 1 or not held:
            return []
        stack = [site for site in held if site.tower == (users[0].tower or held[0].tower)]
        if len(stack) < 2:
            return []
        lender, name = stack[which], "the last layer but one" if which else "the embeddings"
        layer, layer_backward = (getattr(layers, lender.name + end).__wrapped__ for end in ("", "_backward"))
        kept = threading.local()

        def lent(x: Array, p: Any, **given: Any) -> tuple[Array, Cache]:
            kept.x, kept.dx = x, 0
            return layer(x, p, **given)

        def lent_backward(dy: Array, c: Cache) -> tuple[Array, Any]:
            dx, g = layer_backward(dy, c)
            more, kept.dx = kept.dx, 0
            return dx + more, g

        def used(x: Array, *args: Any, **given: Any) -> tuple[Array, Cache]:
            return f(kept.x.reshape(x.shape), *args, **given)

        def used_backward(dy: Array, c: Cache) -> tuple[Any, ...]:
            dx, *others = f_backward(dy, c)
            kept.dx = kept.dx + dx.reshape(kept.x.shape)
            return np.zeros_like(dx), *others

        pairs = {lender.key: Replacement(lent, lent_backward), users[0].key: Replacement(used, used_backward)}
        change = lambda s: swapped(s, at=pairs)  # noqa: E731
        return [Mutant(f"the {block.replace('_', ' ')} reads {name}", change, sites=(users[0].path,))]

    return maker


entry(
    "H28", "logits multiplied by a number", "h Eᵀ + b",
    "own knowledge", "output", "BERT-MLM-1", when="GPT-2's and T5's 1/√D have entries of their own",
    mutants=[
        solving.solvable(lambda v, of=of, what=what: _logits(f"{what} times {solving.shown(v)}", of(v)), 0.5,
                         _scales, 1.0,
                         least=-1e4, most=1e4)
        for what, of in (("the logits", _times), ("what they are made of", _of_times))
    ] + [
        solving.solvable(lambda v, of=of, what=what: of(
            f"the logits of {what}, in the loss alone, divided by {solving.shown(v)}", tempered(1 / v)),
            2.0, (0.5, 0.1, 10.0), 1.0, least=1e-3, most=1e4)
        for what, of in (("tokens", of_tokens), ("pairs", of_pairs))
    ],
)  # fmt: skip
entry(
    "H29", "probabilities, or another function of them, handed out for logits", "logits",
    "own knowledge", "output", "BERT-MLM-1",
    mutants=[
        *(_logits(f"{name} of the logits", then(*pair), rf"{PAIR_LOGITS}|replaced_token\.head\.out") for name, pair in (
            ("the tanh", (ops.tanh, ops.tanh_backward)), ("the sigmoid", (ops.sigmoid, ops.sigmoid_backward)))),
        *(solving.solvable(lambda v, of=of: of(v), 30.0, (10.0, 15.0, 50.0, 1.0), most=1e4) for of in (
            lambda v: _logits(f"{solving.shown(v)} tanh(logits/{solving.shown(v)})", then(*capped(v))),
            lambda v: of_tokens(f"the loss alone takes {solving.shown(v)} tanh(logits/{solving.shown(v)})",
                                in_the_loss(*capped(v))))),
        _logits("log-probabilities", then(_log_softmax, _log_softmax_backward)),
        *(_logits(f"the logits less their {what}", then(*pair)) for what, pair in (
            ("mean", (_less_mean, lambda dy, c: dy - dy.mean(-1, keepdims=True))),
            ("largest", (_less_largest, _falls)))),
        _logits("probabilities", then(ops.softmax, ops.softmax_backward)),
    ],
)  # fmt: skip
def _taken_for_tied(subject: Subject, at: list[Site]) -> list[Mutant]:
    """The word table in the place of a decoder's own; where it is the table itself, its gradient is the table's."""
    flat = tree.flatten(subject.params)
    own = next((p for p in flat if re.fullmatch(r"(.*\.)?mlm\.decoder\.weight", p)), None)
    tower = own.partition(".")[0] + "." if own and not own.startswith("mlm.") else ""
    table = next((p for p in flat if p == f"{tower}{WORDS}"), None)
    if own is None or table is None or flat[own].shape != flat[table].shape:
        return []
    module = families.family(subject.family)
    named = {path: f"gradients/{name}" for path, name, *_ in module.names(subject.config)}

    def change(s: Subject) -> Subject:
        held = tree.flatten(s.params)
        return replace(s, params=tree.unflatten({**held, own: held[table]}))

    def summed(tensors: dict[str, Array]) -> dict[str, Array]:
        kept, (ours, theirs) = dict(tensors), (named[own], named[table])
        if ours in kept and theirs in kept:
            kept[theirs] = kept[theirs] + kept.pop(ours)
        return kept

    users = tuple(site.path for site in at if own in site.params)
    return [Mutant("logits by the word table", change, sites=users, after=summed, silent=r"steps/.*"),
            Mutant("the word table copied into the decoder", change, sites=users)]  # fmt: skip


entry(
    "H32", "a decoder of its own taken for a tied one", "logits by the decoder's matrix, where the checkpoint has one",
    "own knowledge; nntrainer/nntrainer#4183; Lightning-AI/litgpt#1727", "output", "BERT-MLM-2",
    families=("bert", "transformer"), when="GPT-2's is gpt2-31; a tied one taken for untied is H01",
    mutants=[only("bert transformer", _taken_for_tied)],
)  # fmt: skip
entry(
    "H30", "a head reads another layer", "the last one's output",
    "own knowledge (hidden_states[-2])", "output", "BERT-MLM-1",
    mutants=[reading("mlm_head", -1), reading("mlm_head", 0), trained(reading("pooler", -1)),
             trained(reading("pooler", 0)), reading("rtd_head", -1), reading("rtd_head", 0)],
)  # fmt: skip
unlisted(
    "the padding word's logit set",
    solving.solvable(_set_logit, -10000.0, (-1e9, -1e5, -1e3, -100.0, 0.0), least=-1e30, most=1e6),
)
