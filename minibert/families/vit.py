"""ViT: An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale.

Dosovitskiy, Beyer, Kolesnikov, Weissenborn, Zhai, Unterthiner, Dehghani, Minderer, Heigold, Gelly, Uszkoreit, Houlsby,
2020, arXiv 2010.11929. Released code: google-research/vision_transformer (`vit_jax/models_vit.py`); masked patches:
SimMIM, Xie et al. 2021, arXiv 2111.09886, as transformers has it.

    patches      h⁰ = Drop([x_class; e_1 … e_N] + E_position), e_n = patch_n Wᵀ + b, patches of P·P pixels          (1)
                 the mask token in the place of e_n where patch n is hidden                                        (2)
    attention    a = h + Drop(u), u the attention of LN(h), as BERT's                                              (3)
    feed-forward y = a + Drop(f), f = act(LN(a) W₁ᵀ + b₁) W₂ᵀ + b₂, the h of the next layer                         (4)
    final norm   LN(y^L): the last hidden state; the class token's is told apart (`summaries`)                     (5)
    pooler       act(LN(y^L)_class Wᵀ + b), of the bare network                                                    (6)
    objective    what hidden patches show, `masked_pixels` of the patches of (5)                                   (7)

Where the release deviates from the paper or ports from the release, and what is done here:
- act, eps: the release's GELU is the tanh form and its eps 1e-6; ports take the erf form and 1e-12, as here.
- dropout: the release drops 0.1 also within the feed-forward; ports, as here, drop nothing by default, and never there.
- (6): ports put a layer over the class token of the bare network, which the release calls "pre_logits" and has for
  pre-training alone. Classes are told from (5) itself.
- a picture of another size: positions are interpolated (`ops.resized`); ports refuse it unless they are told to.
- weights of (1) lie (D, C, P, P) in published files, (P, P, C, D) in the release's.
- names: files have those of transformers 4; version 5 has others in memory, which are read, too (`aliases`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, ops, pictures, vision
from minibert.config import among, check, number, rate, require, size
from minibert.families import inherited
from minibert.heads import masked_pixels
from minibert.objective import Term
from minibert.options import Options, option
from minibert.summaries import Summary, summary, summary_backward

Array = np.ndarray
Tree = dict[str, Any]
__getattr__ = inherited()
WIDE, DEEP, LARGE = 2**20, 1024, 2**12


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """ViT-Base of 16·16 patches, under the published field names, and one variant."""

    hidden_size: int = size(768, WIDE)
    num_hidden_layers: int = size(12, DEEP)
    num_attention_heads: int = size(12)
    intermediate_size: int = size(3072, WIDE)
    hidden_act: str = among("gelu", layers.ACTIVATIONS)
    hidden_dropout_prob: float = rate(0.0)
    attention_probs_dropout_prob: float = rate(0.0)
    initializer_range: float = number(0.02, 0, 100)
    layer_norm_eps: float = number(1e-12, 0, 1)
    image_size: int = size(224, LARGE)
    patch_size: int = size(16, LARGE)
    num_channels: int = size(3, LARGE)
    qkv_bias: bool = True
    encoder_stride: int = size(16, LARGE)
    pooler_output_size: int | None = None  # hidden_size
    pooler_act: str = among("tanh", layers.ACTIVATIONS)
    # variants
    mim_denominator_eps: float = number(1e-5, 0, 1)  # of (7)

    def __post_init__(self) -> None:
        check(self)
        for name, whole in (("num_attention_heads", "hidden_size"), ("patch_size", "image_size")):
            part, of = getattr(self, name), getattr(self, whole)
            require(of % part == 0, f"config field {name!r} is {part}; allowed: a divisor of {whole} {of}")
        pooled = self.pooler_output_size
        fits = pooled is None or 0 < pooled <= WIDE
        require(fits, f"config field 'pooler_output_size' is {pooled}; allowed: null, 1 to {WIDE}")

    @property
    def pooled(self) -> int:
        """The width of (6)."""
        return self.hidden_size if self.pooler_output_size is None else self.pooler_output_size


def _size(depth: int, width: int, heads: int, patch: int = 16) -> Tree:
    sizes = {"num_hidden_layers": depth, "hidden_size": width, "num_attention_heads": heads}
    return {**sizes, "intermediate_size": 4 * width, "patch_size": patch, "encoder_stride": patch}


PRESETS = {  # table 1; the two smaller ones are DeiT's (arXiv 2012.12877)
    "tiny": _size(12, 192, 3), "small": _size(12, 384, 6), "base": _size(12, 768, 12), "large": _size(24, 1024, 16),
    "huge": {**_size(32, 1280, 16, 14)},
}  # fmt: skip
PROBE = {
    "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 11,
    "hidden_act": "gelu_new", "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3, "layer_norm_eps": 1e-3,
    "initializer_range": 0.3, "image_size": 6, "patch_size": 3, "num_channels": 2, "qkv_bias": False,
    "encoder_stride": 3, "pooler_output_size": 5, "pooler_act": "relu", "mim_denominator_eps": 0.01,
}  # fmt: skip


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(6): the one place where they are written."""
    d, f = config.hidden_size, config.intermediate_size
    norm = {"weight": (d,), "bias": (d,)}

    def dense(n_out: int, n_in: int, biased: bool = True) -> Tree:
        return {"weight": (n_out, n_in), **({"bias": (n_out,)} if biased else {})}

    projections = {name: dense(d, d, config.qkv_bias) for name in ("query", "key", "value")}
    layer = {
        "attention": {"norm": norm, **projections, "output": dense(d, d)},
        "feed_forward": {"norm": norm, "in": dense(f, d), "out": dense(d, f)},
    }
    embeddings = {
        "patch": dense(d, config.num_channels * config.patch_size**2),
        "class": {"weight": (1, d)},
        "position": {"weight": ((config.image_size // config.patch_size) ** 2 + 1, d)},
    }
    return {"embeddings": embeddings, "mask_token": {"weight": (1, d)}, "encoder": [layer] * config.num_hidden_layers,
            "norm": norm, "pooler": dense(config.pooled, d)}  # fmt: skip


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch: pictures of the config's size unless dims says another, some patches hidden, dropout masks."""
    return example_of(rng, config, dims, dropouts)


def example_of(rng: np.random.Generator, config: Any, dims: dict[str, int] | None, dropouts: Callable) -> Tree:
    """The same of a family with these dropouts."""
    square = {"B": 3, "Y": config.image_size, "X": config.image_size}
    dims = {**square, **{letter: n for letter, n in (dims or {}).items() if letter in square}}
    pixels = rng.standard_normal((dims["B"], config.num_channels, dims["Y"], dims["X"]))
    down, across = vision.grid(pixels.shape, config.patch_size)
    labels = masked_pixels.draw(rng, {"B": dims["B"], "N": down * across}, {})
    return {"pixel_values": pixels, **labels, "dropout": layers.keep_masks(rng, dropouts(config, dims))}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of every dropout's keep-mask, by published module, for pictures of these sizes."""
    height, width = dims.get("Y", config.image_size), dims.get("X", config.image_size)
    tokens = 1 + height // config.patch_size * (width // config.patch_size)
    wide = (dims["B"], tokens, config.hidden_size), config.hidden_dropout_prob
    square = dims["B"], config.num_attention_heads, tokens, tokens
    places = {"vit.embeddings.dropout": wide}
    for i in range(config.num_hidden_layers):
        places[f"{LAYERS}{i}.attention.attention.dropout"] = square, config.attention_probs_dropout_prob
        places |= {f"{LAYERS}{i}.attention.output.dropout": wide, f"{LAYERS}{i}.output.dropout": wide}
    return places


# ---- Network ---------------------------------------------------------------------------------------------------------
LAYERS = "vit.encoder.layer."


def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes: specs by name (see `signatures`). bool_masked_pos: 1 = hidden, row by row."""
    return {"pixel_values": "(B,num_channels,Y,X)", "bool_masked_pos": "?(B,N)?"}


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives, as far as the parameters are there: specs by name."""
    states = "(B,T,hidden_size)"
    return {"last_hidden_state": states, "hidden_states": f"[{states}]", "attentions": "[(B,num_attention_heads,T,T)]",
            "pooler_output": "(B,pooled)"}  # fmt: skip


OPTIONAL = {"pooler": "pooler_output"}


def lengths(config: Config) -> Tree:
    """None: pictures of a batch are of one size."""
    return {}


def encode(p: Tree, config: Config, inputs: Tree, *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(6): outputs by name, and the cache; `inputs` as above, and "dropout" where something is dropped.

    hidden_states: 1 + L arrays (B, 1 + N, D), what enters layer 1 and what each layer gives, not yet (5); attentions:
    L arrays (B, H, 1 + N, 1 + N), only where `keep` is "caches" (see `layers.stack`); pooler_output where p has one.
    """
    c: Tree = {}
    kept, token = (inputs.get("dropout") or {}).get, p.get("mask_token", {}).get("weight")
    given = {"size": config.patch_size, "hidden": inputs.get("bool_masked_pos")}
    given |= {"keep": kept("vit.embeddings.dropout"), "rate": config.hidden_dropout_prob}
    h, c["embeddings"] = vision.patch_embeddings(inputs["pixel_values"], p["embeddings"], token, **given)  # (1), (2)
    c["token"] = p.get("mask_token")

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        name, rate = f"{LAYERS}{i}", config.attention_probs_dropout_prob
        dropped = kept(f"{name}.attention.attention.dropout")
        return layers.pre_norm_layer(
            x, p, heads=config.num_attention_heads, act=config.hidden_act, eps=config.layer_norm_eps,
            dropout=None if dropped is None else ops.dropout_multiplier(dropped, rate, x.dtype),
            keep={"attention": kept(f"{name}.attention.output.dropout"),
                  "feed_forward": kept(f"{name}.output.dropout")},
            rate=config.hidden_dropout_prob,
        )  # fmt: skip

    hidden, c["encoder"] = layers.stack(layer, h, p["encoder"], keep)  # (3), (4)
    last, c["norm"] = ops.layer_norm(hidden[-1], **p["norm"], eps=config.layer_norm_eps)  # (5)
    out = {**layers.states(hidden, c["encoder"], keep), "last_hidden_state": last}
    if "pooler" in p:
        at = np.zeros(len(last), np.int64)
        out["pooler_output"], c["pooler"] = summary(last, p["pooler"], at=at, act=config.pooler_act)  # (6)
    return out, c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(6) from the cotangents of last_hidden_state, of pooler_output where there is a pooler,
    and, where given, of hidden_states.
    """
    g: Tree = {}
    dlast = dout["last_hidden_state"]
    if "pooler" in c:
        dpooled, g["pooler"] = summary_backward(dout["pooler_output"], c["pooler"])  # (6)
        dlast = dlast + dpooled
    dh, g["norm"] = ops.layer_norm_backward(dlast, c["norm"])  # (5)
    back = layers.pre_norm_layer_backward
    dh, g["encoder"] = layers.stack_backward(back, dh, c["encoder"], dout.get("hidden_states"))  # (4), (3)
    _, g["embeddings"], *dtoken = vision.patch_embeddings_backward(dh, c["embeddings"])  # (2), (1)
    return {**g, **token_gradient(c["token"], dtoken)}


def token_gradient(token: Tree | None, dtoken: list[Array]) -> Tree:
    """The part of the tree that (2) has, 0 where nothing was hidden; none where there is no token."""
    if token is None:
        return {}
    return {"mask_token": {"weight": dtoken[0] if dtoken else np.zeros_like(token["weight"])}}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(7)"""
    sizes = {"width": config.hidden_size, "stride": config.encoder_stride, "channels": config.num_channels}
    constants = {"patch": config.patch_size, "stride": config.encoder_stride, "eps": config.mim_denominator_eps}
    return {"masked_pixels": Term(masked_pixels, "mim", sizes=sizes, constants=constants,
                                  inputs={"pixels": "pixel_values"})}  # fmt: skip


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for a picture: the class token's state, (5)."""
    return {"text": Summary(at="first", dropped=(None, None))}


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = None  # it reads no text
COUNTED = ("pictures", "", "pixels")
WIDTH = "hidden_size"
NARROW = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128,
          "initializer_range": 0.1}  # fmt: skip
QUICK = NARROW
DEFAULTS: Tree = {"steps": 2000, "batch_size": 64, "optimizer": "adamw", "schedule": "linear", "weight_decay": 0.05}


@dataclass(frozen=True)
class Data(Options):
    """What the data functions ask for."""

    source: str = option("any", "without --corpus: scikit-learn's digits, drawn ones, or any, digits where scikit-"
                         "learn is installed", among=pictures.SOURCES)  # fmt: skip
    image_size: int = option(8, "of the pictures, pixels either way", least=1, most=LARGE)
    num_channels: int = option(1, "of the pictures, colours", least=1, most=LARGE)
    patch_size: int = option(2, "cut them into patches of so many pixels either way", least=1, most=LARGE)
    duplicates: int = option(1, "serve each picture so many times in an epoch", least=1, most=1000)
    rate: float = option(0.5, "hide this share of the patches", least=0.01, most=0.99)
    square: int = option(2, "hide squares of so many pixels either way, whole patches", least=1, most=LARGE)
    masking: str = option("dynamic", "hide once, or anew each time that a picture is served",
                          among=("dynamic", "static"))  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, part in (("image_size", self.square), ("square", self.patch_size)):
            whole = getattr(self, name)
            require(whole % part == 0, f"{name} is {whole}; it must be a multiple of {part}")

    @property
    def seq_length(self) -> int:
        """Numbers of a picture."""
        return self.num_channels * self.image_size**2


def fields(data: Data, given: Tree) -> Tree:
    """The config fields for such pictures: those given, and the sizes that the options say."""
    return {**given, "image_size": data.image_size, "num_channels": data.num_channels, "patch_size": data.patch_size,
            "encoder_stride": data.patch_size}  # fmt: skip


def documents(files: list[str] | None, data: Data) -> list[list[Array]]:
    """A picture each."""
    found = pictures.of_files(files) if files else pictures.made(data.source)
    size = data.num_channels, data.image_size, data.image_size
    require(found.pixels.shape[1:] == size, f"pictures of {found.pixels.shape[1:]} (C, Y, X), not of {size}: say "
            "num_channels and image_size, which has to be one for both sides")  # fmt: skip
    return [[picture] for picture in found.pixels]


def rows(documents: list, rng: np.random.Generator, vocabulary: Any, data: Data, marked: Any = None) -> Tree:
    """The pictures, shuffled."""
    held = np.stack([picture for document in documents for picture in document])
    return {"pixel_values": held[np.concatenate([rng.permutation(len(held)) for _ in range(data.duplicates)])]}


PERCEIVES, BESIDE = "picture", (pictures.PREPROCESSOR,)


def perceived(row: Tree, config: Any, beside: Tree, most: int) -> Array:
    """The picture (C, Y, X) that a row of a task names."""
    found, size = pictures.one(row["picture"], row.get("number")), (config.image_size, config.image_size)
    due = (config.num_channels, *size)
    require(found.shape == due, f"{row['picture']}: a picture of {found.shape} (C, Y, X), but the model's are {due}")
    return pictures.normed(found, beside.get(pictures.PREPROCESSOR))


def gathered(several: list[Array]) -> Tree:
    """The inputs of pictures."""
    return {"pixel_values": np.stack(several)}


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Any, data: Data, studied: Any = None) -> Tree:
    """The same share of squares hidden in each picture, freshly chosen (SimMIM, section 3.2)."""
    count, each = len(rows["pixel_values"]), data.image_size // data.square
    chosen = rng.random((count, each * each)).argsort(1) < max(1, round(data.rate * each * each))
    wide = data.square // data.patch_size
    hidden = chosen.reshape(count, each, each).repeat(wide, 1).repeat(wide, 2)
    return {**rows, "bool_masked_pos": hidden.reshape(count, -1).astype(np.int32)}
