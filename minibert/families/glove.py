"""GloVe: Global Vectors for Word Representation.

Pennington, Socher, Manning 2014, EMNLP. Released code: stanfordnlp/GloVe (`cooccur.c`, `shuffle.c`, `glove.c`). Two
vectors and two biases a word, fitted to the logarithm of how often words stand near each other:

    X_ij           Σ 1/d over the places where word j stands at distance d ≤ window of word i, within a sentence    (1)
    J              weighted least squares of w_i·w̃_j + b_i + b̃_j - ln X_ij: `heads.co_occurrence`                  (2)
    a step         for each parameter, a from 1: θ ← θ - ηg/√a, then a ← a + (ηg)² (`optim.glove_adagrad`)          (3)
    what is kept   w_i + w̃_i (`word_vectors`)                                                                      (4)

Where release and paper differ, and what is done here:
- cells of X are shuffled and each is a step of its own in the release; here a step sums the gradients of its cells.
- the release's J is half of the paper's (2), so that its gradient is f·(z - ln X)·w̃.
- (3) is the release's; the paper says AdaGrad, whose sum begins at 0 and has η outside.
- newer releases cut g at ±100; nothing is cut here.
- a text of several shards is counted as a whole; each shard brings the cells that it has, by its share of each.
- what is held out is some of the cells of X, none of which is trained on: counts of less text would be smaller ones.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import ops, options
from minibert.config import check, number, require, size
from minibert.corruption import cells
from minibert.families.bert import WIDE
from minibert.heads import co_occurrence
from minibert.objective import Term
from minibert.options import option

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """The release's defaults."""

    vocab_size: int = size(30000)
    vector_size: int = size(50, WIDE)
    x_max: float = number(100.0, 1e-3, 1e9)
    alpha: float = number(0.75, 0, 10)
    pad_token_id: int | None = 0

    def __post_init__(self) -> None:
        check(self)
        pad = self.pad_token_id
        require(pad is None or 0 <= pad < self.vocab_size, f"config field 'pad_token_id' is {pad}; allowed: a token id")


PRESETS = {"small": {"vector_size": 50}, "base": {"vector_size": 300}}
PROBE = {"vocab_size": 23, "vector_size": 6, "x_max": 20.0, "alpha": 0.6, "pad_token_id": 1}


# ---- Inputs, shapes --------------------------------------------------------------------------------------------------
def inputs(config: Config) -> dict[str, str]:
    """Words; of cells the first of each, and what share of its count is told (see `heads.co_occurrence`)."""
    return {"input_ids": "(B,T)<vocab_size", "attention_mask": "?(B,T)?", "shares": "?(B,T)+"}


def outputs(config: Config) -> dict[str, str]:
    """w_i."""
    return {"last_hidden_state": "(B,T,vector_size)", "hidden_states": "[(B,T,vector_size)]"}


def lengths(config: Config) -> dict[str, tuple[str, int | None]]:
    return {"T": ("attention_mask", None)}


def shapes(config: Config) -> Tree:
    """The shape of every parameter: the one place where they are written."""
    return {"embeddings": {"word": {"weight": (config.vocab_size, config.vector_size)}}}


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """Uniform in ±1/(2(D + 1)), biases too: the release counts them to the width."""
    return (rng.random(shape) - 0.5) / (config.vector_size + 1)


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """Rows of unequal lengths, a word that stands twice."""
    dims = {"B": 3, "T": 6, **(dims or {})}
    rows, length = dims["B"], dims["T"]
    ids = rng.integers(0, config.vocab_size, (rows, length))
    ids[:, -1] = ids[:, 0]
    there = np.arange(length) < rng.integers(max(2, length - 2), length + 1, rows)[:, None]
    shares = 0.5 + 0.5 * rng.random((rows, length))
    return {"input_ids": ids, "attention_mask": there * 1, "shares": shares, "dropout": {}}


def dropouts(config: Config, dims: dict[str, int]) -> dict:
    """Nothing is dropped."""
    return {}


# ---- The network -----------------------------------------------------------------------------------------------------
def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """The first vector of each word."""
    x, c = ops.embedding(**p["embeddings"]["word"], ids=inputs["input_ids"])
    return {"last_hidden_state": x, "hidden_states": [x]}, {"word": c}


def encode_backward(dout: Tree, c: Tree) -> Tree:
    parts = [dout["last_hidden_state"]] if "last_hidden_state" in dout else []
    parts += dout.get("hidden_states", [])
    return {"embeddings": {"word": ops.embedding_backward(sum(parts[1:], start=parts[0]), c["word"])}}


def terms(config: Config) -> dict[str, Term]:
    """(2)"""
    sizes = {"table": (config.vocab_size, config.vector_size)}
    constants = {"x_max": config.x_max, "alpha": config.alpha}
    inputs = {"words": "input_ids", "shares": "shares"}
    return {"co_occurrence": Term(co_occurrence, "context", sizes=sizes, constants=constants, inputs=inputs)}


SUMMED = True  # each cell is a step of its own


def touched(config: Config) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Tables of which a batch reads the rows in these fields alone."""
    return [(("embeddings.word.weight", "context.bias.word.weight"), ("input_ids",)),
            (("context.word.weight", "context.context_bias.word.weight"), ("contexts",))]  # fmt: skip


def word_vectors(p: Tree, config: Config, words: list[str], ids: list[int]) -> Array:
    """(4) of the words with these ids."""
    return p["embeddings"]["word"]["weight"][ids] + p["context"]["word"]["weight"][ids]


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "words"
WIDTH = "vector_size"
NARROW = QUICK = {"vector_size": 50, "x_max": 10.0}
DEFAULTS = {"optimizer": "glove_adagrad", "schedule": "constant", "learning_rate": 0.05, "warmup": 0.0,
            "weight_decay": 0.0, "clip_norm": 1e9, "batch_size": 32, "accumulate": 2, "steps": 3000,
            "held_out": 1.0}  # fmt: skip
STUDIED_ROWS = True  # `rows` reads what `study` has found


@dataclass(frozen=True)
class Data(options.Text):
    """What the data functions ask for."""

    vocab_size: int = option(30000, "know so many words, the most frequent", least=8, most=1 << 22)
    seq_length: int = option(128, "put so many cells into a row", least=8, most=options.LONGEST)
    duplicates: int = option(1, "serve each cell so many times in an epoch", least=1, most=1000)
    window: int = option(15, "count words at so many words' distance, at most", least=1, most=1000)
    apart: float = option(0.05, "hold out so large a share of the cells", least=0.001, most=0.5)
    smoothing: float = option(0.7, "make rows of each language by its share of the text to this power, where languages "
                              "are given", least=0, most=1)  # fmt: skip


def fields(data: Data, given: Tree) -> Tree:
    return dict(given)


def study(tokenizer: Any, data: Data, counted: Any) -> cells.Cells:
    """(1) of the whole training text."""
    found = counted(_counts)
    require(len(found) > 0, "no two words of the vocabulary stand near each other: give more text")
    keys = np.fromiter(found, np.int64, len(found))
    order = np.argsort(keys)
    return keys[order], np.fromiter(found.values(), np.float64, len(found))[order]


def _counts(tokenizer: Any, data: Data, texts: Any) -> Counter:
    documents = ([tokenizer.ids(sentence) for sentence in document] for document in texts)
    keys, counts = cells.counted(documents, tokenizer.special_ids, len(tokenizer), data.window)
    return Counter(dict(zip(keys.tolist(), counts.tolist(), strict=True)))


def rows(documents: Any, rng: np.random.Generator, vocabulary: Any, data: Data, marked: Any = None) -> Tree:
    """The cells of a text, shuffled; as held-out rows those of the whole training text that are held out."""
    marked = marked or {}
    whole = marked.get("studied")
    found = whole if "apart" in marked else cells.counted(
        documents, vocabulary.special, vocabulary.size, data.window)  # fmt: skip
    wanted = cells.apart(found[0], data.apart) if "apart" in marked else ~cells.apart(found[0], data.apart)
    if marked.get("apart", True):
        require(bool(wanted.any()), "no two words of the vocabulary stand near each other: give more text")
    else:
        wanted[:] = False
    found = found[0][wanted], found[1][wanted]
    order = np.concatenate([rng.permutation(len(found[0])) for _ in range(data.duplicates)])
    counts, shares = (array[order] for array in cells.shares(*found, whole))
    words, contexts = np.divmod(found[0][order], vocabulary.size)
    pad = -len(order) % data.seq_length
    made = {"input_ids": (words, 0), "attention_mask": (np.ones_like(words), 0), "counts": (counts, 0.0),
            "contexts": (contexts, co_occurrence.IGNORED), "shares": (shares, 0.0)}  # fmt: skip
    return {name: np.pad(array, (0, pad), constant_values=spare).reshape(-1, data.seq_length).astype(
        np.int32 if array.dtype.kind == "i" else np.float64) for name, (array, spare) in made.items()}  # fmt: skip


# ---- Published names -------------------------------------------------------------------------------------------------
MODEL_TYPE = "glove"
PREFIX = "glove."
VARIANTS = ()


def architectures(config: Config) -> dict[str, tuple[str, ...]]:
    return {"GloVe": ("context",), "GloVeVectors": ()}


def names(config: Config) -> list[tuple[str, str, str]]:
    """(path, name, bijection) of every parameter; the release's files have vectors and biases in one row a word."""
    own = {"embeddings.word": "W", "context.word": "W_context", "context.bias.word": "b",
           "context.context_bias.word": "b_context"}  # fmt: skip
    return [(f"{path}.weight", f"glove.{name}", "identity") for path, name in own.items()]


def aliases(config: Config) -> dict[str, str]:
    return {}


def activations(config: Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    own = {"W_context": "word", "b": "bias", "b_context": "context_bias", "scores": "scores"}
    return [("glove.W", "encode.word", "", "embeddings"),
            *((f"glove.{name}", f"co_occurrence.{path}", "", "head") for name, path in own.items())]  # fmt: skip
