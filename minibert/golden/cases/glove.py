"""GloVe's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.subject import OPTIMIZER, Subject

ADAGRAD = {**OPTIMIZER, "name": "glove_adagrad", "schedule": "constant", "learning_rate": 0.05, "weight_decay": 0.0,
           "warmup": 0}  # fmt: skip
GIVEN = {"low": None, "dims": {"B": 3, "T": 6}}
CASES = {
    "published": published("counts below 1, below x_max and above", "glove", seed=110, steps=(1, 10),
                           optimizer=ADAGRAD, **GIVEN),
    "probe": beside("every field away from its default", "glove", seed=111, config=families.family("glove").PROBE,
                    **GIVEN),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the loss, cell by cell."""
    return composed, True


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The loss, under its key of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    return {"forward/loss": module("glove_loss").glove_loss(p, at_50_digits(to_fields(config)), at_50_digits(inputs))}
