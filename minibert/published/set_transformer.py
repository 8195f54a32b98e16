"""Set Transformer's published names."""

from minibert.families import set_transformer

MODEL_TYPE = "set_transformer"
PREFIX = ""
VARIANTS = ("attention_scale",)
FIELDS = {"hidden_size": "dim_hidden", "num_hidden_layers": "num_layers", "num_attention_heads": "num_heads",
          "embedding_size": "dim_input"}  # fmt: skip


def architectures(config: set_transformer.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"SetTransformer": ("lm",), "SetEncoder": ()}


def mabs(config: set_transformer.Config) -> list[tuple[str, str, str]]:
    """(path, module, place) of every MAB, in forward order."""
    found = []
    for i in range(config.num_layers):
        own = (("induce", "mab0"), ("read", "mab1")) if config.num_inds else (("", "mab"),)
        found += [(f"encoder.{i}.{ours}".rstrip("."), f"enc.{i}.{theirs}", f"layer {i}") for ours, theirs in own]
    found.append(("pool", "dec.0.mab", "head"))
    return [*found, *((f"decoder.{i}", f"dec.{i + 1}.mab", "head") for i in range(config.decoder_layers))]


def names(config: set_transformer.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    d = config.dim_hidden
    rows = [("embeddings.word.weight", "embedding.weight", "identity")]
    if config.num_inds:
        sizes = f"reshape:{config.num_inds}x{d}->1x{config.num_inds}x{d}"
        rows += [(f"encoder.{i}.points.weight", f"enc.{i}.I", sizes) for i in range(config.num_layers)]
    rows.append(("pool.seeds.weight", "dec.0.S", f"reshape:{config.num_outputs}x{d}->1x{config.num_outputs}x{d}"))
    parts = {"attention.query": "fc_q", "attention.key": "fc_k", "attention.value": "fc_v", "feed_forward.out": "fc_o"}
    parts |= {"attention.norm": "ln0", "feed_forward.norm": "ln1"} if config.ln else {}
    rows += [(f"{path}.{ours}.{leaf}", f"{module}.{theirs}.{leaf}", "identity")
             for path, module, _ in mabs(config) for ours, theirs in parts.items()
             for leaf in ("weight", "bias")]  # fmt: skip
    return [*rows, ("lm.decoder.weight", f"dec.{config.decoder_layers + 1}.weight", "identity")]


def aliases(config: set_transformer.Config) -> dict[str, str]:
    """No tensor stands twice."""
    return {}


def unused(config: set_transformer.Config) -> tuple[str, ...]:
    """None."""
    return ()


def activations(config: set_transformer.Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    table = [("embedding", "encode.word", "", "embeddings")]
    for path, module, place in mabs(config):
        own = "" if path.endswith(("induce", "read")) else ".set_attention"
        parts = {"fc_q": "query", "fc_k": "key", "fc_v": "value", "fc_o": "out"}
        parts |= {"ln0": "attention_norm", "ln1": "feed_forward_norm"} if config.ln else {}
        table += [(f"{module}.{theirs}", f"encode.{path}{own}.{ours}", "", place) for theirs, ours in parts.items()]
    return [*table, (f"dec.{config.decoder_layers + 1}", "target_token.head", "rows", "head")]
