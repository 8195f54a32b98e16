"""MPNet: Masked and Permuted Pre-training for Language Understanding.

Song, Tan, Qin, Lu, Liu, 2020, arXiv 2004.09297. Released code: microsoft/MPNet
(`pretraining/fairseq`: `models/masked_permutation_net.py`, `tasks/masked_permutation_lm.py`).

BERT except (1)-(4), (7)-(11); no token types. A row of T tokens is read with what the corruption put at M predicted
places z_1 … z_M, in the order in which they are predicted. Behind it stand the M tokens that were there, and M queries:

    rows         x = [row; tokens at z_1 … z_M; what the row has at z_1 … z_M], N = T + 2M; as many places n       (1)
    knowledge    s = 0 of the row, 1 … M of the tokens, 0 … M - 1 of the queries: how many tokens one may know      (2)
    mask         one of knowledge s attends to the row but at z_1 … z_s, and to the tokens at z_1 … z_s; nobody
                 attends to queries: keys and values are those of the first S = T + M rows                         (3)
    embeddings   h⁰ = Drop(LN(E_word[x] + E_position[t])), t RoBERTa's position (its (1)) of the place n            (4)
    attention    q, k, v as BERT's (2), k and v of the first S                                                     (5)
    positions    b_ij = R[bucket(n_j - n_i)], a number a head, T5's buckets, one table for all layers              (6)
                 u = Drop(softmax(q kᵀ/√K + b + mask)) v, then BERT's (3)-(6)                                      (7)
    states       g_t of place t: of z_m the query's state, elsewhere the row's                                     (8)
    LM head      z = LN(gelu(g[m] W_zᵀ + b_z)) E_wordᵀ + b_V, always by erf                                         (9)
    objective    L = Σ w·(-log softmax(z)[token]) / Σ w over the predicted places                                 (10)
    pooler       r = tanh(h^L[<s>] W_rᵀ + b_r), nothing trains it                                                 (11)

So each of (3)'s rows but the tokens' sees exactly one of the two at each place: the whole length, "position
compensation". The row alone, M = 0, is RoBERTa's network with (6): how the model is used, and what ports have.
`input_mode`, the release's: "mpnet"; "plm": nobody attends to the row at z_1 … z_M, XLNet's objective; "mlm": M = 0 and
(9) reads the row's own states.

Where the release deviates from the paper or ports from the release, and what is done here:
- the release permutes the whole row and lays its parts out behind each other; order is nothing but the mask, so here a
  row stays as it is. Relative positions are those of the places either way.
- it has no mask for padding in pre-training: padding is attended to, and may be predicted, though not in (10), whose
  denominator counts it. Here nobody attends to it, and Σ w leaves it out.
- its architecture `mpnet_base` has no (6); the published models are of `mpnet_rel_base`.
- ports have the 128 of (6) as a constant, and 32 buckets whatever the configuration says; here both are fields. They
  take 1 for the padding id whatever `pad_token_id` says. (6) counts places there too, whatever `position_ids` are.
- the first rows of both tables are RoBERTa's padding rows, without look-up gradient: `pad_row_gradient` trains them.
- `return_mlm`, an option of the release, adds the loss of the row's own states at z; not the default, nor here.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, relative
from minibert.config import among, check, number, rate, require, size
from minibert.corruption import permutations
from minibert.families import bert, inherited, roberta
from minibert.objective import Term
from minibert.pairs import block, block_backward

KIN = "roberta"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]
MODES = permutations.MODES


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """MPNet-base as released, under the published field names, and the named variants of this engine."""

    vocab_size: int = size(30527)
    hidden_size: int = size(768, bert.WIDE)
    num_hidden_layers: int = size(12, bert.DEEP)
    num_attention_heads: int = size(12)
    intermediate_size: int = size(3072, bert.WIDE)
    hidden_act: str = among("gelu", layers.ACTIVATIONS)
    hidden_dropout_prob: float = rate(0.1)
    attention_probs_dropout_prob: float = rate(0.1)
    max_position_embeddings: int = size(514)  # 512 tokens: rows 0 and 1 are no token's
    initializer_range: float = number(0.02, 0, 100)
    layer_norm_eps: float = number(1e-5, 0, 1)
    relative_attention_num_buckets: int = size(32, bert.WIDE)
    pad_token_id: int = 1
    tie_word_embeddings: bool = True
    # variants
    input_mode: str = among("mpnet", MODES)
    relative_attention_max_distance: int = size(128)
    mask_constant: str = among("min", ops.MASK_CONSTANTS)
    pad_row_gradient: bool = False
    mlm_denominator_eps: float = number(0.0, 0, 1)

    def __post_init__(self) -> None:
        check(self)
        heads, rows, pad = self.num_attention_heads, self.max_position_embeddings, self.pad_token_id
        due = f"allowed: a divisor of hidden_size {self.hidden_size}"
        require(self.hidden_size % heads == 0, f"config field 'num_attention_heads' is {heads}; {due}")
        require(0 <= pad < self.vocab_size, f"config field 'pad_token_id' is {pad}; allowed: a token id")
        require(rows >= pad + 2, f"config field 'max_position_embeddings' is {rows}; allowed: {pad + 2} or more, for "
                f"one token beyond pad_token_id {pad}")  # fmt: skip
        count, furthest = self.relative_attention_num_buckets, self.relative_attention_max_distance
        require(count >= 4, f"config field 'relative_attention_num_buckets' is {count}; allowed: 4 or more")
        require(furthest > count // 4, f"config field 'relative_attention_max_distance' is {furthest}; allowed: more "
                f"than {count // 4}, a quarter of relative_attention_num_buckets")  # fmt: skip


PRESETS = {"base": {}}  # the only size that was released
PROBE = {name: value for name, value in bert.PROBE.items() if name != "type_vocab_size"} | {
    "max_position_embeddings": 15, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 6,
    "input_mode": "mlm",
}  # fmt: skip


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (4)-(7), (11): the one place where they are written."""
    d, f = config.hidden_size, config.intermediate_size
    norm = {"weight": (d,), "bias": (d,)}

    def dense(n_out: int, n_in: int) -> Tree:
        return {"weight": (n_out, n_in), "bias": (n_out,)}

    attention = {**{name: dense(d, d) for name in ("query", "key", "value", "output")}, "norm": norm}
    tables = {"word": {"weight": (config.vocab_size, d)}, "position": {"weight": (config.max_position_embeddings, d)}}
    return {
        "embeddings": {**tables, "norm": norm},
        "encoder_positions": {"weight": (config.relative_attention_num_buckets, config.num_attention_heads)},
        "encoder": [{"attention": attention, "feed_forward": {"in": dense(f, d), "out": dense(d, f), "norm": norm}}]
        * config.num_hidden_layers,
        "pooler": dense(d, d),
    }


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """RoBERTa's batch of every kind of trouble, without segments; no place is predicted twice, in an order as drawn."""
    dims = {**bert.DIMS, "M": 3, **(dims or {})}
    most = config.max_position_embeddings - config.pad_token_id - 1
    same = {name: getattr(config, name) for name in ("vocab_size", "pad_token_id", "max_position_embeddings")}
    same |= dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)  # its masks are other ones
    batch = bert.example(rng, bert.Config(**same), {**dims, "T": min(dims["T"], most)})
    batch = {name: batch[name] for name in batch if name.startswith(("input_", "masked_lm_"))}
    places = 1 + rng.random((dims["B"], int(batch["input_mask"].sum(1).min()) - 1)).argsort(1)
    slots = min(dims["M"], places.shape[1])
    batch |= {name: batch[name][:, -slots:] for name in ("masked_lm_ids", "masked_lm_weights")}
    batch["masked_lm_positions"] = places[:, :slots]
    sizes = {"B": dims["B"], "T": batch["input_ids"].shape[1], "M": slots}
    return {**batch, "dropout": layers.keep_masks(rng, dropouts(config, sizes))}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of the keep-masks, by published module, over the rows of (1)."""
    more = 0 if config.input_mode == "mlm" else dims.get("M", 0)
    heads, keys, own = (dims["B"], config.num_attention_heads), dims["T"] + more, config.attention_probs_dropout_prob
    wide = ((dims["B"], keys + more, config.hidden_size), config.hidden_dropout_prob)
    queries = [((*heads, more, keys), own)] if more else []
    found = {f"{PREFIX}embeddings.dropout": wide}
    for i in range(config.num_hidden_layers):
        found |= dict(zip(_places(i), (wide, wide, ((*heads, keys, keys), own), *queries), strict=False))
    return found


def _places(i: int) -> tuple[str, str, str, str]:
    """A layer's dropouts: behind attention and feed-forward, of the probabilities of the keys' rows, of the queries."""
    own = f"{LAYERS}{i}."
    probs = f"{own}attention.attn.dropout"
    return f"{own}attention.dropout", f"{own}output.dropout", probs, f"{probs}@1"


# ---- What is read, and what may know what ----------------------------------------------------------------------------
def ranks(places: Array, there: Array, length: int) -> Array:
    """When each place of a row is predicted, (B, T): m of z_m, from 0; -1: never. places, there (B, M): which count.
    InputError where one is predicted twice.
    """
    found, rows = np.full((len(places), length), -1), np.arange(len(places))[:, None]
    order = np.broadcast_to(np.arange(places.shape[1]), places.shape)
    found[np.broadcast_to(rows, places.shape)[there], places[there]] = order[there]
    once = (found >= 0).sum() == there.sum()
    require(once, "masked_lm_positions: a position stands twice in a row, and no token is predicted twice")
    return found


def visible(rank: Array, there: Array, *, plm: bool = False) -> Array:
    """(3): bits (B, T + 2M, T + M), 1 = attends to, from the ranks (B, T) of places; there (B, M): the slots in use.
    """
    (_, length), slots = rank.shape, there.shape[1]
    knows = np.concatenate([np.zeros(length, np.int64), np.arange(slots) + 1, np.arange(slots)])[:, None]  # (2)
    unknown = (rank[:, None] >= knows) & (not plm)
    known = (np.arange(slots) < knows) & there[:, None]
    return np.concatenate([(rank[:, None] < 0) | unknown, known], axis=2)


def _streams(config: Config, inputs: Tree) -> Tree:
    """(1), (3), (6): ids and positions (B, N) to embed, the mask, places (N,) or (B, N), how many of them are keys, and
    where in them (8) stands, (B, T).
    """
    ids, mask = inputs["input_ids"], inputs.get("attention_mask")
    rows, length = ids.shape
    at = inputs.get("position_ids", roberta.positions(ids, config.pad_token_id))
    mask = None if mask is None else mask.astype(bool)
    if config.input_mode == "mlm" or "masked_lm_positions" not in inputs:
        mask = None if mask is None or mask.all() else mask[:, None, None]
        return {"ids": ids, "positions": at, "mask": mask, "places": np.arange(length), "keys": length, "read": None}
    places, there = inputs["masked_lm_positions"], inputs["masked_lm_weights"] != 0
    rank = ranks(places, there, length)
    there = there if mask is None else there & np.take_along_axis(mask, places, 1)
    sees = visible(rank, there, plm=config.input_mode == "plm")
    sees[..., :length] &= True if mask is None else mask[:, None]
    both = np.tile(places, 2)
    taken = [np.take_along_axis(array, places, 1) for array in (ids, at)]
    every, slots = np.broadcast_to(np.arange(length), (rows, length)), places.shape[1]
    return {
        "ids": np.concatenate([ids, inputs["masked_lm_ids"], taken[0]], 1),
        "positions": np.concatenate([at, taken[1], taken[1]], 1),
        "mask": sees[:, None],
        "places": np.concatenate([every, both], 1),
        "keys": length + slots,
        "read": np.where(rank < 0, every, length + slots + rank),
    }


# ---- A layer ---------------------------------------------------------------------------------------------------------
@block
def mpnet_layer(
    x: Array, bias: Array, p: Tree, *, heads: int, act: str, eps: float, rate: float, keys: int,
    mask: Array | None = None, masked: str = "min", dropout: Tree | None = None, keep: Tree | None = None,
) -> tuple[Array, Tree]:  # fmt: skip
    """(5), (7): a post-norm layer of x (B, N, D) whose keys and values are those of the first `keys` rows; what stands
    behind them are queries, which attend by themselves.

    bias: (6), (1 or B, H, N, keys). p, keep and rate as in `layers.encoder_layer`; mask (B, 1, 1 or N, keys) and masked
    as in `ops.attention`; dropout: its multipliers "attention" of the keys' rows, "queries" of the others.
    """
    c: Tree = {}
    keep, residual, factor = keep or {}, {"eps": eps, "rate": rate}, (dropout or {}).get

    def attend(x: Array) -> tuple[Array, Tree]:
        q, query = layers.projected(x, p["attention"], "query", heads=heads)
        k, key = layers.projected(x[:, :keys], p["attention"], "key", heads=heads)
        v, value = layers.projected(x[:, :keys], p["attention"], "value", heads=heads)
        own, contexts = {**query, **key, **value}, []
        for name, at in (("attention", slice(keys)), ("queries", slice(keys, x.shape[1]))):
            if at.start != at.stop:
                seen = mask if mask is None or mask.shape[2] == 1 else mask[:, :, at]
                given = {"bias": bias[:, :, at], "mask": seen, "masked": masked, "dropout": factor(name)}
                y, own[name] = ops.attention(q[:, :, at], k, v, **given)
                contexts.append(y)
        y, own["merge"] = ops.merge_heads(np.concatenate(contexts, 2))
        y, own["output"] = ops.linear(y, **p["attention"]["output"])
        return y, own

    def feed(a: Array) -> tuple[Array, Tree]:
        return layers.feed_forward(a, p["feed_forward"], act=act)

    a, c["attention"] = layers.post_norm(attend, x, p["attention"], keep=keep.get("attention"), **residual)
    y, c["feed_forward"] = layers.post_norm(feed, a, p["feed_forward"], keep=keep.get("feed_forward"), **residual)
    return y, c


@block_backward
def mpnet_layer_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
    """(dx, dbias, g)."""
    g: Tree = {}

    def attend_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
        own: Tree = {}
        dcontext, own["output"] = ops.linear_backward(dy, c["output"])
        dcontext = ops.merge_heads_backward(dcontext, c["merge"])
        keys = c["attention"]["k"].shape[2]
        dq, dk, dv, dbias = ops.attention_backward(dcontext[:, :, :keys], c["attention"])
        if "queries" in c:  # both streams' keys and values are the same
            dq_more, dk_more, dv_more, dbias_more = ops.attention_backward(dcontext[:, :, keys:], c["queries"])
            dq, dbias = np.concatenate([dq, dq_more], 2), np.concatenate([dbias, dbias_more], 2)
            dk, dv = kernels.add(dk, dk_more), kernels.add(dv, dv_more)
        dx, own["query"] = layers.projected_backward(dq, c, "query")
        dx_key, own["key"] = layers.projected_backward(dk, c, "key")
        dx_value, own["value"] = layers.projected_backward(dv, c, "value")
        return np.concatenate([kernels.add(dx[:, :keys], dx_key, dx_value), dx[:, keys:]], 1), dbias, own

    da, g["feed_forward"] = layers.post_norm_backward(layers.feed_forward_backward, dy, c["feed_forward"])
    dx, dbias, g["attention"] = layers.post_norm_backward(attend_backward, da, c["attention"])
    return dx, dbias, g


# ---- The network -----------------------------------------------------------------------------------------------------
PREFIX = "mpnet."
LAYERS = f"{PREFIX}encoder.layer."
SPELLINGS = {"input_mask": "attention_mask"}


def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes. The loss has it read the labels, too: what was there, and in which order it is predicted."""
    found = bert.inputs(bert.Config())
    return {name: found[name] for name in ("input_ids", "attention_mask", "position_ids")}


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: BERT's, of the row, and (8)."""
    states = {} if config.input_mode == "mlm" else {"predicted_hidden_state": "(B,T,hidden_size)"}
    return {**bert.outputs(bert.Config()), **states}


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(8), (11): outputs by name, and the cache; `inputs` as above, "dropout" where something is dropped, and the
    labels of the masked language model where some are to be predicted.
    """
    length, most = inputs["input_ids"].shape[1], config.max_position_embeddings - config.pad_token_id - 1
    fits = f"max_position_embeddings is {config.max_position_embeddings}, of which {most} are for tokens; truncate"
    require(length <= most, f"input_ids: {length} tokens a row, but {fits}")
    rate, eps, kept = config.hidden_dropout_prob, config.layer_norm_eps, inputs.get("dropout") or {}
    read = _streams(config, inputs)
    rows = {} if config.pad_row_gradient else dict.fromkeys(("word", "position"), config.pad_token_id)
    given = {"ids": {"word": read["ids"], "position": read["positions"]}, "frozen": rows, "eps": eps, "rate": rate}
    c: Tree = {"read": read["read"], "length": length}
    h, c["embeddings"] = layers.embeddings(p["embeddings"], keep=kept.get(f"{PREFIX}embeddings.dropout"), **given)
    sizes = {"count": config.relative_attention_num_buckets, "most": config.relative_attention_max_distance}
    table, n = relative.buckets(length, length, both=True, **sizes), read["places"]
    buckets = table[n[..., :, None], n[..., None, : read["keys"]]]
    bias, c["encoder_positions"] = relative.relative_bias(p["encoder_positions"], buckets=buckets)  # (6)

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        own = config.attention_probs_dropout_prob
        attended, fed, *probs = (kept.get(name) for name in _places(i))
        factors = {name: ops.dropout_multiplier(keep, own, x.dtype)
                   for name, keep in zip(("attention", "queries"), probs, strict=True) if keep is not None}  # fmt: skip
        sizes = {"heads": config.num_attention_heads, "act": config.hidden_act, "eps": eps, "keys": read["keys"]}
        masks = {"mask": read["mask"], "masked": config.mask_constant, "dropout": factors}
        return mpnet_layer(x, bias, p, **sizes, **masks, rate=rate, keep={"attention": attended, "feed_forward": fed})

    hidden, c["encoder"] = layers.stack(layer, h, p["encoder"], keep)  # (5), (7)
    out = layers.states([state[:, :length] for state in hidden], c["encoder"], keep)
    if "attentions" in out:
        out["attentions"] = [probs[:, :, :length, :length] for probs in out["attentions"]]
    if config.input_mode != "mlm":
        out["predicted_hidden_state"] = out["last_hidden_state"]
        if read["read"] is not None:
            out["predicted_hidden_state"], c["states"] = ops.gather(hidden[-1], positions=read["read"])  # (8)
    if "pooler" in p:
        out["pooler_output"], c["pooler"] = layers.pooler(out["last_hidden_state"], p["pooler"])  # (11)
    return out, c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (4)-(8), (11) from the cotangents of the outputs, as `bert.encode_backward`."""
    g: Tree = {}
    dh, shared = dout["last_hidden_state"], []
    if "pooler" in c:
        dh_pooler, g["pooler"] = layers.pooler_backward(dout["pooler_output"], c["pooler"])  # (11)
        dh = kernels.add(dh, dh_pooler)
    more = c["embeddings"]["tables"]["word"]["ids"].shape[1] - c["length"]

    def whole(d: Array) -> Array:
        return np.pad(d, ((0, 0), (0, more), (0, 0))) if more else d

    dh, dhidden = whole(dh), dout.get("hidden_states")
    if "predicted_hidden_state" in dout:
        dread = dout["predicted_hidden_state"]
        dh = kernels.add(dh, ops.gather_backward(dread, c["states"]) if "states" in c else dread)  # (8)
    dhidden = None if dhidden is None else [whole(d) for d in dhidden]
    backward = layers.collecting(mpnet_layer_backward, shared)
    dh, g["encoder"] = layers.stack_backward(backward, dh, c["encoder"], dhidden)  # (7), (5)
    dbias = functools.reduce(kernels.add, [dbias for (dbias,) in shared])  # of all layers
    g["encoder_positions"] = relative.relative_bias_backward(dbias, c["encoder_positions"])  # (6)
    return {**g, "embeddings": layers.embeddings_backward(dh, c["embeddings"])}  # (4)


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(9), (10)."""
    term = bert.masked_lm_term(config, config.hidden_size, "gelu")
    return {"masked_lm": term if config.input_mode == "mlm" else term._replace(reads="predicted_hidden_state")}


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "wordpiece"
SPECIALS = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "[UNK]", "mask": "<mask>"}
DEFAULTS: Tree = {"steps": 2500, "masking": "dynamic", "duplicates": 1, "optimizer": "roberta_adam",
                  "schedule": "linear", "weight_decay": 0.01, "clip_norm": 1e9}  # fmt: skip


Data = permutations.Permuted
rows, corrupt = permutations.rows, permutations.corrupt


def fields(data: Data, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given, and what the rows ask for."""
    pad, mode = given.get("pad_token_id", Config.pad_token_id), given.get("input_mode", data.input_mode)
    require(mode == data.input_mode, f"config field 'input_mode' is {mode!r}; the rows that are made need "
            f"{data.input_mode!r}")  # fmt: skip
    room = {"max_position_embeddings": data.seq_length + pad + 1} if type(pad) is int else {}
    return {**room, **given, "input_mode": mode}


def read(encodings: list, pad: int | None) -> dict[str, Array]:
    """The inputs of encoded texts, (B, T), padded at the end."""
    found = bert.read(encodings, pad)
    return {name: found[name] for name in ("input_ids", "attention_mask")}
