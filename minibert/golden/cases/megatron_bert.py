"""Megatron-BERT's golden cases."""

from minibert.golden.cases.bert import beside, probe, published

CASES = {
    "published": published("pre-norm, a norm behind the last layer, none of the embeddings", "megatron_bert", seed=90),
    "probe": probe("megatron_bert", 91),
    "release": beside("the release's: the tanh form in the layers, the erf form in the head", "megatron_bert", seed=92,
                      low=None, config={"hidden_act": "gelu_new", "mlm_act": "gelu", "layer_norm_eps": 1e-5}),
}  # fmt: skip
