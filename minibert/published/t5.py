"""T5's published names."""

from typing import Any

from minibert.config import require, shown
from minibert.families import t5

Tree = dict[str, Any]

MODEL_TYPE = "t5"
PREFIX = ""
VARIANTS = ("scale_decoder_outputs",)
FIELDS = {
    "hidden_size": "d_model",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "intermediate_size": "d_ff",
    "hidden_act": "feed_forward_proj",
    "hidden_dropout_prob": "dropout_rate",
    "layer_norm_eps": "layer_norm_epsilon",
}
DROPPED: Tree = dict.fromkeys(("n_positions", "is_encoder_decoder", "dense_act_fn", "is_gated_act"), ())


def _projection(value: Any, fields: Tree) -> Any:
    """The published field, with which what ports make of it has to agree, where a file has that, too."""
    if isinstance(value, str):
        gated, name = value.startswith(t5.GATED), value.removeprefix(t5.GATED)
        due = {"is_gated_act": gated, "dense_act_fn": "gelu_new" if value == "gated-gelu" else name}
        for field, one in due.items():
            said = fields.get(field, one)
            require(said == one, f"config field {field!r} is {shown(said)}, but feed_forward_proj {value!r}")
    return value


# ports of today write that tables are tied whatever they are; of several ends the first
SAID = {
    "feed_forward_proj": _projection,
    "tie_word_embeddings": lambda value, fields: ... if fields.get("scale_decoder_outputs") is False else value,
    "eos_token_id": lambda value, _: value[0] if isinstance(value, list) and value else value,
}


def inferred(names: set[str], architectures: list[str]) -> Tree:
    """Whether (9) has a matrix of its own, where config.json leaves it open."""
    return {"tie_word_embeddings": "lm_head.weight" not in names}


def architectures(config: t5.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    head = () if config.tie_word_embeddings else ("lm",)
    return {"T5ForConditionalGeneration": (*t5.OPTIONAL, *head), "T5Model": (*t5.OPTIONAL,), "T5EncoderModel": ()}


def names(config: t5.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    rows, feed = [("embeddings.word", "shared")], [("in", "wi_1"), ("gate", "wi_0")] if config.gated else [("in", "wi")]
    inner = [("query", "q"), ("key", "k"), ("value", "v"), ("output", "o")]
    for stack, attentions in t5.ATTENTIONS.items():
        rows.append((f"{stack}_positions", f"{stack}.{POSITIONS}"))
        for i in range(t5.depth(config, stack)):
            subs = [*((t5.PARTS[one], one, inner) for one in attentions),
                    ("feed_forward", "DenseReluDense", [*feed, ("out", "wo")])]  # fmt: skip
            for n, (part, module, leaves) in enumerate(subs):
                ours, theirs = f"{stack}.{i}.{part}", f"{stack}.block.{i}.layer.{n}"
                rows += [(f"{ours}.{one}", f"{theirs}.{module}.{name}") for one, name in leaves]
                rows.append((f"{ours}.norm", f"{theirs}.layer_norm"))
        rows.append((f"{stack}_norm", f"{stack}.final_layer_norm"))
    rows += [] if config.tie_word_embeddings else [("lm.decoder", "lm_head")]
    return [(f"{ours}.weight", f"{theirs}.weight", "identity") for ours, theirs in rows]


POSITIONS = "block.0.layer.0.SelfAttention.relative_attention_bias"


def activations(config: t5.Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    table = []
    for stack, attentions in t5.ATTENTIONS.items():
        own, place = f"encode.{stack}_", f"{stack} embeddings"
        table += [(f"{stack}.embed_tokens", f"{own}embeddings.tables.word", "", place),
                  (f"{stack}.dropout", f"{own}embeddings", "", place),
                  (f"{stack}.{POSITIONS}", f"{own}positions.table", "", place)]  # fmt: skip
        for i in range(t5.depth(config, stack)):
            rows, last = [], len(attentions)
            for n, part in enumerate(attentions):
                rows += [(f".layer.{n}.{name}", f".{t5.PARTS[part]}.{path}") for name, path in _attending(part)]
                rows.append((f".layer.{n}", f".{t5.PARTS[part]}.add"))
            rows += [(f".layer.{last}.{name}", f".feed_forward.{path}") for name, path in _fed(config)]
            rows += [(f".layer.{last}", ".feed_forward.add"), ("", "")]
            table += [(f"{stack}.block.{i}{name}", f"encode.{stack}.{i}{path}", "", f"{stack} layer {i}")
                      for name, path in rows]  # fmt: skip
        table += [(f"{stack}.final_layer_norm", f"{own}norm", "", f"{stack} head"),
                  (f"{stack}.dropout@1", f"{own}dropout", "", f"{stack} head")]  # fmt: skip
    return [*table, ("lm_head", "next_token.head", "rows", "head")]


def _attending(part: str) -> list[tuple[str, str]]:
    rows = [(f"{part}.{name[0]}", name) for name in ("query", "key", "value")]
    rows += [(f"{part}.{name}", f"attention:{name}") for name in ("scores", "probs")]
    rows += [(f"{part}.context", "merge"), (f"{part}.o", "output")]
    return [("layer_norm", "norm"), *rows, ("dropout", "add.dropout")]


def _fed(config: t5.Config) -> list[tuple[str, str]]:
    rows = [("wi_0", "gate"), ("act", "act"), ("wi_1", "in")] if config.gated else [("wi", "in"), ("act", "act")]
    rows = [*rows, ("dropout", "dropout"), ("wo", "out")]
    rows = [(f"DenseReluDense.{name}", path) for name, path in rows]
    return [("layer_norm", "norm"), *rows, ("dropout", "add.dropout")]


def aliases(config: t5.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    found = {f"{stack}.embed_tokens.weight": "shared.weight" for stack in t5.STACKS}
    return {**found, "lm_head.weight": "shared.weight"} if config.tie_word_embeddings else found


def unused(config: t5.Config) -> tuple[str, ...]:
    """Names in published files that no equation reads: the release's have a table for attention to the source."""
    return ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",)
