"""What ELMo cannot be asked."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """What is about attention, norms and feed-forwards, and about a table of words."""
    attention = ("head_permutation", "key_bias_invariance", "attention_rows", "forbidden_keys", "key_bias_gradient")
    norms = ("hidden_unit_permutation", "layer_norm_shift", "layer_norm_scale")
    words = ("vocabulary_permutation", "tied_gradient", "padding_invariance", "uniform_head")
    return {**dict.fromkeys(attention, "its past is a state: no attention"),
            **dict.fromkeys(norms, "no norm, no feed-forward"),
            **dict.fromkeys(words, "a word is its characters: there is no table of words")}  # fmt: skip
