"""Grover's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.recipe import CaseRecipe
from minibert.golden.subject import OPTIMIZER, Subject

LEAST = 4
SIZES = {
    "vocab_size": 19, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20,
    "max_position_embeddings": 11, "bos_token_id": 7, "eos_token_id": 8,
}  # fmt: skip
ADAFACTOR = {**OPTIMIZER, "name": "grover_adafactor", "schedule": "linear", "learning_rate": 5e-3, "clip_norm": 1e9}
RUNS = {"greedy": {}, "nucleus": {"do_sample": True, "top_p": 0.8, "suppress_tokens": [0, 3]}}
CASES = {
    "published": published("the residual goes on from the sum, a norm behind the tables, tied", "grover", seed=290,
                           optimizer=ADAFACTOR),
    "probe": beside("every config field away from its default, dropout masks drawn", "grover", seed=291, dropout=True,
                    config={**families.family("grover").PROBE, "initializer_range": 0.4}),
    "generation": CaseRecipe("prompts of unequal length: logits token by token, greedy, a nucleus", "grover", steps=(),
                             kind="generation", seed=292, dims={"B": 3, "T": 5}, runs=RUNS,
                             config={"max_position_embeddings": 24, "eos_token_id": 11}),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss, where nothing is dropped."""
    return None if any(batch.get("dropout") for batch in subject.batches) else (composed, True)


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The last hidden states and the loss, under the keys of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    states, loss = module("grover_encode").grover_encode(*given), module("grover_loss").grover_loss(*given)
    return {f"forward/newslm.layer{config.num_hidden_layers - 1:02d}.LayerNorm_mlp_ln1": states, "forward/loss": loss}
