"""What XLNet cannot be asked."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """What is about biases of keys and norms of tables, padding beside rows of two streams, and the sum of two uses."""
    found = dict.fromkeys(("key_bias_invariance", "key_bias_gradient"), "keys have no bias")
    found |= {"step_by_step": "what comes next a query says that no case has: its targets stand in the text"}
    found |= {"layer_norm_scale": "no norm reads what tables give"}
    found |= {"padding_invariance": "rows of queries stand behind those of the tokens, which padding would move"}
    return found if config.tie_word_embeddings else {**found, "tied_gradient": "the decoder has a matrix of its own"}
