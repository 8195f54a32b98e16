"""StructBERT's golden cases."""

from minibert.golden.cases.bert import probe, published

CASES = {
    "published": published("masked and shuffled tokens, pairs of three classes", "structbert", seed=41, steps=(1, 10)),
    "probe": probe("structbert", 42),
}
