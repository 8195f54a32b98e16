"""GPT, the first: Improving Language Understanding by Generative Pre-Training.

Radford, Narasimhan, Salimans, Sutskever, 2018, OpenAI. Released code: openai/finetune-transformer-lm (`train.py`).
GPT-2 (`gpt2.py`, equations G1 to G9) except that a norm stands behind each residual, and none at the end:

    embeddings   h⁰ = Drop(E_word[x] + E_position[t]), and E_word[s] where there are token types s                  (1)
    attention    q, k, v = h Wᵀ + b, three rows of one matrix; u = Drop(softmax(q kᵀ/√K, keys up to the query's own)) v,
                 merged, u W_oᵀ + b_o                                                                               (2)
    post-norm    n = LN(h + Drop(u))                                                                                (3)
    feed-forward f = act(n W₁ᵀ + b₁) W₂ᵀ + b₂, of inner width 4 D                                                   (4)
    post-norm    y = LN(n + Drop(f)), the h of the next layer; of the last the last hidden state                    (5)
    objective    L₁ = mean of -log softmax(y_t E_wordᵀ)[x_{t+1}]                                                    (6)
    choice       z_i = Drop(y at the i-th text's `mc_token_ids`) w + b for each of a row's C texts                  (7)
                 L₂ = mean of -log softmax(z)[mc_label]                                                             (8)
    fine-tuning  L₃ = L₂ + λ L₁, λ = `lm_coef` 0.5, of these terms those whose labels are given                     (9)

`double_heads` has (7)-(9): inputs are then (B, C, T), or (B, T) as without. act: the tanh form of GELU, which published
configurations of this family call "gelu".

Where the release deviates from the paper or ports from the release, and what is done here:
- word, special and position rows are one matrix in the release: dropout takes entries of the matrix, which then makes
  the logits, too, over positions as well. Here, as in ports, tables are apart, the sum is dropped, classes are words.
- the release multiplies masked scores by 0 and subtracts 1e9; ports add -1e4 to later keys. A token that is there
  always sees itself, so that no number differs but of padding that nothing reads; here as in GPT-2.
- (6) in fine-tuning: the release means over each text, then over texts; here, as in ports, over all tokens together.
- (7): the release drops the same entries for all texts of a row (its masks have a 1 for C); ports draw for each.
- the release reads the state of the token `_classify_`; where no `mc_token_ids` are given, ports read the last place.
- ports return L₁ and L₂ and leave λ to the caller.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, options, tree
from minibert.config import among, check, number, rate, require, size
from minibert.corruption import sequences
from minibert.corruption.masking import Vocabulary
from minibert.families import gpt2, inherited
from minibert.heads import choice, next_token
from minibert.objective import Term

KIN = "gpt2"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]

ACTS = {"gelu": "gelu_new", "relu": "relu"}  # afn -> as other configurations call it


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """GPT as released, under the published field names, and the named variants of this engine."""

    vocab_size: int = size(40478)
    n_positions: int = size(512)
    n_embd: int = size(768, gpt2.WIDE)
    n_layer: int = size(12, gpt2.DEEP)
    n_head: int = size(12)
    afn: str = among("gelu", ACTS)
    resid_pdrop: float = rate(0.1)
    embd_pdrop: float = rate(0.1)
    attn_pdrop: float = rate(0.1)
    layer_norm_epsilon: float = number(1e-5, 0, 1)
    initializer_range: float = number(0.02, 0, 100)
    summary_first_dropout: float = rate(0.1)  # of (7)
    tie_word_embeddings: bool = True
    eos_token_id: int | None = None  # of generation, as the one below; no equation reads them
    pad_token_id: int | None = None
    # variants
    double_heads: bool = False  # True: (7)-(9), for rows of several texts
    lm_coef: float = number(0.5, 0, 100)  # λ of (9)

    def __post_init__(self) -> None:
        check(self)
        heads = f"a divisor of n_embd {self.n_embd}"
        fits = self.n_embd % self.n_head == 0
        require(fits, f"config field 'n_head' is {self.n_head}; allowed: {heads}")
        for name in ("eos_token_id", "pad_token_id"):
            token = getattr(self, name)
            fits = token is None or 0 <= token < 2**31
            require(fits, f"config field {name!r} is {token}; allowed: null, 0 to {2**31 - 1}")


PRESETS = {"base": {"n_layer": 12, "n_embd": 768, "n_head": 12}}  # section 4.1, the one there is

# small, and every field away from its default but `double_heads`, whose rows are others: for checks
PROBE = {
    "vocab_size": 17,
    "n_positions": 9,
    "n_embd": 8,
    "n_layer": 2,
    "n_head": 2,
    "afn": "relu",
    "resid_pdrop": 0.2,
    "embd_pdrop": 0.15,
    "attn_pdrop": 0.3,
    "layer_norm_epsilon": 1e-3,
    "tie_word_embeddings": False,
    "eos_token_id": 4,
    "pad_token_id": 5,
    "lm_coef": 0.7,
}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(5): the one place where they are written."""
    d, f = config.n_embd, 4 * config.n_embd
    norm = {"weight": (d,), "bias": (d,)}

    def dense(n_out: int, n_in: int) -> Tree:
        return {"weight": (n_out, n_in), "bias": (n_out,)}

    layer = {
        "attention": {**{name: dense(d, d) for name in ("query", "key", "value", "output")}, "norm": norm},
        "feed_forward": {"in": dense(f, d), "out": dense(d, f), "norm": norm},
    }
    return {
        "embeddings": {"word": {"weight": (config.vocab_size, d)}, "position": {"weight": (config.n_positions, d)}},
        "decoder": [layer] * config.n_layer,
    }


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values: normal, the same deviation for all weights (section 4.1: 0.02)."""
    *_, parent, leaf = path.split(".")
    if leaf == "bias" or parent == "norm":
        return np.full(shape, float(leaf == "weight"))
    return config.initializer_range * rng.standard_normal(shape)


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """GPT-2's small batch; with `double_heads` rows of C texts, 3 unless dims says so, of different lengths, and which
    token stands for each.
    """
    if not config.double_heads:
        return gpt2.example(rng, config, dims)
    dims = {**gpt2.DIMS, "C": 3, **(dims or {})}
    rows, texts = dims["B"], dims["C"]
    batch = gpt2.example(rng, config, {**dims, "B": rows * texts})
    batch.pop("dropout")
    seen = batch["attention_mask"]
    ends = np.where(rng.random(len(seen)) < 0.7, seen.sum(1) - 1, 1)
    batch = {name: array.reshape(rows, texts, -1) for name, array in batch.items()}
    batch |= {"mc_token_ids": ends.reshape(rows, texts), "mc_labels": rng.integers(0, texts, rows)}
    places = dropouts(config, {"B": rows, "C": texts, "T": seen.shape[1]})
    return {**batch, "dropout": layers.keep_masks(rng, places)}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """GPT-2's places, and of (7) (B, C, D)."""
    places = gpt2.dropouts(config, {**dims, "B": dims["B"] * dims.get("C", 1)})
    if config.double_heads and "C" in dims:
        places[DROPPED_CHOICE] = (dims["B"], dims["C"], config.n_embd), config.summary_first_dropout
    return places


# ---- Decoder ---------------------------------------------------------------------------------------------------------
LAYERS = gpt2.LAYERS
DROPPED_CHOICE = "multiple_choice_head.first_dropout"
SUMMARY = "summary"  # what (7) reads


def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes: GPT-2's, of one text a row or of several, and which token stands for each of several."""
    if not config.double_heads:
        return gpt2.inputs(config)
    several = {name: spec.replace("(B,", "(B,[C],") for name, spec in gpt2.inputs(config).items()}
    return {**several, "mc_token_ids": "?(B,C)<T"}


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: GPT-2's, and of several texts what stands for each."""
    if not config.double_heads:
        return gpt2.outputs(config)
    several = {name: spec.replace("(B,", "(B,[C],") for name, spec in gpt2.outputs(config).items()}
    return {**several, SUMMARY: "(B,C,n_embd)"}


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: layers.Keep = "caches") -> tuple[Tree, Tree]:
    """(1)-(5): outputs by name, and the cache, as `gpt2.encode`; of several texts a row each is read by itself, and all
    outputs have their axis C behind B.

    hidden_states: 1 + L arrays, the first what enters layer 1; summary: the states at mc_token_ids, (B, C, D).
    """
    shape = inputs["input_ids"].shape
    given = {name: a.reshape(-1, a.shape[-1]) for name, a in inputs.items() if name in gpt2.inputs(config)}
    c: Tree = {"shape": shape}
    kept, past = (inputs.get("dropout") or {}).get, inputs.get("past")
    h, c["embeddings"] = gpt2.embedded(p["embeddings"], config, given, kept("transformer.drop"))  # (1)
    length = h.shape[1]
    mask = layers.causal(length, length + (past[0]["key"].shape[2] if past else 0), given.get("attention_mask"))

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        name, dropped = f"{LAYERS}{i}", kept(f"{LAYERS}{i}.attn.attn_dropout")
        return layers.encoder_layer(
            x,
            p,
            heads=config.n_head,
            act=ACTS[config.afn],
            eps=config.layer_norm_epsilon,
            mask=mask,
            past=past[i] if past else None,
            dropout=None if dropped is None else ops.dropout_multiplier(dropped, config.attn_pdrop, x.dtype),
            keep={"attention": kept(f"{name}.attn.resid_dropout"), "feed_forward": kept(f"{name}.mlp.dropout")},
            rate=config.resid_pdrop,
        )

    hidden, c["decoder"] = layers.stack(layer, h, p["decoder"], keep)  # (2)-(5)
    out = layers.states(hidden, c["decoder"], keep)
    if len(shape) == 3:
        at = inputs.get("mc_token_ids", np.full(shape[:2], length - 1))
        summary, c["gather"] = ops.gather(hidden[-1], positions=at.reshape(-1, 1))
        out = {**out, SUMMARY: summary[:, 0]}
        out = tree.map(lambda a: a.reshape(*shape[:2], *a.shape[1:]), out)
    return out, c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(5) from the cotangents of last_hidden_state and, where given, of the other outputs."""
    g: Tree = {}
    if len(c["shape"]) == 3:
        dout = tree.map(lambda a: a.reshape(-1, *a.shape[2:]), dout)
    dh, dhidden = dout.get("last_hidden_state"), dout.get("hidden_states")
    if SUMMARY in dout:
        dsummary = ops.gather_backward(dout[SUMMARY][:, None], c["gather"])
        dh = dsummary if dh is None else kernels.add(dh, dsummary)
    if dhidden is not None:  # the last of them is the same array
        dh, dhidden = kernels.add(dh, dhidden[-1]), dhidden[:-1]
    dh, g["decoder"] = layers.stack_backward(layers.encoder_layer_backward, dh, c["decoder"], dhidden)  # (5)-(2)
    g["embeddings"] = layers.embeddings_backward(dh, c["embeddings"])  # (1)
    if "token_type" in g["embeddings"]:
        g["embeddings"]["word"] = tree.add(g["embeddings"]["word"], g["embeddings"].pop("token_type"))
    return g


# ---- From token to token ---------------------------------------------------------------------------------------------
def start(p: Tree, config: Config, inputs: dict[str, Array]) -> Tree:
    """As `gpt2.start`."""
    return gpt2.went_on(encode, p, config, inputs, {})[1] if inputs else {}


def step(p: Tree, config: Config, ids: Array, state: Tree) -> tuple[Array, Tree]:
    """As `gpt2.step`."""
    h, state = gpt2.went_on(encode, p, config, {"input_ids": ids}, state)
    return next_token.predict(h[:, -1], None, table=tree.get(p, terms(config)["next_token"].table)), state


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(6), and with `double_heads` (7)-(9): those terms whose labels a batch has."""
    language = gpt2.terms(config)["next_token"]
    if not config.double_heads:
        return {"next_token": language}
    sizes, dropout = {"width": config.n_embd}, (DROPPED_CHOICE, config.summary_first_dropout)
    return {
        "next_token": language._replace(
            sizes={**language.sizes, "texts": True}, weight=config.lm_coef, optional=True
        ),
        "choice": Term(choice, "choice", SUMMARY, sizes, dropout=dropout, optional=True, prefix="mc_"),
    }


def weights(config: Config) -> dict[str, float]:
    """(9)"""
    return {name: term.weight if config.double_heads else 1.0 for name, term in terms(config).items()}


def used(config: Config, p: Tree) -> tuple[Config, Tree]:
    """(config, parameters) of the network alone, for tasks."""
    return replace(config, double_heads=False), {part: held for part, held in p.items() if part != "choice"}


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "word_bpe"
SPECIALS = {"unk": "<unk>"}
GLUE = ""  # words are cut at blanks
Data = options.Rows
# Section 4.1: contiguous text without anything between documents, Adam with decoupled decay of 0.01, a rate that rises
# and then falls to 0; there along a cosine. Few pieces, and few rows a step, make it quick.
DEFAULTS: Tree = {**gpt2.DEFAULTS, "lowercase": True}


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Any, marked: Any = None) -> Tree:
    """Documents end to end with nothing between them, in rows of the whole length (`sequences.unbroken_text`)."""
    ids = sequences.unbroken_text(documents, rng, vocabulary, data.seq_length, data.duplicates)
    return {"input_ids": ids, "labels": ids.copy()}
