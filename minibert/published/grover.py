"""Grover's published names: the variables of rowanz/grover, `lm/modeling.py`, whose weights lie (in, out)."""

from typing import Any

from minibert.families import grover

MODEL_TYPE = "grover"
PREFIX = "newslm."
VARIANTS = ("layer_norm_eps", "lm_denominator_eps")
FIELDS = {"mlm_denominator_eps": "lm_denominator_eps"}
SAID: dict[str, Any] = {}
DROPPED = {"attention_probs_dropout_prob": ()}

TABLES = {"word": "word_embed", "position": "pos_embed"}
LINEAR = {
    "attention.query": "query_layer",
    "attention.key": "key_layer",
    "attention.value": "value_layer",
    "attention.output": "context_projection_layer",
    "feed_forward.in": "intermediate",
    "feed_forward.out": "output",
}
NORMS = {"attention.norm": "LayerNorm_mlp_ln0", "feed_forward.norm": "LayerNorm_mlp_ln1"}
EMBEDDINGS = f"{PREFIX}embeddings."


def architectures(config: grover.Config) -> dict[str, tuple[str, ...]]:
    """Class of the release -> the optional parts of the tree that it has."""
    return {"GroverModel": ()}


def names(config: grover.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    rows = [(f"embeddings.{ours}.weight", f"{EMBEDDINGS}{theirs}", "identity") for ours, theirs in TABLES.items()]
    norms = {"embeddings.norm": f"{EMBEDDINGS}LayerNorm_embed_norm"}
    for i in range(config.num_hidden_layers):
        prefix = f"{PREFIX}layer{i:02d}."
        for ours, theirs in LINEAR.items():
            path = f"decoder.{i}.{ours}"
            rows += [(f"{path}.weight", f"{prefix}{theirs}.kernel", "transpose"),
                     (f"{path}.bias", f"{prefix}{theirs}.bias", "identity")]  # fmt: skip
        norms |= {f"decoder.{i}.{ours}": f"{prefix}{theirs}" for ours, theirs in NORMS.items()}
    leaves = (("weight", "gamma"), ("bias", "beta"))
    return [*rows, *((f"{a}.{c}", f"{b}.{d}", "identity") for a, b in norms.items() for c, d in leaves)]


def aliases(config: grover.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats: with a "/" between scopes."""
    return {name.replace(".", "/"): name for _, name, _ in names(config)}


def unused(config: grover.Config) -> tuple[str, ...]:
    """Names in published files that no equation reads: the optimizer's averages."""
    slots = ("adafactor_vr", "adafactor_vc", "adafactor_v")
    return tuple(f"{name}{mark}{slot}" for name in {**aliases(config), **dict.fromkeys(aliases(config).values())}
                 for mark in "./" for slot in slots)  # fmt: skip


def activations(config: grover.Config) -> list[tuple[str, str, str, str]]:
    """(variable scope whose output it is, path in a dense loss cache, kind, place) in forward order."""
    table = [
        (f"{EMBEDDINGS}word_embed.rows", "encode.embeddings.tables.word", "", "embeddings"),
        (f"{EMBEDDINGS}pos_embed.rows", "encode.embeddings.tables.position", "shared", "embeddings"),
        (f"{EMBEDDINGS}LayerNorm_embed_norm", "encode.embeddings", "", "embeddings"),
    ]
    for i in range(config.num_hidden_layers):
        table += [
            (f"{PREFIX}layer{i:02d}{name}", f"encode.decoder.{i}{path}", "", f"layer {i}")
            for name, path in (
                *((f".{name}_layer", f".attention.{name}") for name in ("query", "key", "value")),
                (".scores", ".attention.attention:scores"),
                (".probs", ".attention.attention:probs"),
                (".context", ".attention.merge"),
                (".context_projection_layer", ".attention.output"),
                (".context_projection_layer.dropout", ".attention.add.dropout"),
                (".LayerNorm_mlp_ln0", ".attention.norm"),
                (".intermediate", ".feed_forward.act"),
                (".output", ".feed_forward.out"),
                (".output.dropout", ".feed_forward.add_norm.dropout"),
                (".LayerNorm_mlp_ln1", ".feed_forward.add_norm"),
            )
        ]
    return [*table, ("logits", "next_token.head", "rows", "head")]
