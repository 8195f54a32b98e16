"""MPNet's published names: BERT's, renamed."""

from minibert.families import bert, mpnet

MODEL_TYPE = "mpnet"
VARIANTS = ("input_mode", "relative_attention_max_distance", *bert.VARIANTS)
RENAMED = {
    "bert.": mpnet.PREFIX,
    ".attention.self.query": ".attention.attn.q",
    ".attention.self.key": ".attention.attn.k",
    ".attention.self.value": ".attention.attn.v",
    ".attention.self": ".attention.attn",
    ".attention.output.dense": ".attention.attn.o",
    ".attention.output": ".attention",
    "cls.predictions.transform.dense": "lm_head.dense",
    "cls.predictions.transform.LayerNorm": "lm_head.layer_norm",
    "cls.predictions.transform": "lm_head.layer_norm",
    "cls.predictions": "lm_head",
}
TABLE, FIRST = f"{mpnet.PREFIX}encoder.relative_attention_bias", "layer.0.attention.attn.q"


def _published(name: str) -> str:
    """BERT's published name as MPNet's."""
    for theirs, own in RENAMED.items():
        name = name.replace(theirs, own)
    return name


def _ours(name: str) -> bool:
    """Whether a published name of BERT's has its like here."""
    return "token_type" not in name and "seq_relationship" not in name


def architectures(config: mpnet.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has; none has the two streams."""
    return {"MPNetModel": ("pooler",), "MPNetForMaskedLM": ("mlm", "pooler")}


def names(config: mpnet.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter: BERT's table, renamed."""
    rows = [(path, _published(name), bijection) for path, name, bijection in bert.names(config) if _ours(name)]
    return [*rows, ("encoder_positions.weight", f"{TABLE}.weight", "identity")]


def activations(config: mpnet.Config) -> list[tuple[str, str, str, str]]:
    """BERT's table, renamed; where tokens are predicted the network's are over the rows of (1)."""
    rows = [(_published(name), path, kind.replace("shared", ""), place)
            for name, path, kind, place in bert.activations(config) if _ours(name)]  # fmt: skip
    found = []
    for row in rows:
        (name, path, kind, place), own = row, ".attention:"
        found += [(TABLE, "encode.encoder_positions.table", "", "embeddings")] if name.endswith(FIRST) else []
        found.append(row)
        if own in path and config.input_mode != "mlm":
            found.append((f"{name}@1", path.replace(own, ".queries:"), kind, place))
    return found


def aliases(config: mpnet.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    return {_published(alias): _published(name) for alias, name in bert.aliases(config).items()}


def unused(config: mpnet.Config) -> tuple[str, ...]:
    """Names in published files that no equation reads."""
    return tuple(_published(name) for name in bert.unused(config))
