"""GPT-2: transformers' GPT2LMHeadModel, and what is its own."""

import numpy as np
import pytest
from published import Published, error, example, inputs, oracle, pair, probed

from minibert import tree
from minibert.families import gpt2

LABELS = {"labels": "next_token"}
# reorder_and_upcast_attn makes ports compute the scores in float32: see the test below
PORTS = {"theirs": lambda config: {"reorder_and_upcast_attn": False}}
SCALES = (
    {"activation_function": "gelu", "scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True},
    {"activation_function": "gelu_new", "scale_attn_weights": False, "bos_token_id": 1, "eos_token_id": 2},
    {"activation_function": "relu", "scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True,
     "tie_word_embeddings": False},
)  # fmt: skip


def given(rng, config, batch):
    """Token types, which are words, positions of each row's own, and padding on the left."""
    mask = batch["attention_mask"][:, ::-1].copy()
    batch |= {"attention_mask": mask, "labels": np.where(mask, batch["input_ids"], -100)}
    batch["position_ids"] = np.maximum(mask.cumsum(1) - 1, 0) + rng.integers(0, 5, (len(mask), 1))
    batch["token_type_ids"] = rng.integers(0, config.vocab_size, mask.shape)


PUBLISHED = [
    Published("gpt2", "GPT2LMHeadModel", LABELS, configs=SCALES, **PORTS),
    Published("gpt2", "GPT2LMHeadModel", LABELS, {"n_inner": None}, SCALES, edit=given, **PORTS),
]
DIRECTORIES = {"GPT2LMHeadModel": {"lm"}, "GPT2Model": set()}
