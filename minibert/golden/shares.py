"""The laws of corruption rules and of sentence order, as data: what always holds, and what shares come out.

A law's text.json has the rule's name and numbers, a vocabulary, "always" (what of a batch must be so), "statistics"
(of so many draws how many, beside what is expected) and an example. `broken` asks a rule of anybody's for the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minibert.corruption import masking, rules, sequences
from minibert.corruption import units as unit
from minibert.corruption.masking import Vocabulary
from minibert.corruption.replacement import ordinary
from minibert.corruption.rules import Corruption
from minibert.golden.draws import Draws

Array = np.ndarray
Rule = Callable[..., Any]
SIGMAS = 5.0
SIZE, CONTINUING = 60, 40  # pieces; those from here on continue a word
ROWS, LENGTH = 2000, 40
ORDER = "sentence-order"


@dataclass(frozen=True)
class Law:
    """A rule with its numbers, what its shares should be (None: as counted), what never happens, and whether the pieces
    of a run share one draw.
    """

    title: str
    family: str
    rule: Rule
    numbers: dict[str, Any]
    expected: dict[str, float | None]
    never: tuple[str, ...]
    shared: bool = False
    fields: dict[str, Any] = field(default_factory=dict)


def vocabulary() -> Vocabulary:
    """The one that these laws use."""
    return Vocabulary(SIZE, cls=2, sep=3, mask=4, pad=0, continues=np.arange(SIZE) >= CONTINUING)


N = len(ordinary(vocabulary()))
OUTSIDE = "chosen tokens that are [CLS], [SEP] or padding"
PADDING = "chosen tokens that are padding"
UNCHOSEN = "tokens changed that were not chosen"
PARTS = "words chosen in part"
MIXED = "runs whose pieces are treated in different ways"
BESIDE = "runs side by side"
MASKS = "tokens that became [MASK]"
FIRST = "chosen tokens that are the first of a row"
MASK, SAME, OTHER = "is [MASK] afterwards", "is unchanged", "is another token"
SPECIAL, SINGLE = "was [CLS] or [SEP]", "are of one word"


def _any(n: int) -> dict[str, float | None]:
    """80/10/10 where a random token is one of n, the old one and [MASK] among them."""
    return {MASK: 0.8 + 0.1 / n, SAME: 0.1 + 0.1 / n, OTHER: 0.1 * (1 - 2 / n)}


LAWS = {
    "whole-word": Law("whole words: BERT's budget, drawn by piece", "bert_wwm", rules.whole_word, {"rate": 0.15},
                      {**_any(SIZE), SINGLE: 1.0}, (OUTSIDE, UNCHOSEN, PARTS)),
    "ngram": Law("ALBERT's n-grams of whole words", "albert", rules.ngram, {"rate": 0.15}, {**_any(SIZE), SINGLE: None},
                 (OUTSIDE, UNCHOSEN, PARTS)),
    "macbert": Law("MacBERT's runs of words, none of which has a similar one", "macbert", rules.macbert, {"rate": 0.15},
                   {MASK: 0.0, SAME: 0.1 + 0.9 / N, OTHER: 0.9 * (1 - 1 / N), SINGLE: None},
                   (OUTSIDE, UNCHOSEN, PARTS, MASKS), shared=True),
    "span": Law("SpanBERT's spans, one draw for each", "spanbert", rules.span, {"rate": 0.15},
                {MASK: 0.8, SAME: 0.1 + 0.1 / N, OTHER: 0.1 * (1 - 1 / N), SINGLE: None},
                (OUTSIDE, UNCHOSEN, BESIDE, MIXED), shared=True),
    "roberta": Law("RoBERTa's positions, special ones too", "roberta", rules.roberta, {"rate": 0.15},
                   {MASK: 0.8 + 0.1 / (SIZE - 3), SPECIAL: None}, (PADDING, UNCHOSEN)),
    "electra": Law("ELECTRA's masks: 85 of 100, the others stay", "electra", rules.electra,
                   {"rate": 0.15, "distinct": True}, {MASK: 0.85, SAME: 0.15, OTHER: 0.0}, (OUTSIDE, UNCHOSEN)),
    "xlm": Law("XLM's tokens, each by itself, never the first", "xlm", rules.xlm, {"rate": 0.15},
               {**_any(SIZE), SPECIAL: None}, (PADDING, UNCHOSEN, FIRST)),
}  # fmt: skip
ORDER_TITLE = "ALBERT's pairs: neighbours of one document, half of them swapped"


# ---- Rows ------------------------------------------------------------------------------------------------------------
def rows(draws: Any, count: int = ROWS, length: int = LENGTH) -> tuple[Array, Array]:
    """(ids, mask): [CLS] a … [SEP] b … [SEP] and padding; both segments begin with the start of a word."""
    own = vocabulary()
    ids = draws.integers(5, own.size, (count, length))
    tokens = draws.integers(length // 2, length + 1, count)
    every = np.arange(count)
    ids[every, 1] = ids[every, tokens // 2 + 1] = 5 + ids[every, 1] % (CONTINUING - 5)
    ids[:, 0] = own.cls
    ids[every, tokens // 2] = ids[every, tokens - 1] = own.sep
    mask = (np.arange(length) < tokens[:, None]).astype(np.int64)
    return np.where(mask, ids, own.pad), mask


def measured(ids: Array, present: Array, made: Corruption, shared: bool) -> tuple[dict[str, tuple], dict[str, int]]:
    """({share: (value, draws)}, {what may never happen: how often it did}) of a corrupted batch.

    draws: so many independent ones; runs whose pieces share a draw count by their lengths.
    """
    own, chosen = vocabulary(), made.chosen
    width = ids.shape[1]
    flat = (np.arange(len(ids))[:, None] * width + made.groups)[chosen]
    run, run_of = np.unique(flat, return_inverse=True)
    lengths = np.bincount(run_of)
    draws = len(flat) if not shared else max(1, round(len(flat) ** 2 / float((lengths**2).sum())))
    new, old = made.ids[chosen], ids[chosen]
    masked, same = new == own.mask, new == old
    special = (ids == own.cls) | (ids == own.sep)
    plain = (present == 1) & ~special
    words = unit.units(plain, unit.word_starts(ids, own))
    number = np.where(plain, words + np.arange(len(ids))[:, None] * width, -1)
    inside, taken = np.bincount(number[plain]), np.bincount(number[plain & chosen], minlength=number.max() + 1)
    pairs = np.unique(np.stack([flat, number[chosen]], 1), axis=0)
    kinds = np.unique(np.stack([run_of, np.where(masked, 0, np.where(same, 1, 2))], 1), axis=0)
    beside = (made.groups[:, 1:] >= 0) & (made.groups[:, :-1] >= 0) & (made.groups[:, 1:] != made.groups[:, :-1])
    shares = {
        MASK: (float(masked.mean()), draws),
        SAME: (float((same & ~masked).mean()), draws),
        OTHER: (float((~masked & ~same).mean()), draws),
        SPECIAL: (float(special[chosen].mean()), len(flat)),
        SINGLE: (float((np.bincount(np.searchsorted(run, pairs[:, 0])) == 1).mean()), len(run)),
    }
    random_same = np.bincount(kinds[:, 0]) > 1  # a random piece may be the old one or [MASK]: no mixture
    mixed = random_same & ~np.isin(np.arange(len(run)), run_of[~masked & ~same])
    return shares, {
        OUTSIDE: int((chosen & ~plain).sum()),
        PADDING: int((chosen & (present == 0)).sum()),
        UNCHOSEN: int(((made.ids != ids) & ~chosen).sum()),
        PARTS: int(((taken > 0) & (taken < inside)).sum()),
        MIXED: int(mixed.sum()),
        BESIDE: int(beside.sum()),
        MASKS: int(masked.sum()),
        FIRST: int(chosen[:, 0].sum()),
    }


# ---- Sentence order --------------------------------------------------------------------------------------------------
def _documents(count: int = 30, sentences: int = 12) -> list:
    """Documents of sentences of three tokens, no token twice: its id says where it stands."""
    return [[[5 + (d * sentences + s) * 3 + i for i in range(3)] for s in range(sentences)] for d in range(count)]


def _ordered(rule: Rule, draws: Any) -> tuple[dict[str, tuple], dict[str, int], Any]:
    documents = _documents()
    size = 5 + 3 * sum(map(len, documents))
    made = rule(documents, draws, Vocabulary(size, cls=2, sep=3, mask=4), 32, 0.0, 20)
    labels = next(array for name, array in made.items() if name.endswith("labels"))
    first, second = [], []
    for ids, types, mask in zip(made["input_ids"], made["segment_ids"], made["input_mask"], strict=True):
        plain = (mask == 1) & (ids > 4)
        first.append(ids[plain & (types == 0)])
        second.append(ids[plain & (types == 1)])
    document = [[(part[0] - 5) // 36 for part in segments] for segments in (first, second)]
    apart = np.array([a != b for a, b in zip(*document, strict=True)])
    turned = np.array([a[0] > b[0] for a, b in zip(first, second, strict=True)])
    shares = {"are swapped, of those from one document": turned[~apart], "come from two documents": apart}
    return {name: (float(found.mean()), len(found)) for name, found in shares.items()}, {
        "labels that are not the order in the text": int((~apart & (turned != (labels == 1))).sum()),
        "pairs from two documents labelled 0": int((apart & (labels == 0)).sum()),
    }, made


# ---- Text and its replay ---------------------------------------------------------------------------------------------
def text(name: str) -> dict[str, Any]:
    """text.json of a law."""
    draws = Draws(0, f"masking/{name}")
    if name == ORDER:
        shares, never, made = _ordered(sequences.ordered_pairs, draws)
        kind, expected, numbers = "of the pairs", dict.fromkeys(shares), {"short_rate": 0.0}
        expected["are swapped, of those from one document"] = 0.5
        example = {field: array[:6].tolist() for field, array in made.items()}
        size = {"size": 1085, "cls": 2, "sep": 3, "mask": 4, "pad": 0}
    else:
        law, own = LAWS[name], vocabulary()
        ids, mask = rows(draws)
        made = law.rule(ids, mask, draws, own, **law.numbers)
        shares, found = measured(ids, mask, made, law.shared)
        never, kind, expected, numbers = {key: found[key] for key in law.never}, None, law.expected, law.numbers
        slots = masking.targets(ids[:6], made.chosen[:6], int(made.chosen[:6].sum(1).max()))
        example = {"input_ids": ids[:6], "input_mask": mask[:6], "corrupted": made.ids[:6], "runs": made.groups[:6]}
        example = {field: array.tolist() for field, array in {**example, **slots}.items()}
        size = {"size": SIZE, "cls": 2, "sep": 3, "mask": 4, "pad": 0, "continuing": [CONTINUING, SIZE]}
    statistics = [
        {kind or ("of the runs" if share == SINGLE else "of the chosen tokens"): share, "counted": shares[share][0],
         "expected": value, "draws": shares[share][1], "deviation": _deviation(value, shares[share][1])}
        for share, value in expected.items()
    ]  # fmt: skip
    return {"rule": {"name": name, **numbers}, "vocabulary": size, "always": never, "statistics": statistics,
            "example": example}  # fmt: skip


def _deviation(q: float | None, draws: int) -> float | None:
    return None if q is None else float(np.sqrt(q * (1 - q) / draws))


def broken(rule: Rule, held: dict[str, Any], seed: int = 0) -> list[str]:
    """What of a law a rule breaks, over rows drawn here; beyond SIGMAS deviations counts."""
    rng, name = np.random.default_rng(seed), held["rule"]["name"]
    if name == ORDER:
        shares, found, _ = _ordered(rule, rng)
    else:
        ids, mask = rows(rng)
        shares, found = measured(ids, mask, rule(ids, mask, rng, vocabulary()), LAWS[name].shared)
    wrong = []
    for row in held["statistics"]:
        share = next(value for key, value in row.items() if key.startswith("of the "))
        value, draws = shares[share]
        due = row["counted"] if row["expected"] is None else row["expected"]
        spread = due * (1 - due)
        deviation = np.sqrt(spread / draws + (spread / row["draws"] if row["expected"] is None else 0))
        wrong += [share] if abs(value - due) > SIGMAS * deviation + 1e-12 else []
    return wrong + [key for key, value in held["always"].items() if found[key] != value]
