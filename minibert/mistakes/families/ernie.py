"""Mistakes of ERNIE (Baidu's): the table of tasks, units, the polarity of pairs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minibert.golden.subject import Subject
from minibert.mistakes.catalogue import Mutant, batch, entry, swap
from minibert.mistakes.ops.embeddings import summed


def of_tasks(maker: Callable) -> Callable:
    """No mutant where there is no table of tasks."""
    return lambda subject, at: maker(subject, at) if getattr(subject.config, "use_task_id", False) else []


def _all_of(row: int) -> Callable[[dict, Any], dict]:
    return lambda b, _: {"task_type_ids": np.full_like(b["input_ids"], row)}


def _of_the_row(b: dict, _: Any) -> dict:
    return {"task_type_ids": np.repeat(b["task_type_ids"][:, :1], b["input_ids"].shape[1], 1)}


def _types(subject: Subject, at: Any) -> list[Mutant]:
    edit = lambda b, config: {"task_type_ids": b["token_type_ids"] % config.task_type_vocab_size}  # noqa: E731
    return batch("tasks read from the segments", edit)(subject, at)


entry(
    "ernie-01", "the table of tasks left out, or added twice", "LN(word + position + type + task), once each",
    "src ernie.py; own knowledge", "output", "ERN-EMB-1", families=("ernie",),
    mutants=[
        of_tasks(swap("no task in the sum", "embeddings", summed({"task_type": 0}))),
        of_tasks(swap("the task twice in the sum", "embeddings", summed({"task_type": 2}))),
    ],
)  # fmt: skip
entry(
    "ernie-02", "task ids not passed on", "each token's own row; 0 only where none are given",
    "HF src modeling_ernie; own knowledge", "output", "ERN-EMB-2", families=("ernie",),
    mutants=[
        of_tasks(batch("row 0 for all", _all_of(0))),
        of_tasks(batch("the first token's row for all of its row", _of_the_row)),
        of_tasks(_types),
    ],
)  # fmt: skip
entry(
    "ernie-03", "80/10/10 drawn for a unit, or a unit taken in part", "chosen whole, treated token by token",
    "src batching.py", "data", "ERN-DATA-2", families=("ernie",),
    reason="no case has unmasked rows; the tests of the rule see both: shares and whole units",
)  # fmt: skip
entry(
    "ernie-04", "entities' 5/15/80 and their vectors taken for this model's", "they are another ERNIE's, of Tsinghua",
    "own knowledge: notes that mix the two", "data", "ERN-DATA-5", families=("ernie",),
    reason="another model: nothing of this one can be computed so",
)  # fmt: skip
