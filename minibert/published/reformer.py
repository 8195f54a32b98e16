"""Reformer's published names."""

from typing import Any

Tree = dict[str, Any]
MODEL_TYPE = "reformer"
PREFIX = "reformer."
VARIANTS = ("lsh_masking",)
# the layers' number is that of attn_layers
DROPPED: Tree = {"num_hidden_layers": ()}
SAID = {"eos_token_id": lambda value, _: value[0] if isinstance(value, list) and value else value}
SELF = "attention.self_attention."
EMBEDDINGS, LAYERS = "reformer.embeddings.", "reformer.encoder.layers."


def architectures(config: Any) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"ReformerModelWithLMHead" if config.is_decoder else "ReformerForMaskedLM": ("lm",), "ReformerModel": ()}


def names(config: Any) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    rows = [("embeddings.word.weight", f"{EMBEDDINGS}word_embeddings.weight", "identity")]
    if config.axial_pos_embds:
        shape, wide = config.axial_pos_shape, config.axial_pos_embds_dim
        theirs = (f"{shape[0]}x1x{wide[0]}", f"1x{shape[1]}x{wide[1]}")
        rows += [(f"embeddings.axial.{i}.weight", f"{EMBEDDINGS}position_embeddings.weights.{i}",
                  f"reshape:{shape[i]}x{wide[i]}->{theirs[i]}") for i in (0, 1)]  # fmt: skip
    else:
        rows.append(("embeddings.position.weight", f"{EMBEDDINGS}position_embeddings.embedding.weight", "identity"))
    for i, kind in enumerate(config.attn_layers):
        own = projections(kind).items()
        parts = [(f"attention.{ours}.weight", f"{SELF}{theirs}.weight") for ours, theirs in own]
        parts.append(("attention.output.weight", "attention.output.dense.weight"))
        for ours, theirs in (("attention.norm", "attention.layer_norm"),
                             ("feed_forward.norm", "feed_forward.layer_norm"),
                             ("feed_forward.in", "feed_forward.dense.dense"),
                             ("feed_forward.out", "feed_forward.output.dense")):  # fmt: skip
            parts += [(f"{ours}.{leaf}", f"{theirs}.{leaf}") for leaf in ("weight", "bias")]
        rows += [(f"encoder.{i}.{ours}", f"{LAYERS}{i}.{theirs}", "identity") for ours, theirs in parts]
    rows += [(f"norm.{leaf}", f"reformer.encoder.layer_norm.{leaf}", "identity") for leaf in ("weight", "bias")]
    return [*rows, ("lm.decoder.weight", "lm_head.decoder.weight", "identity"),
            ("lm.decoder.bias", "lm_head.bias", "identity")]  # fmt: skip


def projections(kind: str) -> dict[str, str]:
    """What attention of a kind projects, and what that is called."""
    return {"query": "query_key", "value": "value"} if kind == "lsh" else {n: n for n in ("query", "key", "value")}


def aliases(config: Any) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    return {"lm_head.decoder.bias": "lm_head.bias"}


def unused(config: Any) -> tuple[str, ...]:
    """Names in published files that no equation reads: older ones hold the constants of masks."""
    constants = {"lsh": ("self_mask_value_float16", "self_mask_value_float32"), "local": ()}
    both = ("mask_value_float16", "mask_value_float32")
    return tuple(f"{LAYERS}{i}.attention.self_attention.{name}" for i, kind in enumerate(config.attn_layers)
                 for name in (*constants[kind], *both))  # fmt: skip


def activations(config: Any) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    table = [
        (f"{EMBEDDINGS}word_embeddings", "encode.embeddings.word", "", "embeddings"),
        ("reformer.embeddings", "encode.embeddings", "", "embeddings"),
    ]
    for i, kind in enumerate(config.attn_layers):
        table += [
            (f"{LAYERS}{i}.{name}", f"encode.encoder.{i}.{path}", "", f"layer {i}")
            for name, path in (
                ("attention.layer_norm", "attention.norm"),
                *((f"{SELF}{theirs}", f"attention.{ours}") for ours, theirs in projections(kind).items()),
                ("attention.self_attention", "attention.merge"),
                ("attention.output.dense", "attention.output"),
                ("attention", "attention.add.dropout"),
                ("feed_forward.layer_norm", "feed_forward.feed.whole.norm"),
                ("feed_forward.dense.dense", "feed_forward.feed.whole.in"),
                ("feed_forward.dense", "feed_forward.feed.whole.act"),
                ("feed_forward.output.dense", "feed_forward.feed.whole.out"),
                ("feed_forward", "feed_forward.add.dropout"),
            )
        ]
    return [
        *table,
        ("reformer.encoder.layer_norm", "encode.norm", "", "head"),
        ("reformer.encoder", "encode.dropout", "", "head"),
        ("lm_head.decoder", "next_token.head" if config.is_decoder else "masked_lm.head", "rows", "head"),
    ]
