from published import Published

PUBLISHED = [
    Published(
        "electra",
        "ElectraForMaskedLM",
        labels={"labels": "masked_lm"},
        fields={"role": "generator", "hidden_act": "gelu_new"},
        configs=({}, {"embedding_size": 24, "hidden_act": "relu"}, {"tie_word_embeddings": False}),
    ),
    Published(
        "electra",
        "ElectraForPreTraining",
        labels={"labels": "replaced_token"},
        fields={"role": "discriminator", "hidden_act": "gelu_new"},
        configs=({}, {"embedding_size": 24, "hidden_act": "gelu"}),
    ),
]
DIRECTORIES = {"ElectraForMaskedLM": {"mlm"}, "ElectraForPreTraining": {"rtd"}, "ElectraModel": set()}
