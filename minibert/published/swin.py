"""Swin's published names: transformers' SwinModel, SwinForMaskedImageModeling, SwinForImageClassification."""

from typing import Any

from minibert.published import vit

TOKENIZER = None
MODEL_TYPE = "swin"
PREFIX = "swin."
VARIANTS = ("mim_denominator_eps",)
FIELDS = {**vit.FIELDS, "hidden_size": "embed_dim"}
CLASSES, SAID = vit.CLASSES, vit.SAID
# what follows from other fields, and of backbones
DROPPED: dict = dict.fromkeys(
    ("hidden_size", "num_layers", "path_norm", "stage_names", "out_features", "out_indices", "_out_features",
     "_out_indices", "tie_word_embeddings"), ())  # fmt: skip
PARTS = (
    ("attention.norm", "layernorm_before", "layernorm_before"),
    ("attention.query", "attention.self.query", "attention.q_proj"),
    ("attention.key", "attention.self.key", "attention.k_proj"),
    ("attention.value", "attention.self.value", "attention.v_proj"),
    ("attention.output", "attention.output.dense", "attention.o_proj"),
    ("feed_forward.norm", "layernorm_after", "layernorm_after"),
    ("feed_forward.in", "intermediate.dense", "mlp.fc1"),
    ("feed_forward.out", "output.dense", "mlp.fc2"),
)
TABLE = "attention.self.relative_position_bias_table", "attention.relative_position_bias.relative_position_bias_table"


def architectures(config: Any) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"SwinModel": (), "SwinForMaskedImageModeling": ("mask_token", "mim")}


def blocks(config: Any) -> list[tuple[str, str]]:
    """(path in the tree, published name) of every layer."""
    return [(f"encoder.{i}.blocks.{b}", f"swin.encoder.layers.{i}.blocks.{b}")
            for i, depth in enumerate(config.depths) for b in range(depth)]  # fmt: skip


def names(config: Any) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    d, patch, wide = config.embed_dim, config.patch_size, config.hidden_size
    cells, pixels = (config.image_size // patch) ** 2, config.num_channels * config.encoder_stride**2
    kernel = f"reshape:{d}x{config.num_channels * patch**2}->{d}x{config.num_channels}x{patch}x{patch}"
    rows = [
        ("mask_token.weight", "swin.embeddings.mask_token", f"reshape:1x{d}->1x1x{d}"),
        ("embeddings.patch.weight", "swin.embeddings.patch_embeddings.projection.weight", kernel),
        ("embeddings.patch.bias", "swin.embeddings.patch_embeddings.projection.bias", "identity"),
    ]
    if config.use_absolute_embeddings:
        position = "embeddings.position.weight", "swin.embeddings.position_embeddings"
        rows.insert(1, (*position, f"reshape:{cells}x{d}->1x{cells}x{d}"))
    modules = [("embeddings.norm", "swin.embeddings.norm")]
    for i in range(len(config.depths)):
        for path, name in blocks(config):
            if path.startswith(f"encoder.{i}."):
                rows.append((f"{path}.attention.relative_positions.weight", f"{name}.{TABLE[0]}", "identity"))
                modules += [(f"{path}.{part}", f"{name}.{module}") for part, module, _ in PARTS]
        if i + 1 < len(config.depths):
            name = f"swin.encoder.layers.{i}.downsample"
            rows.append((f"encoder.{i}.merge.reduction.weight", f"{name}.reduction.weight", "identity"))
            modules.append((f"encoder.{i}.merge.norm", f"{name}.norm"))
    for path, name in [*modules, ("norm", "swin.layernorm")]:
        biased = config.qkv_bias or path.rpartition(".")[2] not in ("query", "key", "value")
        rows += [(f"{path}.{leaf}", f"{name}.{leaf}", "identity") for leaf in ("weight", "bias")[: 1 + biased]]
    return [*rows, ("mim.decoder.weight", "decoder.0.weight", f"reshape:{pixels}x{wide}->{pixels}x{wide}x1x1"),
            ("mim.decoder.bias", "decoder.0.bias", "identity")]  # fmt: skip


def aliases(config: Any) -> dict[str, str]:
    """The names that transformers 5 has in memory -> those of files."""
    own, found = {name for _, name, _ in names(config)}, {}
    for _, block in blocks(config):
        for stored, held in [TABLE, *((f"{stored}.{leaf}", f"{held}.{leaf}") for _, stored, held in PARTS
                                      for leaf in ("weight", "bias"))]:  # fmt: skip
            if stored != held and f"{block}.{stored}" in own:
                found[f"{block}.{held}"] = f"{block}.{stored}"
    return found


def unused(config: Any) -> tuple[str, ...]:
    """Places in the tables, which follow from the size of windows."""
    return tuple(f"{block}.attention.{end}relative_position_index" for _, block in blocks(config)
                 for end in ("self.", "relative_position_bias."))  # fmt: skip


def activations(config: Any) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    table = [("swin.embeddings.patch_embeddings", "encode.embeddings.patch", "", "embeddings"),
             ("swin.embeddings.norm", "encode.embeddings.norm", "", "embeddings"),
             ("swin.embeddings", "encode.embeddings", "", "embeddings")]  # fmt: skip
    for number, (path, name) in enumerate(blocks(config)):
        table += [
            (f"{name}{module}", f"encode.{path}{part}", "", f"layer {number}")
            for module, part in (
                (".layernorm_before", ".attention.norm"),
                (".attention.self.query", ".attention.self.query"),
                (".attention.self.key", ".attention.self.key"),
                (".attention.self.value", ".attention.self.value"),
                (".attention.self.scores", ".attention.self.attention:scores"),
                (".attention.self.probs", ".attention.self.attention:probs"),
                (".attention.self.context", ".attention.self.merge"),
                (".attention.output.dense", ".attention.self.output"),
                (".layernorm_after", ".feed_forward.norm"),
                (".intermediate.dense", ".feed_forward.in"),
                (".intermediate", ".feed_forward.act"),
                (".output.dense", ".feed_forward.out"),
                ("", ""),
            )
        ]
        stage = path.split(".")[1]
        if path.endswith(f".{config.depths[int(stage)] - 1}") and int(stage) + 1 < len(config.depths):
            merge = f"swin.encoder.layers.{stage}.downsample", f"encode.encoder.{stage}.merge"
            table += [(f"{merge[0]}{end}", f"{merge[1]}{end}", "", f"layer {number}")
                      for end in (".norm", ".reduction", "")]  # fmt: skip
    return [*table, ("swin.layernorm", "encode.norm", "", f"layer {config.num_hidden_layers - 1}"),
            ("swin.pooler", "encode.pool", "", "head"), ("decoder.0", "masked_pixels.head", "", "head")]  # fmt: skip
