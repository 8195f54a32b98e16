"""What BART cannot be asked."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """The sum of three uses where each has a table of its own."""
    return {} if config.tie_word_embeddings else {"tied_gradient": "the decoder has a matrix of its own"}
