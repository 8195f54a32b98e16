"""RoBERTa: A Robustly Optimized BERT Pretraining Approach.

Liu, Ott, Goyal, Du, Joshi, Chen, Levy, Lewis, Zettlemoyer, Stoyanov, 2019, arXiv 1907.11692. Released code:
facebookresearch/fairseq (`models/roberta`, `tasks/masked_lm.py`, `criterions/masked_lm.py`).

BERT except (1), (2), (9), (12) and the data; the numbers of `families.bert` with one more in front.

    positions    t_i = pad + Σ_{j ≤ i} [x_j ≠ pad] where x_i ≠ pad, else pad: padding does not count                 (1)
    embeddings   h⁰ = Drop(LN(E_word[x] + E_position[t] + E_type[0])), one row in E_type                             (2)
    layers       BERT's (2)-(6): attention, post-norm, feed-forward, post-norm                                   (3)-(7)
    pooler       r = tanh(h^L[<s>] W_rᵀ + b_r), nothing trains it but (11)                                           (8)
    LM head      z = LN(gelu(h^L[m] W_zᵀ + b_z)) E_wordᵀ + b_V at the masked positions m, always by erf              (9)
    MLM loss     L₁ = Σ w·(-log softmax(z)[label]) / Σ w                                                            (10)
    NSP loss     L₂ = mean of -log softmax(r W_nᵀ + b_n)[label], in the ablations that keep it: `next_sentence`     (11)
    objective    L = L₁, or L₁ + L₂                                                                                 (12)

Where the release deviates from the paper or ports from the release, and what is done here:
- the tables of words and positions have a padding row without look-up gradient, in the release and in ports; the
  position table's therefore has none at all. `pad_row_gradient` trains both.
- the release zeroes the embeddings of padding, which nothing attends to; ports don't, nor is it done here.
- (9): in the release the head takes the layers' activation; ports have gelu there, and so has this file. Published
  models have gelu in both.
- the paper's table of formats has two with (11), of which the release has no code; (8) and (11) are BERT's here.
- masking takes <s> and </s> too, as the release does (`corruption.rules.roberta`).
- masks are drawn whenever a row is served; `--masking static` draws them once for ten copies, the paper's baseline.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, options
from minibert.config import require, shown
from minibert.corruption import masking, rules
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, inherited
from minibert.objective import Term
from minibert.options import option
from minibert.summaries import Summary

KIN = "bert"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(bert.Config):
    """RoBERTa-base as released: BERT's fields with other defaults, and one variant more."""

    vocab_size: int = 50265
    max_position_embeddings: int = 514  # 512 tokens: rows 0 and 1 are no token's
    type_vocab_size: int = 1
    layer_norm_eps: float = 1e-5
    pad_token_id: int = 1
    # variants
    next_sentence: bool = False  # True: pooler and NSP head, for SEGMENT-PAIR and SENTENCE-PAIR

    def __post_init__(self) -> None:
        super().__post_init__()
        rows, least = self.max_position_embeddings, self.pad_token_id + 2
        require(rows >= least, f"config field 'max_position_embeddings' is {rows}; allowed: {least} or more, "
                f"for one token beyond pad_token_id {self.pad_token_id}")  # fmt: skip


PRESETS = bert.PRESETS  # base and large: the paper, section 3; smaller ones were not released

PROBE = {**bert.PROBE, "max_position_embeddings": 15, "type_vocab_size": 2, "next_sentence": True}


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """BERT's batch of every kind of trouble (`bert.example`), where the padding id inside a row holds its position."""
    dims = {**bert.DIMS, **(dims or {})}
    batch = bert.example(rng, config, {**dims, "T": min(dims["T"], _room(config))})
    batch["dropout"] = {_published(name): keep for name, keep in batch["dropout"].items()}
    return {name: value for name, value in batch.items() if name != "next_sentence_labels" or config.next_sentence}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """BERT's, under the names of the published dropout modules."""
    return {_published(name): place for name, place in bert.dropouts(config, dims).items()}


# ---- Encoder ---------------------------------------------------------------------------------------------------------
LAYERS = "roberta.encoder.layer."


def lengths(config: Config) -> dict[str, tuple[str, int]]:
    """As `bert.lengths`: the first rows of the position table are no token's."""
    return {"T": ("attention_mask", _room(config))}


def _room(config: Config) -> int:
    return config.max_position_embeddings - config.pad_token_id - 1


def positions(ids: Array, pad: int) -> Array:
    """(1) of ids (B, T): the padding id plus the number of other tokens so far; padding keeps its id."""
    counted = ids != pad
    return counted.cumsum(1) * counted + pad


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(8): outputs by name, and the cache; as `bert.encode`."""
    ids = inputs["input_ids"]
    require(
        ids.shape[1] <= _room(config),
        f"input_ids: {ids.shape[1]} tokens a row, but max_position_embeddings is {config.max_position_embeddings}, "
        f"of which {_room(config)} are for tokens; truncate",
    )
    own = {"positions": positions(ids, config.pad_token_id), "frozen": ("word", "position")}  # (1)
    c: Tree = {}
    h, c["embeddings"] = bert.embedded(p["embeddings"], config, inputs, PREFIX, **own)  # (2)
    given = {"mask": inputs.get("attention_mask"), "dropout": inputs.get("dropout") or {}}
    hidden, c["encoder"] = layers.encoder(h, p["encoder"], config, **given, prefix=LAYERS, keep=keep)  # (3)-(7)
    out = layers.states(hidden, c["encoder"], keep)
    if "pooler" in p:
        out["pooler_output"], c["pooler"] = layers.pooler(hidden[-1], p["pooler"])  # (8)
    return out, c


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(12): L₁, or L₁ + L₂."""
    both = bert.terms(config)
    masked_lm = bert.masked_lm_term(config, config.hidden_size, "gelu")  # (9), (10)
    return {**both, "masked_lm": masked_lm} if config.next_sentence else {"masked_lm": masked_lm}  # (11)


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for a text: the state of <s> behind a layer of the head's own; of one of several the pooled state."""
    names = {"dense": "classifier.dense", "head": "classifier.out_proj"}
    own = Summary(at="first", act="tanh", **names, dropped=("classifier.dropout", "classifier.dropout@1"))
    return {"text": own, "choice": Summary("pooler_output")}


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "byte_level"
# the release's optimizer: no clipping, decay of everything; duplicates matter to masks drawn once (section 4.1)
DEFAULTS: Tree = {
    "masking": "dynamic",
    "duplicates": 10,
    "lowercase": False,
    "optimizer": "roberta_adam",
    "schedule": "linear",
    "weight_decay": 0.01,
    "clip_norm": 1e9,
}
FORMATS = ("full-sentences", "doc-sentences", "segment-pair", "sentence-pair")  # section 4.2; "pair": with NSP


@dataclass(frozen=True)
class Data(options.Pairs):
    """What the data functions ask for."""

    format: str = option("full-sentences", "make rows of text in this way (section 4.2); pairs: with next sentence",
                         among=FORMATS)  # fmt: skip


def fields(data: Data, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given, and what the rows ask for."""
    paired, pad = data.format.endswith("pair"), given.get("pad_token_id", Config.pad_token_id)
    fits = given.get("next_sentence", paired) == paired
    require(fits, f"config field 'next_sentence' is {shown(given.get('next_sentence'))}; the rows that are made in the "
            f"format {data.format} need {paired}")  # fmt: skip
    room = {"max_position_embeddings": data.seq_length + pad + 1} if type(pad) is int else {}
    return {**room, **given, "next_sentence": paired}


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, marked: Any = None) -> Tree:
    """Rows in one of the FORMATS (section 4.2), nothing masked yet; segments are 0, with </s></s> between those of a
    pair."""
    size = (data.seq_length, data.duplicates)
    if data.format == "segment-pair":
        size = (data.seq_length, data.short_rate, data.duplicates)
        return makers.pairs(documents, rng, vocabulary, *size, layout="roberta")
    made = {
        "full-sentences": makers.full_sentences,
        "doc-sentences": makers.doc_sentences,
        "sentence-pair": makers.sentence_pair_rows,
    }
    return made[data.format](documents, rng, vocabulary, *size)


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, studied: Any = None) -> Tree:
    """These rows freshly masked (section 4.1; `rules.roberta`), with their targets."""
    ids = rows["input_ids"]
    slots = data.max_predictions or math.ceil(data.rate * ids.shape[1])
    made = rules.roberta(ids, rows["input_mask"], rng, vocabulary, rate=data.rate, cap=slots)
    return {**rows, "input_ids": made.ids, **masking.targets(ids, made.chosen, slots)}


# ---- Published names -------------------------------------------------------------------------------------------------
MODEL_TYPE = "roberta"
PREFIX = "roberta."
VARIANTS = (*bert.VARIANTS, "next_sentence")
SAID: dict[str, Any] = {}  # positions are counted from pad_token_id: -1 would be other mathematics
RENAMED = {
    "bert.": PREFIX,
    "cls.predictions.transform.dense": "lm_head.dense",
    "cls.predictions.transform.LayerNorm": "lm_head.layer_norm",
    "cls.predictions.transform": "lm_head.layer_norm",
    "cls.predictions": "lm_head",
}


def architectures(config: Config) -> dict[str, tuple[str, ...]]:
    """NSP has no published class: a model that was trained with it is one for masked LM with parts to spare."""
    return {"RobertaModel": ("pooler",), "RobertaForMaskedLM": ("mlm", "pooler", "nsp")}


def _published(name: str) -> str:
    """BERT's published name as RoBERTa's."""
    start = next((start for start in RENAMED if name.startswith(start)), "")
    return RENAMED.get(start, "") + name[len(start) :]


def names(config: Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter: BERT's table, renamed."""
    rows = [(path, _published(name), bijection) for path, name, bijection in bert.names(config)]
    return [row for row in rows if config.next_sentence or not row[0].startswith("nsp.")]


def activations(config: Config) -> list[tuple[str, str, str, str]]:
    """BERT's table, renamed; the positions differ by row here."""
    return [(_published(name), path, kind.replace("shared", ""), place)
            for name, path, kind, place in bert.activations(config)]  # fmt: skip


def aliases(config: Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    return {_published(alias): _published(name) for alias, name in bert.aliases(config).items()}


def unused(config: Config) -> tuple[str, ...]:
    """Names in published files that no equation reads."""
    return tuple(_published(name) for name in bert.unused(config))
