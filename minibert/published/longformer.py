"""Longformer's published names: RoBERTa's, renamed, and the projections of global tokens."""

from typing import Any

from minibert.families import bert, longformer, roberta

MODEL_TYPE = "longformer"
PREFIX = longformer.PREFIX
VARIANTS = ("attention_dilation", "pad_row_gradient", "mlm_denominator_eps")
# of early files, before the name said it; and how ports are exported
DROPPED = {"attention_mode": ("longformer", "sliding_chunks"), "ignore_attention_mask": (False,), "onnx_export": ()}
SAID: dict[str, Any] = {}


def _published(name: str) -> str:
    """RoBERTa's published name as Longformer's."""
    return name.replace(roberta.PREFIX, PREFIX, 1) if name.startswith(roberta.PREFIX) else name


def architectures(config: longformer.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"LongformerModel": ("pooler",), "LongformerForMaskedLM": ("mlm", "pooler")}


def names(config: longformer.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    rows = []
    for path, name, how in bert.names(config):
        name = _published(roberta._published(name))
        rows += [] if path.startswith("nsp.") else [(path, name, how)]
        layer, _, part = path.partition(".attention.")
        if part.split(".")[0] in ("query", "key", "value"):
            own, leaf = part.split(".")
            again = name.replace(f"{own}.{leaf}", f"{own}_global.{leaf}")
            rows.append((f"{layer}.attention.global.{part}", again, how))
    return rows


def activations(config: longformer.Config) -> list[tuple[str, str, str, str]]:
    """RoBERTa's table, renamed: rows (B, T, D) of every projection, those of the global tokens' queries (B, G, D). The
    scores and probabilities stand in blocks, and are no published module's output.
    """
    found = []
    for name, path, kind, place in bert.activations(config):
        name, kind = _published(roberta._published(name)), kind.replace("shared", "")
        if ":" in path or "seq_relationship" in name:
            continue
        if path.endswith(".attention.merge"):
            layer = path.removesuffix("merge")
            own = [(f"{name.removesuffix('context')}{part}_global", f"{layer}global.{part}", kind, place)
                   for part in ("query", "key", "value")]  # fmt: skip
            found += [*own, (name, f"{layer}overwritten", kind, place)]
            continue
        found.append((name, path, kind, place))
    return found


def aliases(config: longformer.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    return {_published(alias): _published(name) for alias, name in roberta.aliases(config).items()}


def unused(config: longformer.Config) -> tuple[str, ...]:
    """Names in published files that no equation reads."""
    return tuple(_published(name) for name in roberta.unused(config))
