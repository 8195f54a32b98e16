"""AMBERT: A Pre-trained Language Model with Multi-Grained Tokenization.

Zhang, Li, 2020, arXiv 2008.11869. No code was released.

    embeddings   h_x = Drop(LN(E_x[x] + E_position[t] + E_type[s])) of the fine tokens x, h_z of the coarse ones z by a
                 word table of their own, E_z; all other tables are shared                                       (12)
    encoders     BERT's (2)-(6) over h_x and over h_z, apart, by the same layers: r_x, r_z                        (13)
    fine MLM     BERT's (8), (9) of r_x over E_x: L₁                                                             (14)
    coarse MLM   the same of r_z over E_z, its own head: L₂                                                      (15)
    objective    L = L₁ + L₂                                                                                     (16)
    fine-tuning  L = CE(y | r_x0) + CE(y | r_z0) + CE(y | [r_x0; r_z0]) + λ‖ŷ_x - ŷ_z‖₂                           (17)

BERT except (12)-(17); without coarse tokens it is BERT's encoder and (14), bit for bit. Masks are nested: 15 % of the
coarse tokens are chosen, and with each of them all fine tokens within it, which get its treatment (`corrupt`).

`structure`, the paper's section 4: "shared"; "combo": two encoders that share nothing; "hybrid": one over both
sequences behind each other, so that every token attends to those of both grains.

Where the paper is silent, and what is done here:
- (16) is a sum over positions there; here each term is the mean over its own targets.
- types and positions of coarse tokens are those of their own sequence, from 0 on.
- coarse tokens are the pieces of the fine vocabulary, by the same ids, and behind them the most frequent words of
  several pieces, or phrases of several words (`--phrase`), which a text is cut into from the left, the longest first.
  The paper has words from a segmenter for Chinese, and for English phrases that an n-gram model finds to belong
  together.
- the masked fine tokens of one coarse token share its draw of 80/10/10.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, tree
from minibert.config import among, number, size
from minibert.corruption import grains, units
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, inherited, macbert
from minibert.heads import coarse_masked_lm, grained_classification
from minibert.objective import Term
from minibert.options import option

KIN = "bert"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]

STRUCTURES = ("shared", "combo", "hybrid")
COARSE = "coarse_"


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(bert.Config):
    """The Chinese base model of the paper."""

    vocab_size: int = 21128
    coarse_vocab_size: int = size(72635)
    structure: str = among("shared", STRUCTURES)
    coarse_weight: float = number(1.0, 0, 1e6)  # of (15)
    num_classes: int = size(2)  # of (17)
    agreement: float = number(1.0, 0, 1e6)  # λ


PRESETS = {"base": {}, "english": {"vocab_size": 30522, "coarse_vocab_size": 77645}}
PROBE = {**bert.PROBE, "coarse_vocab_size": 23, "structure": "shared", "coarse_weight": 0.7, "num_classes": 3,
         "agreement": 0.8}  # fmt: skip
DIMS = {**bert.DIMS, "S": 5}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (12), (13)."""
    own = {part: shape for part, shape in bert.shapes(config).items() if part != "pooler"}
    word = {"word": {"weight": (config.coarse_vocab_size, config.hidden_size)}}
    if config.structure == "combo":
        coarse = {**own["embeddings"], **word}
        return {**own, "coarse_embeddings": coarse, "coarse_encoder": own["encoder"]}
    return {**own, "coarse_embeddings": word}


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """BERT's example, and one of coarse tokens, with the labels of all terms."""
    dims = {**DIMS, **(dims or {})}
    fine = bert.example(rng, config, dims)
    most = min(dims["S"], config.max_position_embeddings)
    other = bert.example(rng, config, {**dims, "T": max(most, 4)})
    other = {name: other[name][:, :most] for name in ("input_ids", "input_mask", "segment_ids")}
    coarse = {"coarse_ids": rng.integers(1, config.coarse_vocab_size, other["input_ids"].shape),
              "coarse_attention_mask": other["input_mask"], "coarse_token_type_ids": other["segment_ids"]}  # fmt: skip
    coarse["coarse_ids"] = np.where(other["input_mask"], coarse["coarse_ids"], config.pad_token_id or 0)
    lengths = {"S": other["input_mask"].sum(1)}
    table = (config.coarse_vocab_size, config.hidden_size)
    labels = {**coarse_masked_lm.draw(rng, dims, lengths, table=table),
              **grained_classification.draw(rng, dims, lengths, classes=config.num_classes)}  # fmt: skip
    batch = {name: value for name, value in fine.items() if name not in ("dropout", "next_sentence_labels")}
    kept = dropouts(config, {"B": dims["B"], "T": fine["input_ids"].shape[1], "S": most})
    return {**batch, **coarse, **labels, "dropout": layers.keep_masks(rng, kept)}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """BERT's, of either encoder, the coarse one's behind "coarse_"; of the one that reads both of both lengths."""
    rows, lengths = dims["B"], {"": dims["T"], COARSE: dims["S"]}
    places = {}
    for grain, length in lengths.items():
        wide = (rows, length, config.hidden_size)
        places[f"{grain}bert.embeddings.dropout"] = (wide, config.hidden_dropout_prob)
        if config.structure != "hybrid":
            places |= layers.encoder_dropouts(config, f"{grain}{LAYERS}", rows, length)
    if config.structure == "hybrid":
        places |= layers.encoder_dropouts(config, LAYERS, rows, sum(lengths.values()))
    return places


# ---- Encoder ---------------------------------------------------------------------------------------------------------
LAYERS = bert.LAYERS


def inputs(config: Config) -> dict[str, str]:
    """BERT's, and those of the coarse tokens, without which there are only fine ones."""
    return {
        **bert.inputs(config),
        "coarse_ids": "?(B,S)<coarse_vocab_size",
        "coarse_attention_mask": "?(B,S)?",
        "coarse_token_type_ids": "?(B,S)<type_vocab_size",
    }


def outputs(config: Config) -> dict[str, str]:
    """The fine tokens', the coarse ones' last states, and the first state of both grains beside each other."""
    fine = {name: spec for name, spec in bert.outputs(config).items() if name != "pooler_output"}
    return {**fine, "coarse_last_hidden_state": "(B,S,hidden_size)", "first_states": f"(B,{2 * config.hidden_size})"}


OPTIONAL: Tree = {}


def lengths(config: Config) -> dict[str, tuple[str, int]]:
    """How long rows of either grain may be, and the inputs whose sums are how long each is."""
    most = config.max_position_embeddings
    return {"T": ("attention_mask", most), "S": ("coarse_attention_mask", most)}


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(12), (13): outputs by name, and the cache; hidden_states and attentions are those of the fine tokens, of the
    structure "hybrid" without attentions.
    """
    c: Tree = {"structure": config.structure}
    dropped = inputs.get("dropout") or {}
    h, c["embeddings"] = bert.embedded(p["embeddings"], config, inputs, "bert.")  # (12)
    given, mask = {"dropout": dropped, "keep": keep}, inputs.get("attention_mask")
    if "coarse_ids" not in inputs:
        c["silent"] = {part: p[part] for part in ("coarse_embeddings", "coarse_encoder") if part in p}
        hidden, c["encoder"] = layers.encoder(h, p["encoder"], config, mask=mask, prefix=LAYERS, **given)
        return layers.states(hidden, c["encoder"], keep), c
    other, c["coarse_embeddings"] = _coarse(p, config, inputs, dropped)
    masks = {"": mask, COARSE: inputs.get("coarse_attention_mask")}
    if config.structure == "hybrid":
        grains = zip((h, other), masks.values(), strict=True)
        seen = [np.ones(x.shape[:2], np.int64) if mask is None else mask for x, mask in grains]
        both, length = np.concatenate([h, other], 1), h.shape[1]
        hidden, c["encoder"] = layers.encoder(
            both, p["encoder"], config, mask=np.concatenate(seen, 1), prefix=LAYERS, **given
        )  # (13)
        out = {"hidden_states": [np.ascontiguousarray(x[:, :length]) for x in hidden]}
        out["last_hidden_state"], coarse = out["hidden_states"][-1], np.ascontiguousarray(hidden[-1][:, length:])
        c["length"] = length
    else:
        hidden, c["encoder"] = layers.encoder(h, p["encoder"], config, mask=mask, prefix=LAYERS, **given)
        own = p["coarse_encoder" if config.structure == "combo" else "encoder"]
        kept = {"mask": masks[COARSE], "prefix": f"{COARSE}{LAYERS}", "dropout": dropped}
        last, c["coarse_encoder"] = layers.encoder(other, own, config, **kept, keep=keep)
        out, coarse = layers.states(hidden, c["encoder"], keep), last[-1]
    first = np.concatenate([out["last_hidden_state"][:, 0], coarse[:, 0]], 1)
    return {**out, "coarse_last_hidden_state": coarse, "first_states": first}, c


def _coarse(p: Tree, config: Config, inputs: Tree, dropped: Tree) -> tuple[Array, Tree]:
    """(12) of the coarse tokens."""
    given = {"input_ids": inputs["coarse_ids"], "dropout": {
        "bert.embeddings.dropout": dropped.get(f"{COARSE}bert.embeddings.dropout")}}  # fmt: skip
    if "coarse_token_type_ids" in inputs:
        given["token_type_ids"] = inputs["coarse_token_type_ids"]
    return bert.embedded({**p["embeddings"], **p["coarse_embeddings"]}, config, given, "bert.")


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (12), (13): shared parts get the sum of both grains' gradients."""
    dh, dhidden = dout["last_hidden_state"], dout.get("hidden_states")
    if "coarse_embeddings" not in c:
        dh, encoder = layers.encoder_backward(dh, c["encoder"], dhidden)
        own = {"embeddings": layers.embeddings_backward(dh, c["embeddings"]), "encoder": encoder}
        return {**own, **tree.zeros_like(c["silent"])}
    dcoarse, dfirst = dout["coarse_last_hidden_state"].copy(), dout["first_states"]
    dh, width = dh.copy(), dh.shape[-1]
    dh[:, 0] += dfirst[:, :width]
    dcoarse[:, 0] += dfirst[:, width:]
    g: Tree = {}
    if c["structure"] == "hybrid":
        wider = None
        if dhidden is not None:
            wider = [np.concatenate([d, np.zeros_like(dcoarse)], 1) for d in dhidden]
        both, g["encoder"] = layers.encoder_backward(np.concatenate([dh, dcoarse], 1), c["encoder"], wider)
        dh, dcoarse = (np.ascontiguousarray(d) for d in np.split(both, [c["length"]], 1))
    else:
        dh, g["encoder"] = layers.encoder_backward(dh, c["encoder"], dhidden)
        dcoarse, own = layers.encoder_backward(dcoarse, c["coarse_encoder"])
        if c["structure"] == "combo":
            g["coarse_encoder"] = own
        else:
            g["encoder"] = tree.add(g["encoder"], own)
    g["embeddings"] = layers.embeddings_backward(dh, c["embeddings"])
    coarse = layers.embeddings_backward(dcoarse, c["coarse_embeddings"])
    if c["structure"] == "combo":
        return {**g, "coarse_embeddings": coarse}
    g["coarse_embeddings"] = {"word": coarse.pop("word")}
    shared = {name: tree.add(g["embeddings"][name], coarse[name]) for name in coarse}
    return {**g, "embeddings": {**g["embeddings"], **shared}}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(16), or (17): what a batch has labels of."""
    fine = bert.masked_lm_term(config, config.hidden_size, config.hidden_act)._replace(optional=True)  # (14)
    tied = config.tie_word_embeddings
    coarse = fine._replace(
        head=coarse_masked_lm,
        part="coarse_mlm",
        reads="coarse_last_hidden_state",
        sizes={**fine.sizes, "table": (config.coarse_vocab_size, config.hidden_size)},
        table="coarse_embeddings.word.weight" if tied else "coarse_mlm.decoder.weight",
        weight=config.coarse_weight,
    )  # (15)
    sizes = {"width": config.hidden_size, "classes": config.num_classes}
    both = {"reads": "first_states", "sizes": sizes, "constants": {"agreement": config.agreement}, "optional": True}
    return {
        "masked_lm": fine,
        "coarse_masked_lm": coarse,
        "classification": Term(grained_classification, "classifier", **both),  # (17)
    }


def weights(config: Config) -> dict[str, float]:
    """Of each term in (16), (17)."""
    return {name: term.weight for name, term in terms(config).items()}


# ---- Data ------------------------------------------------------------------------------------------------------------
DEFAULTS: Tree = {"masking": "static", "steps": 2000, "duplicates": 3}


@dataclass(frozen=True)
class Data(bert.Data):
    """What the data functions ask for."""

    coarse: int = option(2000, "let so many words or phrases of several pieces be coarse tokens", least=1, most=1 << 20)
    phrase: int = option(3, "let a coarse token be of so many words at most; 1: words alone", least=1, most=8)
    segmenter: str = option("", "find the words of unspaced text by jieba, or in a file of words", file=True)


def fields(data: Data, given: Tree) -> Tree:
    """The config fields for rows that these options make."""
    own = {"max_position_embeddings": data.seq_length, "coarse_vocab_size": data.vocab_size + data.coarse}
    return {**own, **given}


mark = macbert.mark


def study(tokenizer: Any, data: Data, counted: Callable) -> Tree:
    """The coarse tokens beside the pieces: ids by their pieces, the most frequent first, of equals by their pieces."""
    counts = counted(_phrases)
    chosen = sorted((phrase for phrase, n in counts.items() if n > 1), key=lambda phrase: (-counts[phrase], phrase))
    return {phrase: len(tokenizer) + i for i, phrase in enumerate(chosen[: data.coarse])}


def _phrases(tokenizer: Any, data: Data, texts: list) -> Counter:
    documents = [[tokenizer.ids(sentence) for sentence in document] for document in texts]
    starts = mark(tokenizer, data, texts, documents).get("starts")
    return grains.counts(documents, starts, tokenizer.continues, data.phrase, tokenizer.unk_id)


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, marked: Any = None) -> Tree:
    """[CLS] and consecutive sentences, [SEP]: fine tokens (`sequences.single_sequence`); nothing masked yet."""
    given = (documents, rng, vocabulary, data.seq_length, data.duplicates)
    return makers.single_sequence(*given, starts=(marked or {}).get("starts"))


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, studied: Any = None) -> Tree:
    """Both grains of these rows, 15 % of the coarse tokens masked, and what is within them (`grains.nested`)."""
    starts = units.word_starts(rows["input_ids"], vocabulary, rows.get("starts"))
    starts = starts & ~vocabulary.continues[rows["input_ids"]]
    return grains.nested(rows, starts, studied or {}, rng, vocabulary, rate=data.rate, slots=data.slots)


BESIDE = (grains.FILE,)


def begun(model: Any, data: Data, studied: Tree) -> None:
    """The coarse tokens behind the pieces, which a directory keeps."""
    model.beside[grains.FILE] = grains.written(studied, model.tokenizer.tokens)


def both(model: Any, encodings: list) -> Tree:
    """The inputs of encoded texts in both grains, by the coarse tokens that the model's directory keeps."""
    tokenizer = model.tokenizer
    known = grains.parsed(model.beside.get(grains.FILE, ""), tokenizer)
    read = bert.read(encodings, tokenizer.pad_id)
    starts = ~tokenizer.continues[read["input_ids"]]
    seen = read["attention_mask"]
    coarse, places = grains.of_rows(read["input_ids"], seen, starts, known, tokenizer.pad_id)
    most = places.max() + 1
    there = (np.arange(coarse.shape[1]) <= places.max(1)[:, None]).astype(np.int64)
    own = {"ids": coarse, "attention_mask": there, "token_type_ids": np.zeros_like(coarse)}
    return {**read, **{f"{COARSE}{name}": np.ascontiguousarray(a[:, :most]) for name, a in own.items()}}
