"""fastText: Enriching Word Vectors with Subword Information.

Bojanowski, Grave, Joulin, Mikolov 2016, arXiv 1607.04606; Joulin, Grave, Bojanowski, Mikolov 2016, arXiv 1607.01759.
Released code: facebookresearch/fastText (`dictionary.cc`, `loss.cc`, `fasttext.cc`). word2vec's networks and terms, but
a word is made of itself and of its n-grams:

    word           s_t = Σ of its own row and of those of its n-grams, n_t rows; v_t = s_t/n_t                       (1)
                   of a word that is not in the vocabulary the n-grams' alone
    skip-gram      h_t = v_t                                                                                        (2)
    CBOW           h_t = Σ s / Σ n over the window: the mean of all rows, not of words                              (3)
    terms          word2vec's; the words drawn come from their counts^0.5                                           (4)
    text           Σ s / Σ n over all its words, of which n-grams of words are parts, too: the classifier's         (5)

N-grams are those of <word>, 3 to 6 characters; a row is chosen by a hash (`corruption.pieces`). Data.components: of
Chinese characters their components.

Where release and paper differ, and what is done here:
- the paper scores with the sum of the rows, the release with their mean (1).
- the release adds the whole gradient of the mean to each row (`undivided`, see word2vec), but in its classifier.
- a drawn word that is the pair's own is drawn again in the release: here the others count so much more.
- in its tree code 1 is σ(z), where word2vec has code 0.
- the release's classifier (arXiv 1607.01759) is this network with a head of a task: `minibert finetune classify
  fasttext --train FILE`; of a word that is unknown it reads the n-grams, here nothing, and </s> at the end of a line.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import kernels, ops
from minibert.config import number, require, size
from minibert.corruption import pieces, windows
from minibert.families import inherited, word2vec
from minibert.objective import Term
from minibert.options import option
from minibert.pairs import block, block_backward
from minibert.summaries import Summary

KIN = "word2vec"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(word2vec.Config):
    """The release's defaults, and word2vec's fields."""

    minn: int = number(3, 0, 64)
    maxn: int = number(6, 0, 64)  # 0: words have no n-grams
    bucket: int = size(2_000_000)
    unk_token_id: int | None = 1
    # variants
    spellings: str = ""  # of the words, by lines: what n-grams are made of where a batch has none
    word_ngrams: int = size(1, 16)  # of up to so many words, in the rows of the characters'

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.minn <= self.maxn, f"config field 'minn' is {self.minn}; allowed: at most maxn, {self.maxn}")
        unknown = self.unk_token_id
        fits = unknown is None or 0 <= unknown < self.vocab_size
        require(fits, f"config field 'unk_token_id' is {unknown}; allowed: a token id")


PRESETS = {"small": {"vector_size": 100, "bucket": 200_000}, "base": {"vector_size": 300}}
PROBE = {**word2vec.PROBE, "minn": 2, "maxn": 4, "bucket": 17, "unk_token_id": 3}


# ---- Inputs, shapes --------------------------------------------------------------------------------------------------
def inputs(config: Config) -> dict[str, str]:
    """word2vec's, and the rows of each word's n-grams, -100 behind them."""
    return {**word2vec.inputs(config), "pieces": f"?(B,G,T)<bucket|{pieces.IGNORED}"}


def outputs(config: Config) -> dict[str, str]:
    """word2vec's; text: (5), where no words are asked for."""
    return {**word2vec.outputs(config), "text": "(B,vector_size)"}


def shapes(config: Config) -> Tree:
    """The shape of every parameter: the one place where they are written."""
    width = config.vector_size
    rows = {"word": config.vocab_size, "piece": config.bucket}
    return {"embeddings": {name: {"weight": (count, width)} for name, count in rows.items()}}


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """Inputs uniform in ±1/D, outputs 0."""
    return (2 * rng.random(shape) - 1) / shape[1] if path.startswith("embeddings") else np.zeros(shape)


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """word2vec's; words of unequal numbers of n-grams, one of none, one that is unknown."""
    batch = word2vec.example(rng, config, dims)
    rows, length = batch["input_ids"].shape
    found = rng.integers(0, config.bucket, (rows, (dims or {}).get("G", 3), length))
    found[:, -1, ::2], found[0, :, 1] = pieces.IGNORED, pieces.IGNORED
    batch["input_ids"][0, 2] = batch["input_ids"][0, 2] if config.unk_token_id is None else config.unk_token_id
    return {**batch, "pieces": found}


# ---- The network -----------------------------------------------------------------------------------------------------
@block
def spelt(p: Tree, *, ids: Array, parts: Array, unknown: int | None) -> tuple[Array, Tree]:
    """(1) s (B, T, D): the rows of ids (B, T), 0 of unknown, and of parts (B, G, T) added up; c["rows"]: n (B, T)."""
    known = np.ones(ids.shape, bool) if unknown is None else ids != unknown
    rows, length = ids.shape
    parts = parts.swapaxes(1, 2).reshape(rows, -1)  # each row's, word by word; those that are there first
    there = parts != pieces.IGNORED
    order = np.argsort(~there, 1, kind="stable")[:, : max(1, there.sum(1).max())]
    seen = np.take_along_axis(there, order, 1)
    at = np.arange(rows)[:, None] * length + order * length // parts.shape[1]
    c: Tree = {"known": known[..., None], "at": at.reshape(-1), "seen": seen[..., None]}
    word, c["word"] = ops.embedding(**p["word"], ids=ids)
    part, c["piece"] = ops.embedding(**p["piece"], ids=np.where(seen, np.take_along_axis(parts, order, 1), 0))
    c["rows"] = np.maximum(1, known + there.reshape(rows, length, -1).sum(2)).astype(word.dtype)
    total = kernels.scatter_add(c["at"], (part * c["seen"]).reshape(-1, part.shape[2]), ids.size)
    return word * c["known"] + total.reshape(word.shape), c


@block_backward
def spelt_backward(ds: Array, c: Tree) -> Tree:
    dpart = ds.reshape(-1, ds.shape[-1])[c["at"]].reshape(*c["seen"].shape[:2], -1) * c["seen"]
    return {"word": ops.embedding_backward(ds * c["known"], c["word"]),
            "piece": ops.embedding_backward(dpart, c["piece"])}  # fmt: skip


@functools.lru_cache(maxsize=4)
def _spelled(config: Config) -> tuple[Array, Array]:
    """(the rows (G, V) of each word's n-grams, the hash (V,) of each word)."""
    words = config.spellings.split("\n")[: config.vocab_size]
    words += [""] * (config.vocab_size - len(words))
    hashes = np.array([pieces.hashed(word) for word in words], np.int64)
    return pieces.table(words, config.minn, config.maxn, config.bucket), hashes


def parts(config: Config, inputs: Tree) -> Array:
    """(B, G, T): the rows of n-grams of each word, those of words that begin there among them."""
    ids, found = inputs["input_ids"], inputs.get("pieces")
    if found is None:
        require(bool(config.spellings), "the batch lacks 'pieces', and the model does not know how its words are spelt")
        found = _spelled(config)[0][:, ids].swapaxes(0, 1)
    if config.word_ngrams > 1 and config.spellings:
        there = inputs.get("attention_mask", np.ones_like(ids)) * (ids != config.unk_token_id)
        more = pieces.phrases(_spelled(config)[1][ids], there, config.word_ngrams, config.bucket)
        found = np.concatenate([found, more], 1)
    return found


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(3): outputs by name, and the cache; nothing is recomputed, whatever `keep`."""
    c: Tree = {"undivided": config.undivided}
    ids, found = inputs["input_ids"], parts(config, inputs)
    s, c["spelt"] = spelt(p["embeddings"], ids=ids, parts=found, unknown=config.unk_token_id)  # (1)
    x = s / c["spelt"]["rows"][..., None]
    out = {"last_hidden_state": x, "hidden_states": [x]}
    if "targets" not in inputs:
        there = inputs.get("attention_mask", np.ones_like(ids)).astype(s.dtype)[:, None]
        count = there[:, 0] * ((ids != config.unk_token_id) + (found != pieces.IGNORED).sum(1))
        c["there"] = there / np.maximum(1, count.sum(1))[:, None, None].astype(s.dtype)
        out["text"] = (c["there"] @ s)[:, 0]  # (5)
    if not config.sg and {"before", "after"} <= inputs.keys():
        inside = windows.within(inputs["before"], inputs["after"], inputs.get("attention_mask"))
        total, c["context"] = word2vec.window_mean(s, inside=inside, mean=False)  # (3)
        c["count"] = np.maximum(1, inside @ c["spelt"]["rows"][..., None]).astype(s.dtype)
        out["context"] = total / c["count"] if config.cbow_mean else total
        c["count"] = c["count"] if config.cbow_mean else np.ones_like(c["count"])
    return out, c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree from the cotangents of those outputs that are given; undivided: means as if they were sums."""
    parts = [dout["last_hidden_state"]] if "last_hidden_state" in dout else []
    parts += dout.get("hidden_states", [])
    share = 1 if c["undivided"] else 1 / c["spelt"]["rows"][..., None]
    parts = [part * share for part in parts]
    if "context" in dout:
        share = 1 if c["undivided"] else 1 / c["count"]
        parts.append(word2vec.window_mean_backward(dout["context"] * share, c["context"]))
    if "text" in dout:
        parts.append(c["there"].swapaxes(1, 2) * dout["text"][:, None])
    return {"embeddings": spelt_backward(sum(parts[1:], start=parts[0]), c["spelt"])}


def terms(config: Config) -> dict[str, Term]:
    """(4)"""
    found = word2vec.terms(config)
    return {name: term._replace(constants={**term.constants, "redrawn": True} if name == "negative_sampling" else {})
            for name, term in found.items()}  # fmt: skip


def summaries(config: Config) -> dict[str, Summary]:
    """(5), and a head without bias, as in the release."""
    return {"text": Summary("text", biased=False, dropped=(None, None))}


def spelled(tokenizer: Any, data: "Data") -> Tree:
    """The config fields that a vocabulary decides: how its words are spelt, in components where there are such."""
    known = pieces.components(data.components) if data.components else {}
    words = ["" if i in tokenizer.special_ids else pieces.spelt(word, known) for i, word in enumerate(tokenizer.tokens)]
    return {"spellings": "\n".join(words)}


def touched(config: Config) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Tables of which a batch reads the rows in these fields alone; an id that means "unknown" must stay that id."""
    return [(("embeddings.piece.weight",), ("pieces",))]


# ---- Words -----------------------------------------------------------------------------------------------------------
def word_vectors(p: Tree, config: Config, words: list[str], ids: Any = None, known: Any = None) -> Array:
    """(1) of words, v (N, D); ids: their rows, None of words that are in no vocabulary; known: components."""
    found = pieces.table(words, config.minn, config.maxn, config.bucket, known)
    ids = np.full(len(words), config.unk_token_id) if ids is None else np.asarray(ids)
    unknown = {"unknown": config.unk_token_id}
    s, c = spelt(p["embeddings"], ids=ids[None], parts=found[None], **unknown)
    return (s / c["rows"][..., None])[0]


# ---- Data ------------------------------------------------------------------------------------------------------------
NARROW = QUICK = {"vector_size": 64}
DEFAULTS = {**word2vec.DEFAULTS, "sample": 1e-3}  # of a short text too little would be left


@dataclass(frozen=True)
class Data(word2vec.Data):
    """What the data functions ask for."""

    sample: float = option(1e-4, "leave out words that are more frequent than about this; 0: none", least=0, most=1)
    power: float = option(0.5, "draw words from their counts to this power", least=-4, most=4)
    minn: int = option(3, "make n-grams of so many characters", least=0, most=64)
    maxn: int = option(6, "and of up to so many; 0: none", least=0, most=64)
    bucket: int = option(20_000, "give them so many rows", least=1, most=1 << 26)
    components: str = option("", "n-grams go over the components of the characters in this JSON file", file=True)


def fields(data: Data, given: Tree) -> Tree:
    return {**word2vec.fields(data, given), **{name: getattr(data, name) for name in ("minn", "maxn", "bucket")}}


def study(tokenizer: Any, data: Data, counted: Any) -> Tree:
    """word2vec's, and the rows of each word's n-grams."""
    known = pieces.components(data.components) if data.components else None
    words = ["" if i in tokenizer.special_ids else word for i, word in enumerate(tokenizer.tokens)]
    made = pieces.table(words, data.minn, data.maxn, data.bucket, known)
    found = word2vec.study(tokenizer, data, counted)
    return {**found, "codes": 1 - found["codes"], "pieces": made}


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Any, data: Data, studied: Any = None) -> Tree:
    """word2vec's, and the words' n-grams."""
    batch = word2vec.corrupt(rows, rng, vocabulary, data, studied)
    found = np.where(batch["attention_mask"], studied["pieces"][:, batch["input_ids"]], pieces.IGNORED)
    return {**batch, "pieces": np.ascontiguousarray(found.swapaxes(0, 1))}


# ---- Published names -------------------------------------------------------------------------------------------------
MODEL_TYPE = "fasttext"
PREFIX = "wv."
VARIANTS = (*word2vec.VARIANTS, "spellings", "word_ngrams")


def architectures(config: Config) -> dict[str, tuple[str, ...]]:
    return {"FastText": tuple(term.part for term in terms(config).values()), "FastTextKeyedVectors": ()}


def names(config: Config) -> list[tuple[str, str, str]]:
    """(path, published name, bijection) of every parameter, as gensim's FastText has them."""
    own = [("embeddings.word.weight", "wv.vectors_vocab", "identity"),
           ("embeddings.piece.weight", "wv.vectors_ngrams", "identity")]  # fmt: skip
    return [*own, *(row for row in word2vec.names(config) if row[1] != "wv.vectors")]


def activations(config: Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    head = [row for row in word2vec.activations(config) if row[3] == "head"]
    context = [] if config.sg else [("context", "encode.context", "", "layer 0")]
    read = {"wv.vectors_vocab": "word", "wv.vectors_ngrams": "piece"}
    own = [(name, f"encode.spelt.{path}", "", "embeddings") for name, path in read.items()]
    return [*own, ("wv", "encode.spelt", "", "embeddings"), *context, *head]
