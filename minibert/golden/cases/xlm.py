"""XLM's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.config import to_fields
from minibert.golden.cases.bert import beside, published
from minibert.golden.certify import Double, at_50_digits, module
from minibert.golden.draws import Draws
from minibert.golden.subject import OPTIMIZER, Subject

SIZES = {"vocab_size": 19, "emb_dim": 12, "n_layers": 2, "n_heads": 3, "max_position_embeddings": 11, "n_langs": 3}
LEAST = 4
ADAM = {**OPTIMIZER, "name": "adamw", "weight_decay": 0.01}


def masked(batch: Any, draws: Draws) -> None:
    """Masked targets alone."""
    del batch["labels"]


def following(batch: Any, draws: Draws) -> None:
    """Next tokens alone."""
    for name in [name for name in batch if name.startswith("masked_lm")]:
        del batch[name]


PROBE = families.family("xlm").PROBE
SHORT = {"sinusoidal_embeddings": True, "gelu_activation": False, "use_lang_emb": False}
CASES = {
    "published": published("two sentences with positions and languages of their own, GELU, tied", "xlm", seed=90,
                           optimizer=ADAM, edits=(masked,)),
    "probe": beside("causal, every config field away from its default, dropout masks drawn", "xlm", seed=91,
                    dropout=True, low=None, edits=(following,), config=PROBE),
    "sinusoids": beside("the release's sinusoids, which the loss leaves as they are, and ReLU; no languages", "xlm",
                        seed=92, low=None, edits=(masked,), config=SHORT),
}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """The scalar loops of the network and of its loss, where nothing is dropped."""
    frozen = not subject.config.pad_row_gradient
    return None if any(batch.get("dropout") for batch in subject.batches) else (composed, not frozen)


def composed(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The last hidden states and the loss, under the keys of a case."""
    inputs = {name: values for name, values in batch.items() if name != "dropout"}
    given = p, at_50_digits(to_fields(config)), at_50_digits(inputs)
    last = len(p["encoder"]) - 1
    states = module("xlm_encode").xlm_encode(*given)
    return {f"forward/transformer.layer_norm2.{last}": states, "forward/loss": module("xlm_loss").xlm_loss(*given)}
