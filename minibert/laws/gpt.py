"""What the first GPT cannot be asked: what GPT-2 cannot, and what would need a norm that reads the tables alone."""

from typing import Any

from minibert.laws import gpt2


def silent(config: Any) -> dict[str, str]:
    """The first norm stands behind the first attention."""
    return {**gpt2.silent(config), "layer_norm_scale": "no norm reads the tables alone"}
