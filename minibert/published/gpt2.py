"""GPT-2's published names."""

from minibert.families import gpt2

MODEL_TYPE = "gpt2"
PREFIX = "transformer."
VARIANTS = ("initialization",)
FIELDS = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "hidden_act": "activation_function",
    "hidden_dropout_prob": "resid_pdrop",
    "attention_probs_dropout_prob": "attn_pdrop",
    "max_position_embeddings": "n_positions",
    "layer_norm_eps": "layer_norm_epsilon",
}
# of several ends the first; all are among the settings of `generate`. Below 0: none, as older files say it
SAID = {
    "eos_token_id": lambda value, _: value[0] if isinstance(value, list) and value else value,
    "pad_token_id": lambda value, _: None if value == -1 else value,
}


def architectures(config: gpt2.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"GPT2LMHeadModel": () if config.tie_word_embeddings else ("lm",), "GPT2Model": ()}


def names(config: gpt2.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter: weights of layers lie (in, out) in published
    files, query, key and value side by side in one.
    """
    rows = [(f"embeddings.{ours}.weight", f"transformer.{theirs}.weight", "identity")
            for ours, theirs in (("word", "wte"), ("position", "wpe"))]  # fmt: skip
    for i in range(config.n_layer):
        for ours, theirs, weight in (
            ("attention.norm", "ln_1", "identity"),
            *((f"attention.{name}", "attn.c_attn", "transpose split:1") for name in ("query", "key", "value")),
            ("attention.output", "attn.c_proj", "transpose"),
            ("feed_forward.norm", "ln_2", "identity"),
            ("feed_forward.in", "mlp.c_fc", "transpose"),
            ("feed_forward.out", "mlp.c_proj", "transpose"),
        ):
            rows.append((f"decoder.{i}.{ours}.weight", f"{gpt2.LAYERS}{i}.{theirs}.weight", weight))
            rows.append((f"decoder.{i}.{ours}.bias", f"{gpt2.LAYERS}{i}.{theirs}.bias", "identity"))
    rows += [(f"norm.{leaf}", f"transformer.ln_f.{leaf}", "identity") for leaf in ("weight", "bias")]
    return rows if config.tie_word_embeddings else [*rows, ("lm.decoder.weight", "lm_head.weight", "identity")]


def activations(config: gpt2.Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    table = [
        ("transformer.wte", "encode.embeddings.tables.word", "", "embeddings"),
        ("transformer.wpe", "encode.embeddings.tables.position", "shared", "embeddings"),
        ("transformer.wte@1", "encode.embeddings.tables.token_type", "", "embeddings"),
        ("transformer.drop", "encode.embeddings", "", "embeddings"),
    ]
    for i in range(config.n_layer):
        table += [
            (f"{gpt2.LAYERS}{i}{name}", f"encode.decoder.{i}{path}", kind, f"layer {i}")
            for name, path, kind in (
                (".ln_1", ".attention.norm", ""),
                *((".attn.c_attn", f".attention.{name}", "joined") for name in ("query", "key", "value")),
                (".attn.scores", ".attention.attention:scores", ""),
                (".attn.probs", ".attention.attention:probs", ""),
                (".attn.context", ".attention.merge", ""),
                (".attn.c_proj", ".attention.output", ""),
                (".attn", ".attention.add.dropout", ""),
                (".ln_2", ".feed_forward.norm", ""),
                (".mlp.c_fc", ".feed_forward.in", ""),
                (".mlp.act", ".feed_forward.act", ""),
                (".mlp.c_proj", ".feed_forward.out", ""),
                (".mlp", ".feed_forward.add.dropout", ""),
                ("", "", ""),
            )
        ]
    return [
        *table,
        ("transformer.ln_f", "encode.norm", "", "head"),
        ("lm_head", "next_token.head", "rows", "head"),
    ]


def aliases(config: gpt2.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    return {"lm_head.weight": "transformer.wte.weight"} if config.tie_word_embeddings else {}


def unused(config: gpt2.Config) -> tuple[str, ...]:
    """Names in published files that no equation reads: older ones hold the masks."""
    return tuple(f"{gpt2.LAYERS}{i}.attn.{name}" for i in range(config.n_layer) for name in ("bias", "masked_bias"))
