"""GPT-2's golden cases."""

from minibert import families
from minibert.golden.cases.bert import beside, published
from minibert.golden.recipe import CaseRecipe
from minibert.golden.subject import OPTIMIZER

# n_inner is 4·n_embd unless given; AdamW as in training of GPT-2's kind, everything but biases and norms decays
SIZES = {
    "vocab_size": 19, "n_positions": 11, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_inner": 20, "bos_token_id": 7,
    "eos_token_id": 7,
}  # fmt: skip
LEAST = 4
ADAMW = {**OPTIMIZER, "name": "adamw", "weight_decay": 0.1}
GOING_ON = {"n_positions": 24}
RUNS = {
    "greedy": {},
    "beams": {"num_beams": 3, "length_penalty": 0.5, "no_repeat_ngram_size": 2},
    "patient": {"num_beams": 4, "early_stopping": "never", "length_penalty": 2.0},
    "sampled": {"do_sample": True, "temperature": 0.8, "top_k": 7, "top_p": 0.9},
}
CASES = {
    "published": published("pre-norm, causal, final norm, tanh GELU, tied", "gpt2", seed=60, optimizer=ADAMW),
    "probe": beside("every config field away from its default, dropout masks drawn", "gpt2", seed=61, dropout=True,
                    config={**families.family("gpt2").PROBE, "initializer_range": 0.4}),
    "generation": CaseRecipe("prompts of unequal length: logits token by token, greedy, beams, sampled", "gpt2",
                             kind="generation", seed=167, dims={"B": 3, "T": 5}, steps=(), config=GOING_ON, runs=RUNS),
}  # fmt: skip
