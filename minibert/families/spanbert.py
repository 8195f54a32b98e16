"""SpanBERT: Improving Pre-training by Representing and Predicting Spans.

Joshi, Chen, Liu, Weld, Zettlemoyer, Levy, 2019, arXiv 1907.10529. Released code: facebookresearch/SpanBERT
(`pretraining/fairseq`: `models/pair_bert.py`, `criterions/spanbert_loss.py`, `data/masking.py`).

BERT except (10), (11): there is no next-sentence prediction, and the pooler (7) is not trained. For each token x_i of a
masked span x_s … x_e, with the embedding p of its place i - s (the paper's index counts from 1, the table from 0):

    input        u⁰ = [h^L_{s-1}; h^L_{e+1}; p_{i-s}], of width 2D + 200                                       (12)
    two layers   u¹ = LN(act(u⁰ W₁ᵀ + b₁)), u² = LN(act(u¹ W₂ᵀ + b₂)), both of width D                         (13)
    SBO head     y = u² E_wordᵀ + b_S: the table of (1) and (8), another bias than (8)                         (14)
    SBO loss     L₃ = mean over the tokens of all spans of -log softmax(y)[x_i]                                (15)
    objective    L = L₁ + L₃                                                                                   (16)

Where the release deviates from the paper, and what is done here:
- (16): the paper adds both terms token by token, L = Σ_i (-log P_MLM(x_i) - log P_SBO(x_i)). The release divides the
  first sum by the number of masked tokens, the second by the number of its targets + 1. Here both are plain means.
- (16): its trainer then divides the gradients by the number of masked tokens once more, which Adam all but cancels.
- (14): the release scores all offsets of a span and passes over those behind its end; here a slot is a token. Spans
  beside [CLS] or [SEP], and tokens beyond `max_span` of a longer span, have no target.
- (12): p is 200 wide whatever D is (`span_position_size`). The table has `max_span` rows: 15 in the README's command,
  20 by the flag's default.
- (13): eps is 1e-12 in the release's code; here `layer_norm_eps`, which is 1e-12 in the published configurations.
- weight decay falls on norms and biases too in the release (one parameter group); its Adam corrects its bias.
- published directories call themselves BERT's, without (12)-(14); their pooler, where they have one, is random.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import layers, ops
from minibert.config import require
from minibert.corruption import masking, rules
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert
from minibert.families.bert import (  # noqa: F401 (INPUTS … longest: BERT's own)
    INPUTS,
    OUTPUTS,
    SPELLINGS,
    dropout_places,
    encode,
    encode_backward,
    longest,
    masked_logits,
)
from minibert.pairs import block, block_backward

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(bert.Config):
    """SpanBERT-base as released (cased): BERT's fields and the two sizes of (12)."""

    vocab_size: int = 28996
    span_position_size: int = 200
    max_span: int = 15

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("span_position_size", "max_span"):
            value = getattr(self, name)
            require(0 < value <= 2**20, f"config field {name!r} is {value}; allowed: 1 to {2**20}")


PRESETS = bert.PRESETS
PROBE = {**bert.PROBE, "span_position_size": 5, "max_span": 3}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter: BERT's but the next-sentence head, and the boundary objective's. Published files
    may bring a pooler.
    """
    d, v, width = config.hidden_size, config.vocab_size, config.span_position_size
    norm = {"weight": (d,), "bias": (d,)}

    def layer(n_in: int) -> Tree:
        return {"dense": {"weight": (d, n_in), "bias": (d,)}, "norm": norm}

    parts = bert.shapes(config)
    return {
        **{part: parts[part] for part in ("embeddings", "encoder", "pooler", "mlm")},
        "sbo": {
            "position": {"weight": (config.max_span, width)},
            "first": layer(2 * d + width),
            "second": layer(d),
            "decoder": {"bias": (v,)} if config.tie_word_embeddings else {"weight": (v, d), "bias": (v,)},
        },
    }


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, rows: int = 3, length: int = 7, targets: int = 3) -> Tree:
    """BERT's, with spans in place of its pairs: one in each row, whose last slot is unused in the last row."""
    batch = bert.example(rng, config, rows, length, targets)
    del batch["next_sentence_labels"]
    last = batch["input_mask"].sum(axis=1) - 1
    left = rng.integers(0, last - 1)
    right = rng.integers(left + 2, last + 1)
    within = np.minimum(right - left - 1, config.max_span)
    used = np.ones((rows, targets), np.int64)
    used[-1, -1] = 0
    return {
        **batch,
        "span_boundaries": np.stack([left, right], axis=-1)[:, None] * used[:, :, None],
        "span_positions": rng.integers(0, within[:, None], (rows, targets)) * used,
        "span_ids": rng.integers(0, config.vocab_size, (rows, targets)) * used,
    }


# ---- Heads -----------------------------------------------------------------------------------------------------------
@block
def sbo_head(
    left: Array, right: Array, p: Tree, table: Array, *, places: Array, act: str, eps: float
) -> tuple[Array, Tree]:
    """(12)-(14): the states beside a span (…, D) and the token's place in it (…) -> (…, V); table (V, D)."""
    c: Tree = {}
    e, c["position"] = ops.embedding(**p["position"], ids=places)
    u = np.concatenate([left, right, e], axis=-1)  # (12)
    for name in ("first", "second"):  # (13)
        c[name] = {}
        u, c[name]["dense"] = ops.linear(u, **p[name]["dense"])
        u, c[name]["act"] = layers.activation(u, name=act)
        u, c[name]["norm"] = ops.layer_norm(u, **p[name]["norm"], eps=eps)
    y, c["decoder"] = ops.linear(u, weight=table, bias=p["decoder"]["bias"])  # (14)
    return y, c


@block_backward
def sbo_head_backward(dy: Array, c: Tree) -> tuple[Array, Array, Tree, Array]:
    """(dleft, dright, g, dtable)."""
    g: Tree = {}
    du, decoder = ops.linear_backward(dy, c["decoder"])  # (14)
    dtable, g["decoder"] = decoder["weight"], {"bias": decoder["bias"]}
    width = du.shape[-1]
    for name in ("second", "first"):  # (13)
        du, norm = ops.layer_norm_backward(du, c[name]["norm"])
        du = layers.activation_backward(du, c[name]["act"])
        du, dense = ops.linear_backward(du, c[name]["dense"])
        g[name] = {"dense": dense, "norm": norm}
    g["position"] = ops.embedding_backward(du[..., 2 * width :], c["position"])  # (12)
    return du[..., :width], du[..., width : 2 * width], g, dtable


# ---- Objective -------------------------------------------------------------------------------------------------------
LABELS = {
    "masked_lm_positions": "(B,M)<T",
    "masked_lm_ids": "(B,M)<vocab_size",
    "masked_lm_weights": "(B,M)+",
    "span_boundaries": "(B,N,2)<T",
    "span_positions": "(B,N)<max_span",
    "span_ids": "(B,N)<vocab_size",
}
TERMS = ("masked_lm", "span_boundary")
HEADS = ("mlm", "sbo")


def loss(
    p: Tree,
    config: Config,
    batch: Tree,
    *,
    denominators: dict[str, float] | None = None,
    keep: str = "caches",
    dense: bool = False,
) -> tuple[Array, Tree]:
    """(16) The loss of a batch (INPUTS, LABELS), and its cache; as `bert.loss`. A slot counts for (15) where a token
    lies between its boundaries; only those reach the vocabulary, unless `dense`.
    """
    c: Tree = {"tied": config.tie_word_embeddings}
    given = denominators or {}
    out, c["encode"] = encode(p, config, batch, keep=keep)
    h = out["last_hidden_state"]
    head = {"act": config.hidden_act, "eps": config.layer_norm_eps}
    total = given.get("masked_lm", np.sum(batch["masked_lm_weights"], dtype=h.dtype)) + config.mlm_denominator_eps
    masked_lm, parts = layers.masked_lm(  # (8), (9)
        h, p["mlm"], layers.decoder_table(p, config), batch, **head, total=total, dense=dense
    )
    c |= parts
    rows, (left, right), places, labels, weights = _slots(batch, h.shape[1], dense)
    states = h.reshape(rows, -1, h.shape[2])
    left, c["left"] = ops.gather(states, positions=left)
    right, c["right"] = ops.gather(states, positions=right)
    table = layers.decoder_table(p, config, "sbo")
    y, c["sbo"] = sbo_head(left, right, p["sbo"], table, places=places, **head)  # (12)-(14)
    span_boundary, c["span_boundary"] = ops.cross_entropy(  # (15)
        y, labels=labels, weights=weights.astype(h.dtype), denominator=given.get("span_boundary")
    )
    c["pooled"] = out.get("pooler_output")
    c["terms"] = {"masked_lm": masked_lm, "span_boundary": span_boundary}
    return masked_lm + span_boundary, c  # (16)


def loss_backward(c: Tree) -> Tree:
    """d loss / d every parameter, a tree like p; a pooler gets 0."""
    g: Tree = {}
    one = np.ones_like(c["terms"]["masked_lm"])
    dy = ops.cross_entropy_backward(one, c["span_boundary"])  # (15)
    dleft, dright, g["sbo"], dtable_sbo = sbo_head_backward(dy, c["sbo"])  # (14)-(12)
    dh, g["mlm"], dtable_mlm = layers.masked_lm_backward(one, c)  # (9), (8)
    dstates = ops.gather_backward(dleft, c["left"]) + ops.gather_backward(dright, c["right"])
    dh = dh + dstates.reshape(dh.shape)
    dpooled = None if c["pooled"] is None else np.zeros_like(c["pooled"])
    g |= encode_backward({"last_hidden_state": dh, "pooler_output": dpooled}, c["encode"])  # (7)-(1)
    g = layers.decoder_table_backward(dtable_mlm, g, c["tied"])
    return layers.decoder_table_backward(dtable_sbo, g, c["tied"], "sbo")


def _used(batch: Tree) -> Array:
    """Bool (B, N): the slots with a token between their boundaries."""
    return batch["span_boundaries"][..., 1] >= batch["span_boundaries"][..., 0] + 2


def _slots(batch: Tree, length: int, dense: bool) -> tuple[int, Array, Array, Array, Array]:
    """(R, boundaries (2, R, n), places, labels and weights (R, n)) of the used slots as one row of B·T states, R = 1;
    with `dense` of all slots, R = B.
    """
    used, edges = _used(batch), np.moveaxis(batch["span_boundaries"], -1, 0)
    places, labels = batch["span_positions"], batch["span_ids"]
    if dense:
        return len(used), edges, places, labels, used
    edges = edges + np.arange(len(used))[:, None] * length
    return 1, edges[:, None, used], places[None, used], labels[None, used], used[None, used]


def counts(batch: Tree) -> dict[str, float]:
    """How many targets a batch has for each term: what its sum is divided by."""
    return {"masked_lm": float(np.sum(batch["masked_lm_weights"], dtype=np.float64)),
            "span_boundary": float(_used(batch).sum())}  # fmt: skip


def correct(c: Tree) -> dict[str, tuple[int, int, int | None]]:
    """(right, counted, None) of each term's predictions in a loss cache."""
    return {term: layers.right(c[term]) for term in TERMS}


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "wordpiece"
# Masks are drawn anew whenever a row is served, so one pass makes the rows; the vocabulary is cased (section 4). After
# 3000 updates of the quick preset the boundary objective is still worse than unigrams on text held out, not after 6000.
PRETRAINING = {
    "options": {"steps": 6000, "masking": "dynamic", "duplicates": 1, "lowercase": False},
    "formats": {"": {"max_span": Config.max_span}},  # `corrupted` gives so many tokens of a span a target
}


class Frequencies:
    """The tokens of a text as a pool to draw from, in the order of their ids, from how often each stands in it (V,)."""

    def __init__(self, counts: Array) -> None:
        self.ends = np.cumsum(counts)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, places: Array) -> Array:
        return np.searchsorted(self.ends, places, side="right")


def learnt(tokenizer: Any, options: Any, counted: Callable) -> Frequencies:
    """The training text's tokens, from which random ones are drawn by frequency, as in the release."""
    counts = counted(_tokens)
    return Frequencies(np.array([counts[i] for i in range(len(tokenizer))]))


def _tokens(tokenizer: Any, options: Any, texts: list) -> Counter:
    return Counter(i for document in texts for sentence in document for i in tokenizer.ids(sentence))


def sequences(
    documents: list, rng: np.random.Generator, vocabulary: Vocabulary, options: Any, given: Any = None
) -> Tree:
    """[CLS] consecutive whole sentences of one document [SEP] (section 3.3), nothing masked yet."""
    return makers.single_sequence(documents, rng, vocabulary, options.seq_length, options.duplicates)


def corrupted(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, options: Any, learnt: Any = None) -> Tree:
    """These rows with freshly masked spans (section 3.1), and the targets of both terms."""
    ids, present = rows["input_ids"], rows["input_mask"]
    slots = options.max_predictions or math.ceil(options.rate * ids.shape[1])
    made = rules.span(ids, present, rng, vocabulary, rate=options.rate, cap=slots, pool=learnt)
    candidates = masking.candidates(ids, present, vocabulary)
    return {
        **{name: rows[name] for name in ("input_mask", "segment_ids")},
        "input_ids": made.ids,
        **masking.targets(ids, made.chosen, slots),
        **masking.span_targets(ids, candidates, made.groups, slots, Config.max_span),
    }


# ---- Published names -------------------------------------------------------------------------------------------------
MODEL_TYPE = "bert"
ARCHITECTURES = {
    "BertModel": ("pooler",),
    "BertForMaskedLM": HEADS,
    "BertForPreTraining": ("pooler", *HEADS),
}
PREFIX = bert.PREFIX
VARIANTS = (*bert.VARIANTS, "span_position_size", "max_span")
SBO = "cls.pair_target_predictions"


def names(config: Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter."""
    modules = [("sbo.position", "position_embeddings", ("weight",))]
    for i, path in enumerate(("first", "second"), start=1):
        for part, name in (("dense", "linear"), ("norm", "layer_norm")):
            modules.append((f"sbo.{path}.{part}", f"mlp_layer_norm.{name}{i}", ("weight", "bias")))
    rows = [(f"{path}.{leaf}", f"{SBO}.{name}.{leaf}", "identity") for path, name, leaves in modules for leaf in leaves]
    rows.append(("sbo.decoder.bias", f"{SBO}.bias", "identity"))
    if not config.tie_word_embeddings:
        rows.append(("sbo.decoder.weight", f"{SBO}.decoder.weight", "identity"))
    return [row for row in bert.names(config) if not row[0].startswith("nsp.")] + rows


def aliases(config: Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    tied = {f"{SBO}.decoder.weight": "bert.embeddings.word_embeddings.weight"} if config.tie_word_embeddings else {}
    return {**bert.aliases(config), **tied}


def unused(config: Config) -> tuple[str, ...]:
    """Names in published files that no equation reads: a next-sentence head, too."""
    return (*bert.unused(config), "cls.seq_relationship.weight", "cls.seq_relationship.bias")


def activations(config: Config) -> list[tuple[str, str, str]]:
    """As `bert.activations`; the outputs of (12)-(14) are (B, N, …), a row for each slot."""
    sbo = [
        (f"{SBO}.{name}", f"sbo.{path}", "")
        for name, path in (
            ("position_embeddings", "position"),
            ("mlp_layer_norm.linear1", "first.dense"),
            ("mlp_layer_norm.layer_norm1", "first.norm"),
            ("mlp_layer_norm.linear2", "second.dense"),
            ("mlp_layer_norm.layer_norm2", "second.norm"),
        )
    ]
    table = [row for row in bert.activations(config) if not row[0].startswith(("bert.pooler", "cls.seq"))]
    return [*table, *sbo, (SBO, "sbo", "")]
