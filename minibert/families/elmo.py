"""ELMo: Deep Contextualized Word Representations.

Peters, Neumann, Iyyer, Gardner, Clark, Lee, Zettlemoyer, 2018, arXiv 1802.05365. Released code: allenai/bilm-tf
(`bilm/training.py`), allenai/allennlp (`modules/elmo.py`, `elmo_lstm.py`, `lstm_cell_with_projection.py`).

    characters   of each word its bytes between two marks, and behind them padding, which is read, too: C ids      (1)
    convolution  for each width k: max over places of relu(W_k [e_j; …; e_{j+k-1}] + b_k), all beside each other    (2)
    highway      v' = g ∘ v + (1 - g) ∘ relu(W_t v + b_t), g = σ(W_g v + b_g), K of them                            (3)
    projection   x = W_p v + b_p: a vector for each word, whatever stands about it                                 (4)
    layer        in each direction y = LSTM(x) + x, its outputs projected, cells and outputs clipped; the first
                 layer without + x; from the right a row begins at its own last word                               (5)
    mix          ELMo = γ Σ_j softmax(w)_j h_j, h_0 = [x; x], h_j = [from the left; from the right]                (6)
    objective    L = ½ (mean of -log p(x_{t+1}) from the left + mean of -log p(x_{t-1}) from the right), one table  (7)

Where the releases differ, and what is done here:
- (1) words are pieces of a vocabulary, spelled by its bytes (`spellings`), or by `char_ids`, any words; what a token is
  called without either is its number. Row 0 of the table of characters is that of no word, which stays as it is.
- (2) max and relu change places in the releases, which changes no number.
- (3) the rows of a highway's matrix are the transform, then the gate, as in allennlp; bilm-tf's "carry" is 1 - g.
- (5) one bias, of the recurrent matrix, as in allennlp; TensorFlow's rows i j f o, and its 1 added to the forget gate
  when it runs, are turned when its files are read (`of_tensorflow`). Residuals are given up, not on.
- no states are carried from batch to batch, which both releases do, and no marks stand about sentences: documents end
  in a token of their own.
- (6) is learnt by a task (`pooling` of its layers); here are its inputs, `hidden_states`.
- (7) the release draws 8192 of the classes at each step; here all are asked.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, options, pooling
from minibert.config import check, number, rate, require, shown, size
from minibert.families import gpt2, inherited, lstm
from minibert.heads import neighbour, next_token
from minibert.objective import Term
from minibert.pairs import block, block_backward
from minibert.tokenizers import byte_level

__getattr__ = inherited()

Array = np.ndarray
Tree = dict[str, Any]

WIDE, DEEP = 2**20, 1024
BEGIN, END, PADDING = 258 + 1, 259 + 1, 260 + 1  # of a word's characters; 0 is no word's, bytes are 1 to 256
SIDES = {"forward": 1, "backward": -1}


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """The original model, 93.6 million parameters, under the names of its options; `spellings` is this engine's."""

    vocab_size: int = size(793471)
    n_characters: int = size(262)
    max_characters_per_token: int = size(50, 4096)
    embedding_dim: int = size(16, WIDE)
    filter_widths: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    filter_counts: tuple[int, ...] = (32, 32, 64, 128, 256, 512, 1024)
    n_highway: int = size(2, DEEP)
    projection_dim: int = size(512, WIDE)
    dim: int = size(4096, WIDE)
    n_layers: int = size(2, DEEP)
    cell_clip: float = number(3.0, 0, 1e6)
    proj_clip: float = number(3.0, 0, 1e6)
    use_skip_connections: bool = True
    dropout: float = rate(0.1)
    pad_token_id: int | None = None  # no equation reads it
    spellings: str = ""  # the vocabulary's pieces, as a byte-level file writes them, a line each

    def __post_init__(self) -> None:
        check(self)
        counts, most = self.filter_counts, self.max_characters_per_token
        fits = len(counts) == len(self.filter_widths) > 0 and all(0 < n <= WIDE for n in counts)
        require(fits, f"config field 'filter_counts' is {shown(counts)}; allowed: one for each of filter_widths")
        fits = all(0 < k <= most for k in self.filter_widths)
        require(fits, f"config field 'filter_widths' is {shown(self.filter_widths)}; allowed: 1 to {most}")
        fits = self.n_characters > PADDING
        require(fits, f"config field 'n_characters' is {self.n_characters}; allowed: {PADDING + 1} or more")
        require(most > 2, f"config field 'max_characters_per_token' is {most}; allowed: 3 to 4096")
        known = self.spellings.split("\n") if self.spellings else []
        fits = not known or len(known) >= self.vocab_size
        most = f"vocab_size {self.vocab_size} or more"
        require(fits, f"config field 'spellings' is of {len(known)} words; allowed: {most}")

    @property
    def width(self) -> int:
        """Of both sides' outputs beside each other."""
        return 2 * self.projection_dim


_SMALL = {"projection_dim": 128, "dim": 1024, "filter_counts": (32, 32, 64, 128, 256, 512, 1024), "n_highway": 1}
_MEDIUM = {**_SMALL, "projection_dim": 256, "dim": 2048}
PRESETS = {"original": {}, "medium": _MEDIUM, "small": _SMALL}  # as released

# small, and every field away from its default: for checks
PROBE = {
    "vocab_size": 17,
    "n_characters": 263,
    "max_characters_per_token": 5,
    "embedding_dim": 3,
    "filter_widths": (1, 3),
    "filter_counts": (2, 4),
    "n_highway": 1,
    "projection_dim": 4,
    "dim": 6,
    "n_layers": 3,
    "cell_clip": 0.4,
    "proj_clip": 0.5,
    "use_skip_connections": False,
    "dropout": 0.2,
    "pad_token_id": 5,
    "spellings": "\n".join("abcdefghijklmnopq"),
}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(5): the one place where they are written."""
    p, n, e, total = config.projection_dim, config.dim, config.embedding_dim, sum(config.filter_counts)
    filters = zip(config.filter_widths, config.filter_counts, strict=True)
    layer = {"weight_ih": (4 * n, p), "weight_hh": (4 * n, p), "weight_hr": (p, n), "bias_hh": (4 * n,)}
    return {
        "characters": {
            "table": {"weight": (config.n_characters, e)},
            "convolutions": [{"weight": (count, e, width), "bias": (count,)} for width, count in filters],
            "highways": [{"weight": (2 * total, total), "bias": (2 * total,)}] * config.n_highway,
            "projection": {"weight": (p, total), "bias": (p,)},
        },
        **{side: [layer] * config.n_layers for side in SIDES},
    }


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values, as in bilm-tf; gates of highways begin at 2, forget gates at 1."""
    if path.endswith("bias_hh"):
        return np.repeat([0.0, 1.0, 0.0, 0.0], shape[0] // 4)
    if path.endswith("bias"):
        return np.repeat([0.0, 2.0], shape[0] // 2) if ".highways." in path else np.zeros(shape)
    if ".table." in path:
        return rng.uniform(-1, 1, shape)
    if ".convolutions." in path:
        return rng.uniform(-0.05, 0.05, shape)
    if path.split(".")[0] in SIDES:
        return rng.uniform(-1, 1, shape) * (6 / sum(shape)) ** 0.5
    return rng.standard_normal(shape) / shape[-1] ** 0.5


# ---- An example ------------------------------------------------------------------------------------------------------
DIMS = {"B": 3, "T": 7}  # rows and tokens of an example


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch: padding at the end, a repeated id, a position of which nothing is asked, and drawn dropout masks.
    At least 4 tokens are needed. dims: sizes that differ from DIMS.
    """
    dims = {**DIMS, **(dims or {})}
    rows, length = dims["B"], dims["T"]
    require(length >= 4 and config.vocab_size >= 2, "an example needs at least 4 positions and 2 token ids")
    ids = rng.integers(0, config.vocab_size, (rows, length))
    ids[:, 3] = ids[:, 1]
    lengths = rng.integers(length // 2 + 1, length, rows)
    lengths[0] = length
    labels = next_token.draw(rng, dims, {"T": lengths}, table=(config.vocab_size, config.projection_dim))
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    dropout = layers.keep_masks(rng, dropouts(config, {"B": rows, "T": length}))
    return {"input_ids": ids, "attention_mask": mask, **labels, "dropout": dropout}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of every dropout's keep-mask: of what (4) gives, enters each layer and leaves the last ones."""
    wide = (dims["B"], dims["T"], config.projection_dim), config.dropout
    within = [f"{LAYERS}{side}_{part}" for side in SIDES for part in (
        *(f"layer_{i}" for i in range(config.n_layers)), "output")]  # fmt: skip
    return dict.fromkeys([TOKENS, *within], wide)


# ---- Network ---------------------------------------------------------------------------------------------------------
TOKENS, LAYERS = "_elmo_lstm._token_embedder", "_elmo_lstm._elmo_lstm."
SPELLINGS = {"input_mask": "attention_mask"}


def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes: specs by name (see `signatures`). char_ids: of each token, instead of its spelling's."""
    characters = "?(B,T,max_characters_per_token)<n_characters"
    return {"input_ids": "(B,T)<vocab_size", "attention_mask": "?(B,T)?", "char_ids": characters}


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: specs by name."""
    sides = {f"{side}_state": "(B,T,projection_dim)" for side in SIDES}
    return {"last_hidden_state": "(B,T,width)", "hidden_states": "[(B,T,width)]", **sides}


OPTIONAL: Tree = {}


def lengths(config: Config) -> dict[str, tuple[str, int | None]]:
    """How long rows may be, and the input whose sum along that dimension is how long each is."""
    return {"T": ("attention_mask", None)}


def character_ids(word: bytes, most: int) -> list[int]:
    """(1) of a word, `most` of them: its bytes, as many as have room between two marks, then padding."""
    inside = [BEGIN, *(byte + 1 for byte in word[: most - 2]), END]
    return inside + [PADDING] * (most - len(inside))


@functools.lru_cache(maxsize=8)
def _spelled(config: Config) -> Array:
    """The characters (V, C) of each token."""
    known = config.spellings.split("\n") if config.spellings else [str(i) for i in range(config.vocab_size)]
    known = known[: config.vocab_size]
    table = np.array([character_ids(byte_level.spelled(word), config.max_characters_per_token) for word in known])
    table.flags.writeable = False
    return table


def spelled(tokenizer: Any, data: Any = None) -> Tree:
    """The config fields that a byte-level vocabulary decides: how its pieces are written."""
    return {"spellings": "\n".join(tokenizer.tokens)}


@block
def highway(x: Array, p: Tree) -> tuple[Array, Tree]:
    """(3) of x (N, D), weight (2D, D), bias (2D,): the rows of the transform, then those of the gate (arXiv
    1505.00387).
    """
    z, c = ops.linear(x, **p)
    u, g = np.split(z, 2, -1)
    u, relu = ops.relu(u)
    g, sigmoid = ops.sigmoid(g)
    return g * x + (1 - g) * u, {"linear": c, "relu": relu, "sigmoid": sigmoid, "x": x, "u": u, "g": g}


@block_backward
def highway_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    du = ops.relu_backward(dy * (1 - c["g"]), c["relu"])
    dgate = ops.sigmoid_backward(dy * (c["x"] - c["u"]), c["sigmoid"])
    dx, g = ops.linear_backward(np.concatenate([du, dgate], -1), c["linear"])
    return kernels.add(dx, dy * c["g"]), g


@block
def words_of_characters(p: Tree, *, ids: Array) -> tuple[Array, Tree]:
    """(2)-(4) of characters ids (N, C): (N, P); p: table, convolutions, highways, projection."""
    c: Tree = {"highways": []}
    x, c["table"] = ops.embedding(**p["table"], ids=ids, padding_idx=0)
    v, c["convolutions"] = pooling.text_convolution(x, p["convolutions"])
    for own in p["highways"]:
        v, cache = highway(v, own)
        c["highways"].append(cache)
    y, c["projection"] = ops.linear(v, **p["projection"])
    return y, c


@block_backward
def words_of_characters_backward(dy: Array, c: Tree) -> Tree:
    g: Tree = {"highways": []}
    dv, g["projection"] = ops.linear_backward(dy, c["projection"])
    for own in reversed(c["highways"]):
        dv, gradient = highway_backward(dv, own)
        g["highways"].insert(0, gradient)
    dx, g["convolutions"] = pooling.text_convolution_backward(dv, c["convolutions"])
    return {**g, "table": ops.embedding_backward(dx, c["table"])}


@block
def elmo_layer(x: Array, p: Tree, *, seen: Array | None, skip: bool, keep: Array | None, rate: float,
               cell_clip: float, clip: float) -> tuple[Array, Tree]:  # fmt: skip
    """(5) from the left, x (B, T, P) -> (B, T, P): Drop(x), its LSTM, and with skip the two together."""
    c: Tree = {"skip": skip}
    x, c["dropout"] = ops.dropout(x, keep=keep, rate=rate)
    y, c["lstm"] = ops.projected_lstm(x, None, **p, mask=seen, cell_clip=cell_clip, clip=clip)
    h = y[..., : x.shape[-1]]
    c["states"] = y.shape
    return (kernels.add(h, x) if skip else h), c


@block_backward
def elmo_layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    dstates = np.zeros(c["states"], dy.dtype)
    dstates[..., : dy.shape[-1]] = dy
    dx, *_, g = ops.projected_lstm_backward(dstates, c["lstm"])
    return ops.dropout_backward(kernels.add(dx, dy) if c["skip"] else dx, c["dropout"]), g


def encode(p: Tree, config: Config, inputs: Tree, *, keep: layers.Keep = "caches") -> tuple[Tree, Tree]:
    """(1)-(5): outputs by name, and the cache; `inputs` as above, "dropout" where something is dropped.

    hidden_states: the 1 + L arrays h_j (B, T, 2P) of (6); last_hidden_state: the last of them; forward_state,
    backward_state (B, T, P): its halves, dropped, which (7) reads.
    """
    kept, ids, seen = (inputs.get("dropout") or {}).get, inputs["input_ids"], inputs.get("attention_mask")
    c: Tree = {}
    if "char_ids" in inputs:
        spelling, places = inputs["char_ids"].reshape(ids.size, -1), np.arange(ids.size).reshape(ids.shape)
    else:  # each word once
        found, places = np.unique(ids, return_inverse=True)
        spelling, places = _spelled(config)[found], places.reshape(ids.shape)
    words, c["characters"] = words_of_characters(p["characters"], ids=spelling)
    x, c["words"] = ops.embedding(words, ids=places)
    x, c["drop"] = ops.dropout(x, keep=kept(TOKENS), rate=config.dropout)
    out: Tree = {}
    hidden = {}
    for side, step in SIDES.items():

        def layer(x: Array, p: Tree, i: int, side: str = side, step: int = step) -> tuple[Array, Tree]:
            mask = kept(f"{LAYERS}{side}_layer_{i}")
            return elmo_layer(
                x,
                p,
                seen=None if seen is None else seen[:, ::step],
                skip=config.use_skip_connections and i > 0,
                keep=None if mask is None else mask[:, ::step],
                rate=config.dropout,
                cell_clip=config.cell_clip,
                clip=config.proj_clip,
            )

        found, c[side] = layers.stack(layer, x[:, ::step], p[side], keep)  # (5)
        hidden[side] = [h[:, ::step] for h in found]
        top, c[f"{side}_drop"] = ops.dropout(hidden[side][-1], keep=kept(f"{LAYERS}{side}_output"), rate=config.dropout)
        out[f"{side}_state"] = top
    out["hidden_states"] = [np.concatenate(pair, -1) for pair in zip(*hidden.values(), strict=True)]
    return {"last_hidden_state": out["hidden_states"][-1], **out}, c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(5) from the cotangents of the outputs that are given."""
    g: Tree = {}
    count, dx = len(c["forward"]), None
    for n, (side, step) in enumerate(SIDES.items()):

        def half(a: Array, n: int = n, step: int = step) -> Array:
            return np.split(a, 2, -1)[n][:, ::step]

        parts = [half(dout["last_hidden_state"])] if "last_hidden_state" in dout else []
        if f"{side}_state" in dout:
            parts.append(ops.dropout_backward(dout[f"{side}_state"], c[f"{side}_drop"])[:, ::step])
        dhidden = [half(a) for a in dout["hidden_states"]] if "hidden_states" in dout else None
        parts += dhidden[-1:] if dhidden else []
        dh = functools.reduce(kernels.add, parts)
        down, g[side] = layers.stack_backward(elmo_layer_backward, dh, c[side], dhidden and dhidden[:count])
        dx = down[:, ::step] if dx is None else kernels.add(dx, down[:, ::step])
    dwords = ops.embedding_backward(ops.dropout_backward(dx, c["drop"]), c["words"])["weight"]
    return {"characters": words_of_characters_backward(dwords, c["characters"]), **g}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(7): both sides by one table."""
    sizes, table = {"table": (config.vocab_size, config.projection_dim), "biased": True}, "lm.decoder.weight"
    return {
        f"{side}_lm": Term(neighbour, "lm", f"{side}_state", sizes, {"side": step}, table=table, weight=0.5)
        for side, step in SIDES.items()
    }


def weights(config: Config) -> dict[str, float]:
    """The halves of (7)."""
    return {name: term.weight for name, term in terms(config).items()}


summaries = lstm.summaries  # what stands for a text: the state of its last token


# ---- Data ------------------------------------------------------------------------------------------------------------
# The release reads 20 words at a time of 128 streams of single sentences, by Adagrad at 0.2, for 10 epochs.
TOKENIZER, SPECIALS, GLUE, Data = lstm.TOKENIZER, lstm.SPECIALS, lstm.GLUE, options.Rows
DEFAULTS: Tree = {"vocab_size": 2000, "seq_length": 32, "lowercase": False, "steps": 500, "batch_size": 16,
                  "learning_rate": 0.01, "optimizer": "adamw", "schedule": "linear", "weight_decay": 0.0}  # fmt: skip
WIDTH = "dim"
NARROW = {"max_characters_per_token": 12, "embedding_dim": 12, "filter_widths": (1, 2, 3, 4),
          "filter_counts": (16, 32, 48, 64), "n_highway": 1, "projection_dim": 96, "dim": 192}  # fmt: skip
QUICK = {**NARROW, "dropout": 0.0}
read, rows = gpt2.read, gpt2.rows


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given."""
    return dict(given)
