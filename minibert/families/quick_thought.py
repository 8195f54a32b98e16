"""Quick-thought: An Efficient Framework for Learning Sentence Representations.

Logeswaran, Lee, 2018, arXiv 1803.02893. Released code: lajanugen/S2V (`src/s2v_model.py`, `src/train.py`).

    embeddings   x = E[w] for f, x' = E'[w] for g: two tables, or one that both read                                (1)
    encoders     f(s) = the last state of a GRU over x, g(s) of another over x'; read in both directions, the last
                 of each beside each other; "LSTM" likewise, "BOW" the sum of the words                             (2)
    scores       z_ij = f(s_i)·g(s_j), z_ii = 0: no scale, no cosine                                                 (3)
    objective    L = mean over i of -Σ_j y_ij log softmax(z_i)_j, y even over the neighbours of s_i                 (4)
    vector       of a sentence: [f(s); g(s)]                                                                        (5)

Where the release differs, and what is done here:
- the GRU is TensorFlow's GRUCell: the reset gate multiplies the state before the product (`ops.reset_first_gru`), its
  gates begin at a bias of 1. Its LSTM adds 1 to the forget gate when it runs; here that is in the bias.
- a row is `group` consecutive sentences of the text (the release: 400), across the ends of documents, as there; what
  is missing in a row is no candidate.
- (3) the diagonal is set to 0 and not left out: the sentence itself takes its share of the softmax.
- fixed vectors (GloVe, of which both encoders read one table) are `shared_table` and `fixed_vectors`: the gradient is
  there, a run leaves the table as it is.
- its dropout (one mask of 0 and 1 for all vectors of a batch, not scaled), which is off by default, is not here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, options, recurrent, tree
from minibert.config import among, check, number, require, size
from minibert.corruption import consecutive
from minibert.families import bert, inherited
from minibert.heads import adjacent_sentence
from minibert.objective import Term
from minibert.options import option
from minibert.pairs import block, block_backward
from minibert.summaries import Summary

__getattr__ = inherited()
Array = np.ndarray
Tree = dict[str, Any]

WIDE = 2**20
GATES = {"GRU": 3, "LSTM": 4, "BOW": 0}
PAIRS = {
    "GRU": (recurrent.reset_first_layer, recurrent.reset_first_layer_backward),
    "LSTM": (recurrent.lstm_layer, recurrent.lstm_layer_backward),
}
SIDES = ("f", "g")


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """The release's BookCorpus model, under the names of its configuration where it has them."""

    vocab_size: int = size(50001)
    word_embedding_dim: int = size(620, WIDE)
    encoder: str = among("GRU", GATES)
    encoder_dim: int = size(1200, WIDE)
    bidir: bool = True
    context_size: int = size(1, WIDE)
    shared_table: bool = False
    fixed_vectors: bool = False
    uniform_init_scale: float = number(0.1, 0, 100)
    pad_token_id: int = 0  # no equation reads it

    def __post_init__(self) -> None:
        check(self)
        fits = not self.bidir or self.encoder_dim % 2 == 0
        require(fits, f"config field 'encoder_dim' is {self.encoder_dim}; allowed: even numbers, half a direction")
        require(0 <= self.pad_token_id < 2**31, f"config field 'pad_token_id' is {self.pad_token_id}; allowed: 0 on")

    @property
    def one(self) -> int:
        """Of f(s)."""
        return self.word_embedding_dim if self.encoder == "BOW" else self.encoder_dim

    @property
    def width(self) -> int:
        """Of (5)."""
        return 2 * self.one

    @property
    def num_hidden_layers(self) -> int:
        """Of each encoder."""
        return 1


PRESETS = {"BC": {}, "BC-glove": {"word_embedding_dim": 300, "shared_table": True, "fixed_vectors": True}}

# small, and every field away from its default: for checks
PROBE = {
    "vocab_size": 17,
    "word_embedding_dim": 5,
    "encoder": "LSTM",
    "encoder_dim": 6,
    "bidir": False,
    "context_size": 2,
    "shared_table": True,
    "fixed_vectors": True,
    "uniform_init_scale": 0.3,
    "pad_token_id": 3,
}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1), (2): the one place where they are written."""
    word, gates = {"word": {"weight": (config.vocab_size, config.word_embedding_dim)}}, GATES[config.encoder]
    n = config.encoder_dim // (2 if config.bidir else 1)
    one = {"weight_ih": (gates * n, config.word_embedding_dim), "weight_hh": (gates * n, n), "bias_ih": (gates * n,)}
    encoder = {"forward": one, "backward": one} if config.bidir else one
    tables = {"embeddings": word, **({} if config.shared_table else {"embeddings_out": word})}
    return {**tables, **({} if config.encoder == "BOW" else dict.fromkeys(SIDES, encoder))}


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values: uniform, gates' biases 1 (a GRU's both, an LSTM's of the forget gate)."""
    if not path.endswith("bias_ih"):
        return config.uniform_init_scale * rng.uniform(-1, 1, shape)
    ones = [1.0, 1.0, 0.0] if config.encoder == "GRU" else [0.0, 1.0, 0.0, 0.0]
    return np.repeat(ones, shape[0] // len(ones))


# ---- An example ------------------------------------------------------------------------------------------------------
DIMS = {"B": 3, "C": 4, "T": 5}  # rows, sentences of a row, tokens of a sentence


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch: sentences of unequal lengths, one of them missing, a word that stands twice."""
    dims = {**DIMS, **(dims or {})}
    rows, several, length = dims["B"], dims["C"], dims["T"]
    require(length >= 3 and several >= 2, "an example needs at least 3 positions and 2 sentences")
    ids = rng.integers(0, config.vocab_size, (rows, several, length))
    ids[..., 2] = ids[..., 0]
    sizes = rng.integers(2, length, (rows, several))
    sizes[0, 0] = length
    labels = adjacent_sentence.draw(rng, dims, {})
    mask = (np.arange(length) < sizes[..., None]) & (labels["sentence_places"] >= 0)[..., None]
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64), **labels, "dropout": {}}


def dropouts(config: Config, dims: dict[str, int]) -> dict:
    """Nothing is dropped."""
    return {}


# ---- Network ---------------------------------------------------------------------------------------------------------
def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes: a sentence a row, or C of them."""
    return {"input_ids": "(B,[C],T)<vocab_size", "attention_mask": "?(B,[C],T)?"}


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: the states of both encoders at each token, and (5)."""
    return {"last_hidden_state": "(B,[C],T,width)", "hidden_states": "[(B,[C],T,width)]",
            "pooler_output": "(B,[C],width)"}  # fmt: skip


OPTIONAL: Tree = {}


def lengths(config: Config) -> dict[str, tuple[str, int | None]]:
    """How long rows may be, and the input whose sum along that dimension is how long each is."""
    return {"T": ("attention_mask", None)}


@block
def summed_words(x: Array, *, seen: Array) -> tuple[Array, Tree]:
    """(2) "BOW" up to each token, x (B, T, D) -> (B, T, D); seen: bits (B, T)."""
    there = seen[..., None].astype(x.dtype)
    return np.cumsum(x * there, 1), {"there": there}


@block_backward
def summed_words_backward(dy: Array, c: Tree) -> Array:
    return np.cumsum(dy[:, ::-1], 1)[:, ::-1] * c["there"]


def encode(p: Tree, config: Config, inputs: Tree, *, keep: layers.Keep = "caches") -> tuple[Tree, Tree]:
    """(1), (2), (5): outputs by name, and the cache; nothing is recomputed, whatever `keep`."""
    ids = inputs["input_ids"]
    flat = ids.reshape(-1, ids.shape[-1])
    seen = inputs.get("attention_mask", np.ones_like(ids)).reshape(flat.shape)
    both = config.bidir and config.encoder != "BOW"
    c: Tree = {"shape": ids.shape, "kind": config.encoder, "shared": config.shared_table}
    states, vectors = [], []
    for side in SIDES:
        own = c[side] = {}
        table = p["embeddings"] if side == "f" or config.shared_table else p["embeddings_out"]
        x, own["word"] = ops.embedding(**table["word"], ids=flat)  # (1)
        if config.encoder == "BOW":
            h, own["encoder"] = summed_words(x, seen=seen)
        else:
            h, own["encoder"] = PAIRS[config.encoder][0](x, p[side], seen=seen)  # (2)
        states.append(h)
        s, own["whole"] = recurrent.whole_text(h, both=both)
        vectors.append(s)
    h, s = np.concatenate(states, -1), np.concatenate(vectors, -1)
    h, s = h.reshape(*ids.shape, -1), s.reshape(*ids.shape[:-1], -1)
    return {"last_hidden_state": h, "hidden_states": [h], "pooler_output": s}, c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1), (2) from the cotangents of those outputs that are given."""
    length, g, tables = c["shape"][-1], {}, []
    parts = [dout["last_hidden_state"]] if "last_hidden_state" in dout else []
    parts += dout.get("hidden_states") or []
    dh = sum(parts[1:], start=parts[0]).reshape(-1, length, parts[0].shape[-1]) if parts else None
    ds = dout["pooler_output"].reshape(-1, dout["pooler_output"].shape[-1]) if "pooler_output" in dout else None
    for n, side in enumerate(SIDES):
        given = [] if dh is None else [np.split(dh, 2, -1)[n]]
        given += [] if ds is None else [recurrent.whole_text_backward(np.split(ds, 2, -1)[n], c[side]["whole"])]
        dy = kernels.add(*given) if len(given) == 2 else given[0]
        if c["kind"] == "BOW":
            dx = summed_words_backward(dy, c[side]["encoder"])
        else:
            dx, g[side] = PAIRS[c["kind"]][1](dy, c[side]["encoder"])
        tables.append(ops.embedding_backward(dx, c[side]["word"]))
    if c["shared"]:
        return {**g, "embeddings": {"word": tree.add(*tables)}}
    return {**g, "embeddings": {"word": tables[0]}, "embeddings_out": {"word": tables[1]}}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(3), (4)"""
    constants = {"context": config.context_size}
    return {"adjacent_sentence": Term(adjacent_sentence, reads="pooler_output", constants=constants)}


def stage(p: Tree, config: Config, step: int, steps: int) -> tuple[str, ...]:
    """Vectors that are fixed stay as they are in a run."""
    return ("embeddings", "embeddings_out")[: 2 - config.shared_table] if config.fixed_vectors else ()


POOLING = ("pooler",)  # (5) is there already


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for a text: (5)."""
    return {"text": Summary("pooler_output", dropped=(None, None))}


# ---- Data ------------------------------------------------------------------------------------------------------------
# The release reads BookCorpus, 400 sentences a step; here words of the default text, groups of 32.
TOKENIZER = "words"


@dataclass(frozen=True)
class Data(options.Rows):
    """What the data functions ask for."""

    vocab_size: int = option(4000, "know so many words, the most frequent", least=8, most=1 << 20)
    seq_length: int = option(24, "keep so many tokens of a sentence", least=8, most=options.LONGEST)
    duplicates: int = option(4, "pass over the text so many times, groups cut elsewhere", least=1, most=1000)
    group: int = option(32, "tell so many consecutive sentences from each other", least=2, most=4096)


DEFAULTS: Tree = {"steps": 600, "batch_size": 2, "learning_rate": 1e-2, "optimizer": "adamw", "schedule": "linear",
                  "weight_decay": 0.0, "clip_norm": 5.0}  # fmt: skip
WIDTH = "encoder_dim"
NARROW = {"word_embedding_dim": 96, "encoder_dim": 192}
QUICK = dict(NARROW)


def read(encodings: list, pad: int | None) -> dict[str, Array]:
    """A sentence a row, padded at the end."""
    found = bert.read(encodings, pad or 0)
    return {name: found[name] for name in ("input_ids", "attention_mask")}


def rows(documents: Any, rng: np.random.Generator, vocabulary: Any, data: Data, marked: Any = None) -> Tree:
    """Groups of consecutive sentences."""
    return consecutive.groups(documents, rng, vocabulary, data.seq_length, data.group, data.duplicates)


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given."""
    return dict(given)
