"""ViT, small: An Image is Worth 16x16 Words, Dosovitskiy et al. 2020, arXiv 2010.11929.

    h⁰ = Drop([x_class; patches W_pᵀ + b_p] + E_position)                                                           (1)
    a = x + attention(LN(x)); y = a + feed_forward(LN(a))                                                      (2), (3)
    LN of the last; the class is told from its first row (`classes`)                                                (4)
"""

from dataclasses import dataclass

import numpy as np

from minibert import kernels, layers, ops
from minibert.config import require
from minibert.objective import Term
from minibert.pairs import block, block_backward
from tests.toys import classes


@dataclass(frozen=True)
class Config:
    hidden_size: int = 768
    depths: tuple[int, ...] = (12,)  # layers; their sum counts
    num_attention_heads: int = 12
    image_size: int = 224
    patch_size: int = 16
    num_channels: int = 3
    hidden_dropout_prob: float = 0.0
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    classes: int = 10
    initializer_range: float = 0.02

    def __post_init__(self):
        require(self.image_size % self.patch_size == 0, "config field 'patch_size' must divide image_size")


PRESETS = {}
PROBE = {
    "hidden_size": 8, "depths": (1, 1), "num_attention_heads": 2, "image_size": 6, "patch_size": 3, "num_channels": 2,
    "hidden_dropout_prob": 0.2, "hidden_act": "gelu_new", "layer_norm_eps": 1e-3, "classes": 3,
}  # fmt: skip


def _patches(config):
    return (config.image_size // config.patch_size) ** 2


def shapes(config):
    d = config.hidden_size
    norm = {"weight": (d,), "bias": (d,)}

    def dense(n_out, n_in):
        return {"weight": (n_out, n_in), "bias": (n_out,)}

    layer = {
        "attention": {**{name: dense(d, d) for name in ("query", "key", "value", "output")}, "norm": norm},
        "feed_forward": {"in": dense(4 * d, d), "out": dense(d, 4 * d), "norm": norm},
    }
    return {
        "embeddings": {
            "patch": dense(d, config.num_channels * config.patch_size**2),
            "class": {"weight": (1, d)},
            "position": {"weight": (_patches(config) + 1, d)},
        },
        "encoder": [layer] * sum(config.depths),
        "norm": norm,
    }


def inputs(config):
    return {"pixel_values": "(B,num_channels,image_size,image_size)"}


def outputs(config):
    return {"last_hidden_state": "(B,P,hidden_size)", "hidden_states": "[(B,P,hidden_size)]"}


def lengths(config):
    return {}


def example(rng, config, dims=None):
    rows, size = (dims or {}).get("B", 3), config.image_size
    pixels = rng.standard_normal((rows, config.num_channels, size, size))
    return {"pixel_values": pixels, "dropout": layers.keep_masks(rng, dropouts(config, {"B": rows}))}


def dropouts(config, dims):
    shape = dims["B"], _patches(config) + 1, config.hidden_size
    return {"vit.embeddings.dropout": (shape, config.hidden_dropout_prob)}


@block
def patched(x, p, *, size, keep, rate):
    """(1)"""
    c = {}
    rows, channels, height, width = x.shape
    cut = x.reshape(rows, channels, height // size, size, width // size, size).transpose(0, 2, 4, 1, 3, 5)
    flat = cut.reshape(rows, -1, channels * size * size).astype(p["patch"]["weight"].dtype)
    e, c["patch"] = ops.linear(flat, **p["patch"])
    first = np.broadcast_to(p["class"]["weight"], (rows, 1, e.shape[-1]))
    h, c["dropout"] = ops.dropout(np.concatenate([first, e], 1) + p["position"]["weight"], keep=keep, rate=rate)
    return h, c


@block_backward
def patched_backward(dh, c):
    dh = ops.dropout_backward(dh, c["dropout"])
    patch = ops.linear_backward(np.ascontiguousarray(dh[:, 1:]), c["patch"])[1]
    return {"patch": patch, "class": {"weight": dh[:, 0].sum(0)[None]}, "position": {"weight": dh.sum(0)}}


@block
def layer(x, p, *, heads, act, eps):
    """(2), (3)"""
    c = {"attention": {}, "feed_forward": {}}
    n, c["attention"]["norm"] = ops.layer_norm(x, **p["attention"]["norm"], eps=eps)
    f, c["attention"]["self"] = layers.self_attention(n, p["attention"], width=x.shape[-1] // heads)
    a, c["attention"]["add"] = layers.add(x, f, p["attention"], keep=None, rate=0.0)
    n, c["feed_forward"]["norm"] = ops.layer_norm(a, **p["feed_forward"]["norm"], eps=eps)
    f, c["feed_forward"]["mlp"] = layers.feed_forward(n, p["feed_forward"], act=act)
    y, c["feed_forward"]["add"] = layers.add(a, f, p["feed_forward"], keep=None, rate=0.0)
    return y, c


@block_backward
def layer_backward(dy, c):
    g = {}
    dskip, df, ends = layers.add_backward(dy, c["feed_forward"]["add"])
    dn, g["feed_forward"] = layers.feed_forward_backward(df, c["feed_forward"]["mlp"])
    da, g["feed_forward"]["norm"] = ops.layer_norm_backward(dn, c["feed_forward"]["norm"])
    g["feed_forward"] |= ends
    dskip, df, ends = layers.add_backward(kernels.add(dskip, da), c["attention"]["add"])
    dn, g["attention"] = layers.self_attention_backward(df, c["attention"]["self"])
    dx, g["attention"]["norm"] = ops.layer_norm_backward(dn, c["attention"]["norm"])
    g["attention"] |= ends
    return kernels.add(dskip, dx), g


def encode(p, config, inputs, *, keep="caches"):
    c, drop = {}, (inputs.get("dropout") or {}).get("vit.embeddings.dropout")
    given = {"size": config.patch_size, "keep": drop, "rate": config.hidden_dropout_prob}
    h, c["embeddings"] = patched(inputs["pixel_values"], p["embeddings"], **given)
    sizes = {"heads": config.num_attention_heads, "act": config.hidden_act, "eps": config.layer_norm_eps}
    hidden, c["encoder"] = layers.stack(lambda x, p, i: layer(x, p, **sizes), h, p["encoder"], keep)
    last, c["norm"] = ops.layer_norm(hidden[-1], **p["norm"], eps=config.layer_norm_eps)  # (4)
    return {"last_hidden_state": last, "hidden_states": hidden}, c


def encode_backward(dout, c):
    g = {}
    dh, g["norm"] = ops.layer_norm_backward(dout["last_hidden_state"], c["norm"])
    dh, g["encoder"] = layers.stack_backward(layer_backward, dh, c["encoder"], dout.get("hidden_states"))
    return {**g, "embeddings": patched_backward(dh, c["embeddings"])}


def terms(config):
    sizes = {"width": config.hidden_size, "classes": config.classes}
    return {"classification": Term(classes, "classifier", "last_hidden_state", sizes)}


# ---- Laws ------------------------------------------------------------------------------------------------------------
def silent(config):
    """Those that it cannot be asked, and why (`minibert.laws`)."""
    pixels = ("padding_invariance", "vocabulary_permutation", "ignored_labels", "forbidden_keys", "tied_gradient")
    return dict.fromkeys(pixels, "it is fed with pixels: no tokens, no padding")


# ---- Published names -------------------------------------------------------------------------------------------------
TOKENIZER = None
MODEL_TYPE = "toy_vit"
PREFIX = "vit."
VARIANTS = ("classes",)


def architectures(config):
    return {"ToyViTModel": (), "ToyViTForImageClassification": ("classifier",)}


def names(config):
    dense = ("weight", "bias")
    table = ("weight",)
    modules = [("embeddings.patch", "vit.embeddings.patch", dense), ("embeddings.class", "vit.embeddings.cls", table),
               ("embeddings.position", "vit.embeddings.position", table)]  # fmt: skip
    for i in range(sum(config.depths)):
        modules += [
            (f"encoder.{i}.{path}", f"vit.layers.{i}.{name}", dense)
            for path, name in (
                ("attention.norm", "layernorm_before"), ("attention.query", "q"), ("attention.key", "k"),
                ("attention.value", "v"), ("attention.output", "o"), ("feed_forward.norm", "layernorm_after"),
                ("feed_forward.in", "fc1"), ("feed_forward.out", "fc2"),
            )
        ]  # fmt: skip
    modules += [("norm", "vit.layernorm", dense), ("classifier", "classifier", dense)]
    return [(f"{path}.{leaf}", f"{name}.{leaf}", "identity") for path, name, leaves in modules for leaf in leaves]


def aliases(config):
    return {}


def activations(config):
    table = [("vit.embeddings.patch", "encode.embeddings.patch", "", "embeddings"),
             ("vit.embeddings", "encode.embeddings", "", "embeddings")]  # fmt: skip
    for i in range(sum(config.depths)):
        table += [
            (f"vit.layers.{i}.{name}", f"encode.encoder.{i}{path}", "", f"layer {i}")
            for name, path in (
                ("layernorm_before", ".attention.norm"), ("scores", ".attention.self.attention:scores"),
                ("probs", ".attention.self.attention:probs"), ("o", ".attention.self.output"),
                ("fc1", ".feed_forward.mlp.in"), ("fc2", ".feed_forward.mlp.out"),
            )
        ]  # fmt: skip
        table.append((f"vit.layers.{i}", f"encode.encoder.{i}", "", f"layer {i}"))
    return [*table, ("vit.layernorm", "encode.norm", "", f"layer {sum(config.depths) - 1}"),
            ("classifier", "classification.head", "", "head")]  # fmt: skip
