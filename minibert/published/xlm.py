"""XLM's published names."""

from typing import Any

from minibert.families import xlm

Tree = dict[str, Any]

MODEL_TYPE = "xlm"
PREFIX = "transformer."
VARIANTS = ("pad_row_gradient", "sinusoids_learn", "initialization", "languages")
FIELDS = {
    "hidden_size": "emb_dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "initializer_range": "init_std",
}
# ids and names that no equation reads; older files say `pad_index`, `n_words`
DROPPED: Tree = {
    "asm": (False,),
    "is_encoder": (True,),
    **dict.fromkeys(("unk_index", "mask_index", "bos_index", "eos_index", "lang_id", "lang2id", "id2lang"), ()),
    **dict.fromkeys(("start_n_top", "end_n_top", "max_vocab", "min_count", "same_enc_dec", "share_inout_emb"), ()),
}


def architectures(config: xlm.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"XLMWithLMHeadModel": ("mlm",), "XLMModel": ()}


def names(config: xlm.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    dense, table = ("weight", "bias"), ("weight",)
    modules = [("word", "embeddings", table), ("position", "position_embeddings", table)]
    modules += [("language", "lang_embeddings", table)] if config.spoken else []
    modules = [(f"embeddings.{path}", f"transformer.{name}", leaves)
               for path, name, leaves in (*modules, ("norm", "layer_norm_emb", dense))]  # fmt: skip
    for i in range(config.n_layers):
        modules += [
            (f"encoder.{i}.{path}", f"transformer.{name}", dense)
            for path, name in (
                *((f"attention.{ours}", f"attentions.{i}.{theirs}") for ours, theirs in PROJECTIONS.items()),
                ("attention.norm", f"layer_norm1.{i}"),
                ("feed_forward.in", f"ffns.{i}.lin1"),
                ("feed_forward.out", f"ffns.{i}.lin2"),
                ("feed_forward.norm", f"layer_norm2.{i}"),
            )
        ]
    modules.append(("mlm.decoder", "pred_layer.proj", ("bias",) if config.tie_word_embeddings else dense))
    return [(f"{path}.{leaf}", f"{name}.{leaf}", "identity") for path, name, leaves in modules for leaf in leaves]


PROJECTIONS = {"query": "q_lin", "key": "k_lin", "value": "v_lin", "output": "out_lin"}


def activations(config: xlm.Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order. In ports padding
    is taken out in place, of what a norm gave.
    """
    table = [
        (f"transformer.{name}", f"encode.{path}", "", "embeddings")
        for name, path in (
            ("embeddings", "embeddings.tables.word"),
            ("position_embeddings", "embeddings.tables.position"),
            ("lang_embeddings", "embeddings.tables.language"),
            ("embeddings@1", "embeddings.tables.token_type"),
            ("layer_norm_emb", "padding"),
        )
    ]
    for i in range(config.n_layers):
        table += [
            (f"transformer.{name}", f"encode.encoder.{i}.{path}", "", f"layer {i}")
            for name, path in (
                *((f"attentions.{i}.{PROJECTIONS[name]}", f"attention.{name}") for name in ("query", "key", "value")),
                *((f"attentions.{i}.{name}", f"attention.attention:{name}") for name in ("scores", "probs")),
                (f"attentions.{i}.context", "attention.merge"),
                (f"attentions.{i}.out_lin", "attention.output"),
                (f"layer_norm1.{i}", "attention.add_norm"),
                (f"ffns.{i}.lin1", "feed_forward.in"),
                (f"ffns.{i}.act", "feed_forward.act"),
                (f"ffns.{i}.lin2", "feed_forward.out"),
                (f"layer_norm2.{i}", "padding"),
            )
        ]
    head = "next_token.head" if config.causal else "masked_lm.head"  # that of its objective
    return [*table, ("pred_layer.proj", head, "rows", "head")]


def aliases(config: xlm.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    return {"pred_layer.proj.weight": "transformer.embeddings.weight"} if config.tie_word_embeddings else {}


def unused(config: xlm.Config) -> tuple[str, ...]:
    """Names in published files that no equation reads."""
    return ()
