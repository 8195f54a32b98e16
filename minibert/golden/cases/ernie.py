"""ERNIE's golden cases."""

from minibert.golden.cases.bert import probe, published

CASES = {
    "published": published("ReLU, eps 1e-5, no table of tasks", "ernie", seed=43, steps=(1, 10)),
    "probe": probe("ernie", 44),
}
