"""BART: transformers' BartForConditionalGeneration, what its page asks for, and the state from token to token."""

from published import Published

from minibert.families import bart

LABELS = {"labels": "next_token"}
CONFIGS = (
    {"activation_function": "gelu", "scale_embedding": True},
    {"activation_function": "gelu_new"},
    {"activation_function": "relu", "scale_embedding": True, "tie_word_embeddings": False},
)
OWN = {"decoder_layers": 2, "decoder_ffn_dim": 31, "encoder_attention_heads": 4, "decoder_attention_heads": 3,
       "activation_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 4, "forced_eos_token_id": 6,
       "decoder_start_token_id": 3}  # fmt: skip
PUBLISHED = [Published("bart", "BartForConditionalGeneration", LABELS, OWN, CONFIGS)]
DIRECTORIES = {"BartForConditionalGeneration": {"lm"}, "BartModel": set()}
