"""Mistakes in the tokenizer: each a tokenize(tokenizer, text, pair, max_length) -> (ids, type ids)."""

import unicodedata
from collections.abc import Callable
from typing import Any

from minibert.mistakes.catalogue import entry
from minibert.tokenizers.wordpiece import WordPiece

SECTION = {"T": "Tokenizer"}

Tokens = tuple[list[int], list[int]]


def encoded(tokenizer: WordPiece, text: str, pair: str | None = None, max_length: int | None = None) -> Tokens:
    """What is right."""
    e = tokenizer.encode(text, pair, max_length)
    return e.ids, e.type_ids


def _settings(tokenizer: WordPiece) -> dict[str, Any]:
    names = ("lowercase", "strip_accents", "split_cjk", "max_word_chars", "specials", "added")
    return {name: getattr(tokenizer, name) for name in names}


def other(**changes: Any) -> Callable[..., Tokens]:
    """Other settings; a function takes the tokenizer."""

    def tokenize(tokenizer: WordPiece, *given: Any) -> Tokens:
        values = {name: value(tokenizer) if callable(value) else value for name, value in changes.items()}
        return encoded(WordPiece(tokenizer.vocabulary, **{**_settings(tokenizer), **values}), *given)

    return tokenize


def words(match: Callable[[WordPiece, Callable, str], tuple[int, ...]]) -> Callable[..., Tokens]:
    """Another way from a word to pieces: match(tokenizer, the right one, word) -> ids."""

    def tokenize(tokenizer: WordPiece, *given: Any) -> Tokens:
        class Wrong(WordPiece):
            def _longest_match(self, word: str) -> tuple[int, ...]:
                return match(self, super()._longest_match, word)

        return encoded(Wrong(tokenizer.vocabulary, **_settings(tokenizer)), *given)

    return tokenize


def rows(edit: Callable[[WordPiece, list[int], list[int]], Tokens]) -> Callable[..., Tokens]:
    """The finished row edited."""
    return lambda tokenizer, *given: edit(tokenizer, *encoded(tokenizer, *given))


def _partial(tokenizer: WordPiece, right: Callable, word: str) -> tuple[int, ...]:
    """The pieces found so far, then [UNK] for the tail."""
    ids: list[int] = []
    start = 0
    while start < len(word) and len(word) <= tokenizer.max_word_chars:
        table = tokenizer._tails if start else tokenizer._heads
        end = next((e for e in range(len(word), start, -1) if word[start:e] in table), None)
        if end is None:
            break
        ids.append(table[word[start:end]])
        start = end
    return tuple(ids) if start == len(word) else (*ids, tokenizer.unk_id)


def _unlimited(tokenizer: WordPiece, right: Callable, word: str) -> tuple[int, ...]:
    tokenizer.max_word_chars = len(word)
    return right(word)


def _no_single(tokenizer: WordPiece, right: Callable, word: str) -> tuple[int, ...]:
    return (tokenizer.unk_id,) if len(word) == 1 else right(word)


def _dropped_letters(tokenizer: WordPiece, text: str, pair: str | None = None, max_length: int | None = None) -> Tokens:
    """Letters that decompose vanish with their marks."""

    def plain(s: str | None) -> str | None:
        return s and "".join(c for c in s if len(unicodedata.normalize("NFD", c)) == 1)

    return encoded(tokenizer, plain(text), plain(pair), max_length)


def _second_only(tokenizer: WordPiece, text: str, pair: str | None = None, max_length: int | None = None) -> Tokens:
    """A pair too long loses tokens from its second text alone."""
    ids, types = encoded(tokenizer, text, pair)
    if pair is None or max_length is None or len(ids) <= max_length:
        return encoded(tokenizer, text, pair, max_length)
    keep = max_length - 1
    return [*ids[:keep], tokenizer.sep_id], [*types[:keep], types[-1]]


def _padded_inside(tokenizer: WordPiece, text: str, pair: str | None = None, max_length: int | None = None) -> Tokens:
    """Padding behind the first text instead of behind the second."""
    ids, types = encoded(tokenizer, text, pair, max_length)
    if pair is None:
        return ids, types
    border = types.index(1)
    return [*ids[:border], tokenizer.pad_id, *ids[border:]], [*types[:border], 0, *types[border:]]


def _strips(tokenizer: WordPiece) -> bool:
    right = tokenizer.lowercase if tokenizer.strip_accents is None else tokenizer.strip_accents
    return not right


entry(
    "T01", "accents not stripped when lower-casing (or stripped when cased)",
    "strip_accents follows do_lower_case unless set",
    "HF#2917, #6186, #2742; huggingface/swift-transformers#157", "tokens", "TOK-4",
    families=("bert", "electra"), when="uncased",
    tokenize=other(strip_accents=_strips),
)  # fmt: skip
entry(
    "T02", "partial Unicode NFD drops accented letters", "NFD, then remove category Mn only",
    "ggml-org/llama.cpp#5496", "tokens", "TOK-4", families=("bert", "electra"),
    tokenize=_dropped_letters,
)  # fmt: skip
entry(
    "T03", "CJK characters not split one by one", "put spaces round each CJK code point",
    "KH#307, #318; explosion/curated-transformers#209", "tokens", "TOK-3",
    families=("bert",), when="Chinese and multilingual",
    tokenize=other(split_cjk=lambda tokenizer: not tokenizer.split_cjk),
)  # fmt: skip
entry(
    "T04", "unknown tail gives partial pieces", "the whole word becomes one [UNK]",
    "curated-transformers#209", "tokens", "TOK-6", families=("bert", "electra", "distilbert"),
    tokenize=words(_partial),
)  # fmt: skip
entry(
    "T05", "max_input_chars_per_word ignored, or counted in bytes", "over 100 characters -> [UNK]",
    "huggingface/transformers.js#398; tensorflow/text#78", "tokens", "TOK-6", families=("bert",),
    tokenize=words(_unlimited),
)  # fmt: skip
entry(
    "T06", "one-character words become [UNK]", "greedy match must allow length 1",
    "bnosac/sentencepiece#4", "tokens", "TOK-6", families=("bert",),
    tokenize=words(_no_single),
)  # fmt: skip
entry(
    "T07", "raw sentencepiece ids used", "id + 1; `<s>`0 `<pad>`1 `</s>`2 `<unk>`3; `<mask>` last",
    "facebookresearch/fairseq#2094; HF#2508, #3198; tensordot/syntaxdot#215; danieldk/sentencepiece#71; "
    "google/sentencepiece#1042",
    "tokens", families=("xlm_roberta", "camembert"),
)  # fmt: skip
entry(
    "T09", 'special tokens missing, doubled, or literal "[CLS]" fed to RoBERTa',
    "exactly once, from the family's own vocabulary",
    "aosama/astronomical#597; HF#1311, #1102; brightmart/roberta_zh#35",
    "tokens", "TOK-8", tokenizers=("wordpiece", "byte_level", "unigram"),
    tokenize=rows(lambda tokenizer, ids, types: (ids[1:-1], types[1:-1])),
)  # fmt: skip
entry(
    "T10", "hard-coded special ids (SEP 103 for 102, pad 1 for 0)", "look up in the vocabulary",
    "allenai/sequential_sentence_classification#8; CarryCKW/AES-NPCR#7",
    "tokens", "TOK-1", tokenizers=("wordpiece", "byte_level", "unigram"),
    tokenize=rows(lambda tokenizer, ids, types: ([i + 1 if i == tokenizer.sep_id else i for i in ids], types)),
)  # fmt: skip
entry(
    "T11", "config.vocab_size differs from vocab file", "equal, or padding rows declared",
    "nghuyong/ERNIE-Pytorch#11; sdadas/polish-roberta#4", "loading", "TOK-7", families=("ernie", "roberta"),
    reason="no token changes; `minibert.load` compares the two and refuses a vocabulary that is larger",
)  # fmt: skip
entry(
    "T12", "pair truncated from the second only / always from the end",
    "drop from the longer; pre-training chooses front or back at random",
    "src GB create_pretraining_data.truncate_seq_pair (ties shorten b)", "tokens", "DATA-7",
    families=("bert", "albert"),
    tokenize=_second_only,
)  # fmt: skip
entry(
    "T13", "slow and fast tokenizers disagree (emoji, unknown)",
    "state which; vectors include emoji and unassigned code points",
    "HF#14844, #5490", "tokens", "TOK-10", families=("bert", "roberta"), variant=True,
    tokenize=words(
        lambda tokenizer, right, word: right("".join(c for c in word if unicodedata.category(c) not in ("Cn", "So")))
    ),
)  # fmt: skip
entry(
    "T14", "padding inserted between the sentences / dynamic padding",
    "pads only at the end, after the last separator",
    "JohnSnowLabs/spark-nlp#1162", "tokens", "TOK-8", families=("bert",),
    tokenize=_padded_inside,
)  # fmt: skip
