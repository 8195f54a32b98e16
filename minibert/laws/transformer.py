"""What the Transformer cannot be asked."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """What would need a table of positions, or biases that attention does not have."""
    found, none = {"layer_norm_scale": "sinusoids do not grow with the words' table"}, "attention has no biases"
    if config.norm_first:
        found["layer_norm_shift"] = "the one table that norms read is that of the logits, too"
    return found if config.attention_bias else {**found, "key_bias_gradient": none, "key_bias_invariance": none}
