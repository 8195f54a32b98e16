"""Transformer: Attention Is All You Need.

Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin, 2017, arXiv 1706.03762. Released code:
tensorflow/tensor2tensor (`models/transformer.py`; `transformer_base_v1` is the paper's).

    embeddings   h⁰ = Drop(√D·E[x] + S(t)), S(t)_{2i} = sin(t/10000^{2i/D}), S(t)_{2i+1} = cos(t/10000^{2i/D})      (1)
    attention    q, k, v = h W_qᵀ, h W_kᵀ, h W_vᵀ in H heads of width K; u = Σ softmax(q kᵀ/√K) v, merged, u W_oᵀ   (2)
    residual     LN(h + Drop(f(h))), f each sub-layer                                                               (3)
    feed-forward max(0, h W₁ᵀ + b₁) W₂ᵀ + b₂                                                                        (4)
    encoder      (2), (4) over the source, each in (3); its last layer's output is the memory                       (5)
    decoder      (2) of what is written, each token up to itself; (2) with keys and values of the memory; (4)       (6)
    logits       z_t = y_t Eᵀ: one table for source, target and logits                                              (7)
    objective    L = mean of -Σ_c q_c log softmax(z_t)_c, q 1 - ε + ε/V at the next token, ε/V elsewhere            (8)
    rate         D^{-1/2}·min(s^{-1/2}, s·w^{-3/2}), s the step from 1 on, w the warm-up (`optim`, schedule "noam") (9)

Where the release deviates from the paper or ports from the release, and what is done here:
- attention has no biases in paper and release; `attention_bias` true has them, as torch.nn.Transformer.
- `norm_first`: norms at the inputs of sub-layers and one behind each stack (later versions of the release);
  `final_norm`: that norm behind post-norm stacks too, as torch.nn.Transformer has it.
- dropout stands on (1) and in (3); the later release's on probabilities and within (4) are `attention_dropout` and
  `activation_dropout`, and torch's, all at one rate.
- positions "concatenated": the release has all sines first, then all cosines, and 10000^{i/(D/2-1)}.
- the release smooths with ε/(V - 1) over the other classes and takes the entropy of q from (8); here it is the form of
  arXiv 1512.00567, which the paper cites.
- the release shifts embedded targets and begins with a vector of zeros; here `decoder_start_token_id` begins, as in
  ports.
- the padding row of E learns from its look-ups; nobody attends to padding of the source.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import encoder_decoder, kernels, layers, ops, tree
from minibert.config import among, check, number, rate, require, size
from minibert.corruption import translation
from minibert.families import bert, inherited
from minibert.heads import target_token
from minibert.objective import Term

__getattr__ = inherited()

Array = np.ndarray
Tree = dict[str, Any]

CAUSAL = True
POSITIONS = ("interleaved", "concatenated")
WIDE, DEEP = 2**20, 1024


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """The base model; fields as torch.nn.Transformer calls them, the others as published configurations do."""

    vocab_size: int = size(37000)
    d_model: int = size(512, WIDE)
    nhead: int = size(8)
    num_encoder_layers: int = size(6, DEEP)
    num_decoder_layers: int = size(6, DEEP)
    dim_feedforward: int = size(2048, WIDE)
    activation: str = among("relu", layers.ACTIVATIONS)
    dropout: float = rate(0.1)
    attention_dropout: float = rate(0.0)
    activation_dropout: float = rate(0.0)
    layer_norm_eps: float = number(1e-6, 0, 1)
    label_smoothing: float = rate(0.1)
    max_position_embeddings: int = size(1024)  # (1) has no last position; rows have
    pad_token_id: int = 0
    bos_token_id: int | None = None  # of generation, as the one below; no equation reads them
    eos_token_id: int | None = 1
    decoder_start_token_id: int = 0
    # variants
    norm_first: bool = False
    final_norm: bool = False
    attention_bias: bool = False
    positions: str = among("interleaved", POSITIONS)

    def __post_init__(self) -> None:
        check(self)
        fits = self.d_model % self.nhead == 0
        require(fits, f"config field 'nhead' is {self.nhead}; allowed: a divisor of d_model {self.d_model}")
        even = self.d_model % 2 == 0 and self.d_model > 2
        require(even, f"config field 'd_model' is {self.d_model}; allowed: even numbers from 4 on (sines, cosines)")
        for name in ("bos_token_id", "eos_token_id"):  # published ones may be beyond the vocabulary
            token = getattr(self, name)
            fits = token is None or 0 <= token < 2**31
            require(fits, f"config field {name!r} is {token}; allowed: null, 0 to {2**31 - 1}")
        for name in ("pad_token_id", "decoder_start_token_id"):
            token = getattr(self, name)
            require(0 <= token < self.vocab_size, f"config field {name!r} is {token}; allowed: a token id")


# table 3
PRESETS = {
    "base": {},
    "big": {"d_model": 1024, "nhead": 16, "dim_feedforward": 4096, "dropout": 0.3},
}

# small, and every field away from its default: for checks
PROBE = {
    "vocab_size": 17,
    "d_model": 8,
    "nhead": 2,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "dim_feedforward": 11,
    "activation": "gelu",
    "dropout": 0.2,
    "attention_dropout": 0.3,
    "activation_dropout": 0.15,
    "layer_norm_eps": 1e-3,
    "label_smoothing": 0.2,
    "max_position_embeddings": 9,
    "pad_token_id": 5,
    "bos_token_id": 2,
    "eos_token_id": 4,
    "decoder_start_token_id": 3,
    "norm_first": True,
    "final_norm": True,
    "attention_bias": True,
    "positions": "concatenated",
}


def depth(config: Config, stack: str) -> int:
    """How many layers the stack "encoder" or "decoder" has."""
    return config.num_encoder_layers if stack == "encoder" else config.num_decoder_layers


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(7): the one place where they are written."""
    d, f = config.d_model, config.dim_feedforward
    norm = {"weight": (d,), "bias": (d,)}

    def dense(n_out: int, n_in: int, biased: bool = True) -> Tree:
        return {"weight": (n_out, n_in), **({"bias": (n_out,)} if biased else {})}

    attention = {n: dense(d, d, config.attention_bias) for n in ("query", "key", "value", "output")} | {"norm": norm}
    encoder = {"attention": attention, "feed_forward": {"in": dense(f, d), "out": dense(d, f), "norm": norm}}
    ends = {"encoder_norm": norm, "decoder_norm": norm} if config.norm_first or config.final_norm else {}
    return {
        "embeddings": {"word": {"weight": (config.vocab_size, d)}},
        "encoder": [encoder] * config.num_encoder_layers,
        "decoder": [{**encoder, "cross_attention": attention}] * config.num_decoder_layers,
        **ends,
    }


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values: the table normal, of deviation D^{-1/2}, matrices uniform, of variance 2/(in + out).
    """
    *_, parent, leaf = path.split(".")
    if leaf == "bias" or "norm" in parent:
        return np.full(shape, float(leaf == "weight"))
    if parent == "word":
        return config.d_model**-0.5 * rng.standard_normal(shape)
    return (6 / sum(shape)) ** 0.5 * (2 * rng.random(shape) - 1)


# ---- An example ------------------------------------------------------------------------------------------------------
DIMS = encoder_decoder.DIMS


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch (`encoder_decoder.example`)."""
    return encoder_decoder.example(rng, config, dims, config.max_position_embeddings, dropouts)


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of the keep-masks, by module."""
    rows, heads, inner, places = dims["B"], config.nhead, config.dim_feedforward, {}
    for stack, length in (("encoder", dims["T"]), ("decoder", dims["S"])):
        wide = ((rows, length, config.d_model), config.dropout)
        places[f"{stack}.embedding.dropout"] = wide
        parts = {"self_attn": length, **({"multihead_attn": dims["T"]} if stack == "decoder" else {})}
        for i in range(depth(config, stack)):
            for n, (part, keys) in enumerate(parts.items(), 1):
                square = (rows, heads, length, keys)
                places[f"{stack}.layers.{i}.{part}.dropout"] = (square, config.attention_dropout)
                places[f"{stack}.layers.{i}.dropout{n}"] = wide
            places[f"{stack}.layers.{i}.dropout"] = ((rows, length, inner), config.activation_dropout)
            places[f"{stack}.layers.{i}.dropout{len(parts) + 1}"] = wide
    return places


# ---- The network -----------------------------------------------------------------------------------------------------
inputs, lengths = encoder_decoder.inputs, encoder_decoder.lengths


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives; the states and attentions are the decoder's."""
    return {
        "last_hidden_state": "(B,S,d_model)",
        "hidden_states": "[(B,S,d_model)]",
        "attentions": "[(B,nhead,S,S)]",
        "encoder_last_hidden_state": "(B,T,d_model)",
    }


STATES = encoder_decoder.MEMORY  # those of a text's tokens: the decoder only writes


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(6): outputs by name, and the cache; `inputs` as above, and "dropout" where something is dropped."""
    out, c = encoder_decoder.encode(_read, _written, p, config, inputs, keep)
    return out, {**c, "norm_first": config.norm_first}


def _read(p: Tree, config: Config, inputs: Tree, keep: str) -> tuple[Array, Tree]:
    """(5): the memory (B, T, D) of the source."""
    c: Tree = {}
    kept = inputs.get("dropout") or {}
    h, c["encoder_embeddings"] = _embedded(p, config, inputs["input_ids"], 0, kept.get("encoder.embedding.dropout"))
    mask = layers.of_source(inputs.get("attention_mask"))
    f = layers.pre_norm_layer if config.norm_first else layers.encoder_layer

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        factors, masks = encoder_decoder.dropped(kept, x.dtype, _places(config, "encoder", i))
        own = {"mask": mask, "dropout": factors.get("attention"), "inner": factors.get("inner"), "keep": masks}
        return f(x, p, heads=config.nhead, act=config.activation, eps=config.layer_norm_eps, rate=config.dropout, **own)

    hidden, c["encoder"] = layers.stack(layer, h, p["encoder"], keep)
    return _ended(hidden[-1], p, "encoder_norm", config, c), c


def _written(
    p: Tree, config: Config, ids: Array, memories: list, inputs: Tree, keep: layers.Keep, *, mask: Array,
    seen: Array | None, past: list | None = None, first: int = 0,
) -> tuple[list[Array], Tree]:  # fmt: skip
    """(6): the decoder's states for ids, its tokens first, first + 1, …, given each layer's memory."""
    c: Tree = {}
    kept = inputs.get("dropout") or {}
    h, c["decoder_embeddings"] = _embedded(p, config, ids, first, kept.get("decoder.embedding.dropout"))
    f = layers.pre_norm_decoder_layer if config.norm_first else layers.decoder_layer

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        factors, masks = encoder_decoder.dropped(kept, x.dtype, _places(config, "decoder", i))
        own = {"mask": mask, "seen": seen, "past": past[i] if past else None, "dropout": factors, "keep": masks}
        given = {"heads": config.nhead, "act": config.activation, "eps": config.layer_norm_eps, "rate": config.dropout}
        return f(x, memories[i], p, **given, **own)

    hidden, c["decoder"] = layers.stack(layer, h, p["decoder"], keep)
    return [*hidden[:-1], _ended(hidden[-1], p, "decoder_norm", config, c)], c


STACKS = {"encoder": ("self_attn",), "decoder": ("self_attn", "multihead_attn")}
PARTS = {"self_attn": "attention", "multihead_attn": "cross_attention"}


def _places(config: Config, stack: str, i: int) -> dict[str, tuple[str, float, str]]:
    """Where a layer drops: `encoder_decoder.dropped`."""
    name, found = f"{stack}.layers.{i}.", {}
    for n, part in enumerate(STACKS[stack], 1):
        found[PARTS[part]] = (f"{name}{part}.dropout", config.attention_dropout, f"{name}dropout{n}")
    return {**found, "feed_forward": (f"{name}dropout", config.activation_dropout, f"{name}dropout{len(found) + 1}")}


def _embedded(p: Tree, config: Config, ids: Array, first: int, keep: Array | None) -> tuple[Array, Tree]:
    """(1)"""
    last, most = first + ids.shape[1], config.max_position_embeddings
    require(last <= most, f"{last} tokens a row, but max_position_embeddings is {most}; truncate")
    word = p["embeddings"]["word"]
    places = sinusoids(ids.shape[1], config, first)
    tables = {"word": word, "position": {"weight": places.astype(word["weight"].dtype)}}
    rows = {"word": ids, "position": np.arange(len(places))}
    scales = {"word": float(config.d_model) ** 0.5}
    return layers.embeddings(tables, ids=rows, frozen={}, eps=0.0, keep=keep, rate=config.dropout, scales=scales)


def sinusoids(length: int, config: Config, first: int = 0) -> Array:
    """S of (1) at first, first + 1, …, (length, D), in float64."""
    d, paper = config.d_model, config.positions == "interleaved"
    exponents = np.arange(d // 2) / (d / 2 if paper else d / 2 - 1)
    angles = np.arange(first, first + length)[:, None] * 10000.0**-exponents
    both = [np.sin(angles), np.cos(angles)]
    return np.stack(both, -1).reshape(length, d) if paper else np.concatenate(both, -1)


def _ended(h: Array, p: Tree, name: str, config: Config, c: Tree) -> Array:
    """The norm behind a stack, where there is one."""
    if name not in p:
        return h
    h, c[name] = ops.layer_norm(h, **p[name], eps=config.layer_norm_eps)
    return h


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(6) from the cotangents of the outputs."""
    g: Tree = {}
    dh, dhidden, shared = dout["last_hidden_state"], dout.get("hidden_states"), []
    if dhidden is not None:  # the last of them is the same array
        dh, dhidden = kernels.add(dh, dhidden[-1]), dhidden[:-1]
    encoding = layers.pre_norm_layer_backward if c["norm_first"] else layers.encoder_layer_backward
    decoding = layers.pre_norm_decoder_layer_backward if c["norm_first"] else layers.decoder_layer_backward
    dh = _ended_backward(dh, g, "decoder_norm", c)
    dh, g["decoder"] = layers.stack_backward(layers.collecting(decoding, shared), dh, c["decoder"], dhidden)  # (6)
    dtarget = layers.embeddings_backward(dh, c["decoder_embeddings"])["word"]  # (1)
    dmemory = kernels.add(dout["encoder_last_hidden_state"], *(d for (d,) in shared))
    dmemory = _ended_backward(dmemory, g, "encoder_norm", c)
    dh, g["encoder"] = layers.stack_backward(encoding, dmemory, c["encoder"])  # (5)
    dsource = layers.embeddings_backward(dh, c["encoder_embeddings"])["word"]  # (1)
    return {**g, "embeddings": {"word": tree.add(dsource, dtarget)}}


def _ended_backward(dh: Array, g: Tree, name: str, c: Tree) -> Array:
    if name in c:
        dh, g[name] = ops.layer_norm_backward(dh, c[name])
    return dh


# ---- From token to token ---------------------------------------------------------------------------------------------
def start(p: Tree, config: Config, inputs: dict[str, Array]) -> Tree:
    """The state that has read the source and no token of the target (`encoder_decoder.start`)."""
    return encoder_decoder.start(_read, p, config, inputs, config.d_model // config.nhead)


def step(p: Tree, config: Config, ids: Array, state: Tree) -> tuple[Array, Tree]:
    """(logits (N, V) of what follows the last of the ids (N, n), the state that has read them): (7)."""
    h, state = encoder_decoder.step(_written, p, config, ids, state)
    return target_token.predict(h, None, table=p["embeddings"]["word"]["weight"]), state


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(7), (8)"""
    sizes, constants = {"table": (config.vocab_size, config.d_model)}, {"smoothing": config.label_smoothing}
    return {"next_token": Term(target_token, sizes=sizes, constants=constants, table="embeddings.word.weight")}


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "byte_level"
START = "pad"
Data = translation.Translated
mark, rows = translation.sources, translation.rows
DEFAULTS: Tree = {"vocab_size": 2000, "seq_length": 64, "duplicates": 1, "lowercase": False, "steps": 800,
                  "batch_size": 16, "optimizer": "adamw", "schedule": "transformer", "learning_rate": 2e-3,
                  "weight_decay": 0.0}  # fmt: skip
WIDTH = "d_model"
NARROW = {"num_encoder_layers": 2, "num_decoder_layers": 2, "d_model": 128, "nhead": 4, "dim_feedforward": 512}
QUICK = {**NARROW, "dropout": 0.0}


BARE_TARGETS = True  # what the decoder writes has no token in front, though rows of the encoder have


def read(encodings: list, pad: int | None) -> dict[str, Array]:
    """The source of encoded texts, (B, T), padded at the end."""
    rows = bert.read(encodings, pad or 0)
    return {name: rows[name] for name in ("input_ids", "attention_mask")}


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given, and what the rows ask for."""
    return {"max_position_embeddings": data.seq_length, **given}
