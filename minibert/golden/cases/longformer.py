"""Longformer's golden cases."""

from minibert import families
from minibert.golden.cases import bert
from minibert.golden.cases.bert import Batch, beside, published
from minibert.golden.draws import Draws
from minibert.golden.subject import OPTIMIZER

# rows of a multiple of every window: ports pad to it
SIZES = {**bert.SIZES, "max_position_embeddings": 14, "attention_window": (4, 6)}
ADAM = {**OPTIMIZER, "name": "roberta_adam", "schedule": "linear"}
LONG = {"B": 3, "T": 12}
PROBE = {**families.family("longformer").PROBE, "initializer_range": 0.4, "tie_word_embeddings": False}


def nowhere_global(batch: Batch, draws: Draws) -> None:
    """No token is global."""
    batch["global_attention_mask"] = 0 * batch["global_attention_mask"]


CASES = {
    "published": published("windows of two sizes; two global tokens, one, none", "longformer", seed=100, dims=LONG,
                           optimizer=ADAM),
    "local": beside("windows alone: what is global learns nothing", "longformer", seed=101, low=None, dims=LONG,
                    config={"num_hidden_layers": 1, "attention_window": 4}, edits=(nowhere_global,)),
    "probe": beside("heads dilated, every config field away from its default, dropout masks drawn", "longformer",
                    seed=102, dims=LONG, config={**PROBE, "attention_dilation": (1, 2, 2, 1)}, dropout=True),
}  # fmt: skip
