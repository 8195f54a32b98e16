"""UniLM's golden cases: a row of each objective."""

from minibert.golden.cases.bert import probe, published

DIMS = {"B": 4, "T": 8}
CASES = {
    "published": published("BERT's network, each query with a mask of its own", "unilm", seed=250, dims=DIMS,
                           steps=(1, 10), config={"type_vocab_size": 6}),
    "probe": probe("unilm", 251),
}
