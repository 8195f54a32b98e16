"""BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding.

Devlin, Chang, Lee, Toutanova, 2018, arXiv 1810.04805. Released code: google-research/bert (`modeling.py`,
`run_pretraining.py`).

    embeddings   h⁰ = Drop(LN(E_word[x] + E_position[t] + E_type[s]))                                          (1)
    attention    q, k, v = x W_qᵀ + b_q, x W_kᵀ + b_k, x W_vᵀ + b_v, split into H heads of width K = D/H       (2)
                 u = Drop(softmax(q kᵀ/√K + mask)) v, heads merged, u W_oᵀ + b_o                               (3)
    post-norm    a = LN(x + Drop(u))                                                                           (4)
    feed-forward f = act(a W₁ᵀ + b₁) W₂ᵀ + b₂                                                                  (5)
    post-norm    y = LN(a + Drop(f)), the input of the next layer                                              (6)
    pooler       r = tanh(h^L[CLS] W_rᵀ + b_r)                                                                 (7)
    MLM head     z = LN(act(h^L[m] W_zᵀ + b_z)) E_wordᵀ + b_V at the masked positions m; the table is shared   (8)
    MLM loss     L₁ = Σ w·(-log softmax(z)[label]) / Σ w                                                       (9)
    NSP loss     L₂ = mean of -log softmax(r W_nᵀ + b_n)[label], label 0 = B follows A, 1 = B is random        (10)
    objective    L = L₁ + L₂                                                                                   (11)

Where the release deviates from the paper or ports from the release, and what is done here:
- act: released with erf, switched to tanh in February 2019; published configurations say "gelu", the erf form. The
  configuration decides: "gelu" or "gelu_new".
- the mask adds -10000 in the release; here the most negative number, as ports do. `mask_constant` names the others.
- (9) has Σ w + 1e-5 in the release: `mlm_denominator_eps=1e-5`. The plain mean is the default.
- the padding row gets its lookup gradient in the release, not in ports: `pad_row_gradient`.
- the same activation serves (5) and (8); the position and type tables have no padding row.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, ops, options
from minibert.config import among, check, number, rate, require, size
from minibert.corruption import instances
from minibert.corruption.masking import Vocabulary
from minibert.families import inherited
from minibert.heads import masked_lm, next_sentence
from minibert.objective import Term

Array = np.ndarray
Tree = dict[str, Any]
__getattr__ = inherited()  # published names: `minibert.published.bert`


# ---- Configuration ---------------------------------------------------------------------------------------------------
WIDE, DEEP = 2**20, 1024  # the product of two widths is a size that a machine has; layers are listed


@dataclass(frozen=True)
class Config:
    """BERT-base as released (uncased), under the published field names, and the named variants of this engine."""

    vocab_size: int = size(30522)
    hidden_size: int = size(768, WIDE)
    num_hidden_layers: int = size(12, DEEP)
    num_attention_heads: int = size(12)
    intermediate_size: int = size(3072, WIDE)
    hidden_act: str = among("gelu", layers.ACTIVATIONS)
    hidden_dropout_prob: float = rate(0.1)
    attention_probs_dropout_prob: float = rate(0.1)
    max_position_embeddings: int = size(512)
    type_vocab_size: int = size(2)
    initializer_range: float = number(0.02, 0, 100)
    layer_norm_eps: float = number(1e-12, 0, 1)
    pad_token_id: int | None = 0
    tie_word_embeddings: bool = True
    # variants
    mask_constant: str = among("min", ops.MASK_CONSTANTS)
    pad_row_gradient: bool = False  # True: the padding row learns from its lookups too
    mlm_denominator_eps: float = number(0.0, 0, 1)  # 1e-5: the release's denominator of (9)

    def __post_init__(self) -> None:
        check(self)
        heads = f"a divisor of hidden_size {self.hidden_size}"
        fits = self.hidden_size % self.num_attention_heads == 0
        require(fits, f"config field 'num_attention_heads' is {self.num_attention_heads}; allowed: {heads}")
        pad = self.pad_token_id
        require(pad is None or 0 <= pad < self.vocab_size, f"config field 'pad_token_id' is {pad}; allowed: a token id")


def _size(depth: int, width: int) -> dict[str, int]:
    heads = {"num_attention_heads": width // 64}
    return {"num_hidden_layers": depth, "hidden_size": width, **heads, "intermediate_size": 4 * width}


# base and large: the paper, section 3; the small ones: Turc et al. 2019, arXiv 1908.08962, table 1
PRESETS = {
    "large": _size(24, 1024),
    "base": _size(12, 768),
    "medium": _size(8, 512),
    "small": _size(4, 512),
    "mini": _size(4, 256),
    "tiny": _size(2, 128),
}

# small, and every field away from its default: for checks
PROBE = {
    "vocab_size": 17,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 11,
    "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0.2,
    "attention_probs_dropout_prob": 0.3,
    "max_position_embeddings": 9,
    "type_vocab_size": 3,
    "layer_norm_eps": 1e-3,
    "pad_token_id": 5,
    "mask_constant": "-10000",
    "pad_row_gradient": True,
    "mlm_denominator_eps": 0.01,
}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(7): the one place where they are written."""
    d, f, v = config.hidden_size, config.intermediate_size, config.vocab_size
    norm = {"weight": (d,), "bias": (d,)}

    def dense(n_out: int, n_in: int) -> Tree:
        return {"weight": (n_out, n_in), "bias": (n_out,)}

    layer = {
        "attention": {**{name: dense(d, d) for name in ("query", "key", "value", "output")}, "norm": norm},
        "feed_forward": {"in": dense(f, d), "out": dense(d, f), "norm": norm},
    }
    return {
        "embeddings": {
            "word": {"weight": (v, d)},
            "position": {"weight": (config.max_position_embeddings, d)},
            "token_type": {"weight": (config.type_vocab_size, d)},
            "norm": norm,
        },
        "encoder": [layer] * config.num_hidden_layers,
        "pooler": dense(d, d),
    }


# ---- An example ------------------------------------------------------------------------------------------------------
DIMS = {"B": 3, "T": 7}  # rows and tokens of an example


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch of every kind of trouble: two segments, padding at the end, the padding id once at a position that
    is not padding, a repeated id, one target slot of weight 0, and drawn dropout masks. Rows are cut to the position
    table; at least 4 tokens and 2 token ids are needed. dims: sizes that differ from DIMS.
    """
    dims = {**DIMS, **(dims or {})}
    rows, length = dims["B"], min(dims["T"], config.max_position_embeddings)
    require(length >= 4 and config.vocab_size >= 2, "an example needs at least 4 positions and 2 token ids")
    ids = rng.integers(1, config.vocab_size, (rows, length))
    ids[:, 3] = ids[:, 1]
    lengths = rng.integers(length // 2 + 1, length, rows)
    lengths[0] = length
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    ids = np.where(mask, ids, config.pad_token_id or 0)
    ids[0, 2] = config.pad_token_id or 0
    batch = {
        "input_ids": ids,
        "input_mask": mask,
        "segment_ids": mask * (np.arange(length) >= lengths[:, None] // 2) % config.type_vocab_size,
        **masked_lm.draw(rng, dims, {"T": lengths}, table=(config.vocab_size, 0)),
        **next_sentence.draw(rng, dims, {"T": lengths}),
    }
    return {**batch, "dropout": layers.keep_masks(rng, dropouts(config, {"B": rows, "T": length}))}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of every dropout's keep-mask for inputs of these dimensions, under the names of the published
    dropout modules.
    """
    rows, length = dims["B"], dims["T"]
    wide = (rows, length, config.hidden_size)
    places = {"bert.embeddings.dropout": (wide, config.hidden_dropout_prob)}
    return places | layers.encoder_dropouts(config, LAYERS, rows, length)


# ---- Encoder ---------------------------------------------------------------------------------------------------------
LAYERS = "bert.encoder.layer."


def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes: specs by name (see `signatures`)."""
    return {
        "input_ids": "(B,T)<vocab_size",
        "attention_mask": "?(B,T)?",
        "token_type_ids": "?(B,T)<type_vocab_size",
        "position_ids": "?(B,T)<max_position_embeddings",
    }


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives, as far as the parameters are there: specs by name."""
    return {
        "last_hidden_state": "(B,T,hidden_size)",
        "hidden_states": "[(B,T,hidden_size)]",
        "attentions": "[(B,num_attention_heads,T,T)]",
        "pooler_output": "(B,hidden_size)",
    }


OPTIONAL = {"pooler": "pooler_output"}  # parts that published files may lack, and the output that is then absent
SPELLINGS = {"input_mask": "attention_mask", "segment_ids": "token_type_ids"}  # of the same arrays


def lengths(config: Config) -> dict[str, tuple[str, int]]:
    """How long rows may be, and the input whose sum along that dimension is how long each is."""
    return {"T": ("attention_mask", config.max_position_embeddings)}


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(7): outputs by name, and the cache; `inputs` as above, and "dropout" where something is dropped.

    hidden_states: 1 + L arrays (B, T, D), the first what enters layer 1; attentions: L arrays (B, H, T, T), only where
    `keep` is "caches" (see `layers.stack`; the constant "zero" takes masked rows out after them); pooler_output (B, D)
    where p has a pooler.
    """
    c: Tree = {}
    h, c["embeddings"] = embedded(p["embeddings"], config, inputs, "bert.")  # (1)
    given = {"mask": inputs.get("attention_mask"), "dropout": inputs.get("dropout") or {}}
    hidden, c["encoder"] = layers.encoder(h, p["encoder"], config, **given, prefix=LAYERS, keep=keep)  # (2)-(6)
    out = layers.states(hidden, c["encoder"], keep)
    if "pooler" in p:
        out["pooler_output"], c["pooler"] = layers.pooler(hidden[-1], p["pooler"])  # (7)
    return out, c


def embedded(
    p: Tree, config: Any, inputs: dict[str, Array], prefix: str, *, positions: Array | None = None,
    frozen: tuple[str, ...] = ("word",),
) -> tuple[Array, Tree]:  # fmt: skip
    """(1) of tokens, with the keep-mask of "{prefix}embeddings.dropout"; positions: 0, 1, … unless given; frozen: the
    tables whose padding row gets no look-up gradient.
    """
    ids, types = inputs["input_ids"], inputs.get("token_type_ids")
    (_, most), length = lengths(config)["T"], ids.shape[1]
    fits = f"input_ids: {length} tokens a row, but max_position_embeddings is {most}; truncate"
    require(positions is not None or length <= most, fits)
    tables = {
        "word": ids,
        "position": inputs.get("position_ids", np.arange(length) if positions is None else positions),
        "token_type": np.zeros_like(ids) if types is None else types,
    }
    rows = {} if config.pad_row_gradient else dict.fromkeys(frozen, config.pad_token_id)
    keep = (inputs.get("dropout") or {}).get(f"{prefix}embeddings.dropout")
    drop = {"keep": keep, "rate": config.hidden_dropout_prob}
    return layers.embeddings(p, ids=tables, frozen=rows, eps=config.layer_norm_eps, **drop)


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(7) from the cotangents of last_hidden_state, of pooler_output
    where there is a pooler, and, where given, of hidden_states."""
    g: Tree = {}
    dh = dout["last_hidden_state"]
    if "pooler" in c:
        dh_pooler, g["pooler"] = layers.pooler_backward(dout["pooler_output"], c["pooler"])  # (7)
        dh = dh + dh_pooler
    dh, encoder = layers.encoder_backward(dh, c["encoder"], dout.get("hidden_states"))  # (6)-(2)
    return {"embeddings": layers.embeddings_backward(dh, c["embeddings"]), "encoder": encoder, **g}  # (1)


# ---- Objective -------------------------------------------------------------------------------------------------------
def masked_lm_term(config: Config, width: int, act: str) -> Term:
    """(8), (9) over a word table of that width; the table is the embeddings' where tied, else the head's."""
    tied, table = config.tie_word_embeddings, (config.vocab_size, width)
    return Term(
        masked_lm,
        "mlm",
        sizes={"width": config.hidden_size, "table": table, "tied": tied},
        constants={"act": act, "eps": config.layer_norm_eps, "denominator_eps": config.mlm_denominator_eps},
        table="embeddings.word.weight" if tied else "mlm.decoder.weight",
    )


def terms(config: Config) -> dict[str, Term]:
    """(11): L₁ + L₂."""
    return {
        "masked_lm": masked_lm_term(config, config.hidden_size, config.hidden_act),  # (8), (9)
        "next_sentence": Term(next_sentence, "nsp", "pooler_output", {"width": config.hidden_size}),  # (10)
    }


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "wordpiece"
Data = options.Pairs
DEFAULTS: Tree = {}  # options of `pretrain` whose defaults differ
WIDTH = "hidden_size"  # what the learning rate of a size is scaled by
# The models of the presets "long" and "quick". The release's initializer_range, 0.02, leaves the attention of a narrow
# model flat for thousands of updates; 0.1 doesn't.
NARROW = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "initializer_range": 0.1,
}
QUICK = {**NARROW, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given, and what the rows ask for."""
    return {"max_position_embeddings": data.seq_length, **given}


def read(encodings: list, pad: int | None) -> dict[str, Array]:
    """The inputs of encoded texts (`tokenizers.encoding.Encoding`), padded at the end with this id: each (B, T)."""
    length = max(len(encoding.ids) for encoding in encodings)
    even = all(len(encoding.ids) == length for encoding in encodings)
    require(even or pad is not None, "this vocabulary has no token to pad with: give texts one at a time")

    def padded(rows: list[list[int]], filler: int) -> Array:
        return np.array([[*row, *[filler] * (length - len(row))] for row in rows], np.int64)

    return {
        "input_ids": padded([encoding.ids for encoding in encodings], pad),
        "attention_mask": padded([[1] * len(encoding.ids) for encoding in encodings], 0),
        "token_type_ids": padded([encoding.type_ids for encoding in encodings], 0),
    }


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Any, marked: Any = None) -> Tree:
    """Pairs of segments, half of them not consecutive (section 3.1, task 2; `instances.pairs`), nothing masked yet."""
    return instances.pairs(documents, rng, vocabulary, data.seq_length, data.short_rate, data.duplicates)


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Any, studied: Any = None) -> Tree:
    """The seven published fields of these rows, freshly masked (section 3.1, task 1)."""
    return instances.masked(rows, rng, vocabulary, data.rate, data.slots)
