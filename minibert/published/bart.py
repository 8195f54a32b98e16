"""BART's published names."""

from typing import Any

from minibert.families import bart

Tree = dict[str, Any]

MODEL_TYPE = "bart"
PREFIX = "model."
VARIANTS = ("pad_row_gradient", "logits_bias")
FIELDS = {
    "hidden_size": "d_model",
    "num_hidden_layers": "encoder_layers",
    "num_attention_heads": "encoder_attention_heads",
    "intermediate_size": "encoder_ffn_dim",
    "hidden_act": "activation_function",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "initializer_range": "init_std",
}
# of the first ports, which had one file for several models; `forced_bos_token_id`, beside it, says what the last does
DROPPED: Tree = {
    "is_encoder_decoder": (True,),
    **dict.fromkeys(("encoder_layerdrop", "decoder_layerdrop"), (0,)),
    "add_bias_logits": (False,),
    "add_final_layer_norm": (False,),
    "normalize_before": (False,),
    "normalize_embedding": (True,),
    "static_position_embeddings": (False,),
    "extra_pos_embeddings": (bart.Config.OFFSET,),
    **dict.fromkeys(("num_hidden_layers", "classif_dropout", "force_bos_token_to_be_generated"), ()),
}


def _first(value: Any, fields: Tree) -> Any:
    """Of several ends the first; all are among the settings of `generate`."""
    return value[0] if isinstance(value, list) and value else value


SAID = {"eos_token_id": _first, "forced_eos_token_id": _first}


def architectures(config: bart.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"BartForConditionalGeneration": bart.own(config), "BartModel": ()}


ZERO = ("final_logits_bias",)


def inferred(names: set[str], architectures: list[str]) -> Tree:
    """Whether (7) adds a constant: the file has one, and it is not 0."""
    return {"logits_bias": True} if ZERO[0] in names else {}


def names(config: bart.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    leaves, tied = ("weight", "bias"), config.tie_word_embeddings
    rows = [("embeddings.word.weight", "model.shared.weight")] if tied else []
    for stack in bart.STACKS:
        ours, theirs = f"{stack}_embeddings", f"model.{stack}"
        rows += [] if tied else [(f"{ours}.word.weight", f"{theirs}.embed_tokens.weight")]
        rows.append((f"{ours}.position.weight", f"{theirs}.embed_positions.weight"))
        modules = [(f"{ours}.norm", f"{theirs}.layernorm_embedding")]
        for i in range(bart.of(config, stack, "layers")):
            ours, theirs = f"{stack}.{i}", f"model.{stack}.layers.{i}"
            for part in bart.ATTENTIONS[stack]:
                inner = [(name, f"{letter}_proj") for name, letter in PROJECTIONS.items()]
                modules += [(f"{ours}.{bart.PARTS[part]}.{name}", f"{theirs}.{part}.{other}") for name, other in inner]
                modules.append((f"{ours}.{bart.PARTS[part]}.norm", f"{theirs}.{part}_layer_norm"))
            fed = (("in", "fc1"), ("out", "fc2"), ("norm", "final_layer_norm"))
            modules += [(f"{ours}.feed_forward.{name}", f"{theirs}.{other}") for name, other in fed]
        rows += [(f"{ours}.{leaf}", f"{theirs}.{leaf}") for ours, theirs in modules for leaf in leaves]
    rows += [] if tied else [("lm.decoder.weight", "lm_head.weight")]
    constant = [("lm.bias", ZERO[0], f"reshape:{config.vocab_size}->1x{config.vocab_size}")] * config.logits_bias
    return [(ours, theirs, "identity") for ours, theirs in rows] + constant


PROJECTIONS = {"query": "q", "key": "k", "value": "v", "output": "out"}


def activations(config: bart.Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order; what ports have
    no module for is called as its parts are.
    """
    table = []
    for stack in bart.STACKS:
        own, name = f"encode.{stack}_embeddings", f"model.{stack}"
        rows = [("embed_positions", ".tables.position", "shared"), ("layernorm_embedding", ".norm", "")]
        if not config.scale_embedding:  # else ports have the factor within the module
            rows.insert(0, ("embed_tokens", ".tables.word", ""))
        table += [(f"{name}.{one}", own + path, kind, f"{stack} embeddings") for one, path, kind in rows]
        for i in range(bart.of(config, stack, "layers")):
            rows = [row for part in bart.ATTENTIONS[stack] for row in _attending(part)]
            rows += [("fc1", "feed_forward.in"), ("activation_fn", "feed_forward.act"), ("fc2", "feed_forward.out"),
                     ("final_layer_norm", "feed_forward.add_norm"), ("", "")]  # fmt: skip
            rows = [(f".{one}" if one else "", f".{path}" if path else "") for one, path in rows]
            table += [(f"{name}.layers.{i}{one}", f"encode.{stack}.{i}{path}", "", f"{stack} layer {i}")
                      for one, path in rows]  # fmt: skip
    return [*table, ("lm_head", "next_token.head", "rows", "head")]


def _attending(part: str) -> list[tuple[str, str]]:
    own = bart.PARTS[part]
    rows = [(f"{part}.{PROJECTIONS[name]}_proj", f"{own}.{name}") for name in ("query", "key", "value")]
    rows += [(f"{part}.{name}", f"{own}.attention:{name}") for name in ("scores", "probs")]
    rows += [(f"{part}.context", f"{own}.merge"), (f"{part}.out_proj", f"{own}.output")]
    return [*rows, (f"{part}_layer_norm", f"{own}.add_norm")]


def aliases(config: bart.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    again = (*(f"model.{stack}.embed_tokens.weight" for stack in bart.STACKS), "lm_head.weight")
    return dict.fromkeys(again, "model.shared.weight") if config.tie_word_embeddings else {}


def unused(config: bart.Config) -> tuple[str, ...]:
    """Names in published files that no equation reads: versions, and a table that nobody looks anything up in."""
    versions = (*(f"model.{stack}.version" for stack in bart.STACKS), *ZERO)
    return versions if config.tie_word_embeddings else (*versions, "model.shared.weight")
