"""XLNet's published names: a weight of its attention lies (D, H, K)."""

from typing import Any

from minibert.families import xlnet

Tree = dict[str, Any]

MODEL_TYPE = "xlnet"
VARIANTS = ()
FIELDS = {
    "hidden_size": "d_model", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
    "intermediate_size": "d_inner", "hidden_act": "ff_activation", "hidden_dropout_prob": "dropout",
}  # fmt: skip
_ANY: tuple = ()
DROPPED: Tree = {"attn_type": ("bi",), "untie_r": (True,), "same_length": (False,), "ff_activation_type": _ANY,
                 **dict.fromkeys(("d_head", "n_token", "start_n_top", "end_n_top", "use_mems_eval", "use_mems_train",
                                  "use_mems"), _ANY)}  # fmt: skip
ATTENTION = {"query": "q", "key": "k", "value": "v", "output": "o", "position": "r", "content": "r_w_bias",
             "place": "r_r_bias", "segment": "r_s_bias", "segments": "seg_embed"}  # fmt: skip


def architectures(config: xlnet.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"XLNetLMHeadModel": ("lm",), "XLNetModel": ()}


def names(config: xlnet.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    d, split = config.d_model, f"{config.n_head}x{config.d_head}"
    rows = [("embeddings.word.weight", f"{xlnet.PREFIX}word_embedding.weight", "identity"),
            ("embeddings.query.weight", f"{xlnet.PREFIX}mask_emb", f"reshape:{d}->1x1x{d}")]  # fmt: skip
    apart = f"reshape:{d}x{d}->{d}x{split}"
    ways = {**dict.fromkeys(("query", "key", "value", "position"), f"transpose {apart}"), "output": apart}
    for i in range(config.n_layer):
        ours, theirs = f"encoder.{i}.", f"{xlnet.PREFIX}layer.{i}."
        rows += [(f"{ours}attention.{part}.weight", f"{theirs}rel_attn.{name}", ways.get(part, "identity"))
                 for part, name in ATTENTION.items()]  # fmt: skip
        modules = [("attention.norm", "rel_attn.layer_norm"), ("feed_forward.norm", "ff.layer_norm"),
                   ("feed_forward.in", "ff.layer_1"), ("feed_forward.out", "ff.layer_2")]  # fmt: skip
        rows += [(f"{ours}{path}.{leaf}", f"{theirs}{name}.{leaf}", "identity")
                 for path, name in modules for leaf in ("weight", "bias")]  # fmt: skip
    leaves = ("bias",) if config.tie_word_embeddings else ("weight", "bias")
    return rows + [(f"lm.decoder.{leaf}", f"lm_loss.{leaf}", "identity") for leaf in leaves]


def activations(config: xlnet.Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order; rows of content
    and queries stand behind each other.
    """
    table = [(f"{xlnet.PREFIX}word_embedding", "encode.word", "", "embeddings")]
    for i in range(config.n_layer):
        own, path, place = f"{xlnet.PREFIX}layer.{i}.", f"encode.encoder.{i}.", f"layer {i}"
        rows = [(f"rel_attn.{name[0]}", f"attention.{name}") for name in ("query", "key", "value")]
        rows.append(("rel_attn.r", "attention.position"))
        for stream, call in (("attention", ""), ("queries", "@1")):
            rows += [(f"rel_attn.{part}{call}", f"attention.{stream}.scores:{part}") for part in ("scores", "probs")]
        rows += [("rel_attn.context", "attention.merge"), ("rel_attn.o", "attention.output"),
                 ("rel_attn", "attention.add_norm"), ("ff.layer_1", "feed_forward.in"), ("ff.act", "feed_forward.act"),
                 ("ff.layer_2", "feed_forward.out"), ("ff", "feed_forward.add_norm")]  # fmt: skip
        table += [(f"{own}{name}", f"{path}{inner}", "", place) for name, inner in rows]
    return [*table, (f"{xlnet.PREFIX}dropout", "encode.dropped_last", "", "head"),
            ("lm_loss", "permuted_lm.head", "rows", "head")]  # fmt: skip


def aliases(config: xlnet.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    return {"lm_loss.weight": f"{xlnet.PREFIX}word_embedding.weight"} if config.tie_word_embeddings else {}


def unused(config: xlnet.Config) -> tuple[str, ...]:
    """Names in published files that no equation reads."""
    return ()
