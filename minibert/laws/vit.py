"""What a network of pictures cannot be asked."""

from typing import Any

PICTURES = ("padding_invariance", "vocabulary_permutation", "ignored_labels", "forbidden_keys", "tied_gradient",
            "uniform_head")


def silent(config: Any) -> dict[str, str]:
    """What is about tokens, padding and classes."""
    found = dict.fromkeys(PICTURES, "it is fed with pictures: no tokens, no padding, and pixels are no classes")
    return found if config.qkv_bias else {**found, **dict.fromkeys(("key_bias_invariance", "key_bias_gradient"),
                                                                  "its keys have no bias")}  # fmt: skip
