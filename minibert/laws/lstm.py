"""What a recurrent language model cannot be asked."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """What is about attention, norms and feed-forwards; the sum of two uses where the decoder has its own table."""
    attention = ("head_permutation", "key_bias_invariance", "attention_rows", "forbidden_keys", "key_bias_gradient")
    norms = ("hidden_unit_permutation", "layer_norm_shift", "layer_norm_scale")
    found = {**dict.fromkeys(attention, "its past is a state: no attention"),
             **dict.fromkeys(norms, "no norm, no feed-forward")}  # fmt: skip
    return found if config.tie_weights else {**found, "tied_gradient": "the decoder has a matrix of its own"}
