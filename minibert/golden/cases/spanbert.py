"""SpanBERT's golden cases."""

from minibert.golden.cases import bert
from minibert.golden.cases.bert import probe, published

SIZES = {**bert.SIZES, "span_position_size": 7, "max_span": 5}
CASES = {
    "published": published("masked tokens and the span boundary objective", "spanbert", seed=23, steps=(1, 10)),
    "probe": probe("spanbert", 33),
}
