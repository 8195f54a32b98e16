"""ALBERT's published names."""

from minibert.families import albert, bert

MODEL_TYPE = "albert"
VARIANTS = (*bert.VARIANTS, "sharing", "square_map", "feed_forward_dropout")
# leftovers of the release's configurations
DROPPED = {"down_scale_factor": (1,), "gap_size": (0,), "net_structure_type": (0,), "num_memory_blocks": (0,)}


def architectures(config: albert.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {
        "AlbertModel": ("pooler",),
        "AlbertForMaskedLM": ("mlm",),
        "AlbertForPreTraining": ("pooler", "mlm", "sop"),
    }


ATTENTION = (
    ("attention.query", "attention.query"),
    ("attention.key", "attention.key"),
    ("attention.value", "attention.value"),
    ("attention.output", "attention.dense"),
    ("attention.norm", "attention.LayerNorm"),
)
FEED_FORWARD = (
    ("feed_forward.in", "ffn"),
    ("feed_forward.out", "ffn_output"),
    ("feed_forward.norm", "full_layer_layer_norm"),
)


def names(config: albert.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    dense, table, tree_of = ("weight", "bias"), ("weight",), albert.shapes(config)
    modules = [
        ("embeddings.word", "albert.embeddings.word_embeddings", table),
        ("embeddings.position", "albert.embeddings.position_embeddings", table),
        ("embeddings.token_type", "albert.embeddings.token_type_embeddings", table),
        ("embeddings.norm", "albert.embeddings.LayerNorm", dense),
    ]
    if "map" in tree_of:
        modules.append(("map", "albert.encoder.embedding_hidden_mapping_in", dense))
    for i, entry in enumerate(tree_of["encoder"]):
        modules += [
            (f"encoder.{i}.{path}", f"{albert._module(config, i)}.{name}", dense)
            for path, name in ATTENTION + FEED_FORWARD
            if path.split(".")[0] in entry
        ]
    # an untied decoder brings its own bias; ports then leave predictions.bias unused
    tied = config.tie_word_embeddings
    modules += [
        ("pooler", "albert.pooler", dense),
        ("mlm.dense", "predictions.dense", dense),
        ("mlm.norm", "predictions.LayerNorm", dense),
        ("mlm.decoder", "predictions" if tied else "predictions.decoder", ("bias",) if tied else dense),
        ("sop", "sop_classifier.classifier", dense),
    ]
    return [(f"{path}.{leaf}", f"{name}.{leaf}", "identity") for path, name, leaves in modules for leaf in leaves]


def activations(config: albert.Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order, as in BERT's.

    A shared module is called several times: the n-th call after the first has "@n" behind its name.
    """
    embeddings = "albert.embeddings"
    table = [
        (f"{embeddings}.word_embeddings", "encode.embeddings.tables.word", "", "embeddings"),
        (f"{embeddings}.token_type_embeddings", "encode.embeddings.tables.token_type", "", "embeddings"),
        (f"{embeddings}.position_embeddings", "encode.embeddings.tables.position", "shared", "embeddings"),
        (f"{embeddings}.LayerNorm", "encode.embeddings.norm", "", "embeddings"),
        (embeddings, "encode.embeddings", "", "embeddings"),
        ("albert.encoder.embedding_hidden_mapping_in", "encode.map", "", "embeddings"),
    ]
    for i, call in enumerate(albert._calls(config)):
        table += [
            (call[path.split(".")[0]].format(name), f"encode.encoder.{i}.{path}", "", f"layer {i}")
            for name, path in (
                ("attention.query", "attention.query"),
                ("attention.key", "attention.key"),
                ("attention.value", "attention.value"),
                ("attention.scores", "attention.attention:scores"),
                ("attention.probs", "attention.attention:probs"),
                ("attention.context", "attention.merge"),
                ("attention.dense", "attention.output"),
                ("attention", "attention.add_norm"),
                ("ffn", "feed_forward.in"),
                ("activation", "feed_forward.act"),
                ("ffn_output", "feed_forward.out"),
                ("full_layer_layer_norm", "feed_forward.add_norm"),
            )
        ]
    return [
        *table,
        ("albert.pooler", "encode.pooler.dense", "", "head"),
        ("albert.pooler_activation", "encode.pooler", "", "head"),
        ("predictions.dense", "masked_lm.head.dense", "rows", "head"),
        ("predictions.LayerNorm", "masked_lm.head.norm", "rows", "head"),
        ("predictions", "masked_lm.head", "rows", "head"),
        ("sop_classifier", "sentence_order.head", "", "head"),
    ]


def aliases(config: albert.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    if not config.tie_word_embeddings:
        return {"predictions.bias": "predictions.decoder.bias"}
    decoder = "predictions.decoder"
    return {f"{decoder}.weight": "albert.embeddings.word_embeddings.weight", f"{decoder}.bias": "predictions.bias"}


def unused(config: albert.Config) -> tuple[str, ...]:
    """Names in published files that no equation reads."""
    return () if config.tie_word_embeddings else ("predictions.bias",)
