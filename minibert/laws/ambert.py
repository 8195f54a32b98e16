"""What AMBERT cannot be asked."""

from typing import Any

TWO = "a row has two texts, each with a mask of its own, and the law asks by one"


def silent(config: Any) -> dict[str, str]:
    """What is about the padding of one text; the sum of two uses where the decoders have tables of their own."""
    found = dict.fromkeys(("padding_invariance", "forbidden_keys"), TWO)
    found |= {"layer_norm_scale": "the coarse words' table stands apart from those that the law scales together"}
    own = {"tied_gradient": "the decoders have matrices of their own"}
    return found if config.tie_word_embeddings else {**found, **own}
