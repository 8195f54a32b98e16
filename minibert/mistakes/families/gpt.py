"""Mistakes of the first GPT: two heads over several texts, one matrix for everything, norms that are BERT's."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert import ops
from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import Mutant, batch, config, entry, only, swap
from minibert.mistakes.ops.norms import normed_sum
from minibert.mistakes.swap import Replacement

Array = np.ndarray
Cache = dict[str, Any]


def own(*makers: Callable) -> list[Callable]:
    """The makers for GPT and its kin."""
    return [only("gpt", maker) for maker in makers]


def _double(maker: Callable) -> Callable:
    """The maker where there are two heads."""
    return lambda subject, at: maker(subject, at) if subject.config.double_heads else []


def _read_at(what: str, rule: Callable[[dict], Array]) -> Callable:
    """Another token stands for each text: rule(batch) -> (B, C)."""
    return batch(what, lambda b, _: {"mc_token_ids": np.zeros_like(b["mc_token_ids"]) + rule(b)})


def _last_of_batch(subject: Subject, at: Any) -> list[Mutant]:
    """The softmax over the texts of all rows together."""

    def forward(logits: Array, *, labels: Array, **given: Any) -> tuple[Array, Cache]:
        rows, texts = logits.shape
        every = np.broadcast_to(logits.reshape(1, -1), (rows, rows * texts))
        value, c = ops.cross_entropy(every, labels=labels + texts * np.arange(rows), **given)
        return value, {"all": c, "shape": logits.shape}

    def backward(dy: Array, c: Cache) -> Array:
        return ops.cross_entropy_backward(dy, c["all"]).sum(0).reshape(c["shape"])

    return swap("one softmax over all texts of the batch", "cross_entropy", Replacement(forward, backward),
                r"choice\.loss")(subject, at)  # fmt: skip


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "gpt-01", "the choice reads another token than mc_token_ids says", "the state of the token that stands for a text",
    "HF#1674, #2150 (ids of a token that is not where they say)", "output", "GPT-MC-1", families=("gpt",),
    mutants=own(
        _read_at("the last place, padding or not", lambda b: b["input_ids"].shape[-1] - 1),
        _read_at("the last token that is there", lambda b: b["attention_mask"].sum(-1) - 1),
        _read_at("the first token, as BERT's", lambda b: 0),
    ),
)  # fmt: skip
entry(
    "gpt-02", "the losses added without λ, or with another", "L₂ + λ L₁, λ = lm_coef",
    "own knowledge: published classes return both losses and leave the sum to the caller", "loss", "GPT-LOSS-2",
    families=("gpt",),
    mutants=own(*(_double(config(f"λ = {value}", lm_coef=value)) for value in (1.0, 0.5, 2.0))),
)  # fmt: skip
entry(
    "gpt-03", "one softmax over the texts of all rows", "over the texts of a row",
    "own knowledge", "loss", "GPT-LOSS-2", families=("gpt",), mutants=own(_last_of_batch),
)  # fmt: skip
entry(
    "gpt-04", "a norm behind the embeddings, as BERT has it", "none: the sum of the tables enters the first layer",
    "own knowledge", "output", "GPT-EMB-1", families=("gpt",),
    mutants=own(swap("normed without weights", "embeddings", normed_sum())),
)  # fmt: skip
entry(
    "gpt-05", "positions and special tokens among the classes, one matrix with the words", "a softmax over the words",
    "openai/finetune-transformer-lm train.py (its own form)", "output", "GPT-EMB-2", families=("gpt",), variant=True,
    reason="logits of more classes have another shape than a case's, and a loss that fits no tensor of it",
)  # fmt: skip
entry(
    "gpt-06", "dropout of the matrix, not of the sum", "of the sum of word and position",
    "openai/finetune-transformer-lm train.py (its own form)", "output", "GPT-EMB-2", families=("gpt",), variant=True,
    reason="a case's keep-masks are of the sum: there is none for rows of a table",
)  # fmt: skip
entry(
    "gpt-07", "the same entries dropped for all texts of a row before the choice", "each state has its own",
    "openai/finetune-transformer-lm train.py (its own form)", "output", "GPT-MC-1", families=("gpt",), variant=True,
    reason="a case gives its keep-masks, whoever draws them",
)  # fmt: skip
