"""ChineseBERT: Chinese Pretraining Enhanced by Glyph and Pinyin Information.

Sun, Li, Sun, Meng, Ao, He, Wu, Li, 2021, arXiv 2106.16038. Released code: ShannonAI/ChineseBert (`models/`,
`datasets/`; no pre-training).

BERT except (1), (7), (10), (11):

    pinyin       s[t] = max over i of W_s [E_letter[a_ti]; E_letter[a_t,i+1]] + b_s, a_t the 8 letters of a token  (12)
    glyph        d[t] = W_d G[x] + b_d, G[x] a token's pixels in three fonts, 3·24·24; they are trained, too       (13)
    fusion       f[t] = W_f [E_word[x]; s; d] + b_f                                                                (14)
    embeddings   h⁰ = Drop(LN(f + E_position[t] (+ E_type[s])))                                                    (15)
    objective    L = L₁ of (9) alone                                                                               (16)

Where paper and release differ, or leave something open, and what is done here:
- the paper drops the segments, the release adds them: `use_segments`, on unless a configuration says otherwise.
- `use_pinyin`, `use_glyphs`: without one (14) has less to read, without both there is no (14) and (15) is BERT's (1).
- letters that fill up are letters like any (0); the figures show [word; glyph; pinyin], the release has (14)'s order.
- a model made from a configuration has drawn numbers for pixels, as the release's; `pretrain --fonts` begins with
  images, of 0 to 1, of fonts that are handed in or Debian's: the paper's are not free.
- the release reads letters by pypinyin: of several readings the one in the words around.

Data: whole words in 90 % of the rows, single characters in the others; 90 % of the rows are packed with consecutive
sentences, the others hold one. A masked token's letters are blank, or they would give it away; a random token comes
with its own, one that stays keeps them. The paper does not say so.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, ops, options
from minibert.config import require, size
from minibert.corruption import masking, rules, segmentation, units
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, inherited
from minibert.objective import Term
from minibert.options import option
from minibert.pairs import block, block_backward
from minibert.tokenizers import glyphs, pinyin

KIN = "bert"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(bert.Config):
    """ChineseBERT-base as released; its own numbers stand in no file of it, but in the shapes of its tensors."""

    vocab_size: int = size(23236)
    use_segments: bool = True
    use_pinyin: bool = True
    use_glyphs: bool = True
    pinyin_letters: int = size(len(pinyin.LETTERS))
    pinyin_length: int = size(pinyin.LENGTH, 256)
    pinyin_width: int = size(128, bert.WIDE)
    glyph_fonts: int = size(3, 64)
    glyph_size: int = size(24, 256)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.pinyin_length > 1, f"config field 'pinyin_length' is {self.pinyin_length}; allowed: 2 or more")


PRESETS = {"base": bert.PRESETS["base"], "large": bert.PRESETS["large"], "tiny": bert.PRESETS["tiny"]}
PROBE = {**bert.PROBE, "pinyin_letters": 6, "pinyin_length": 4, "pinyin_width": 3, "glyph_fonts": 2, "glyph_size": 2}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """BERT's, and those of (12)-(14)."""
    made, d, pixels = bert.shapes(config), config.hidden_size, config.glyph_fonts * config.glyph_size**2
    tables = dict(made["embeddings"])
    if not config.use_segments:
        del tables["token_type"]
    if config.use_pinyin:
        letter = {"weight": (config.pinyin_letters, config.pinyin_width)}
        tables["pinyin"] = {"letter": letter, "conv": {"weight": (d, config.pinyin_width, 2), "bias": (d,)}}
    if config.use_glyphs:
        image = {"weight": (config.vocab_size, pixels)}
        tables["glyph"] = {"image": image, "map": {"weight": (d, pixels), "bias": (d,)}}
    if parts := config.use_pinyin + config.use_glyphs:
        tables["fusion"] = {"weight": (d, (1 + parts) * d), "bias": (d,)}
    return {**made, "embeddings": tables}


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """BERT's without labels of pairs; letters at random, none for the first token and padding."""
    batch = bert.example(rng, config, dims)
    del batch["next_sentence_labels"]
    if config.use_pinyin:
        ids, there = batch["input_ids"], batch["input_mask"].astype(bool)
        there[:, 0] = False
        letters = rng.integers(0, config.pinyin_letters, (*ids.shape, config.pinyin_length))
        batch["pinyin_ids"] = np.where(there[..., None], letters, 0)
    return batch


# ---- Encoder ---------------------------------------------------------------------------------------------------------
def inputs(config: Config) -> dict[str, str]:
    """BERT's, and the letters of each token, which a model without `use_pinyin` does not read."""
    letters = f"(B,T,{config.pinyin_length})<pinyin_letters"
    return {**bert.inputs(config), "pinyin_ids": letters if config.use_pinyin else f"?{letters}"}


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(12)-(15), (2)-(7): outputs by name, and the cache; as `bert.encode`."""
    c: Tree = {}
    ids, types, length = inputs["input_ids"], inputs.get("token_type_ids"), inputs["input_ids"].shape[1]
    most, dropped = config.max_position_embeddings, inputs.get("dropout") or {}
    require(length <= most, f"input_ids: {length} tokens a row, but max_position_embeddings is {most}; truncate")
    h, c["embeddings"] = fused_embeddings(
        p["embeddings"],
        ids=ids,
        letters=inputs.get("pinyin_ids"),
        positions=inputs.get("position_ids", np.arange(length)),
        types=np.zeros_like(ids) if types is None else types,
        frozen=None if config.pad_row_gradient else config.pad_token_id,
        eps=config.layer_norm_eps,
        keep=dropped.get("bert.embeddings.dropout"),
        rate=config.hidden_dropout_prob,
    )  # (15)
    given = {"mask": inputs.get("attention_mask"), "dropout": dropped, "prefix": bert.LAYERS, "keep": keep}
    hidden, c["encoder"] = layers.encoder(h, p["encoder"], config, **given)  # (2)-(6)
    out = layers.states(hidden, c["encoder"], keep)
    if "pooler" in p:
        out["pooler_output"], c["pooler"] = layers.pooler(hidden[-1], p["pooler"])  # (7)
    return out, c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree; as `bert.encode_backward`."""
    g: Tree = {}
    dh = dout["last_hidden_state"]
    if "pooler" in c:
        dh_pooler, g["pooler"] = layers.pooler_backward(dout["pooler_output"], c["pooler"])  # (7)
        dh = dh + dh_pooler
    dh, encoder = layers.encoder_backward(dh, c["encoder"], dout.get("hidden_states"))  # (6)-(2)
    return {"embeddings": fused_embeddings_backward(dh, c["embeddings"]), "encoder": encoder, **g}  # (15)


@block
def pinyin_encoder(p: Tree, *, letters: Array) -> tuple[Array, Tree]:
    """(12): (B, T, D) of letters (B, T, N); p: letter (table), conv (weight (D, E, 2), bias)."""
    c: Tree = {"rows": letters.shape[:2]}
    e, c["letter"] = ops.embedding(**p["letter"], ids=letters)
    windows, c["conv"] = ops.convolution(e.reshape(-1, *e.shape[2:]), **p["conv"])
    s, c["max"] = ops.max_over_time(windows)
    return s.reshape(*letters.shape[:2], -1), c


@block_backward
def pinyin_encoder_backward(dy: Array, c: Tree) -> Tree:
    dwindows = ops.max_over_time_backward(dy.reshape(-1, dy.shape[-1]), c["max"])
    de, conv = ops.convolution_backward(dwindows, c["conv"])
    return {"letter": ops.embedding_backward(de.reshape(*c["rows"], *de.shape[1:]), c["letter"]), "conv": conv}


@block
def fused_embeddings(
    p: Tree, *, ids: Array, letters: Array | None, positions: Array, types: Array, frozen: int | None, eps: float,
    keep: Array | None, rate: float,
) -> tuple[Array, Tree]:  # fmt: skip
    """(13)-(15), of the parts that p has: (B, T, D) of ids and types (B, T), letters (B, T, N), positions (T,) or
    (B, T). frozen: the row of the word table that gets no look-up gradient.
    """
    c: Tree = {"tables": {}}
    word, c["tables"]["word"] = ops.embedding(**p["word"], ids=ids, padding_idx=frozen)
    parts = [word]
    if "pinyin" in p:
        s, c["pinyin"] = pinyin_encoder(p["pinyin"], letters=letters)  # (12)
        parts.append(s)
    if "glyph" in p:
        image, c["tables"]["image"] = ops.embedding(**p["glyph"]["image"], ids=ids)
        d, c["glyph"] = ops.linear(image, **p["glyph"]["map"])  # (13)
        parts.append(d)
    h = word
    if "fusion" in p:
        h, c["fusion"] = ops.linear(np.concatenate(parts, axis=-1), **p["fusion"])  # (14)
    for name, table_ids in {"position": positions, "token_type": types}.items():
        if name in p:
            e, c["tables"][name] = ops.embedding(**p[name], ids=table_ids)
            h = h + e
    h, c["norm"] = ops.layer_norm(h, **p["norm"], eps=eps)
    y, c["dropout"] = ops.dropout(h, keep=keep, rate=rate)
    return y, c


@block_backward
def fused_embeddings_backward(dy: Array, c: Tree) -> Tree:
    g: Tree = {}
    dh, g["norm"] = ops.layer_norm_backward(ops.dropout_backward(dy, c["dropout"]), c["norm"])
    for name in ("position", "token_type"):
        if name in c["tables"]:
            shared = c["tables"][name]["ids"].ndim == 1  # broadcast over the batch in the forward
            g[name] = ops.embedding_backward(dh.sum(0) if shared else dh, c["tables"][name])
    parts = [dh]
    if "fusion" in c:
        dparts, g["fusion"] = ops.linear_backward(dh, c["fusion"])
        parts = [np.ascontiguousarray(d) for d in np.split(dparts, dparts.shape[-1] // dh.shape[-1], axis=-1)]
    if "glyph" in c:
        dimage, to = ops.linear_backward(parts.pop(), c["glyph"])
        g["glyph"] = {"image": ops.embedding_backward(dimage, c["tables"]["image"]), "map": to}
    if "pinyin" in c:
        g["pinyin"] = pinyin_encoder_backward(parts.pop(), c["pinyin"])
    return {**g, "word": ops.embedding_backward(parts.pop(), c["tables"]["word"])}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(16): L₁; the table of words alone is tied, neither letters nor pixels."""
    return {"masked_lm": bert.masked_lm_term(config, config.hidden_size, config.hidden_act)}  # (8), (9)


# ---- Data ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Data(options.Masked):
    """What the data functions ask for."""

    pinyin: str = option("", "read characters aloud by pypinyin, or as this file says; else there is no pinyin",
                         file=True)  # fmt: skip
    fonts: str = option("", "begin with glyphs of these fonts, files with commas between, or of debian's; else without")
    segmenter: str = option("", "find the words of unspaced text by jieba, or in a file of words", file=True)
    whole_words: float = option(0.9, "mask whole words in this share of the rows, else pieces", least=0, most=1)
    packed: float = option(0.9, "fill this share of the rows with sentences, the others have one", least=0, most=1)


def fields(data: Data, given: Tree) -> Tree:
    """The config fields for rows that these options make: pinyin and glyphs where they are asked for."""
    own = {"use_pinyin": bool(data.pinyin), "use_glyphs": bool(data.fonts)}
    return {"max_position_embeddings": data.seq_length, **own, **given}


def study(tokenizer: Any, data: Data, counted: Callable) -> Array | None:
    """(V, N) the letters of each token by itself, for those that come in at random."""
    if not data.pinyin:
        return None
    read = pinyin.reader(data.pinyin)
    return np.concatenate([pinyin.of_tokens([token], read) for token in tokenizer.tokens])


def begun(model: Any, data: Data, studied: Any) -> None:
    """A new model's pixels are images of its vocabulary; the letters' file is kept beside it."""
    if data.fonts and model.config.use_glyphs:
        images = glyphs.table(model.tokenizer.tokens, data.fonts, model.config.glyph_size)
        weight = model.params["embeddings"]["glyph"]["image"]["weight"]
        wanted = f"{data.fonts} gives {images.shape[1]} pixels, the model has {weight.shape[1]}: change glyph_fonts"
        require(images.shape[1] == weight.shape[1], wanted)
        weight[: len(images)] = images
    if data.pinyin:
        model.beside[pinyin.FILE] = pinyin.mapped()


def mark(tokenizer: Any, data: Data, texts: list, documents: list) -> Tree:
    """What is handed in: "starts", where the segmenter's words start, "letters" of each token in its sentence."""
    marked: Tree = {}
    if data.segmenter:
        segmenter = segmentation.segmenter(data.segmenter)
        marked["starts"] = segmentation.starts(documents, texts, tokenizer.tokens, segmenter)
    if data.pinyin:
        read = pinyin.reader(data.pinyin)
        spoken = [pinyin.of_tokens([tokenizer.tokens[i] for i in ids], read) for d in documents for ids in d]
        marked["letters"] = np.concatenate(spoken)
    return marked


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, marked: Any = None) -> Tree:
    """[CLS] sentences [SEP], packed or single, with "starts" and "pinyin_ids" as they are marked; nothing masked yet.

    The rows are made of places in the text, which all that belongs to a token follows.
    """
    marked, text = marked or {}, _flat(documents)
    places = itertools.count(vocabulary.size)
    numbers = [[[next(places) for _ in sentence] for sentence in document] for document in documents]
    placed = _packed(numbers, rng, vocabulary._replace(size=vocabulary.size + len(text)), data)
    at = placed["input_ids"] - vocabulary.size
    made = {**placed, "input_ids": np.where(at < 0, placed["input_ids"], text[at]).astype(np.int32)}
    if "starts" in marked:
        made["starts"] = np.where(at < 0, 1, _flat(marked["starts"])[at])
    if "letters" in marked:
        made["pinyin_ids"] = np.where(at[..., None] < 0, 0, marked["letters"][at]).astype(np.int32)
    return made


def _flat(documents: list) -> Array:
    return np.array([i for document in documents for sentence in document for i in sentence], np.int32)


def _packed(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data) -> Tree:
    """Rows of which so many are packed, and the others, drawn from all there are, hold one sentence each."""
    given = (rng, vocabulary, data.seq_length, data.duplicates)
    packed = makers.single_sequence(documents, *given)
    if data.packed == 1:
        return packed
    single = makers.single_sequence([[sentence] for document in documents for sentence in document], *given)
    have, wanted = len(single["input_ids"]), len(packed["input_ids"]) * (1 - data.packed) / max(data.packed, 1e-9)
    kept = np.sort(rng.permutation(have)[: max(1, round(min(wanted, have)))])
    all_rows = [single] if data.packed == 0 else [packed, {name: field[kept] for name, field in single.items()}]
    return {name: np.concatenate([each[name] for each in all_rows]) for name in packed}


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, studied: Any = None) -> Tree:
    """These rows freshly masked, by whole words or by pieces; letters follow what stands in a place now."""
    ids = rows["input_ids"]
    words = rng.random((len(ids), 1)) < data.whole_words
    starts = ~words | units.word_starts(ids, vocabulary, rows.get("starts"))
    made = rules.whole_word(ids, rows["input_mask"], rng, vocabulary, rate=data.rate, cap=data.slots, starts=starts)
    batch = {"input_ids": made.ids, "input_mask": rows["input_mask"], "segment_ids": rows["segment_ids"]}
    if "pinyin_ids" in rows:
        new = (made.ids != ids)[..., None]
        batch["pinyin_ids"] = np.where(new, studied[made.ids], rows["pinyin_ids"]).astype(np.int32)
    return {**batch, **masking.targets(ids, made.chosen, data.slots)}


def read(encodings: list, pad: int | None) -> dict[str, Array]:
    """BERT's, and where pypinyin is installed the letters of each text's tokens."""
    inputs = bert.read(encodings, pad)
    try:
        reader = pinyin.reader(pinyin.PROGRAM)
    except pinyin.InputError:
        return inputs  # a model that reads letters asks for them
    letters = np.zeros((*inputs["input_ids"].shape, pinyin.LENGTH), np.int64)
    for b, encoding in enumerate(encodings):
        letters[b, : len(encoding.tokens)] = pinyin.of_tokens(encoding.tokens, reader)
    return {**inputs, "pinyin_ids": letters}
