"""What quick-thought cannot be asked."""

from typing import Any

ATTENTION = ("head_permutation", "key_bias_invariance", "attention_rows", "forbidden_keys", "key_bias_gradient")
LAYERS = ("hidden_unit_permutation", "layer_norm_shift", "layer_norm_scale")
SOFTMAX = ("uniform_head", "softmax_gradients", "tied_gradient", "ignored_labels")


def silent(config: Any) -> dict[str, str]:
    """The laws of attention, norms and of a softmax over the vocabulary."""
    return {**dict.fromkeys(ATTENTION, "its past is a state: no attention"),
            **dict.fromkeys(LAYERS, "no norm, no feed-forward"),
            "padding_invariance": "a row holds several texts",
            "batch_permutation": "the words of a row's texts stand in rows of their own",
            **dict.fromkeys(SOFTMAX, "sentences are told from each other: no softmax over the vocabulary")}  # fmt: skip
