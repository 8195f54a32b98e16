"""RoBERTa's golden cases."""

from minibert.golden.cases import bert
from minibert.golden.cases.bert import beside, padded_left, probe, published
from minibert.golden.subject import OPTIMIZER

SIZES = {**bert.SIZES, "max_position_embeddings": 13}  # the first two rows are no positions
ADAM = {**OPTIMIZER, "name": "roberta_adam", "schedule": "linear"}  # everything decays
SHALLOW = {"num_hidden_layers": 1}
CASES = {
    "published": published("positions from the padding id on, one token type, eps 1e-5", "roberta", seed=20),
    "probe": probe("roberta", 30),
    "adam": beside("RoBERTa's Adam: both moments corrected, everything decays", "roberta", seed=40, steps=(1, 10),
                   low=None, optimizer=ADAM, config=SHALLOW),
    "next-sentence": beside("the ablations' next-sentence term, two token types", "roberta", seed=41, low=None,
                            config={"next_sentence": True, "type_vocab_size": 2}),
    "padding": beside("rows padded on the left: positions begin with the tokens", "roberta", seed=52, low=None,
                      edits=(padded_left,), config=SHALLOW),
}  # fmt: skip
