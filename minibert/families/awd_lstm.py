"""AWD-LSTM: Regularizing and Optimizing LSTM Language Models; the language model of ULMFiT.

Merity, Keskar, Socher, 2017, arXiv 1708.02182; Howard, Ruder, 2018, arXiv 1801.06146. Released code: salesforce/
awd-lstm-lm, fastai (`text/models/awdlstm.py`). The recurrent language model (`lstm.py`) of LSTMs, except for what is
dropped, and two terms more:

    embedding dropout    E' = E ∘ m/(1 - p): whole words vanish, everywhere in the batch                           (1)
    input                h⁰ = E'[x] ∘ m/(1 - p), the mask the same at all tokens of a row                           (2)
    weight drop          W_hh' = W_hh ∘ m/(1 - p), drawn once, for all tokens                                       (3)
    layer                h^l = LSTM(h^{l-1} ∘ m/(1 - p)) by W_hh', one mask a row; nothing before the first layer  (4)
    output               y = h^L ∘ m/(1 - p), one mask a row; the last layer is as wide as the table               (5)
    logits               z = y Eᵀ + b, of the table as it is                                                       (6)
    objective            L = next token + α·mean of y_t² + β·mean of (h^L_{t+1} - h^L_t)²                          (7)

Where the releases differ, and what is done here:
- defaults are fastai's language model: n_hid 1152, its rates; "paper" has awd-lstm-lm's.
- (7) AR reads what was dropped, TAR what was not, as in both; their means are over the positions that are asked.
- fastai saves W_hh as `weight_hh_l0_raw`; `module.weight_hh_l0`, what was last dropped of it, is read by nothing.
- the length of segments is drawn anew for each in the releases, the rate with it (5 % of half the length, then normal
  about it); here all are `seq_length`.
- the releases train with SGD at 30, averaged once the validation loss stops to fall (NT-ASGD: `pretrain --averaging
  nt-asgd`); by default `pretrain` takes Adam, as fastai's does.
- of rows longer than `bptt` gradients go back through so many tokens, their states through all of the row: with the
  pools of all of it, that is fastai's backward through time for text classification (arXiv 1801.06146, section 3.3).
- (1)-(5) are drawn for each batch: of several micro-batches each has words and weights of its own.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, recurrent
from minibert.config import check, number, rate, require, size
from minibert.families import inherited, lstm
from minibert.heads import activation, next_token
from minibert.objective import Term

KIN = "lstm"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]

CARRIED = ("states", "last_state")


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """fastai's language model, under the names of its configuration, and the two weights of (7)."""

    vocab_size: int = size(60000)
    emb_sz: int = size(400, lstm.WIDE)
    n_hid: int = size(1152, lstm.WIDE)
    n_layers: int = size(3, lstm.DEEP)
    output_p: float = rate(0.1)
    hidden_p: float = rate(0.15)
    input_p: float = rate(0.25)
    embed_p: float = rate(0.02)
    weight_p: float = rate(0.2)
    tie_weights: bool = True
    alpha: float = number(2.0, 0, 1e6)
    beta: float = number(1.0, 0, 1e6)
    bptt: int = size(70, 1 << 20)  # tokens that gradients go back through
    initializer_range: float = number(0.1, 0, 100)
    bos_token_id: int | None = None  # of generation, as the two below; no equation reads them
    eos_token_id: int | None = None
    pad_token_id: int | None = None

    def __post_init__(self) -> None:
        check(self)
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            token = getattr(self, name)
            fits = token is None or 0 <= token < 2**31
            require(fits, f"config field {name!r} is {token}; allowed: null, 0 to {2**31 - 1}")


_PAPER = {"n_hid": 1150, "output_p": 0.4, "hidden_p": 0.3, "input_p": 0.65, "embed_p": 0.1, "weight_p": 0.5}
PRESETS = {"ulmfit": {}, "paper": _PAPER}  # the second: of WikiText-2, section 5

# small, and every field away from its default: for checks
PROBE = {
    "vocab_size": 17,
    "emb_sz": 5,
    "n_hid": 6,
    "n_layers": 2,
    "output_p": 0.3,
    "hidden_p": 0.2,
    "input_p": 0.35,
    "embed_p": 0.22,
    "weight_p": 0.4,
    "tie_weights": False,
    "alpha": 0.7,
    "beta": 0.4,
    "bptt": 64,
    "initializer_range": 0.3,
    "bos_token_id": 3,
    "eos_token_id": 4,
    "pad_token_id": 5,
}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def widths(config: Config) -> list[int]:
    """Of what enters each layer, and of what leaves the last."""
    return [config.emb_sz, *[config.n_hid] * (config.n_layers - 1), config.emb_sz]


def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(5): the one place where they are written."""
    wide = widths(config)
    stack = [recurrent.shapes(wide[i], wide[i + 1]) for i in range(config.n_layers)]
    return {"embeddings": {"word": {"weight": (config.vocab_size, config.emb_sz)}}, "layers": stack}


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values, as in the releases: layers uniform within 1/√N of their own width."""
    if path.startswith("layers."):
        return rng.uniform(-1, 1, shape) / (shape[0] // 4) ** 0.5
    return np.zeros(shape) if path.endswith("bias") else config.initializer_range * rng.uniform(-1, 1, shape)


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """As `lstm.example`; of several layers a state of the last beside those of the others."""
    dims = {**lstm.DIMS, **(dims or {})}
    small = lstm.Config(vocab_size=config.vocab_size, nhid=1, nlayers=1, dropout=0.0)
    batch = lstm.example(rng, small, {**dims, "M": 0})
    if dims["M"]:
        states = [rng.standard_normal((dims["B"], 2, wide)) for wide in widths(config)[1:]]
        batch |= {"last_state": states[-1], **({"states": states[:-1]} if states[:-1] else {})}
    return {**batch, "dropout": layers.keep_masks(rng, dropouts(config, dims))}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of every dropout's keep-mask, under the names of fastai's modules: one a row, or a weight."""
    rows, wide = dims["B"], widths(config)
    places = {"0.encoder_dp": ((config.vocab_size, 1), config.embed_p)}
    places["0.input_dp"] = (rows, 1, wide[0]), config.input_p
    for i in range(config.n_layers):
        places[f"0.rnns.{i}"] = (4 * wide[i + 1], wide[i + 1]), config.weight_p
        if i + 1 < config.n_layers:
            places[f"0.hidden_dps.{i}"] = (rows, 1, wide[i + 1]), config.hidden_p
    return {**places, "1.output_dp": ((rows, 1, wide[-1]), config.output_p)}


# ---- Network ---------------------------------------------------------------------------------------------------------
def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes: specs by name (see `signatures`). last_state: of the last layer, states: of the others."""
    states = {"states": "?[(B,2,n_hid)]", "last_state": "?(B,2,emb_sz)"}
    return {"input_ids": "(B,T)<vocab_size", "attention_mask": "?(B,T)?", **states}


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: specs by name; hidden_states of all layers but the last, raw_output the last's."""
    states = {"states": "[(B,2,n_hid)]", "last_state": "(B,2,emb_sz)"}
    hidden = {"hidden_states": "[(B,T,n_hid)]", "raw_output": "(B,T,emb_sz)"}
    return {"last_hidden_state": "(B,T,emb_sz)", **hidden, **states}


def encode(p: Tree, config: Config, inputs: Tree, *, keep: layers.Keep = "caches") -> tuple[Tree, Tree]:
    """(1)-(5): outputs by name, and the cache; `inputs` as above, "dropout" where something is dropped.

    states: of each layer but the last (B, 2, N), h and c behind the last token that is there; last_state: the last's.
    """
    kept, c, count = (inputs.get("dropout") or {}).get, {}, config.n_layers
    before = [*inputs.get("states", []), inputs["last_state"]] if "last_state" in inputs else [None] * count
    require(len(before) == count, f"states: {len(before) - 1} arrays, but there are {count} layers")
    table, c["table"] = ops.dropout(p["embeddings"]["word"]["weight"], keep=kept("0.encoder_dp"), rate=config.embed_p)
    h, c["word"] = ops.embedding(table, ids=inputs["input_ids"])  # (1)
    h, c["input"] = ops.dropout(h, keep=kept("0.input_dp"), rate=config.input_p)  # (2)
    states: list = []

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        own: Tree = {}
        if i:
            x, own["dropout"] = ops.dropout(x, keep=kept(f"0.hidden_dps.{i - 1}"), rate=config.hidden_p)
        dropped = kept(f"0.rnns.{i}")
        weight, own["weight"] = ops.dropout(p["weight_hh"], keep=dropped, rate=config.weight_p)  # (3)
        state = None if before[i] is None else lstm.inside(before[i].astype(x.dtype, copy=False))
        given = {"seen": inputs.get("attention_mask"), "state": state}
        p = {**p, "weight_hh": weight}
        if x.shape[1] > config.bptt:
            y, own["rnn"] = recurrent.truncated_layer(x, p, every=config.bptt, **given)
        else:
            y, own["rnn"] = recurrent.lstm_layer(x, p, **given)  # (4)
        states.append(lstm.outside(recurrent.last_state(own["rnn"])))
        return y, own

    hidden, c["layers"] = layers.stack(layer, h, p["layers"], keep)
    c["shape"] = h.shape
    y, c["output"] = ops.dropout(hidden[-1], keep=kept("1.output_dp"), rate=config.output_p)  # (5)
    out = {"last_hidden_state": y, "raw_output": hidden[-1], "hidden_states": hidden[1:-1]}
    return {**out, "states": states[: count - 1], "last_state": states[count - 1]}, c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(5) from the cotangents of the outputs that are given; states are data."""
    dh, dhidden = None, dout.get("hidden_states")
    if "last_hidden_state" in dout:
        dh = ops.dropout_backward(dout["last_hidden_state"], c["output"])
    if "raw_output" in dout:
        dh = dout["raw_output"] if dh is None else kernels.add(dh, dout["raw_output"])
    dhidden = None if dhidden is None else [np.zeros(c["shape"], dh.dtype), *dhidden]

    def layer_backward(dy: Array, own: Tree) -> tuple[Array, Tree]:
        back = recurrent.truncated_layer_backward if "parts" in own["rnn"] else recurrent.lstm_layer_backward
        dx, g = back(dy, own["rnn"])
        g["weight_hh"] = ops.dropout_backward(g["weight_hh"], own["weight"])
        return (ops.dropout_backward(dx, own["dropout"]) if "dropout" in own else dx), g

    dh, g = layers.stack_backward(layer_backward, dh, c["layers"], dhidden)
    dtable = ops.embedding_backward(ops.dropout_backward(dh, c["input"]), c["word"])
    table = ops.dropout_backward(dtable["weight"], c["table"])
    return {"embeddings": {"word": {"weight": table}}, "layers": g}


# ---- From token to token ---------------------------------------------------------------------------------------------
def start(p: Tree, config: Config, inputs: Tree) -> Tree:
    """The state that has read these inputs of `encode`; {}: nothing is read yet."""
    return _states(encode(p, config, inputs, keep="last")[0]) if inputs else {}


def step(p: Tree, config: Config, ids: Array, state: Tree) -> tuple[Array, Tree]:
    """(logits (N, V) of what follows the last of the ids (N, n), the state that has read them): (6)."""
    out, _ = encode(p, config, {"input_ids": ids, **state}, keep="last")
    table = p["lm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    return next_token.predict(out["last_hidden_state"][:, -1], p["lm"], table=table), _states(out)


def _states(out: Tree) -> Tree:
    return {name: out[name] for name in CARRIED if len(out[name])}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(7)"""
    sizes = {"table": (config.vocab_size, config.emb_sz), "tied": config.tie_weights, "biased": True}
    table = "embeddings.word.weight" if config.tie_weights else "lm.decoder.weight"
    return {
        "next_token": Term(next_token, "lm", sizes=sizes, table=table),
        "activation": Term(activation, constants={"order": 0}, weight=config.alpha),
        "temporal": Term(activation, reads="raw_output", constants={"order": 1}, weight=config.beta),
    }


def weights(config: Config) -> dict[str, float]:
    """α and β of (7)."""
    return {name: term.weight for name, term in terms(config).items()}


# ---- Data ------------------------------------------------------------------------------------------------------------
# fastai trains with Adam (momentum 0.8 to 0.7, decay 0.1) in one cycle; its rates of dropout are for millions of words
DEFAULTS: Tree = {**lstm.DEFAULTS, "learning_rate": 6e-3}
WIDTH = "n_hid"
NARROW = {"emb_sz": 160, "n_hid": 224, "n_layers": 2, "output_p": 0.02, "hidden_p": 0.03, "input_p": 0.05,
          "embed_p": 0.01, "weight_p": 0.04}  # fmt: skip
QUICK = {**NARROW, **dict.fromkeys(("output_p", "hidden_p", "input_p", "embed_p", "weight_p"), 0.0)}
