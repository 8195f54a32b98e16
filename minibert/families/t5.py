"""T5: Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer.

Raffel, Shazeer, Roberts, Lee, Narang, Matena, Zhou, Li, Liu, 2019, arXiv 1910.10683. Released code: tensorflow/mesh
(`mesh_tensorflow/transformer/`), google-research/text-to-text-transfer-transformer (`t5/data/preprocessors.py`).

    embeddings   h⁰ = Drop(E[x]): one table for source and target, no positions                                     (1)
    norm         N(h) = γh/√(mean(h²) + ε)                                                                          (2)
    positions    b_{ij} = R[bucket(j - i)], a number a head, one table R a stack, the same b in all its layers      (3)
    attention    q, k, v = h W_qᵀ, h W_kᵀ, h W_vᵀ in H heads of width K, no biases, H·K need not be D;
                 u = Σ Drop(softmax(q kᵀ + b)) v, merged, u W_oᵀ: not divided by √K                                 (4)
    feed-forward Drop(act(h W₁ᵀ)) W₂ᵀ, or where it is gated Drop(act(h W_gᵀ)∘(h W₁ᵀ)) W₂ᵀ                           (5)
    residual     h + Drop(f(N(h))), f each sub-layer                                                                (6)
    encoder      (4), (5) over the source, each in (6); Drop(N(·)) of the last is the memory                        (7)
    decoder      (4) of what is written, each token up to itself; (4) with keys and values of the memory, b = 0;
                 (5), each in (6); Drop(N(·)) of the last                                                           (8)
    logits       z_t = D^{-1/2} y_t Eᵀ; version 1.1: y_t Uᵀ, U a matrix of its own                                  (9)
    objective    L = mean of -log softmax(z_t)[next token]                                                         (10)

Version 1.1 (the release's `t5.1.1` models) has (5) gated, with the tanh form of GELU, and U. Where the release deviates
from the paper or ports from the release, and what is done here:
- bucket: half of them for keys behind the query in the encoder, none in the decoder (`relative.buckets`); the paper has
  a single sentence.
- `feed_forward_proj` "gated-gelu" is the tanh form, "gelu" the erf form, as in ports.
- ports take the mean of (2) in float32, whatever the precision; here it is that of h.
- ports of today tie U to E whatever `tie_word_embeddings` says, unless a file has both; what the field switches is
  D^{-1/2}, which they then write as `scale_decoder_outputs`. Here it is what it says, and the scale follows it unless
  `scale_decoder_outputs` says otherwise (`inferred`).
- the paper writes one token more at the end of the target than the release does (`corruption.spans`).
- rows have no last position: `n_positions` of published configurations is how long rows were in training.
- the release's z-loss of later models, 10⁻⁴·log² Σ exp z, is not in the paper's objective, nor here.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import encoder_decoder, kernels, layers, ops, relative, tree
from minibert.config import among, check, number, rate, require, size
from minibert.corruption import spans
from minibert.families import bert, inherited
from minibert.heads import target_token
from minibert.objective import Term
from minibert.pairs import block, block_backward
from minibert.summaries import Summary

__getattr__ = inherited()

Array = np.ndarray
Tree = dict[str, Any]

CAUSAL = True
WIDE, DEEP = 2**20, 1024
STACKS = ("encoder", "decoder")
GATED = "gated-"
PROJECTIONS = [*layers.ACTIVATIONS, *(GATED + name for name in layers.ACTIVATIONS)]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """T5 small as released, under the published field names."""

    vocab_size: int = size(32128)
    d_model: int = size(512, WIDE)
    d_kv: int = size(64, WIDE)
    d_ff: int = size(2048, WIDE)
    num_layers: int = size(6, DEEP)
    num_decoder_layers: int | None = None  # num_layers
    num_heads: int = size(8, WIDE)
    relative_attention_num_buckets: int = size(32, WIDE)
    relative_attention_max_distance: int = size(128)
    dropout_rate: float = rate(0.1)
    layer_norm_epsilon: float = number(1e-6, 0, 1)
    initializer_factor: float = number(1.0, 0, 100)
    feed_forward_proj: str = among("relu", PROJECTIONS)
    tie_word_embeddings: bool = True
    scale_decoder_outputs: bool | None = None  # tie_word_embeddings
    pad_token_id: int = 0
    eos_token_id: int | None = 1
    decoder_start_token_id: int = 0

    def __post_init__(self) -> None:
        check(self)
        deep = self.num_decoder_layers
        fits = deep is None or 0 < deep <= DEEP
        require(fits, f"config field 'num_decoder_layers' is {deep}; allowed: null, 1 to {DEEP}")
        count, most = self.relative_attention_num_buckets, self.relative_attention_max_distance
        require(count >= 4, f"config field 'relative_attention_num_buckets' is {count}; allowed: 4 or more")
        fits = most > count // 2
        allowed = f"more than {count // 2}, half of relative_attention_num_buckets"
        require(fits, f"config field 'relative_attention_max_distance' is {most}; allowed: {allowed}")
        for name in ("pad_token_id", "decoder_start_token_id"):
            token = getattr(self, name)
            require(0 <= token < self.vocab_size, f"config field {name!r} is {token}; allowed: a token id")
        end = self.eos_token_id
        fits = end is None or 0 <= end < 2**31
        require(fits, f"config field 'eos_token_id' is {end}; allowed: null, 0 to {2**31 - 1}")

    @property
    def act(self) -> str:
        """The activation of (5)."""
        name = self.feed_forward_proj.removeprefix(GATED)
        return "gelu_new" if self.gated and name == "gelu" else name

    @property
    def gated(self) -> bool:
        """Whether (5) is."""
        return self.feed_forward_proj.startswith(GATED)

    @property
    def scale(self) -> float:
        """That of (9)."""
        scaled = self.tie_word_embeddings if self.scale_decoder_outputs is None else self.scale_decoder_outputs
        return float(self.d_model) ** -0.5 if scaled else 1.0


def _size(width: int, inner: int, heads: int, depth: int, head: int = 64) -> dict[str, int]:
    return {"d_model": width, "d_ff": inner, "num_heads": heads, "num_layers": depth, "d_kv": head}


# section 3.7, the release's five models; and as version 1.1 has them
V1_1 = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
PRESETS = {
    "small": _size(512, 2048, 8, 6),
    "base": _size(768, 3072, 12, 12),
    "large": _size(1024, 4096, 16, 24),
    "3b": _size(1024, 16384, 32, 24, 128),
    "11b": _size(1024, 65536, 128, 24, 128),
    "v1_1-small": {**_size(512, 1024, 6, 8), **V1_1},
    "v1_1-base": {**_size(768, 2048, 12, 12), **V1_1},
    "v1_1-large": {**_size(1024, 2816, 16, 24), **V1_1},
    "v1_1-xl": {**_size(2048, 5120, 32, 24), **V1_1},
    "v1_1-xxl": {**_size(4096, 10240, 64, 24), **V1_1},
}

# small, and every field away from its default: for checks
PROBE = {
    "vocab_size": 17,
    "d_model": 8,
    "d_kv": 3,
    "d_ff": 11,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 2,
    "relative_attention_num_buckets": 6,
    "relative_attention_max_distance": 5,
    "dropout_rate": 0.2,
    "layer_norm_epsilon": 1e-3,
    "initializer_factor": 0.5,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "scale_decoder_outputs": False,
    "pad_token_id": 5,
    "eos_token_id": 4,
    "decoder_start_token_id": 3,
}


def depth(config: Config, stack: str) -> int:
    """How many layers the stack "encoder" or "decoder" has."""
    own = config.num_decoder_layers
    return config.num_layers if stack == "encoder" or own is None else own


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(8): the one place where they are written."""
    d, inner, f = config.d_model, config.num_heads * config.d_kv, config.d_ff
    norm = {"weight": (d,)}
    attention = {name: {"weight": (inner, d)} for name in ("query", "key", "value")}
    attention |= {"output": {"weight": (d, inner)}, "norm": norm}
    feed = {"in": {"weight": (f, d)}, "out": {"weight": (d, f)}, "norm": norm}
    feed |= {"gate": {"weight": (f, d)}} if config.gated else {}
    layer = {"attention": attention, "feed_forward": feed}
    found: Tree = {"embeddings": {"word": {"weight": (config.vocab_size, d)}}}
    for stack, cross in zip(STACKS, ({}, {"cross_attention": attention}), strict=True):
        found[f"{stack}_positions"] = {"weight": (config.relative_attention_num_buckets, config.num_heads)}
        found[stack] = [{**layer, **cross}] * depth(config, stack)
        found[f"{stack}_norm"] = norm
    return found


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values: normal, so that (4) and (9) are of the size that they would have if scaled."""
    *_, parent, leaf = path.split(".")
    if "norm" in parent or leaf == "bias":  # only heads of tasks have one
        return np.full(shape, config.initializer_factor * (leaf == "weight"))
    width = {"word": 1, "decoder": 1, "query": config.d_model * config.d_kv}.get(parent)
    width = width or (config.d_model if parent.endswith("positions") else shape[-1])
    return config.initializer_factor * width**-0.5 * rng.standard_normal(shape)


# ---- An example ------------------------------------------------------------------------------------------------------
DIMS = encoder_decoder.DIMS


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch (`encoder_decoder.example`)."""
    return encoder_decoder.example(rng, config, dims, math.inf, dropouts)


ATTENTIONS = {"encoder": ("SelfAttention",), "decoder": ("SelfAttention", "EncDecAttention")}  # sub-layers 0, 1
PARTS = {"SelfAttention": "attention", "EncDecAttention": "cross_attention"}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of the keep-masks, by published module; "dropout@1" is that module's second call."""
    rows, source, places = dims["B"], dims["T"], {}
    for stack, length in (("encoder", source), ("decoder", dims["S"])):
        wide = (rows, length, config.d_model)
        places |= {f"{stack}.dropout": wide, f"{stack}.dropout@1": wide}
        for i in range(depth(config, stack)):
            name = f"{stack}.block.{i}.layer."
            for n, part in enumerate(ATTENTIONS[stack]):
                places[f"{name}{n}.{part}.dropout"] = (rows, config.num_heads, length, source if n else length)
                places[f"{name}{n}.dropout"] = wide
            last = len(ATTENTIONS[stack])
            places[f"{name}{last}.DenseReluDense.dropout"] = (rows, length, config.d_ff)
            places[f"{name}{last}.dropout"] = wide
    return {name: (shape, config.dropout_rate) for name, shape in places.items()}


# ---- A layer ---------------------------------------------------------------------------------------------------------
@block
def t5_layer(
    x: Array, bias: Array, memory: Array | Tree | None, p: Tree, *, width: int, act: str, eps: float, rate: float,
    mask: Array | None, seen: Array | None = None, past: Tree | None = None, dropout: Tree | None = None,
    keep: Tree | None = None,
) -> tuple[Array, Tree]:  # fmt: skip
    """(4), (5), each in (6), of x (B, T, D), with (4) of a memory between them where there is one.

    bias: (3), (1, H, T, S). p: attention, cross_attention (query, key, value, output, norm), feed_forward (in, out,
    norm, and gate where it is gated). mask of x and seen of the memory, memory, past, dropout and keep: as in
    `layers.decoder_layer`.
    """
    c: Tree = {}
    keep, factor = keep or {}, (dropout or {}).get

    def residual(name: str, f: Any, x: Array) -> Array:
        given = {"eps": eps, "keep": keep.get(name), "rate": rate, "norm": ops.rms_norm}
        y, c[name] = layers.pre_norm(f, x, p[name], **given)  # (6), (2)
        return y

    def attend(n: Array) -> tuple[Array, Tree]:
        own = {"mask": mask, "past": past, "dropout": factor("attention")}
        return layers.self_attention(n, p["attention"], bias, width=width, scale=1.0, **own)  # (4)

    def look(n: Array) -> tuple[Array, Tree]:
        own = {"mask": seen, "dropout": factor("cross_attention")}
        return layers.cross_attention(n, memory, p["cross_attention"], width=width, scale=1.0, **own)  # (4)

    def feed(n: Array) -> tuple[Array, Tree]:
        f = layers.gated_feed_forward if "gate" in p["feed_forward"] else layers.feed_forward
        return f(n, p["feed_forward"], act=act, dropout=factor("inner"))  # (5)

    y = residual("attention", attend, x)
    y = y if memory is None else residual("cross_attention", look, y)
    return residual("feed_forward", feed, y), c


@block_backward
def t5_layer_backward(dy: Array, c: Tree) -> tuple[Any, ...]:
    """(dx, dbias, and dmemory where there was a memory, g)."""
    g: Tree = {}

    def residual(name: str, f_backward: Any, dy: Array) -> tuple[Array, ...]:
        dx, *others, g[name] = layers.pre_norm_backward(f_backward, dy, c[name], ops.rms_norm_backward)  # (6), (2)
        return dx, *others

    gated = "gate" in c["feed_forward"]
    feed = layers.gated_feed_forward_backward if gated else layers.feed_forward_backward
    (dx,), dmemory = residual("feed_forward", feed, dy), ()  # (5)
    if "cross_attention" in c:
        dx, *dmemory = residual("cross_attention", layers.cross_attention_backward, dx)  # (4)
    dx, dbias = residual("attention", layers.self_attention_backward, dx)  # (4)
    return dx, dbias, *dmemory, g


# ---- The network -----------------------------------------------------------------------------------------------------
inputs = encoder_decoder.inputs


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives; the states and attentions are the decoder's."""
    return {
        "last_hidden_state": "(B,S,d_model)",
        "hidden_states": "[(B,S,d_model)]",
        "attentions": "[(B,num_heads,S,S)]",
        "encoder_last_hidden_state": "(B,T,d_model)",
    }


# of an encoder alone (T5EncoderModel)
OPTIONAL: Tree = dict.fromkeys(("decoder_positions", "decoder", "decoder_norm"), "last_hidden_state")


def lengths(config: Config) -> dict[str, tuple[str, int | None]]:
    """The inputs whose sums are how long each row is; there is no longest."""
    return {"T": ("attention_mask", None), "S": ("decoder_attention_mask", None)}


STATES = encoder_decoder.MEMORY  # those of a text's tokens: the decoder only writes


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(8): outputs by name, and the cache; `inputs` as above, and "dropout" where something is dropped."""
    return encoder_decoder.encode(_read, _written, p, config, inputs, keep)


def _read(p: Tree, config: Config, inputs: Tree, keep: layers.Keep) -> tuple[Array, Tree]:
    """(7): the memory (B, T, D) of the source."""
    mask, nothing = layers.of_source(inputs.get("attention_mask")), [None] * len(p["encoder"])
    hidden, c = _stacked("encoder", p, config, inputs["input_ids"], nothing, inputs, keep, mask=mask)
    return hidden[-1], c


def _stacked(
    stack: str, p: Tree, config: Config, ids: Array, memories: list, inputs: Tree, keep: layers.Keep, *,
    mask: Array | None, seen: Array | None = None, past: list | None = None, first: int = 0,
) -> tuple[list[Array], Tree]:  # fmt: skip
    """The states of a stack for ids, its tokens first, first + 1, …, given each layer's memory: behind the last layer
    Drop(N(·)), in its place.
    """
    c: Tree = {}
    kept, length = inputs.get("dropout") or {}, ids.shape[1]
    rate, eps = config.dropout_rate, config.layer_norm_epsilon
    given = {"ids": {"word": ids}, "frozen": {}, "eps": eps, "keep": kept.get(f"{stack}.dropout"), "rate": rate}
    h, c[f"{stack}_embeddings"] = layers.embeddings({"word": p["embeddings"]["word"]}, **given)  # (1)
    count, most = config.relative_attention_num_buckets, config.relative_attention_max_distance
    places = relative.buckets(length, first + length, both=stack == "encoder", count=count, most=most, first=first)
    bias, c[f"{stack}_positions"] = relative.relative_bias(p[f"{stack}_positions"], buckets=places)  # (3)

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        factors, masks = encoder_decoder.dropped(kept, x.dtype, _places(config, stack, i))
        own = {"mask": mask, "seen": seen, "past": past[i] if past else None, "dropout": factors, "keep": masks}
        return t5_layer(x, bias, memories[i], p, width=config.d_kv, act=config.act, eps=eps, rate=rate, **own)

    hidden, c[stack] = layers.stack(layer, h, p[stack], keep)
    h, c[f"{stack}_norm"] = ops.rms_norm(hidden[-1], **p[f"{stack}_norm"], eps=eps)  # (2)
    h, c[f"{stack}_dropout"] = ops.dropout(h, keep=kept.get(f"{stack}.dropout@1"), rate=rate)
    return [*hidden[:-1], h], c


_written = functools.partial(_stacked, "decoder")  # (8)


def _places(config: Config, stack: str, i: int) -> dict[str, tuple[str, float, str]]:
    """Where a layer drops: `encoder_decoder.dropped`."""
    inside = [*((PARTS[one], one) for one in ATTENTIONS[stack]), ("feed_forward", "DenseReluDense")]
    named = [(part, f"{stack}.block.{i}.layer.{n}.", one) for n, (part, one) in enumerate(inside)]
    return {part: (f"{at}{one}.dropout", config.dropout_rate, f"{at}dropout") for part, at, one in named}


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(8) from the cotangents of the outputs."""
    g: Tree = {}
    dmemory, words = dout["encoder_last_hidden_state"], []
    if "decoder" in c:
        dh, dhidden = dout["last_hidden_state"], dout.get("hidden_states")
        if dhidden is not None:  # the last of them is the same array
            dh, dhidden = kernels.add(dh, dhidden[-1]), dhidden[:-1]
        dwords, dmemories = _stacked_backward(dh, dhidden, "decoder", c, g)  # (8)
        dmemory, words = kernels.add(dmemory, *dmemories), [dwords]
    dwords, _ = _stacked_backward(dmemory, None, "encoder", c, g)  # (7)
    return {**g, "embeddings": {"word": functools.reduce(tree.add, [*words, dwords])}}


def _stacked_backward(dh: Array, dhidden: list | None, stack: str, c: Tree, g: Tree) -> tuple[Tree, list[Array]]:
    """(g of the table, what each layer sends back to the memory); the others' go into g."""
    shared: list = []
    dh = ops.dropout_backward(dh, c[f"{stack}_dropout"])
    dh, g[f"{stack}_norm"] = ops.rms_norm_backward(dh, c[f"{stack}_norm"])  # (2)
    dh, g[stack] = layers.stack_backward(layers.collecting(t5_layer_backward, shared), dh, c[stack], dhidden)
    dbias = functools.reduce(kernels.add, [dbias for dbias, *_ in shared])  # of all layers
    g[f"{stack}_positions"] = relative.relative_bias_backward(dbias, c[f"{stack}_positions"])  # (3)
    dwords = layers.embeddings_backward(dh, c[f"{stack}_embeddings"])["word"]  # (1)
    return dwords, [dmemory for _, *others in shared for dmemory in others]


# ---- From token to token ---------------------------------------------------------------------------------------------
def start(p: Tree, config: Config, inputs: dict[str, Array]) -> Tree:
    """The state that has read the source and no token of the target (`encoder_decoder.start`)."""
    return encoder_decoder.start(_read, p, config, inputs, config.d_kv)


def step(p: Tree, config: Config, ids: Array, state: Tree) -> tuple[Array, Tree]:
    """(logits (N, V) of what follows the last of the ids (N, n), the state that has read them): (9)."""
    h, state = encoder_decoder.step(_written, p, config, ids, state)
    term = terms(config)["next_token"]
    return target_token.predict(h, None, table=tree.get(p, term.table), **term.constants), state


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(9), (10); the table is the embeddings' where tied, else the head's."""
    given = {"sizes": {"table": (config.vocab_size, config.d_model)}, "constants": {"scale": config.scale}}
    if config.tie_word_embeddings:
        return {"next_token": Term(target_token, table="embeddings.word.weight", **given)}
    return {"next_token": Term(target_token, "lm", table="lm.decoder.weight", **given)}


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for a text: the decoder's state at its end token, behind a layer, as in ports."""
    names = {"dense": "classification_head.dense", "head": "classification_head.out_proj"}
    dropped = ("classification_head.dropout", "classification_head.dropout@1")
    return {"text": Summary(at="end", act="tanh", **names, dropped=dropped)}


def states(published: str) -> str:
    """What heads of tokens read, by how ports call their class: of a span the decoder, else the encoder, alone."""
    return "last_hidden_state" if published == "QuestionAnswering" else "encoder_last_hidden_state"


# how ports call the network within a class for a task, if at all
WITHIN = {"SequenceClassification": "transformer.", "TokenClassification": "transformer."}


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "unigram"
SPECIALS = {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
START = "pad"
Data = spans.Spans
# section 3.1.2: Adafactor, a constant rate for the first 10,000 steps. Few pieces, of which a row asks some ten, and a
# larger rate than the paper's 0.01, make it quick.
DEFAULTS: Tree = {"vocab_size": 1000, "seq_length": 64, "lowercase": False, "steps": 1300, "batch_size": 16,
                  "optimizer": "adafactor", "schedule": "t5", "learning_rate": 0.03, "warmup": 10_000.0,
                  "weight_decay": 0.0}  # fmt: skip
WIDTH = "d_model"
NARROW = {"num_layers": 2, "d_model": 128, "num_heads": 4, "d_kv": 32, "d_ff": 512}
QUICK = {**NARROW, "dropout_rate": 0.0}
rows, corrupt = spans.rows, spans.corrupt


def read(encodings: list, pad: int | None) -> dict[str, Array]:
    """The source of encoded texts, (B, T), padded at the end."""
    rows = bert.read(encodings, pad or 0)
    return {name: rows[name] for name in ("input_ids", "attention_mask")}


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given, as no table has an end."""
    return dict(given)
