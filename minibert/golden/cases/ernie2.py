"""ERNIE 2.0's golden cases."""

from minibert.golden.cases.bert import probe, published

CASES = {
    "published": published("a table of tasks, seven tasks asked at once", "ernie2", seed=45, steps=(1, 10)),
    "probe": probe("ernie2", 46),
}
