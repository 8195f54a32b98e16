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

from minibert import options
from minibert.corruption import masking, replacement, rules, segmentation, similarity
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, inherited
from minibert.heads import sentence_order
from minibert.objective import Term
from minibert.options import option

KIN = "bert"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(bert.Config):
    """MacBERT-base as released: Chinese BERT-base."""

    vocab_size: int = 21128


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """BERT's, its pairs labelled by order."""
    batch = bert.example(rng, config, dims)
    batch["sentence_order_labels"] = batch.pop("next_sentence_labels")
    return batch


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """L₁ + L₂."""
    order = Term(sentence_order, "nsp", "pooler_output", {"width": config.hidden_size})
    return {"masked_lm": bert.terms(config)["masked_lm"], "sentence_order": order}


# ---- Data ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Data(options.Pairs):
    """What the data functions ask for."""

    segmenter: str = option("", "find the words of unspaced text by jieba, or in a file of words", file=True)
    similar: str = option("", "take similar words from this JSON file, or from the model of this directory", file=True)


def study(tokenizer: Any, data: Data, counted: Callable) -> replacement.Thesaurus:
    """The similar words: handed in, or for the words of the training text those that a model has near them."""
    similar: similarity.Similar = {}
    if data.similar and Path(data.similar).is_dir():
        similar = similarity.in_embeddings(counted(_words), tokenizer.tokens, data.similar)
    elif data.similar:
        similar = similarity.handed_in(data.similar, tokenizer)
    roles = (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    return replacement.thesaurus(similar, Vocabulary(len(tokenizer), *roles))


def _words(tokenizer: Any, data: Data, texts: list) -> Counter:
    documents = [[tokenizer.ids(sentence) for sentence in document] for document in texts]
    starts = mark(tokenizer, data, texts, documents).get("starts")
    return Counter(similarity.words(documents, tokenizer.continues, starts))


def mark(tokenizer: Any, data: Data, texts: list, documents: list) -> Tree:
    """What is handed in: "starts", where the segmenter's words start."""
    if not data.segmenter:
        return {}
    segmenter = segmentation.segmenter(data.segmenter)
    return {"starts": segmentation.starts(documents, texts, tokenizer.tokens, segmenter)}


def rows(
    documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, marked: Tree | None = None
) -> Tree:
    """Two consecutive segments, swapped in half of the rows; nothing replaced yet."""
    sizes = (data.seq_length, data.short_rate, data.duplicates)
    return makers.ordered_pairs(documents, rng, vocabulary, *sizes, starts=(marked or {}).get("starts"))


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, studied: Any = None) -> Tree:
    """These rows with words freshly replaced, and what stood there as targets."""
    ids = rows["input_ids"]
    own = {"rate": data.rate, "cap": data.slots, "starts": rows.get("starts"), "similar": studied}
    made = rules.macbert(ids, rows["input_mask"], rng, vocabulary, **own)
    return {
        "input_ids": made.ids,
        **{name: rows[name] for name in ("input_mask", "segment_ids", "sentence_order_labels")},
        **masking.targets(ids, made.chosen, data.slots),
    }


# ---- Published names -------------------------------------------------------------------------------------------------
def activations(config: Config) -> list[tuple[str, str, str, str]]:
    """As `bert.activations`: the head of the order stands in the place of the next sentence's."""
    own = {"next_sentence.head": "sentence_order.head"}
    return [(name, own.get(path, path), *row) for name, path, *row in bert.activations(config)]
