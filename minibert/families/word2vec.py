"""word2vec: Efficient Estimation of Word Representations in Vector Space; Distributed Representations of Words and
Phrases and their Compositionality.

Mikolov, Chen, Corrado, Dean, 2013, arXiv 1301.3781; Mikolov, Sutskever, Chen, Corrado, Dean, 2013, arXiv 1310.4546.
Released code: tmikolov/word2vec (`word2vec.c`). One vector a word, learnt by telling the words around it:

    vectors        v_w, the row of word w in the table of inputs                                                   (1)
    skip-gram      h_s = v_(x_s), asked for each word x_t in whose window x_s stands                               (2)
    CBOW           h_t = (1/|W_t|) Σ_{s in W_t} v_(x_s), asked for x_t; W_t: the words within b_t of t, not t      (3)
    negative sampling, `negative` words against each: `heads.negative_sampling`                                    (4)
    hierarchical softmax: `heads.hierarchical_softmax`; a model may have both                                      (5)
    a step         v ← v - α Σ dL/dv over the pairs, each a step of its own; α falls to 0 in a straight line       (6)

The text (`corruption.windows`): words below a count are dropped first; then frequent ones at random, with probability
1 - sqrt(t/f) - t/f (the paper: 1 - sqrt(t/f)); then windows are cut, b_t uniform in 1 … window; words are drawn from
their counts^0.75.

Where release and paper differ, and what is done here:
- the pairs of a step are computed from the same tables, not one after the other: rows of a few words are the release's
  limit (`batch_size`, `seq_length`); a row's pairs share the words drawn against them (`heads.negative_sampling`).
- the release adds the gradient of (3) to each word of the window undivided, the true one is 1/|W_t| of that (Irsoy,
  Benton, Stratos 2021, arXiv 2012.15332): `undivided`. `cbow_mean` False: the sum in the place of the mean.
- the release looks σ up in a table that ends at 6 and skips, or saturates, beyond: here it is σ.
- α stops falling at 1e-4 of its first value in the release, here at 0.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import ops, options
from minibert.config import check, require, size
from minibert.corruption import windows
from minibert.families import bert
from minibert.families.bert import WIDE
from minibert.heads import hierarchical_softmax, negative_sampling
from minibert.objective import Term
from minibert.options import option
from minibert.pairs import block, block_backward
from minibert.summaries import Summary

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """The release's defaults under gensim's names, and this engine's own fields."""

    vocab_size: int = size(30000)
    vector_size: int = size(100, WIDE)
    sg: bool = False  # skip-gram, else CBOW
    hs: bool = False  # hierarchical softmax
    negative: int = size(5, 1000)  # words against each, where ns
    cbow_mean: bool = True
    pad_token_id: int | None = 0
    # variants
    ns: bool = True  # negative sampling
    undivided: bool = False  # the release's gradient of (3)

    def __post_init__(self) -> None:
        check(self)
        require(self.ns or self.hs, "config field 'ns' is False; allowed: True where 'hs' is False")
        pad = self.pad_token_id
        require(pad is None or 0 <= pad < self.vocab_size, f"config field 'pad_token_id' is {pad}; allowed: a token id")


PRESETS = {"small": {"vector_size": 100}, "base": {"vector_size": 300}}
PROBE = {"vocab_size": 23, "vector_size": 6, "negative": 3, "hs": True, "cbow_mean": False, "pad_token_id": 1}


# ---- Inputs, shapes --------------------------------------------------------------------------------------------------
def inputs(config: Config) -> dict[str, str]:
    """before, after: how many words of a row stand in the window of each, to its left and right."""
    read = {"input_ids": "(B,T)<vocab_size", "attention_mask": "?(B,T)?"}
    return read if config.sg else {**read, "before": "?(B,T)<T", "after": "?(B,T)<T"}


def outputs(config: Config) -> dict[str, str]:
    """last_hidden_state: (1); context: (3), where windows are given."""
    states = {"last_hidden_state": "(B,T,vector_size)", "hidden_states": "[(B,T,vector_size)]"}
    return states if config.sg else {**states, "context": "(B,T,vector_size)"}


def lengths(config: Config) -> dict[str, tuple[str, int | None]]:
    return {"T": ("attention_mask", None)}


def shapes(config: Config) -> Tree:
    """The shape of every parameter: the one place where they are written."""
    return {"embeddings": {"word": {"weight": (config.vocab_size, config.vector_size)}}}


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """Inputs uniform in ±1/(2D), outputs 0."""
    return (rng.random(shape) - 0.5) / shape[1] if path.startswith("embeddings") else np.zeros(shape)


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """Rows of unequal lengths, a word that stands twice, windows of unequal widths, one of them empty."""
    dims = {"B": 3, "T": 6, **(dims or {})}
    rows, length = dims["B"], dims["T"]
    sizes = rng.integers(max(2, length - 2), length + 1, rows)
    ids = rng.integers(0, config.vocab_size, (rows, length))
    ids[:, -1] = ids[:, 0]
    there = np.arange(length) < sizes[:, None]
    before, after = windows.reaches(there * 1, 3, rng)
    before[0, 0] = after[0, 0] = 0
    own = {} if config.sg else {"before": before, "after": after}
    return {"input_ids": ids, "attention_mask": there * 1, **own, "dropout": {}}


def dropouts(config: Config, dims: dict[str, int]) -> dict:
    """Nothing is dropped."""
    return {}


# ---- The network -----------------------------------------------------------------------------------------------------
@block
def window_mean(x: Array, *, inside: Array, mean: bool, undivided: bool = False) -> tuple[Array, Tree]:
    """(3) x (B, T, D) -> (B, T, D): the mean, or the sum, of the rows inside; inside: bits (B, T, T), the windows of
    the first T. 0 of an empty one. undivided: the mean with the gradient of the sum, which is the release's.
    """
    bits = inside.astype(x.dtype)
    shares = bits / np.maximum(1, bits.sum(-1, keepdims=True)) if mean else bits
    return shares @ x, {"shares": bits if undivided else shares}


@block_backward
def window_mean_backward(dy: Array, c: Tree) -> Array:
    return c["shares"].swapaxes(-1, -2) @ dy


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1), and (3) where there are windows: outputs by name, and the cache; nothing is recomputed, whatever `keep`."""
    c: Tree = {}
    x, c["word"] = ops.embedding(**p["embeddings"]["word"], ids=inputs["input_ids"])  # (1)
    out = {"last_hidden_state": x, "hidden_states": [x]}
    if not config.sg and {"before", "after"} <= inputs.keys():
        inside = windows.within(inputs["before"], inputs["after"], inputs.get("attention_mask"))
        given = {"mean": config.cbow_mean, "undivided": config.undivided}
        out["context"], c["context"] = window_mean(x, inside=inside, **given)  # (3)
    return out, c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree from the cotangents of those outputs that are given."""
    parts = [dout["last_hidden_state"]] if "last_hidden_state" in dout else []
    parts += dout.get("hidden_states", [])
    parts += [window_mean_backward(dout["context"], c["context"])] if "context" in dout else []  # (3)
    return {"embeddings": {"word": ops.embedding_backward(sum(parts[1:], start=parts[0]), c["word"])}}  # (1)


def terms(config: Config) -> dict[str, Term]:
    """(4), (5) of (2) or (3)."""
    given = {"reads": "last_hidden_state" if config.sg else "context", "inputs": {"words": "input_ids"},
             "sizes": {"table": (config.vocab_size, config.vector_size)}}  # fmt: skip
    found = {}
    if config.ns:
        found["negative_sampling"] = Term(negative_sampling, "out", constants={"negative": config.negative}, **given)
    if config.hs:
        found["hierarchical_softmax"] = Term(hierarchical_softmax, "nodes", **given)
    return found


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for a text: the mean of its words."""
    return {"text": Summary(pooling="mean", dense="pooling", dropped=(None, None))}


# (6): each pair is a step of its own, and touches the rows of its words alone
SUMMED = True


def touched(config: Config) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Tables of which a batch reads the rows in these fields alone."""
    word, nodes = ("embeddings.word.weight",), [(("nodes.weight",), ("nodes",))] if config.hs else []
    return [((*word, "out.word.weight"), ("input_ids", "negatives")) if config.ns else (word, ("input_ids",)), *nodes]


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "words"
WIDTH = "vector_size"
NARROW = QUICK = {"vector_size": 64}
DEFAULTS = {"optimizer": "plain_sgd", "schedule": "linear", "learning_rate": 0.025, "warmup": 0.0, "weight_decay": 0.0,
            "clip_norm": 1e9, "batch_size": 32, "accumulate": 2, "steps": 1000}  # fmt: skip


@dataclass(frozen=True)
class Data(options.Text):
    """What the data functions ask for."""

    vocab_size: int = option(30000, "know so many words, the most frequent", least=8, most=1 << 22)
    seq_length: int = option(64, "cut the text in rows of so many words", least=8, most=options.LONGEST)
    duplicates: int = option(1, "pass over the text so many times in an epoch", least=1, most=1000)
    masking: str = option("dynamic", "draw windows and words for a row once, or anew each time that it is served",
                          among=("static", "dynamic"))  # fmt: skip
    network: str = option("skip-gram", "ask each word of a window for its middle, or the mean of all (cbow)",
                          among=("skip-gram", "cbow"))  # fmt: skip
    against: str = option("drawn", "ask by words drawn against those that stood there, by the way through a tree, or "
                          "both", among=("drawn", "tree", "both"))  # fmt: skip
    window: int = option(5, "let windows reach so many words to either side, at most", least=1, most=100)
    sample: float = option(1e-3, "leave out words that are more frequent than about this; 0: none", least=0, most=1)
    power: float = option(0.75, "draw words from their counts to this power", least=-4, most=4)
    drawn: int = option(24, "draw so many words against those of a row", least=1, most=options.LONGEST)
    smoothing: float = option(0.7, "make rows of each language by its share of the text to this power, where languages "
                              "are given", least=0, most=1)  # fmt: skip


def read(encodings: list, pad: int | None) -> dict[str, Array]:
    """The words of encoded texts, (B, T); what the tokenizer puts around them is as padding."""
    rows = bert.read(encodings, pad)
    for there, encoding in zip(rows["attention_mask"], encodings, strict=True):
        there[: len(encoding)] = [end > begin for begin, end in encoding.offsets]
    return {name: rows[name] for name in ("input_ids", "attention_mask")}


def fields(data: Data, given: Tree) -> Tree:
    own = {"sg": data.network == "skip-gram", "ns": data.against != "tree", "hs": data.against != "drawn"}
    wrong = [name for name in own if given.get(name, own[name]) != own[name]]
    require(not wrong, f"config field {wrong[:1]} is not what the options network and against make: leave it out")
    return {**given, **own}


def study(tokenizer: Any, data: Data, counted: Any) -> Tree:
    """How often each word stands in the training text, and what follows from it: how often it is kept, the table that
    words are drawn from, its way in the tree.
    """
    total, counts = counted(_counts), np.zeros(len(tokenizer), np.int64)
    counts[[*total]] = [*total.values()]
    counts[sorted(tokenizer.special_ids)] = 0
    require(np.count_nonzero(counts) > 1, "the text has fewer than two words of the vocabulary: give more text")
    nodes, codes = windows.huffman(counts)
    share = windows.kept_share(counts, data.sample)
    return {"share": share, "table": windows.table(counts, data.power), "nodes": nodes.T, "codes": codes.T}


def _counts(tokenizer: Any, data: Data, texts: Any) -> Counter:
    return Counter(i for document in texts for sentence in document for i in tokenizer.ids(sentence))


def rows(documents: Any, rng: Any, vocabulary: Any, data: Data, marked: Any = None) -> Tree:
    """The text end to end, unknown words left out."""
    return windows.rows(documents, vocabulary.special, data.seq_length, data.duplicates)


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Any, data: Data, studied: Any = None) -> Tree:
    """Frequent words left out, windows cut, words drawn."""
    kept = windows.thinned(rows, studied["share"], rng)
    ids, there = kept["input_ids"], (kept["sentences"] > 0).astype(np.int32)
    before, after = windows.reaches(kept["sentences"], data.window, rng)
    batch = {"input_ids": ids, "attention_mask": there}
    if data.network == "cbow":
        batch |= {"before": before, "after": after, "targets": windows.middles(before, after)}
    else:
        batch["targets"] = windows.skip_grams(before, after, data.window)
    if data.against != "drawn":
        batch |= {name: studied[name][:, ids].swapaxes(0, 1) for name in ("nodes", "codes")}
    if data.against != "tree":
        batch["negatives"] = windows.drawn(studied["table"], (len(ids), data.drawn), rng)
    return batch


# ---- Published names -------------------------------------------------------------------------------------------------
MODEL_TYPE = "word2vec"
PREFIX = "wv."
VARIANTS = ("ns", "undivided")


def architectures(config: Config) -> dict[str, tuple[str, ...]]:
    return {"Word2Vec": tuple(term.part for term in terms(config).values()), "KeyedVectors": ()}


def names(config: Config) -> list[tuple[str, str, str]]:
    """(path, published name, bijection) of every parameter, as gensim's Word2Vec has them."""
    parts = {"out": ("out.word.weight", "syn1neg"), "nodes": ("nodes.weight", "syn1")}
    own = [(*parts[term.part], "identity") for term in terms(config).values()]
    return [("embeddings.word.weight", "wv.vectors", "identity"), *own]


def aliases(config: Config) -> dict[str, str]:
    return {}


def activations(config: Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    read = [("wv", "encode.word", "", "embeddings")]
    read += [] if config.sg else [("context", "encode.context", "", "layer 0")]
    rows = {"out": [("syn1neg", "stood.word"), ("syn1neg.scores", "stood.scores"), ("syn1neg@1", "drawn.word"),
                    ("syn1neg.scores@1", "drawn.scores")],
            "nodes": [("syn1", "nodes"), ("syn1.scores", "scores")]}  # fmt: skip
    return [*read, *((name, f"{term}.{path}", "", "head") for term, own in terms(config).items()
                     for name, path in rows[own.part])]  # fmt: skip
