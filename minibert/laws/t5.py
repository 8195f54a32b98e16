"""What T5 cannot be asked."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """What is about biases and means that it does not have, and the sum of two uses where there are two tables."""
    found = dict.fromkeys(("key_bias_invariance", "key_bias_gradient"), "no linear map has a bias")
    found |= {"layer_norm_shift": "its norms take no mean away"}
    return found if config.tie_word_embeddings else {**found, "tied_gradient": "the decoder has a matrix of its own"}
