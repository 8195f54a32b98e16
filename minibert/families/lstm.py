"""The recurrent language model: layers of LSTMs, or of GRUs, over words, with tied tables.

Zaremba, Sutskever, Vinyals, 2014, arXiv 1409.2329 (what is dropped where); Press, Wolf, 2016, arXiv 1608.05859 (tied
tables). Released code: pytorch/examples, `word_language_model/model.py`, `main.py`.

    embeddings   h⁰ = Drop(E_word[x])                                                                              (1)
    layer        h_t = LSTM(h⁰_t, h_{t-1}, c_{t-1}), the gates i f g o, or a GRU; what is not there is passed over  (2)
    between      Drop(h), what the next layer reads: never from token to token                                     (3)
    output       y = Drop(h^L)                                                                                     (4)
    state        of each layer what is behind the last token: the next segment begins with it, as data             (5)
    logits       z = y Eᵀ + b; E is E_word where tied                                                              (6)
    objective    L = mean of -log softmax(z_t)[x_{t+1}]                                                            (7)

Where the releases differ, and what is done here:
- labels are shifted inside: the last token of a segment is not asked for the first of the next, which `main.py` asks.
- the release has no padding; here what `attention_mask` leaves out passes the state on, as in packed sequences.
- (7) is divided by the targets. Zaremba's sum over the slice's length is that times its length.
- first weights: the release's, tables uniform within `initializer_range` 0.1 and layers as torch has them, uniform
  within 1/√N; Zaremba takes 0.05 or 0.04 for all. No forget bias is added: a bias of 1 is a weight.
- two biases a layer, as torch stores them; rows of gates in torch's order (OP-LSTM-1, OP-GRU-1).
- `rnn_type`: the release has RNN_TANH and RNN_RELU, too, which are not there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, options, recurrent
from minibert.config import among, check, number, rate, require, size
from minibert.families import gpt2, inherited
from minibert.heads import next_token
from minibert.objective import Term
from minibert.summaries import Summary

Array = np.ndarray
Tree = dict[str, Any]
__getattr__ = inherited()  # published names: `minibert.published.lstm`

CAUSAL = True
CARRIED = ("states",)
WIDE, DEEP = 2**20, 1024
GATES = {"LSTM": 4, "GRU": 3}  # blocks of rows
HELD = {"LSTM": 2, "GRU": 1}  # vectors of a layer's state: h and c, or h
PAIRS = {
    "LSTM": (recurrent.lstm_layer, recurrent.lstm_layer_backward),
    "GRU": (recurrent.gru_layer, recurrent.gru_layer_backward),
}


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """Zaremba's medium model, tied, under the names of the release's arguments (ntoken is vocab_size here)."""

    vocab_size: int = size(10000)
    rnn_type: str = among("LSTM", GATES)
    ninp: int | None = None  # nhid
    nhid: int = size(650, WIDE)
    nlayers: int = size(2, DEEP)
    dropout: float = rate(0.5)
    tie_weights: bool = True
    initializer_range: float = number(0.1, 0, 100)
    bos_token_id: int | None = None  # of generation, as the two below; no equation reads them
    eos_token_id: int | None = None
    pad_token_id: int | None = None

    def __post_init__(self) -> None:
        check(self)
        most = f"null, 1 to {WIDE}, with tie_weights nhid {self.nhid} alone"
        fits = 0 < self.width <= WIDE and (not self.tie_weights or self.width == self.nhid)
        require(fits, f"config field 'ninp' is {self.ninp}; allowed: {most}")
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            token = getattr(self, name)
            fits = token is None or 0 <= token < 2**31
            require(fits, f"config field {name!r} is {token}; allowed: null, 0 to {2**31 - 1}")

    @property
    def width(self) -> int:
        """Of (1)."""
        return self.nhid if self.ninp is None else self.ninp

    @property
    def held(self) -> int:
        """How many vectors a layer's state has."""
        return HELD[self.rnn_type]


_LARGE = {"nhid": 1500, "dropout": 0.65}
PRESETS = {"small": {"nhid": 200, "dropout": 0.0}, "medium": {}, "large": _LARGE}  # section 4.1

# small, and every field away from its default: for checks
PROBE = {
    "vocab_size": 17,
    "rnn_type": "GRU",
    "ninp": 5,
    "nhid": 6,
    "nlayers": 3,
    "dropout": 0.2,
    "tie_weights": False,
    "initializer_range": 0.3,
    "bos_token_id": 3,
    "eos_token_id": 4,
    "pad_token_id": 5,
}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(4): the one place where they are written."""
    widths = [config.width] + [config.nhid] * (config.nlayers - 1)
    stack = [recurrent.shapes(width, config.nhid, gates=GATES[config.rnn_type]) for width in widths]
    return {"embeddings": {"word": {"weight": (config.vocab_size, config.width)}}, "layers": stack}


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values, as in the release."""
    if path.startswith("layers."):
        return rng.uniform(-1, 1, shape) / config.nhid**0.5
    if path.endswith("bias"):
        return np.zeros(shape)
    return config.initializer_range * rng.uniform(-1, 1, shape)


# ---- An example ------------------------------------------------------------------------------------------------------
DIMS = {"B": 3, "T": 7, "M": 1}  # rows, tokens; M: 1 where there is a state before them


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch: a state before the first token (none with M = 0), padding at the end, a repeated id, a position of
    which nothing is asked, drawn dropout masks. At least 4 tokens are needed. dims: sizes that differ from DIMS.
    """
    dims = {**DIMS, **(dims or {})}
    rows, length = dims["B"], dims["T"]
    require(length >= 4 and config.vocab_size >= 2, "an example needs at least 4 positions and 2 token ids")
    ids = rng.integers(0, config.vocab_size, (rows, length))
    ids[:, 3] = ids[:, 1]
    lengths = rng.integers(length // 2 + 1, length, rows)
    lengths[0] = length
    labels = next_token.draw(rng, dims, {"T": lengths}, table=(config.vocab_size, config.nhid))
    states = [rng.standard_normal((rows, config.held, config.nhid)) for _ in range(config.nlayers)] if dims["M"] else []
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    before = {"states": states} if states else {}
    dropout = layers.keep_masks(rng, dropouts(config, {"B": rows, "T": length}))
    return {"input_ids": ids, "attention_mask": mask, **before, **labels, "dropout": dropout}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of every dropout's keep-mask for inputs of these dimensions, under the names of the release's
    modules; `rnn.1`: of what enters its second layer.
    """
    rows, length = dims["B"], dims["T"]
    places = {"drop": ((rows, length, config.width), config.dropout)}
    for name in (*(f"rnn.{i}" for i in range(1, config.nlayers)), "drop@1"):
        places[name] = (rows, length, config.nhid), config.dropout
    return places


# ---- Network ---------------------------------------------------------------------------------------------------------
SPELLINGS = {"input_mask": "attention_mask"}


def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes: specs by name (see `signatures`). states: of each layer, as an earlier call gave it."""
    state = f"(B,{config.held},nhid)"
    return {"input_ids": "(B,T)<vocab_size", "attention_mask": "?(B,T)?", "states": f"?[{state}]"}


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: specs by name."""
    state = f"(B,{config.held},nhid)"
    return {"last_hidden_state": "(B,T,nhid)", "hidden_states": "[(B,T,nhid)]", "states": f"[{state}]"}


OPTIONAL: Tree = {}


def lengths(config: Config) -> dict[str, tuple[str, int | None]]:
    """How long rows may be, and the input whose sum along that dimension is how long each is."""
    return {"T": ("attention_mask", None)}


def encode(p: Tree, config: Config, inputs: Tree, *, keep: layers.Keep = "caches") -> tuple[Tree, Tree]:
    """(1)-(5): outputs by name, and the cache; `inputs` as above, "dropout" where something is dropped.

    hidden_states: L arrays (B, T, N), of each layer what it gives, the last behind (4); states: L arrays (B, 2, N), h
    and c behind the last token that is there, of a GRU (B, 1, N).
    """
    kept, before = (inputs.get("dropout") or {}).get, inputs.get("states") or [None] * config.nlayers
    require(len(before) == config.nlayers, f"states: {len(before)} arrays, but there are {config.nlayers} layers")
    c: Tree = {"backward": PAIRS[config.rnn_type][1]}
    states: list = []
    h, c["word"] = ops.embedding(**p["embeddings"]["word"], ids=inputs["input_ids"])
    h, c["drop"] = ops.dropout(h, keep=kept("drop"), rate=config.dropout)  # (1)
    c["shape"] = h.shape

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        own: Tree = {}
        if i:
            x, own["dropout"] = ops.dropout(x, keep=kept(f"rnn.{i}"), rate=config.dropout)  # (3)
        state = None if before[i] is None else inside(before[i].astype(x.dtype, copy=False))
        y, own["rnn"] = PAIRS[config.rnn_type][0](x, p, seen=inputs.get("attention_mask"), state=state)  # (2)
        states.append(outside(recurrent.last_state(own["rnn"])))  # (5)
        return y, own

    hidden, c["layers"] = layers.stack(layer, h, p["layers"], keep)
    h, c["drop@1"] = ops.dropout(hidden[-1], keep=kept("drop@1"), rate=config.dropout)  # (4)
    hidden = [*hidden[1:-1], h] if keep != "last" else [h]
    return {"last_hidden_state": h, "hidden_states": hidden, "states": states[: config.nlayers]}, c


def inside(state: Array) -> Array:
    """(B, 2, N) as `ops.lstm` has it, (B, 1, N) as `ops.gru`."""
    return state.transpose(1, 0, 2) if state.shape[1] == 2 else state[:, 0]


def outside(state: Array) -> Array:
    """The other way."""
    return state.transpose(1, 0, 2) if state.ndim == 3 else state[:, None]


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(4) from the cotangents of last_hidden_state and, where given, of hidden_states."""
    dh, dhidden = dout["last_hidden_state"], dout.get("hidden_states")
    if dhidden is not None:  # the last of them is the same array
        dh = kernels.add(dh, dhidden[-1])
        dhidden = [np.zeros(c["shape"], dh.dtype), *dhidden[:-1]]
    dh = ops.dropout_backward(dh, c["drop@1"])

    def layer_backward(dy: Array, own: Tree) -> tuple[Array, Tree]:
        dx, g = c["backward"](dy, own["rnn"])
        return (ops.dropout_backward(dx, own["dropout"]) if "dropout" in own else dx), g

    dh, g = layers.stack_backward(layer_backward, dh, c["layers"], dhidden)
    dh = ops.dropout_backward(dh, c["drop"])
    return {"embeddings": {"word": ops.embedding_backward(dh, c["word"])}, "layers": g}


# ---- From token to token ---------------------------------------------------------------------------------------------
def start(p: Tree, config: Config, inputs: Tree) -> Tree:
    """The state that has read these inputs of `encode`; {}: nothing is read yet."""
    return {"states": encode(p, config, inputs, keep="last")[0]["states"]} if inputs else {}


def step(p: Tree, config: Config, ids: Array, state: Tree) -> tuple[Array, Tree]:
    """(logits (N, V) of what follows the last of the ids (N, n), the state that has read them): (6)."""
    out, _ = encode(p, config, {"input_ids": ids, **state}, keep="last")
    term = terms(config)["next_token"]
    table = p["lm"]["decoder"].get("weight", p["embeddings"]["word"]["weight"])
    return next_token.predict(out["last_hidden_state"][:, -1], p[term.part], table=table), {"states": out["states"]}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(6), (7); the table is the embeddings' where tied, else the head's; the bias is the head's."""
    sizes = {"table": (config.vocab_size, config.nhid), "tied": config.tie_weights, "biased": True}
    table = "embeddings.word.weight" if config.tie_weights else "lm.decoder.weight"
    return {"next_token": Term(next_token, "lm", sizes=sizes, table=table)}


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for a text: the state of its last token."""
    return {"text": Summary(at="last", head="score", biased=False, dropped=(None, None))}


# ---- Data ------------------------------------------------------------------------------------------------------------
# The release takes words of WikiText-2, in as many streams as a batch has rows, slices of 35 of each; here pieces of
# bytes, and rows in the order of the text. Its SGD falls by 4 where a validation loss does not: here Adam, which rises
# and falls; the norm of gradients is the release's (0.25; here its default, 1).
TOKENIZER = "byte_level"
SPECIALS = dict.fromkeys(("bos", "eos", "unk"), "<eos>")
GLUE = gpt2.GLUE
Data = options.Rows
DEFAULTS: Tree = {"vocab_size": 2000, "seq_length": 32, "lowercase": False, "steps": 1200, "batch_size": 16,
                  "learning_rate": 0.01, "optimizer": "adamw", "schedule": "linear", "weight_decay": 0.0}  # fmt: skip
WIDTH = "nhid"
NARROW = {"nhid": 192, "nlayers": 2, "dropout": 0.1}
QUICK = {**NARROW, "dropout": 0.0}
read, rows = gpt2.read, gpt2.rows


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given."""
    return dict(given)
