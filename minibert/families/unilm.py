"""UniLM: Unified Language Model Pre-training for Natural Language Understanding and Generation.

Dong, Yang, Wang, Wei, Liu, Wang, Gao, Zhou, Hon, 2019, arXiv 1905.03197. Released code: microsoft/unilm (`unilm-v1`:
fine-tuning and decoding; what mixes the objectives in pre-training is in the paper alone).

BERT except that which token may attend to which is data, a matrix M for each row, and that rows of four objectives are
mixed; a token t is there, or it is padding:

    bidirectional         M[q, k] = 1 where k is there, segments 0 and 1; with BERT's (10)                          (12)
    left to right         where k is there, k ≤ q; segment 2                                                        (13)
    right to left         where k is there, k ≥ q; segment 3; places are counted from the left all the same         (14)
    sequence to sequence  where k is there, and k is of the source or k ≤ q; segments 4 and 5, [SEP] its segment's  (15)
    shares                1/3, 1/6, 1/6, 1/3 of the rows                                                            (16)
    objective             L = L₁ + L₂ of BERT, L₂ the mean over the rows of (12)                                    (17)
    fine-tuning           (15) where places of the target alone are masked, its [SEP] too, with the share 0.7;
                          L₁ against q, 1 - ε at the label, 0 at padding, ε/(V - 2) elsewhere, less q's entropy     (18)
    first weights         BERT's; W_o of (3), W₂ of (5) in layer l = 1, 2, … divided by √(2l)                       (19)
    writing               what follows x_1 … x_t: (8) at t + 1 of x_1 … x_t [MASK] under (13), or where a [SEP] is
                          among them under (15), all up to it the source                                            (20)

Data, for all objectives alike: 15 % of the tokens are targets, one token at a time in 80 % of the draws, two or three
in a row in 20 %; 80 % of them become [MASK], 10 % a random token, 10 % stay. Source and target are masked alike.

Where the release deviates from the paper or is silent, and what is done here:
- the paper speaks of GPT's GELU, the release has the erf form; eps is 1e-5 there, 1e-12 in the later reader of the same
  files (s2s-ft): `hidden_act` and `layer_norm_eps` say.
- -10000 stands where M is 0; here the most negative number, as in BERT (`mask_constant`). They differ in the rows of M
  without a 1 alone: padding under (14), which nothing reads.
- fine-tuning masks round(0.7·n) places, n the tokens of the target without its [SEP]; at least one.
- 1e-5 is added to the number of targets: `mlm_denominator_eps`.
- left-to-right and right-to-left rows are one text, the others two that follow each other (half of (12)'s do not).
- what the release has switched off has no option here: matrices for each objective, four tables of places, the shifted
  target.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import options
from minibert.config import rate, require
from minibert.corruption import instances, masking, replacement, rules, selection, units
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, inherited
from minibert.heads import masked_target, weighted_next_sentence
from minibert.objective import Term
from minibert.options import option

KIN = "bert"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]

OBJECTIVES = ("bidirectional", "left-to-right", "right-to-left", "sequence-to-sequence")
BIDIRECTIONAL, LEFT, RIGHT, SEQUENCE = range(4)
SHARES = (1 / 3, 1 / 6, 1 / 6, 1 / 3)  # (16)
SEGMENTS = np.array([[0, 1], [2, 2], [3, 3], [4, 5]])  # of the first and the second text, by objective
LENGTHS = (0.8, 0.1, 0.1)  # shares of one, two and three tokens in a row


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(bert.Config):
    """UniLM-large as released (cased)."""

    vocab_size: int = 28996
    hidden_size: int = bert.size(1024, bert.WIDE)
    num_hidden_layers: int = bert.size(24, bert.DEEP)
    num_attention_heads: int = bert.size(16)
    intermediate_size: int = bert.size(4096, bert.WIDE)
    type_vocab_size: int = bert.size(6)
    layer_norm_eps: float = bert.number(1e-5, 0, 1)
    label_smoothing: float = rate(0.0)  # ε of (18)


PROBE = {**bert.PROBE, "type_vocab_size": 7, "label_smoothing": 0.2}
DIMS = {"B": 4, "T": 7}


# ---- Shapes, first weights -------------------------------------------------------------------------------------------
def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """(19): normal, of deviation `initializer_range`."""
    *above, parent, leaf = path.split(".")
    if leaf == "bias" or parent == "norm":
        return np.full(shape, float(leaf == "weight"))
    last = above[:1] == ["encoder"] and parent in ("output", "out")
    return config.initializer_range * rng.standard_normal(shape) / ((2 * (int(above[1]) + 1)) ** 0.5 if last else 1)


# ---- The masks -------------------------------------------------------------------------------------------------------
def seen(objectives: Array, present: Array, sources: Array) -> Array:
    """(12)-(15): M (B, T, T) int8, by each row's objective (B,), which tokens are there (B, T), and how many of them
    are the source's (B,).
    """
    at = np.arange(present.shape[1])
    q, k = at[:, None], at[None]
    behind = (k < sources[:, None, None]) | (k <= q)
    shown = np.broadcast_to([k >= 0 * q, k <= q, k >= q], (len(present), 3, len(at), len(at)))
    every = np.concatenate([shown, behind[:, None]], 1)[np.arange(len(present)), objectives]
    return (every & (present[:, None] != 0)).astype(np.int8)


def inputs(config: Config) -> dict[str, str]:
    """BERT's, its mask for each query its own."""
    return {**bert.inputs(config), "attention_mask": "?(B,T,T)?"}


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """BERT's, a row of each objective in turn: (12), (15), (13), (14)."""
    batch = bert.example(rng, config, {**DIMS, **(dims or {})})
    present, second = batch["input_mask"], batch["segment_ids"] != 0
    objectives = np.array([BIDIRECTIONAL, SEQUENCE, LEFT, RIGHT])[np.arange(len(present)) % 4]
    asked = {"next_sentence_weights": (objectives == BIDIRECTIONAL).astype(np.float32)}
    shown = _shown(objectives, present, second, config.type_vocab_size)
    return {**batch, **{name: array.astype(np.int64) for name, array in shown.items()}, **asked}


def _shown(objectives: Array, present: Array, second: Array, types: int = 6) -> Tree:
    """The matrices and segments of rows, of whose tokens (B, T) some are of a second text."""
    sources = ((present != 0) & ~second).sum(1)
    segments = SEGMENTS[objectives[:, None], second.astype(int)] * (present != 0) % types
    return {"input_mask": seen(objectives, present, sources), "segment_ids": segments.astype(np.int32)}


def read(encodings: list, pad: int | None) -> dict[str, Array]:
    """Encoded texts under (12)."""
    found = bert.read(encodings, pad)
    objectives = np.full(len(encodings), BIDIRECTIONAL)
    return {**found, "attention_mask": seen(objectives, found["attention_mask"], objectives)}


def writing(ids: Array, present: Array, end: int) -> Tree:
    """(20): the inputs of rows (N, T) that are written on, padded at the end; end: the id of [SEP]."""
    ended = (ids == end) & (present != 0)
    second = (ended.cumsum(1) - ended) > 0
    shown = _shown(np.where(ended.any(1), SEQUENCE, LEFT), present, second)
    return {"input_ids": ids, "attention_mask": shown["input_mask"], "token_type_ids": shown["segment_ids"]}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(17), (18)"""
    masked = bert.terms(config)["masked_lm"]
    if config.label_smoothing:
        smoothed = {"smoothing": config.label_smoothing, "padding": config.pad_token_id}
        masked = masked._replace(head=masked_target, constants={**masked.constants, **smoothed})
    paired = Term(weighted_next_sentence, "nsp", "pooler_output", {"width": config.hidden_size})
    return {"masked_lm": masked, "next_sentence": paired}


# ---- Data ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Data(options.Pairs):
    """What the data functions ask for."""

    masking: str = option("dynamic", "mask a row once, or anew each time that it is served",
                          among=("static", "dynamic"))  # fmt: skip
    objective: str = option("mixed", "what is asked of rows: all four in their shares, one of them, or fine-tuning: "
                            "source and target, the target masked", among=("mixed", *OBJECTIVES, "fine-tuning"))
    target_rate: float = option(0.7, "in fine-tuning, ask for this share of a target's tokens", least=0.01, most=1)

    @property
    def slots(self) -> int:
        """The targets that a row has room for."""
        share = self.target_rate if self.objective == "fine-tuning" else self.rate
        return self.max_predictions or max(1, round(share * self.seq_length))


DEFAULTS: Tree = {"duplicates": 4, "lowercase": False}


def drawn(count: int, rng: np.random.Generator, objective: str = "mixed") -> Array:
    """(16): the objectives of so many rows, (count,); of "fine-tuning" all are (15)."""
    if objective == "mixed":
        return np.searchsorted(np.cumsum(SHARES)[:-1], rng.random(count), side="right")
    return np.full(count, SEQUENCE if objective == "fine-tuning" else OBJECTIVES.index(objective))


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, marked: Any = None) -> Tree:
    """As many rows as BERT makes pairs, nothing masked yet:

        input_ids, present, second (N, T)   ids, 1 = there, 1 = of the second text
        objectives, next_sentence_labels (N,)
    """
    pairs = instances.pairs(documents, rng, vocabulary, data.seq_length, data.short_rate, data.duplicates)
    following = {name: array[pairs["next_sentence_labels"] == 0] for name, array in pairs.items()}
    texts = makers.document_rows(documents, rng, vocabulary, data.seq_length, data.duplicates)
    texts["next_sentence_labels"] = np.zeros(len(texts["input_ids"]), np.int32)
    objectives = drawn(len(pairs["input_ids"]), rng, data.objective)
    pools, found = (pairs, texts, texts, following), {}
    for objective, pool in enumerate(pools):
        (at,) = np.nonzero(objectives == objective)
        there = len(pool["input_ids"]) or not len(at)
        require(there, f"no text follows another, as {OBJECTIVES[objective]} rows need: give longer documents")
        order = rng.permutation(len(pool["input_ids"]))
        for name, array in pool.items():
            held = found.setdefault(name, np.zeros((len(objectives), *array.shape[1:]), np.int32))
            held[at] = array[order[np.arange(len(at)) % max(1, len(order))]] if len(at) else 0
    return {
        "input_ids": found["input_ids"], "present": found["input_mask"], "second": found["segment_ids"],
        "objectives": objectives.astype(np.int32), "next_sentence_labels": found["next_sentence_labels"],
    }  # fmt: skip


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, studied: Any = None) -> Tree:
    """These rows with masks freshly drawn, their matrices and their targets."""
    ids, present, second = rows["input_ids"], rows["present"], rows["second"]
    if data.objective == "fine-tuning":
        chosen = target_tokens(ids, present, second, rng, vocabulary, data)
        made = ids.copy()
        made[chosen] = replacement.replacement(ids[chosen], rng, vocabulary)
    else:
        single = {"rate": data.rate, "cap": data.slots, "starts": np.ones(ids.shape, bool), "lengths": LENGTHS}
        made, chosen, *_ = rules.ngram(ids, present, rng, vocabulary, **single)
    return {
        "input_ids": made,
        **_shown(rows["objectives"], present, second != 0),
        **masking.targets(ids, chosen, data.slots),
        "next_sentence_labels": rows["next_sentence_labels"],
        "next_sentence_weights": (rows["objectives"] == BIDIRECTIONAL).astype(np.float32),
    }


def filled(sources: list, targets: list, rng: np.random.Generator, vocabulary: Vocabulary, room: int) -> Tree:
    """(18): a batch of [CLS] source [SEP] target [SEP], ids as encoded, the target cut to half of the `room`, the
    source to what is left; each keeps its end.
    """
    def cut(ids: list, most: int) -> list:
        return ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]

    behind = [cut(target[1:], room // 2) for target in targets]
    parts = [(cut(source, room - len(target)), target) for source, target in zip(sources, behind, strict=True)]
    sizes = np.array([(len(source), len(source) + len(target)) for source, target in parts])
    width = max(8, int(sizes.max()))
    ids, objectives = np.full((len(parts), width), vocabulary.pad, np.int32), np.full(len(parts), SEQUENCE, np.int32)
    present = np.arange(width) < sizes[:, 1:]
    ids[present] = [i for source, target in parts for i in (*source, *target)]
    second = present & (np.arange(width) >= sizes[:, :1])
    made = {"input_ids": ids, "present": present, "second": second, "objectives": objectives}
    data = Data(objective="fine-tuning", seq_length=width)
    return corrupt({**made, "next_sentence_labels": 0 * objectives}, rng, vocabulary, data)


def target_tokens(
    ids: Array, present: Array, second: Array, rng: np.random.Generator, vocabulary: Vocabulary, data: Data
) -> Array:  # fmt: skip
    """(18): which places (B, T) are asked, of the second text's tokens and its [SEP]."""
    candidates = (present != 0) & (second != 0)
    count = masking.budget(candidates.sum(1) - 1, data.target_rate, data.slots)
    return selection.selection(units.units(candidates, candidates), count, rng) >= 0
