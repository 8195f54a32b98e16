"""What XLM cannot be asked."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """The sum of two uses where the decoder has a table of its own; what comes next where all is seen."""
    tied = {} if config.tie_word_embeddings else {"tied_gradient": "the decoder has a matrix of its own"}
    return tied | ({} if config.causal else {"next_token": "each token sees those behind it"})
