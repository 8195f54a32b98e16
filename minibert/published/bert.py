"""BERT's published names."""

from typing import Any

from minibert.families import bert

MODEL_TYPE = "bert"
PREFIX = "bert."
VARIANTS = ("mask_constant", "pad_row_gradient", "mlm_denominator_eps")


def _last_row(value: Any, fields: dict[str, Any]) -> Any:
    """-1 is the last row of the table, as in torch's padding_idx."""
    rows = fields.get("vocab_size", bert.Config.vocab_size)
    return rows - 1 if value == -1 and type(rows) is int else value


SAID = {"pad_token_id": _last_row}


def architectures(config: bert.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {
        "BertModel": ("pooler",),
        "BertForMaskedLM": ("mlm",),
        "BertForNextSentencePrediction": ("pooler", "nsp"),
        "BertForPreTraining": ("pooler", "mlm", "nsp"),
    }


def names(config: bert.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    dense, table = ("weight", "bias"), ("weight",)
    modules = [
        ("embeddings.word", "bert.embeddings.word_embeddings", table),
        ("embeddings.position", "bert.embeddings.position_embeddings", table),
        ("embeddings.token_type", "bert.embeddings.token_type_embeddings", table),
        ("embeddings.norm", "bert.embeddings.LayerNorm", dense),
    ]
    for i in range(config.num_hidden_layers):
        modules += [
            (f"encoder.{i}.{path}", f"bert.encoder.layer.{i}.{name}", dense)
            for path, name in (
                ("attention.query", "attention.self.query"),
                ("attention.key", "attention.self.key"),
                ("attention.value", "attention.self.value"),
                ("attention.output", "attention.output.dense"),
                ("attention.norm", "attention.output.LayerNorm"),
                ("feed_forward.in", "intermediate.dense"),
                ("feed_forward.out", "output.dense"),
                ("feed_forward.norm", "output.LayerNorm"),
            )
        ]
    # an untied decoder brings its own bias; transformers 5 then leaves cls.predictions.bias unused
    tied = config.tie_word_embeddings
    modules += [
        ("pooler", "bert.pooler.dense", dense),
        ("mlm.dense", "cls.predictions.transform.dense", dense),
        ("mlm.norm", "cls.predictions.transform.LayerNorm", dense),
        ("mlm.decoder", "cls.predictions" if tied else "cls.predictions.decoder", ("bias",) if tied else dense),
        ("nsp", "cls.seq_relationship", dense),
    ]
    return [(f"{path}.{leaf}", f"{name}.{leaf}", "identity") for path, name, leaves in modules for leaf in leaves]


def activations(config: bert.Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order.

    kind: how ours lies: "" the same; "shared" (T, D), published with a leading 1; "rows" (B·T, D), published
    (B, T, D). place: "embeddings", "layer 3" or "head". A path with ":scores" or ":probs" is a part of an attention op
    (`trace.Event.part`).
    """
    embeddings = "bert.embeddings"
    table = [
        (f"{embeddings}.word_embeddings", "encode.embeddings.tables.word", "", "embeddings"),
        (f"{embeddings}.token_type_embeddings", "encode.embeddings.tables.token_type", "", "embeddings"),
        (f"{embeddings}.position_embeddings", "encode.embeddings.tables.position", "shared", "embeddings"),
        (f"{embeddings}.LayerNorm", "encode.embeddings.norm", "", "embeddings"),
        (embeddings, "encode.embeddings", "", "embeddings"),
    ]
    for i in range(config.num_hidden_layers):
        table += [
            (f"bert.encoder.layer.{i}.{name}", f"encode.encoder.{i}.{path}", "", f"layer {i}")
            for name, path in (
                ("attention.self.query", "attention.query"),
                ("attention.self.key", "attention.key"),
                ("attention.self.value", "attention.value"),
                ("attention.self.scores", "attention.attention:scores"),
                ("attention.self.probs", "attention.attention:probs"),
                ("attention.self.context", "attention.merge"),
                ("attention.output.dense", "attention.output"),
                ("attention.output", "attention.add_norm"),
                ("intermediate.dense", "feed_forward.in"),
                ("intermediate", "feed_forward.act"),
                ("output.dense", "feed_forward.out"),
                ("output", "feed_forward.add_norm"),
            )
        ]
    return [
        *table,
        ("bert.pooler.dense", "encode.pooler.dense", "", "head"),
        ("bert.pooler", "encode.pooler", "", "head"),
        ("cls.predictions.transform.dense", "masked_lm.head.dense", "rows", "head"),
        ("cls.predictions.transform", "masked_lm.head.norm", "rows", "head"),
        ("cls.predictions", "masked_lm.head", "rows", "head"),
        ("cls.seq_relationship", "next_sentence.head", "", "head"),
    ]


def aliases(config: bert.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    if not config.tie_word_embeddings:
        return {"cls.predictions.bias": "cls.predictions.decoder.bias"}
    decoder = "cls.predictions.decoder"
    return {f"{decoder}.weight": "bert.embeddings.word_embeddings.weight", f"{decoder}.bias": "cls.predictions.bias"}


def unused(config: bert.Config) -> tuple[str, ...]:
    """Names in published files that no equation reads."""
    return () if config.tie_word_embeddings else ("cls.predictions.bias",)
