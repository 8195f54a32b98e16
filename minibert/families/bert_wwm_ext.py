"""BERT-wwm-ext: whole-word masking on more text, the masked targets alone.

Cui, Che, Liu, Qin, Yang, 2019, arXiv 1906.08101; released in ymcui/Chinese-BERT-wwm, with its successors
RoBERTa-wwm-ext and RBT, which are networks of BERT's too: "RoBERTa" there names the recipe.

BERT except (7), (10), (11): no next-sentence prediction, so the pooler is not trained:

    objective    L = L₁                                                                                        (17)

Data as in BERT-wwm; without the sentence pair a row is consecutive whole sentences of a document. Whether the released
wwm-ext kept the pairs is not on record (its successors dropped them). Their files hold a pooler, which `encode` uses,
and may hold a next-sentence head, which is passed over.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import options
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, bert_wwm, inherited
from minibert.objective import Term
from minibert.options import option

KIN = "bert_wwm"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]


# ---- Objective -------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: bert_wwm.Config, dims: dict[str, int] | None = None) -> Tree:
    """BERT's, without labels of pairs."""
    batch = bert.example(rng, config, dims)
    return {name: value for name, value in batch.items() if name != "next_sentence_labels"}


def terms(config: bert_wwm.Config) -> dict[str, Term]:
    """(17): L₁."""
    return {"masked_lm": bert.terms(config)["masked_lm"]}  # (8), (9)


# ---- Data ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Data(options.Masked):
    """What the data functions ask for: BERT-wwm's, but for pairs."""

    units: str = option("words", "mask these together", among=tuple(bert_wwm.UNITS))
    segmenter: str = option("", "find the words of unspaced text by jieba, or in a file of words", file=True)
    entities: str = option("", "read the entities from this file, one a line", file=True)


def rows(
    documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, marked: Tree | None = None
) -> Tree:
    """[CLS] consecutive whole sentences of one document [SEP], with the words and entities that were handed in."""
    starts = (marked or {}).get("starts")
    made = makers.single_sequence(documents, rng, vocabulary, data.seq_length, data.duplicates, starts)
    return bert_wwm.with_entities(made, vocabulary, marked)


# ---- Published names -------------------------------------------------------------------------------------------------
def architectures(config: bert_wwm.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has; nothing trains the pooler."""
    return {"BertModel": ("pooler",), "BertForMaskedLM": ("mlm",), "BertForPreTraining": ("pooler", "mlm")}


def names(config: bert_wwm.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    return [row for row in bert.names(config) if not row[0].startswith("nsp.")]


def unused(config: bert_wwm.Config) -> tuple[str, ...]:
    """Names in published files that no equation reads: a next-sentence head, too."""
    return (*bert.unused(config), "cls.seq_relationship.weight", "cls.seq_relationship.bias")


def activations(config: bert_wwm.Config) -> list[tuple[str, str, str, str]]:
    """As `bert.activations`, without those of the pair."""
    return [row for row in bert.activations(config) if not row[0].startswith(("bert.pooler", "cls.seq"))]
