"""GPT-2's golden cases."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.draws import Draws
from minibert.golden.recipe import Batch, CaseRecipe
from minibert.golden.subject import OPTIMIZER, Subject
from minibert.heads import next_token

# n_inner is 4·n_embd unless given; AdamW as in training of GPT-2's kind, everything but biases and norms decays
SIZES = {
    "vocab_size": 19, "n_positions": 11, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_inner": 20, "bos_token_id": 7,
    "eos_token_id": 7,
}  # fmt: skip
LEAST = 4
ADAMW = {**OPTIMIZER, "name": "adamw", "weight_decay": 0.1}
GOING_ON = {"n_positions": 24, "eos_token_id": 11}
RUNS = {  # with a seed at which each setting alone changes what is written
    "greedy": {},
    "beams": {"num_beams": 3, "length_penalty": 0.3, "no_repeat_ngram_size": 2},
    "patient": {"num_beams": 3, "early_stopping": "never", "length_penalty": 2.0},
    "eager": {"num_beams": 3, "early_stopping": True, "length_penalty": 2.0},
    "sampled": {"do_sample": True, "temperature": 0.7, "top_k": 6, "top_p": 0.85},
}


def padded_left(batch: Batch, draws: Draws) -> None:
    """Each row's tokens at its end, as where one goes on from there, the longest row between others, and positions from
    its first token on; padding is not asked for the first.
    """
    order = np.roll(np.argsort(batch["attention_mask"].sum(1)), -1)
    batch |= {name: batch[name][order] for name in ("input_ids", "attention_mask", "labels")}
    mask = batch["attention_mask"]
    width = mask.shape[1]
    places = (np.arange(width) - (width - mask.sum(1, keepdims=True))) % width
    batch |= {name: np.take_along_axis(batch[name], places, 1) for name in ("input_ids", "attention_mask", "labels")}
    batch["labels"][np.arange(len(mask)), width - mask.sum(1)] = next_token.IGNORED
    batch["position_ids"] = np.maximum(batch["attention_mask"].cumsum(1) - 1, 0)


CASES = {
    "published": published("pre-norm, causal, final norm, tanh GELU, tied", "gpt2", seed=60, optimizer=ADAMW),
    "probe": beside("every config field away from its default, dropout masks drawn", "gpt2", seed=61, dropout=True,
                    config={**families.family("gpt2").PROBE, "initializer_range": 0.4}),
    "left": beside("rows padded at their start: a mask that is not read, or positions that are not, show", "gpt2",
                   seed=65, edits=(padded_left,)),
    "generation": CaseRecipe("prompts of unequal length: logits token by token, greedy, beams, sampled", "gpt2",
                             kind="generation", seed=235, dims={"B": 3, "T": 5}, steps=(), config=GOING_ON, runs=RUNS),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss, where nothing is dropped."""
    return None if any(batch.get("dropout") for batch in subject.batches) else (composed, True)


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The last hidden states and the loss, under the keys of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    states = module("gpt2_encode").gpt2_encode(*given)
    return {"forward/transformer.ln_f": states, "forward/loss": module("gpt2_loss").gpt2_loss(*given)}
