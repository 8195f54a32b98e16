"""Set Transformer's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.subject import OPTIMIZER, Subject

SIZES = {"vocab_size": 19, "dim_input": 7, "dim_hidden": 8, "num_heads": 2, "num_inds": 3, "decoder_layers": 1}
LEAST = 2
ADAMW = {**OPTIMIZER, "name": "adamw", "weight_decay": 0.1}
CASES = {
    "published": published("points, one seed, no norms, the release's scale", "set_transformer", seed=80, low=None,
                           optimizer=ADAMW),
    "probe": beside("every config field away from its default: norms, the paper's scale, two seeds", "set_transformer",
                    seed=81, low=None, config=families.family("set_transformer").PROBE),
    "plain": beside("no points: each element attends to all", "set_transformer", seed=82, low=None,
                    config={"num_inds": 0, "ln": True}),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss."""
    return composed, True


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The loss, under its key of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    return {"forward/loss": module("set_transformer_loss").set_transformer_loss(*given)}
