"""What GPT-2 cannot be asked."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """The sum of two uses where the decoder has a table of its own."""
    tied = getattr(config, "tie_word_embeddings", True)
    return {} if tied else {"tied_gradient": "the decoder has a matrix of its own"}
