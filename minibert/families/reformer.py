"""Reformer: The Efficient Transformer.

Kitaev, Kaiser, Levskaya, 2020, arXiv 2001.04451. Released code: google/trax (`trax/models/reformer`); published as
transformers' ReformerModelWithLMHead, ReformerForMaskedLM.

    positions    e[t] = [E_row[⌊t/n₂⌋]; E_column[t mod n₂]], or E_position[t]                                       (1)
    embeddings   h⁰ = Drop(E_word[x]) + Drop(e); x₁ = x₂ = h⁰                                                       (2)
    local        A(h): each token attends to its own chunk of c and to those about it                              (3)
    hashed       A(h): each token attends to tokens of its bucket: `hashed.hashed_attention`                       (4)
    attention    y₁ = x₁ + Drop(A(LN(x₂)))                                                                         (5)
    feed-forward y₂ = x₂ + Drop(act(Drop(LN(y₁) W₁ᵀ + b₁)) W₂ᵀ + b₂), in slices of the text                        (6)
    backward     x₂ = y₂ - feed-forward(y₁), x₁ = y₁ - attention(x₂): no layer keeps its input                     (7)
    output       Drop(LN([y₁; y₂])), 2D wide                                                                       (8)
    logits       z = h W_Vᵀ + b_V                                                                                  (9)
    objective    L = mean of -log softmax(z_t)[x_{t+1}], or of masked tokens                                      (10)

Where releases deviate from the paper, or ports from the release, and what is done here:
- (4) neither release leaves other buckets out or counts a key once that is met in several rounds: `lsh_masking` "paper"
  does. Scores are replaced by -1e5 (the token itself) and -1e9, as in ports; trax takes as much from them.
- (4) rotations are data, `rotations`, of each hashed layer; without them those that ports draw in float64 of
  `hash_seed`, 0 where it is null. Buckets are kept for the backward: rounding could change one.
- `num_buckets` null: as ports choose it, but of each text's own length, where they keep that of the first.
- (3), (4) rows are padded to whole chunks, here in training, too, and of any length up to the tables'. The chunks are a
  ring: the first sees the last. Positions of that padding are the last.
- (4) what a causal model has sorted together depends on tokens behind: no token reads them, but which of those before
  it are in its chunk.
- (1) dropped is a whole column of the table, as in ports; all of x, where positions are one table.
- (9) b_V is added, as in trax and ports up to transformers 4; later ones have it and add nothing. No table is tied.
- a text's row (`summaries`) is its last token's in a causal model, where ports take the first, which sees itself alone.
- (10) dropout, rotations and steps: a `sample` of a run draws rotations anew.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import hashed, kernels, layers, ops, options, reversible
from minibert.config import among, check, number, rate, require, size
from minibert.corruption import masking, rules
from minibert.families import gpt2, inherited
from minibert.heads import masked_token, next_token
from minibert.objective import Term
from minibert.options import option
from minibert.pairs import block, block_backward
from minibert.summaries import Summary

__getattr__ = inherited()

Array = np.ndarray
Tree = dict[str, Any]
WIDE, DEEP = 2**20, 1024
MASKINGS = {"released": ("own",), "paper": ops.RULES}
KEEP = "rebuilt"
CHUNKED = {  # a layer's kind -> the config fields of its chunks, before, after, and dropout
    "local": ("local_attn_chunk_length", "local_num_chunks_before", "local_num_chunks_after",
              "local_attention_probs_dropout_prob"),
    "lsh": ("lsh_attn_chunk_length", "lsh_num_chunks_before", "lsh_num_chunks_after",
            "lsh_attention_probs_dropout_prob"),
}  # fmt: skip


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """transformers' defaults under the published field names, and the named variant of this engine."""

    vocab_size: int = size(320)
    hidden_size: int = size(256, WIDE)
    attn_layers: tuple[str, ...] = ("local", "lsh") * 3
    num_attention_heads: int = size(12)
    attention_head_size: int = size(64, WIDE)
    feed_forward_size: int = size(512, WIDE)
    hidden_act: str = among("relu", layers.ACTIVATIONS)
    chunk_size_feed_forward: int = number(0, 0, 2**31 - 1)
    chunk_size_lm_head: int = number(0, 0, 2**31 - 1)  # changes no number, and nothing here
    local_attn_chunk_length: int = size(64)
    local_num_chunks_before: int = number(1, 0, 64)
    local_num_chunks_after: int = number(0, 0, 64)
    lsh_attn_chunk_length: int = size(64)
    lsh_num_chunks_before: int = number(1, 0, 64)
    lsh_num_chunks_after: int = number(0, 0, 64)
    num_hashes: int = size(1, 256)
    num_buckets: int | tuple[int, ...] | None = None
    hash_seed: int | None = None
    axial_pos_embds: bool = True
    axial_pos_shape: tuple[int, ...] = (64, 64)
    axial_pos_embds_dim: tuple[int, ...] = (64, 192)
    axial_norm_std: float = number(1.0, 0, 1e6)
    max_position_embeddings: int = size(4096)
    is_decoder: bool = False
    hidden_dropout_prob: float = rate(0.05)
    local_attention_probs_dropout_prob: float = rate(0.05)
    lsh_attention_probs_dropout_prob: float = rate(0.0)
    layer_norm_eps: float = number(1e-12, 0, 1)
    initializer_range: float = number(0.02, 0, 100)
    tie_word_embeddings: bool = False  # the head is 2D wide: nothing is tied, whatever this says
    pad_token_id: int | None = 0
    bos_token_id: int | None = None  # of generation, as the one below; no equation reads them
    eos_token_id: int | None = 2
    # variants
    lsh_masking: str = among("released", MASKINGS)

    def __post_init__(self) -> None:
        check(self)
        fits = 0 < len(self.attn_layers) <= DEEP and {*self.attn_layers} <= CHUNKED.keys()
        require(fits, f"config field 'attn_layers' is {self.attn_layers}; allowed: 1 to {DEEP} of local, lsh")
        shape, wide = self.axial_pos_shape, self.axial_pos_embds_dim
        fits = not self.axial_pos_embds or (len(shape) == 2 and all(0 < n <= 2**24 for n in shape))
        require(fits, f"config field 'axial_pos_shape' is {shape}; allowed: two numbers, rows and columns")
        fits = not self.axial_pos_embds or (len(wide) == 2 and min(wide) > 0 and sum(wide) == self.hidden_size)
        require(fits, f"config field 'axial_pos_embds_dim' is {wide}; allowed: two numbers whose sum is hidden_size, "
                f"{self.hidden_size}")  # fmt: skip
        given = self.num_buckets if isinstance(self.num_buckets, tuple) else (self.num_buckets or 2,)
        fits = 0 < len(given) < 9 and all(0 < n <= 2**20 and n % 2 == 0 for n in given) and math.prod(given) < 2**31
        require(fits, f"config field 'num_buckets' is {self.num_buckets}; allowed: null, an even number or several")
        after = [CHUNKED[kind][2] for kind in self.attn_layers if getattr(self, CHUNKED[kind][2])]
        fits = f"config field {''.join(after[:1])!r} is not 0; allowed: 0, as is_decoder hides what comes behind"
        require(not (self.is_decoder and after), fits)
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            token = getattr(self, name)
            fits = token is None or 0 <= token < (self.vocab_size if name == "pad_token_id" else 2**31)
            require(fits, f"config field {name!r} is {token}; allowed: null, or the id of a token")

    @property
    def num_hidden_layers(self) -> int:
        """L."""
        return len(self.attn_layers)

    @property
    def places(self) -> int:
        """How many positions there are."""
        most = math.prod(self.axial_pos_shape) if self.axial_pos_embds else self.max_position_embeddings
        return min(most, self.max_position_embeddings)

    def padded(self, length: int) -> int:
        """The length of a row of so many tokens, in whole chunks of each kind, where it is longer than the shortest."""
        chunks = [getattr(self, CHUNKED[kind][0]) for kind in {*self.attn_layers}]
        return length if length <= min(chunks) else -(-length // math.lcm(*chunks)) * math.lcm(*chunks)

    def factors(self, length: int) -> tuple[int, ...]:
        """Of the number of buckets of a row of so many tokens, padding included."""
        given = {"chunk": self.lsh_attn_chunk_length, "most": self.max_position_embeddings}
        return hashed.factors(self.num_buckets, length=length, **given)


# of the two published models
_CRIME = {"attn_layers": ("local", "lsh") * 3, "num_attention_heads": 2, "num_buckets": (64, 128), "is_decoder": True,
          "axial_pos_shape": (512, 1024), "max_position_embeddings": 524288}  # fmt: skip
_ENWIK8 = {"attn_layers": ("local", "local", "lsh", "local") * 3, "vocab_size": 258, "hidden_size": 1024,
           "num_attention_heads": 8, "attention_head_size": 128, "feed_forward_size": 4096, "num_hashes": 4,
           "num_buckets": 512, "local_attn_chunk_length": 128, "lsh_attn_chunk_length": 256, "is_decoder": True,
           "axial_pos_shape": (128, 512), "axial_pos_embds_dim": (256, 768),
           "max_position_embeddings": 65536}  # fmt: skip
PRESETS = {"crime": _CRIME, "enwik8": _ENWIK8}

# small, and every field away from its default: for checks
PROBE = {
    "vocab_size": 17,
    "hidden_size": 8,
    "attn_layers": ("lsh", "local", "lsh"),
    "num_attention_heads": 2,
    "attention_head_size": 3,
    "feed_forward_size": 11,
    "hidden_act": "gelu",
    "chunk_size_feed_forward": 3,
    "chunk_size_lm_head": 2,
    "local_attn_chunk_length": 4,
    "local_num_chunks_before": 2,
    "local_num_chunks_after": 1,
    "lsh_attn_chunk_length": 2,
    "lsh_num_chunks_before": 2,
    "lsh_num_chunks_after": 1,
    "num_hashes": 3,
    "num_buckets": (2, 4),
    "hash_seed": 5,
    "axial_pos_embds": True,
    "axial_pos_shape": (3, 5),
    "axial_pos_embds_dim": (3, 5),
    "axial_norm_std": 0.5,
    "max_position_embeddings": 14,
    "is_decoder": False,
    "hidden_dropout_prob": 0.2,
    "local_attention_probs_dropout_prob": 0.3,
    "lsh_attention_probs_dropout_prob": 0.15,
    "layer_norm_eps": 1e-3,
    "initializer_range": 0.1,
    "tie_word_embeddings": True,
    "pad_token_id": 5,
    "bos_token_id": 3,
    "eos_token_id": 4,
    "lsh_masking": "paper",
}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(8): the one place where they are written."""
    d, f, inner = config.hidden_size, config.feed_forward_size, config.num_attention_heads * config.attention_head_size
    norm = {"weight": (d,), "bias": (d,)}
    feed = {"norm": norm, "in": {"weight": (f, d), "bias": (f,)}, "out": {"weight": (d, f), "bias": (d,)}}

    def attention(kind: str) -> Tree:
        names = ("query", "value") if kind == "lsh" else ("query", "key", "value")
        return {"norm": norm, **{name: {"weight": (inner, d)} for name in names}, "output": {"weight": (d, inner)}}

    axes = [{"weight": sizes} for sizes in zip(config.axial_pos_shape, config.axial_pos_embds_dim, strict=True)]
    position = {"axial": axes} if config.axial_pos_embds else {"position": {"weight": (config.places, d)}}
    return {
        "embeddings": {"word": {"weight": (config.vocab_size, d)}, **position},
        "encoder": [{"attention": attention(kind), "feed_forward": feed} for kind in config.attn_layers],
        "norm": {"weight": (2 * d,), "bias": (2 * d,)},
    }


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values: normal, tables of (1) with a deviation of their own."""
    *_, parent, leaf = path.split(".")
    if leaf == "bias" or parent == "norm":
        return np.full(shape, float(leaf == "weight"))
    return (config.axial_norm_std if ".axial." in path else config.initializer_range) * rng.standard_normal(shape)


# ---- An example ------------------------------------------------------------------------------------------------------
DIMS = {"B": 3, "T": 9, "M": 2}  # rows, tokens and targets of an example


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch: padding at the end, a repeated id, rotations of each hashed layer, drawn dropout masks. Rows are
    cut to the positions there are; at least 4 tokens and 2 token ids are needed. dims: sizes that differ from DIMS.
    """
    dims = {**DIMS, **(dims or {})}
    rows, length = dims["B"], min(dims["T"], config.places)
    require(length >= 4 and config.vocab_size >= 2, "an example needs at least 4 positions and 2 token ids")
    ids = rng.integers(0, config.vocab_size, (rows, length))
    ids[:, 3] = ids[:, 1]
    lengths = rng.integers(length // 2 + 1, length, rows)
    lengths[0] = length
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    (term,) = terms(config).values()
    labels = term.head.draw(rng, {**dims, "T": length}, {"T": lengths}, table=(config.vocab_size, 0))
    batch = {"input_ids": ids, "attention_mask" if config.is_decoder else "input_mask": mask, **labels}
    batch |= sample(rng, {}, config, batch)
    return {**batch, "dropout": layers.keep_masks(rng, dropouts(config, {"B": rows, "T": length}))}


def sample(rng: np.random.Generator, p: Tree, config: Config, batch: Tree) -> Tree:
    """Rotations of each hashed layer for a batch, the same in all rows: as drawn for a step of a run."""
    rows, length = batch["input_ids"].shape
    shape = turned(config, config.padded(length))
    drawn = [rng.standard_normal(shape) for kind in config.attn_layers if kind == "lsh"]
    drawn = [np.broadcast_to(array, (rows, *shape)) for array in drawn]
    return {"rotations": drawn} if drawn else {}


def turned(config: Config, length: int) -> tuple[int, ...]:
    """The shape of the rotations of a layer, (H, K, R, half the sum of the factors)."""
    columns = sum(config.factors(max(length, config.lsh_attn_chunk_length))) // 2
    return config.num_attention_heads, config.attention_head_size, config.num_hashes, columns


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of every dropout's keep-mask, under the published modules' names, of rows in whole chunks: ports
    drop by function in them.
    """
    rows, length, d = dims["B"], config.padded(dims["T"]), config.hidden_size
    wide, drop = (rows, length, d), config.hidden_dropout_prob
    places = {f"{EMBEDDINGS}word_embeddings": (wide, drop)}
    axial = (rows, config.axial_pos_shape[1]) if config.axial_pos_embds else wide
    places[f"{EMBEDDINGS}position_embeddings"] = axial, drop
    for i, kind in enumerate(config.attn_layers):
        chunk, before, after, rate = (getattr(config, name) for name in CHUNKED[kind])
        whole = length <= chunk
        chunk, beside = (length, 1) if whole else (chunk, before + 1 + after)
        rounds = 1 if whole or kind == "local" else config.num_hashes
        square = (rows, config.num_attention_heads, rounds * length // chunk, chunk, beside * chunk)
        places[f"{LAYERS}{i}.attention.self_attention"] = square, rate
        places[f"{LAYERS}{i}.attention.output"] = wide, drop
        places[f"{LAYERS}{i}.feed_forward.dense"] = (rows, length, config.feed_forward_size), drop
        places[f"{LAYERS}{i}.feed_forward.output"] = wide, drop
    return {**places, "reformer.encoder": ((rows, length, 2 * d), drop)}


# ---- Network ---------------------------------------------------------------------------------------------------------
EMBEDDINGS, LAYERS = "reformer.embeddings.", "reformer.encoder.layers."
SPELLINGS = {"input_mask": "attention_mask"}  # with masked targets BERT's files call it so
OPTIONAL: Tree = {}


def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes: specs by name (see `signatures`). rotations: of each hashed layer."""
    turned = "(B,num_attention_heads,attention_head_size,num_hashes,R)"
    rotations = {"rotations": f"?[{turned}]"} if "lsh" in config.attn_layers else {}
    return {"input_ids": "(B,T)<vocab_size", "attention_mask": "?(B,T)?", "position_ids": f"?(B,T)<{config.places}",
            **rotations}  # fmt: skip


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: specs by name."""
    return {"last_hidden_state": f"(B,T,{2 * config.hidden_size})", "hidden_states": "[(B,T,hidden_size)]"}


def lengths(config: Config) -> dict[str, tuple[str, int]]:
    """How long rows may be, and the input whose sum along that dimension is how long each is."""
    return {"T": ("attention_mask", config.places)}


def encode(p: Tree, config: Config, inputs: Tree, *, keep: layers.Keep = "caches") -> tuple[Tree, Tree]:
    """(1)-(8): outputs by name, and the cache; `inputs` as above, "dropout" where something is dropped.

    hidden_states: 1 + L arrays (B, T, D), x₂ in front of each layer and behind the last. keep: as in `layers.stack`;
    "rebuilt" is (7).
    """
    kept, drop, eps = (inputs.get("dropout") or {}).get, config.hidden_dropout_prob, config.layer_norm_eps
    length = inputs["input_ids"].shape[1]
    ids, mask, places = laid_out(config, inputs)
    rotations = turns(config, inputs, ids.shape)
    c: Tree = {"rest": ids.shape[1] - length}
    h, c["embeddings"] = embedded(
        p["embeddings"], ids=ids, places=places, rate=drop, keep=kept(f"{EMBEDDINGS}word_embeddings"),
        keep_position=kept(f"{EMBEDDINGS}position_embeddings"),
    )  # (1), (2) # fmt: skip

    def given(i: int) -> Tree:
        kind, name = config.attn_layers[i], f"{LAYERS}{i}"
        chunk, before, after, rate = (getattr(config, field) for field in CHUNKED[kind])
        dropped = kept(f"{name}.attention.self_attention")
        found = {"width": config.attention_head_size, "chunk": chunk, "before": before, "after": after, "mask": mask,
                 "causal": config.is_decoder,
                 "dropout": None if dropped is None else ops.dropout_multiplier(dropped, rate, h.dtype)}  # fmt: skip
        if kind == "lsh":
            hashing = {"rotations": rotations[i], "factors": config.factors(ids.shape[1])}
            found |= {**hashing, "rules": MASKINGS[config.lsh_masking]}
        masks = {"attention": f"{name}.attention.output", "inner": f"{name}.feed_forward.dense",
                 "feed_forward": f"{name}.feed_forward.output"}  # fmt: skip
        return {"kind": kind, "act": config.hidden_act, "eps": eps, "rate": drop, "attending": found,
                "slices": config.chunk_size_feed_forward, "again": keep == "rebuilt",
                "keep": {part: kept(module) for part, module in masks.items()}}  # fmt: skip

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        return reversible.reversible_layer(x, p, **given(i))

    def back(y: Array, p: Tree, i: int, known: Array | None) -> tuple[Array, Tree]:
        return reversible.rebuilt(y, p, known, **given(i))

    rebuild = reversible.remembered, back
    hidden, c["encoder"] = layers.stack(layer, np.stack([h, h]), p["encoder"], keep, rebuild)  # (3)-(7)
    y = np.concatenate([*hidden[-1]], -1)
    y, c["norm"] = ops.layer_norm(y, **p["norm"], eps=eps)
    y, c["dropout"] = ops.dropout(y, keep=kept("reformer.encoder"), rate=drop)  # (8)
    return {"last_hidden_state": y[:, :length], "hidden_states": [x[1][:, :length] for x in hidden]}, c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(8) from the cotangents of last_hidden_state and, where given, of hidden_states."""
    g: Tree = {}
    dy = ops.dropout_backward(_wide(dout["last_hidden_state"], c), c["dropout"])
    dy, g["norm"] = ops.layer_norm_backward(dy, c["norm"])
    dhidden = None
    if "hidden_states" in dout:
        dhidden = [np.stack([np.zeros_like(d), d]) for d in (_wide(d, c) for d in dout["hidden_states"])]
    dx, g["encoder"] = layers.stack_backward(
        reversible.reversible_layer_backward, np.stack(np.split(dy, 2, -1)), c["encoder"], dhidden
    )
    g["embeddings"] = embedded_backward(kernels.add(*dx), c["embeddings"])  # both are h⁰
    return g


def _wide(d: Array, c: Tree) -> Array:
    """Of rows in whole chunks the gradient, of that of the tokens that were given."""
    return np.pad(d, [(0, 0), (0, c["rest"]), (0, 0)]) if c["rest"] else d


def laid_out(config: Config, inputs: Tree) -> tuple[Array, Array | None, Array]:
    """(ids (B, T), mask (B, T), None where all are there, places (T,) or (B, T)) of rows in whole chunks."""
    ids, mask, places = (inputs.get(name) for name in ("input_ids", "attention_mask", "position_ids"))
    length = ids.shape[1]
    fits = f"input_ids: {length} tokens a row, but there are {config.places} positions; truncate"
    require(places is not None or length <= config.places, fits)
    rest, last = config.padded(length) - length, config.places - 1
    places = np.minimum(np.arange(length + rest), last) if places is None else _padded(places, rest, last)
    if rest:
        mask = _padded(np.ones_like(ids) if mask is None else mask, rest, 0)
    return _padded(ids, rest, config.pad_token_id or 0), mask, places


def _padded(array: Array, rest: int, value: int) -> Array:
    return np.pad(array, [(0, 0), (0, rest)], constant_values=value) if rest else array


def turns(config: Config, inputs: Tree, shape: tuple[int, int]) -> list[Array | None]:
    """The rotations of each layer, None where it hashes nothing."""
    due, hashing = turned(config, shape[1]), config.attn_layers.count("lsh")
    drawn = inputs.get("rotations")
    if drawn is None:
        drawn = [hashed.rotations(config.hash_seed or 0, shape=due)[None]] * hashing
    require(len(drawn) == hashing, f"rotations: {len(drawn)} arrays, but {hashing} layers hash")
    for array in drawn:
        fits = f"rotations: (B, {', '.join(map(str, due))}) for rows of {shape[1]} tokens, not {array.shape}"
        require(array.shape[1:] == due, fits)
    left = iter(drawn)
    return [next(left) if kind == "lsh" else None for kind in config.attn_layers]


# ---- Blocks ----------------------------------------------------------------------------------------------------------
@block
def axial_positions(p: list[Tree], *, places: Array) -> tuple[Array, Tree]:
    """(1): [E_row[⌊t/n₂⌋]; E_column[t mod n₂]] of places (…, T), (…, T, D); p: the tables (n₁, D₁), (n₂, D₂)."""
    columns = len(p[1]["weight"])
    row, c_row = ops.embedding(**p[0], ids=places // columns)
    column, c_column = ops.embedding(**p[1], ids=places % columns)
    return np.concatenate([row, column], -1), {"row": c_row, "column": c_column, "width": row.shape[-1]}


@block_backward
def axial_positions_backward(dy: Array, c: Tree) -> list[Tree]:
    drow, dcolumn = dy[..., : c["width"]], dy[..., c["width"] :]
    return [ops.embedding_backward(drow, c["row"]), ops.embedding_backward(dcolumn, c["column"])]


@block
def embedded(
    p: Tree, *, ids: Array, places: Array, rate: float, keep: Array | None = None, keep_position: Array | None = None
) -> tuple[Array, Tree]:
    """(2): Drop(E_word[ids]) + Drop(e[places]), (B, T, D). keep: (B, T, D), and so is keep_position, of axial tables
    (B, columns).
    """
    c: Tree = {"shared": places.ndim == 1, "axial": "axial" in p}
    h, c["word"] = ops.embedding(**p["word"], ids=ids)
    h, c["dropout"] = ops.dropout(h, keep=keep, rate=rate)
    if c["axial"]:
        e, c["position"] = axial_positions(p["axial"], places=places)
        if keep_position is not None:
            at = np.broadcast_to(places % keep_position.shape[1], ids.shape)
            keep_position = np.broadcast_to(np.take_along_axis(keep_position, at, 1)[..., None], h.shape)
    else:
        e, c["position"] = ops.embedding(**p["position"], ids=places)
    e, c["dropout_position"] = ops.dropout(np.broadcast_to(e, h.shape), keep=keep_position, rate=rate)
    return h + e, c


@block_backward
def embedded_backward(dy: Array, c: Tree) -> Tree:
    g = {"word": ops.embedding_backward(ops.dropout_backward(dy, c["dropout"]), c["word"])}
    de = ops.dropout_backward(dy, c["dropout_position"])
    de = de.sum(0) if c["shared"] else de
    if c["axial"]:
        return {**g, "axial": axial_positions_backward(de, c["position"])}
    return {**g, "position": ops.embedding_backward(de, c["position"])}


# ---- From token to token ---------------------------------------------------------------------------------------------
def start(p: Tree, config: Config, inputs: Tree) -> Tree:
    """The state that has read these inputs of `encode`; {}: nothing is read yet. It is the text: each further token
    sorts all of it anew.
    """
    if not inputs:
        return {}
    require(config.is_decoder, "is_decoder is false: this model fills masks, and does not go on")
    ids = inputs["input_ids"]
    return {"input_ids": ids, "attention_mask": inputs.get("attention_mask", np.ones_like(ids))}


def step(p: Tree, config: Config, ids: Array, state: Tree) -> tuple[Array, Tree]:
    """(logits (N, V) of what follows the last of the ids (N, n), the state that has read them): (9)."""
    require(config.is_decoder, "is_decoder is false: this model fills masks, and does not go on")
    before = state or {"input_ids": ids[:, :0], "attention_mask": ids[:, :0]}
    seen = np.concatenate([before["attention_mask"], np.ones_like(ids)], 1)
    whole = np.concatenate([before["input_ids"], ids], 1)
    places = np.maximum(seen.cumsum(1) - 1, 0)
    fits = f"input_ids: {places.max() + 1} tokens a row, but there are {config.places} positions; ask for fewer"
    require(bool(places.max() < config.places), fits)
    state = {"input_ids": whole, "attention_mask": seen}
    h = encode(p, config, {**state, "position_ids": places}, keep="last")[0]["last_hidden_state"]
    return next_token.predict(h[:, -1], p["lm"], table=p["lm"]["decoder"]["weight"]), state


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(9), (10)"""
    name, head = ("next_token", next_token) if config.is_decoder else ("masked_lm", masked_token)
    sizes = {"table": (config.vocab_size, 2 * config.hidden_size), "tied": False}
    sizes |= {"biased": True} if config.is_decoder else {}
    return {name: Term(head, "lm", sizes=sizes, table="lm.decoder.weight")}


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for a text: the state of its first token behind a layer, as in ports; in a causal model, whose first
    token sees itself alone, that of its last.
    """
    own = {"act": "tanh", "dense": "classifier.dense", "head": "classifier.out_proj", "width": "hidden_size"}
    dropped = ("classifier.dropout", "classifier.dropout@1")
    return {"text": Summary(at="last" if config.is_decoder else "first", **own, dropped=dropped)}


# ---- Data ------------------------------------------------------------------------------------------------------------
# The paper's models read bytes of enwik8 and single pixels, 64 thousand at a time; here pieces, in rows of eight chunks
TOKENIZER = "byte_level"
SPECIALS, GLUE = gpt2.SPECIALS, gpt2.GLUE
DEFAULTS: Tree = {**gpt2.DEFAULTS, "seq_length": 256, "batch_size": 4, "steps": 450, "learning_rate": 2e-3}
WIDTH = "hidden_size"
NARROW = {"hidden_size": 128, "attn_layers": ("local", "lsh"), "num_attention_heads": 4, "attention_head_size": 32,
          "feed_forward_size": 512, "local_attn_chunk_length": 32, "lsh_attn_chunk_length": 32, "num_hashes": 2,
          "initializer_range": 0.05, "axial_norm_std": 0.05}  # fmt: skip
QUICK = {**NARROW, "hidden_dropout_prob": 0.0, "local_attention_probs_dropout_prob": 0.0}
read = gpt2.read
OBJECTIVES = ("clm", "mlm")


@dataclass(frozen=True)
class Data(options.Rows):
    """What the data functions ask for."""

    objective: str = option("clm", "ask for the next token, or for masked ones, which are drawn anew whenever a row is "
                            "served", among=OBJECTIVES)  # fmt: skip
    rate: float = option(0.15, "ask for this share of the tokens, of mlm", least=0.01, most=0.9)

    @property
    def masking(self) -> str:
        """See `data.Recipe`."""
        return "dynamic" if self.objective == "mlm" else "no"

    @property
    def specials(self) -> Tree:
        """Tokens of the vocabulary, {role: token}."""
        return {**SPECIALS, "mask": "<mask>"} if self.objective == "mlm" else SPECIALS


def rows(documents: list, rng: np.random.Generator, vocabulary: Any, data: Data, marked: Any = None) -> Tree:
    """Documents end to end, in rows of the whole length (`sequences.running_text`)."""
    made = gpt2.rows(documents, rng, vocabulary, data, marked)
    return made if data.objective == "clm" else {"input_ids": made["input_ids"]}


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Any, data: Data, studied: Any = None) -> Tree:
    """Of mlm BERT's masks."""
    if data.objective == "clm":
        return rows
    ids, most = rows["input_ids"], max(1, round(data.rate * data.seq_length))
    made = rules.roberta(ids, np.ones_like(ids), rng, vocabulary, rate=data.rate, cap=most)
    return {"input_ids": made.ids, **masking.targets(ids, made.chosen, most)}


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make: one that reads on, or both ways where it fills masks, with
    tables as square as may be.
    """
    asked = data.objective == "clm"
    fits = f"config field 'is_decoder' is {given.get('is_decoder')}; the objective {data.objective} needs {asked}"
    require(given.get("is_decoder", asked) == asked, fits)
    wide = given.get("hidden_size", Config.hidden_size)
    rows = 2 ** (math.isqrt(max(1, data.seq_length - 1)).bit_length())
    shape = (-(-data.seq_length // rows), rows)
    axial = {"axial_pos_shape": shape, "axial_pos_embds_dim": (wide // 2, wide - wide // 2)}
    return {"is_decoder": asked, "max_position_embeddings": data.seq_length, "pad_token_id": None, **axial, **given}


# ---- What it is called -----------------------------------------------------------------------------------------------
FIELDS = {"intermediate_size": "feed_forward_size"}
