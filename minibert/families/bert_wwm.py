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

from minibert.config import nearest, require
from minibert.corruption import masking, rules, segmentation
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert

KIN = "bert"

Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(bert.Config):
    """BERT-wwm as released: Chinese BERT-base."""

    vocab_size: int = 21128


# ---- Data ------------------------------------------------------------------------------------------------------------
PRETRAINING: Tree = {"files": ("segmenter", "entities")}
UNITS = {"words": rules.whole_word, "pieces": rules.bert, "entities": rules.entity, "ngrams": rules.ngram}


def prepared(tokenizer: Any, options: Any, texts: list, documents: list) -> Tree:
    """What is handed in: "starts", where the segmenter's words start, and "entities" as tuples of ids."""
    units = options.units or "words"
    require(units in UNITS, f"units is {units!r}{nearest(units, UNITS)}; there are: {', '.join(UNITS)}")
    given: Tree = {}
    if options.segmenter:
        segmenter = segmentation.segmenter(options.segmenter)
        given["starts"] = segmentation.starts(documents, texts, tokenizer.tokens, segmenter)
    if units == "entities":
        require(bool(options.entities), "units 'entities' needs them: give a file with one a line, --entities FILE")
        spelt = {tuple(tokenizer.ids(line)) for line in segmentation.lines(options.entities)} - {()}
        given["entities"] = {entity for entity in spelt if tokenizer.unk_id not in entity}
        require(bool(given["entities"]), f"{options.entities} has no entity that this vocabulary can spell")
    return given


def sequences(
    documents: list, rng: np.random.Generator, vocabulary: Vocabulary, options: Any, given: Tree | None = None
) -> Tree:
    """BERT's pairs, with the words and entities that were handed in; nothing masked yet."""
    sizes = (options.seq_length, options.short_rate, options.duplicates)
    rows = makers.pairs(documents, rng, vocabulary, *sizes, starts=(given or {}).get("starts"))
    return with_entities(rows, vocabulary, given)


def with_entities(rows: Tree, vocabulary: Vocabulary, given: Tree | None) -> Tree:
    """The rows, with "units" where entities were handed in."""
    if not given or "entities" not in given:
        return rows
    return {**rows, "units": segmentation.entities(rows["input_ids"], given["entities"], vocabulary.continues)}


def corrupted(
    rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, options: Any, learnt: Any = None
) -> Tree:
    """The published fields of these rows, freshly masked in the units asked for."""
    ids, rule = rows["input_ids"], UNITS[options.units or "words"]
    own = {"starts": rows.get("starts"), "units": rows.get("units")}
    made = rule(ids, rows["input_mask"], rng, vocabulary, rate=options.rate, cap=options.slots, **own)
    kept = ("input_mask", "segment_ids", "next_sentence_labels")
    return {
        "input_ids": made.ids,
        **{name: rows[name] for name in kept if name in rows},
        **masking.targets(ids, made.chosen, options.slots),
    }
