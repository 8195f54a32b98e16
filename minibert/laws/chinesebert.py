"""What ChineseBERT cannot be asked."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """The sum of two uses where the decoder has a table of its own."""
    return {} if config.tie_word_embeddings else {"tied_gradient": "the decoder has a matrix of its own"}
