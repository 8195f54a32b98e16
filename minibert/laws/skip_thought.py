"""What skip-thought cannot be asked."""

from typing import Any

from minibert.laws.quick_thought import ATTENTION, LAYERS


def silent(config: Any) -> dict[str, str]:
    """The laws of attention and norms, and of one table for two uses."""
    return {**dict.fromkeys(ATTENTION, "its past is a state: no attention"),
            **dict.fromkeys(LAYERS, "no norm, no feed-forward"),
            "padding_invariance": "the gradient of a text's last state stands behind its padding, which hands it on",
            "ignored_labels": "the words that are written are its targets, and padding has none",
            "uniform_head": "a floor stands under the probabilities",
            "tied_gradient": "the output has a matrix of its own"}  # fmt: skip
