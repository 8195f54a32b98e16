"""Mistakes of MacBERT: words corrected, not masked."""

import numpy as np

from minibert.corruption import rules
from minibert.corruption.masking import Vocabulary
from minibert.corruption.rules import Corruption
from minibert.mistakes.catalogue import entry

Array = np.ndarray


def _masked_words(ids: Array, present: Array, rng: np.random.Generator, vocabulary: Vocabulary) -> Corruption:
    """MacBERT's runs, 80 % of them masked."""
    made = rules.macbert(ids, present, rng, vocabulary)
    hidden = made.chosen & (rng.random(ids.shape) < 0.8)
    return made._replace(ids=np.where(hidden, vocabulary.mask, made.ids))


entry(
    "D21", "[MASK] inserted where similar words are due", "no [MASK] at all; similar, random or the same words",
    "src MacBERT README", "data", "MAC-DATA-2", families=("macbert",),
    rule={"macbert": _masked_words},
)  # fmt: skip
