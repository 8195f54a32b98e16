"""SpanBERT: Improving Pre-training by Representing and Predicting Spans.

Joshi, Chen, Liu, Weld, Zettlemoyer, Levy, 2019, arXiv 1907.10529. Released code: facebookresearch/SpanBERT
(`pretraining/fairseq`: `models/pair_bert.py`, `criterions/spanbert_loss.py`, `data/masking.py`).

BERT except (10), (11): there is no next-sentence prediction, and the pooler (7) is not trained. For each token x_i of a
masked span x_s … x_e, with the embedding p of its place i - s (the paper's index counts from 1, the table from 0):

    input        u⁰ = [h^L_{s-1}; h^L_{e+1}; p_{i-s}], of width 2D + 200                                       (12)
    two layers   u¹ = LN(act(u⁰ W₁ᵀ + b₁)), u² = LN(act(u¹ W₂ᵀ + b₂)), both of width D                         (13)
    SBO head     y = u² E_wordᵀ + b_S: the table of (1) and (8), another bias than (8)                         (14)
    SBO loss     L₃ = mean over the tokens of all spans of -log softmax(y)[x_i]                                (15)
    objective    L = L₁ + L₃                                                                                   (16)

Where the release deviates from the paper, and what is done here:
- (16): the paper adds both terms token by token, L = Σ_i (-log P_MLM(x_i) - log P_SBO(x_i)). The release divides the
  first sum by the number of masked tokens, the second by the number of its targets + 1. Here both are plain means.
- (16): its trainer then divides the gradients by the number of masked tokens once more, which Adam all but cancels.
- (14): the release scores all offsets of a span and passes over those behind its end; here a slot is a token. Spans
  beside [CLS] or [SEP], and tokens beyond `max_span` of a longer span, have no target.
- (12): p is 200 wide whatever D is (`span_position_size`). The table has `max_span` rows: 15 in the README's command,
  20 by the flag's default.
- (13): eps is 1e-12 in the release's code; here `layer_norm_eps`, which is 1e-12 in the published configurations.
- weight decay falls on norms and biases too in the release (one parameter group); its Adam corrects its bias.
- published directories call themselves BERT's, without (12)-(14); their pooler, where they have one, is random.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import options
from minibert.config import require, shown, size
from minibert.corruption import masking, rules
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, inherited
from minibert.heads import span_boundary
from minibert.objective import Term

KIN = "bert"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(bert.Config):
    """SpanBERT-base as released (cased): BERT's fields and the two sizes of (12)."""

    vocab_size: int = 28996
    span_position_size: int = size(200, bert.WIDE)
    max_span: int = size(15, bert.WIDE)


PRESETS = bert.PRESETS
PROBE = {**bert.PROBE, "span_position_size": 5, "max_span": 3}


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """BERT's, with spans in place of its pairs: one in each row, whose last slot is unused in the last row."""
    batch = bert.example(rng, config, dims)
    del batch["next_sentence_labels"]
    dims, lengths = {**bert.DIMS, **(dims or {})}, {"T": batch["input_mask"].sum(axis=1)}
    return {**batch, **span_boundary.draw(rng, dims, lengths, **terms(config)["span_boundary"].sizes)}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(16): L₁ + L₃."""
    tied, table = config.tie_word_embeddings, (config.vocab_size, config.hidden_size)
    places = config.max_span, config.span_position_size
    return {
        "masked_lm": bert.terms(config)["masked_lm"],  # (8), (9)
        "span_boundary": Term(  # (12)-(15)
            span_boundary,
            "sbo",
            sizes={"width": config.hidden_size, "table": table, "tied": tied, "places": places},
            constants={"act": config.hidden_act, "eps": config.layer_norm_eps},
            table="embeddings.word.weight" if tied else "sbo.decoder.weight",
        ),
    }


def undecayed(config: Config) -> tuple[str, ...]:
    """BERT's list of names without decay hits the matrices of (12) too: they belong to a module "mlp_layer_norm"."""
    return ("sbo.first.dense.weight", "sbo.second.dense.weight")


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "wordpiece"
# Masks are drawn anew whenever a row is served, so one pass makes the rows; the vocabulary is cased (section 4). After
# 3000 updates of the quick preset the boundary objective is still worse than unigrams on text held out, not after 6000.
DEFAULTS: Tree = {"steps": 6000, "masking": "dynamic", "duplicates": 1, "lowercase": False}
Data = options.Masked


def fields(data: Data, given: Tree) -> Tree:
    """The config fields for rows that these options make: `corrupt` gives so many tokens of a span a target."""
    most = Config.max_span
    fits = given.get("max_span", most) == most
    require(fits, f"config field 'max_span' is {shown(given.get('max_span'))}; the rows that are made need {most}")
    return {"max_position_embeddings": data.seq_length, **given, "max_span": most}


class Frequencies:
    """The tokens of a text as a pool to draw from, in the order of their ids, from how often each stands in it (V,)."""

    def __init__(self, counts: Array) -> None:
        self.ends = np.cumsum(counts)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, places: Array) -> Array:
        return np.searchsorted(self.ends, places, side="right")


def study(tokenizer: Any, data: Data, counted: Callable) -> Frequencies:
    """The training text's tokens, from which random ones are drawn by frequency, as in the release."""
    counts = counted(_tokens)
    return Frequencies(np.array([counts[i] for i in range(len(tokenizer))]))


def _tokens(tokenizer: Any, data: Data, texts: list) -> Counter:
    return Counter(i for document in texts for sentence in document for i in tokenizer.ids(sentence))


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, marked: Any = None) -> Tree:
    """[CLS] consecutive whole sentences of one document [SEP] (section 3.3), nothing masked yet."""
    return makers.single_sequence(documents, rng, vocabulary, data.seq_length, data.duplicates)


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, studied: Any = None) -> Tree:
    """These rows with freshly masked spans (section 3.1), and the targets of both terms."""
    ids, present = rows["input_ids"], rows["input_mask"]
    slots = data.max_predictions or math.ceil(data.rate * ids.shape[1])
    made = rules.span(ids, present, rng, vocabulary, rate=data.rate, cap=slots, pool=studied)
    candidates = masking.candidates(ids, present, vocabulary)
    return {
        **{name: rows[name] for name in ("input_mask", "segment_ids")},
        "input_ids": made.ids,
        **masking.targets(ids, made.chosen, slots),
        **masking.span_targets(ids, candidates, made.groups, slots, Config.max_span),
    }


# ---- Published names -------------------------------------------------------------------------------------------------
MODEL_TYPE = "bert"
PREFIX = bert.PREFIX
VARIANTS = (*bert.VARIANTS, "span_position_size", "max_span")
SBO = "cls.pair_target_predictions"


def architectures(config: Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has; nothing trains the pooler."""
    return {"BertModel": ("pooler",), "BertForMaskedLM": ("mlm", "sbo"), "BertForPreTraining": ("pooler", "mlm", "sbo")}


def names(config: Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    modules = [("sbo.position", "position_embeddings", ("weight",))]
    for i, path in enumerate(("first", "second"), start=1):
        for part, name in (("dense", "linear"), ("norm", "layer_norm")):
            modules.append((f"sbo.{path}.{part}", f"mlp_layer_norm.{name}{i}", ("weight", "bias")))
    rows = [(f"{path}.{leaf}", f"{SBO}.{name}.{leaf}", "identity") for path, name, leaves in modules for leaf in leaves]
    rows.append(("sbo.decoder.bias", f"{SBO}.bias", "identity"))
    if not config.tie_word_embeddings:
        rows.append(("sbo.decoder.weight", f"{SBO}.decoder.weight", "identity"))
    return [row for row in bert.names(config) if not row[0].startswith("nsp.")] + rows


def aliases(config: Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    tied = {f"{SBO}.decoder.weight": "bert.embeddings.word_embeddings.weight"} if config.tie_word_embeddings else {}
    return {**bert.aliases(config), **tied}


def unused(config: Config) -> tuple[str, ...]:
    """Names in published files that no equation reads: a next-sentence head, too."""
    return (*bert.unused(config), "cls.seq_relationship.weight", "cls.seq_relationship.bias")


def activations(config: Config) -> list[tuple[str, str, str, str]]:
    """As `bert.activations`; the outputs of (12)-(14) are (B, N, …), a row for each slot."""
    sbo = [
        (f"{SBO}.{name}", f"span_boundary.head.{path}", "", "head")
        for name, path in (
            ("position_embeddings", "position"),
            ("mlp_layer_norm.linear1", "first.dense"),
            ("mlp_layer_norm.layer_norm1", "first.norm"),
            ("mlp_layer_norm.linear2", "second.dense"),
            ("mlp_layer_norm.layer_norm2", "second.norm"),
        )
    ]
    table = [row for row in bert.activations(config) if not row[0].startswith(("bert.pooler", "cls.seq"))]
    return [*table, *sbo, (SBO, "span_boundary.head", "", "head")]
