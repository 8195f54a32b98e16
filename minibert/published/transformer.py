"""The Transformer's published names."""

from minibert.families import transformer

MODEL_TYPE = "transformer"
PREFIX = ""
VARIANTS = ("norm_first", "final_norm", "attention_bias", "positions")
FIELDS = {
    "hidden_size": "d_model",
    "num_hidden_layers": "num_encoder_layers",
    "num_attention_heads": "nhead",
    "intermediate_size": "dim_feedforward",
    "hidden_act": "activation",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
}


def architectures(config: transformer.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"Transformer": ()}


def names(config: transformer.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter, as torch.nn.Transformer has them: query, key
    and value are one tensor; the table is beside it.
    """
    leaves, found = ("weight", "bias"), [("embeddings.word.weight", "embedding.weight", "identity")]
    for stack, attentions in transformer.STACKS.items():
        for i in range(transformer.depth(config, stack)):
            ours, theirs = f"{stack}.{i}", f"{stack}.layers.{i}"
            for n, part in enumerate(attentions, 1):
                own = f"{ours}.{transformer.PARTS[part]}"
                for leaf in leaves if config.attention_bias else leaves[:1]:
                    thirds = ("query", "key", "value")
                    found += [(f"{own}.{name}.{leaf}", f"{theirs}.{part}.in_proj_{leaf}", "split") for name in thirds]
                    found.append((f"{own}.output.{leaf}", f"{theirs}.{part}.out_proj.{leaf}", "identity"))
                found += [(f"{own}.norm.{leaf}", f"{theirs}.norm{n}.{leaf}", "identity") for leaf in leaves]
            last = (("in", "linear1"), ("out", "linear2"), ("norm", f"norm{len(attentions) + 1}"))
            found += [(f"{ours}.feed_forward.{one}.{leaf}", f"{theirs}.{name}.{leaf}", "identity")
                      for one, name in last for leaf in leaves]  # fmt: skip
        if config.norm_first or config.final_norm:
            found += [(f"{stack}_norm.{leaf}", f"{stack}.norm.{leaf}", "identity") for leaf in leaves]
    return found


def activations(config: transformer.Config) -> list[tuple[str, str, str, str]]:
    """(module whose output it is, path in a dense loss cache, kind, place) in forward order; what torch.nn.Transformer
    has no module for is called as its parts are.
    """
    table, end = [], "add" if config.norm_first else "add_norm"
    for stack, attentions in transformer.STACKS.items():
        own = f"encode.{stack}_embeddings"
        table += [(f"{stack}.embedding", f"{own}.tables.word", "", f"{stack} embeddings"),
                  (f"{stack}.embedding.dropout", own, "", f"{stack} embeddings")]  # fmt: skip
        for i in range(transformer.depth(config, stack)):
            subs = [(transformer.PARTS[part], _attending(part)) for part in attentions] + [("feed_forward", FED)]
            rows = []
            for n, (part, inside) in enumerate(subs, 1):
                norm = (f"norm{n}", f"{part}.norm" if config.norm_first else f"{part}.{end}")
                own = [(name, f"{part}.{path}") for name, path in inside] + [(f"dropout{n}", f"{part}.{end}.dropout")]
                rows += [norm, *own] if config.norm_first else [*own, norm]
            rows = [(f".{name}", f".{path}") for name, path in rows] + [("", "")]
            table += [(f"{stack}.layers.{i}{name}", f"encode.{stack}.{i}{path}", "", f"{stack} layer {i}")
                      for name, path in rows]  # fmt: skip
        if config.norm_first or config.final_norm:
            table.append((f"{stack}.norm", f"encode.{stack}_norm", "", f"{stack} head"))
    return [*table, ("logits", "next_token.head", "rows", "head")]


FED = (("linear1", "in"), ("activation", "act"), ("linear2", "out"))


def _attending(part: str) -> list[tuple[str, str]]:
    rows = [(f"{part}.{name}", name) for name in ("query", "key", "value")]
    rows += [(f"{part}.{name}", f"attention:{name}") for name in ("scores", "probs")]
    return [*rows, (f"{part}.context", "merge"), (part, "output")]


def aliases(config: transformer.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    return {f"{stack}.embedding.weight": "embedding.weight" for stack in transformer.STACKS}
