"""Golden cases of heads of tasks, each over one family."""

from minibert.golden.recipe import CaseRecipe

SIZES = {"vocab_size": 13, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 9,
         "max_position_embeddings": 9, "type_vocab_size": 1, "hidden_act": "gelu"}  # fmt: skip
CASES = {
    "classify": CaseRecipe("a layer with tanh over the first token, dropout twice, two classes", "roberta+classify",
                           seed=310, dims={"B": 3, "T": 6}, dropout=True, steps=(), config=SIZES),
}  # fmt: skip
