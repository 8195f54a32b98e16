"""ALBERT's golden cases."""

from minibert.golden.cases import bert
from minibert.golden.cases.bert import beside, probe, published
from minibert.golden.subject import OPTIMIZER

SIZES = {**bert.SIZES, "embedding_size": 8}
FIRST = {"hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
         "mlm_denominator_eps": 1e-5}  # fmt: skip
CASES = {
    "published": published("one shared layer, a map from narrow embeddings, sentence order", "albert", seed=21),
    "probe": probe("albert", 31),
    "groups": beside("two groups of two inner layers each, the first group used twice", "albert", seed=42,
                     dims={"B": 2, "T": 9},
                     config={"num_hidden_layers": 3, "num_hidden_groups": 2, "inner_group_num": 2}),
    "unshared": beside("nothing shared between two layers", "albert", seed=43, low=None, config={"sharing": "none"}),
    "square": beside("tables as wide as the network, mapped all the same", "albert", seed=51, low=None,
                     config={"embedding_size": 12}),
    "version-1": beside("the first version: erf, dropout masks drawn, the release's denominator", "albert", seed=44,
                        low=None, dropout=True, config=FIRST),
    "lamb": beside("LAMB", "albert", seed=45, steps=(1, 10), low=None, optimizer={**OPTIMIZER, "name": "lamb"}),
}  # fmt: skip
