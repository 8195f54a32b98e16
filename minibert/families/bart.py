"""BART: Denoising Sequence-to-Sequence Pre-training for Natural Language Generation, Translation, and Comprehension.

Lewis, Liu, Goyal, Ghazvininejad, Mohamed, Levy, Stoyanov, Zettlemoyer, 2019, arXiv 1910.13461. Released code:
facebookresearch/fairseq (`models/bart/model.py`, `data/denoising_dataset.py`).

    embeddings   h⁰ = Drop(LN(s·E[x] + P[t + 2])), t = 0, 1, …, s 1 or √D; E one table, P and LN each stack's own   (1)
    attention    q, k, v = h W_qᵀ + b_q, h W_kᵀ + b_k, h W_vᵀ + b_v in H heads of width K;
                 u = Σ Drop(softmax(q kᵀ/√K)) v, merged, u W_oᵀ + b_o                                               (2)
    residual     LN(h + Drop(f(h))), f each sub-layer                                                               (3)
    feed-forward Drop(act(h W₁ᵀ + b₁)) W₂ᵀ + b₂                                                                     (4)
    encoder      (2), (4) over the noised text, each in (3); its last layer's output is the memory                  (5)
    decoder      (2) of what is written, each token up to itself; (2) with keys and values of the memory; (4)       (6)
    logits       z_t = y_t Eᵀ + c, c 0 or a constant                                                                (7)
    objective    L = mean of -log softmax(z_t)[the text's token at t], of the whole text                            (8)

The decoder reads the text one place later, behind `decoder_start_token_id`, which is </s>. There is no norm behind
the stacks. Where the release deviates from the paper or ports from the release, and what is done here:
- the first two rows of P are no position's: the release counts positions from the padding id on, among tokens that are
  no padding, ports from 2 on whatever there is, as is done here: padding on the left moves a text, on the right not.
- the padding row of E gets no look-up gradient, in release and ports; of the logits it does. `pad_row_gradient` has
  both.
- `tie_word_embeddings` false: a table for each stack and one for (7), as in ports; the release has them tied.
- `final_logits_bias` of ports, c of (7), is 0 in published files and never trained. Where it is not, `logits_bias` is
  true and c stands in the tree, with a gradient of 0.
- whole layers are not dropped (`encoder_layerdrop`, `decoder_layerdrop`), as no published model does.
- where there is neither `decoder_input_ids` nor labels the decoder reads the source, shifted likewise, as in ports.
- what the text was noised with: `corruption.denoising`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import encoder_decoder, kernels, layers, tree
from minibert.config import among, check, number, rate, require, size
from minibert.corruption import denoising
from minibert.families import bert, inherited
from minibert.heads import target_token
from minibert.objective import Term
from minibert.summaries import Summary

__getattr__ = inherited()

Array = np.ndarray
Tree = dict[str, Any]

CAUSAL = True
STACKS = ("encoder", "decoder")
EPS = 1e-5  # of every norm
WIDE, DEEP = 2**20, 1024


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """BART-large as released, under the published field names."""

    vocab_size: int = size(50265)
    max_position_embeddings: int = size(1024)
    d_model: int = size(1024, WIDE)
    encoder_layers: int = size(12, DEEP)
    encoder_ffn_dim: int = size(4096, WIDE)
    encoder_attention_heads: int = size(16)
    decoder_layers: int = size(12, DEEP)
    decoder_ffn_dim: int = size(4096, WIDE)
    decoder_attention_heads: int = size(16)
    activation_function: str = among("gelu", layers.ACTIVATIONS)
    dropout: float = rate(0.1)
    attention_dropout: float = rate(0.0)
    activation_dropout: float = rate(0.0)
    init_std: float = number(0.02, 0, 100)
    scale_embedding: bool = False
    tie_word_embeddings: bool = True
    pad_token_id: int = 1
    bos_token_id: int | None = 0  # of generation, as the two below; no equation reads them
    eos_token_id: int | None = 2
    forced_eos_token_id: int | None = 2
    decoder_start_token_id: int = 2
    # variants
    pad_row_gradient: bool = False
    logits_bias: bool = False
    OFFSET = 2  # rows of P that are no position's

    def __post_init__(self) -> None:
        check(self)
        for stack in STACKS:
            heads = getattr(self, f"{stack}_attention_heads")
            allowed = f"a divisor of d_model {self.d_model}"
            fits = self.d_model % heads == 0
            require(fits, f"config field '{stack}_attention_heads' is {heads}; allowed: {allowed}")
        for name in ("bos_token_id", "eos_token_id", "forced_eos_token_id"):  # published ones may be beyond the table
            token = getattr(self, name)
            fits = token is None or 0 <= token < 2**31
            require(fits, f"config field {name!r} is {token}; allowed: null, 0 to {2**31 - 1}")
        for name in ("pad_token_id", "decoder_start_token_id"):
            token = getattr(self, name)
            require(0 <= token < self.vocab_size, f"config field {name!r} is {token}; allowed: a token id")


# section 5.1; base is the release's second model, of half the layers
PRESETS = {
    "base": {"d_model": 768, **dict.fromkeys(("encoder_layers", "decoder_layers"), 6),
             **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 3072),
             **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 12)},
    "large": {},
}  # fmt: skip

# small, and every field away from its default: for checks
PROBE = {
    "vocab_size": 17,
    "max_position_embeddings": 9,
    "d_model": 8,
    "encoder_layers": 2,
    "encoder_ffn_dim": 11,
    "encoder_attention_heads": 2,
    "decoder_layers": 3,
    "decoder_ffn_dim": 13,
    "decoder_attention_heads": 4,
    "activation_function": "gelu_new",
    "dropout": 0.2,
    "attention_dropout": 0.3,
    "activation_dropout": 0.15,
    "init_std": 0.4,
    "scale_embedding": True,
    "tie_word_embeddings": False,
    "pad_token_id": 5,
    "bos_token_id": 2,
    "eos_token_id": 4,
    "forced_eos_token_id": 6,
    "decoder_start_token_id": 3,
    "pad_row_gradient": True,
}


def of(config: Config, stack: str, what: str) -> int:
    """A size of the stack "encoder" or "decoder": "layers", "ffn_dim" or "attention_heads"."""
    return getattr(config, f"{stack}_{what}")


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(6): the one place where they are written."""
    d, words = config.d_model, {"word": {"weight": (config.vocab_size, config.d_model)}}
    norm, places = {"weight": (d,), "bias": (d,)}, {"weight": (config.max_position_embeddings + config.OFFSET, d)}

    def dense(n_out: int, n_in: int) -> Tree:
        return {"weight": (n_out, n_in), "bias": (n_out,)}

    attention = {**{name: dense(d, d) for name in ("query", "key", "value", "output")}, "norm": norm}
    found: Tree = {"embeddings": words} if config.tie_word_embeddings else {}
    for stack, cross in zip(STACKS, ({}, {"cross_attention": attention}), strict=True):
        own = {} if config.tie_word_embeddings else words
        found[f"{stack}_embeddings"] = {**own, "position": places, "norm": norm}
        f = of(config, stack, "ffn_dim")
        layer = {"attention": attention, **cross, "feed_forward": {"in": dense(f, d), "out": dense(d, f), "norm": norm}}
        found[stack] = [layer] * of(config, stack, "layers")
    return found


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values: normal, of deviation `init_std`; the padding row of look-ups is 0."""
    *_, parent, leaf = path.split(".")
    if leaf == "bias" or parent == "norm":
        return np.full(shape, float(leaf == "weight"))
    drawn = config.init_std * rng.standard_normal(shape)
    if parent == "word":
        drawn[config.pad_token_id] = 0
    return drawn


# ---- An example ------------------------------------------------------------------------------------------------------
DIMS = encoder_decoder.DIMS


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch (`encoder_decoder.example`), the padding id in it as a token."""
    batch = encoder_decoder.example(rng, config, dims, config.max_position_embeddings, dropouts)
    batch["input_ids"][0, 2] = batch["decoder_input_ids"][0, 1] = config.pad_token_id
    return batch


ATTENTIONS = {"encoder": ("self_attn",), "decoder": ("self_attn", "encoder_attn")}
PARTS = {"self_attn": "attention", "encoder_attn": "cross_attention"}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of the keep-masks. Ports have no modules for them: those of residuals are called as the norms
    behind them.
    """
    rows, places = dims["B"], {}
    for stack, length in (("encoder", dims["T"]), ("decoder", dims["S"])):
        wide, keys = (rows, length, config.d_model), {"self_attn": length, "encoder_attn": dims["T"]}
        places[f"model.{stack}.dropout"] = (wide, config.dropout)
        for i in range(of(config, stack, "layers")):
            name = f"model.{stack}.layers.{i}."
            for part in ATTENTIONS[stack]:
                square = (rows, of(config, stack, "attention_heads"), length, keys[part])
                places[f"{name}{part}.dropout"] = (square, config.attention_dropout)
                places[f"{name}{part}_dropout"] = (wide, config.dropout)
            inner = (rows, length, of(config, stack, "ffn_dim"))
            places[f"{name}activation_dropout"] = (inner, config.activation_dropout)
            places[f"{name}final_dropout"] = (wide, config.dropout)
    return places


# ---- The network -----------------------------------------------------------------------------------------------------
inputs, lengths = encoder_decoder.inputs, encoder_decoder.lengths


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives; the states and attentions are the decoder's."""
    return {
        "last_hidden_state": "(B,S,d_model)",
        "hidden_states": "[(B,S,d_model)]",
        "attentions": "[(B,decoder_attention_heads,S,S)]",
        "encoder_last_hidden_state": "(B,T,d_model)",
    }


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(6): outputs by name, and the cache; `inputs` as above, and "dropout" where something is dropped."""
    source = target_token.shifted(inputs["input_ids"], config.decoder_start_token_id, config.pad_token_id)
    out, c = encoder_decoder.encode(_read, _written, p, config, inputs, keep, source)
    return out, {**c, "tied": config.tie_word_embeddings}


def _read(p: Tree, config: Config, inputs: Tree, keep: str) -> tuple[Array, Tree]:
    """(5): the memory (B, T, D) of the source."""
    c: Tree = {}
    kept, mask = inputs.get("dropout") or {}, layers.of_source(inputs.get("attention_mask"))
    ids = inputs["input_ids"]
    h, c["encoder_embeddings"] = _embedded(p, config, "encoder", ids, np.arange(ids.shape[1]), kept)

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        factors, masks = encoder_decoder.dropped(kept, x.dtype, _places(config, "encoder", i))
        own = {"mask": mask, "dropout": factors.get("attention"), "inner": factors.get("inner"), "keep": masks}
        return layers.encoder_layer(x, p, **_given(config, "encoder"), **own)

    hidden, c["encoder"] = layers.stack(layer, h, p["encoder"], keep)
    return hidden[-1], c


def _written(
    p: Tree, config: Config, ids: Array, memories: list, inputs: Tree, keep: layers.Keep, *, mask: Array,
    seen: Array | None, past: list | None = None, first: int = 0,
) -> tuple[list[Array], Tree]:  # fmt: skip
    """(6): the decoder's states for ids, its tokens first, first + 1, …, given each layer's memory."""
    c: Tree = {}
    kept, places = inputs.get("dropout") or {}, np.arange(first, first + ids.shape[1])
    places = inputs.get("decoder_position_ids", places)  # of kin
    h, c["decoder_embeddings"] = _embedded(p, config, "decoder", ids, places, kept)

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        factors, masks = encoder_decoder.dropped(kept, x.dtype, _places(config, "decoder", i))
        own = {"mask": mask, "seen": seen, "past": past[i] if past else None, "dropout": factors, "keep": masks}
        return layers.decoder_layer(x, memories[i], p, **_given(config, "decoder"), **own)

    hidden, c["decoder"] = layers.stack(layer, h, p["decoder"], keep)
    return hidden, c


def _given(config: Config, stack: str) -> Tree:
    heads = of(config, stack, "attention_heads")
    return {"heads": heads, "act": config.activation_function, "eps": EPS, "rate": config.dropout}


def _places(config: Config, stack: str, i: int) -> dict[str, tuple[str, float, str]]:
    """Where a layer drops: `encoder_decoder.dropped`."""
    name, rate = f"model.{stack}.layers.{i}.", config.attention_dropout
    found = {PARTS[part]: (f"{name}{part}.dropout", rate, f"{name}{part}_dropout") for part in ATTENTIONS[stack]}
    return {**found, "feed_forward": (f"{name}activation_dropout", config.activation_dropout, f"{name}final_dropout")}


def _embedded(p: Tree, config: Config, stack: str, ids: Array, places: Array, kept: Tree) -> tuple[Array, Tree]:
    """(1) of ids (B, T) at these places, (T,) or (B, T)."""
    last, most = int(places.max()) + 1, config.max_position_embeddings
    require(last <= most, f"{last} tokens a row, but max_position_embeddings is {most}; truncate")
    rows = {"word": ids, "position": places + config.OFFSET}
    scales = {"word": float(config.d_model) ** 0.5} if config.scale_embedding else {}
    frozen = {} if config.pad_row_gradient else {"word": config.pad_token_id}
    given = {"frozen": frozen, "eps": EPS, "scales": scales, "rate": config.dropout}
    tables = {**p.get("embeddings", {}), **p[f"{stack}_embeddings"]}
    return layers.embeddings(tables, ids=rows, keep=kept.get(f"model.{stack}.dropout"), **given)


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(6) from the cotangents of the outputs."""
    g: Tree = {}
    dh, dhidden, shared = dout["last_hidden_state"], dout.get("hidden_states"), []
    if dhidden is not None:  # the last of them is the same array
        dh, dhidden = kernels.add(dh, dhidden[-1]), dhidden[:-1]
    decoding = layers.collecting(layers.decoder_layer_backward, shared)
    dh, g["decoder"] = layers.stack_backward(decoding, dh, c["decoder"], dhidden)  # (6)
    g["decoder_embeddings"] = layers.embeddings_backward(dh, c["decoder_embeddings"])  # (1)
    dmemory = kernels.add(dout["encoder_last_hidden_state"], *(d for (d,) in shared))
    dh, g["encoder"] = layers.stack_backward(layers.encoder_layer_backward, dmemory, c["encoder"])  # (5)
    g["encoder_embeddings"] = layers.embeddings_backward(dh, c["encoder_embeddings"])  # (1)
    if c["tied"]:
        g["embeddings"] = {"word": tree.add(*(g[f"{stack}_embeddings"].pop("word") for stack in STACKS))}
    return g


# ---- From token to token ---------------------------------------------------------------------------------------------
def start(p: Tree, config: Config, inputs: dict[str, Array]) -> Tree:
    """The state that has read the source and no token of the target (`encoder_decoder.start`)."""
    return encoder_decoder.start(_read, p, config, inputs, config.d_model // config.decoder_attention_heads)


def step(p: Tree, config: Config, ids: Array, state: Tree) -> tuple[Array, Tree]:
    """(logits (N, V) of what follows the last of the ids (N, n), the state that has read them): (7)."""
    h, state = encoder_decoder.step(_written, p, config, ids, state)
    return target_token.predict(h, p.get("lm"), table=tree.get(p, terms(config)["next_token"].table)), state


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(7), (8); the table is the embeddings' where tied, else the head's."""
    tied, constant = config.tie_word_embeddings, config.logits_bias
    sizes = {"table": (config.vocab_size, config.d_model), "tied": tied, "constant": constant}
    table = "embeddings.word.weight" if tied else "lm.decoder.weight"
    return {"next_token": Term(target_token, *own(config), sizes=sizes, table=table)}


def own(config: Config) -> tuple[str, ...]:
    """The part of the tree that belongs to (7), where there is one."""
    return () if config.tie_word_embeddings and not config.logits_bias else ("lm",)


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for a text: the decoder's state at its end token, behind a layer (section 3.3)."""
    names = {"dense": "classification_head.dense", "head": "classification_head.out_proj"}
    dropped = ("classification_head.dropout", "classification_head.dropout@1")
    return {"text": Summary(at="end", act="tanh", **names, dropped=dropped)}


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "byte_level"
START = "eos"
Data = denoising.Denoised
rows, corrupt = denoising.rows, denoising.corrupt
DEFAULTS: Tree = {"vocab_size": 2000, "seq_length": 64, "lowercase": False, "masking": "dynamic", "steps": 800,
                  "batch_size": 16, "optimizer": "adamw", "schedule": "linear", "weight_decay": 0.01}  # fmt: skip
WIDTH = "d_model"
NARROW = {"d_model": 128, **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
          **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 512),
          **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4), "init_std": 0.05}  # fmt: skip
QUICK = {**NARROW, "dropout": 0.0}


def read(encodings: list, pad: int | None) -> dict[str, Array]:
    """The source of encoded texts, (B, T), padded at the end."""
    rows = bert.read(encodings, pad or 0)
    return {name: rows[name] for name in ("input_ids", "attention_mask")}


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given, and what the rows ask for."""
    return {"max_position_embeddings": data.seq_length, **given}
