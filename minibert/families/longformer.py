"""Longformer: The Long-Document Transformer.

Beltagy, Peters, Cohan, 2020, arXiv 2004.05150. Released code: allenai/longformer (`longformer/longformer.py`,
`sliding_chunks.py`, `diagonaled_mm_tvm.py`, `scripts/convert_model_to_long.ipynb`).

RoBERTa except (2)-(5); the numbers of `families.roberta` with RoBERTa's in front of the rest.

    embeddings   h⁰ = Drop(LN(E_word[x] + E_position[t] + E_type[s])), t RoBERTa's positions (its (1), (2))          (1)
    projections  q, k, v as BERT's (2), and a second set of them, q', k', v', for what is global                     (2)
    window       N_i = {j : |i - j| ≤ w·d, d | i - j}, w half of the layer's attention_window, d the head's dilation;
                 G the global tokens; both as far as they are there                                                  (3)
    local        u_i = Drop(softmax over N_i ∪ G of q_i·k_j/√K) v, one softmax, a global token in it once; 0 where i is
                 padding                                                                                             (4)
    global       u_i = Drop(softmax over all of q'_i·k'_j/√K) v' of the tokens in G, in the place of (4)             (5)
    rest         u W_oᵀ + b_o, then RoBERTa's layers (BERT's (4)-(6)), pooler (8), LM head (9), loss (10)            (6)

Memory and work are those of T·(G + 3w) scores a head, not of T²: `minibert.sliding` cuts the text into blocks.

Where the release deviates from the paper or ports from the release, and what is done here:
- attention_window counts both sides, as in ports and in published configurations; the original repository's counts one.
- dilation is the paper's and that of the repository's kernel for GPUs; published models and ports have none.
  `attention_dilation`: one for all heads, or one a layer, or one for each head of each layer.
- both pad rows to a multiple of the window, for their chunks; here the last block is filled up, and rows stay as they
  are. Nothing that is there sees the difference; what modules of ports give is longer by that padding.
- both compute (4) for global tokens, too, and overwrite it: so it is here, and no gradient passes through what is lost.
- masks add -10000 in the release; here what is not seen has no probability, and padding asks nobody.
- dropout of (4) is by slot of the window: a global token shares the slot of its distance, counted around.
- <s> is global in pre-training unless `global_tokens` says otherwise; the release pre-trains without any, from weights
  that are copies of RoBERTa's (`extended`), and ports make <s> global for classification.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, sliding, tree
from minibert.config import among, check, number, rate, require, shown, size
from minibert.families import bert, inherited, roberta
from minibert.objective import Term
from minibert.options import option
from minibert.pairs import block, block_backward

KIN = "roberta"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Longformer-base as released, under the published field names, and the named variants of this engine."""

    vocab_size: int = size(50265)
    hidden_size: int = size(768, bert.WIDE)
    num_hidden_layers: int = size(12, bert.DEEP)
    num_attention_heads: int = size(12)
    intermediate_size: int = size(3072, bert.WIDE)
    hidden_act: str = among("gelu", layers.ACTIVATIONS)
    hidden_dropout_prob: float = rate(0.1)
    attention_probs_dropout_prob: float = rate(0.1)
    attention_window: int | tuple[int, ...] = 512  # both sides together, of all layers or of each
    max_position_embeddings: int = size(4098)  # 4096 tokens: rows 0 and 1 are no token's
    type_vocab_size: int = size(1)
    initializer_range: float = number(0.02, 0, 100)
    layer_norm_eps: float = number(1e-5, 0, 1)
    pad_token_id: int = 1
    tie_word_embeddings: bool = True
    # variants
    attention_dilation: int | tuple[int, ...] = 1  # of all heads, of each layer, or of each head of each layer
    pad_row_gradient: bool = False
    mlm_denominator_eps: float = number(0.0, 0, 1)

    def __post_init__(self) -> None:
        check(self)
        heads, rows, pad = self.num_attention_heads, self.max_position_embeddings, self.pad_token_id
        due = f"allowed: a divisor of hidden_size {self.hidden_size}"
        require(self.hidden_size % heads == 0, f"config field 'num_attention_heads' is {heads}; {due}")
        require(0 <= pad < self.vocab_size, f"config field 'pad_token_id' is {pad}; allowed: a token id")
        require(rows >= pad + 2, f"config field 'max_position_embeddings' is {rows}; allowed: {pad + 2} or more, for "
                f"one token beyond pad_token_id {pad}")  # fmt: skip
        depth = self.num_hidden_layers
        counts = {"attention_window": (2, (depth,)), "attention_dilation": (1, (depth, depth * heads))}
        for name, (least, lengths) in counts.items():
            value = getattr(self, name)
            given = (value,) if isinstance(value, int) else value
            fits = isinstance(value, int) or len(value) in lengths
            allowed = f"one, or a list of {' or '.join(map(str, lengths))}, of "
            allowed += "even numbers from 2" if least == 2 else "numbers from 1"
            fits = fits and all(least <= one < 2**31 and one % least == 0 for one in given)
            require(fits, f"config field {name!r} is {shown(value)}; allowed: {allowed}")


def window(config: Config, i: int) -> int:
    """w of (3) of layer i: tokens on either side."""
    every = config.attention_window
    return (every if isinstance(every, int) else every[i]) // 2


def dilation(config: Config, i: int) -> tuple[int, ...]:
    """d of (3) of layer i: one, of all heads, or one of each."""
    every = config.attention_dilation
    if isinstance(every, int) or len(every) == config.num_hidden_layers:
        return (every if isinstance(every, int) else every[i],)
    return every[i * config.num_attention_heads : (i + 1) * config.num_attention_heads]


PRESETS = {name: bert.PRESETS[name] for name in ("large", "base")}  # section 5: those that were released
PROBE = {name: value for name, value in bert.PROBE.items() if name != "mask_constant"} | {
    "max_position_embeddings": 21, "attention_window": (4, 2), "attention_dilation": (1, 2),
}  # fmt: skip


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """BERT's, and the projections of global tokens: the one place where they are written."""
    found, d = bert.shapes(config), config.hidden_size
    own = {name: {"weight": (d, d), "bias": (d,)} for name in ("query", "key", "value")}
    encoder = [{**layer, "attention": {**layer["attention"], "global": own}} for layer in found["encoder"]]
    return {**found, "encoder": encoder}


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """RoBERTa's batch of every kind of trouble; rows have two global tokens, one and none, one of them padding."""
    dims = {**bert.DIMS, "T": 11, **(dims or {})}
    same = {name: getattr(config, name) for name in ("vocab_size", "pad_token_id", "type_vocab_size")}
    same |= dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)  # its masks are other ones
    length = min(dims["T"], lengths(config)["T"][1])
    batch = bert.example(rng, bert.Config(**same, max_position_embeddings=length), {**dims, "T": length})
    batch.pop("next_sentence_labels")
    rows = np.arange(dims["B"])[:, None] % 3
    batch["global_attention_mask"] = np.zeros((dims["B"], length), np.int64)
    batch["global_attention_mask"][:, [0, length // 2]] = np.concatenate([rows < 2, rows < 1], 1)
    batch["global_attention_mask"][1:2, -1] = 1
    sizes = {"B": dims["B"], "T": length}
    return {**batch, "dropout": layers.keep_masks(rng, dropouts(config, sizes))}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of the keep-masks, by published module: of (4) by slot of the window, of (5), called behind it, by
    key (`sliding`).
    """
    rows, length, heads = dims["B"], dims["T"], config.num_attention_heads
    own, wide = config.attention_probs_dropout_prob, ((rows, length, config.hidden_size), config.hidden_dropout_prob)
    found = {f"{PREFIX}embeddings.dropout": wide}
    for i in range(config.num_hidden_layers):
        inside = f"{LAYERS}{i}.attention.self.dropout"
        found |= {inside: ((rows, heads, length, 2 * window(config, i) + 1), own)}
        found |= {f"{inside}@1": ((rows, heads, length), own), f"{LAYERS}{i}.attention.output.dropout": wide}
        found[f"{LAYERS}{i}.output.dropout"] = wide
    return found


# ---- A layer ---------------------------------------------------------------------------------------------------------
@block
def longformer_layer(
    x: Array, p: Tree, *, heads: int, act: str, eps: float, rate: float = 0.0, keep: Tree | None = None, **given: Any
) -> tuple[Array, Tree]:
    """(2)-(6): a post-norm layer of x (B, T, D) whose attention is `sliding.sliding_attention`, which takes window,
    seen, dilation, dropout; p, heads, keep and rate as in `layers.encoder_layer`.
    """
    c: Tree = {}
    keep, residual, width = keep or {}, {"eps": eps, "rate": rate}, x.shape[-1] // heads

    def attend(x: Array) -> tuple[Array, Tree]:
        return sliding.sliding_attention(x, p["attention"], width=width, **given)

    def feed(a: Array) -> tuple[Array, Tree]:
        return layers.feed_forward(a, p["feed_forward"], act=act)

    a, c["attention"] = layers.post_norm(attend, x, p["attention"], keep=keep.get("attention"), **residual)
    y, c["feed_forward"] = layers.post_norm(feed, a, p["feed_forward"], keep=keep.get("feed_forward"), **residual)
    return y, c


@block_backward
def longformer_layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    da, g["feed_forward"] = layers.post_norm_backward(layers.feed_forward_backward, dy, c["feed_forward"])
    dx, g["attention"] = layers.post_norm_backward(sliding.sliding_attention_backward, da, c["attention"])
    return dx, g


# ---- Encoder ---------------------------------------------------------------------------------------------------------
PREFIX = "longformer."
LAYERS = f"{PREFIX}encoder.layer."


def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes: RoBERTa's, and which tokens are global."""
    return {**bert.inputs(config), "global_attention_mask": "?(B,T)?"}


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives. attentions: of (4), to the G global tokens of a row, then to the 2w + 1 slots of the window;
    global_attentions: of (5), from each token's side, (B, H, T, G).
    """
    maps = "[(B,num_attention_heads,T,...)]"
    return {**bert.outputs(config), "attentions": maps, "global_attentions": maps}


def lengths(config: Config) -> dict[str, tuple[str, int]]:
    """As RoBERTa's: the first rows of the position table are no token's."""
    return {"T": ("attention_mask", config.max_position_embeddings - config.pad_token_id - 1)}


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(6): outputs by name, and the cache; as `bert.encode`."""
    ids, (_, most) = inputs["input_ids"], lengths(config)["T"]
    fits = ids.shape[1] <= most
    require(fits, f"input_ids: {ids.shape[1]} tokens a row, but max_position_embeddings is "
            f"{config.max_position_embeddings}, of which {most} are for tokens; truncate")  # fmt: skip
    own = {"positions": roberta.positions(ids, config.pad_token_id), "frozen": ("word", "position")}
    c: Tree = {}
    h, c["embeddings"] = bert.embedded(p["embeddings"], config, inputs, PREFIX, **own)  # (1)
    there = inputs.get("attention_mask", np.ones(ids.shape, bool))
    seen = sliding.sight(there, inputs.get("global_attention_mask", np.zeros(ids.shape, bool)))  # G of (3)
    kept = (inputs.get("dropout") or {}).get

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        name, probs = f"{LAYERS}{i}.", config.attention_probs_dropout_prob
        drawn = {"window": kept(f"{name}attention.self.dropout"), "global": kept(f"{name}attention.self.dropout@1")}
        return longformer_layer(
            x, p, heads=config.num_attention_heads, act=config.hidden_act, eps=config.layer_norm_eps,
            window=window(config, i), dilation=dilation(config, i), seen=seen,
            dropout={part: ops.dropout_multiplier(mask, probs, x.dtype) for part, mask in drawn.items()
                     if mask is not None},
            keep={"attention": kept(f"{name}attention.output.dropout"), "feed_forward": kept(f"{name}output.dropout")},
            rate=config.hidden_dropout_prob,
        )  # fmt: skip

    hidden, c["encoder"] = layers.stack(layer, h, p["encoder"], keep)  # (2)-(6)
    out: Tree = {"last_hidden_state": hidden[-1], "hidden_states": hidden}
    if keep == "caches" and "dropout" not in inputs:  # a loss has its dropout, if none is drawn, and reads no maps
        caches = [layer["attention"] for layer in c["encoder"]]
        out["attentions"] = [sliding.attentions(own, seen) for own in caches]
        if seen.held.any():
            out["global_attentions"] = [own["global"]["attention"]["probs"].swapaxes(2, 3) for own in caches]
    if "pooler" in p:
        out["pooler_output"], c["pooler"] = layers.pooler(hidden[-1], p["pooler"])
    return out, c


def maps(config: Config, inputs: dict[str, Array], out: Tree) -> dict[str, Array]:
    """Who attends to whom in the first row, (H, T, T) of each layer, from outputs with attentions: for pictures."""
    ids = inputs["input_ids"]
    seen = sliding.sight(inputs.get("attention_mask", np.ones(ids.shape, bool)),
                          inputs.get("global_attention_mask", np.zeros(ids.shape, bool)))  # fmt: skip
    every = out.get("global_attentions") or [band[..., :0] for band in out["attentions"]]
    both = enumerate(zip(out["attentions"], every, strict=True))
    return {f"encoder.{i}": sliding.dense(band, far.swapaxes(2, 3), seen, dilation(config, i))[0]
            for i, (band, far) in both}  # fmt: skip


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(6) from the cotangents of the outputs."""
    g: Tree = {}
    dh = dout["last_hidden_state"]
    if "pooler" in c:
        dh_pooler, g["pooler"] = layers.pooler_backward(dout["pooler_output"], c["pooler"])
        dh = kernels.add(dh, dh_pooler)
    dh, g["encoder"] = layers.stack_backward(longformer_layer_backward, dh, c["encoder"], dout.get("hidden_states"))
    return {"embeddings": layers.embeddings_backward(dh, c["embeddings"]), **g}  # (1)


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """RoBERTa's (9), (10)."""
    return {"masked_lm": bert.masked_lm_term(config, config.hidden_size, "gelu")}


def extended(p: Tree, config: roberta.Config, positions: int = 4096, **given: Any) -> tuple[Tree, Config]:
    """A trained RoBERTa as a Longformer that reads so many tokens (section 5; the release's notebook): its positions
    again and again, its projections for global tokens, too; given: attention_window and attention_dilation. What the
    first window sees it computes as RoBERTa does.
    """
    head, table = config.pad_token_id + 1, p["embeddings"]["position"]["weight"]
    same = {name: getattr(config, name) for name in Config.__dataclass_fields__ if hasattr(config, name)}
    made = Config(**{**same, **given, "max_position_embeddings": head + positions})
    rows = np.concatenate([table[:head], np.resize(table[head:], (positions, table.shape[1]))])
    again = ("query", "key", "value")
    attentions = (layer["attention"] for layer in p["encoder"])
    attentions = [{**held, "global": {name: held[name] for name in again}} for held in attentions]
    encoder = [{**layer, "attention": held} for layer, held in zip(p["encoder"], attentions, strict=True)]
    own = {"embeddings": {**p["embeddings"], "position": {"weight": rows}}, "encoder": encoder}
    return tree.map(np.array, {**{part: p[part] for part in p if part != "nsp"}, **own}), made


# ---- Data ------------------------------------------------------------------------------------------------------------
DEFAULTS: Tree = {**roberta.DEFAULTS, "seq_length": 512, "batch_size": 4, "duplicates": 1, "steps": 1500}
NARROW = {**bert.NARROW, "attention_window": 64}
QUICK = {**bert.QUICK, "attention_window": 64}


@dataclass(frozen=True)
class Data(roberta.Data):
    """What the data functions ask for."""

    format: str = option("full-sentences", "make rows of text in this way (RoBERTa's section 4.2), of one segment",
                         among=roberta.FORMATS[:2])  # fmt: skip
    global_tokens: int = option(1, "let so many tokens at the beginning of a row attend to all, and all to them",
                                least=0, most=64)  # fmt: skip


def fields(data: Data, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given, and what the rows ask for."""
    pad = given.get("pad_token_id", Config.pad_token_id)
    room = {"max_position_embeddings": data.seq_length + pad + 1} if type(pad) is int else {}
    return {**room, **given}


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Any, data: Data, studied: Any = None) -> Tree:
    """RoBERTa's masks, drawn anew, and the first tokens of each row global."""
    made = roberta.corrupt(rows, rng, vocabulary, data, studied)
    return {**made, "global_attention_mask": first(made["input_ids"].shape, data.global_tokens)}


def read(encodings: list, pad: int | None) -> dict[str, Array]:
    """The inputs of encoded texts, as `bert.read`, <s> global."""
    found = bert.read(encodings, pad)
    return {**found, "global_attention_mask": first(found["input_ids"].shape, 1)}


def first(shape: tuple[int, int], count: int) -> Array:
    """The global_attention_mask of rows (B, T) of which so many tokens at the beginning are global."""
    return np.broadcast_to(np.arange(shape[1]) < count, shape).astype(np.int64)
