"""What the Transformer cannot be asked."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """Of biases that attention does not have."""
    none = "attention has no biases"
    return {} if config.attention_bias else {"key_bias_gradient": none, "key_bias_invariance": none}
