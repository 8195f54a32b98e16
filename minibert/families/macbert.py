"""MacBERT: Revisiting Pre-Trained Models for Chinese Natural Language Processing.

Cui, Che, Liu, Qin, Wang, Hu, 2020, arXiv 2004.13922. Released: weights and examples (ymcui/MacBERT); no training code.

BERT except that the masked-LM is a correction, a matter of data, and that pairs are told apart by their order:

    SOP loss     L₂ = mean of -log softmax(r W_nᵀ + b_n)[label], label 0 = in order, 1 = swapped; in place of (10)
    objective    L = L₁ + L₂, as (11)

Data: 15 % of the words are targets, in runs of 1 to 4 words (40, 30, 20, 10 %); of the runs 80 % give way to similar
words, word by word, 10 % to random ones, 10 % stay, and all of them are targets. [MASK] never stands in a text, so the
model corrects words and cannot fill gaps. Which characters make a word, `--segmenter` says as for BERT-wwm.

What the paper leaves open, and what is done here:
- the sentence-order head has the shape and the name of BERT's next-sentence head; the files released hold none.
- similar words come from `--similar`: a JSON file of them, or a directory with a model, whose nearest words by cosine
  are taken (the paper has the Synonyms toolkit, nearest neighbours in word2vec). Only words of as many pieces count:
  targets stand position by position. A word without similar ones becomes a random word, as the README says.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minibert.corruption import masking, replacement, rules, segmentation, similarity
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert
from minibert.families.bert import (  # noqa: F401 (a family's whole surface: these are BERT's own)
    ARCHITECTURES,
    HEADS,
    INPUTS,
    MODEL_TYPE,
    OUTPUTS,
    PREFIX,
    PRESETS,
    PROBE,
    SPELLINGS,
    TOKENIZER,
    VARIANTS,
    activations,
    aliases,
    dropout_places,
    encode,
    encode_backward,
    longest,
    loss_backward,
    masked_logits,
    names,
    shapes,
    unused,
)

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(bert.Config):
    """MacBERT-base as released: Chinese BERT-base."""

    vocab_size: int = 21128


def example(rng: np.random.Generator, config: Config, rows: int = 3, length: int = 7, targets: int = 3) -> Tree:
    """BERT's, its pairs labelled by order."""
    batch = bert.example(rng, config, rows, length, targets)
    return {OWN.get(name, name): value for name, value in batch.items()}


# ---- Objective -------------------------------------------------------------------------------------------------------
OWN = {"next_sentence_labels": "sentence_order_labels", "next_sentence": "sentence_order"}  # BERT's name -> ours
LABELS = {OWN.get(name, name): spec for name, spec in bert.LABELS.items()}
TERMS = ("masked_lm", "sentence_order")


def loss(
    p: Tree,
    config: Config,
    batch: Tree,
    *,
    denominators: dict[str, float] | None = None,
    keep: str = "caches",
    dense: bool = False,
) -> tuple[Array, Tree]:
    """The joint loss of a batch (INPUTS, LABELS), and its cache: BERT's arithmetic on the labels of order."""
    given = denominators or {}
    total, c = bert.loss(
        p,
        config,
        {**batch, "next_sentence_labels": batch["sentence_order_labels"]},
        denominators={name: given[OWN.get(name, name)] for name in bert.TERMS if OWN.get(name, name) in given},
        keep=keep,
        dense=dense,
    )
    c["terms"] = {OWN.get(name, name): value for name, value in c["terms"].items()}
    return total, c


def counts(batch: Tree) -> dict[str, float]:
    """How many targets a batch has for each term: what its sum is divided by."""
    return {"masked_lm": float(np.sum(batch["masked_lm_weights"], dtype=np.float64)),
            "sentence_order": float(len(batch["sentence_order_labels"]))}  # fmt: skip


def correct(c: Tree) -> dict[str, tuple[int, int, int | None]]:
    """(right, counted, of class 1 or None) of each term's predictions in a loss cache."""
    return {OWN.get(name, name): found for name, found in bert.correct(c).items()}


# ---- Data ------------------------------------------------------------------------------------------------------------
PRETRAINING: Tree = {"files": ("segmenter", "similar")}


def learnt(tokenizer: Any, options: Any, counted: Callable) -> replacement.Thesaurus:
    """The similar words: handed in, or for the words of the training text those that a model has near them."""
    similar: similarity.Similar = {}
    if options.similar and Path(options.similar).is_dir():
        similar = similarity.in_embeddings(counted(_words), tokenizer.tokens, options.similar)
    elif options.similar:
        similar = similarity.handed_in(options.similar, tokenizer)
    roles = (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    return replacement.thesaurus(similar, Vocabulary(len(tokenizer), *roles))


def _words(tokenizer: Any, options: Any, texts: list) -> Counter:
    documents = [[tokenizer.ids(sentence) for sentence in document] for document in texts]
    starts = prepared(tokenizer, options, texts, documents).get("starts")
    return Counter(similarity.words(documents, tokenizer.continues, starts))


def prepared(tokenizer: Any, options: Any, texts: list, documents: list) -> Tree:
    """What is handed in: "starts", where the segmenter's words start."""
    if not options.segmenter:
        return {}
    segmenter = segmentation.segmenter(options.segmenter)
    return {"starts": segmentation.starts(documents, texts, tokenizer.tokens, segmenter)}


def sequences(
    documents: list, rng: np.random.Generator, vocabulary: Vocabulary, options: Any, given: Tree | None = None
) -> Tree:
    """Two consecutive segments, swapped in half of the rows; nothing replaced yet."""
    sizes = (options.seq_length, options.short_rate, options.duplicates)
    return makers.ordered_pairs(documents, rng, vocabulary, *sizes, starts=(given or {}).get("starts"))


def corrupted(
    rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, options: Any, learnt: Any = None
) -> Tree:
    """These rows with words freshly replaced, and what stood there as targets."""
    ids = rows["input_ids"]
    own = {"rate": options.rate, "cap": options.slots, "starts": rows.get("starts"), "similar": learnt}
    made = rules.macbert(ids, rows["input_mask"], rng, vocabulary, **own)
    return {
        "input_ids": made.ids,
        **{name: rows[name] for name in ("input_mask", "segment_ids", "sentence_order_labels")},
        **masking.targets(ids, made.chosen, options.slots),
    }
