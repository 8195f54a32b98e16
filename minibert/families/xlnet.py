"""XLNet: Generalized Autoregressive Pretraining for Language Understanding.

Yang, Dai, Yang, Carbonell, Salakhutdinov, Le, 2019, arXiv 1906.08237. Released code: zihangdai/xlnet (`modeling.py`,
`data_utils.py`, `model_utils.py`).

Two streams over the same weights: a content state h_t for each of T tokens, and a query state g_m for each of M
targets, which knows where it stands and not what stands there. S₀ states of memory stand before the tokens, S = S₀ + T.

    content      h⁰ = Drop(E[x])                                                                                    (1)
    queries      g⁰ = Drop(w), one vector for all of them                                                           (2)
    distances    R_d = [sin(d·f) | cos(d·f)], f_i = 10000^(-2i/D), d from query back to key; of a row that is read
                 backwards -d; dropped as (1) is                                                                    (3)
    attention    q = x W_qᵀ; k, v = c W_kᵀ, c W_vᵀ, c = [memory; h]: of the content, whoever asks; no biases         (4)
    scores       s_ij = ((q_i + u)·k_j + (q_i + v)·W_r R_{i-j} + (q_i + t)·e_{same or other segment})/√K            (5)
    who sees     a query: what perm_mask lets it; a content state itself, too; both all of the memory                (6)
    post-norm    a = LN(x + Drop(Drop(softmax(s)) v W_oᵀ)), y = LN(a + Drop(Drop(act(a W₁ᵀ + b₁)) W₂ᵀ + b₂))         (7)
    memory       of each layer: what was there, then the first reuse_len states that enter it; the last mem_len      (8)
    logits       z_m = Drop(g_m^L) Eᵀ + b                                                                            (9)
    objective    L = mean of -log softmax(z_m)[token of target m]                                                   (10)

target_mapping (B, M, T) says where queries stand: their q go to its places, attend there, and what they find comes
back by the same matrix, so that a row of zeros finds nothing. Without it there are no queries, and the states are h^L.
Memory gets no gradient, and counts as a text of segment 0. Where the release deviates from the paper or ports from the
release, and what is done here:
- e and t are in the release alone (the paper: relative segments); without token_type_ids their term is left out.
- the release's "gelu" is the tanh form, ports' the erf form; the configuration decides, "gelu" or "gelu_new".
- without a target_mapping the release has queries wherever `inp_q` says; ports took that away, nor is it here.
- a query that may see nothing sees everything alike, its own token too: so in release and ports, and here. Rows that
  `corrupt` makes have tokens that all see.
- `bi_data` of ports reads the second half of a batch backwards; `backward` says row by row which, and goes before it.
- the release drops probabilities at a rate of its own, dropatt; ports and this file at `dropout`.
- the release's optimizer decays u, v and t, which are biases by name, and no other bias: its list of what decays is
  asked before the one of what doesn't. Here they are called weights.
- in training the release hands the memory of a row to the next one of its stream; `pretrain` draws rows in any order,
  and without memory.
- rows may be padded on either side, as only distances count; published rows are padded on the left.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, options, relative, tree
from minibert.config import among, check, number, rate, require, size
from minibert.corruption import orders
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, inherited
from minibert.heads import permuted_lm
from minibert.objective import Term
from minibert.options import option
from minibert.pairs import block, block_backward
from minibert.summaries import Summary

__getattr__ = inherited()

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """XLNet-base as released (cased), under the published field names."""

    vocab_size: int = size(32000)
    d_model: int = size(768, bert.WIDE)
    n_layer: int = size(12, bert.DEEP)
    n_head: int = size(12)
    d_inner: int = size(3072, bert.WIDE)
    ff_activation: str = among("gelu", layers.ACTIVATIONS)
    dropout: float = rate(0.1)
    mem_len: int | None = None  # all of it
    reuse_len: int | None = None  # all states
    bi_data: bool = False
    clamp_len: int = -1  # farther distances count as this one; none does where it is not above 0
    initializer_range: float = number(0.02, 0, 100)
    layer_norm_eps: float = number(1e-12, 0, 1)
    pad_token_id: int | None = 5
    tie_word_embeddings: bool = True

    def __post_init__(self) -> None:
        check(self)
        fits = f"allowed: a divisor of d_model {self.d_model}"
        require(self.d_model % self.n_head == 0, f"config field 'n_head' is {self.n_head}; {fits}")
        require(self.d_model % 2 == 0, f"config field 'd_model' is {self.d_model}; allowed: an even number")
        for name in ("mem_len", "reuse_len"):
            value = getattr(self, name)
            fits = value is None or 0 <= value < 2**31
            require(fits, f"config field {name!r} is {value}; allowed: null, 0 to {2**31 - 1}")
        far = self.clamp_len
        require(-1 <= far < 2**31, f"config field 'clamp_len' is {far}; allowed: -1 to {2**31 - 1}")
        pad = self.pad_token_id
        require(pad is None or 0 <= pad < self.vocab_size, f"config field 'pad_token_id' is {pad}; allowed: a token id")

    @property
    def d_head(self) -> int:
        """K of (5)."""
        return self.d_model // self.n_head


PRESETS = {
    "base": {},
    "large": {"d_model": 1024, "n_layer": 24, "n_head": 16, "d_inner": 4096},
}
PROBE = {
    "vocab_size": 17, "d_model": 8, "n_layer": 2, "n_head": 2, "d_inner": 11, "ff_activation": "gelu_new",
    "dropout": 0.2, "mem_len": 5, "reuse_len": 4, "bi_data": True, "clamp_len": 4, "layer_norm_eps": 1e-3,
    "pad_token_id": 3, "tie_word_embeddings": False,
}  # fmt: skip


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(7): the one place where they are written. content, place and segment: u, v
    and t of (5); position: W_r; segments: e of the same segment, then of another.
    """
    d, f, heads = config.d_model, config.d_inner, (config.n_head, config.d_head)
    norm = {"weight": (d,), "bias": (d,)}
    attention = {name: {"weight": (d, d)} for name in ("query", "key", "value", "output", "position")}
    attention |= {name: {"weight": heads} for name in ("content", "place", "segment")}
    feed = {"in": {"weight": (f, d), "bias": (f,)}, "out": {"weight": (d, f), "bias": (d,)}, "norm": norm}
    layer = {"attention": {**attention, "segments": {"weight": (2, *heads)}, "norm": norm}, "feed_forward": feed}
    tables = {"word": {"weight": (config.vocab_size, d)}, "query": {"weight": (d,)}}
    return {"embeddings": tables, "encoder": [layer] * config.n_layer}


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch: two segments, padding at the end, some tokens in an order, the last target of the last row unused.
    """
    dims = {**bert.DIMS, "M": 3, **(dims or {})}
    rows, length = dims["B"], dims["T"]
    require(length >= 4 and config.vocab_size >= 2, "an example needs at least 4 tokens and 2 token ids")
    lengths = rng.integers(length // 2 + 1, length, rows)
    lengths[0] = length
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    slots = min(dims["M"], int(lengths.min()) - 1)
    order = 1 + rng.random((rows, int(lengths.min()) - 1)).argsort(1)  # the first token is seen by all
    targets = order[:, :slots]
    labels = permuted_lm.draw(rng, {"B": rows, "M": slots}, {}, table=(config.vocab_size, 0))
    batch = {
        "input_ids": np.where(mask, rng.integers(0, config.vocab_size, (rows, length)), config.pad_token_id or 0),
        "attention_mask": mask,
        "token_type_ids": mask * (np.arange(length) >= lengths[:, None] // 2),
        "perm_mask": np.stack([orders.hidden(row, length) for row in targets]),
        "target_mapping": (targets[:, :, None] == np.arange(length)) * (labels["labels"] >= 0)[:, :, None],
        **labels,
        **({"backward": np.arange(rows) % 2} if config.bi_data else {}),
    }
    return {**batch, "dropout": layers.keep_masks(rng, dropouts(config, {"B": rows, "T": length, "M": slots}))}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of the keep-masks, by published module and the number of its call: over content, then queries."""
    rows, length, slots, memory = (dims.get(letter, 0) for letter in "BTMP")
    width, keys = config.d_model, memory + length
    probs, heads = [(rows, config.n_head, length, keys)] * (1 + (slots > 0)), f"{PREFIX}dropout"
    places = {heads: (rows, length, width), f"{heads}@2": (rows, keys + length - 1, width),
              f"{heads}@3": (rows, slots or length, width)}  # fmt: skip
    places |= {f"{heads}@1": (rows, slots, width)} if slots else {}
    for i in range(config.n_layer):
        names, wide = _places(i), (rows, length + slots, width)
        inner = (rows, length + slots, config.d_inner)
        places |= dict(zip(names, (wide, inner, wide, *probs), strict=False))
    return {name: (shape, config.dropout) for name, shape in places.items()}


def _places(i: int) -> tuple[str, ...]:
    """A layer's dropouts: behind attention, inside and behind the feed-forward, of the probabilities of each stream."""
    own = f"{PREFIX}layer.{i}."
    return (f"{own}rel_attn.dropout@1", f"{own}ff.dropout", f"{own}ff.dropout@1", f"{own}rel_attn.dropout",
            f"{own}rel_attn.dropout@2")  # fmt: skip


# ---- A layer ---------------------------------------------------------------------------------------------------------
def scored(q: Array, k: Array, v: Array, r: Array, p: Tree, differ: Array | None, **given: Any) -> tuple[Array, Tree]:
    """(5) and its softmax over v: q (B, H, T, K), k and v (B, H, S, K), r (1 or B, H, T + S - 1, K) the distances;
    differ (B, T, S): whether a key is of another segment; given: mask and dropout of `ops.attention`.
    """
    c: Tree = {"differ": differ}
    scale = np.longdouble(q.shape[-1]) ** -0.5
    bias, c["distances"] = ops.scores(q + p["place"]["weight"][:, None], r, scale=scale)
    bias, c["shift"] = ops.relative_shift(bias, keys=k.shape[2])
    if differ is not None:
        e = p["segments"]["weight"].swapaxes(0, 1)[None]  # (1, H, 2, K)
        both, c["segments"] = ops.scores(q + p["segment"]["weight"][:, None], e, scale=scale)
        bias = bias + np.where(differ[:, None], both[..., 1:], both[..., :1])
    y, c["scores"] = ops.attention(q + p["content"]["weight"][:, None], k, v, bias=bias, scale=scale, **given)
    return y, c


def scored_backward(dy: Array, c: Tree) -> tuple[Array, Array, Array, Array, Tree]:
    """(dq, dk, dv, dr, g of content, place, segment, segments)."""
    dq, dk, dv, dbias = ops.attention_backward(dy, c["scores"])
    g = {"content": {"weight": dq.sum((0, 2))}}
    dplace, dr = ops.scores_backward(ops.relative_shift_backward(dbias, c["shift"]), c["distances"])
    g["place"] = {"weight": dplace.sum((0, 2))}
    if c["differ"] is None:
        return kernels.add(dq, dplace), dk, dv, dr, g
    other = np.where(c["differ"][:, None], dbias, 0).sum(-1)
    dsegment, de = ops.scores_backward(np.stack([dbias.sum(-1) - other, other], -1), c["segments"])
    g |= {"segment": {"weight": dsegment.sum((0, 2))}, "segments": {"weight": de[0].swapaxes(0, 1)}}
    return kernels.add(dq, dplace, dsegment), dk, dv, dr, g


@block
def xlnet_layer(
    x: Array, p: Tree, *, heads: int, act: str, eps: float, rate: float, places: Array, mapping: Array | None = None,
    memory: Array | None = None, differ: Array | None = None, sees: Tree | None = None, dropout: Tree | None = None,
    keep: Tree | None = None,
) -> tuple[Array, Tree]:  # fmt: skip
    """(4)-(7) of x (B, T + M, D), the content and behind it the queries.

    places: R (1 or B, T + S - 1, D); mapping: target_mapping (B, M, T), None: no queries. memory (B, S₀, D) is data.
    differ: as in `scored`, None: no segments. sees: the masks "attention" and "queries" (B, 1, T, S); dropout:
    multipliers of the probabilities by the same names, and "inner" of the feed-forward; keep: as in
    `layers.encoder_layer`.
    """
    c: Tree = {}
    keep, factor, residual = keep or {}, (dropout or {}).get, {"eps": eps, "rate": rate}
    slots = 0 if mapping is None else mapping.shape[1]

    def attend(x: Array) -> tuple[Array, Tree]:
        own, length = p["attention"], x.shape[1] - slots
        h = x[:, :length]
        source = h if memory is None else np.concatenate([memory, h], 1)
        q, c = layers.projected(x, own, "query", heads=heads)
        k, of_keys = layers.projected(source, own, "key", heads=heads)
        v, of_values = layers.projected(source, own, "value", heads=heads)
        r, of_places = layers.projected(places, own, "position", heads=heads)
        c |= {**of_keys, **of_values, **of_places, "length": length, "mapping": mapping}

        def asked(name: str, q: Array) -> Array:
            y, c[name] = scored(q, k, v, r, own, differ, mask=(sees or {}).get(name), dropout=factor(name))
            return y

        y = asked("attention", q[:, :, :length])
        if slots:
            there = mapping[:, None].astype(x.dtype)
            found = asked("queries", there.swapaxes(-1, -2) @ q[:, :, length:])
            y = np.concatenate([y, there @ found], 2)
        y, c["merge"] = ops.merge_heads(y)
        y, c["output"] = ops.linear(y, **own["output"])
        return y, c

    def feed(a: Array) -> tuple[Array, Tree]:
        return layers.feed_forward(a, p["feed_forward"], act=act, dropout=factor("inner"))

    a, c["attention"] = layers.post_norm(attend, x, p["attention"], keep=keep.get("attention"), **residual)
    y, c["feed_forward"] = layers.post_norm(feed, a, p["feed_forward"], keep=keep.get("feed_forward"), **residual)
    return y, c


@block_backward
def xlnet_layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    """(dx, g); the distances get no gradient, as the dropout on them has no parameter behind it, nor does memory."""
    g: Tree = {}

    def attend_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
        dy, output = ops.linear_backward(dy, c["output"])
        dy, length = ops.merge_heads_backward(dy, c["merge"]), c["length"]
        dq, dk, dv, dr, own = scored_backward(dy[:, :, :length], c["attention"])
        if "queries" in c:
            there = c["mapping"][:, None].astype(dy.dtype)
            more = scored_backward(there.swapaxes(-1, -2) @ dy[:, :, length:], c["queries"])
            dq = np.concatenate([dq, there @ more[0]], 2)
            dk, dv, dr = (kernels.add(*both) for both in zip((dk, dv, dr), more[1:4], strict=True))
            own = tree.add(own, more[4])
        own["output"] = output
        _, own["position"] = layers.projected_backward(dr, c, "position")
        dx, own["query"] = layers.projected_backward(dq, c, "query")
        dkey, own["key"] = layers.projected_backward(dk, c, "key")
        dvalue, own["value"] = layers.projected_backward(dv, c, "value")
        dh = kernels.add(dx[:, :length], dkey[:, -length:], dvalue[:, -length:])
        if "segments" not in own:
            zero = [np.zeros(c["attention"]["scores"]["q"].shape[1:2] + dq.shape[-1:], dq.dtype)] * 3
            own |= {"segment": {"weight": zero[0]}, "segments": {"weight": np.stack(zero[1:])}}
        return np.concatenate([dh, dx[:, length:]], 1), own

    da, g["feed_forward"] = layers.post_norm_backward(layers.feed_forward_backward, dy, c["feed_forward"])
    dx, g["attention"] = layers.post_norm_backward(attend_backward, da, c["attention"])
    return dx, g


# ---- The network -----------------------------------------------------------------------------------------------------
PREFIX = "transformer."
SPELLINGS = {"segment_ids": "token_type_ids"}  # not input_mask, which says the opposite of attention_mask here
OPTIONAL: Tree = {}
CARRIED = ("mems",)
SEES_ITSELF = True  # padding does, whatever its mask


PREDICTED = ("target_mapping",)


def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes. attention_mask: 1 = a token; perm_mask[b, i, j]: 1 = i may not see j; target_mapping as
    above; mems: of each layer what it has read before, (B, P, D); backward: 1 = the row's text runs from its end.
    """
    return {
        "input_ids": "(B,T)<vocab_size",
        "attention_mask": "?(B,T)?",
        "token_type_ids": "?(B,T)<5",
        "perm_mask": "?(B,T,T)?",
        "target_mapping": "?(B,M,T)?",
        "mems": "?[(B,P,d_model)]",
        "backward": "?(B)?",
    }


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: the queries' last states where there are any, (B, M, D), else the content's; hidden_states
    and attentions are the content's; mems: (8).
    """
    return {
        "last_hidden_state": "(B,T,d_model)",
        "hidden_states": "[(B,T,d_model)]",
        "attentions": "[(B,n_head,T,T)]",
        "mems": "[(B,P,d_model)]",
    }


def lengths(config: Config) -> dict[str, tuple[str, int | None]]:
    """The input whose sum is how long each row is; there is no longest."""
    return {"T": ("attention_mask", None)}


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(8): outputs by name, and the cache; `inputs` as above, "dropout" where something is dropped, and "seen"
    (B, S), 1 = there, of the memory of a state.
    """
    kept, drop = inputs.get("dropout") or {}, {"rate": config.dropout}
    ids, mapping, memory = inputs["input_ids"], inputs.get("target_mapping"), inputs.get("mems")
    require(memory is None or len(memory) == config.n_layer,
            f"mems: {0 if memory is None else len(memory)} arrays, but there are {config.n_layer} layers")  # fmt: skip
    (rows, length), before = ids.shape, 0 if memory is None else memory[0].shape[1]
    c: Tree = {"length": length}
    h, c["word"] = ops.embedding(**p["embeddings"]["word"], ids=ids)  # (1)
    x, c["dropped"] = ops.dropout(h, keep=kept.get(f"{PREFIX}dropout"), **drop)
    if mapping is not None:
        g = np.broadcast_to(p["embeddings"]["query"]["weight"], (rows, mapping.shape[1], h.shape[2]))  # (2)
        g, c["dropped_queries"] = ops.dropout(g, keep=kept.get(f"{PREFIX}dropout@1"), **drop)
        x = np.concatenate([x, g], 1)
    places = _distances(config, inputs, rows, length, before, x.dtype)  # (3)
    if (mask := kept.get(f"{PREFIX}dropout@2")) is not None:  # nothing learns from it
        places = places * ops.dropout_multiplier(mask, config.dropout, x.dtype)
    sees, segments, entered = _seen(inputs, length, before), inputs.get("token_type_ids"), {}
    differ = None
    if segments is not None:
        differ = segments[:, :, None] != np.pad(segments, ((0, 0), (before, 0)))[:, None]

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        entered[i] = x[:, :length]
        attended, inner, fed, *probs = (kept.get(name) for name in _places(i))
        masks = zip(("inner", "attention", "queries"), (inner, *probs), strict=True)
        factors = {name: ops.dropout_multiplier(mask, config.dropout, x.dtype)
                   for name, mask in masks if mask is not None}  # fmt: skip
        given = {"heads": config.n_head, "act": config.ff_activation, "eps": config.layer_norm_eps, **drop}
        given |= {"places": places, "mapping": mapping, "differ": differ, "sees": sees, "dropout": factors}
        own = memory[i] if before else None
        return xlnet_layer(x, p, memory=own, keep={"attention": attended, "feed_forward": fed}, **given)

    hidden, c["encoder"] = layers.stack(layer, x, p["encoder"], keep)  # (4)-(7)
    last = hidden[-1][:, length if mapping is not None else 0 :]
    last, c["dropped_last"] = ops.dropout(last, keep=kept.get(f"{PREFIX}dropout@3"), **drop)  # (9)
    out = {"last_hidden_state": last, "hidden_states": [state[:, :length] for state in hidden]}
    if keep == "caches":
        out["attentions"] = [own["attention"]["attention"]["scores"]["probs"] for own in c["encoder"]]
    out["mems"] = [_remembered(config, memory[i] if before else None, entered[i]) for i in range(config.n_layer)]  # (8)
    return out, c


def _distances(config: Config, inputs: Tree, rows: int, length: int, before: int, dtype: np.dtype) -> Array:
    """(3): (1 or B, T + S - 1, D), from S - 1 back to T - 1 ahead."""
    given = {"width": config.d_model, "dtype": dtype, "clamp": max(config.clamp_len, 0)}
    ahead, back = (relative.sinusoids(before + length - 1, 1 - length, **given, back=back) for back in (False, True))
    turned = inputs.get("backward", np.arange(rows) >= rows // 2 if config.bi_data else None)
    return ahead[None] if turned is None else np.where(turned.astype(bool)[:, None, None], back, ahead)


def _seen(inputs: Tree, length: int, before: int) -> Tree | None:
    """(6): the mask (B, 1, T, S) of each stream; None: everything is seen."""
    there, hidden = inputs.get("attention_mask"), inputs.get("perm_mask")
    old = inputs.get("seen")
    if there is None and hidden is None and old is None:
        return None
    rows = len(inputs["input_ids"])
    sees = np.ones((rows, length, length), bool) if hidden is None else ~hidden.astype(bool)
    sees = sees if there is None else sees & there.astype(bool)[:, None]
    old = np.ones((rows, before), bool) if old is None else old.astype(bool)
    old = np.broadcast_to(old[:, None], (rows, length, before))
    both = {"attention": sees | np.eye(length, dtype=bool), "queries": sees}
    return {name: np.concatenate([old, mask], 2)[:, None] for name, mask in both.items()}


def _remembered(config: Config, memory: Array | None, entered: Array) -> Array:
    """(8) of one layer."""
    entered = entered[:, : config.reuse_len] if config.reuse_len else entered
    whole = entered if memory is None else np.concatenate([memory, entered], 1)
    return whole[:, -config.mem_len :] if config.mem_len else whole


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(7) from the cotangents of last_hidden_state and, where given, of hidden_states."""
    length, queries = c["length"], "dropped_queries" in c
    dlast = ops.dropout_backward(dout["last_hidden_state"], c["dropped_last"])
    dx = np.pad(dlast, ((0, 0), (length, 0), (0, 0))) if queries else dlast
    more, dhidden = dx.shape[1] - length, dout.get("hidden_states")
    dhidden = None if dhidden is None else [np.pad(d, ((0, 0), (0, more), (0, 0))) for d in dhidden]
    dx, encoder = layers.stack_backward(xlnet_layer_backward, dx, c["encoder"], dhidden)  # (7)-(4)
    word = ops.embedding_backward(ops.dropout_backward(dx[:, :length], c["dropped"]), c["word"])  # (1)
    dg = ops.dropout_backward(dx[:, length:], c["dropped_queries"]) if queries else dx[:, length:]
    return {"encoder": encoder, "embeddings": {"word": word, "query": {"weight": dg.sum((0, 1))}}}  # (2)


# ---- From token to token ---------------------------------------------------------------------------------------------
def start(p: Tree, config: Config, inputs: dict[str, Array]) -> Tree:
    """The state that has read these inputs, each token those up to it; {}: nothing is read yet."""
    return _went_on(p, config, inputs, {}, False)[1] if inputs else {}


def step(p: Tree, config: Config, ids: Array, state: Tree) -> tuple[Array, Tree]:
    """(logits (N, V) of what follows the last of the ids (N, n), the state that has read them): (9) of a query."""
    g, state = _went_on(p, config, {"input_ids": ids}, state, True)
    term = terms(config)["permuted_lm"]
    return permuted_lm.predict(g[:, 0], p["lm"], table=tree.get(p, term.table)), state


def _went_on(p: Tree, config: Config, inputs: Tree, state: Tree, asked: bool) -> tuple[Array, Tree]:
    """(last states, the state that has read further tokens): the memory is all that was read, whatever mem_len says."""
    ids = inputs["input_ids"]
    rows, n = ids.shape
    there = inputs.get("attention_mask", np.ones_like(ids))
    more = np.zeros((rows, int(asked)), ids.dtype)  # a place for the query, which nobody sees
    length = n + int(asked)
    given = {"input_ids": np.concatenate([ids, more], 1), "attention_mask": np.concatenate([there, more], 1)}
    given["perm_mask"] = np.broadcast_to(1 - np.tri(length, dtype=np.int64), (rows, length, length))
    if asked:
        given["target_mapping"] = np.broadcast_to(np.arange(length) == n, (rows, 1, length))
    if state:
        given |= {"mems": state["mems"], "seen": state["seen"]}
    whole = dataclasses.replace(config, mem_len=None, reuse_len=n, bi_data=False)
    out, _ = encode(p, whole, given, keep="last")
    seen = np.concatenate([state["seen"], there], 1) if state else there
    return out["last_hidden_state"], {"mems": out["mems"], "seen": seen}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(9), (10)."""
    tied, table = config.tie_word_embeddings, (config.vocab_size, config.d_model)
    own = "embeddings.word.weight" if tied else "lm.decoder.weight"
    return {"permuted_lm": Term(permuted_lm, "lm", sizes={"table": table, "tied": tied}, table=own)}


def predict(p: Tree, config: Config, inputs: dict[str, Array], name: str, at: Any = ...) -> Array:
    """What queries say at some places of one row, whose tokens nobody sees: logits (n, V). at: (0, places)."""
    require(name == "masked_lm", f"xlnet has no head that tells {name.replace('_', ' ')}s")
    ids, (_, places) = inputs["input_ids"], at
    hidden = np.zeros((1, ids.shape[1], ids.shape[1]), np.int64)
    hidden[..., places] = 1
    given = {**inputs, "perm_mask": hidden, "target_mapping": (places[:, None] == np.arange(ids.shape[1]))[None]}
    g = encode(p, config, given, keep="last")[0]["last_hidden_state"][0]
    return permuted_lm.predict(g, p["lm"], table=tree.get(p, terms(config)["permuted_lm"].table))


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for a text: the state of its last token, <cls>, behind a layer."""
    own = Summary(at="last", act="tanh", dense="sequence_summary.summary", head="logits_proj",
                  dropped=(None, "sequence_summary.last_dropout"))  # fmt: skip
    return {"text": own}


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "unigram"
# as published, but that a document's end has its own in the place of </s>
SPECIALS = {"unk": "<unk>", "bos": "<s>", "eos": "<eod>", "cls": "<cls>", "sep": "<sep>", "pad": "<pad>",
            "mask": "<mask>"}  # fmt: skip
# 85 of 512 tokens are asked for; few pieces, of which a row asks some ten
DEFAULTS: Tree = {"steps": 1000, "vocab_size": 1000, "lowercase": False, "masking": "dynamic", "duplicates": 1,
                  "rate": 85 / 512}  # fmt: skip
WIDTH = "d_model"
NARROW = {"n_layer": 2, "d_model": 64, "n_head": 4, "d_inner": 256, "initializer_range": 0.1}
QUICK = {**NARROW, "dropout": 0.0}


@dataclass(frozen=True)
class Data(options.Masked):
    """What the data functions ask for."""

    both_ways: bool = option(False, "read half of the rows backwards (bi_data)")
    memory: int = option(0, "go on from so many states of each layer that earlier rows have left, half of each row's; "
                         "0: from none", least=0, most=options.LONGEST)  # fmt: skip
    perm_size: int = option(0, "draw an order of so many tokens, again and again the same; 0: of half a row", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        half = self.seq_length // 2
        fits = not self.perm_size or half % self.perm_size == 0
        require(fits, f"perm_size is {self.perm_size}; it must divide half of seq_length, {half}")


def fields(data: Data, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given; of a memory its length, and what is kept."""
    memory = {"mem_len": data.memory, "reuse_len": data.seq_length // 2} if data.memory else {}
    return {"bi_data": data.both_ways, **memory, **given}


def read(encodings: list, pad: int | None) -> dict[str, Array]:
    """The inputs of encoded texts, (B, T), padded at the end: the side is nothing, as only distances count."""
    return bert.read(encodings, pad)


def study(tokenizer: Any, data: Data, counted: Any) -> Array:
    """(V,) whether a word begins with a piece."""
    return np.array([orders.begins(tokenizer.tokens[i]) for i in range(len(tokenizer))])


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, marked: Any = None) -> Tree:
    """Running text, then A <sep> B <sep> <cls>, half and half (`orders.halves`)."""
    return orders.halves(documents, rng, vocabulary, data.seq_length, data.duplicates, data.both_ways)


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, studied: Any = None) -> Tree:
    """These rows with what a drawn order hides, and the targets of it (`orders.ordered`)."""
    return orders.ordered(rows, rng, vocabulary, data.slots, studied, data.perm_size)
