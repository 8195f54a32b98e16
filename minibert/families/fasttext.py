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
    images         of a character of a word e = W max over windows w of relu(K w + b) + b_D, one more row of (1)    (6)

N-grams are those of <word>, 3 to 6 characters; a row is chosen by a hash (`corruption.pieces`). Data.components: of
Chinese characters their components. Data.fonts: (6), a small convolution over images of a word's Chinese characters
(`vision.image_vectors`), whose pixels are trained, too, as ChineseBERT's.

Where release and paper differ, and what is done here:
- the paper scores with the sum of the rows, the release with their mean (1).
- the release adds the whole gradient of the mean to each row (`undivided`, see word2vec), but in its classifier.
- a drawn word that is the pair's own is drawn again in the release: here the others count so much more.
- in its tree code 1 is σ(z), where word2vec has code 0.
- (6) is not of the release; all words share K and W, where a step of each pair's own is too long: take --optimizer
  adamw --learning-rate 0.001 with it.
- the release's classifier (arXiv 1607.01759) is this network with a head of a task: `minibert finetune classify
  fasttext --train FILE`; of a word that is unknown it reads the n-grams, here nothing, and </s> at the end of a line.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import kernels, ops, vision
from minibert.config import number, require, size
from minibert.corruption import pieces, windows
from minibert.families import inherited, word2vec
from minibert.objective import Term
from minibert.options import option
from minibert.pairs import block, block_backward
from minibert.summaries import Summary
from minibert.tokenizers import glyphs

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
    images: str = ""  # of the words, by lines: the characters whose images are seen (6)
    glyph_fonts: int = size(3, 64)
    glyph_size: int = size(12, 256)
    glyph_kernel: int = size(3, 256)
    glyph_filters: int = size(32)

    @property
    def characters(self) -> list[str]:
        """Those that have images, in the order of their rows."""
        return sorted({*self.images} - {"\n"})

    @property
    def parts(self) -> int:
        """How many rows there are of n-grams and, behind them, of images."""
        return self.bucket + len(self.characters)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.minn <= self.maxn, f"config field 'minn' is {self.minn}; allowed: at most maxn, {self.maxn}")
        unknown = self.unk_token_id
        fits = unknown is None or 0 <= unknown < self.vocab_size
        require(fits, f"config field 'unk_token_id' is {unknown}; allowed: a token id")
        most = f"at most glyph_size, {self.glyph_size}"
        fits = self.glyph_kernel <= self.glyph_size
        require(fits, f"config field 'glyph_kernel' is {self.glyph_kernel}; allowed: {most}")


PRESETS = {"small": {"vector_size": 100, "bucket": 200_000}, "base": {"vector_size": 300}}
PROBE = {**word2vec.PROBE, "minn": 2, "maxn": 4, "bucket": 17, "unk_token_id": 3,
         "spellings": "the\ncat", "word_ngrams": 2, "images": "\n林木\n林", "glyph_fonts": 2, "glyph_size": 4,
         "glyph_kernel": 2, "glyph_filters": 3}


# ---- Inputs, shapes --------------------------------------------------------------------------------------------------
def inputs(config: Config) -> dict[str, str]:
    """word2vec's, and the rows of each word's n-grams and images, -100 behind them."""
    return {**word2vec.inputs(config), "pieces": f"?(B,G,T)<{config.parts}|{pieces.IGNORED}"}


def outputs(config: Config) -> dict[str, str]:
    """word2vec's; text: (5), where no words are asked for."""
    return {**word2vec.outputs(config), "text": "(B,vector_size)"}


def shapes(config: Config) -> Tree:
    """The shape of every parameter: the one place where they are written."""
    width = config.vector_size
    rows = {"word": config.vocab_size, "piece": config.bucket}
    tables = {name: {"weight": (count, width)} for name, count in rows.items()}
    if config.images:
        filters, pixels = config.glyph_filters, config.glyph_fonts * config.glyph_size**2
        wide = config.glyph_fonts * config.glyph_kernel**2
        tables["glyph"] = {"image": {"weight": (len(config.characters), pixels)},
                           "filter": {"weight": (filters, wide), "bias": (filters,)},
                           "map": {"weight": (width, filters), "bias": (width,)}}  # fmt: skip
    return {"embeddings": tables}


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """Inputs uniform in ±1/D, outputs 0; of (6) filters so that what they see varies by 1, and W that by 1/D."""
    if path.startswith("embeddings.glyph"):
        wide = 3 / shape[-1] if "filter" in path else 3 / shape[-1] / config.vector_size**2
        scale = 0 if path.endswith("bias") else 1 if "image" in path else wide**0.5
        return scale * (rng.random(shape) if "image" in path else 2 * rng.random(shape) - 1)
    return (2 * rng.random(shape) - 1) / shape[1] if path.startswith("embeddings") else np.zeros(shape)


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """word2vec's; words of unequal numbers of n-grams, one of none, one that is unknown."""
    batch = word2vec.example(rng, config, dims)
    rows, length = batch["input_ids"].shape
    found = rng.integers(0, config.parts, (rows, (dims or {}).get("G", 3), length))
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


@block
def pictured(p: Tree, *, rows: Array, bucket: int, fonts: int, kernel: int) -> tuple[Array, Tree]:
    """(P, D): the rows of these parts (P,), in ascending order: of n-grams in the table, then, from `bucket` on, of
    images (6).
    """
    c: Tree = {}
    row, c["piece"] = ops.embedding(**p["piece"], ids=rows[None, rows < bucket])
    e, c["glyph"] = vision.image_vectors(p["glyph"], ids=rows[rows >= bucket] - bucket, fonts=fonts, kernel=kernel)
    return np.concatenate([row[0], e]), c


@block_backward
def pictured_backward(dy: Array, c: Tree) -> Tree:
    dpiece, dglyph = np.split(dy, [c["piece"]["ids"].size])
    return {"piece": ops.embedding_backward(dpiece[None], c["piece"]),
            "glyph": vision.image_vectors_backward(dglyph, c["glyph"])}  # fmt: skip


@functools.lru_cache(maxsize=4)
def _spelled(config: Config) -> tuple[Array, Array]:
    """(the rows (G, V) of each word's n-grams and images, the hash (V,) of each word)."""
    words, seen = (_lines(text, config.vocab_size) for text in (config.spellings, config.images))
    hashes = np.array([pieces.hashed(word) for word in words], np.int64)
    found = pieces.table(words, config.minn, config.maxn, config.bucket)
    return _beside(found, seen, config.characters, config.bucket), hashes


def _lines(text: str, count: int) -> list[str]:
    lines = text.split("\n")[:count]
    return lines + [""] * (count - len(lines))


def _beside(found: Array, words: Any, characters: list[str], bucket: int) -> Array:
    """The rows of n-grams of words, and those of their characters' images, where there are such."""
    return np.concatenate([found, pieces.images(words, characters, bucket)]) if characters else found


def parts(config: Config, inputs: Tree) -> Array:
    """(B, G, T): the rows of n-grams and images of each word, n-grams of words that begin there among them."""
    if "pieces" in inputs:  # whatever a batch says a word is made of
        return inputs["pieces"]
    ids = inputs["input_ids"]
    require(bool(config.spellings), "the batch lacks 'pieces', and the model does not know how its words are spelt")
    found = _spelled(config)[0][:, ids].swapaxes(0, 1)
    if config.word_ngrams > 1:
        there = inputs.get("attention_mask", np.ones_like(ids)) * (ids != config.unk_token_id)
        more = pieces.phrases(_spelled(config)[1][ids], there, config.word_ngrams, config.bucket)
        found = np.concatenate([found, more], 1)
    return found


def _seen(p: Tree, config: Config, ids: Array, found: Array) -> tuple[Array, Tree]:
    """(s (B, T, D), {"spelt": its cache, "pictures": that of (6), where there are images})."""
    unknown, c = config.unk_token_id, {}
    if not config.images:
        s, c["spelt"] = spelt(p, ids=ids, parts=found, unknown=unknown)  # (1)
        return s, c
    there = np.unique(found[found != pieces.IGNORED])
    there = there if len(there) else np.zeros(1, found.dtype)
    given = {"bucket": config.bucket, "fonts": config.glyph_fonts, "kernel": config.glyph_kernel}
    rows, c["pictures"] = pictured({name: p[name] for name in ("piece", "glyph")}, rows=there, **given)  # (6)
    places = np.where(found == pieces.IGNORED, found, np.searchsorted(there, found))
    tables = {"word": p["word"], "piece": {"weight": rows}}
    s, c["spelt"] = spelt(tables, ids=ids, parts=places, unknown=unknown)  # (1)
    return s, c


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(3): outputs by name, and the cache; nothing is recomputed, whatever `keep`."""
    ids, found = inputs["input_ids"], parts(config, inputs)
    s, c = _seen(p["embeddings"], config, ids, found)  # (1), (6)
    c["undivided"] = config.undivided
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
    g = spelt_backward(sum(parts[1:], start=parts[0]), c["spelt"])
    if "pictures" in c:
        g |= pictured_backward(g["piece"]["weight"], c["pictures"])
    return {"embeddings": g}


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
    return {"spellings": "\n".join(words), **({"images": "\n".join(_drawn(tokenizer))} if data.fonts else {})}


def _drawn(tokenizer: Any) -> list[str]:
    """Of each word the characters that are drawn."""
    words = ["" if i in tokenizer.special_ids else word for i, word in enumerate(tokenizer.tokens)]
    return ["".join(filter(glyphs.HAN.fullmatch, word)) for word in words]


def begun(model: Any, data: "Data", studied: Any) -> None:
    """A new model's pixels are images of its characters."""
    if model.config.images:
        weight = model.params["embeddings"]["glyph"]["image"]["weight"]
        weight[...] = glyphs.table(model.config.characters, data.fonts, model.config.glyph_size)


def touched(config: Config) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Tables of which a batch reads the rows in these fields alone; an id that means "unknown" must stay that id, and
    one that means an image, too.
    """
    return [] if config.images else [(("embeddings.piece.weight",), ("pieces",))]


# ---- Words -----------------------------------------------------------------------------------------------------------
def word_vectors(p: Tree, config: Config, words: list[str], ids: Any = None, known: Any = None) -> Array:
    """(1) of words, v (N, D); ids: their rows, None of words that are in no vocabulary; known: components."""
    found = pieces.table(words, config.minn, config.maxn, config.bucket, known)
    found = _beside(found, words, config.characters, config.bucket)
    ids = np.full(len(words), config.unk_token_id) if ids is None else np.asarray(ids)
    s, c = _seen(p["embeddings"], config, ids[None], found[None])
    return (s / c["spelt"]["rows"][..., None])[0]


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
    fonts: str = option("", "see the images of Chinese characters, too, in these fonts, files with commas between, or "
                        "debian's")  # fmt: skip


def fields(data: Data, given: Tree) -> Tree:
    own = {"glyph_fonts": len(glyphs.paths(data.fonts))} if data.fonts else {}
    own |= {name: getattr(data, name) for name in ("minn", "maxn", "bucket")}
    return {**word2vec.fields(data, given), **own}


def study(tokenizer: Any, data: Data, counted: Any) -> Tree:
    """word2vec's, and the rows of each word's n-grams and images."""
    known = pieces.components(data.components) if data.components else None
    words = ["" if i in tokenizer.special_ids else word for i, word in enumerate(tokenizer.tokens)]
    made = pieces.table(words, data.minn, data.maxn, data.bucket, known)
    seen = _drawn(tokenizer) if data.fonts else []
    made = _beside(made, seen, sorted({*"".join(seen)}), data.bucket)
    found = word2vec.study(tokenizer, data, counted)
    return {**found, "codes": 1 - found["codes"], "pieces": made}


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Any, data: Data, studied: Any = None) -> Tree:
    """word2vec's, and the words' n-grams."""
    batch = word2vec.corrupt(rows, rng, vocabulary, data, studied)
    found = np.where(batch["attention_mask"], studied["pieces"][:, batch["input_ids"]], pieces.IGNORED)
    return {**batch, "pieces": np.ascontiguousarray(found.swapaxes(0, 1))}
