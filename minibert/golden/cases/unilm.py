"""UniLM's golden cases: a row of each objective."""

from minibert.golden.cases.bert import probe, published
from minibert.golden.recipe import CaseRecipe

DIMS = {"B": 4, "T": 8}
RUNS = {"greedy": {}, "beams": {"num_beams": 3, "length_penalty": 0.3, "no_repeat_ngram_size": 2}}
CASES = {
    "published": published("BERT's network, each query with a mask of its own", "unilm", seed=250, dims=DIMS,
                           steps=(1, 10), config={"type_vocab_size": 6}),
    "probe": probe("unilm", 251),
    "generation": CaseRecipe("a mask behind what is written, read left to right or behind a source: logits token by "
                             "token, greedy, beams", "unilm", kind="generation", seed=252, dims={"B": 3, "T": 5},
                             steps=(), runs=RUNS, fills={"mask": 3, "end": 2},
                             config={"type_vocab_size": 6, "max_position_embeddings": 24}),
}  # fmt: skip
