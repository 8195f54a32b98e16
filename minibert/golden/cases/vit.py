"""ViT's golden cases."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.subject import Subject

SIZES = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 10, "image_size": 6,
         "patch_size": 3, "num_channels": 2, "encoder_stride": 3}  # fmt: skip
DIMS = {"B": 3}
PROBE = {**families.family("vit").PROBE, "initializer_range": 0.4}
CASES = {
    "published": published("hidden patches, biases everywhere; nothing dropped", "vit", seed=130, low=None, dims=DIMS),
    "probe": beside("every field away from its default, dropout masks drawn", "vit", seed=131, low=None, dropout=True,
                    dims=DIMS, config=PROBE),
    "size": beside("pictures of another size", "vit", seed=132, low=None, dims={"B": 2, "Y": 9, "X": 12}),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the loss, where nothing is dropped."""
    dropped = any(batch.get("dropout") for batch in subject.batches)
    return None if dropped else (partial(composed, f"{subject.family}_loss"), True)


def composed(loss: str, p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The loss, under its key of a case."""
    given = at_50_digits(to_fields(config)), at_50_digits({k: a for k, a in batch.items() if k != "dropout"})
    return {"forward/loss": getattr(module(loss), loss)(p, *given)}
