"""What skip-thought cannot be asked."""

from typing import Any

from minibert.laws.quick_thought import ATTENTION, LAYERS


def silent(config: Any) -> dict[str, str]:
    """The laws of attention and norms, and of one table for two uses."""
    return {**dict.fromkeys(ATTENTION, "its past is a state: no attention"),
            **dict.fromkeys(LAYERS, "no norm, no feed-forward"),
            "tied_gradient": "the output has a matrix of its own"}  # fmt: skip
