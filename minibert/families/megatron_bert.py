"""Megatron-BERT: Megatron-LM: Training Multi-Billion Parameter Language Models Using Model Parallelism.

Shoeybi, Patwary, Puri, LeGresley, Casper, Catanzaro, 2019, arXiv 1909.08053. Released code: NVIDIA/Megatron-LM
(`megatron/core/models/bert`, `megatron/data/dataset_utils.py`). BERT (`bert.py`, equations B1 to B11) except that norms
stand in front (section 5.3, figure 7):

    embeddings   h⁰ = Drop(E_word[x] + E_position[t] + E_type[s]), no norm                                          (1)
    attention    a = h + Drop(u), u the attention B2, B3 of LN(h)                                                   (2)
    feed-forward y = a + Drop(f), f the feed-forward B5 of LN(a), the h of the next layer                           (3)
    final norm   LN(y^L): the last hidden state                                                                     (4)
    heads        B7 to B11 of (4); label 0 = A stands before B in the text, 1 = they were swapped                   (5)

How its layers are split over several devices, which changes no number: `minibert.tensor_parallel`. Its left-to-right
model is GPT-2 with other sizes; Turing-NLG is that at 78 layers of width 4256 (`gpt2.PRESETS`).

Where the release deviates from the paper or ports from the release, and what is done here:
- act: the release fuses bias and the tanh form in (3), and calls the erf form in the masked-LM head; published
  configurations say "gelu", the erf form, for both. `mlm_act` "gelu" with "gelu_new" is the release's pair.
- eps: 1e-5 in the release, 1e-12 by default in ports, which configurations of released weights keep.
- the release masks the product of query and key (padding sees nothing) by filling with -10000; ports mask keys. No
  number of a token that is there differs.
- first values: the release divides the deviation of what ends a residual by √(2 L), ports don't; here as the release.
- the release pads the vocabulary to a multiple of 128 times the devices: rows that take part in the softmax.
- `apply_residual_connection_post_layernorm` (the residual taken behind the norm, BERT's) is not done here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, options
from minibert.config import among, size
from minibert.corruption import masking, rules
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, inherited
from minibert.objective import Term

KIN = "bert"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(bert.Config):
    """The released model of 345 million parameters: BERT's fields with other defaults, and one variant more."""

    vocab_size: int = size(29056)
    hidden_size: int = size(1024, bert.WIDE)
    num_hidden_layers: int = size(24, bert.DEEP)
    num_attention_heads: int = size(16)
    intermediate_size: int = size(4096, bert.WIDE)
    # variants
    mlm_act: str = among("hidden_act", ("hidden_act", "gelu"))  # of the masked-LM head: the layers', or always by erf


def _size(depth: int, width: int, heads: int) -> dict[str, int]:
    sizes = {"num_hidden_layers": depth, "hidden_size": width, "num_attention_heads": heads}
    return {**sizes, "intermediate_size": 4 * width}


# section 5.3: the three models of BERT's kind
PRESETS = {"336m": _size(24, 1024, 16), "1.3b": _size(24, 2048, 32), "3.9b": _size(48, 2560, 40)}

PROBE = {**bert.PROBE, "mlm_act": "gelu"}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """BERT's, without the norm of the embeddings, and one behind the last layer."""
    found = bert.shapes(config)
    norm = found["embeddings"].pop("norm")
    return {**found, "norm": norm}


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values: normal, of a smaller deviation where a residual branch ends."""
    *_, parent, leaf = path.split(".")
    if leaf == "bias" or parent == "norm":
        return np.full(shape, float(leaf == "weight"))
    ends = path.startswith("encoder.") and parent in ("output", "out")
    std = config.initializer_range / ((2 * config.num_hidden_layers) ** 0.5 if ends else 1.0)
    return std * rng.standard_normal(shape)


# ---- Encoder ---------------------------------------------------------------------------------------------------------
LAYERS = bert.LAYERS
DROPPED_ENDS = {"attention": "attention.output", "feed_forward": "output"}


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(4) and B7: outputs by name, and the cache; as `bert.encode`, but that of hidden_states the last alone stands
    behind a norm.
    """
    c: Tree = {}
    h, c["embeddings"] = bert.embedded(p["embeddings"], config, inputs, PREFIX)  # (1)
    kept, seen = (inputs.get("dropout") or {}).get, layers.of_source(inputs.get("attention_mask"))

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        name = f"{LAYERS}{i}"
        dropped, rate = kept(f"{name}.attention.self.dropout"), config.attention_probs_dropout_prob
        return layers.pre_norm_layer(
            x,
            p,
            heads=config.num_attention_heads,
            act=config.hidden_act,
            eps=config.layer_norm_eps,
            mask=seen,
            masked=config.mask_constant,
            dropout=None if dropped is None else ops.dropout_multiplier(dropped, rate, x.dtype),
            keep={part: kept(f"{name}.{module}.dropout") for part, module in DROPPED_ENDS.items()},
            rate=config.hidden_dropout_prob,
        )

    hidden, c["encoder"] = layers.stack(layer, h, p["encoder"], keep)  # (2), (3)
    h, c["norm"] = ops.layer_norm(hidden[-1], **p["norm"], eps=config.layer_norm_eps)  # (4)
    out = layers.states([*hidden[:-1], h], c["encoder"], keep)
    if "pooler" in p:
        out["pooler_output"], c["pooler"] = layers.pooler(h, p["pooler"])
    return out, c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(4) and B7 from the cotangents of the outputs."""
    g: Tree = {}
    dh, dhidden = dout["last_hidden_state"], dout.get("hidden_states")
    if "pooler" in c:
        dh_pooler, g["pooler"] = layers.pooler_backward(dout["pooler_output"], c["pooler"])
        dh = kernels.add(dh, dh_pooler)
    if dhidden is not None:  # the last of them is the same array
        dh, dhidden = kernels.add(dh, dhidden[-1]), dhidden[:-1]
    dh, g["norm"] = ops.layer_norm_backward(dh, c["norm"])  # (4)
    dh, g["encoder"] = layers.stack_backward(layers.pre_norm_layer_backward, dh, c["encoder"], dhidden)  # (3), (2)
    return {"embeddings": layers.embeddings_backward(dh, c["embeddings"]), **g}  # (1)


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(5): BERT's two."""
    act = config.hidden_act if config.mlm_act == "hidden_act" else config.mlm_act
    return {**bert.terms(config), "masked_lm": bert.masked_lm_term(config, config.hidden_size, act)}


# ---- Data ------------------------------------------------------------------------------------------------------------
Data = options.Pairs


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Any, marked: Any = None) -> Tree:
    """Pairs of consecutive segments, half of them swapped, as the release makes them, nothing masked yet."""
    return makers.swapped_pairs(documents, rng, vocabulary, data.seq_length, data.short_rate, data.duplicates)


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Any, studied: Any = None) -> Tree:
    """The seven published fields of these rows, freshly masked: n-grams of up to three words, p(n) ∝ 1/n (the
    release's `create_masked_lm_predictions`, which is ALBERT's).
    """
    ids = rows["input_ids"]
    made = rules.ngram(ids, rows["input_mask"], rng, vocabulary, rate=data.rate, cap=data.slots)
    same = {name: rows[name] for name in ("input_mask", "segment_ids", "next_sentence_labels")}
    return {"input_ids": made.ids, **same, **masking.targets(ids, made.chosen, data.slots)}


# ---- Published names -------------------------------------------------------------------------------------------------
MODEL_TYPE = "megatron-bert"
PREFIX = bert.PREFIX
VARIANTS = (*bert.VARIANTS, "mlm_act")


def architectures(config: Config) -> dict[str, tuple[str, ...]]:
    """Published class -> the optional parts of the tree that it has."""
    return {f"Megatron{name}": parts for name, parts in bert.architectures(config).items()}


ENDS = ((".attention.output.LayerNorm.", ".attention.ln."), (".output.LayerNorm.", ".ln."))


def names(config: Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter: BERT's but for the norms."""
    rows = [row for row in bert.names(config) if not row[0].startswith("embeddings.norm.")]
    own = [(f"norm.{leaf}", f"bert.encoder.ln.{leaf}", "identity") for leaf in ("weight", "bias")]
    return [(path, _renamed(name), how) for path, name, how in rows] + own


def _renamed(name: str) -> str:
    return next((name.replace(*end) for end in ENDS if name.startswith(LAYERS) and end[0] in name), name)


def activations(config: Config) -> list[tuple[str, str, str, str]]:
    """As `bert.activations`: a norm in front of each sub-layer, whose sum is its output, and one behind the last."""
    ends = {"attention.output": "attention.add", "output": "feed_forward.add"}
    fronts = {"attention.self.query": ("attention.ln", "attention.norm"),
              "intermediate.dense": ("ln", "feed_forward.norm")}  # fmt: skip
    found = []
    for name, path, kind, place in bert.activations(config):
        if name == "bert.embeddings.LayerNorm":
            continue
        number = place.removeprefix("layer ")
        ours, within = f"{LAYERS}{number}.", f"encode.encoder.{number}."
        part = name.removeprefix(ours)
        if name.startswith(ours) and part in fronts:
            module, norm = fronts[part]
            found.append((f"{ours}{module}", f"{within}{norm}", "", place))
        if name == "bert.pooler.dense":
            found.append(("bert.encoder.ln", "encode.norm", "", "head"))
        path = f"{within}{ends[part]}" if name.startswith(ours) and part in ends else path
        found.append((name, path, kind, place))
    return found
