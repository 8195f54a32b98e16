"""What Mockingjay cannot be asked."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """What is about words, and about inputs that grow with a table."""
    words = ("vocabulary_permutation", "tied_gradient", "ignored_labels", "uniform_head")
    return {**dict.fromkeys(words, "frames are told by numbers: no words, no classes"),
            "layer_norm_scale": "sinusoids do not grow with what is heard"}  # fmt: skip
