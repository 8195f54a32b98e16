"""What Set Transformer cannot be asked: its MABs have no output projection, by which laws know attention."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """Laws about attention, feed-forwards of two layers, norms behind tables, tied tables."""
    attention = ("head_permutation", "key_bias_invariance", "attention_rows", "forbidden_keys", "key_bias_gradient")
    norms = ("layer_norm_shift", "layer_norm_scale")
    return {
        **dict.fromkeys(attention, "attention without an output projection"),
        **dict.fromkeys(norms, "no norm follows the table"),
        "hidden_unit_permutation": "feed-forwards have one layer",
        "tied_gradient": "the decoder has a matrix of its own",
    }
