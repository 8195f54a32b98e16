"""MPNet's golden cases."""

from minibert import families
from minibert.golden.cases import bert
from minibert.golden.cases.bert import Batch, beside, published
from minibert.golden.draws import Draws
from minibert.golden.subject import OPTIMIZER

SIZES = {name: size for name, size in bert.SIZES.items() if name != "type_vocab_size"} | {
    "max_position_embeddings": 13, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 7,
}  # fmt: skip
ADAM = {**OPTIMIZER, "name": "roberta_adam", "schedule": "linear"}
ALONE = {"input_mode": "mlm"}


def in_drawn_order(batch: Batch, draws: Draws) -> None:
    """The targets of each row in an order as drawn."""
    batch["masked_lm_positions"] = batch["masked_lm_positions"][:, draws.permutation(batch["masked_lm_ids"].shape[1])]


PROBE = {**families.family("mpnet").PROBE, "initializer_range": 0.4, "tie_word_embeddings": False,
         "input_mode": "plm"}  # fmt: skip
CASES = {
    "published": published("one stream, relative positions of all layers, as ports have it", "mpnet", seed=90,
                           optimizer=ADAM, config=ALONE),
    "streams": beside("masked and permuted: two streams over the same weights", "mpnet", seed=91, low=None, steps=(1,),
                      edits=(in_drawn_order,)),
    "probe": beside("without placeholders, every config field away from its default, dropout masks drawn", "mpnet",
                    seed=92, config=PROBE, dropout=True, edits=(in_drawn_order,)),
}  # fmt: skip
