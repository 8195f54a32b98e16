"""The names that s3prl/s3prl gives to Mockingjay's parts: `upstream/mockingjay/model.py`."""

from typing import Any

from minibert.families import bert
from minibert.families.audio_bert import LAYERS

Config = Any
MODEL_TYPE = "mockingjay"
PREFIX = "Transformer."
VARIANTS = ("mask_constant",)


def architectures(config: Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"TransformerForMaskedAcousticModel": ("spec",), "TransformerModel": ()}


PARTS = {  # of a layer: the published module
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention.norm": "attention.output.LayerNorm",
    "feed_forward.in": "intermediate.dense",
    "feed_forward.out": "output.dense",
    "feed_forward.norm": "output.LayerNorm",
}


def names(config: Config) -> list[tuple[str, str, str]]:
    """(path, name, bijection): the release's files have "Transformer" and "SpecHead" apart, here before the names."""
    modules = {"embeddings.frame": "Transformer.input_representations.spec_transform",
               "embeddings.norm": "Transformer.input_representations.LayerNorm"}  # fmt: skip
    for i in range(config.num_hidden_layers):
        modules |= {f"encoder.{i}.{path}": f"{LAYERS}{i}.{name}" for path, name in PARTS.items()}
    modules |= {"spec.dense": "SpecHead.dense", "spec.norm": "SpecHead.LayerNorm", "spec.decoder": "SpecHead.output"}
    return [(f"{path}.{leaf}", f"{name}.{leaf}", "identity")
            for path, name in modules.items() for leaf in ("weight", "bias")]  # fmt: skip


def aliases(config: Config) -> dict[str, str]:
    return {}


def activations(config: Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    own = "Transformer.input_representations"
    table = [(f"{own}.spec_transform", "encode.embeddings.frame", "", "embeddings"),
             (f"{own}.LayerNorm", "encode.embeddings.norm", "", "embeddings"),
             (own, "encode.embeddings", "", "embeddings")]  # fmt: skip
    table += [(name.replace("bert.", "Transformer.", 1), path, kind, place)
              for name, path, kind, place in bert.activations(config) if path.startswith("encode.encoder.")]
    head = {"dense": "head.dense", "LayerNorm": "head.norm", "output": "head"}
    return [*table, *((f"SpecHead.{name}", f"masked_frame.{path}", "rows", "head") for name, path in head.items())]
