"""Rows of texts whose language is known: a stream of sentences in one, or a sentence and its translation (XLM).

    input_ids, input_mask, langs, position_ids  (N, T) int32
    labels                                          (N, T) int32, of the objective "clm" alone

Conneau, Lample, 2019, arXiv 1901.07291, section 3; facebookresearch/XLM, `xlm/data/dataset.py`, `xlm/utils.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import options
from minibert.config import require, shown
from minibert.corruption import masking, rules, sequences
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.options import option

Array = np.ndarray
Batch = dict[str, Array]
BETWEEN = "-"  # of the name of parallel text: de-en


@dataclass(frozen=True)
class Spoken(options.Masked):
    """Rows of several languages."""

    objective: str = option("mlm", "ask for masked tokens, of parallel text in both languages (TLM), or for the next "
                            "token (CLM)", among=("mlm", "clm"))  # fmt: skip
    languages: str = option("", "the names of the languages in the order of their ids, with blanks between them; "
                            "unless given those of --language, sorted")  # fmt: skip

    @property
    def names(self) -> list[str]:
        """The languages in the order of their ids; of parallel text both."""
        return self.languages.split()


def mark(tokenizer: Any, data: Spoken, texts: Sequence, documents: Sequence) -> list[int]:
    """The ids of the language, or of the two languages, that these texts are in; 0 where nobody says so."""
    name = getattr(texts[0], "language", "") if texts else ""
    spoken = name.split(BETWEEN) if name else []
    unknown = next((each for each in spoken if each not in data.names), None)
    require(unknown is None, f"text is in the language {shown(unknown)}, but languages are {shown(data.languages)}")
    return [data.names.index(each) for each in spoken] or [0]


def rows(
    documents: Sequence, rng: np.random.Generator, vocabulary: Vocabulary, data: Spoken, marked: list[int]
) -> Batch:
    """Rows of tokenised documents in the languages `marked`: streams of one, translations of two."""
    parallel = len(marked) > 1
    require(not parallel or data.objective == "mlm", "parallel text has no row of the objective clm: leave it out")
    make = translations if parallel else streams
    made = make(documents, rng, vocabulary, data.seq_length, data.duplicates, marked)
    return {**made, "labels": made["input_ids"].copy()} if data.objective == "clm" else made


def streams(
    documents: Sequence, rng: np.random.Generator, vocabulary: Vocabulary, length: int, duplicates: int,
    language: Sequence[int] = (0,),
) -> Batch:  # fmt: skip
    """Sentences end to end, the end token behind each, cut at every `length` tokens, whatever document they are of.

    The release fills the first row from the left with end tokens; here the last incomplete row is lost.
    """
    ordered = [sentence for document in documents for sentence in document]
    made = sequences.running_text([[s] for s in ordered], rng, vocabulary, length, duplicates)["input_ids"]
    return {
        "input_ids": made,
        "input_mask": np.ones_like(made),
        "langs": np.full_like(made, language[0]),
        "position_ids": np.tile(np.arange(length, dtype=np.int32), (len(made), 1)),
    }


def translations(
    documents: Sequence, rng: np.random.Generator, vocabulary: Vocabulary, length: int, duplicates: int,
    pair: Sequence[int] = (0, 1),
) -> Batch:  # fmt: skip
    """A row a pair of sentences, </s> a </s> </s> b </s>: positions restart with the second, languages are each one's.

    Rows come in random order, one pass after the other; pairs that are longer than a row are left out. InputError
    where none fits, or where a document is no pair.
    """
    vocabulary.need("end", "pad")
    odd = next((number for number, document in enumerate(documents, 1) if len(document) > 2), None)
    require(odd is None, f"document {odd} of the parallel text is no pair: give a sentence and its translation")
    pairs = [both for both in documents if len(both) == 2 and all(both)]
    fits = [(a, b) for a, b in pairs if len(a) + len(b) + 4 <= length]
    if not fits:
        raise InputError(f"none of {len(pairs):,} pairs fits into rows of {length} tokens: raise seq_length")
    order = np.concatenate([rng.permutation(len(fits)) for _ in range(duplicates)])
    ids = np.full((len(order), length), vocabulary.pad, np.int32)
    mask, langs, places = np.zeros_like(ids), np.zeros_like(ids), np.zeros_like(ids)
    end = [vocabulary.end]
    for row, number in enumerate(order.tolist()):
        at = 0
        for sentence, language in zip(fits[number], pair, strict=True):
            own = [*end, *sentence, *end]
            here = slice(at, at + len(own))
            ids[row, here], mask[row, here], langs[row, here] = own, 1, language
            places[row, here] = np.arange(len(own))
            at += len(own)
    return {"input_ids": ids, "input_mask": mask, "langs": langs, "position_ids": places}


def corrupt(made: Batch, rng: np.random.Generator, vocabulary: Vocabulary, data: Spoken, studied: Any = None) -> Batch:
    """These rows freshly masked (`rules.xlm`), with their targets; of CLM as they are."""
    if data.objective == "clm":
        return made
    ids = made["input_ids"]
    slots = data.max_predictions or most(data.rate, ids.shape[1])
    hidden = rules.xlm(ids, made["input_mask"], rng, vocabulary, rate=data.rate, cap=slots)
    return {**made, "input_ids": hidden.ids, **masking.targets(ids, hidden.chosen, slots)}


def most(rate: float, length: int) -> int:
    """Room for the targets of a row whose tokens are drawn one by one: six deviations above their mean."""
    return min(length, int(rate * length + 6 * (rate * (1 - rate) * length) ** 0.5) + 1)
