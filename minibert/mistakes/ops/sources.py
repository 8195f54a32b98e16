"""Mistakes of an encoder with a decoder: what is attended to, what the decoder reads, what its loss asks for."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, tree
from minibert.golden.subject import Subject
from minibert.heads.target_token import IGNORED
from minibert.mistakes.catalogue import Mutant, entry, field, swap, whole
from minibert.mistakes.catalogue import batch as of_batch
from minibert.mistakes.going import Going, begun, unmoved
from minibert.mistakes.ops.losses import moved, predicting
from minibert.mistakes.ops.norms import no_norm
from minibert.mistakes.swap import Replacement, Site, edited, graded, zeros

SECTION = {"X": "Encoders with a decoder"}

Array = np.ndarray
SOURCED = ("transformer", "bart", "t5")  # and their kin: what is wrong from token to token is made of a case's family
Tree = dict[str, Any]
CROSS = r"encode\.decoder\.\d+\.cross_attention"
OWN = r"encode\.decoder\.\d+\.attention\.attention"
READING = r"encode\.encoder\.\d+\.attention\.attention"
PROJECTIONS = ("query", "key", "value", "output")


def sourced(maker: Callable) -> Callable:
    """No mutant but where a decoder attends to a source."""
    there = lambda s: "decoder" in s.params and "cross_attention" in s.params["decoder"][0]  # noqa: E731
    return lambda subject, at: maker(subject, at) if there(subject) else []


def going(maker: Callable) -> Callable:
    """The family's own start and step where it has no source."""
    return lambda network, length: (
        maker(network, length) if "S" in network.lengths(network.Config()) else (network.start, network.step)
    )


# ---- What an attention sees ------------------------------------------------------------------------------------------
def masked(what: str, paths: str, bits: Callable[[Tree, Array, Array], Array | None]) -> Callable:
    """Another mask in these attentions: bits(arguments, places of queries (T, 1), of keys (S,)); None: none."""

    def edit(given: Tree) -> Tree:
        length, total = given["q"].shape[2], given["k"].shape[2]
        return {"mask": bits(given, np.arange(length)[:, None], np.arange(total))}

    return sourced(swap(what, "attention", edited(ops.attention, edit), paths))


def _seen(given: Tree) -> Array:
    """The keys that are there, of the mask that is given."""
    mask = given["mask"]
    return np.ones((1, 1, 1, 1), bool) if mask is None else mask[:, :, -1:]


# ---- What is attended to ---------------------------------------------------------------------------------------------
def _to_as_many() -> Replacement:
    """The decoder's states in the places of the memory's, its last one for all behind, masked as the memory is."""

    def forward(x: Array, memory: Array, p: Tree, **given: Any) -> tuple[Array, Tree]:
        at = np.minimum(np.arange(memory.shape[1]), x.shape[1] - 1)
        y, c = layers.cross_attention.__wrapped__(x, x[:, at], p, **given)
        return y, {**c, "at": at, "like": memory}

    def backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
        dx, dmemory, g = layers.cross_attention_backward.__wrapped__(dy, c)
        dx = dx.copy()
        np.add.at(dx, (slice(None), c["at"]), dmemory)
        return dx, np.zeros_like(c["like"]), g

    return Replacement(forward, backward)


def _to_itself(causal: bool, subject: Subject, site: Site) -> Replacement | None:
    """Keys and values of the decoder's own states; not where keep-masks are given, which are of the source's width."""
    if subject.batches[0].get("dropout"):
        return None

    def forward(x: Array, memory: Array, p: Tree, *, mask: Any = None, **given: Any) -> tuple[Array, Tree]:
        mask = layers.causal(x.shape[1], x.shape[1]) if causal else None
        if given.get("dropout") is not None:  # drawn for as many keys as the memory has
            given["dropout"] = given["dropout"][..., : x.shape[1]]
        y, c = layers.cross_attention.__wrapped__(x, x, p, mask=mask, **given)
        return y, {**c, "memory": np.zeros_like(memory)}

    def backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
        dx, dkeys, g = layers.cross_attention_backward.__wrapped__(dy, c)
        return kernels.add(dx, dkeys), c["memory"], g

    return Replacement(forward, backward)


def _beside() -> Replacement:
    """A post-norm layer whose attention to the source asks with the layer's input."""

    def forward(x: Array, memory: Any, p: Tree, **given: Any) -> tuple[Array, Tree]:
        def sub_layer(f: Callable, h: Array, own: Tree, **residual: Any) -> tuple[Array, Tree]:
            if own is not p["cross_attention"]:
                return layers.post_norm(f, h, own, **residual)
            y, c = f(x)
            y, c["add_norm"] = layers.add_norm(h, y, own, **residual)
            return y, c

        return layers._decoding(sub_layer, x, memory, p, **{"rate": 0.0, **given})

    def backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
        beside = []

        def sub_layer_backward(f_backward: Callable, dy: Array, c: Tree) -> tuple[Any, ...]:
            if f_backward is not layers.cross_attention_backward:
                return layers.post_norm_backward(f_backward, dy, c)
            dx, df, ends = layers.add_norm_backward(dy, c["add_norm"])
            inside, dmemory, g = f_backward(df, c)
            beside.append(inside)
            return dx, dmemory, {**g, **ends}

        dx, dmemory, g = layers._decoding_backward(sub_layer_backward, dy, c)
        return kernels.add(dx, *beside), dmemory, g

    return Replacement(forward, backward)


def _passed(name: str) -> Replacement:
    """A layer of the encoder that is computed, and whose input goes on."""
    f, f_backward = (getattr(layers, half).__wrapped__ for half in (name, f"{name}_backward"))

    def forward(x: Array, p: Tree, **given: Any) -> tuple[Array, Tree]:
        return x, f(x, p, **given)[1]

    return Replacement(forward, lambda dy, c: (dy, zeros(f_backward(dy, c)[1])))


def _last(name: str) -> Callable:
    def made(subject: Subject, site: Site) -> Replacement | None:
        return _passed(name) if site.path == f"encode.encoder.{len(subject.params['encoder']) - 1}" else None

    silent = r"(forward|gradients)/encoder\..*"  # what it computes is there, and may be handed out
    return swap("what enters the encoder's last layer is attended to", name, made, silent=silent)


def _without_mean() -> Replacement:
    """x for the norm of it, of a norm without bias."""

    def forward(x: Array, weight: Array, *, eps: float) -> tuple[Array, Tree]:
        return x, {"plain": {"weight": weight}}

    return Replacement(forward, lambda dy, c: (dy, zeros(c["plain"])))


BEHIND = r"encode\.encoder_norm"
_raw = "the memory without its norm"


def _weights(what: str, of: Callable[[Tree, int], Tree]) -> Callable:
    """Projections of another attention: of(the parameters, a layer's number) -> the tree that stands there."""

    def change(s: Subject) -> Subject:
        decoder = []
        for i, layer in enumerate(s.params["decoder"]):
            other = {name: of(s.params, i)[name] for name in PROJECTIONS}
            decoder.append({**layer, "cross_attention": {**layer["cross_attention"], **other}})
        return replace(s, params={**s.params, "decoder": decoder})

    silent = r"gradients/decoder\.\d+\.(cross_)?attention\.(query|key|value|output)\..*"
    return sourced(lambda subject, at: [Mutant(what, change, silent=silent)])


def _from_one(which: Callable[[int], int]) -> Callable:
    """The memory gets the gradient of one layer alone."""

    def made(subject: Subject, site: Site) -> Replacement | None:
        if site.layer == which(len(subject.params["decoder"])):
            return None
        return graded(layers.cross_attention, lambda d, dy, c: (d[0], np.zeros_like(d[1]), d[2]))

    return made


def _returning(what: str, which: Callable[[int], int]) -> Callable:
    return whole(swap(what, "cross_attention", _from_one(which), CROSS, section="gradients"))


# ---- What the decoder reads, what is asked ---------------------------------------------------------------------------
def reading(what: str, rule: Callable[[Tree, Any], Array]) -> Callable:
    """Other decoder_input_ids: rule(batch, its Fields)."""

    def edit(b: Tree, config: Any) -> Tree:
        b["decoder_input_ids"]
        return {"decoder_input_ids": rule(b, config)}

    return sourced(of_batch(what, edit))


def starting(what: str, name: str) -> Callable:
    """The decoder begins with the id that this config field says, where it is another."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        start, other = field(subject, "decoder_start_token_id"), field(subject, name)
        if other is None or other == start:
            return []
        rule = lambda b, _: np.concatenate([np.full_like(b["labels"][:, :1], other), b["decoder_input_ids"][:, 1:]], 1)  # noqa: E731
        return reading(what, rule)(subject, at)

    return maker


def _as_labels(b: Tree, config: Any) -> Array:
    return np.where(b["labels"] == IGNORED, config.pad_token_id, b["labels"])


def _twice(b: Tree, config: Any) -> Array:
    ids = b["decoder_input_ids"]
    return np.concatenate([ids[:, :1], ids[:, :-1]], 1)


def asking(what: str, rule: Callable[[Tree, int], Array]) -> Callable:
    """Other labels: rule(batch, the padding id)."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        pad = field(subject, "pad_token_id")
        edit = lambda b, _: {"labels": rule(b, pad)}  # noqa: E731
        return [] if pad is None else of_batch(what, edit)(subject, at)

    return sourced(maker)


def ending(what: str, rule: Callable[[Array], Array]) -> Callable:
    """Other labels, of a decoder behind an encoder, and of captions."""
    made = of_batch(what, lambda b, _: {"labels": rule(b["labels"])})
    asks = sourced(made)
    return lambda subject, at: made(subject, at) if "+caption" in subject.family else asks(subject, at)


def _without_ends(labels: Array) -> Array:
    """The last label of each row that is asked is not."""
    asked, places = labels != IGNORED, np.arange(labels.shape[1])
    last = np.where(asked, places, -1).max(1, keepdims=True)
    return np.where(places == last, IGNORED, labels)


# ---- From token to token ---------------------------------------------------------------------------------------------
@going
def _forgetful(network: ModuleType, length: int) -> Going:
    """Nothing is kept of the tokens read before."""

    def step(p: Tree, config: Any, ids: Array, state: Tree) -> tuple[Array, Tree]:
        nothing = tree.map(lambda a: a[:, :, :0], state["layers"])
        return network.step(p, config, ids, {**state, "layers": nothing})

    return network.start, step


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "X01", "padding of the source is attended to", "the mask of the source, in every attention to it",
    "HF#47946; facebookresearch/fairseq#318", "output", "OP-CROSS-1", when="of an encoder with a decoder",
    mutants=[masked("no mask in attention to the source", rf"{CROSS}\.attention", lambda *_: None)],
)  # fmt: skip
entry(
    "X02", "attention to the source from left to right", "all of the source, whatever is written",
    "own knowledge", "output", "OP-CROSS-1", when="of an encoder with a decoder",
    mutants=[masked("up to the token's own place", rf"{CROSS}\.attention",
                    lambda given, query, key: (key <= query) & _seen(given))],
)  # fmt: skip
entry(
    "X03", "attention to the source takes the decoder's own keys and values", "keys and values of the memory",
    "own knowledge", "output", "OP-CROSS-1", when="of an encoder with a decoder",
    mutants=[swap("to all that is written", "cross_attention", partial(_to_itself, False), CROSS),
             swap("to what is written so far", "cross_attention", partial(_to_itself, True), CROSS),
             swap("to as many of its own as the source has", "cross_attention", _to_as_many(), CROSS)],
)  # fmt: skip
entry(
    "X04", "attention to the source beside the self-attention", "it reads what that gave, behind its norm",
    "own knowledge", "output", "OP-DEC-1", when="of an encoder with a decoder, post-norm",
    mutants=[sourced(swap("it reads the layer's input", "decoder_layer", _beside()))],
)  # fmt: skip
entry(
    "X05", "another layer's output for the memory", "the encoder's last",
    "own knowledge", "output", "OP-CROSS-2", when="of an encoder with a decoder",
    mutants=[sourced(_last("encoder_layer")), sourced(_last("pre_norm_layer"))],
)  # fmt: skip
entry(
    "X06", "the memory before the encoder's final norm", "behind it, where there is one",
    "own knowledge", "output", "OP-CROSS-2", when="of an encoder with a decoder, and a norm behind it",
    mutants=[swap(_raw, "layer_norm", no_norm(), BEHIND), swap(_raw, "rms_norm", _without_mean(), BEHIND)],
)  # fmt: skip
entry(
    "X07", "projections of attention to the source shared", "each layer has its own, beside the self-attention's",
    "own knowledge", "output", "OP-CROSS-2", when="of an encoder with a decoder",
    mutants=[_weights("the self-attention's", lambda p, i: p["decoder"][i]["attention"]),
             _weights("the first layer's in all", lambda p, i: p["decoder"][0]["cross_attention"])],
)  # fmt: skip
entry(
    "X08", "the memory's gradient of one layer alone, or none", "the sum of what all layers send back",
    "own knowledge", "gradient", "OP-CROSS-2", when="of an encoder with a decoder",
    mutants=[_returning("the last layer's alone", lambda depth: depth - 1),
             _returning("the first layer's alone", lambda depth: 0),
             _returning("none: the encoder is detached", lambda depth: -1)],
)  # fmt: skip
entry(
    "X09", "the decoder sees later tokens, or not its own", "keys up to the query's own",
    "own knowledge", "output", "OP-DEC-2", when="of an encoder with a decoder",
    mutants=[
        masked("no causal mask", OWN, lambda given, query, key: _seen(given)),
        masked("the diagonal above is open", OWN, lambda given, query, key: (key <= query + 1) & _seen(given)),
        masked("the diagonal is masked", OWN, lambda given, query, key: (key < query) & _seen(given)),
    ],
)  # fmt: skip
entry(
    "X10", "the encoder reads from left to right", "every token of the source sees all of it",
    "own knowledge", "output", "OP-DEC-2", when="of an encoder with a decoder",
    mutants=[masked("keys up to the query's own", READING, lambda given, query, key: (key <= query) & _seen(given))],
)  # fmt: skip
entry(
    "X11", "labels read unshifted, or shifted twice", "one place later, once",
    "HF#20842, #7961, #14328; shmsw25/bart-closed-book-qa#4", "output", "OP-DEC-3", when="of an encoder with a decoder",
    mutants=[reading("the labels themselves are read", _as_labels),
             reading("shifted once more, behind another start", _twice)],
)  # fmt: skip
entry(
    "X12", "the decoder begins with another id", "`decoder_start_token_id`",
    "HF#20842, #16583; seujung/KoBART-summarization#21", "output", "OP-DEC-3", when="of an encoder with a decoder",
    mutants=[starting("with the first token of texts", "bos_token_id"), starting("with padding", "pad_token_id"),
             starting("with the end token", "eos_token_id")],
)  # fmt: skip
entry(
    "X13", "labels shifted again in the loss", "the logits at t answer the labels at t",
    "own knowledge", "loss", "OP-DEC-3", when="of an encoder with a decoder",
    mutants=[sourced(predicting("the token after", partial(moved, by=1)))],
)  # fmt: skip
entry(
    "X14", "-100 and the padding id taken for one another", "what is -100 is not asked, padding is a token like any",
    "HF#22540; own knowledge", "loss", "OP-DEC-4", when="of an encoder with a decoder",
    mutants=[
        asking("what is not asked is asked as padding",
               lambda b, pad: np.where(b["labels"] == IGNORED, pad, b["labels"])),
        asking("labels that are the padding id are not asked",
               lambda b, pad: np.where(b["labels"] == pad, IGNORED, b["labels"])),
    ],
)  # fmt: skip
entry(
    "X15", "padding of the source attended to from token to token", "the mask is kept with the source",
    "huggingface/parler-tts#62; own knowledge", "output", "OP-CROSS-3", families=SOURCED,
    when="of an encoder with a decoder",
    going={
        "no mask at all": going(begun(lambda given: {"input_ids": given["input_ids"]})),
        "no mask behind the encoder": going(
            begun(lambda given: given, lambda state: {**state, "seen": np.ones_like(state["seen"])})
        ),
    },
)  # fmt: skip
entry(
    "X16", "nothing kept of what was written", "keys and values of all tokens so far",
    "own knowledge", "output", "STATE-2", families=SOURCED, when="of an encoder with a decoder",
    going={"each token alone": _forgetful},
)  # fmt: skip
entry(
    "X17", "the decoder's cache not reordered with the beams", "keys and values go with their beam",
    "HF#9596; own knowledge", "output", "STATE-3", families=SOURCED, when="of an encoder with a decoder",
    going={"what was read stays in its row": going(unmoved)},
)  # fmt: skip
entry(
    "X18", "the target's end token is never asked for", "the end is a token to be written, like those before it",
    "own knowledge: the end id taken for padding, or the target cut before it; what is written then never ends", "loss",
    "OP-DEC-4", when="of an encoder with a decoder, and of captions",
    mutants=[ending("the last token of each target is not asked", _without_ends)],
)  # fmt: skip
