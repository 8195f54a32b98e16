"""A tokenizer on texts, replayed exactly. text.json: settings, vocabulary (a list, the id is the index), vectors (text,
pair, max_length, and what they become).
"""

from collections.abc import Mapping
from typing import Any

from minibert.golden.kinds import Made
from minibert.golden.recipe import CaseRecipe
from minibert.tokenizers.byte_level import CHARACTERS, ByteLevelBPE
from minibert.tokenizers.normalization import Charsmap, Fast
from minibert.tokenizers.sentencepiece_model import CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Model
from minibert.tokenizers.unigram import Unigram
from minibert.tokenizers.wordpiece import WordPiece

LEVELS, WHOLE = "tokens", False


def made(recipe: CaseRecipe) -> Made:
    """The text that the recipe makes."""
    facts = {"family": recipe.family, "truth": "by minibert's own code", "batches": 0}
    return Made(facts, text=recipe.text())


def verify(case: Any) -> list[str]:
    """What differs from a replay, a line each."""
    held = case.text()
    spoken = tokenizer(held)
    wrong = [v for v in held["vectors"] if v != _vector(spoken, v["text"], v["pair"], v["max_length"])]
    return [f"tokens of {v['text'][:40]!r} differ" for v in wrong]


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


BYTE_WORDS = ["hello", "world", "the", "test", "stop", "now", "don", "Hello", "naï", "中", "00", "..."]
UNIGRAM_WORDS = ["▁hello", "▁world", "▁the", "▁test", "▁run", "ning", "▁un", "aff", "able", "▁now", "▁stop", "▁5",
                 "00"]  # fmt: skip


def wordpiece(lowercase: bool) -> dict[str, Any]:
    """The vocabulary above, accents stripped where case is."""
    settings = {"lowercase": lowercase, "strip_accents": None, "split_cjk": True, "max_word_chars": 100}
    return {"settings": settings, "vocabulary": vocabulary()}


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


def vectors(held: dict[str, Any]) -> dict[str, Any]:
    """text.json: a tokenizer as `tokenizer` takes it, and what it makes of the texts above."""
    asked = [(text, None, None) for text in TEXTS] + [(text, None, 7) for text in TEXTS[2:6]]
    asked += [(a, b, n) for a, b in PAIRS for n in (None, 8, 11)]
    return {**held, "vectors": [_vector(tokenizer(held), *row) for row in asked]}
