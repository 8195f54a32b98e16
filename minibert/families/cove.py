"""CoVe: Learned in Translation: Contextualized Word Vectors.

McCann, Bradbury, Xiong, Socher, 2017, arXiv 1708.00107. Released code: salesforce/cove (`cove/encoder.py`, the
encoder alone).

    vectors      x_t: a table of word vectors that are given (GloVe), and stay as they are                         (1)
    encoder      H = two layers of LSTMs over x, each in both directions, a row from its own last word              (2)
    decoder      s_t = two layers of LSTMs over [z_{t-1}; h̃_{t-1}], z the target's own table, h̃_0 = 0               (3)
    attention    α_t = softmax(H (W_1 s_t + b_1)), over the words of the source that are there                      (4)
    combined     h̃_t = tanh(W_2 [Hᵀα_t; s_t] + b_2)                                                                 (5)
    logits       W_o h̃_t + b_o                                                                                      (6)
    objective    L = mean of -log softmax of (6) at the word that stands there                                      (7)
    feature      CoVe(w) = H; of a task [x; CoVe(w)]: the decoder is left behind                                    (8)

Where the release deviates from the paper or leaves open, and what is done here:
- the release has no decoder; (3)-(6) are the paper's section 3, the states of (3) begin with 0.
- rows are packed there, sorted by length and put back; here a mask says what is there, in any order of rows.
- `residual_embeddings` true is (8); the release's default gives H alone.
- one vocabulary for source and target; (3) begins with `decoder_start_token_id`.
- vectors that a run is given (`vectors`) stay as they are; without any they are drawn and learn, and that is said.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, ops, recurrent, tree
from minibert.config import check, number, require, size
from minibert.corruption import translation
from minibert.families import inherited, quick_thought
from minibert.heads import target_token, written_token
from minibert.objective import Term
from minibert.options import option
from minibert.pairs import block, block_backward

__getattr__ = inherited()
Array = np.ndarray
Tree = dict[str, Any]

WIDE, DEEP = 2**20, 1024


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """The released encoder; fields of the decoder are this engine's."""

    vocab_size: int = size(50000)
    embedding_dim: int = size(300, WIDE)
    hidden: int = size(300, WIDE)
    n_layers: int = size(2, DEEP)
    residual_embeddings: bool = True
    fixed_vectors: bool = True
    target_dim: int = size(300, WIDE)
    decoder_dim: int = size(600, WIDE)
    decoder_layers: int = size(2, DEEP)
    initializer_range: float = number(0.1, 0, 100)
    pad_token_id: int = 0
    bos_token_id: int | None = None  # of generation, as the one below; no equation reads them
    eos_token_id: int | None = None
    decoder_start_token_id: int = 0

    def __post_init__(self) -> None:
        check(self)
        for name in ("bos_token_id", "eos_token_id"):
            token = getattr(self, name)
            fits = token is None or 0 <= token < 2**31
            require(fits, f"config field {name!r} is {token}; allowed: null, 0 to {2**31 - 1}")
        for name in ("pad_token_id", "decoder_start_token_id"):
            token = getattr(self, name)
            require(0 <= token < self.vocab_size, f"config field {name!r} is {token}; allowed: a token id")

    @property
    def both(self) -> int:
        """Of H."""
        return 2 * self.hidden

    @property
    def width(self) -> int:
        """Of (8)."""
        return self.both + self.embedding_dim * self.residual_embeddings


PRESETS = {"MT-LSTM": {}}

# small, and every field away from its default: for checks
PROBE = {
    "vocab_size": 17,
    "embedding_dim": 5,
    "hidden": 3,
    "n_layers": 3,
    "residual_embeddings": False,
    "fixed_vectors": False,
    "target_dim": 4,
    "decoder_dim": 7,
    "decoder_layers": 1,
    "initializer_range": 0.3,
    "pad_token_id": 5,
    "bos_token_id": 2,
    "eos_token_id": 4,
    "decoder_start_token_id": 3,
}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(5): the one place where they are written."""
    e, m, d, z = config.embedding_dim, config.both, config.decoder_dim, config.target_dim

    def dense(n_out: int, n_in: int) -> Tree:
        return {"weight": (n_out, n_in), "bias": (n_out,)}

    return {
        "embeddings": {"word": {"weight": (config.vocab_size, e)}},
        "encoder": [recurrent.shapes(m if i else e, config.hidden, both=True) for i in range(config.n_layers)],
        "writer": {
            "word": {"weight": (config.vocab_size, z)},
            "layers": [recurrent.shapes(d if i else z + d, d) for i in range(config.decoder_layers)],
            "attention": dense(m, d),
            "combine": dense(d, m + d),
        },
    }


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values: LSTMs as torch has them, uniform within 1/√N; tables and matrices uniform."""
    if ".weight_" in path or ".bias_" in path:
        return rng.uniform(-1, 1, shape) * (4 / shape[0]) ** 0.5
    if path.endswith("bias"):
        return np.zeros(shape)
    return config.initializer_range * rng.uniform(-1, 1, shape)


# ---- An example ------------------------------------------------------------------------------------------------------
DIMS = {"B": 3, "T": 6, "S": 5}  # rows, words of the source and of the target


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch: sources of unequal lengths, a word that stands twice; labels are the head's."""
    dims = {**DIMS, **(dims or {})}
    rows, length, written = dims["B"], dims["T"], dims["S"]
    require(length >= 3 and written >= 3 and config.vocab_size >= 2, "an example needs 3 positions and 2 token ids")
    ids = rng.integers(0, config.vocab_size, (rows, length))
    ids[:, 2] = ids[:, 0]
    sizes, far = rng.integers(2, length, rows), rng.integers(2, written + 1, rows)
    sizes[0], far[0] = length, written
    return {
        "input_ids": ids,
        "attention_mask": (np.arange(length) < sizes[:, None]).astype(np.int64),
        "decoder_input_ids": rng.integers(0, config.vocab_size, (rows, written)),
        "decoder_attention_mask": (np.arange(written) < far[:, None]).astype(np.int64),
        "dropout": {},
    }


def dropouts(config: Config, dims: dict[str, int]) -> dict:
    """Nothing is dropped."""
    return {}


# ---- Network ---------------------------------------------------------------------------------------------------------
def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes; without decoder_input_ids, and labels from which they are made, it is the encoder alone.
    decoder_attention_mask: how far the target goes; no equation reads it, as nothing looks ahead.
    """
    return {"input_ids": "(B,T)<vocab_size", "attention_mask": "?(B,T)?", "decoder_input_ids": "?(B,S)<vocab_size",
            "decoder_attention_mask": "?(B,S)?"}  # fmt: skip


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: (8), each layer's H, and h̃ where there is a target."""
    return {"last_hidden_state": "(B,T,width)", "hidden_states": "[(B,T,both)]", "target_state": "(B,S,decoder_dim)"}


OPTIONAL = {"writer": "target_state"}


def lengths(config: Config) -> dict[str, tuple[str, int | None]]:
    """How long rows may be, and the input whose sum along that dimension is how long each is."""
    return {"T": ("attention_mask", None), "S": ("decoder_attention_mask", None)}


@block
def attentional_decoder(
    z: Array, memory: Array, p: Tree, *, seen: Array | None = None, state: Tree | None = None
) -> tuple[Array, Tree]:  # fmt: skip
    """(3)-(5) of the words read, z (B, S, E), over memory (B, T, M): h̃ (B, S, D), fed back at each next step.

    p: layers, attention, combine. seen: bits (B, T), which of the source is there. state: as data, what an earlier
    call left (`left`): fed (B, D), layers, each (B, 2, D); 0 unless given.
    """
    rows, wide = len(z), len(p["combine"]["bias"])
    fed = np.zeros((rows, wide), z.dtype) if state is None else state["fed"]
    held = [np.zeros((2, rows, wide), z.dtype) if state is None else state["layers"][i].swapaxes(0, 1)
            for i in range(len(p["layers"]))]  # fmt: skip
    keys, mask = memory[:, None], layers.of_source(seen)
    y, steps = np.empty((*z.shape[:2], wide), z.dtype), []
    for t in range(z.shape[1]):
        own: Tree = {"layers": []}
        s = np.concatenate([z[:, t], fed], -1)
        for i, layer in enumerate(p["layers"]):  # (3)
            states, cache = ops.lstm(s[:, None], held[i], **layer)
            held[i], s = states[:, :, 0], states[0, :, 0]
            own["layers"].append(cache)
        q, own["query"] = ops.linear(s, **p["attention"])
        found, own["attention"] = ops.attention(q[:, None, None], keys, keys, mask=mask, scale=1.0)  # (4)
        u, own["combine"] = ops.linear(np.concatenate([found[:, 0, 0], s], -1), **p["combine"])
        fed, own["tanh"] = ops.tanh(u)  # (5)
        y[:, t] = fed
        steps.append(own)
    return y, {"steps": steps, "widths": (z.shape[-1], memory.shape[-1]), "left": (fed, held)}


def left(c: Tree) -> Tree:
    """The state behind the last word, rows in front."""
    fed, held = c["left"]
    return {"fed": fed, "layers": [h.swapaxes(0, 1) for h in held]}


@block_backward
def attentional_decoder_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
    """(dz, dmemory, g): from the last step to the first; h̃ has the gradient of its own output and that of the step
    behind it, the memory that of all steps.
    """
    words, wide = c["widths"]
    dz, g, dmemory = np.empty((*dy.shape[:2], words), dy.dtype), None, 0
    dfed, dheld = np.zeros_like(dy[:, 0]), [np.zeros((2, len(dy), dy.shape[-1]), dy.dtype) for _ in c["left"][1]]
    for t in reversed(range(dy.shape[1])):
        own, step = c["steps"][t], {"layers": []}
        du = ops.tanh_backward(dy[:, t] + dfed, own["tanh"])
        both, step["combine"] = ops.linear_backward(du, own["combine"])
        dq, dk, dv = ops.attention_backward(both[:, None, None, :wide], own["attention"])
        dmemory = dmemory + dk[:, 0] + dv[:, 0]
        ds, step["attention"] = ops.linear_backward(dq[:, 0, 0], own["query"])
        ds = ds + both[:, wide:]
        for i in reversed(range(len(dheld))):
            dstates = dheld[i] + np.stack([ds, np.zeros_like(ds)])
            dx, dheld[i], gradient = ops.lstm_backward(dstates[:, :, None], own["layers"][i])
            ds = dx[:, 0]
            step["layers"].insert(0, gradient)
        dz[:, t], dfed = ds[:, :words], ds[:, words:]
        g = step if g is None else tree.add(g, step)
    return dz, dmemory, g


def _read(p: Tree, config: Config, inputs: Tree) -> tuple[Array, list[Array], Tree]:
    """(1), (2): x, what each layer gives, the cache."""
    c: Tree = {"encoder": []}
    x, c["word"] = ops.embedding(**p["embeddings"]["word"], ids=inputs["input_ids"])  # (1)
    h, hidden = x, []
    for layer in p["encoder"]:  # (2)
        h, own = recurrent.lstm_layer(h, layer, seen=inputs.get("attention_mask"))
        c["encoder"].append(own)
        hidden.append(h)
    return x, hidden, c


def encode(p: Tree, config: Config, inputs: Tree, *, keep: layers.Keep = "caches") -> tuple[Tree, Tree]:
    """(1)-(5), (8): outputs by name, and the cache; nothing is recomputed, whatever `keep`."""
    x, hidden, c = _read(p, config, inputs)
    feature = np.concatenate([x, hidden[-1]], -1) if config.residual_embeddings else hidden[-1]  # (8)
    out = {"last_hidden_state": feature, "hidden_states": hidden}
    ids = inputs.get("decoder_input_ids")
    if ids is None and "labels" in inputs:
        ids = target_token.shifted(inputs["labels"], config.decoder_start_token_id, config.pad_token_id)
    if ids is not None and "writer" in p:
        z, c["target"] = ops.embedding(**p["writer"]["word"], ids=ids)
        own = {name: p["writer"][name] for name in ("layers", "attention", "combine")}
        given = {"seen": inputs.get("attention_mask")}
        out["target_state"], c["decoder"] = attentional_decoder(z, hidden[-1], own, **given)
    unread = {"writer": p["writer"]} if "writer" in p and "decoder" not in c else {}
    return out, {**c, "words": config.embedding_dim * config.residual_embeddings, "unread": unread}


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(5) from the cotangents of those outputs that are given."""
    g: Tree = tree.zeros_like(c["unread"])
    dx, dhidden = 0, [[d] for d in dout.get("hidden_states") or []] or [[] for _ in c["encoder"]]
    if "last_hidden_state" in dout:
        dx = dout["last_hidden_state"][..., : c["words"]] if c["words"] else 0
        dhidden[-1].append(dout["last_hidden_state"][..., c["words"] :])
    if "target_state" in dout:
        dz, dmemory, own = attentional_decoder_backward(dout["target_state"], c["decoder"])
        g["writer"] = {**own, "word": ops.embedding_backward(dz, c["target"])}
        dhidden[-1].append(dmemory)
    dh, g["encoder"] = None, []
    for own, given in zip(reversed(c["encoder"]), reversed(dhidden), strict=True):  # (2)
        dh, gradient = recurrent.lstm_layer_backward(sum(given, start=0 if dh is None else dh), own)
        g["encoder"].insert(0, gradient)
    return {**g, "embeddings": {"word": ops.embedding_backward(dh + dx, c["word"])}}  # (1)


# ---- From token to token ---------------------------------------------------------------------------------------------
def start(p: Tree, config: Config, inputs: Tree) -> Tree:
    """The state that has read the source and no word of the target."""
    require("decoder_input_ids" not in inputs, "start reads the source; decoder_input_ids are read by step")
    require("writer" in p, "translation needs the decoder, which these parameters do not have")
    ids, (_, hidden, _) = inputs["input_ids"], _read(p, config, inputs)
    seen = np.asarray(inputs.get("attention_mask", np.ones_like(ids))).astype(np.int64)
    wide, dtype = config.decoder_dim, hidden[-1].dtype
    held = [np.zeros((len(ids), 2, wide), dtype) for _ in p["writer"]["layers"]]
    return {"source": hidden[-1], "seen": seen, "fed": np.zeros((len(ids), wide), dtype), "layers": held}


def step(p: Tree, config: Config, ids: Array, state: Tree) -> tuple[Array, Tree]:
    """(logits (N, V) of what follows the last of the ids (N, n), the state that has read them): (6)."""
    z, _ = ops.embedding(**p["writer"]["word"], ids=ids)
    own = {name: p["writer"][name] for name in ("layers", "attention", "combine")}
    y, c = attentional_decoder(z, state["source"], own, seen=state["seen"], state=state)
    return written_token.predict(y[:, -1], p["lm"]), {**state, **left(c)}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(6), (7)"""
    return {"next_token": Term(written_token, "lm", "target_state",
                               sizes={"table": (config.vocab_size, config.decoder_dim)})}  # fmt: skip


def stage(p: Tree, config: Config, step: int, steps: int) -> tuple[str, ...]:
    """Vectors that are given stay as they are in a run."""
    return ("embeddings",) if config.fixed_vectors else ()


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "words"


@dataclass(frozen=True)
class Data(translation.Translated):
    """What the data functions ask for."""

    vocab_size: int = option(4000, "know so many words, the most frequent", least=8, most=1 << 20)
    vectors: str = option("", "read the words' vectors from this file, which stay as they are; without it they are "
                          "drawn, and learn", file=True)  # fmt: skip


DEFAULTS: Tree = {"seq_length": 24, "duplicates": 1, "steps": 400, "batch_size": 16, "learning_rate": 3e-3,
                  "optimizer": "adamw", "schedule": "linear", "weight_decay": 0.0, "clip_norm": 5.0}  # fmt: skip
WIDTH = "hidden"
NARROW = {"embedding_dim": 96, "hidden": 96, "target_dim": 96, "decoder_dim": 192}
QUICK = dict(NARROW)
mark, read = translation.sources, quick_thought.read


def rows(documents: Any, rng: np.random.Generator, vocabulary: Any, data: Data, marked: Any = None) -> Tree:
    """A source and its target, as the Transformer's; the target ends with [SEP], where a vocabulary has no end."""
    end = vocabulary.sep if vocabulary.end is None else vocabulary.end
    return translation.rows(documents, rng, vocabulary._replace(end=end), data, marked)


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given, and what the vectors say."""
    if not data.vectors:
        return {"fixed_vectors": False, **given}
    from minibert.checkpoint import vectors

    return {**given, "embedding_dim": vectors.read(data.vectors)[1].shape[1], "fixed_vectors": True}


def begun(model: Any, data: Data, studied: Any) -> None:
    """The vectors of the words that the file has; 0 of all others, as in the release."""
    if not data.vectors:
        return
    from minibert.checkpoint import vectors

    words, held = vectors.read(data.vectors)
    index, table = {word: i for i, word in enumerate(words)}, model.params["embeddings"]["word"]["weight"]
    known = [(i, index[word]) for i, word in enumerate(model.tokenizer.tokens[: len(table)]) if word in index]
    require(bool(known), f"{data.vectors} has no word of the vocabulary: give vectors of this language")
    ours, theirs = (list(side) for side in zip(*known, strict=True))
    table[...] = 0
    table[ours] = held[theirs]
