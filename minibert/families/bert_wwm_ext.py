"""BERT-wwm-ext: whole-word masking on more text, the masked targets alone.

Cui, Che, Liu, Qin, Yang, 2019, arXiv 1906.08101; released in ymcui/Chinese-BERT-wwm, with its successors
RoBERTa-wwm-ext and RBT, which are networks of BERT's too: "RoBERTa" there names the recipe.

BERT except (7), (10), (11): no next-sentence prediction, so the pooler is not trained:

    objective    L = L₁                                                                                        (17)

Data as in BERT-wwm; without the sentence pair a row is consecutive whole sentences of a document. Whether the released
wwm-ext kept the pairs is not on record (its successors dropped them). Their files hold a pooler, which `encode` uses,
and may hold a next-sentence head, which is passed over.
"""

from typing import Any

import numpy as np

from minibert import layers
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert_wwm as parent
from minibert.families.bert_wwm import (  # noqa: F401 (a family's whole surface: these are BERT-wwm's own)
    INPUTS,
    MODEL_TYPE,
    OUTPUTS,
    PREFIX,
    PRESETS,
    PRETRAINING,
    PROBE,
    SPELLINGS,
    TOKENIZER,
    UNITS,
    VARIANTS,
    Config,
    aliases,
    corrupted,
    dropout_places,
    encode,
    encode_backward,
    longest,
    masked_logits,
    prepared,
)

Array = np.ndarray
Tree = dict[str, Any]


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter: BERT's but the next-sentence head. Published files may bring a pooler."""
    return {part: tree for part, tree in parent.shapes(config).items() if part != "nsp"}


def example(rng: np.random.Generator, config: Config, rows: int = 3, length: int = 7, targets: int = 3) -> Tree:
    """BERT's, without labels of pairs."""
    batch = parent.example(rng, config, rows, length, targets)
    return {name: value for name, value in batch.items() if name != "next_sentence_labels"}


# ---- Objective -------------------------------------------------------------------------------------------------------
LABELS = {name: spec for name, spec in parent.LABELS.items() if name != "next_sentence_labels"}
TERMS = ("masked_lm",)
HEADS = ("mlm",)


def loss(
    p: Tree,
    config: Config,
    batch: Tree,
    *,
    denominators: dict[str, float] | None = None,
    keep: str = "caches",
    dense: bool = False,
) -> tuple[Array, Tree]:
    """(17) The loss of a batch (INPUTS, LABELS), and its cache; as `bert.loss`."""
    c: Tree = {"tied": config.tie_word_embeddings}
    out, c["encode"] = encode(p, config, batch, keep=keep)
    h = out["last_hidden_state"]
    total = (denominators or {}).get("masked_lm", np.sum(batch["masked_lm_weights"], dtype=h.dtype))
    table = (p["embeddings"]["word"] if config.tie_word_embeddings else p["mlm"]["decoder"])["weight"]
    head = {"act": config.hidden_act, "eps": config.layer_norm_eps, "total": total + config.mlm_denominator_eps}
    masked_lm, parts = layers.masked_lm(h, p["mlm"], table, batch, **head, dense=dense)  # (8), (9)
    return masked_lm, {**c, **parts, "pooled": out.get("pooler_output"), "terms": {"masked_lm": masked_lm}}  # (17)


def loss_backward(c: Tree) -> Tree:
    """d loss / d every parameter, a tree like p; a pooler gets 0."""
    g: Tree = {}
    dh, g["mlm"], dtable = layers.masked_lm_backward(np.ones_like(c["terms"]["masked_lm"]), c)  # (9), (8)
    dpooled = None if c["pooled"] is None else np.zeros_like(c["pooled"])
    g |= encode_backward({"last_hidden_state": dh, "pooler_output": dpooled}, c["encode"])  # (7)-(1)
    return layers.decoder_table_backward(dtable, g, c["tied"])


def counts(batch: Tree) -> dict[str, float]:
    """How many targets a batch has: what the sum is divided by."""
    return {"masked_lm": float(np.sum(batch["masked_lm_weights"], dtype=np.float64))}


def correct(c: Tree) -> dict[str, tuple[int, int, int | None]]:
    """(right, counted, None) of the predictions in a loss cache."""
    return {"masked_lm": layers.right(c["masked_lm"])}


# ---- Data ------------------------------------------------------------------------------------------------------------
def sequences(
    documents: list, rng: np.random.Generator, vocabulary: Vocabulary, options: Any, given: Tree | None = None
) -> Tree:
    """[CLS] consecutive whole sentences of one document [SEP], with the words and entities that were handed in."""
    starts = (given or {}).get("starts")
    rows = makers.single_sequence(documents, rng, vocabulary, options.seq_length, options.duplicates, starts)
    return parent.with_entities(rows, vocabulary, given)


# ---- Published names -------------------------------------------------------------------------------------------------
ARCHITECTURES = {
    "BertModel": ("pooler",),
    "BertForMaskedLM": HEADS,
    "BertForPreTraining": ("pooler", *HEADS),
}


def names(config: Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    return [row for row in parent.names(config) if not row[0].startswith("nsp.")]


def unused(config: Config) -> tuple[str, ...]:
    """Names in published files that no equation reads: a next-sentence head, too."""
    return (*parent.unused(config), "cls.seq_relationship.weight", "cls.seq_relationship.bias")


def activations(config: Config) -> list[tuple[str, str, str]]:
    """As `bert.activations`, without those of the pair."""
    return [row for row in parent.activations(config) if not row[0].startswith(("bert.pooler", "cls.seq"))]
