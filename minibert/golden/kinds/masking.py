"""The law of a corruption rule, made again exactly. text.json: rule, vocabulary, budgets (length, predictions),
statistics (what the law says, what was counted, its standard deviation over so many draws) and an example: rows before
and after.
"""

from typing import Any

import numpy as np

from minibert.config import require
from minibert.corruption import masking, rules
from minibert.golden import cases
from minibert.golden.draws import Draws
from minibert.golden.kinds import tokenizer
from minibert.golden.kinds.tokenizer import made  # noqa: F401  the text that the recipe makes

LEVELS, WHOLE = tokenizer.LEVELS, tokenizer.WHOLE


def verify(case: Any) -> list[str]:
    """What differs from the law made again, a line each."""
    known = {name: recipe for name, recipe in cases.recipes().items() if recipe.kind == "masking"}
    require(case.name in known, f"case {case.name} is none of those whose law is known: {', '.join(known)}")
    held, again = case.text(), known[case.name].text()
    return [f"{key} differs" for key in held if held[key] != again[key]]


RULE = {"rate": 0.15, "mask": 0.8, "keep": 0.1, "cap": 20}
VOCABULARY = masking.Vocabulary(size=50, cls=2, sep=3, mask=4, pad=0)
LENGTHS = [3, 7, 10, 16, 23, 30, 50, 64, 70, 90, 100, 128, 140, 512]


def _rows(draws: Draws, count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """(ids, mask): [CLS] a … [SEP] b … [SEP] and padding."""
    ids = draws.integers(5, VOCABULARY.size, (count, length))
    tokens = draws.integers(length // 2, length + 1, count)
    ids[:, 0] = VOCABULARY.cls
    ids[np.arange(count), tokens // 2] = ids[np.arange(count), tokens - 1] = VOCABULARY.sep
    mask = (np.arange(length) < tokens[:, None]).astype(np.int64)
    return np.where(mask, ids, VOCABULARY.pad), mask


def berts() -> dict[str, Any]:
    """Counts over 4000 rows of 32, beside what they must be."""
    draws = Draws(0, "masking/bert")
    ids, mask = _rows(draws, 4000, 32)
    corrupted, chosen = rules.bert(ids, mask, draws, VOCABULARY)[:2]
    n, masked = int(chosen.sum()), corrupted[chosen] == VOCABULARY.mask
    kept, others = corrupted[chosen] == ids[chosen], 1 / VOCABULARY.size
    candidates = (mask == 1) & (ids != VOCABULARY.cls) & (ids != VOCABULARY.sep)
    predicted = masking.budget(mask.sum(1))
    shares = {  # a random token is uniform, so it can be [MASK] or the old one
        "is [MASK] afterwards": (masked.mean(), 0.8 + 0.1 * others, n),
        "is unchanged": (kept.mean(), 0.1 + 0.1 * others, n),
        "is another token": ((~masked & ~kept).mean(), 0.1 * (1 - 2 * others), n),
        "stands in the first half of the candidates": (_first_half(candidates, chosen), None, n),
    }
    statistics = [
        {"of the chosen tokens": what, "counted": float(p), "expected": q, "draws": k,
         "deviation": None if q is None else float(np.sqrt(q * (1 - q) / k))}
        for what, (p, q, k) in shares.items()
    ]  # fmt: skip
    some = slice(0, 6)
    example = {
        "input_ids": ids[some].tolist(),
        "input_mask": mask[some].tolist(),
        "corrupted": corrupted[some].tolist(),
        **{field: a.tolist() for field, a in masking.targets(ids[some], chosen[some], 5).items()},
    }
    return {
        "rule": RULE,
        "vocabulary": {"size": 50, "cls": 2, "sep": 3, "mask": 4, "pad": 0},
        "budgets": [[length, int(masking.budget(np.array(length)))] for length in LENGTHS],
        "always": {
            "rows whose number of chosen tokens is the budget": bool((chosen.sum(1) == predicted).all()),
            "chosen tokens that are [CLS], [SEP] or padding": int((chosen & ~candidates).sum()),
            "tokens changed that were not chosen": int(((corrupted != ids) & ~chosen).sum()),
        },
        "statistics": statistics,
        "example": example,
    }


def _first_half(candidates: np.ndarray, chosen: np.ndarray) -> float:
    """The share of chosen tokens among the first half of their row's candidates; ½ when none is preferred."""
    rank, count = np.cumsum(candidates, 1), candidates.sum(1, keepdims=True)
    even = candidates & (count % 2 == 0)
    return float((chosen & even & (rank <= count // 2)).sum() / (chosen & even).sum())
