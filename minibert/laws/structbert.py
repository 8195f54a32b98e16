"""What StructBERT cannot be asked."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """The sum of the table's uses: its head of tokens has no activations in the table of names."""
    return {"tied_gradient": "one call of the head may serve both terms of words, or one each: no logits are compared"}
