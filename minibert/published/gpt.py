"""GPT's published names."""

from typing import Any

from minibert.families import gpt, gpt2

Tree = dict[str, Any]

MODEL_TYPE = "openai-gpt"
VARIANTS = ("double_heads", "lm_coef")
FIELDS = {**{ours: theirs for ours, theirs in gpt2.FIELDS.items() if ours != "intermediate_size"}, "hidden_act": "afn"}
HEAD = "multiple_choice_head.summary"
DROPPED = {"summary_type": ("cls_index",), "summary_use_proj": (True,), "summary_activation": (None,),
           "summary_proj_to_labels": (True,)}  # fmt: skip


def inferred(stored: Any, classes: list) -> Tree:
    """The head of (7) is there where the file has it."""
    return {"double_heads": True} if f"{HEAD}.weight" in stored else {}


def architectures(config: gpt.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    own = () if config.tie_word_embeddings else ("lm",)
    double = {"OpenAIGPTDoubleHeadsModel": (*own, "choice")} if config.double_heads else {}
    return {"OpenAIGPTLMHeadModel": own, "OpenAIGPTModel": (), **double}


RENAMED = {"transformer.wte.": "transformer.tokens_embed.", "transformer.wpe.": "transformer.positions_embed."}


def names(config: gpt.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter: GPT-2's but for the tables' names."""
    rows = [(path, _renamed(name), how) for path, name, how in gpt2.names(config) if not path.startswith("norm.")]
    own = [(f"choice.{leaf}", f"{HEAD}.{leaf}", "identity") for leaf in ("weight", "bias")]
    return rows + (own if config.double_heads else [])


def _renamed(name: str) -> str:
    return next((name.replace(ours, theirs) for ours, theirs in RENAMED.items() if name.startswith(ours)), name)


def activations(config: gpt.Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order."""
    table = [
        ("transformer.tokens_embed", "encode.embeddings.tables.word", "", "embeddings"),
        ("transformer.positions_embed", "encode.embeddings.tables.position", "shared", "embeddings"),
        ("transformer.tokens_embed@1", "encode.embeddings.tables.token_type", "", "embeddings"),
        ("transformer.drop", "encode.embeddings", "", "embeddings"),
    ]
    for i in range(config.n_layer):
        table += [
            (f"{gpt.LAYERS}{i}.{name}", f"encode.decoder.{i}.{path}", kind, f"layer {i}")
            for name, path, kind in (
                *(("attn.c_attn", f"attention.{name}", "joined") for name in ("query", "key", "value")),
                ("attn.scores", "attention.attention:scores", ""),
                ("attn.probs", "attention.attention:probs", ""),
                ("attn.context", "attention.merge", ""),
                ("attn.c_proj", "attention.output", ""),
                ("attn.resid_dropout", "attention.add_norm.dropout", ""),
                ("ln_1", "attention.add_norm", ""),
                ("mlp.c_fc", "feed_forward.in", ""),
                ("mlp.act", "feed_forward.act", ""),
                ("mlp.c_proj", "feed_forward.out", ""),
                ("mlp", "feed_forward.add_norm.dropout", ""),
                ("ln_2", "feed_forward.add_norm", ""),
            )
        ]
    head = [(HEAD, "choice.head", "", "head")] if config.double_heads else []
    return [*table, ("lm_head", "next_token.head", "rows", "head"), *head]


def aliases(config: gpt.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    return {"lm_head.weight": "transformer.tokens_embed.weight"} if config.tie_word_embeddings else {}
