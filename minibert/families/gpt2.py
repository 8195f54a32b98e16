"""GPT-2: Language Models are Unsupervised Multitask Learners.

Radford, Wu, Child, Luan, Amodei, Sutskever, 2019, OpenAI. Released code: openai/gpt-2 (`src/model.py`).

    embeddings   h⁰ = Drop(E_word[x] + E_position[t]), and E_word[s] where there are token types s                  (1)
    attention    q, k, v = LN(h) Wᵀ + b, three rows of one matrix, split into H heads of width K = D/H              (2)
                 u = Drop(softmax(scale·q kᵀ, keys up to the query's own)) v, merged, u W_oᵀ + b_o; scale 1/√K      (3)
    residual     a = h + Drop(u)                                                                                   (4)
    feed-forward f = act(LN(a) W₁ᵀ + b₁) W₂ᵀ + b₂                                                                  (5)
    residual     y = a + Drop(f), the h of the next layer                                                          (6)
    final norm   LN(y^L): the last hidden state                                                                    (7)
    logits       z = LN(y^L) E_wordᵀ; the table is shared                                                          (8)
    objective    L = mean of -log softmax(z_t)[x_{t+1}]                                                            (9)

Where the release deviates from the paper or ports from the release, and what is done here:
- initialization: section 2.3 divides the weights at the end of a residual branch by √N, N = 2L of them, as ports do;
  the release doesn't, and draws the positions with 0.01. `initialization` names both.
- act: the tanh form of GELU, "gelu_new" in published configurations.
- the release multiplies masked scores by 0 and subtracts 1e10; here the most negative number is added, as in ports. A
  token that is there always sees itself, so that no number differs; padding that sees nothing is uniform over all keys.
- weights lie (in, out) in published files, and (2) is one matrix there: `names`.
- positions are 0, 1, 2, … whatever the mask, as in ports; from token to token (`start`, `step`) they count from a row's
  first token that is there, as in published generation. Where there is neither mask nor cache, ports take
  positions that begin again for packed documents; here they are positions alone.
- scale: `scale_attn_weights` false takes 1 for 1/√K, `scale_attn_by_inverse_layer_idx` divides it by the layer's
  number, from 1 on (ports). `reorder_and_upcast_attn` is about rounding to 16 bits: it changes nothing here.
- the paper says nothing of padding or of the words before a document's first; rows are packed (`rows`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, options, tree
from minibert.config import among, check, number, rate, require, size
from minibert.corruption import sequences
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, inherited
from minibert.heads import next_token
from minibert.objective import Term
from minibert.summaries import Summary

__getattr__ = inherited()

Array = np.ndarray
Tree = dict[str, Any]

CAUSAL = True
INITIALIZATIONS = ("paper", "release")
WIDE, DEEP = 2**20, 1024  # the product of two widths is a size that a machine has; layers are listed


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """GPT-2 small as released, under the published field names, and the named variant of this engine."""

    vocab_size: int = size(50257)
    n_positions: int = size(1024)
    n_embd: int = size(768, WIDE)
    n_layer: int = size(12, DEEP)
    n_head: int = size(12)
    n_inner: int | None = None  # 4 · n_embd
    activation_function: str = among("gelu_new", layers.ACTIVATIONS)
    resid_pdrop: float = rate(0.1)
    embd_pdrop: float = rate(0.1)
    attn_pdrop: float = rate(0.1)
    layer_norm_epsilon: float = number(1e-5, 0, 1)
    initializer_range: float = number(0.02, 0, 100)
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    reorder_and_upcast_attn: bool = False
    tie_word_embeddings: bool = True
    bos_token_id: int | None = 50256  # of generation, as the two below; no equation reads them
    eos_token_id: int | None = 50256
    pad_token_id: int | None = None
    # variants
    initialization: str = among("paper", INITIALIZATIONS)

    def __post_init__(self) -> None:
        check(self)
        heads = f"a divisor of n_embd {self.n_embd}"
        fits = self.n_embd % self.n_head == 0
        require(fits, f"config field 'n_head' is {self.n_head}; allowed: {heads}")
        inner = self.n_inner
        require(inner is None or 0 < inner <= WIDE, f"config field 'n_inner' is {inner}; allowed: null, 1 to {WIDE}")
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):  # published ones may be beyond the vocabulary
            token = getattr(self, name)
            fits = token is None or 0 <= token < 2**31
            require(fits, f"config field {name!r} is {token}; allowed: null, 0 to {2**31 - 1}")

    @property
    def inner(self) -> int:
        """The width of (5)."""
        return 4 * self.n_embd if self.n_inner is None else self.n_inner


def _size(depth: int, width: int) -> dict[str, int]:
    return {"n_layer": depth, "n_embd": width, "n_head": width // 64}


# table 2, with the release's names of its four models; Microsoft's of 2020 (17 billion parameters, heads of 152)
PRESETS = {
    **{"small": _size(12, 768), "medium": _size(24, 1024), "large": _size(36, 1280), "xl": _size(48, 1600)},
    "turing-nlg": {"n_layer": 78, "n_embd": 4256, "n_head": 28},
}

# small, and every field away from its default: for checks
PROBE = {
    "vocab_size": 17,
    "n_positions": 9,
    "n_embd": 8,
    "n_layer": 2,
    "n_head": 2,
    "n_inner": 11,
    "activation_function": "gelu",
    "resid_pdrop": 0.2,
    "embd_pdrop": 0.15,
    "attn_pdrop": 0.3,
    "layer_norm_epsilon": 1e-3,
    "scale_attn_weights": False,
    "scale_attn_by_inverse_layer_idx": True,
    "reorder_and_upcast_attn": True,
    "tie_word_embeddings": False,
    "bos_token_id": 3,
    "eos_token_id": 4,
    "pad_token_id": 5,
    "initialization": "release",
}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(7): the one place where they are written."""
    d, f = config.n_embd, config.inner
    norm = {"weight": (d,), "bias": (d,)}

    def dense(n_out: int, n_in: int) -> Tree:
        return {"weight": (n_out, n_in), "bias": (n_out,)}

    layer = {
        "attention": {"norm": norm, **{name: dense(d, d) for name in ("query", "key", "value", "output")}},
        "feed_forward": {"norm": norm, "in": dense(f, d), "out": dense(d, f)},
    }
    return {
        "embeddings": {"word": {"weight": (config.vocab_size, d)}, "position": {"weight": (config.n_positions, d)}},
        "decoder": [layer] * config.n_layer,
        "norm": norm,
    }


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values: normal, of the deviation that `initialization` says."""
    *_, parent, leaf = path.split(".")
    if leaf == "bias" or parent == "norm":
        return np.full(shape, float(leaf == "weight"))
    std = config.initializer_range
    if config.initialization == "release":
        std = 0.01 if parent == "position" else std
    elif parent in ("output", "out"):
        std /= (2 * config.n_layer) ** 0.5
    return std * rng.standard_normal(shape)


# ---- An example ------------------------------------------------------------------------------------------------------
DIMS = {"B": 3, "T": 7}  # rows and tokens of an example


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch: padding at the end, a repeated id, a position of which nothing is asked, and drawn dropout masks.
    Rows are cut to the position table; at least 4 tokens and 2 token ids are needed. dims: sizes that differ from DIMS.
    """
    dims = {**DIMS, **(dims or {})}
    rows, length = dims["B"], min(dims["T"], config.n_positions)
    require(length >= 4 and config.vocab_size >= 2, "an example needs at least 4 positions and 2 token ids")
    ids = rng.integers(0, config.vocab_size, (rows, length))
    ids[:, 3] = ids[:, 1]
    lengths = rng.integers(length // 2 + 1, length, rows)
    lengths[0] = length
    labels = next_token.draw(rng, {"B": rows, "T": length}, {"T": lengths}, table=(config.vocab_size, config.n_embd))
    dropout = layers.keep_masks(rng, dropouts(config, {"B": rows, "T": length}))
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    return {"input_ids": ids, "attention_mask": mask, **labels, "dropout": dropout}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of every dropout's keep-mask for inputs of these dimensions, under the names of the published
    dropout modules.
    """
    rows, length = dims["B"], dims["T"]
    wide, square = (rows, length, config.n_embd), (rows, config.n_head, length, length)
    places = {"transformer.drop": (wide, config.embd_pdrop)}
    for i in range(config.n_layer):
        places[f"{LAYERS}{i}.attn.attn_dropout"] = (square, config.attn_pdrop)
        places[f"{LAYERS}{i}.attn.resid_dropout"] = (wide, config.resid_pdrop)
        places[f"{LAYERS}{i}.mlp.dropout"] = (wide, config.resid_pdrop)
    return places


# ---- Decoder ---------------------------------------------------------------------------------------------------------
LAYERS = "transformer.h."
SPELLINGS = {"input_mask": "attention_mask"}


def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes: specs by name (see `signatures`). token_type_ids are words."""
    return {
        "input_ids": "(B,T)<vocab_size",
        "attention_mask": "?(B,T)?",
        "token_type_ids": "?(B,T)<vocab_size",
        "position_ids": "?(B,T)<n_positions",
    }


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: specs by name."""
    return {
        "last_hidden_state": "(B,T,n_embd)",
        "hidden_states": "[(B,T,n_embd)]",
        "attentions": "[(B,n_head,T,T)]",
    }


OPTIONAL: Tree = {}


def lengths(config: Config) -> dict[str, tuple[str, int]]:
    """How long rows may be, and the input whose sum along that dimension is how long each is."""
    return {"T": ("attention_mask", config.n_positions)}


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: layers.Keep = "caches") -> tuple[Tree, Tree]:
    """(1)-(7): outputs by name, and the cache; `inputs` as above, "dropout" where something is dropped, and "past",
    of each layer what it attended to before (`layers.keys_values`), whose tokens are then in attention_mask, too.

    hidden_states: 1 + L arrays (B, T, D), the first what enters layer 1, the last behind (7); attentions: L arrays
    (B, H, T, T), only where `keep` is "caches" (see `layers.stack`).
    """
    c: Tree = {}
    kept, past = (inputs.get("dropout") or {}).get, inputs.get("past")
    h, c["embeddings"] = embedded(p["embeddings"], config, inputs, kept("transformer.drop"))  # (1)
    length = h.shape[1]
    mask = layers.causal(length, length + (past[0]["key"].shape[2] if past else 0), inputs.get("attention_mask"))

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        name, dropped = f"{LAYERS}{i}", kept(f"{LAYERS}{i}.attn.attn_dropout")
        scale = np.longdouble(config.n_embd // config.n_head) ** -0.5 if config.scale_attn_weights else 1.0
        return layers.pre_norm_layer(
            x,
            p,
            heads=config.n_head,
            act=config.activation_function,
            eps=config.layer_norm_epsilon,
            mask=mask,
            scale=scale / (i + 1 if config.scale_attn_by_inverse_layer_idx else 1),
            past=past[i] if past else None,
            dropout=None if dropped is None else ops.dropout_multiplier(dropped, config.attn_pdrop, x.dtype),
            keep={"attention": kept(f"{name}.attn.resid_dropout"), "feed_forward": kept(f"{name}.mlp.dropout")},
            rate=config.resid_pdrop,
        )

    hidden, c["decoder"] = layers.stack(layer, h, p["decoder"], keep)  # (2)-(6)
    h, c["norm"] = ops.layer_norm(hidden[-1], **p["norm"], eps=config.layer_norm_epsilon)  # (7)
    return layers.states([*hidden[:-1], h], c["decoder"], keep), c


def embedded(p: Tree, config: Config, inputs: dict[str, Array], keep: Array | None) -> tuple[Array, Tree]:
    """(1)"""
    length = inputs["input_ids"].shape[1]
    positions = inputs.get("position_ids")
    fits = f"input_ids: {length} tokens a row, but n_positions is {config.n_positions}; truncate"
    require(positions is not None or length <= config.n_positions, fits)
    ids = {"word": inputs["input_ids"], "position": np.arange(length) if positions is None else positions}
    if "token_type_ids" in inputs:
        p, ids = {**p, "token_type": p["word"]}, {**ids, "token_type": inputs["token_type_ids"]}
    given = {"frozen": {}, "eps": config.layer_norm_epsilon, "keep": keep, "rate": config.embd_pdrop}
    return layers.embeddings(p, ids=ids, **given)


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(7) from the cotangents of last_hidden_state and, where given, of hidden_states."""
    g: Tree = {}
    dh, dhidden = dout["last_hidden_state"], dout.get("hidden_states")
    if dhidden is not None:  # the last of them is the same array
        dh, dhidden = kernels.add(dh, dhidden[-1]), dhidden[:-1]
    dh, g["norm"] = ops.layer_norm_backward(dh, c["norm"])  # (7)
    dh, g["decoder"] = layers.stack_backward(layers.pre_norm_layer_backward, dh, c["decoder"], dhidden)  # (6)-(2)
    g["embeddings"] = layers.embeddings_backward(dh, c["embeddings"])  # (1)
    if "token_type" in g["embeddings"]:
        g["embeddings"]["word"] = tree.add(g["embeddings"]["word"], g["embeddings"].pop("token_type"))
    return g


# ---- From token to token ---------------------------------------------------------------------------------------------
def start(p: Tree, config: Config, inputs: dict[str, Array]) -> Tree:
    """The state that has read these inputs of `encode`; {}: nothing is read yet."""
    return went_on(encode, p, config, inputs, {})[1] if inputs else {}


def step(p: Tree, config: Config, ids: Array, state: Tree) -> tuple[Array, Tree]:
    """(logits (N, V) of what follows the last of the ids (N, n), the state that has read them): (8)."""
    h, state = went_on(encode, p, config, {"input_ids": ids}, state)
    return next_token.predict(h[:, -1], None, table=tree.get(p, terms(config)["next_token"].table)), state


def went_on(
    encode: Callable, p: Tree, config: Any, inputs: Tree, state: Tree, room: str = "n_positions"
) -> tuple[Array, Tree]:
    """(last hidden states (N, n, D) of further tokens, the state that has read them), by a network's `encode`: the keys
    and values of each layer, which tokens are there, and the position of the next. room: the config field that says how
    many there are.
    """
    seen = inputs.get("attention_mask", np.ones_like(inputs["input_ids"]))
    before = state.get("position", np.zeros(len(seen), np.int64))
    positions = inputs.get("position_ids", np.maximum(before[:, None] + seen.cumsum(1) - 1, 0))
    most = getattr(config, room)
    fits = f"input_ids: {positions.max() + 1} tokens a row, but {room} is {most}; ask for fewer"
    require(bool(positions.max() < most), fits)
    mask = np.concatenate([state["mask"], seen], axis=1) if state else seen
    given = {**inputs, "attention_mask": mask, "position_ids": positions, "past": state.get("layers")}
    out, c = encode(p, config, given, keep=layers.keys_values)
    after = np.where(seen.any(1), positions[:, -1] + 1, before)  # padding alone moves no position
    return out["last_hidden_state"], {"layers": c["decoder"], "mask": mask, "position": after}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(8), (9); the table is the embeddings' where tied, else the head's."""
    sizes = {"table": (config.vocab_size, config.n_embd)}
    if config.tie_word_embeddings:
        return {"next_token": Term(next_token, sizes=sizes, table="embeddings.word.weight")}
    return {"next_token": Term(next_token, "lm", sizes=sizes, table="lm.decoder.weight")}


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for a text: the state of its last token that is not the padding id, as in ports."""
    return {"text": Summary(at="last", head="score", biased=False, dropped=(None, None))}


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "byte_level"
SPECIALS = dict.fromkeys(("bos", "eos", "unk"), "<|endoftext|>")
GLUE = " "  # a blank belongs to the word behind it: a document's pieces are those of its text
Data = options.Rows
# Neither paper nor release says how it was trained: AdamW, its decay and a rate that falls to 0 are GPT's (Radford et
# al. 2018, section 4.1; there along a cosine), the norm of gradients GPT-3's (arXiv 2005.14165, appendix B). Every
# token is asked for: few pieces, and few rows a step, make it quick.
DEFAULTS: Tree = {"vocab_size": 2000, "seq_length": 128, "lowercase": False, "steps": 1700, "batch_size": 8,
                  "optimizer": "adamw", "schedule": "linear", "weight_decay": 0.01}  # fmt: skip
WIDTH = "n_embd"
NARROW = {"n_layer": 2, "n_embd": 128, "n_head": 4, "initializer_range": 0.05}
QUICK = {**NARROW, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def read(encodings: list, pad: int | None) -> dict[str, Array]:
    """The inputs of encoded texts, (B, T), padded at the end: with any token where there is none for it, as no text
    attends to what follows. Texts have no token types, which would be words.
    """
    rows = bert.read(encodings, pad or 0)
    return {name: rows[name] for name in ("input_ids", "attention_mask")}


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Any, marked: Any = None) -> Tree:
    """Documents end to end, in rows of the whole length (`sequences.running_text`)."""
    return sequences.running_text(documents, rng, vocabulary, data.seq_length, data.duplicates)


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given, and what the rows ask for."""
    return {"n_positions": data.seq_length, **given}
