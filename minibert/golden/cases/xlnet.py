"""XLNet's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import Batch, beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.draws import Draws

# distances on either side, of which clamp_len makes some the same
SIZES = {"vocab_size": 19, "d_model": 12, "n_layer": 2, "n_head": 3, "d_inner": 10}
LEAST = 4


def remembering(batch: Batch, draws: Draws) -> None:
    """States of four tokens before each row, of either layer."""
    rows = len(batch["input_ids"])
    batch["mems"] = [draws.standard_normal((rows, 4, 12)) for _ in range(2)]


MEMORY = {"mem_len": 5, "reuse_len": 4, "bi_data": True, "clamp_len": 5}
PROBE = {**families.family("xlnet").PROBE, "initializer_range": 0.4}
CASES = {
    "published": published("two streams in a drawn order, relative segments", "xlnet", seed=95, low=None),
    "memory": beside("behind a memory, half of the rows backwards, far distances clamped", "xlnet", seed=96, low=None,
                     edits=(remembering,), config=MEMORY),
    "probe": beside("every config field away from its default, dropout masks drawn", "xlnet", seed=97, low=None,
                    config=PROBE, dropout=True),
}  # fmt: skip


def double(subject: Any) -> tuple[Double, bool] | None:
    """The scalar loops of the loss, where nothing is dropped."""
    return None if any(batch.get("dropout") for batch in subject.batches) else (of_loss, True)


def of_loss(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """Under the keys of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    return {"forward/loss": module("xlnet_loss").xlnet_loss(p, at_50_digits(to_fields(config)), at_50_digits(inputs))}
