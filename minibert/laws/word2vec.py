"""What word2vec cannot be asked."""

from typing import Any

ATTENTION = ("head_permutation", "key_bias_invariance", "attention_rows", "forbidden_keys", "key_bias_gradient")
LAYERS = ("hidden_unit_permutation", "layer_norm_shift", "layer_norm_scale")
SOFTMAX = ("uniform_head", "softmax_gradients", "tied_gradient", "ignored_labels")


def silent(config: Any) -> dict[str, str]:
    """The laws of layers and of one softmax over the vocabulary."""
    nodes = {"vocabulary_permutation": "nodes of a tree have numbers of their own"} if config.hs else {}
    return {**dict.fromkeys(ATTENTION, "windows are data: no attention"),
            **dict.fromkeys(LAYERS, "tables, and no layers"),
            **dict.fromkeys(SOFTMAX, "a word is told from a few, or by turns, and not among all"), **nodes}  # fmt: skip
