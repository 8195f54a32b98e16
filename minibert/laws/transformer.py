"""What the Transformer cannot be asked."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """What would need a table of positions, or biases that attention does not have."""
    found, none = {"layer_norm_scale": "sinusoids do not grow with the words' table"}, "attention has no biases"
    return found if config.attention_bias else {**found, "key_bias_gradient": none, "key_bias_invariance": none}
