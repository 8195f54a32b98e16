"""ALBERT: A Lite BERT for Self-supervised Learning of Language Representations.

Lan, Chen, Goodman, Gimpel, Sharma, Soricut, 2019, arXiv 1909.11942. Released code: google-research/albert
(`modeling.py`, `create_pretraining_data.py`, `lamb_optimizer.py`). BERT (`bert.py`, equations B1 to B11) except:

    embeddings   e = Drop(LN(E_word[x] + E_position[t] + E_type[s])), all of width E                           (1)
    factorised   h⁰ = e W_eᵀ + b_e, W_e (D, E): V·E + E·D parameters for V·D                                   (2)
    sharing      layer l of N is group ⌊l / (N/G)⌋ of G: its inner layers one after another, each B2 to B6,
                 with the same parameters wherever the group is used; the gradient is the sum over the uses    (3)
    MLM head     z = LN(act(h[m] W_zᵀ + b_z)) E_wordᵀ + b_V, W_z (E, D), LN and table of width E               (4)
    SOP loss     L₂ = mean of -log softmax(Drop(r) W_sᵀ + b_s)[label], r the pooled B7,
                 label 0 = A stands before B in the text, 1 = they were swapped                                (5)
    objective    L = L₁ + L₂, L₁ the masked-LM loss B9 of (4)                                                  (6)

What is shared (the paper's table 4): "all" sub-layers of a group's uses, "attention" alone, "ffn" alone, or "none";
a norm goes with its sub-layer. The release knows "all" alone. What is not shared is stored for every layer, under the
name that it would have with as many groups as layers: "none" is that configuration.

Where the release deviates from the paper or ports from the release, and what is done here:
- act is the tanh form in the release: "gelu_new" in published configurations of version 2, but "gelu" in version 1's.
- (2) is there for E = D too in ports; the release then goes without: `square_map=False`.
- B6 has no dropout of f in ports; the release has it: `feed_forward_dropout=True`. (5) has its dropout in ports alone.
- version 2 and xxlarge were trained without dropout, version 1 with 0.1; the mask constant, the denominator of B9 and
  the padding row as in BERT.
- the paper's xlarge and xxlarge (60M, 235M) have 58,724,864 and 222,595,584 parameters.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, ops, options, tree
from minibert.config import among, rate, require, size
from minibert.corruption import masking, rules
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, inherited
from minibert.heads import sentence_order
from minibert.objective import Term
from minibert.options import option

KIN = "bert"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]

# ---- Configuration ---------------------------------------------------------------------------------------------------
PARTS = ("attention", "feed_forward")
PREFIX = "albert."  # of the encoder's names in published models with heads
SHARING = {"all": PARTS, "attention": ("attention",), "ffn": ("feed_forward",), "none": ()}  # the parts shared


@dataclass(frozen=True)
class Config(bert.Config):
    """ALBERT-base, version 2, under the published field names, and the named variants of this engine."""

    vocab_size: int = 30000
    embedding_size: int = size(128, bert.WIDE)
    num_hidden_groups: int = size(1)
    inner_group_num: int = size(1)
    hidden_act: str = "gelu_new"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    classifier_dropout_prob: float = rate(0.1)
    # variants
    sharing: str = among("all", SHARING)
    square_map: bool = True  # False: no map (2) where embedding_size is hidden_size
    feed_forward_dropout: bool = False  # True: the release's dropout in B6

    def __post_init__(self) -> None:
        super().__post_init__()
        most = {"num_hidden_groups": self.num_hidden_layers, "inner_group_num": max(1, 1024 // self.num_hidden_layers)}
        for name, limit in most.items():
            fits = getattr(self, name) <= limit
            require(fits, f"config field {name!r} is {getattr(self, name)}; allowed: 1 to {limit}")

    def group(self, layer: int) -> int:
        """The group of a layer: each is so many layers in a row, divided as ports do."""
        return int(layer / (self.num_hidden_layers / self.num_hidden_groups))

    def inner(self) -> range:
        """The inner layers of a group in the order in which they run."""
        return range(self.inner_group_num)


def _size(depth: int, width: int) -> dict[str, int]:
    heads = {"num_attention_heads": width // 64}
    return {"num_hidden_layers": depth, "hidden_size": width, **heads, "intermediate_size": 4 * width}


# the paper's table 1
PRESETS = {"xxlarge": _size(12, 4096), "xlarge": {**_size(24, 2048), "num_attention_heads": 16},
           "large": _size(24, 1024), "base": _size(12, 768)}  # fmt: skip

# small, and every field away from its default: for checks
PROBE = {
    **bert.PROBE,
    "embedding_size": 6,
    "num_hidden_layers": 3,
    "num_hidden_groups": 2,
    "inner_group_num": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 0.02,  # six inner layers: less would leave finite differences too little to go by
    "classifier_dropout_prob": 0.25,
    "sharing": "attention",
    "square_map": False,
    "feed_forward_dropout": True,
}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def uses(config: Config) -> list[dict[str, int]]:
    """(3) For each inner layer in the order of the computation: {part: the entry of p["encoder"] that it takes}."""
    inner, shared = config.inner_group_num, SHARING[config.sharing]
    return [
        {part: (config.group(layer) if part in shared else layer) * inner + i for part in PARTS}
        for layer in range(config.num_hidden_layers)
        for i in config.inner()
    ]


def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(3) and B7: the one place where they are written.

    An entry of "encoder" lacks the part that is shared with an earlier one.
    """
    d, e, f, v = config.hidden_size, config.embedding_size, config.intermediate_size, config.vocab_size

    def dense(n_out: int, n_in: int) -> Tree:
        return {"weight": (n_out, n_in), "bias": (n_out,)}

    def norm(n: int) -> Tree:
        return {"weight": (n,), "bias": (n,)}

    layer = {
        "attention": {**{name: dense(d, d) for name in ("query", "key", "value", "output")}, "norm": norm(d)},
        "feed_forward": {"in": dense(f, d), "out": dense(d, f), "norm": norm(d)},
    }
    stored = {(part, i) for use in uses(config) for part, i in use.items()}
    entries = 1 + max(i for _, i in stored)
    return {
        "embeddings": {
            "word": {"weight": (v, e)},
            "position": {"weight": (config.max_position_embeddings, e)},
            "token_type": {"weight": (config.type_vocab_size, e)},
            "norm": norm(e),
        },
        **({"map": dense(d, e)} if e != d or config.square_map else {}),
        "encoder": [{part: layer[part] for part in PARTS if (part, i) in stored} for i in range(entries)],
        "pooler": dense(d, d),
    }


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """BERT's small batch of every kind of trouble, with this family's labels and dropout masks."""
    batch = bert.example(rng, config, dims)
    batch["sentence_order_labels"] = batch.pop("next_sentence_labels")
    rows, length = batch["input_ids"].shape
    return {**batch, "dropout": layers.keep_masks(rng, dropouts(config, {"B": rows, "T": length}))}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of every dropout's keep-mask, under the names of the published dropout modules (see `_calls`)."""
    rows, length = dims["B"], dims["T"]
    wide, square = (rows, length, config.hidden_size), (rows, config.num_attention_heads, length, length)
    places = {"albert.embeddings.dropout": ((rows, length, config.embedding_size), config.hidden_dropout_prob)}
    for call in _calls(config):
        places[call["attention"].format("attention.attention_dropout")] = square, config.attention_probs_dropout_prob
        places[call["attention"].format("attention.output_dropout")] = wide, config.hidden_dropout_prob
        if config.feed_forward_dropout:
            places[call["feed_forward"].format("dropout")] = wide, config.hidden_dropout_prob
    return {**places, "sop_classifier.dropout": ((rows, config.hidden_size), config.classifier_dropout_prob)}


def _calls(config: Config) -> list[dict[str, str]]:
    """For each inner layer in the order of the computation: {part: published name of a module in it, with "{}"}.

    The n-th call after a module's first has "@n" behind its name.
    """
    before: Counter = Counter()
    found = []
    for use in uses(config):
        found.append({part: f"{_module(config, i)}.{{}}{_again(before[part, i])}" for part, i in use.items()})
        before.update(use.items())
    return found


def _again(n: int) -> str:
    return f"@{n}" if n else ""


def _module(config: Config, entry: int) -> str:
    group, i = divmod(entry, config.inner_group_num)
    return f"albert.encoder.albert_layer_groups.{group}.albert_layers.{i}"


# ---- Encoder ---------------------------------------------------------------------------------------------------------
def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(3), B7: outputs by name, and the cache; `inputs` as BERT's, and "dropout" where something is dropped.

    hidden_states: 1 + N·inner arrays (B, T, D), the first what enters the first layer; attentions, one for each inner
    layer, and pooler_output as in BERT.
    """
    c: Tree = {"uses": uses(config)}
    h, c["embeddings"] = bert.embedded(p["embeddings"], config, inputs, PREFIX)  # (1)
    if "map" in p:
        h, c["map"] = ops.linear(h, **p["map"])  # (2)
    ps = [{part: p["encoder"][i][part] for part, i in use.items()} for use in c["uses"]]  # (3)
    given = {"mask": inputs.get("attention_mask"), "dropout": _layers_dropout(config, inputs.get("dropout") or {})}
    hidden, c["encoder"] = layers.encoder(h, ps, config, **given, prefix="", keep=keep)
    out = layers.states(hidden, c["encoder"], keep)
    if "pooler" in p:
        out["pooler_output"], c["pooler"] = layers.pooler(hidden[-1], p["pooler"])
    return out, c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(3), B7 from the cotangents of last_hidden_state, of pooler_output
    where there is a pooler, and, where given, of hidden_states."""
    g: Tree = {}
    dh = dout["last_hidden_state"]
    if "pooler" in c:
        dh_pooler, g["pooler"] = layers.pooler_backward(dout["pooler_output"], c["pooler"])
        dh = dh + dh_pooler
    dh, gs = layers.encoder_backward(dh, c["encoder"], dout.get("hidden_states"))
    g["encoder"] = _summed(gs, c["uses"])  # (3)
    if "map" in c:
        dh, g["map"] = ops.linear_backward(dh, c["map"])  # (2)
    return {"embeddings": layers.embeddings_backward(dh, c["embeddings"]), **g}  # (1)


def _summed(gs: list[Tree], uses: list[dict[str, int]]) -> list[Tree]:
    """The gradients of the stored parts: each the sum over its uses."""
    stored: dict[int, Tree] = {}
    for g, use in zip(gs, uses, strict=True):
        for part, i in use.items():
            entry = stored.setdefault(i, {})
            entry[part] = tree.add(entry[part], g[part]) if part in entry else g[part]
    return [stored[i] for i in range(len(stored))]


def _layers_dropout(config: Config, dropout: Tree) -> Tree:
    """The keep-masks under the names that `layers.encoder` asks for."""
    masks = {}
    for i, call in enumerate(_calls(config)):
        masks[f"{i}.attention.self.dropout"] = dropout.get(call["attention"].format("attention.attention_dropout"))
        masks[f"{i}.attention.output.dropout"] = dropout.get(call["attention"].format("attention.output_dropout"))
        masks[f"{i}.output.dropout"] = dropout.get(call["feed_forward"].format("dropout"))
    return masks


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(6): L₁ + L₂."""
    dropout = "sop_classifier.dropout", config.classifier_dropout_prob
    return {
        "masked_lm": bert.masked_lm_term(config, config.embedding_size, config.hidden_act),  # (4)
        "sentence_order": Term(
            sentence_order, "sop", "pooler_output", {"width": config.hidden_size}, dropout=dropout
        ),  # (5)
    }


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "unigram"
# LAMB's rate is a share of each tensor's norm: it does not depend on the width
DEFAULTS: Tree = {"optimizer": "lamb", "learning_rate": 5e-3}
NARROW = {**bert.NARROW, "embedding_size": 32}
QUICK = {**bert.QUICK, "embedding_size": 32}
FORMATS = {"sentence-order": makers.ordered_pairs, "next-sentence": makers.pairs}
UNITS = {"ngrams": rules.ngram, "words": rules.whole_word, "pieces": rules.bert}


@dataclass(frozen=True)
class Data(options.Pairs):
    """What the data functions ask for."""

    format: str = option("sentence-order", "make pairs of this kind; next-sentence: BERT's", among=tuple(FORMATS))
    units: str = option("ngrams", "mask these together (section 4.1)", among=tuple(UNITS))


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, marked: Any = None) -> Tree:
    """Pairs of consecutive segments, half of them swapped (section 3.1; `makers.ordered_pairs`), nothing masked yet."""
    make = FORMATS[data.format]
    made = make(documents, rng, vocabulary, data.seq_length, data.short_rate, data.duplicates)
    return {"sentence_order_labels" if name.endswith("labels") else name: array for name, array in made.items()}


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, studied: Any = None) -> Tree:
    """The seven fields of these rows, freshly masked: n-grams of up to three words (section 4.1), or other units."""
    ids, present = rows["input_ids"], rows["input_mask"]
    made = UNITS[data.units](ids, present, rng, vocabulary, rate=data.rate, cap=data.slots, starts=rows.get("starts"))
    targets = masking.targets(ids, made.chosen, data.slots)
    same = {name: rows[name] for name in ("input_mask", "segment_ids", "sentence_order_labels")}
    return {"input_ids": made.ids, **same, **targets}
