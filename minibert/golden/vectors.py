"""Cases that are text: tokenizer vectors and the law of masking, replayed exactly.

text.json of a tokenizer case: settings, vocabulary (a list, the id is the index), vectors (text, pair, max_length, and
what they become). Of a masking case: rule, vocabulary, budgets (length, predictions), statistics (what the law says,
what was counted, its standard deviation over so many draws) and an example: rows before and after.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import minibert
from minibert.config import require
from minibert.corruption import masking, rules
from minibert.golden import case as cases
from minibert.golden import shares
from minibert.golden.case import Case
from minibert.golden.draws import Draws
from minibert.tokenizers.byte_level import CHARACTERS, ByteLevelBPE
from minibert.tokenizers.normalization import Charsmap, Fast
from minibert.tokenizers.sentencepiece_model import CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Model
from minibert.tokenizers.unigram import Unigram
from minibert.tokenizers.wordpiece import WordPiece

KINDS = ("tokenizer", "masking")

# ---- Tokenizers ------------------------------------------------------------------------------------------------------
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = """un the runn hello world strasse naive cafe bert model now stop don test wor run word ##aff ##able ##ning
    ##ld ##s ##ing ##er 中 文 模 型 日 本 ε λ α σ ς ##σ ##ς i ı ß é É ü Ü Hello World Test こ ##れ ㄱ 한 ᄒ ##ᅡ ##ᆫ
    д ж ##ж ó Ł ł ! " # $ % & ' ( ) * + , - . / : ; < = > ? @ [ \\ ] ^ _ ` { | } ~ … “ ” « » — 。 、 € ° 0 1 2 5
    00 ##0 ##1 ##5 № 😀 ﬁ"""


def vocabulary() -> list[str]:
    """A small vocabulary that can spell ASCII words and has a few of everything else."""
    pieces = [*SPECIALS, *LETTERS, *(f"##{c}" for c in LETTERS), *LETTERS.upper()[:8], *WORDS.split()]
    return list(dict.fromkeys(pieces))


TEXTS = [
    "",
    " ",
    "hello world",
    "Hello, World!",
    "unaffable",
    "unaffablé",
    "Running the tests",
    "naïve café ÜBER Straße",
    "don't stop\u00a0now",
    "中文BERT模型",
    "日本 こ れ",
    "a\u200bb\u0000c\ufffdd",
    "tab\tline\nfeed\r\nend",
    "$5.00 ~^ 1,000 a-b_c",
    "ΑΣ λέξη",
    "İstanbul ıi I",
    "e\u0301 é E\u0301",
    "한국",
    "ﬁ ﬀ",
    "😀😀 x😀y",
    "[CLS] [MASK] [mask] [SEP]",
    "a[MASK]b",
    "x" * 100,
    "x" * 101,
    "hello" * 21,
    "a\ue000b",
    "a\u0378b",
    "a\u2028b\u3000c\u2003d",
    "\u202ehello\u202c",
    "a\u00adb",
    "…“quoted”—«ok»。、",
    "№5 5° 5€",
    "a\x0bb \x1cc\x85d",
    "\u0301leading mark",
    "Łódź дж ЖД",
    "##aff ##able",
    "q" * 40 + " z",
]
PAIRS = [("hello world", "now stop"), ("", "hello"), ("hello", ""), ("the test " * 5, "run " * 9), ("中 文", "a . b")]
SETTINGS = {
    "tokenizer/uncased": {"lowercase": True, "strip_accents": None, "split_cjk": True, "max_word_chars": 100},
    "tokenizer/cased": {"lowercase": False, "strip_accents": None, "split_cjk": True, "max_word_chars": 100},
}


BYTE_WORDS = ["hello", "world", "the", "test", "stop", "now", "don", "Hello", "naï", "中", "00", "..."]
UNIGRAM_WORDS = ["▁hello", "▁world", "▁the", "▁test", "▁run", "ning", "▁un", "aff", "able", "▁now", "▁stop", "▁5",
                 "00"]  # fmt: skip


def byte_level() -> dict[str, Any]:
    """A vocabulary of the 256 bytes and the words of BYTE_WORDS, alone and behind a space, merged from the left."""
    merges: list[list[str]] = []
    for word in BYTE_WORDS:
        for text in (word, f" {word}"):
            pieces = [CHARACTERS[byte] for byte in text.encode("utf-8")]
            merges += [["".join(pieces[:i]), pieces[i]] for i in range(1, len(pieces))]
    merges = [list(pair) for pair in dict.fromkeys(map(tuple, merges))]
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *CHARACTERS, *("".join(pair) for pair in merges), "<mask>"]
    return {"kind": "byte_level", "settings": {}, "vocabulary": pieces, "merges": merges}


def unigram() -> dict[str, Any]:
    """ALBERT's special pieces, letters, and UNIGRAM_WORDS with the higher scores."""
    specials = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    singles = ["▁", *LETTERS, *"0123456789.,!?'\"-", "é", "中"]
    scores = [*[0.0] * len(specials), *(-4.0 - i / 16 for i in range(len(singles)))]
    scores += [-2.0 - i / 8 for i in range(len(UNIGRAM_WORDS))]
    pieces = [*specials, *singles, *UNIGRAM_WORDS]
    return {"kind": "unigram", "settings": {}, "vocabulary": pieces, "scores": scores}


def tokenizer(text: Mapping[str, Any]) -> Any:
    """The tokenizer that a case's text.json describes."""
    pieces, kind = text["vocabulary"], text.get("kind", "wordpiece")
    if kind == "byte_level":
        return ByteLevelBPE(pieces, [tuple(pair) for pair in text["merges"]], **text["settings"])
    if kind == "unigram":
        types = [CONTROL, UNKNOWN, CONTROL, CONTROL, USER_DEFINED, *[NORMAL] * (len(pieces) - 5)]
        return Unigram(Model(pieces, text["scores"], types), Fast(Charsmap(b""), **text["settings"]))
    return WordPiece(pieces, **text["settings"])


def _vector(tokenizer: Any, text: str, pair: str | None, max_length: int | None) -> dict[str, Any]:
    e = tokenizer.encode(text, pair, max_length)
    given = {"text": text, "pair": pair, "max_length": max_length}
    return {**given, "ids": e.ids, "tokens": e.tokens, "type_ids": e.type_ids, "offsets": [list(o) for o in e.offsets]}


def _tokens(name: str) -> dict[str, Any]:
    held = OTHERS[name]() if name in OTHERS else {"settings": SETTINGS[name], "vocabulary": vocabulary()}
    asked = [(text, None, None) for text in TEXTS] + [(text, None, 7) for text in TEXTS[2:6]]
    asked += [(a, b, n) for a, b in PAIRS for n in (None, 8, 11)]
    return {**held, "vectors": [_vector(tokenizer(held), *row) for row in asked]}


OTHERS = {"tokenizer/byte-level": byte_level, "tokenizer/unigram": unigram}


# ---- Masking ---------------------------------------------------------------------------------------------------------
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


def _law(name: str) -> dict[str, Any]:
    """Counts over 4000 rows of 32, beside what they must be."""
    draws = Draws(0, name)
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


def _share(name: str) -> dict[str, Any]:
    return shares.text(name.partition("/")[2])


# ---- Cases -----------------------------------------------------------------------------------------------------------
SHIPPED: dict[str, tuple[str, str, Callable[[str], dict[str, Any]]]] = {
    "tokenizer/uncased": ("tokenizer", "WordPiece, lower-casing: hard strings", _tokens),
    "tokenizer/cased": ("tokenizer", "WordPiece, cased: hard strings", _tokens),
    "tokenizer/byte-level": ("tokenizer", "byte-level BPE as RoBERTa has it: hard strings", _tokens),
    "tokenizer/unigram": ("tokenizer", "unigram as ALBERT's fast tokenizer has it: hard strings", _tokens),
    "masking/bert": ("masking", "the law of BERT's masking, with an example", _law),
    **{f"masking/{name}": ("masking", f"a law: {law.title}", _share) for name, law in shares.LAWS.items()},
    f"masking/{shares.ORDER}": ("masking", f"a law: {shares.ORDER_TITLE}", _share),
}


def make(name: str, path: Any) -> Case:
    """Make a shipped case of these kinds."""
    kind, title, content = SHIPPED[name]
    own = {"tokenizer/byte-level": "roberta", "tokenizer/unigram": "albert", f"masking/{shares.ORDER}": "albert"}
    family = own.get(name) or getattr(shares.LAWS.get(name.partition("/")[2]), "family", "bert")
    facts = {
        **dict.fromkeys(("pair", "objective", "optimizer", "weights", "selection")),
        **{"name": name, "title": title, "kind": kind, "family": family, "config": {}, "seed": 0, "dtype": "float64"},
        **{"version": minibert.__version__, "truth": "by minibert's own code", "certified": {}},
        **{"steps": [], "batches": 0, "variants": []},
    }
    return cases.write(path, facts, {}, {}, content(name))


def verify(case: Case) -> list[str]:
    """What differs from a replay, a line each."""
    held = case.text()
    if case.facts["kind"] == "tokenizer":
        made = tokenizer(held)
        wrong = [v for v in held["vectors"] if v != _vector(made, v["text"], v["pair"], v["max_length"])]
        return [f"tokens of {v['text'][:40]!r} differ" for v in wrong]
    require(case.name in SHIPPED, f"case {case.name} is none of those whose law is known: {', '.join(SHIPPED)}")
    again = SHIPPED[case.name][2](case.name)
    return [f"{key} differs" for key in held if held[key] != again[key]]
