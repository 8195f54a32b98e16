"""Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context.

Dai, Yang, Yang, Carbonell, Le, Salakhutdinov, 2019, arXiv 1901.02860. Released code: kimiyoung/transformer-xl
(`pytorch/mem_transformer.py`, `tf/model.py`).

    embeddings   h⁰ = Drop(√D E_i[x] P_iᵀ) for x in cluster i, as wide as div_val says                              (1)
    positions    R_d = [sin(d f) | cos(d f)], f_i = 10000^(-2i/D), of distances d; d is clamped, R dropped          (2)
    memory       m^l = the last M states that entered layer l before this segment: data, no gradient                (3)
    attention    s = [m ; h]; q = h W_qᵀ, k = s W_kᵀ, v = s W_vᵀ, r = R W_rᵀ, no biases, H heads of width K
                 A_ij = (q_i + u)·k_j + (q_i + v)·r_{i-j}: four terms                                               (4)
                 f = Drop(softmax(A/√K, keys up to the query's own)) v, merged, W_oᵀ                                (5)
    residual     a = LN(h + Drop(f))                                                                                (6)
    feed-forward y = LN(a + Drop(W₂ Drop(max(0, W₁ a + b₁)) + b₂)), the h of the next layer                         (7)
    output       Drop(y^L); the next segment's memory is [m ; h]'s last M rows of each layer                        (8)
    objective    L = mean of -log p(x_{t+1}) by an adaptive softmax (`heads/adaptive_softmax.py`)                   (9)

With `pre_lnorm` the norms stand at the inputs of (4), of the memory too, and of (7), and nowhere else. Where the two
halves of the release or ports differ, and what is done here:
- u and v: one pair for all layers in `pytorch/`, each layer its own in ports (`untie_r`).
- logits of clusters: from the end in `pytorch/`, as they come in `tf/` and the loss of ports: `cluster_order`.
- memory: the states that enter each of the L layers (`tf/`, ports); `pytorch/` keeps what leaves the last, too, which
  nothing reads. `same_length`: a query sees the last `mem_len` keys, its own among them, instead of all.
- masked scores get the most negative number (-inf, 1e30 in the releases); no release masks padding: here a token that
  `attention_mask` leaves out is seen by nobody.
- labels are shifted inside, as in ports: the last token of a segment is not asked for the first of the next.
- `attn_type` other than 0 (positions of other models), `sample_softmax` and `ext_len` are not there.
"""

import functools
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, options, relative, tree
from minibert.config import among, check, number, rate, require, shown, size
from minibert.families import gpt2, inherited
from minibert.heads import adaptive_softmax
from minibert.objective import Term
from minibert.pairs import block, block_backward
from minibert.summaries import Summary

__getattr__ = inherited()

Array = np.ndarray
Tree = dict[str, Any]

CAUSAL = True
CARRIED = ("mems",)
WIDE, DEEP, LONG = 2**20, 1024, 2**20


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """The large model of WikiText-103 as published, under the published field names, and a named variant."""

    vocab_size: int = size(267735)
    cutoffs: tuple[int, ...] = (20000, 40000, 200000)
    d_model: int = size(1024, WIDE)
    d_embed: int = size(1024, WIDE)
    n_head: int = size(16, WIDE)
    d_head: int = size(64, WIDE)
    d_inner: int = size(4096, WIDE)
    div_val: int = size(4, WIDE)
    pre_lnorm: bool = False
    n_layer: int = size(18, DEEP)
    mem_len: int = 1600  # states of each layer that are kept
    clamp_len: int = 1000  # the largest distance that there is; 0 or below: none
    same_length: bool = True
    proj_share_all_but_first: bool = True
    tie_word_embeddings: bool = True
    untie_r: bool = True
    dropout: float = rate(0.1)
    dropatt: float = rate(0.0)
    init_std: float = number(0.02, 0, 100)
    proj_init_std: float = number(0.01, 0, 100)
    layer_norm_epsilon: float = number(1e-5, 0, 1)
    bos_token_id: int | None = None  # of generation, as the two below; no equation reads them
    eos_token_id: int | None = 0
    pad_token_id: int | None = None
    # variants
    cluster_order: str = among("ascending", adaptive_softmax.ORDERS)

    def __post_init__(self) -> None:
        check(self)
        fits = all(a < b for a, b in pairwise(self.ends)) and len(self.cutoffs) < DEEP
        rising = f"rising numbers between 0 and vocab_size {self.vocab_size}"
        require(fits, f"config field 'cutoffs' is {shown(self.cutoffs)}; allowed: {rising}")
        require(self.d_model % 2 == 0, f"config field 'd_model' is {self.d_model}; allowed: even numbers")
        fits = self.div_val ** len(self.cutoffs) <= self.d_embed
        require(fits, f"config field 'div_val' is {self.div_val}; allowed: what leaves each cluster a width")
        for name, least in (("mem_len", 0), ("clamp_len", -1)):
            value = getattr(self, name)
            require(least <= value <= LONG, f"config field {name!r} is {value}; allowed: {least} to {LONG}")
        seeing = not self.same_length or self.mem_len > 0
        require(seeing, "config field 'mem_len' is 0; allowed: 1 or more with same_length, or nothing is seen")
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            token = getattr(self, name)
            fits = token is None or 0 <= token < 2**31
            require(fits, f"config field {name!r} is {token}; allowed: null, 0 to {2**31 - 1}")

    @property
    def ends(self) -> tuple[int, ...]:
        """Where the parts of the vocabulary begin and end: 0, the cutoffs, V."""
        return 0, *self.cutoffs, self.vocab_size

    @property
    def widths(self) -> tuple[int, ...]:
        """Of each part's table; one where all stand in one table."""
        parts = 1 if self.div_val == 1 else len(self.cutoffs) + 1
        return tuple(self.d_embed // self.div_val**i for i in range(parts))

    @property
    def projected(self) -> bool:
        """Whether tables have a projection to the width of the states."""
        return self.div_val > 1 or self.d_embed != self.d_model


_BASE = {"n_layer": 16, "d_model": 410, "d_embed": 410, "n_head": 10, "d_head": 41, "d_inner": 2100, "div_val": 1,
         "mem_len": 150, "clamp_len": 0, "same_length": False, "untie_r": False}  # fmt: skip
_BYTES = {**_BASE, "vocab_size": 204, "cutoffs": (), "n_layer": 12, "d_model": 512, "d_embed": 512, "n_head": 8,
          "d_head": 64, "d_inner": 2048, "mem_len": 512}  # fmt: skip
PRESETS = {"base": _BASE, "large": {}, "enwik8": _BYTES}  # the release's scripts; "large" as ports publish it

# small, and every field away from its default: for checks
PROBE = {
    "vocab_size": 17,
    "cutoffs": (6, 11),
    "d_model": 8,
    "d_embed": 6,
    "n_head": 2,
    "d_head": 3,
    "d_inner": 11,
    "div_val": 2,
    "pre_lnorm": True,
    "n_layer": 2,
    "mem_len": 9,
    "clamp_len": 5,
    "same_length": False,
    "proj_share_all_but_first": False,
    "tie_word_embeddings": False,
    "untie_r": False,
    "dropout": 0.2,
    "dropatt": 0.15,
    "init_std": 0.05,
    "proj_init_std": 0.04,
    "layer_norm_epsilon": 1e-3,
    "bos_token_id": 3,
    "eos_token_id": 4,
    "pad_token_id": 5,
    "cluster_order": "reversed",
}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(8): the one place where they are written."""
    d, f, h, k = config.d_model, config.d_inner, config.n_head, config.d_head
    norm, biases = {"weight": (d,), "bias": (d,)}, {name: {"bias": (h, k)} for name in ("content", "position")}
    rows = [b - a for a, b in pairwise(config.ends)] if len(config.widths) > 1 else [config.vocab_size]
    tables = [{"word": {"weight": (n, e)}, **({"projection": {"weight": (d, e)}} if config.projected else {})}
              for n, e in zip(rows, config.widths, strict=True)]  # fmt: skip
    attention: Tree = {name: {"weight": (h * k, d)} for name in ("query", "key", "value", "position")}
    attention |= {"output": {"weight": (d, h * k)}, "norm": norm}
    if config.untie_r:
        attention = tree.merged(attention, biases)
    feed = {"in": {"weight": (f, d), "bias": (f,)}, "out": {"weight": (d, f), "bias": (d,)}, "norm": norm}
    layer, shared = {"attention": attention, "feed_forward": feed}, {} if config.untie_r else {"biases": biases}
    return {"embeddings": tables, "decoder": [layer] * config.n_layer, **shared}


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values, as in the release: normal, gains of norms about 1, but biases of layers 0."""
    *_, parent, leaf = path.split(".")
    if leaf == "bias" and parent not in ("content", "position"):
        return np.zeros(shape)
    std = config.proj_init_std if parent == "projection" or ".projections." in path else config.init_std
    return float(parent == "norm") + std * rng.standard_normal(shape)


# ---- An example ------------------------------------------------------------------------------------------------------
DIMS = {"B": 3, "T": 7, "M": 3}  # rows, tokens, states that are remembered


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch: a memory (none with M = 0), padding at the end, a repeated id, labels in every cluster, a position
    of which nothing is asked, drawn dropout masks. At least 4 tokens are needed. dims: sizes that differ from DIMS.
    """
    dims = {**DIMS, **(dims or {})}
    rows, length, before = dims["B"], dims["T"], min(dims["M"], config.mem_len)
    require(length >= 4 and config.vocab_size >= 2, "an example needs at least 4 positions and 2 token ids")
    ids = rng.integers(0, config.vocab_size, (rows, length))
    ids[:, 3] = ids[:, 1]
    lengths = rng.integers(length // 2 + 1, length, rows)
    lengths[0] = length
    sizes = terms(config)["next_token"].sizes
    labels = adaptive_softmax.draw(rng, {"B": rows, "T": length}, {"T": lengths}, **sizes)
    mems = [rng.standard_normal((rows, before, config.d_model)) for _ in range(config.n_layer)] if before else None
    dropout = layers.keep_masks(rng, dropouts(config, {"B": rows, "T": length, "M": before}))
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    memory = {} if mems is None else {"mems": mems}
    return {"input_ids": ids, "attention_mask": mask, **memory, **labels, "dropout": dropout}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of every dropout's keep-mask for inputs of these dimensions, under the names of the published
    dropout modules; M of a memory, if there is one.
    """
    rows, length, total = dims["B"], dims["T"], dims["T"] + dims.get("M", 0)
    wide, places = (rows, length, config.d_model), {}
    for n, shape in enumerate((wide, (total, config.d_model), wide)):
        places[f"transformer.drop@{n}" if n else "transformer.drop"] = shape, config.dropout
    for i in range(config.n_layer):
        own = f"{LAYERS}{i}."
        places[f"{own}dec_attn.dropatt"] = (rows, config.n_head, length, total), config.dropatt
        places[f"{own}dec_attn.drop"] = wide, config.dropout
        places[f"{own}pos_ff.CoreNet.2"] = (rows, length, config.d_inner), config.dropout
        places[f"{own}pos_ff.CoreNet.4"] = wide, config.dropout
    return places


# ---- Network ---------------------------------------------------------------------------------------------------------
LAYERS = "transformer.layers."
SPELLINGS = {"input_mask": "attention_mask"}


def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes: specs by name (see `signatures`). mems: of each layer, as an earlier call gave it."""
    return {"input_ids": "(B,T)<vocab_size", "attention_mask": "?(B,T)?", "mems": "?[(B,M,d_model)]"}


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: specs by name; S = M + T, N = S or mem_len, whichever is less."""
    return {
        "last_hidden_state": "(B,T,d_model)",
        "hidden_states": "[(B,T,d_model)]",
        "attentions": "[(B,n_head,T,S)]",
        "mems": "[(B,N,d_model)]",
    }


OPTIONAL: Tree = {}


def lengths(config: Config) -> dict[str, tuple[str, int | None]]:
    """How long rows may be, and the input whose sum along that dimension is how long each is."""
    return {"T": ("attention_mask", None)}


@block
def adaptive_embedding(p: list, *, ids: Array, ends: tuple[int, ...]) -> tuple[Array, Tree]:
    """(1): √D E_i[x] P_iᵀ of ids (B, T), (B, T, D); p: of each part, or of all together, {word (n, e), projection
    (D, e)}, without a projection E as it is. ends: 0, the cutoffs, V.
    """
    c: Tree = {"parts": []}
    h = None
    for held, (begin, end) in zip(p, pairwise(ends if len(p) > 1 else (0, ends[-1])), strict=True):
        own: Tree = {"at": np.flatnonzero((ids >= begin) & (ids < end))}
        e, own["word"] = ops.embedding(**held["word"], ids=ids if len(p) == 1 else ids.reshape(-1)[own["at"]] - begin)
        if "projection" in held:
            e, own["projection"] = ops.linear(e, **held["projection"])
        h = np.empty((ids.size, e.shape[-1]), e.dtype) if h is None else h
        h[own["at"]] = e.reshape(-1, e.shape[-1])
        c["parts"].append(own)
    return kernels.scaled(h, h.dtype.type(float(h.shape[-1]) ** 0.5)).reshape(*ids.shape, -1), c


@block_backward
def adaptive_embedding_backward(dy: Array, c: Tree) -> list:
    g, rows = [], dy.reshape(-1, dy.shape[-1])
    rows = kernels.scaled(rows, dy.dtype.type(float(dy.shape[-1]) ** 0.5))
    for own in c["parts"]:
        de, found = rows[own["at"]].reshape(*own["word"]["ids"].shape, dy.shape[-1]), {}
        if "projection" in own:
            de, found["projection"] = ops.linear_backward(de, own["projection"])
        g.append({"word": ops.embedding_backward(de, own["word"]), **found})
    return g


@block
def xl_layer(
    x: Array, p: Tree, *, mem: Array | None, pre: bool, eps: float, keep: Tree, rate: float, inner: Array | None,
    **given: Any,
) -> tuple[Array, Tree]:  # fmt: skip
    """(4)-(7) of x (B, T, D) behind mem (B, M, D); p: attention, feed_forward. pre: norms at the inputs. keep: masks of
    the residuals "attention" and "feed_forward"; inner: the dropout of `feed_forward`; given: of `relative_attention`.
    """
    c: Tree = {}
    own, residual = p["attention"], {"keep": keep["attention"], "rate": rate}
    source, normed = x if mem is None else np.concatenate([mem, x], 1), {}
    if pre:
        source, normed["norm"] = ops.layer_norm(source, **own["norm"], eps=eps)
    newest = source[:, source.shape[1] - x.shape[1] :]
    f, c["attention"] = relative.relative_attention(newest, source, own, **given)  # (4), (5)
    c["attention"] |= normed
    if pre:
        a, c["attention"]["add"] = layers.add(x, f, own, **residual)
    else:
        a, c["attention"]["add_norm"] = layers.add_norm(x, f, own, eps=eps, **residual)  # (6)

    def feed(a: Array) -> tuple[Array, Tree]:
        return layers.feed_forward(a, p["feed_forward"], act="relu", dropout=inner)

    sub_layer, residual = layers.pre_norm if pre else layers.post_norm, {"keep": keep["feed_forward"], "rate": rate}
    y, c["feed_forward"] = sub_layer(feed, a, p["feed_forward"], eps=eps, **residual)  # (7)
    return y, c


@block_backward
def xl_layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    """(dx, g); the memory gets no gradient, the norm that reads it does."""
    g, attention = {}, c["attention"]
    pre = "norm" in attention
    sub_layer_backward = layers.pre_norm_backward if pre else layers.post_norm_backward
    da, g["feed_forward"] = sub_layer_backward(layers.feed_forward_backward, dy, c["feed_forward"])
    closed, name = (layers.add_backward, "add") if pre else (layers.add_norm_backward, "add_norm")
    dx, df, ends = closed(da, attention[name])
    dquery, dsource, own = relative.relative_attention_backward(df, attention)
    before = dsource.shape[1] - dquery.shape[1]
    dsource[:, before:] += dquery
    if pre:
        dsource, ends["norm"] = ops.layer_norm_backward(dsource, attention["norm"])
    g["attention"] = {**own, **ends}
    return kernels.add(dx, dsource[:, before:]), g


def encode(p: Tree, config: Config, inputs: Tree, *, keep: layers.Keep = "caches") -> tuple[Tree, Tree]:
    """(1)-(8): outputs by name, and the cache; `inputs` as above, "dropout" where something is dropped, and "seen"
    (B, M), bits, of the memory where it has padding.

    hidden_states: 1 + L arrays (B, T, D), the first what enters layer 1, the last behind (8); attentions: L arrays
    (B, H, T, S), only where `keep` is "caches"; mems: the memory of the next segment, none where mem_len is 0.
    """
    c: Tree = {}
    kept, mems, ids = (inputs.get("dropout") or {}).get, inputs.get("mems") or [], inputs["input_ids"]
    require(len(mems) in (0, config.n_layer), f"mems: {len(mems)} arrays, but there are {config.n_layer} layers")
    h, c["embeddings"] = adaptive_embedding(p["embeddings"], ids=ids, ends=config.ends)  # (1)
    h, c["drop"] = ops.dropout(h, keep=kept("transformer.drop"), rate=config.dropout)
    length, before = ids.shape[1], mems[0].shape[1] if mems else 0
    mems = [mem.astype(h.dtype, copy=False) for mem in mems]
    places = relative.sinusoids(length + before - 1, 0, width=config.d_model, dtype=h.dtype, clamp=config.clamp_len)
    dropped = kept("transformer.drop@1")  # (2): data, no gradient
    places = places if dropped is None else places * ops.dropout_multiplier(dropped, config.dropout, h.dtype)
    mask, entered = visible(config, inputs, before), []

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        own, dropped = f"{LAYERS}{i}.", kept(f"{LAYERS}{i}.dec_attn.dropatt")
        inner = kept(f"{own}pos_ff.CoreNet.2")
        entered.append(x)
        return xl_layer(
            x,
            p,
            mem=mems[i] if mems else None,
            pre=config.pre_lnorm,
            eps=config.layer_norm_epsilon,
            keep={"attention": kept(f"{own}dec_attn.drop"), "feed_forward": kept(f"{own}pos_ff.CoreNet.4")},
            rate=config.dropout,
            inner=None if inner is None else ops.dropout_multiplier(inner, config.dropout, x.dtype),
            places=places,
            width=config.d_head,
            mask=mask,
            dropout=None if dropped is None else ops.dropout_multiplier(dropped, config.dropatt, x.dtype),
        )

    shared = p.get("biases", {})
    ps = [{**own, "attention": tree.merged(own["attention"], shared)} for own in p["decoder"]]
    hidden, c["decoder"] = layers.stack(layer, h, ps, keep)
    h, c["drop@2"] = ops.dropout(hidden[-1], keep=kept("transformer.drop@2"), rate=config.dropout)  # (8)
    out = layers.states([*hidden[:-1], h], c["decoder"], keep)
    c["shared"] = bool(shared)
    if config.mem_len:  # (3)
        wide = [np.concatenate([mems[i], x], 1) if mems else x for i, x in enumerate(entered[: config.n_layer])]
        out["mems"] = [rows[:, -config.mem_len :] for rows in wide]
    return out, c


def visible(config: Config, inputs: Tree, before: int) -> Array:
    """The mask (1 or B, 1, T, M + T) of (5): keys up to the query's own, of these the last mem_len with same_length, as
    far as they are there.
    """
    rows, length = inputs["input_ids"].shape
    total, seen = before + length, None
    if "attention_mask" in inputs or "seen" in inputs:
        seen = [inputs.get("seen", np.ones((rows, before))), inputs.get("attention_mask", np.ones((rows, length)))]
        seen = np.concatenate(seen, 1)
    mask = layers.causal(length, total, seen)
    if not config.same_length:
        return mask
    distance = np.arange(before, total)[:, None] - np.arange(total)
    return mask & (distance < config.mem_len)


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(8) from the cotangents of last_hidden_state and, where given, of hidden_states."""
    g: Tree = {}
    dh, dhidden = dout["last_hidden_state"], dout.get("hidden_states")
    if dhidden is not None:  # the last of them is the same array
        dh, dhidden = kernels.add(dh, dhidden[-1]), dhidden[:-1]
    dh = ops.dropout_backward(dh, c["drop@2"])  # (8)
    dh, g["decoder"] = layers.stack_backward(xl_layer_backward, dh, c["decoder"], dhidden)  # (7)-(4)
    if c["shared"]:
        attentions = [own["attention"] for own in g["decoder"]]
        each = [{"content": a.pop("content"), "position": {"bias": a["position"].pop("bias")}} for a in attentions]
        g["biases"] = functools.reduce(tree.add, each)
    g["embeddings"] = adaptive_embedding_backward(ops.dropout_backward(dh, c["drop"]), c["embeddings"])  # (1)
    return g


# ---- From token to token ---------------------------------------------------------------------------------------------
def start(p: Tree, config: Config, inputs: Tree) -> Tree:
    """The state that has read these inputs of `encode`; {}: nothing is read yet."""
    return _read(p, config, inputs, {})[1] if inputs else {}


def step(p: Tree, config: Config, ids: Array, state: Tree) -> tuple[Array, Tree]:
    """(logits (N, V) of what follows the last of the ids (N, n), the state that has read them). Where the memory was
    shorter than what was read, it is all that is known of it.
    """
    h, state = _read(p, config, {"input_ids": ids}, state)
    term = terms(config)["next_token"]
    return term.head.predict(h[:, -1], p[term.part], table=p[term.table], **term.constants), state


def _read(p: Tree, config: Config, inputs: Tree, state: Tree) -> tuple[Array, Tree]:
    """(last hidden states (N, n, D) of further tokens, the state that has read them): the memory, and its padding."""
    given = {**inputs, **state}
    ids, mems = given["input_ids"], given.get("mems")
    seen = given.get("seen", np.ones((len(ids), mems[0].shape[1] if mems else 0), np.int64))
    out, _ = encode(p, config, {**given, "seen": seen}, keep="last")
    if not config.mem_len:
        return out["last_hidden_state"], {}
    seen = np.concatenate([seen, given.get("attention_mask", np.ones_like(ids))], 1)[:, -config.mem_len :]
    return out["last_hidden_state"], {"mems": out["mems"], "seen": seen}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(9); tables and projections are the embeddings' as far as they are tied."""
    own = len(config.cutoffs) + 1 if not config.proj_share_all_but_first else 1
    sizes = {"ends": config.ends, "widths": config.widths, "width": config.d_model,
             "tables": not config.tie_word_embeddings, "projections": own if config.projected else 0}  # fmt: skip
    constants = {"ends": config.ends, "order": config.cluster_order}
    return {"next_token": Term(adaptive_softmax, "softmax", sizes=sizes, constants=constants, table="embeddings")}


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for a text: the state of its last token, as in ports."""
    return {"text": Summary(at="last", head="score", biased=False, dropped=(None, None))}


# ---- Data ------------------------------------------------------------------------------------------------------------
# The release takes words of WikiText-103 and bytes of enwik8; here pieces of bytes, whose ids rise as they are rarer,
# but for the 256 bytes, which come first. --vocab-size 257 is bytes. Rows stand in the order of the text.
TOKENIZER = "byte_level"
SPECIALS = dict.fromkeys(("bos", "eos", "unk"), "<eos>")
GLUE = gpt2.GLUE
Data = options.Rows
# Adam, a rate that falls along a cosine, and the norm of gradients are the release's (0.25; here its default, 1)
DEFAULTS: Tree = {"vocab_size": 2000, "seq_length": 64, "lowercase": False, "steps": 1500, "batch_size": 16,
                  "optimizer": "adamw", "schedule": "linear", "weight_decay": 0.0}  # fmt: skip
WIDTH = "d_model"
NARROW = {"n_layer": 2, "d_model": 128, "d_embed": 128, "n_head": 4, "d_head": 32, "d_inner": 512, "div_val": 2,
          "init_std": 0.05, "proj_init_std": 0.1, "same_length": False, "clamp_len": 0}  # fmt: skip
QUICK = {**NARROW, "dropout": 0.0}
read, rows = gpt2.read, gpt2.rows


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given; a memory as long as a row, and of a vocabulary
    that is no alphabet the rarer half in a cluster.
    """
    count = given.get("vocab_size", data.vocab_size)
    return {"mem_len": data.seq_length, "cutoffs": (count // 2,) if count >= 512 else (), **given}


def fitted(fields: Tree, asked: Tree) -> Tree:
    """The cutoffs that lie in the vocabulary, unless others are asked for."""
    return {} if "cutoffs" in asked else {"cutoffs": tuple(c for c in fields["cutoffs"] if c < fields["vocab_size"])}
