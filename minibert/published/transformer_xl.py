"""Transformer-XL's published names: those of kimiyoung/transformer-xl as ports have them."""

from typing import Any

from minibert.families import gpt2, transformer_xl

Tree = dict[str, Any]

MODEL_TYPE = "transfo-xl"
PREFIX = "transformer."
VARIANTS = ("cluster_order",)
FIELDS = {
    "hidden_size": "d_model",
    "embedding_size": "d_embed",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "d_inner",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "dropatt",
    "layer_norm_eps": "layer_norm_epsilon",
    "initializer_range": "init_std",
}
SAID = gpt2.SAID
DROPPED: Tree = {"adaptive": (True,), "attn_type": (0,), "sample_softmax": (-1,), "init": ("normal",), "init_range": (),
                 "tie_weight": (True,), "tgt_len": (), "ext_len": (0,)}  # fmt: skip


def architectures(config: transformer_xl.Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {"TransfoXLLMHeadModel": ("softmax",), "TransfoXLModel": ()}


EMBEDDING = "transformer.word_emb."


def names(config: transformer_xl.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter: query, key and value one upon the other."""
    rows = []
    for i in range(len(config.widths)):
        rows.append((f"embeddings.{i}.word.weight", f"{EMBEDDING}emb_layers.{i}.weight"))
        rows += [(f"embeddings.{i}.projection.weight", f"{EMBEDDING}emb_projs.{i}")] * config.projected
    biases = (("content.bias", "r_w_bias"), ("position.bias", "r_r_bias"))
    for i in range(config.n_layer):
        ours, theirs = f"decoder.{i}.attention.", f"{transformer_xl.LAYERS}{i}.dec_attn."
        rows += [(f"{ours}{name}.weight", f"{theirs}qkv_net.weight", "split") for name in ("query", "key", "value")]
        rows += [(f"{ours}{a}", f"{theirs}{b}") for a, b in biases] * config.untie_r
        rows += [(f"{ours}{a}.weight", f"{theirs}{b}.weight") for a, b in (("position", "r_net"), ("output", "o_net"))]
        feed = f"decoder.{i}.feed_forward.", f"{transformer_xl.LAYERS}{i}.pos_ff."
        parts = (ours, theirs, "norm", "layer_norm"), (*feed, "in", "CoreNet.0"), (*feed, "out", "CoreNet.3"), (
            *feed, "norm", "layer_norm")  # fmt: skip
        rows += [(f"{a}{c}.{leaf}", f"{b}{d}.{leaf}") for a, b, c, d in parts for leaf in ("weight", "bias")]
    rows += [(f"biases.{a}", f"transformer.{b}") for a, b in biases] * (not config.untie_r)
    rows += [(f"softmax.clusters.{leaf}", f"crit.cluster_{leaf}") for leaf in ("weight", "bias")] * bool(config.cutoffs)
    for i in range(len(config.widths)):
        leaves = ("bias",) if config.tie_word_embeddings else ("weight", "bias")
        rows += [(f"softmax.decoder.{i}.{leaf}", f"crit.out_layers.{i}.{leaf}") for leaf in leaves]
    own = transformer_xl.terms(config)["next_token"].sizes["projections"]
    rows += [(f"softmax.projections.{i}.weight", f"crit.out_projs.{i}") for i in range(own)]
    return [row if len(row) == 3 else (*row, "identity") for row in rows]


def aliases(config: transformer_xl.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    found = {}
    if not config.untie_r:
        found |= {f"{transformer_xl.LAYERS}{i}.dec_attn.{name}": f"transformer.{name}"
                  for i in range(config.n_layer) for name in ("r_w_bias", "r_r_bias")}  # fmt: skip
    if config.tie_word_embeddings:
        found |= {f"crit.out_layers.{i}.weight": f"{EMBEDDING}emb_layers.{i}.weight" for i in range(len(config.widths))}
    own = transformer_xl.terms(config)["next_token"].sizes["projections"]
    for i in range(own, len(config.cutoffs) + 1) if config.projected else ():
        found[f"crit.out_projs.{i}"] = f"{EMBEDDING}emb_projs.{i if len(config.widths) > 1 else 0}"
    return found


def unused(config: transformer_xl.Config) -> tuple[str, ...]:
    """Names in published files that no equation reads: the frequencies of (2)."""
    return ("transformer.pos_emb.inv_freq",)


def activations(config: transformer_xl.Config) -> list[tuple[str, str, str, str]]:
    """(published module whose output it is, path in a dense loss cache, kind, place) in forward order. Query, key and
    value stand apart, as the first has fewer rows; what has a row for each token of a cluster, or for each distance, is
    left out.
    """
    one = [(f"{EMBEDDING}emb_layers.0", "encode.embeddings.parts.0.word", "", "embeddings")]
    table = one if len(config.widths) == 1 else []
    table += [("transformer.word_emb", "encode.embeddings", "", "embeddings"),
              ("transformer.drop", "encode.drop", "", "embeddings")]  # fmt: skip
    for i in range(config.n_layer):
        last = "add" if config.pre_lnorm else "add_norm"
        ends = (".layer_norm", f".{'norm' if config.pre_lnorm else 'add_norm.norm'}", "")
        parts = [
            *((f".dec_attn.{name}", f".attention.{name}", "") for name in ("query", "key", "value")),
            (".dec_attn.scores", ".attention.attention:scores", ""),
            (".dec_attn.probs", ".attention.attention:probs", ""),
            (".dec_attn.context", ".attention.merge", ""),
            (".dec_attn.o_net", ".attention.output", ""),
            (".dec_attn.drop", f".attention.{last}.dropout", ""),
        ]
        norm = f".dec_attn{ends[0]}", f".attention{ends[1]}", ""
        inner = [
            (".pos_ff.CoreNet.0", ".feed_forward.in", ""),
            (".pos_ff.CoreNet.1", ".feed_forward.act", ""),
            (".pos_ff.CoreNet.3", ".feed_forward.out", ""),
            (".pos_ff.CoreNet.4", f".feed_forward.{last}.dropout", ""),
        ]
        closing = f".pos_ff{ends[0]}", f".feed_forward{ends[1]}", ""
        whole = [norm, *parts, closing, *inner] if config.pre_lnorm else [*parts, norm, *inner, closing]
        table += [(f"{transformer_xl.LAYERS}{i}{name}", f"encode.decoder.{i}{path}", kind, f"layer {i}")
                  for name, path, kind in [*whole, ("", "", "")]]  # fmt: skip
    table.append(("transformer.drop@2", "encode.drop@2", "", "head"))
    return [*table, ("crit", "next_token.head.logits", "rows", "head")]
