"""Reformer: transformers' ReformerModelWithLMHead and ReformerForMaskedLM, reversible layers, hashing, slices."""

import numpy as np
import pytest
from published import Published, error, oracle, pair

import minibert
from minibert import batches, families, hashed, memory, ops, tree
from minibert.errors import InputError
from minibert.families import reformer

LAWS = ["probe"]
SIZES = {
    "hidden_size": 24, "attn_layers": ("lsh", "local", "lsh"), "num_attention_heads": 4, "attention_head_size": 5,
    "feed_forward_size": 37, "hidden_act": "gelu", "local_attn_chunk_length": 4, "lsh_attn_chunk_length": 2,
    "local_num_chunks_before": 1, "lsh_num_chunks_before": 2, "num_hashes": 3, "num_buckets": (2, 4), "hash_seed": 5,
    "axial_pos_shape": (3, 7), "axial_pos_embds_dim": (10, 14), "axial_norm_std": 0.5, "max_position_embeddings": 19,
    "layer_norm_eps": 3e-5, "chunk_size_lm_head": 0, "bos_token_id": 1, "eos_token_id": 2,
    "hidden_dropout_prob": 0.0, "local_attention_probs_dropout_prob": 0.0, "lsh_attention_probs_dropout_prob": 0.0,
}  # fmt: skip
# Of two tables of little variance a layer's input can't be made again to 1e-12 (8e-12, ours as theirs): a larger eps.
CONFIGS = (
    {},
    {"num_buckets": None, "axial_pos_embds": False, "num_hashes": 1, "chunk_size_feed_forward": 4,
     "layer_norm_eps": 1e-2},
    {"attn_layers": ("local", "lsh", "local"), "num_buckets": 4, "lsh_attn_chunk_length": 4, "hidden_act": "relu"},
    {"attn_layers": ("lsh",) * 3, "lsh_attn_chunk_length": 12},
)  # fmt: skip
CAUSAL = {"is_decoder": True}
BEHIND = {"local_num_chunks_after": 1, "lsh_num_chunks_after": 1}


def mended(module, config):
    """The head's bias is added (REFORMER-LOSS-1); layers go back outside of training, too, so that rows of any length
    are compared; what stands for a token's own score is that of float16: beside -1e5 ports lose five digits of the sum
    of a token that meets itself alone, several times (4e-12; ours, beside longdouble, 2e-15).
    """
    module.lm_head.decoder.bias = module.lm_head.bias
    for name, buffer in module.named_buffers():
        buffer.data.fill_(-1e3) if name.endswith("self_mask_value_float32") else None
    for layer in module.reformer.encoder.layers:
        layer.train = lambda mode=True, layer=layer: layer


def whole_chunks(rng, config, batch):
    """Eight tokens a row, as ports give hidden states with their padding; rotations of hash_seed on both sides."""
    batch.pop("rotations", None)
    batch |= {name: value[:, :8] for name, value in batch.items() if not name.startswith("masked_lm")}


def theirs(config):
    several = isinstance(config.num_buckets, tuple)
    return {"use_cache": False, "num_buckets": [*config.num_buckets] if several else config.num_buckets}


OWN = {"edit": whole_chunks, "mend": mended, "theirs": theirs}
PUBLISHED = [
    Published("reformer", "ReformerModelWithLMHead", {"labels": "next_token"}, {**SIZES, **CAUSAL}, CONFIGS, **OWN),
    Published("reformer", "ReformerForMaskedLM", {"labels": "masked_lm"}, {**SIZES, **BEHIND}, CONFIGS, **OWN),
]
DIRECTORIES: dict = {}
FINE = {"local_num_chunks_after": 0, "lsh_num_chunks_after": 0, "is_decoder": True}
VARIANTS = (
    {},
    {"lsh_masking": "released", "num_buckets": None, "axial_pos_embds": False, "chunk_size_feed_forward": 0},
    {**FINE, "local_attn_chunk_length": 3, "lsh_masking": "released"},
)
SMALL = {"axial_pos_embds_dim": (1, 3), "attn_layers": ("lsh", "local"), "attention_head_size": 2, "num_hashes": 2}
PARAMETERS = [
    (reformer.PRESETS["crime"], (), 2_748_224),
    (reformer.PRESETS["enwik8"], (), 149_182_722),
    ({}, (), 5_975_872),
]
