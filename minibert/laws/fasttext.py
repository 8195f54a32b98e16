"""What fastText cannot be asked, beside what word2vec cannot."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """The order of the vocabulary, in which one id means that a word has no row."""
    return {"vocabulary_permutation": "one id has no row: that of unknown words"}
