"""The golden cases of the first GPT."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.cases.gpt2 import ADAMW
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.recipe import CaseRecipe
from minibert.golden.subject import Subject

SIZES = {"vocab_size": 19, "n_positions": 11, "n_embd": 12, "n_layer": 2, "n_head": 3, "eos_token_id": 7}
LEAST = 4
PROBE = {**families.family("gpt").PROBE, "initializer_range": 0.4}
RUNS = {
    "greedy": {},
    "beams": {"num_beams": 3, "length_penalty": 0.3, "no_repeat_ngram_size": 2},
    "sampled": {"do_sample": True, "temperature": 0.7, "top_k": 6, "top_p": 0.85},
}
CASES = {
    "published": published("post-norm, causal, tanh GELU, tied", "gpt", seed=80, optimizer=ADAMW),
    "probe": beside("every config field away from its default, dropout masks drawn", "gpt", seed=81, dropout=True,
                    config=PROBE),
    "double": beside("three texts a row, both heads", "gpt", low=None, seed=82, dims={"B": 2, "C": 3, "T": 6},
                     dropout=True, config={**PROBE, "double_heads": True, "summary_first_dropout": 0.25}),
    "generation": CaseRecipe("prompts of unequal length: logits token by token, greedy, beams, sampled", "gpt",
                             kind="generation", seed=86, dims={"B": 3, "T": 5}, steps=(), runs=RUNS,
                             config={"n_positions": 24, "eos_token_id": 11}),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss, where nothing is dropped and rows are of one text."""
    plain = not any(batch.get("dropout") or "mc_labels" in batch for batch in subject.batches)
    return (composed, True) if plain else None


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The last hidden states and the loss, under the keys of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    states = module("gpt_encode").gpt_encode(*given)
    last = f"forward/transformer.h.{config.n_layer - 1}.ln_2"
    return {last: states, "forward/loss": module("gpt_loss").gpt_loss(*given)}
