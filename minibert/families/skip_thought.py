"""Skip-thought: Skip-Thought Vectors.

Kiros, Zhu, Salakhutdinov, Zemel, Torralba, Urtasun, Fidler, 2015, arXiv 1506.06726. Released code:
ryankiros/skip-thoughts (`training/model.py`, `layers.py`, `train.py`, `skipthoughts.py`).

    embeddings   x_t = E[w_t]: one table, of the encoder and of both decoders                                       (1)
    encoder      h_t = GRU(x_t, h_{t-1}), s = the last state, the sentence's vector; "bi": of two directions, half
                 as wide each, the two last states beside each other                                               (2)
    decoders     two GRUs of their own, one writes the sentence before, one that behind; at step 0 a vector of zeros
                 is read, then what stands there                                                                    (3)
    conditioned  "state": a decoder begins with the state s (the release); "gates": with 0, and C_r s, C_z s, C s stand
                 in its gates at every step (eq. 5-8), the last columns of weight_ih                                (4)
    logits       z_t = d_t Vᵀ + b: one V and b of both decoders                                                     (5)
    objective    L = Σ -log(p + 1e-8) over both sentences                                                           (6)
    vocabulary   a word that E does not know: x = M v, v its vector of word2vec, M by least squares over the words
                 that both know (section 2.2)                                                                       (7)

Where the release differs, and what is done here:
- its GRU multiplies by the reset behind the recurrent product and has no recurrent bias (`ops.gru` with bias_ih alone),
  and its update gate keeps: h_t = u h_{t-1} + (1 - u) ĥ_t. The paper resets first and has the gate the other way round.
- (6) is a sum there; here each decoder's mean, so that a loss does not grow with the batch. Denominators of 1 give the
  sum.
- theano has (in, out) matrices, the gates' beside the candidate's: `published.skip_thought.of_theano` turns them.
- "combine" is two models, a "uni" and a "bi", whose vectors stand beside each other, each of length 1 (`combined`).
"""

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minibert import layers, ops, options, recurrent, tree
from minibert.config import among, check, number, require, size
from minibert.corruption import consecutive
from minibert.families import inherited, quick_thought
from minibert.heads import written_token
from minibert.objective import Term
from minibert.options import option
from minibert.pairs import block, block_backward
from minibert.summaries import Summary

__getattr__ = inherited()
Array = np.ndarray
Tree = dict[str, Any]

WIDE = 2**20
WAYS = ("state", "gates")
SIDES = {"previous": "decoder_b", "next": "decoder_f"}  # (3), as the release calls them
IGNORED = written_token.IGNORED


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """The release's model, under the names of its options where it has them."""

    vocab_size: int = size(20000)
    dim_word: int = size(620, WIDE)
    dim: int = size(2400, WIDE)
    encoder: str = among("uni", ("uni", "bi"))
    conditioning: str = among("state", WAYS)
    floor: float = number(1e-8, 0, 1)
    initializer_range: float = number(0.1, 0, 100)
    pad_token_id: int = 0  # no equation reads it

    def __post_init__(self) -> None:
        check(self)
        fits = self.encoder == "uni" or self.dim % 2 == 0
        require(fits, f"config field 'dim' is {self.dim}; allowed: even numbers, half a direction")
        require(0 <= self.pad_token_id < 2**31, f"config field 'pad_token_id' is {self.pad_token_id}; allowed: 0 on")

    @property
    def num_hidden_layers(self) -> int:
        """Of the encoder."""
        return 1


PRESETS = {"uni": {}, "bi": {"encoder": "bi"}}  # as released: 2400, and twice 1200

# small, and every field away from its default: for checks
PROBE = {
    "vocab_size": 17,
    "dim_word": 5,
    "dim": 6,
    "encoder": "bi",
    "conditioning": "gates",
    "floor": 0.01,
    "initializer_range": 0.3,
    "pad_token_id": 3,
}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(4): the one place where they are written."""

    def gru(width: int, n: int) -> Tree:
        return {"weight_ih": (3 * n, width), "weight_hh": (3 * n, n), "bias_ih": (3 * n,)}

    w, n = config.dim_word, config.dim
    decoder = gru(w + n * (config.conditioning == "gates"), n)
    half = gru(w, n // 2)
    return {
        "embeddings": {"word": {"weight": (config.vocab_size, w)}},
        "encoder": {"forward": half, "backward": half} if config.encoder == "bi" else gru(w, n),
        **dict.fromkeys(SIDES.values(), decoder),
    }


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values, as in the release: square matrices orthogonal, others uniform, biases 0."""
    if path.endswith(("bias", "bias_ih")):
        return np.zeros(shape)
    if path.endswith("weight_hh"):
        n = shape[1]
        return np.concatenate([np.linalg.svd(rng.standard_normal((n, n)))[0] for _ in range(shape[0] // n)])
    return config.initializer_range * rng.uniform(-1, 1, shape)


# ---- An example ------------------------------------------------------------------------------------------------------
DIMS = {"B": 3, "T": 6, "S": 5}  # rows, tokens of a sentence and of those beside it


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch: sentences of unequal lengths, a word that stands twice; labels are the head's."""
    dims = {**DIMS, **(dims or {})}
    rows, length, written = dims["B"], dims["T"], dims["S"]
    require(length >= 3 and written >= 3 and config.vocab_size >= 2, "an example needs 3 positions and 2 token ids")
    ids = rng.integers(0, config.vocab_size, (rows, length))
    ids[:, 2] = ids[:, 0]
    sizes, far = rng.integers(2, length, rows), rng.integers(2, written + 1, rows)
    sizes[0], far[0] = length, written
    return {"input_ids": ids, "attention_mask": (np.arange(length) < sizes[:, None]).astype(np.int64),
            "decoder_attention_mask": (np.arange(written) < far[:, None]).astype(np.int64), "dropout": {}}  # fmt: skip


def dropouts(config: Config, dims: dict[str, int]) -> dict:
    """Nothing is dropped."""
    return {}


# ---- Network ---------------------------------------------------------------------------------------------------------
def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes. decoder_attention_mask: how far the sentences beside it go, so that batches can be cut; no
    equation reads it. The labels, where a batch has them, are read by the decoders, too.
    """
    return {"input_ids": "(B,T)<vocab_size", "attention_mask": "?(B,T)?", "decoder_attention_mask": "?(B,S)?"}


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: the encoder's states, (2), and of (3) where there are labels."""
    return {"last_hidden_state": "(B,T,dim)", "hidden_states": "[(B,T,dim)]", "pooler_output": "(B,dim)",
            **{f"{side}_state": "(B,S,dim)" for side in SIDES}}  # fmt: skip


OPTIONAL = {part: f"{side}_state" for side, part in SIDES.items()}


def lengths(config: Config) -> dict[str, tuple[str, int | None]]:
    """How long rows may be, and the input whose sum along that dimension is how long each is."""
    return {"T": ("attention_mask", None), "S": ("decoder_attention_mask", None)}


@block
def conditioned_gru(x: Array, s: Array, p: Tree, *, by: str) -> tuple[Array, Tree]:
    """(4) of x (B, S, W), s (B, N): (B, S, N); by: of WAYS."""
    if by == "state":
        y, c = ops.gru(x, s, **p)
    else:
        again = np.broadcast_to(s[:, None], (*x.shape[:2], s.shape[-1]))
        y, c = ops.gru(np.concatenate([x, again], -1), None, **p)
    return y, {"gru": c, "width": x.shape[-1]}


@block_backward
def conditioned_gru_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree]:
    dx, *ds, g = ops.gru_backward(dy, c["gru"])
    if ds:
        return dx, ds[0], g
    return np.ascontiguousarray(dx[..., : c["width"]]), dx[..., c["width"] :].sum(1), g


@block
def words_before(p: Tree, *, labels: Array) -> tuple[Array, Tree]:
    """What a decoder reads to write these labels (B, S): 0, then the words before; 0 where nothing is asked."""
    ids = np.concatenate([np.full_like(labels[:, :1], IGNORED), labels[:, :-1]], 1)
    there = ids != IGNORED
    x, c = ops.embedding(**p, ids=np.where(there, ids, 0))
    there = there[..., None].astype(x.dtype)
    return x * there, {"embedding": c, "there": there}


@block_backward
def words_before_backward(dy: Array, c: Tree) -> Tree:
    return ops.embedding_backward(dy * c["there"], c["embedding"])


def encode(p: Tree, config: Config, inputs: Tree, *, keep: layers.Keep = "caches") -> tuple[Tree, Tree]:
    """(1)-(4): outputs by name, and the cache; nothing is recomputed, whatever `keep`."""
    c: Tree = {}
    x, c["word"] = ops.embedding(**p["embeddings"]["word"], ids=inputs["input_ids"])  # (1)
    h, c["encoder"] = recurrent.gru_layer(x, p["encoder"], seen=inputs.get("attention_mask"))  # (2)
    s, c["whole"] = recurrent.whole_text(h, both=config.encoder == "bi")
    out = {"last_hidden_state": h, "hidden_states": [h], "pooler_output": s}
    for side, part in SIDES.items():
        if f"{side}_labels" in inputs and part in p:
            own: Tree = {}
            x, own["words"] = words_before(p["embeddings"]["word"], labels=inputs[f"{side}_labels"])  # (3)
            out[f"{side}_state"], own["decoder"] = conditioned_gru(x, s, p[part], by=config.conditioning)  # (4)
            c[side] = own
    unread = {part: p[part] for side, part in SIDES.items() if side not in c and part in p}
    return out, {**c, "unread": unread}


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(4) from the cotangents of those outputs that are given."""
    dh, ds, g, tables = [], [], {}, []
    dh += [dout["last_hidden_state"]] if "last_hidden_state" in dout else []
    dh += dout.get("hidden_states") or []
    ds += [dout["pooler_output"]] if "pooler_output" in dout else []
    for side, part in SIDES.items():
        if f"{side}_state" in dout:
            own = c[side]
            dx, dvector, g[part] = conditioned_gru_backward(dout[f"{side}_state"], own["decoder"])
            ds.append(dvector)
            tables.append(words_before_backward(dx, own["words"]))
    dh += [recurrent.whole_text_backward(sum(ds[1:], start=ds[0]), c["whole"])] if ds else []
    dx, g["encoder"] = recurrent.gru_layer_backward(sum(dh[1:], start=dh[0]), c["encoder"])
    word = functools.reduce(tree.add, tables, ops.embedding_backward(dx, c["word"]))
    return {**g, **tree.zeros_like(c["unread"]), "embeddings": {"word": word}}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(5), (6), one part of both."""
    given = {"sizes": {"table": (config.vocab_size, config.dim)}, "constants": {"floor": config.floor}}
    return {side: Term(written_token, "lm", f"{side}_state", prefix=f"{side}_", **given) for side in SIDES}


POOLING = ("pooler",)  # (2) is there already


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for a text: (2)."""
    return {"text": Summary("pooler_output", dropped=(None, None))}


# ---- Vectors ---------------------------------------------------------------------------------------------------------
def combined(*vectors: Array) -> Array:
    """"combine": vectors of the same sentences (N, ·), each of length 1, beside each other, as the release has them."""
    return np.concatenate([v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12) for v in vectors], -1)


def expanded(table: Array, words: list[str], known: list[str], vectors: Array) -> tuple[list[str], Array]:
    """(7): (words, table) with those of `known` that were not there behind; table (V, W) of words, vectors (K, D) of
    known. InputError where fewer words stand in both than a vector has numbers.
    """
    index = {word: i for i, word in enumerate(words)}
    pairs = [(index[word], k) for k, word in enumerate(known) if word in index]
    few = f"{len(pairs)} words stand in both vocabularies, and a vector has {vectors.shape[1]} numbers: give more words"
    require(len(pairs) >= vectors.shape[1], few)
    ours, theirs = (np.array(side) for side in zip(*pairs, strict=True))
    matrix = np.linalg.lstsq(vectors[theirs].astype(np.float64), table[ours].astype(np.float64), rcond=None)[0]
    new = [k for k, word in enumerate(known) if word not in index]
    more = (vectors[new].astype(np.float64) @ matrix).astype(table.dtype)
    return [*words, *(known[k] for k in new)], np.concatenate([table, more])


def with_words(model: Any, known: list[str], vectors: Array) -> Any:
    """A copy of a model with a vocabulary of words that knows more of them: (7). The decoder gives them no chance, as
    only sentences are to be read with it.
    """
    tokenizer, old = model.tokenizer, model.config.vocab_size
    require(tokenizer is not None and hasattr(tokenizer, "train"), "the model has no vocabulary")
    words, table = expanded(model.params["embeddings"]["word"]["weight"], tokenizer.tokens[:old], known, vectors)
    params = {**model.params, "embeddings": {"word": {"weight": table}}}
    if "lm" in params:
        own, more = params["lm"]["decoder"], len(words) - old
        least = np.finfo(own["bias"].dtype).min / 2
        params["lm"] = {"decoder": {"weight": np.pad(own["weight"], [(0, more), (0, 0)]),
                                    "bias": np.pad(own["bias"], (0, more), constant_values=least)}}  # fmt: skip
    made = type(model)(model.family, replace(model.config, vocab_size=len(words)), params)
    made.tokenizer = type(tokenizer)(words, lowercase=tokenizer.lowercase, specials=tokenizer.specials)
    return made


# ---- Data ------------------------------------------------------------------------------------------------------------
# The release reads triples of BookCorpus; here words of the default text's documents.
TOKENIZER = "words"


@dataclass(frozen=True)
class Data(options.Rows):
    """What the data functions ask for."""

    vocab_size: int = option(4000, "know so many words, the most frequent", least=8, most=1 << 20)
    seq_length: int = option(30, "keep so many tokens of a sentence", least=8, most=options.LONGEST)
    duplicates: int = option(1, "pass over the text so many times", least=1, most=1000)


DEFAULTS: Tree = {"steps": 600, "batch_size": 16, "learning_rate": 2e-3, "optimizer": "adamw", "schedule": "linear",
                  "weight_decay": 0.0, "clip_norm": 5.0}  # fmt: skip
WIDTH = "dim"
NARROW = {"dim_word": 96, "dim": 160}
QUICK = dict(NARROW)
read = quick_thought.read


def rows(documents: Any, rng: np.random.Generator, vocabulary: Any, data: Data, marked: Any = None) -> Tree:
    """A sentence with that before and that behind it."""
    return consecutive.triples(documents, rng, vocabulary, data.seq_length, data.duplicates)


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given."""
    return dict(given)
