"""word2vec, small: Mikolov et al. 2013, arXiv 1301.3781, section 3.1, with the loss of arXiv 1310.4546.

    h = mean of E[w] over the words of the context                                                                  (1)
    L: `negatives`                                                                                                  (2)
"""

from dataclasses import dataclass

import numpy as np

from minibert import ops, options
from minibert.objective import Term
from minibert.options import option
from minibert.pairs import block, block_backward
from tests.toys import negatives


@dataclass(frozen=True)
class Config:
    vocab_size: int = 30000
    width: int = 300
    most: int = 10  # words of a context
    initializer_range: float = 0.02


PRESETS = {"small": {"width": 32}}
PROBE = {"vocab_size": 11, "width": 5, "most": 4}


def shapes(config):
    return {"in": {"weight": (config.vocab_size, config.width)}}


def inputs(config):
    return {"context_ids": "(B,C)<vocab_size", "context_mask": "(B,C)?"}


def outputs(config):
    return {"hidden": "(B,width)"}


def lengths(config):
    return {"C": ("context_mask", config.most)}


def example(rng, config, dims=None):
    dims = {"B": 4, "C": 3, **(dims or {})}
    ids = rng.integers(0, config.vocab_size, (dims["B"], dims["C"]))
    ids[:, -1] = ids[:, 0]  # a word that stands twice
    return {"context_ids": ids, "context_mask": (np.arange(dims["C"]) < 2 + np.arange(dims["B"])[:, None] % 2) * 1}


def dropouts(config, dims):
    return {}


@block
def mean(p, *, ids, mask):
    """(1)"""
    c = {}
    e, c["in"] = ops.embedding(**p["in"], ids=ids)
    c["share"] = (mask / mask.sum(1, keepdims=True)).astype(e.dtype)[..., None]
    return (e * c["share"]).sum(1), c


@block_backward
def mean_backward(dh, c):
    return {"in": ops.embedding_backward(dh[:, None] * c["share"], c["in"])}


def encode(p, config, inputs, *, keep="caches"):
    h, c = mean(p, ids=inputs["context_ids"], mask=inputs["context_mask"])
    return {"hidden": h}, {"mean": c}


def encode_backward(dout, c):
    return mean_backward(dout["hidden"], c["mean"])


def terms(config):
    sizes = {"table": (config.vocab_size, config.width)}
    return {"negative_sampling": Term(negatives, "out", "hidden", sizes)}  # (2)


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "wordpiece"
WIDTH = "width"
NARROW = QUICK = {"width": 32, "initializer_range": 0.1}
DEFAULTS = {"learning_rate": 0.01, "steps": 300, "batch_size": 64}


@dataclass(frozen=True)
class Data(options.Text):
    """What the data functions ask for."""

    window: int = option(2, "words on either side", least=1, most=100)
    drawn: int = option(3, "words drawn beside the one that stood there", least=1, most=100)
    duplicates: int = option(1, "passes over the text", least=1, most=10)

    @property
    def seq_length(self):
        return 2 * self.window


def fields(data, given):
    return {"most": data.seq_length, **given}


def rows(documents, rng, vocabulary, data, marked=None):
    """Every word with those around it."""
    made = []
    for sentence in (sentence for document in documents for sentence in document):
        for at, word in enumerate(sentence):
            around = sentence[max(0, at - data.window) : at] + sentence[at + 1 : at + 1 + data.window]
            if around:
                made.append([word, len(around), *around, *[0] * (data.seq_length - len(around))])
    made = rng.permutation(np.array(made, np.int32))
    mask = np.arange(data.seq_length) < made[:, 1:2]
    return {"context_ids": made[:, 2:], "context_mask": mask.astype(np.int32), "word": made[:, 0]}


def corrupt(rows, rng, vocabulary, data, studied=None):
    """The word that stood there and others, drawn."""
    drawn = rng.integers(0, vocabulary.size, (len(rows["word"]), data.drawn), np.int32)
    targets = np.concatenate([rows["word"][:, None], drawn], axis=1)
    signs = np.zeros_like(targets)
    signs[:, 0] = 1
    same = {name: rows[name] for name in ("context_ids", "context_mask")}
    return {**same, "targets": targets, "signs": signs}


# ---- Laws ------------------------------------------------------------------------------------------------------------
def silent(config):
    """Those that it cannot be asked, and why (`minibert.laws`)."""
    attention = ("padding_invariance", "head_permutation", "key_bias_invariance", "attention_rows", "forbidden_keys",
                 "key_bias_gradient")  # fmt: skip
    layers = ("hidden_unit_permutation", "layer_norm_shift", "layer_norm_scale")
    softmax = ("vocabulary_permutation", "ignored_labels", "uniform_head", "softmax_gradients", "tied_gradient")
    return {**dict.fromkeys(attention, "a mean over the context: no attention, no rows of tokens"),
            **dict.fromkeys(layers, "one table and no layers"),
            **dict.fromkeys(softmax, "it tells a word from a few that were drawn, not among all")}  # fmt: skip


# ---- Published names -------------------------------------------------------------------------------------------------
MODEL_TYPE = "toy_word2vec"
PREFIX = "vectors."
VARIANTS = ("initializer_range",)


def architectures(config):
    return {"ToyWord2Vec": ("out",)}


def names(config):
    return [("in.weight", "vectors.in.weight", "identity"), ("out.weight", "vectors.out.weight", "transpose")]


def aliases(config):
    return {}


def activations(config):
    return [("vectors.in", "encode.mean.in", "", "embeddings"), ("vectors", "encode.mean", "", "embeddings"),
            ("vectors.out", "negative_sampling.out", "", "head")]  # fmt: skip
