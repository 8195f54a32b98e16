"""Grover: Defending Against Neural Fake News.

Zellers, Holtzman, Rashkin, Bisk, Farhadi, Roesner, Choi, 2019, arXiv 1905.12616. Released code: rowanz/grover
(`lm/modeling.py`, `sample/encoder.py`). A left-to-right model of GPT-2's size of articles with fields, whose norms are
neither GPT's nor GPT-2's: the residual goes on from the sum, not from the norm that the feed-forward reads:

    embeddings   h⁰ = LN(E_word[x] + E_position[t]), nothing dropped                                                (1)
    attention    q, k, v = h Wᵀ + b of h as it is; u = softmax(q kᵀ/√K, keys up to the query's own) v, merged,
                 u W_oᵀ + b_o; no probability is dropped                                                            (2)
    residual     a = h + Drop(u), n = LN(a)                                                                         (3)
    feed-forward y = LN(a + Drop(gelu(n W₁ᵀ + b₁) W₂ᵀ + b₂)), the h of the next layer, of the last the last state   (4)
    objective    L = Σ -log softmax(y_t E_wordᵀ)[x_{t+1}] / (n + ε) over what is no padding                         (5)
    data         rows of an article's fields in an order that is drawn (`corruption.articles`)                      (6)
    writing      the fields that are known, then the token that begins the one that is asked for, up to its end     (7)

Where the release deviates from the paper or is silent, and what is done here:
- `attention_probs_dropout_prob` is a field of its configurations that nothing reads.
- padding is the id 0; it is read like any token (it may stand inside of a row), and only asked of nobody. Here as
  well; rows of unequal length in one batch have `attention_mask`, which the release doesn't.
- masked scores are multiplied by 0 and get -1e10; here as in GPT-2.
- first values: normal, cut at twice the deviation; eps of norms is 1e-5 everywhere, in no field: `layer_norm_eps`.
- optimizer: Adafactor with a constant rate of the old, 0.999, without scaling by the parameter (`grover_adafactor`).
- positions count from a row's first token from token to token, as in GPT-2.
- names: those of the release's variables; a "/" in them may be a ".", which is what is written.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import kernels, layers, ops
from minibert.config import among, check, number, rate, require, size
from minibert.corruption import articles
from minibert.families import gpt2, inherited
from minibert.heads import field_token
from minibert.objective import Term
from minibert.pairs import block, block_backward

KIN = "gpt2"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Grover-base as released, under the release's field names, and the named variants of this engine."""

    vocab_size: int = size(50270)
    hidden_size: int = size(768, gpt2.WIDE)
    num_hidden_layers: int = size(12, gpt2.DEEP)
    num_attention_heads: int = size(12)
    intermediate_size: int = size(3072, gpt2.WIDE)
    hidden_act: str = among("gelu", layers.ACTIVATIONS)
    hidden_dropout_prob: float = rate(0.1)
    max_position_embeddings: int = size(1024)
    initializer_range: float = number(0.02, 0, 100)
    pad_token_id: int = 0
    bos_token_id: int | None = None  # of generation, as the one below; no equation reads them
    eos_token_id: int | None = None
    # variants
    layer_norm_eps: float = number(1e-5, 0, 1)
    lm_denominator_eps: float = number(0.0, 0, 1)  # ε of (5): 1e-5 in the release

    def __post_init__(self) -> None:
        check(self)
        heads, allowed = self.num_attention_heads, f"a divisor of hidden_size {self.hidden_size}"
        fits = self.hidden_size % heads == 0
        require(fits, f"config field 'num_attention_heads' is {heads}; allowed: {allowed}")
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            token = getattr(self, name)
            fits = 0 <= token < 2**31 if token is not None else name != "pad_token_id"
            require(fits, f"config field {name!r} is {token}; allowed: null, 0 to {2**31 - 1}")


def _size(depth: int, width: int) -> Tree:
    sizes = {"num_hidden_layers": depth, "hidden_size": width, "num_attention_heads": width // 64}
    return {**sizes, "intermediate_size": 4 * width}


PRESETS = {"base": _size(12, 768), "large": _size(24, 1024), "mega": {**_size(48, 1536), "initializer_range": 0.01414}}

# small, and every field away from its default: for checks
PROBE = {"vocab_size": 17, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 11,
         "hidden_act": "relu", "hidden_dropout_prob": 0.2, "max_position_embeddings": 9, "initializer_range": 0.05,
         "pad_token_id": 5, "bos_token_id": 3, "eos_token_id": 4, "layer_norm_eps": 1e-3,
         "lm_denominator_eps": 0.02}  # fmt: skip


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(4): the one place where they are written."""
    d, f = config.hidden_size, config.intermediate_size
    norm, square = {"weight": (d,), "bias": (d,)}, {"weight": (d, d), "bias": (d,)}
    feed = {"in": {"weight": (f, d), "bias": (f,)}, "out": {"weight": (d, f), "bias": (d,)}, "norm": norm}
    attention = {**dict.fromkeys(("query", "key", "value", "output"), square), "norm": norm}
    layer = {"attention": attention, "feed_forward": feed}
    tables = {"word": {"weight": (config.vocab_size, d)}, "position": {"weight": (config.max_position_embeddings, d)}}
    return {"embeddings": {**tables, "norm": norm}, "decoder": [layer] * config.num_hidden_layers}


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values: normal, drawn anew beyond twice the deviation."""
    *_, parent, leaf = path.split(".")
    if leaf == "bias" or parent == "norm":
        return np.full(shape, float(leaf == "weight"))
    drawn = rng.standard_normal(shape)
    while (beyond := np.abs(drawn) > 2).any():
        drawn[beyond] = rng.standard_normal(int(beyond.sum()))
    return config.initializer_range * drawn


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch: padding at the end, a repeated id, a position of which nothing is asked, drawn dropout masks."""
    dims = {**gpt2.DIMS, **(dims or {})}
    rows, length = dims["B"], min(dims["T"], config.max_position_embeddings)
    require(length >= 4 and config.vocab_size >= 2, "an example needs at least 4 positions and 2 token ids")
    ids = rng.integers(0, config.vocab_size, (rows, length))
    ids[:, 3] = ids[:, 1]
    lengths = rng.integers(length // 2 + 1, length, rows)
    lengths[0] = length
    labels = field_token.draw(rng, {"B": rows, "T": length}, {"T": lengths}, table=(config.vocab_size, 0))
    dropout = layers.keep_masks(rng, dropouts(config, {"B": rows, "T": length}))
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    return {"input_ids": ids, "attention_mask": mask, **labels, "dropout": dropout}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of every dropout's keep-mask for inputs of these dimensions; the release's have no names."""
    wide = (dims["B"], dims["T"], config.hidden_size), config.hidden_dropout_prob
    return {f"{_layer(i)}{part}": wide for i in range(config.num_hidden_layers) for part in PLACES.values()}


# ---- Decoder ---------------------------------------------------------------------------------------------------------
ROOM = "max_position_embeddings"
PLACES = {"attention": "context_projection_layer.dropout", "feed_forward": "output.dropout"}


def _layer(i: int) -> str:
    return f"newslm.layer{i:02d}."


def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes: specs by name (see `signatures`)."""
    places = {"position_ids": "?(B,T)<max_position_embeddings"}
    return {"input_ids": "(B,T)<vocab_size", "attention_mask": "?(B,T)?", **places}


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: specs by name."""
    wide = "(B,T,hidden_size)"
    return {"last_hidden_state": wide, "hidden_states": f"[{wide}]", "attentions": "[(B,num_attention_heads,T,T)]"}


def lengths(config: Config) -> dict[str, tuple[str, int]]:
    """How long rows may be, and the input whose sum along that dimension is how long each is."""
    return {"T": ("attention_mask", config.max_position_embeddings)}


@block
def grover_layer(
    x: Array, p: Tree, *, heads: int, act: str, eps: float, keep: Tree, rate: float, **given: Any
) -> tuple[Array, Tree]:
    """(2)-(4) of x (B, T, D); p: attention (query, key, value, output, norm), feed_forward (in, out, norm), the first
    norm in front of the feed-forward, the second behind it. keep: masks of the residuals "attention" and
    "feed_forward"; given: mask and past of `layers.self_attention`.
    """
    c: Tree = {}
    own, feed = p["attention"], p["feed_forward"]
    u, c["attention"] = layers.self_attention(x, own, width=x.shape[-1] // heads, **given)  # (2)
    a, c["attention"]["add"] = layers.add(x, u, own, keep=keep["attention"], rate=rate)
    n, c["attention"]["norm"] = ops.layer_norm(a, **own["norm"], eps=eps)  # (3)
    f, c["feed_forward"] = layers.feed_forward(n, feed, act=act)
    y, c["feed_forward"]["add_norm"] = layers.add_norm(a, f, feed, eps=eps, keep=keep["feed_forward"], rate=rate)  # (4)
    return y, c


@block_backward
def grover_layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    own, feed = c["attention"], c["feed_forward"]
    da, df, ends = layers.add_norm_backward(dy, feed["add_norm"])  # (4)
    dn, g_feed = layers.feed_forward_backward(df, feed)
    da_norm, norm = ops.layer_norm_backward(dn, own["norm"])  # (3)
    dx, du, more = layers.add_backward(kernels.add(da, da_norm), own["add"])
    dx_inside, g_own = layers.self_attention_backward(du, own)  # (2)
    g = {"attention": {**g_own, "norm": norm, **more}, "feed_forward": {**g_feed, **ends}}
    return kernels.add(dx, dx_inside), g


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: layers.Keep = "caches") -> tuple[Tree, Tree]:
    """(1)-(4): outputs by name, and the cache; as `gpt2.encode`."""
    c: Tree = {}
    kept, past, ids = (inputs.get("dropout") or {}).get, inputs.get("past"), inputs["input_ids"]
    length, most, places = ids.shape[1], config.max_position_embeddings, inputs.get("position_ids")
    fits = f"input_ids: {length} tokens a row, but max_position_embeddings is {most}; truncate"
    require(places is not None or length <= most, fits)
    tables = {"word": ids, "position": np.arange(length) if places is None else places}
    given: Tree = {"frozen": {}, "eps": config.layer_norm_eps, "keep": None, "rate": 0.0}
    h, c["embeddings"] = layers.embeddings(p["embeddings"], ids=tables, **given)  # (1)
    mask = layers.causal(length, length + (past[0]["key"].shape[2] if past else 0), inputs.get("attention_mask"))

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        dropped = {part: kept(f"{_layer(i)}{name}") for part, name in PLACES.items()}
        own: Tree = {"past": past[i]} if past else {}
        own |= {"act": config.hidden_act, "eps": config.layer_norm_eps, "keep": dropped}
        own |= {"heads": config.num_attention_heads, "rate": config.hidden_dropout_prob}
        return grover_layer(x, p, mask=mask, **own)

    hidden, c["decoder"] = layers.stack(layer, h, p["decoder"], keep)  # (2)-(4)
    return layers.states(hidden, c["decoder"], keep), c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(4) from the cotangents of last_hidden_state and, where given, of hidden_states."""
    g: Tree = {}
    dh, dhidden = dout["last_hidden_state"], dout.get("hidden_states")
    if dhidden is not None:  # the last of them is the same array
        dh, dhidden = kernels.add(dh, dhidden[-1]), dhidden[:-1]
    dh, g["decoder"] = layers.stack_backward(grover_layer_backward, dh, c["decoder"], dhidden)
    g["embeddings"] = layers.embeddings_backward(dh, c["embeddings"])
    return g


# ---- From token to token ---------------------------------------------------------------------------------------------
def start(p: Tree, config: Config, inputs: dict[str, Array]) -> Tree:
    """As `gpt2.start`."""
    return gpt2.went_on(encode, p, config, inputs, {}, ROOM)[1] if inputs else {}


def step(p: Tree, config: Config, ids: Array, state: Tree) -> tuple[Array, Tree]:
    """As `gpt2.step`."""
    h, state = gpt2.went_on(encode, p, config, {"input_ids": ids}, state, ROOM)
    return field_token.predict(h[:, -1], None, table=p["embeddings"]["word"]["weight"]), state


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(5)"""
    sizes, eps = {"table": (config.vocab_size, config.hidden_size)}, {"denominator_eps": config.lm_denominator_eps}
    return {"next_token": Term(field_token, sizes=sizes, constants=eps, table="embeddings.word.weight")}


# ---- Data ------------------------------------------------------------------------------------------------------------
SPECIALS, ADDED, GLUE = articles.SPECIALS, articles.TOKENS, " "
Data = articles.Articles
mark, rows, handed = articles.mark, articles.rows, articles.handed
ASKED, asked = articles.FIELDS, articles.asked
# Adafactor, its decay, a rate that rises and falls along a line, gradients as they are: the release's
DEFAULTS: Tree = {"vocab_size": 2000, "seq_length": 128, "lowercase": False, "duplicates": 2, "steps": 1500,
                  "batch_size": 8, "optimizer": "grover_adafactor", "schedule": "linear", "learning_rate": 2e-3,
                  "weight_decay": 0.01, "clip_norm": 1e9}  # fmt: skip
WIDTH = "hidden_size"
NARROW = {**_size(2, 128), "num_attention_heads": 4, "initializer_range": 0.05}
QUICK = {**NARROW, "hidden_dropout_prob": 0.0}


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given, and what the rows ask for."""
    return {"max_position_embeddings": data.seq_length, **given}
