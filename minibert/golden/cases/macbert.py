"""MacBERT's golden cases."""

from minibert.golden.cases.bert import probe, published

CASES = {
    "published": published("BERT's network, pairs told apart by their order", "macbert", seed=24, steps=(1, 10)),
    "probe": probe("macbert", 34),
}
