"""A recurrent language model, small: Finding Structure in Time, Elman 1990, Cognitive Science 14.

    h_t = tanh(W E[x_t] + b + U h_{t-1}), h_0 = 0; padding is passed over: h_t = h_{t-1}                            (1)
    the next token is asked of h_t, by a table of the head's own (`next_token`)                                     (2)
"""

from dataclasses import dataclass

import numpy as np

from minibert import ops
from minibert.heads import next_token
from minibert.objective import Term
from minibert.pairs import block, block_backward

CAUSAL = True


@dataclass(frozen=True)
class Config:
    vocab_size: int = 1000
    width: int = 64
    most: int = 128  # tokens of a row
    eos_token_id: int | None = 0
    initializer_range: float = 0.1


PRESETS = {}
PROBE = {"vocab_size": 11, "width": 6, "most": 12, "eos_token_id": None}


def shapes(config):
    square = (config.width, config.width)
    return {
        "embeddings": {"word": {"weight": (config.vocab_size, config.width)}},
        "recurrent": {"new": {"weight": square, "bias": square[:1]}, "before": {"weight": square}},
    }


def inputs(config):
    return {"input_ids": "(B,T)<vocab_size", "attention_mask": "?(B,T)?"}


def outputs(config):
    return {"last_hidden_state": "(B,T,width)"}


def lengths(config):
    return {"T": ("attention_mask", config.most)}


def example(rng, config, dims=None):
    dims = {"B": 3, "T": 6, **(dims or {})}
    ids = rng.integers(0, config.vocab_size, (dims["B"], dims["T"]))
    sizes = rng.integers(2, dims["T"], dims["B"])
    labels = next_token.draw(rng, dims, {"T": sizes}, table=(config.vocab_size, config.width))
    return {"input_ids": ids, "attention_mask": (np.arange(dims["T"]) < sizes[:, None]) * 1, **labels}


def dropouts(config, dims):
    return {}


@block
def recurrent(x, p, *, seen, before):
    """(1) over x (B, T, D) from h_0 = before (B, D): (B, T, D)."""
    c, states = {"seen": seen[..., None], "weight": p["before"]["weight"]}, [before]
    u, c["new"] = ops.linear(x, **p["new"])
    for t in range(x.shape[1]):
        new = np.tanh(u[:, t] + states[-1] @ p["before"]["weight"].T)
        states.append(np.where(c["seen"][:, t], new, states[-1]))
    c["states"] = np.stack(states, 1)
    return c["states"][:, 1:], c


@block_backward
def recurrent_backward(dh, c):
    du, dweight, carried = np.zeros_like(dh), np.zeros_like(c["weight"]), np.zeros_like(dh[:, 0])
    for t in reversed(range(dh.shape[1])):
        total = dh[:, t] + carried
        du[:, t] = np.where(c["seen"][:, t], total * (1 - c["states"][:, t + 1] ** 2), 0)
        dweight += du[:, t].T @ c["states"][:, t]
        carried = du[:, t] @ c["weight"] + np.where(c["seen"][:, t], 0, total)
    dx, g = ops.linear_backward(du, c["new"])
    return dx, {"new": g, "before": {"weight": dweight}}


def encode(p, config, inputs, *, keep="caches"):
    c, ids = {}, inputs["input_ids"]
    x, c["word"] = ops.embedding(**p["embeddings"]["word"], ids=ids)
    seen = inputs.get("attention_mask", np.ones_like(ids)) != 0
    before = inputs.get("past", np.zeros((len(ids), config.width), x.dtype))
    h, c["recurrent"] = recurrent(x, p["recurrent"], seen=seen, before=before)
    return {"last_hidden_state": h}, c


def encode_backward(dout, c):
    dx, g = recurrent_backward(dout["last_hidden_state"], c["recurrent"])
    return {"embeddings": {"word": ops.embedding_backward(dx, c["word"])}, "recurrent": g}


def terms(config):
    sizes = {"table": (config.vocab_size, config.width)}
    return {"next_token": Term(next_token, "lm", sizes=sizes, table="lm.decoder.weight")}  # (2)


# ---- From token to token ---------------------------------------------------------------------------------------------
def start(p, config, inputs):
    """The last h: all that is left of what was read."""
    return {"h": encode(p, config, inputs)[0]["last_hidden_state"][:, -1]} if inputs else {}


def step(p, config, ids, state):
    past = {"past": state["h"]} if state else {}
    h = encode(p, config, {"input_ids": ids, **past})[0]["last_hidden_state"][:, -1]
    return next_token.predict(h, None, table=p["lm"]["decoder"]["weight"]), {"h": h}


# ---- Laws ------------------------------------------------------------------------------------------------------------
def silent(config):
    """Those that it cannot be asked, and why (`minibert.laws`)."""
    attention = ("head_permutation", "key_bias_invariance", "attention_rows", "forbidden_keys", "key_bias_gradient")
    norms = ("hidden_unit_permutation", "layer_norm_shift", "layer_norm_scale")
    return {**dict.fromkeys(attention, "its past is one vector: no attention"),
            **dict.fromkeys(norms, "no norm, no feed-forward"),
            "tied_gradient": "the decoder has a matrix of its own"}  # fmt: skip


# ---- Published names -------------------------------------------------------------------------------------------------
TOKENIZER = None
MODEL_TYPE = "toy_rnn"
PREFIX = "rnn."
VARIANTS = ("initializer_range",)


def architectures(config):
    return {"ToyRNNForCausalLM": ("lm",), "ToyRNN": ()}


def names(config):
    kernel = [(f"recurrent.{part}.weight", "rnn.kernel", "transpose split") for part in ("new", "before")]
    table = ("embeddings.word.weight", "rnn.embed.weight", "identity")
    out = ("lm.decoder.weight", "head.kernel", "transpose")
    return [table, *kernel, ("recurrent.new.bias", "rnn.bias", "identity"), out]


def aliases(config):
    return {}


def activations(config):
    return [("rnn.embed", "encode.word", "", "embeddings"), ("rnn", "encode.recurrent", "", "layer 0"),
            ("head", "next_token.head", "rows", "head")]  # fmt: skip
