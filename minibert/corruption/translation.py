"""Rows of pairs of texts, for a Transformer that translates: what is read, and what has to be written.

A document is a pair, (source, target), as `parallel.Documents` has them. Vaswani et al., arXiv:1706.03762, section 5.1;
released code: tensorflow/tensor2tensor `data_generators/translate.py`: </s> behind either text, and nothing before it;
pairs that are too long are left out. So are documents of one text: `corpus.split` takes from held-out documents what
stands in the training text, too, so that no half of a held-out pair was ever seen.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import options
from minibert.config import require
from minibert.corruption.masking import Vocabulary
from minibert.options import option

IGNORED = -100  # a label that is not asked for


@dataclass(frozen=True)
class Pairs(options.Rows):
    """What `rows` asks for."""

    duplicates: int = option(1, "pass over the pairs so many times", least=1, most=1000)


def rows(
    documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Pairs, marked: Any = None
) -> dict[str, np.ndarray]:
    """A row a pair, in random order; T, S: data.seq_length.

        input_ids       (N, T) int32   the source and </s>, padded at the end
        attention_mask  (N, T) int32   0 at padding
        labels          (N, S) int32   the target and </s>, -100 at padding

    What the decoder reads, the labels shifted to the right behind its start, is the family's to make. InputError where
    a document is no pair, and where none is short enough.
    """
    vocabulary.need("end", "pad")
    most = data.seq_length - 1
    for document in documents:
        require(len(document) <= 2, f"a document has {len(document)} texts: pairs, source and target, are due")
    short = [pair for pair in documents if len(pair) == 2 and all(0 < len(text) <= most for text in pair)]
    require(bool(short), f"none of {len(documents):,} pairs has texts of 1 to {most} tokens: give a larger seq_length")
    order = [i for _ in range(data.duplicates) for i in rng.permutation(len(short)).tolist()]

    def padded(side: int, pad: int) -> np.ndarray:
        ids = np.full((len(order), data.seq_length), pad, np.int32)
        for row, i in zip(ids, order, strict=True):
            text = short[i][side]
            row[: len(text)] = text
            row[len(text)] = vocabulary.end
        return ids

    lengths = np.array([len(short[i][0]) for i in order])
    there = np.arange(data.seq_length) <= lengths[:, None]
    return {"input_ids": padded(0, vocabulary.pad), "attention_mask": there.astype(np.int32),
            "labels": padded(1, IGNORED)}  # fmt: skip
