"""ERNIE's published names."""

from minibert.families import bert, ernie_thu

MODEL_TYPE = "ernie_thu"
VARIANTS = (*bert.VARIANTS, "entity_gradient")
KEPT = ("entities",)
STREAM = (
    ("entity_attention.query", "attention.self_ent.query"),
    ("entity_attention.key", "attention.self_ent.key"),
    ("entity_attention.value", "attention.self_ent.value"),
    ("entity_attention.output", "attention.output_ent.dense"),
    ("entity_attention.norm", "attention.output_ent.LayerNorm"),
    ("entity_feed_forward.in", "intermediate.dense_ent"),
    ("entity_feed_forward.out", "output.dense_ent"),
    ("entity_feed_forward.norm", "output.LayerNorm_ent"),
)
HEAD = (("entity.dense", "dense"), ("entity.norm", "LayerNorm"))  # of cls.predictions_ent.transform


def architectures(config: ernie_thu.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has; in the release's own files no vectors."""
    whole = ("pooler", "mlm", "nsp", "entity", "entities")
    return {"BertModel": ("pooler",), "BertForMaskedLM": ("mlm",), "BertForPreTraining": whole}


def names(config: ernie_thu.Config) -> list[tuple[str, str, str]]:
    """BERT's, those of the entities' stream and head; the table, of which the release has a file of text, is ours."""
    there, leaves = ernie_thu.shapes(config)["encoder"], ("weight", "bias")
    rows = [(f"encoder.{i}.{path}.{leaf}", f"{ernie_thu.LAYERS}{i}.{name}.{leaf}", "identity")
            for i, layer in enumerate(there) for path, name in STREAM for leaf in leaves
            if path.split(".")[1] in layer.get(path.split(".")[0], ())]  # fmt: skip
    rows += [(f"{path}.{leaf}", f"cls.predictions_ent.transform.{name}.{leaf}", "identity")
             for path, name in HEAD for leaf in leaves]  # fmt: skip
    return [*bert.names(config), *rows, ("entities.weight", "entity_embeddings.weight", "identity")]


def unused(config: ernie_thu.Config) -> tuple[str, ...]:
    """BERT's, and the last entity output, which nobody reads."""
    last = f"{ernie_thu.LAYERS}{ernie_thu.last_fusion(config)}.output"
    own = [f"{last}.{name}.{leaf}" for name in ("dense_ent", "LayerNorm_ent") for leaf in ("weight", "bias")]
    return (*bert.unused(config), *own)


BEHIND = {  # what of the entities' stream stands behind which module of a layer: (published name, path in its cache)
    "attention.output": (
        *((f"attention.self_ent.{part}", f"entity_attention.{part}") for part in ("query", "key", "value")),
        ("attention.self_ent.scores", "entity_attention.attention:scores"),
        ("attention.self_ent.probs", "entity_attention.attention:probs"),
        ("attention.self_ent.context", "entity_attention.merge"),
        ("attention.output_ent.dense", "entity_attention.output"),
        ("attention.output_ent", "entity_attention.add_norm"),
    ),
    "intermediate.dense": (("intermediate.dense_ent", "entity_feed_forward.in"),),
    "output.dense": (("output.dense_ent", "entity_feed_forward.out"), ("output_ent", "entity_feed_forward.add_norm")),
}


def activations(config: ernie_thu.Config) -> list[tuple[str, str, str, str]]:
    """BERT's, what there is of the entities between them, and the candidates' logits."""
    table, last = [], ernie_thu.last_fusion(config)
    for row in bert.activations(config):
        table.append(row)
        name, _, _, place = row
        i = int(place.partition(" ")[2] or 0)
        kind, own = config.layer_types[i], f"{ernie_thu.LAYERS}{i}."
        for module, path in BEHIND.get(name.removeprefix(own), ()) if name.startswith(own) else ():
            there = kind == "norm" if path.startswith("entity_attention") else kind != "sim"
            if there and (i < last or not module.startswith("output")):
                table.append((f"{own}{module}", f"encode.encoder.{i}.{path}", "", place))
    return [*table, ("cls.predictions_ent", "entity.head", "", "head")]
