"""ViT's published names: transformers' ViTModel, ViTForMaskedImageModeling, ViTForImageClassification."""

from typing import Any

TOKENIZER = None
MODEL_TYPE = "vit"
PREFIX = "vit."
VARIANTS = ("mim_denominator_eps",)
FIELDS = {"mlm_denominator_eps": "mim_denominator_eps"}
CLASSES = {"SequenceClassification": "ImageClassification"}  # how a class for such rows is called here


def _square(value: Any, fields: dict[str, Any]) -> Any:
    """Two equal sides as one."""
    square = isinstance(value, list | tuple) and len(value) == 2 and value[0] == value[1]
    return value[0] if square else value


DROPPED: dict = {"tie_word_embeddings": ()}  # there are no words
SAID = {"image_size": _square, "patch_size": _square}
# (path, name in files, name in the memory of transformers 5) of what a layer has
PARTS = (
    ("attention.norm", "layernorm_before", "layernorm_before"),
    ("attention.query", "attention.attention.query", "attention.q_proj"),
    ("attention.key", "attention.attention.key", "attention.k_proj"),
    ("attention.value", "attention.attention.value", "attention.v_proj"),
    ("attention.output", "attention.output.dense", "attention.o_proj"),
    ("feed_forward.norm", "layernorm_after", "layernorm_after"),
    ("feed_forward.in", "intermediate.dense", "mlp.fc1"),
    ("feed_forward.out", "output.dense", "mlp.fc2"),
)


def architectures(config: Any) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"ViTModel": ("pooler",), "ViTForMaskedImageModeling": ("mask_token", "mim", "pooler")}


def names(config: Any) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    d, patch, stride = config.hidden_size, config.patch_size, config.encoder_stride
    tokens = (config.image_size // patch) ** 2 + 1
    kernel = f"reshape:{d}x{config.num_channels * patch**2}->{d}x{config.num_channels}x{patch}x{patch}"
    pixels = config.num_channels * stride**2
    rows = [
        ("embeddings.class.weight", "vit.embeddings.cls_token", f"reshape:1x{d}->1x1x{d}"),
        ("embeddings.position.weight", "vit.embeddings.position_embeddings", f"reshape:{tokens}x{d}->1x{tokens}x{d}"),
        ("mask_token.weight", "vit.embeddings.mask_token", f"reshape:1x{d}->1x1x{d}"),
        ("embeddings.patch.weight", "vit.embeddings.patch_embeddings.projection.weight", kernel),
        ("embeddings.patch.bias", "vit.embeddings.patch_embeddings.projection.bias", "identity"),
    ]
    modules = [(f"encoder.{i}.{path}", f"vit.encoder.layer.{i}.{name}")
               for i in range(config.num_hidden_layers) for path, name, _ in PARTS]  # fmt: skip
    for path, name in [*modules, ("norm", "vit.layernorm"), ("pooler", "vit.pooler.dense")]:
        biased = config.qkv_bias or path.rpartition(".")[2] not in ("query", "key", "value")
        rows += [(f"{path}.{leaf}", f"{name}.{leaf}", "identity") for leaf in ("weight", "bias")[: 1 + biased]]
    return [*rows, ("mim.decoder.weight", "decoder.0.weight", f"reshape:{pixels}x{d}->{pixels}x{d}x1x1"),
            ("mim.decoder.bias", "decoder.0.bias", "identity")]  # fmt: skip


def aliases(config: Any) -> dict[str, str]:
    """The names that transformers 5 has in memory -> those of files."""
    found = {}
    for _, name, _ in names(config):
        head, layer, rest = name.partition(".layer.")
        i, _, module = rest.partition(".")
        for _, stored, held in PARTS:
            if layer and module.rpartition(".")[0] == stored:
                found[f"{head.removesuffix('.encoder')}.layers.{i}.{held}.{module.rpartition('.')[2]}"] = name
    return found


def unused(config: Any) -> tuple[str, ...]:
    """None."""
    return ()


def activations(config: Any) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    table = [("vit.embeddings.patch_embeddings", "encode.embeddings.patch", "", "embeddings"),
             ("vit.embeddings", "encode.embeddings", "", "embeddings")]  # fmt: skip
    for i in range(config.num_hidden_layers):
        table += [
            (f"vit.encoder.layer.{i}{name}", f"encode.encoder.{i}{path}", "", f"layer {i}")
            for name, path in (
                (".layernorm_before", ".attention.norm"),
                (".attention.attention.query", ".attention.query"),
                (".attention.attention.key", ".attention.key"),
                (".attention.attention.value", ".attention.value"),
                (".attention.attention.scores", ".attention.attention:scores"),
                (".attention.attention.probs", ".attention.attention:probs"),
                (".attention.attention.context", ".attention.merge"),
                (".attention.output.dense", ".attention.output"),
                (".layernorm_after", ".feed_forward.norm"),
                (".intermediate.dense", ".feed_forward.in"),
                (".intermediate", ".feed_forward.act"),
                (".output.dense", ".feed_forward.out"),
                ("", ""),
            )
        ]
    return [*table, ("vit.layernorm", "encode.norm", "", f"layer {config.num_hidden_layers - 1}"),
            ("vit.pooler.dense", "encode.pooler.dense", "", "head"), ("vit.pooler", "encode.pooler", "", "head"),
            ("decoder.0", "masked_pixels.head", "", "head")]  # fmt: skip
