"""What CoVe cannot be asked."""

from typing import Any

from minibert.laws.quick_thought import ATTENTION, LAYERS


def silent(config: Any) -> dict[str, str]:
    """The laws of attention that keeps its probabilities, of norms, and of one table for two uses."""
    return {**dict.fromkeys(ATTENTION, "its attention is of one step at a time, over an encoder's states as they are"),
            **dict.fromkeys(LAYERS, "no norm, no feed-forward"),
            "tied_gradient": "the output has a matrix of its own"}  # fmt: skip
