"""What Reformer cannot be asked: chunks and buckets go by the whole row."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """Laws about probabilities of each key, biases of keys, norms behind tables, tokens one by one."""
    found = dict.fromkeys(("attention_rows", "forbidden_keys"), "probabilities are of chunks, by no published name")
    found |= dict.fromkeys(("key_bias_invariance", "key_bias_gradient"), "no projection has a bias")
    found |= {"layer_norm_shift": "one stream goes past the norms", "tied_gradient": "the decoder has its own matrix"}
    if config.padded(config.places) > config.places:
        found["padding_invariance"] = "chunks, and what fills them up, go by the length of a row"
    return {**found, "step_by_step": "what is sorted together goes by the whole row, later tokens included"}
