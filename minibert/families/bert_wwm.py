"""BERT-wwm: Pre-Training with Whole Word Masking for Chinese BERT.

Cui, Che, Liu, Qin, Yang, 2019, arXiv 1906.08101. Released: weights and examples (ymcui/Chinese-BERT-wwm); the same idea
for English is google-research/bert's flag `do_whole_word_mask` (May 2019). The data code was never released.

BERT to the last equation. What is masked together is all that differs, `--units`:

    pieces      BERT's baseline: in Chinese a character
    words       the pieces of a word: "##" pieces belong to the word before them; which characters make a word is said
                by `--segmenter`, the paper's LTP: jieba, or a list of words handed in (`corruption.segmentation`)
    entities    entities handed in (`--entities`, one a line), the rest by words: the entity step of ERNIE 1.0
    ngrams      runs of 1 to 3 words, p(n) proportional to 1/n: ALBERT's

Chosen are whole units until BERT's budget of pieces is met; a unit that would exceed it is passed over. Which of the
three treatments a chosen piece gets is drawn piece by piece, as in Google's code, and each is its own target. The model
still reads single characters: a segmentation groups positions, and is no input. As in the published recipe words are
matched again as a set, the longest at each place, so overlapping words can be cut otherwise than by the segmenter.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import options
from minibert.config import require
from minibert.corruption import masking, rules, segmentation
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, inherited
from minibert.options import option

KIN = "bert"
__getattr__ = inherited(KIN)

Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(bert.Config):
    """BERT-wwm as released: Chinese BERT-base."""

    vocab_size: int = 21128


# ---- Data ------------------------------------------------------------------------------------------------------------
UNITS = {"words": rules.whole_word, "pieces": rules.bert, "entities": rules.entity, "ngrams": rules.ngram}


@dataclass(frozen=True)
class Data(options.Pairs):
    """What the data functions ask for."""

    units: str = option("words", "mask these together", among=tuple(UNITS))
    segmenter: str = option("", "find the words of unspaced text by jieba, or in a file of words", file=True)
    entities: str = option("", "read the entities from this file, one a line", file=True)


def mark(tokenizer: Any, data: Data, texts: list, documents: list) -> Tree:
    """What is handed in: "starts", where the segmenter's words start, and "entities" as tuples of ids."""
    marked: Tree = {}
    if data.segmenter:
        segmenter = segmentation.segmenter(data.segmenter)
        marked["starts"] = segmentation.starts(documents, texts, tokenizer.tokens, segmenter)
    if data.units == "entities":
        require(bool(data.entities), "units 'entities' needs them: give a file with one a line, --entities FILE")
        spelt = {tuple(tokenizer.ids(line)) for line in segmentation.lines(data.entities)} - {()}
        marked["entities"] = {entity for entity in spelt if tokenizer.unk_id not in entity}
        require(bool(marked["entities"]), f"{data.entities} has no entity that this vocabulary can spell")
    return marked


def rows(
    documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, marked: Tree | None = None
) -> Tree:
    """BERT's pairs, with the words and entities that were handed in; nothing masked yet."""
    sizes = (data.seq_length, data.short_rate, data.duplicates)
    made = makers.pairs(documents, rng, vocabulary, *sizes, starts=(marked or {}).get("starts"))
    return with_entities(made, vocabulary, marked)


def with_entities(rows: Tree, vocabulary: Vocabulary, marked: Tree | None) -> Tree:
    """The rows, with "units" where entities were handed in."""
    if not marked or "entities" not in marked:
        return rows
    return {**rows, "units": segmentation.entities(rows["input_ids"], marked["entities"], vocabulary.continues)}


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, studied: Any = None) -> Tree:
    """The published fields of these rows, freshly masked in the units asked for."""
    ids, own = rows["input_ids"], {"starts": rows.get("starts"), "units": rows.get("units")}
    made = UNITS[data.units](ids, rows["input_mask"], rng, vocabulary, rate=data.rate, cap=data.slots, **own)
    kept = ("input_mask", "segment_ids", "next_sentence_labels")
    return {
        "input_ids": made.ids,
        **{name: rows[name] for name in kept if name in rows},
        **masking.targets(ids, made.chosen, data.slots),
    }
