"""GPT-2's golden cases."""

from minibert import families
from minibert.golden.cases.bert import beside, published
from minibert.golden.subject import OPTIMIZER

# n_inner is 4·n_embd unless given; AdamW as in training of GPT-2's kind, everything but biases and norms decays
SIZES = {"vocab_size": 19, "n_positions": 11, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_inner": 20}
LEAST = 4
ADAMW = {**OPTIMIZER, "name": "adamw", "weight_decay": 0.1}
CASES = {
    "published": published("pre-norm, causal, final norm, tanh GELU, tied", "gpt2", seed=60, optimizer=ADAMW),
    "probe": beside("every config field away from its default, dropout masks drawn", "gpt2", seed=61, dropout=True,
                    config={**families.family("gpt2").PROBE, "initializer_range": 0.4}),
}  # fmt: skip
