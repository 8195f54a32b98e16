"""Set Transformer: A Framework for Attention-based Permutation-Invariant Neural Networks.

Lee, Lee, Kim, Kosiorek, Choi, Teh, 2019, arXiv 1810.00825. Released code: juho-lee/set_transformer (`modules.py`,
`models.py`).

    elements   x_t = E[w_t], no positions: a set of words, or vectors that are given                                (1)
    MAB(x, y)  h = LN(Q + softmax(s·Q Kᵀ) V), LN(h + relu(h Wᵀ + b)): `pooling.set_attention`                       (2)
    SAB(x)     MAB(x, x)                                                                                            (3)
    ISAB(x)    MAB(x, H), H = MAB(I, x), I of m learnt points                                                       (4)
    encoder    L layers ISAB, or SAB                                                                                (5)
    PMA(x)     MAB(S, x), S of k learnt seeds                                                                       (6)
    decoder    PMA, then SABs over its k vectors                                                                    (7)
    logits     z = h W_Vᵀ                                                                                           (8)
    objective  L = mean of -log softmax(z)[w], w a word that was taken out of the set                               (9)

Where the release deviates from the paper, and what is done here:
- s is 1/√D of the whole width, in the paper (section 2.2) as in the release; `attention_scale` "head" is 1/√K of one
  head, as in attention elsewhere, and in ports that call a library's.
- Q, not x, stands in the sum of (2), and heads are put side by side without a matrix behind them, as in the release;
  the paper adds x, and has W_O behind the heads (eq. 4 and 6).
- norms only with `ln`, which the release's default leaves out; (6) has no feed-forward before it, as in the release.
- neither has padding: here `attention_mask` hides what is no element from every MAB that reads the set.
- neither was made for words: (1), (8) and (9) are this engine's task, which text has the data for. W_V has no bias.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, options, pooling, tree
from minibert.config import among, check, number, require, size
from minibert.corruption.masking import Vocabulary
from minibert.families import inherited, word2vec
from minibert.heads import target_token
from minibert.objective import Term
from minibert.options import option
from minibert.pairs import block, block_backward
from minibert.summaries import Summary

Array = np.ndarray
Tree = dict[str, Any]
__getattr__ = inherited()  # published names: `minibert.published.set_transformer`
WIDE, DEEP = 2**20, 1024
SCALES = ("width", "head")


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """The release's sizes, under the names of its arguments."""

    vocab_size: int = size(30000)
    dim_input: int = size(128, WIDE)
    dim_hidden: int = size(128, WIDE)
    num_heads: int = size(4)
    num_layers: int = size(2, DEEP)
    num_inds: int = number(32, 0, WIDE)  # 0: SAB
    num_outputs: int = size(1, WIDE)
    decoder_layers: int = number(2, 0, DEEP)
    ln: bool = False
    pad_token_id: int | None = 0
    # variants
    attention_scale: str = among("width", SCALES)

    def __post_init__(self) -> None:
        check(self)
        fits = self.dim_hidden % self.num_heads == 0
        require(fits, f"config field 'num_heads' is {self.num_heads}; allowed: a divisor of {self.dim_hidden}")
        pad = self.pad_token_id
        known = pad is None or 0 <= pad < self.vocab_size
        require(known, f"config field 'pad_token_id' is {pad}; allowed: null, the id of a token")

    @property
    def attending(self) -> Tree:
        """Of every MAB."""
        width = self.dim_hidden // self.num_heads
        return {"width": width, "scale": (self.dim_hidden if self.attention_scale == "width" else width) ** -0.5}


PRESETS = {"release": {}}
# small, and every field away from its default: for checks
PROBE = {
    "vocab_size": 17,
    "dim_input": 5,
    "dim_hidden": 6,
    "num_heads": 3,
    "num_layers": 3,
    "num_inds": 4,
    "num_outputs": 2,
    "decoder_layers": 1,
    "ln": True,
    "pad_token_id": 5,
    "attention_scale": "head",
}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(7): the one place where they are written."""
    d = config.dim_hidden
    norm = {"norm": {"weight": (d,), "bias": (d,)}} if config.ln else {}

    def dense(n_in: int) -> Tree:
        return {"weight": (d, n_in), "bias": (d,)}

    def mab(x: int = d, y: int = d) -> Tree:
        attention = {"query": dense(x), "key": dense(y), "value": dense(y), **norm}
        return {"attention": attention, "feed_forward": {"out": dense(d), **norm}}

    def layer(n_in: int) -> Tree:
        if not config.num_inds:
            return mab(n_in, n_in)
        return {"points": {"weight": (config.num_inds, d)}, "induce": mab(d, n_in), "read": mab(n_in, d)}

    wide = [config.dim_input] + [d] * (config.num_layers - 1)
    return {
        "embeddings": {"word": {"weight": (config.vocab_size, config.dim_input)}},
        "encoder": [layer(n) for n in wide],
        "pool": {"seeds": {"weight": (config.num_outputs, d)}, **mab()},
        **({"decoder": [mab()] * config.decoder_layers} if config.decoder_layers else {}),
    }


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values: uniform, in layers within 1/√fan in, as torch's are, I and S as Xavier's; words
    normal.
    """
    *_, parent, leaf = path.split(".")
    if parent == "norm" or leaf == "bias":
        return np.full(shape, float(leaf == "weight"))
    if parent == "word":
        return rng.standard_normal(shape)
    count, width = shape
    most = (6 / ((count + 1) * width)) ** 0.5 if parent in ("points", "seeds") else width**-0.5
    return most * rng.uniform(-1, 1, shape)


# ---- An example ------------------------------------------------------------------------------------------------------
DIMS = {"B": 3, "T": 7}


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch: sets of unequal size, an element twice, a target of which nothing is asked. dims: sizes that
    differ from DIMS.
    """
    dims = {**DIMS, **(dims or {})}
    rows, length = dims["B"], dims["T"]
    ids = rng.integers(0, config.vocab_size, (rows, length))
    ids[:, -1] = ids[:, 0]
    lengths = rng.integers(length // 2 + 1, length + 1, rows)
    lengths[0] = length
    labels = rng.integers(0, config.vocab_size, (rows, config.num_outputs))
    labels[-1, 1:] = target_token.IGNORED
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "dropout": {}}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """Nothing is dropped."""
    return {}


# ---- Network ---------------------------------------------------------------------------------------------------------
SPELLINGS = {"input_mask": "attention_mask"}
OPTIONAL: Tree = {}


def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes: specs by name (see `signatures`). input_vectors stand in the place of words."""
    vectors = {"input_vectors": f"?(B,T,{config.dim_input})"}
    return {"input_ids": "?(B,T)<vocab_size", "attention_mask": "?(B,T)?", **vectors}


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: specs by name; hidden_states of each layer of the encoder, the first vector as the set's."""
    return {"last_hidden_state": "(B,num_outputs,dim_hidden)", "hidden_states": "[(B,T,dim_hidden)]",
            "pooler_output": "(B,dim_hidden)"}  # fmt: skip


def lengths(config: Config) -> dict[str, tuple[str, int | None]]:
    """How many elements a set may have, and the input whose sum along that dimension is how many each has."""
    return {"T": ("attention_mask", None)}


@block
def set_self_attention(x: Array, p: Tree, **given: Any) -> tuple[Array, Tree]:
    """(3): x (B, T, D) attends to itself; p and given as in `pooling.set_attention`."""
    y, c = pooling.set_attention(x, x, p, **given)
    return y, {"set_attention": c}


@block_backward
def set_self_attention_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    dx, dother, g = pooling.set_attention_backward(dy, c["set_attention"])
    return kernels.add(dx, dother), g


@block
def induced_attention(x: Array, p: Tree, *, seen: Array | None = None, **given: Any) -> tuple[Array, Tree]:
    """(4): x (B, T, D) attends to what m learnt points took from it. p: points {weight (m, D')}, induce, read, each as
    in `pooling.set_attention`; seen: bits (B, T); given: width, scale.
    """
    c: Tree = {}
    points = p["points"]["weight"]
    points = np.broadcast_to(points, (len(x), *points.shape))
    h, c["induce"] = pooling.set_attention(points, x, p["induce"], seen=seen, **given)
    y, c["read"] = pooling.set_attention(x, h, p["read"], **given)
    return y, c


@block_backward
def induced_attention_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    g: Tree = {}
    dx, dh, g["read"] = pooling.set_attention_backward(dy, c["read"])
    dpoints, dother, g["induce"] = pooling.set_attention_backward(dh, c["induce"])
    return kernels.add(dx, dother), {**g, "points": {"weight": dpoints.sum(0)}}


def encode(p: Tree, config: Config, inputs: Tree, *, keep: layers.Keep = "caches") -> tuple[Tree, Tree]:
    """(1)-(7): outputs by name, and the cache; `inputs` as above."""
    words, x, seen = (inputs.get(name) for name in ("input_ids", "input_vectors", "attention_mask"))
    require((words is None) != (x is None), "a set has input_ids or input_vectors: give one of them")
    c: Tree = {"like": p["embeddings"]}
    if x is None:
        x, c["word"] = ops.embedding(**p["embeddings"]["word"], ids=words)  # (1)
    else:
        x = x.astype(p["embeddings"]["word"]["weight"].dtype, copy=False)
    c["shape"], own = x.shape, induced_attention if config.num_inds else set_self_attention

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        return own(x, p, seen=seen, **config.attending)

    def decoding(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        return set_self_attention(x, p, **config.attending)

    hidden, c["encoder"] = layers.stack(layer, x, p["encoder"], keep)  # (5)
    y, c["pool"] = pooling.attention_pooling(hidden[-1], p["pool"], seen=seen, **config.attending)  # (6)
    decoded, c["decoder"] = layers.stack(decoding, y, p.get("decoder", []), keep)  # (7)
    c["backward"] = induced_attention_backward if config.num_inds else set_self_attention_backward
    hidden = hidden[1:] if keep != "last" else hidden
    return {"last_hidden_state": decoded[-1], "hidden_states": hidden, "pooler_output": decoded[-1][:, 0]}, c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(7) from the cotangents of last_hidden_state and, where given, of the others."""
    g: Tree = {}
    dy, dhidden = dout["last_hidden_state"], dout.get("hidden_states")
    if "pooler_output" in dout:
        dy = np.concatenate([dy[:, :1] + dout["pooler_output"][:, None], dy[:, 1:]], 1)
    if c["decoder"]:
        dy, g["decoder"] = layers.stack_backward(set_self_attention_backward, dy, c["decoder"])
    dx, g["pool"] = pooling.attention_pooling_backward(dy, c["pool"])
    if dhidden is not None:
        dx = kernels.add(dx, dhidden[-1])
        dhidden = [np.zeros(c["shape"], dx.dtype), *dhidden[:-1]]
    dx, g["encoder"] = layers.stack_backward(c["backward"], dx, c["encoder"], dhidden)
    word = ops.embedding_backward(dx, c["word"]) if "word" in c else tree.zeros_like(c["like"]["word"])
    return {**g, "embeddings": {"word": word}}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(8), (9)"""
    sizes = {"table": (config.vocab_size, config.dim_hidden)}
    return {"target_token": Term(target_token, "lm", sizes=sizes, table="lm.decoder.weight")}


COMMAND = "embed"  # that shows what it has learnt: it writes no text
POOLING = ("pooler",)  # the first vector of the decoder


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for a set: the first vector of the decoder; the head behind it is the release's last layer."""
    return {"text": Summary(at="first", head=f"dec.{config.decoder_layers + 1}", dropped=(None, None))}


# ---- Data ------------------------------------------------------------------------------------------------------------
# The paper's tasks are sets of numbers, points and images; of text a passage without its order is a set. Few words a
# set, one layer, no norms: with more of them a run as short hardly leaves the loss of a guess without context.
TOKENIZER = "wordpiece"
DEFAULTS: Tree = {"vocab_size": 1000, "seq_length": 12, "steps": 1000, "batch_size": 128, "learning_rate": 0.01,
                  "duplicates": 4, "optimizer": "adamw", "schedule": "linear", "weight_decay": 0.01}  # fmt: skip
WIDTH = "dim_hidden"
NARROW = {"dim_input": 128, "dim_hidden": 128, "num_inds": 8, "num_layers": 1, "decoder_layers": 0}
QUICK = NARROW


@dataclass(frozen=True)
class Data(options.Rows):
    """What the data functions ask for."""

    taken: int = option(4, "take so many words out of each set, at most half of it", least=1, most=1000)


def read(encodings: list, pad: int | None) -> dict[str, Array]:
    """The words of encoded texts, (B, T); what the tokenizer puts around them is no element."""
    return word2vec.read(encodings, pad or 0)


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Any, marked: Any = None) -> Tree:
    """Passages as sets: documents cut into at most seq_length words, anywhere; the words' places are no matter."""
    size, made = data.seq_length, []
    for document in [np.array([*itertools.chain(*document)]) for document in documents] * data.duplicates:
        begins = range(rng.integers(size) - size, len(document), size)
        made += [rng.permutation(document[max(0, at) : at + size]) for at in begins]
    made = [s for s in made if len(s) > 2]
    require(bool(made), "no passage of 3 words: give more text")
    counts = np.array([len(s) for s in made])
    ids = np.full((len(made), data.seq_length), vocabulary.pad, np.int32)
    for row, s in zip(ids, made, strict=True):
        row[: len(s)] = s
    order = rng.permutation(len(made))
    mask = (np.arange(data.seq_length) < counts[:, None]).astype(np.int32)
    return {"input_ids": ids[order], "attention_mask": mask[order]}


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Any, studied: Any = None) -> Tree:
    """(9): the last words of each set, which are any, are taken out and asked for."""
    held, each = rows["attention_mask"].sum(1)[:, None], np.arange(data.taken)
    taken = np.minimum(data.taken, held // 2)
    labels = np.take_along_axis(rows["input_ids"], np.maximum(held - 1 - each, 0), 1)
    labels = np.where(each < taken, labels, target_token.IGNORED)
    there = np.arange(rows["input_ids"].shape[1]) < held - taken
    ids = np.where(there, rows["input_ids"], vocabulary.pad)
    return {"input_ids": ids, "attention_mask": there.astype(np.int32), "labels": labels.astype(np.int32)}


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make: a seed for each word that is taken out."""
    return {"num_outputs": data.taken, **given}
