"""What a network of pictures and windows cannot be asked."""

from typing import Any

from minibert.laws import vit


def silent(config: Any) -> dict[str, str]:
    """As ViT, and what needs one number of heads."""
    found = vit.silent(config)
    del found["layer_norm_scale"]  # its patches have a norm of their own
    return {**found, "head_permutation": "each stage has heads of its own number",
            "batch_permutation": "windows stand in the rows of what its attention reads"}  # fmt: skip
