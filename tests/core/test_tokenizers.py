"""What holds for every kind of tokenizer: bounds and refusals in one line, and files that give the same ids again."""

import json
import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_wordpiece import VOCABULARY

from minibert import tokenizers
from minibert.checkpoint import strictjson
from minibert.errors import InputError
from minibert.tokenizers import encoding, layout, published, sentencepiece_model
from minibert.tokenizers.added import Added
from minibert.tokenizers.byte_level import CHARACTERS, ByteLevelBPE
from minibert.tokenizers.normalization import META, Charsmap, Fast, Released, compiled
from minibert.tokenizers.prefixes import Finder, Prefixes
from minibert.tokenizers.sentencepiece_model import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Model
from minibert.tokenizers.unigram import SPECIALS, Unigram
from minibert.tokenizers.wordpiece import WordPiece

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
LEARNT = {
    META: -3.0, f"{META}the": -2.0, "the": -4.5, "s": -2.5, "9,": -3.0, "9": -6.0, ",": -3.25, f"{META}19": -5.0,
    f"{META}1,9": -5.5, "1,": -4.0, "9,9,": -5.0, "1": -6.5, "``": -4.0, "E": -5.0, "é": -6.0, "x y": -5.0,
    f"{META}a{META}b": -4.0, **{char: -7.0 - i / 8 for i, char in enumerate("abcdefghijklmnopqrtuvwxyz.!<>中")},
}  # fmt: skip
MODEL = Model(
    [*SPECIALS.values(), *LEARNT],
    [0.0] * 5 + [*LEARNT.values()],
    [UNKNOWN if role == "unk" else CONTROL for role in SPECIALS] + [NORMAL] * len(LEARNT),
    compiled({"Ａ": "A", "ﬁ": "fi", "\u200b": " ", "e\u0301": "é", "\r": " ", "™": "TM"}),
)
SPELT = replace(
    MODEL,
    pieces=[*MODEL.pieces, *BYTES],
    scores=[*MODEL.scores, *[0.0] * 256],
    types=[*MODEL.types, *[BYTE] * 256],
    byte_fallback=True,
)
OWN = replace(MODEL, types=[USER_DEFINED if piece in ("x y", "the", "``") else t for piece, t in
                            zip(MODEL.pieces, MODEL.types, strict=True)])  # fmt: skip
PIECES = [*CHARACTERS, "he", "ll", "hell", "\u0120w", *["<s>", "<pad>", "</s>", "<unk>", "<mask>"]]
MERGES = [("h", "e"), ("l", "l"), ("he", "ll"), ("\u0120", "w")]

WORDPIECE = WordPiece(VOCABULARY)
BYTE_LEVEL = ByteLevelBPE(PIECES, MERGES)
FAST = Unigram(MODEL, Fast(Charsmap(MODEL.charsmap)))
RELEASED = Unigram(MODEL, Released(Charsmap(MODEL.charsmap), True, True))
KINDS = {"wordpiece": WORDPIECE, "byte_level": BYTE_LEVEL, "fast": FAST, "released": RELEASED}
every_kind = pytest.mark.parametrize("tokenizer", KINDS.values(), ids=KINDS)

hard = st.lists(
    st.sampled_from([
        *LEARNT, *SPECIALS.values(), "<mask>", "</s>", "<e>", "<f>", " ", "  ", "\t", "\u3000", "``", "''", "\u0301",
        "İ", "Σ", "9,", "1,9,9,", META, "Ａ", "ﬁ", "™", "e\u0301", "中文", "hello world", "UNaffable", "\u200b", "\x1c",
    ])
    | st.characters(exclude_categories=["Cs"]),
    max_size=25,
).map("".join)  # fmt: skip


def said(call) -> str:
    """The one line that a call is refused with."""
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value).isprintable()
    return str(error.value)


# What is found where


@settings(deadline=None)
@given(st.lists(st.text("ab\U0001f600", min_size=1, max_size=6), max_size=30), st.text("abc\U0001f600", max_size=30))
@example(["a" * n for n in range(1, 30)], "ab" * 9)
@example(["a" * n + "b" for n in range(30)] + ["a"], "a" * 40)
def test_prefixes_and_finder_are_right(strings, text):
    prefixes, finder = Prefixes(strings), Finder(strings)
    for at in range(len(text)):
        standing = sorted({s for s in strings if text.startswith(s, at)}, key=len, reverse=True)
        found, i = [], prefixes.longest(text, at)
        while i >= 0:
            found.append(prefixes.strings[i])
            i = prefixes.inner[i]
        assert found == standing
        assert finder.match(text, at) == len(max(standing, key=len, default=""))
    at, parts, between = 0, [], ""
    while at < len(text):
        size = finder.match(text, at)
        between, parts, at = (between + text[at], parts, at + 1) if not size else (
            "", [*parts, between, text[at : at + size]], at + size
        )  # fmt: skip
    assert finder.split(text) == [*parts, between]


# Files that give the same ids again


def same_again(made, text, folder, **options):
    """What is saved and loaded has the same ids, offsets, special tokens and words."""
    made.save(folder)
    again = tokenizers.load(folder, "wordpiece", **options)
    assert type(again) is type(made)
    assert again.encode(text) == made.encode(text)
    assert again.encode(text, text[::-1]) == made.encode(text, text[::-1])
    ids = made.ids(text)
    assert again.ids(text) == ids
    assert again.decode(ids) == made.decode(ids)
    assert again.special_ids == made.special_ids
    assert again.encode(made.tokens[-1]) == made.encode(made.tokens[-1])
    assert np.array_equal(again.continues, made.continues)


flag = st.booleans()


kept = st.builds(Added, flag, flag, flag, flag, flag)


@settings(deadline=None, max_examples=60)
@given(
    flag, st.none() | flag, flag, st.integers(0, 300),
    st.dictionaries(st.sampled_from(["<e>", "a", "[SEP]", "x y"]), kept), hard,
)  # fmt: skip
def test_wordpiece_settings_survive(tmp_path_factory, lowercase, strips, split, most, added, text):
    made = WordPiece(VOCABULARY, lowercase, strips, split, most, added=added)
    same_again(made, text, tmp_path_factory.mktemp("w"))


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(st.sampled_from(["<e>", "<mask>", "<s>", "hell", " x"]), kept),
    flag, flag, flag, flag, st.sampled_from([layout.roberta, layout.bert]), hard,
)  # fmt: skip
def test_byte_level_settings_survive(tmp_path_factory, added, lowercase, prefix, trimmed, blank, around, text):
    around = replace(around("<s>", "</s>"), trimmed=trimmed, first_blank=blank)
    made = ByteLevelBPE(PIECES, MERGES, BYTE_LEVEL.specials, added, lowercase, prefix, around)
    same_again(made, text, tmp_path_factory.mktemp("b"))


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([MODEL, SPELT]), flag, flag, flag, flag, flag, st.sampled_from(["always", "first", "never"]),
    st.dictionaries(st.sampled_from(["<e>", "the", "[MASK]"]), kept), hard,
)  # fmt: skip
def test_fast_unigram_settings_survive(tmp_path_factory, model, quotes, strips, lower, joins, split, first, own, text):
    normal = Fast(Charsmap(model.charsmap), quotes, strips, lower, joins, split, first)
    made = Unigram(model, normal, added=dict.fromkeys(SPECIALS.values(), Added()) | own)
    same_again(made, text, tmp_path_factory.mktemp("f"))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([MODEL, SPELT, OWN]), flag, flag, flag, flag, flag, hard)
@example(MODEL, False, True, True, True, False, "the s")  # no blank in front
@example(MODEL, True, False, True, True, False, " the  s ")
def test_released_unigram_settings_survive(tmp_path_factory, model, prefix, collapse, prepared, lower, accents, text):
    symbols = [piece for piece, t in zip(model.pieces, model.types, strict=True) if t == USER_DEFINED]
    normal = Released(Charsmap(model.charsmap), prefix, collapse, symbols, prepared, lower, accents)
    same_again(Unigram(model, normal), text, tmp_path_factory.mktemp("r"), **({} if prepared else {"prepared": False}))


def test_a_tokenizer_json_left_over_is_not_read_instead(tmp_path):
    FAST.save(tmp_path)
    assert (tmp_path / "tokenizer.json").exists()
    RELEASED.save(tmp_path)
    assert not Unigram.load(tmp_path).fast


@pytest.mark.parametrize(("made", "name"), [
    (Unigram(MODEL, RELEASED.normal, added={"<e>": Added()}), "added"),
    (Unigram(MODEL, Released(RELEASED.normal.charsmap, True, True, ["the"])), "symbols"),
    (Unigram(replace(MODEL, scores=[s / 3 for s in MODEL.scores]), RELEASED.normal), "scores"),
    (ByteLevelBPE(PIECES, MERGES, specials={"pad": "<pad>"}, around=layout.Layout()), "specials"),
])  # fmt: skip
def test_what_the_files_cannot_say_is_not_saved(tmp_path, made, name):
    """Every other way would have other ids after loading."""
    (tmp_path / "kept").mkdir()
    for folder in (tmp_path / "kept", tmp_path / "new"):
        assert name in said(lambda folder=folder: made.save(folder))
    assert [*(tmp_path / "kept").iterdir()] == []
    assert not (tmp_path / "new").exists()


def test_a_number_is_split_again_once():
    """As the release does: what the number gives, "1," here, stays."""
    assert RELEASED.tokenize("1,9,9,") == [f"{META}1,9", ",", "9", ","]
    pieces = [piece for piece in MODEL.pieces if piece not in (f"{META}1,9", "9,")]
    keep = [MODEL.pieces.index(piece) for piece in pieces]
    model = replace(MODEL, pieces=pieces, scores=[MODEL.scores[i] for i in keep], types=[MODEL.types[i] for i in keep])
    assert Unigram(model, RELEASED.normal).tokenize("s9,9,") == [META, "s", "9", ",", "9", ","]


# Calls


class Odd:
    def __repr__(self):
        return "\x1b[2J" * 1000


WRONG = [None, 3, 2.5, b"text", ["a"], {"a": 1}, "a\ud800", Odd(), np.zeros(3), True, float("nan")]


@every_kind
@pytest.mark.parametrize("text", WRONG, ids=lambda x: type(x).__name__)
def test_texts_that_are_none(tokenizer, text):
    pair = 0 if text is None else text
    for call in (
        lambda: tokenizer.ids(text),
        lambda: tokenizer.tokenize(text),
        lambda: tokenizer.encode(text),
        lambda: tokenizer.encode("a", pair),
        lambda: tokenizer.encode_batch([text]),
        lambda: tokenizer.encode_batch(["a"], [pair]),
        lambda: tokenizer.encode_batch([("a", pair)]),
    ):
        said(call)


@every_kind
def test_batches_lengths_ids_and_paths_that_are_none(tokenizer, tmp_path):
    for texts in ("text", None, 3, [None], [("a",)], [("a", "b", "c")], [["a"]], [(None, None)], np.zeros((2, 2))):
        said(lambda texts=texts: tokenizer.encode_batch(texts))
    for pairs in ("a", 3, ["a", "b"], [3]):
        said(lambda pairs=pairs: tokenizer.encode_batch(["a"], pairs))
    for length in (-1, 0, 1, 2.5, True, "9", float("inf"), [3]):
        said(lambda length=length: tokenizer.encode("a b", max_length=length))
        said(lambda length=length: tokenizer.encode_batch(["a b"], max_length=length))
    for length in (10**30, np.int64(99), None):
        assert tokenizer.encode("a b", max_length=length) == tokenizer.encode("a b")
    for processes in (0, -1, None, 1.5, True, "2"):
        said(lambda processes=processes: tokenizer.encode_batch(["a"], processes=processes))
    for ids in (None, 3, "3", [10**9], [-1], [10**30], [0.0], [[0]], [None], ["0"], [True], np.zeros(1), np.eye(2)):
        said(lambda ids=ids: tokenizer.decode(ids))
    assert tokenizer.decode(np.array([1, 2])) == tokenizer.decode([1, 2]) == tokenizer.decode(iter([1, 2]))
    for token in (None, 3, [], "absent", "\ud800"):
        said(lambda token=token: tokenizer.id(token))
    for path in (None, 3, b"x", [], "a\0b", True):
        said(lambda path=path: tokenizer.save(path))
        said(lambda path=path: type(tokenizer).load(path))
    (tmp_path / "file").write_text("")
    said(lambda: tokenizer.save(tmp_path / "file"))


@pytest.mark.parametrize("train", [WordPiece.train, ByteLevelBPE.train, Unigram.train], ids=["w", "b", "u"])
def test_training_on_what_cannot_be_learnt_from(train):
    texts = ["the cat sat on the mat"] * 3
    for size in (0, -1, None, 10**9, 10**400, 2.5, True, "300"):
        said(lambda size=size: train(texts, size))
    for wrong in ("a text", None, 3, [None], [3], ["a\ud800"], [["a"]]):
        said(lambda wrong=wrong: train(wrong, 400))
    for options in ({"lowercase": "no"}, {"specials": None}, {"specials": {"pad": 3}}, {"specials": {"x": "<x>"}}):
        said(lambda options=options: train(texts, 400, **options))
    if train == Unigram.train:
        for share in (0, -1, 2, None, float("nan"), "x"):
            said(lambda share=share: train(texts, 400, character_coverage=share))
    else:
        said(lambda: train(texts, 400, min_frequency=None))
    if train != ByteLevelBPE.train:  # which has the bytes
        said(lambda: train([], 400))
        said(lambda: train(["", " "], 400))
        said(lambda: train(texts, 400, specials={"pad": "<pad>"}))  # roles that are all needed


@pytest.mark.parametrize("call", [
    lambda: WordPiece(None), lambda: WordPiece("abc"), lambda: WordPiece([None]), lambda: WordPiece(VOCABULARY, "no"),
    lambda: WordPiece(VOCABULARY, max_word_chars=-1), lambda: WordPiece(VOCABULARY, max_word_chars=2.5),
    lambda: WordPiece(VOCABULARY, added=["a"]), lambda: WordPiece(VOCABULARY, added={3: Added()}),
    lambda: WordPiece(VOCABULARY, added={"a": "yes"}), lambda: WordPiece(VOCABULARY, specials=None),
    lambda: WordPiece(VOCABULARY, specials={"pad": 3}), lambda: WordPiece(VOCABULARY, strip_accents="no"),
    lambda: ByteLevelBPE(None, []), lambda: ByteLevelBPE(PIECES, None), lambda: ByteLevelBPE(PIECES, ["he"]),
    lambda: ByteLevelBPE(PIECES, [("h", None)]), lambda: ByteLevelBPE(PIECES, [3]),
    lambda: ByteLevelBPE(PIECES, [("h",)]),
    lambda: ByteLevelBPE(PIECES, [], added={"a": True}), lambda: ByteLevelBPE(PIECES, [], specials={"pad": []}),
    lambda: ByteLevelBPE(PIECES, [], around="</s>"),
    lambda: Unigram(None, FAST.normal), lambda: Unigram(MODEL, None), lambda: Unigram(MODEL, FAST.normal, specials=3),
    lambda: Unigram(MODEL, FAST.normal, added=["a"]), lambda: Unigram(MODEL, FAST.normal, around="a"),
    lambda: Unigram(replace(MODEL, scores=[1e31] * len(MODEL.pieces)), FAST.normal),
    lambda: FAST.nbest("a", -1), lambda: FAST.nbest("a", None), lambda: FAST.nbest(None, 3),
    lambda: FAST.sample("a", np.random.default_rng(0), float("nan")), lambda: FAST.sample("a", None),
    lambda: FAST.sample("a", np.random.default_rng(0), 10**400), lambda: FAST.log_probability(3),
    lambda: tokenizers.tokenizer("\x1b[2J"), lambda: tokenizers.tokenizer(None), lambda: tokenizers.tokenizer([]),
])  # fmt: skip
def test_tokenizers_that_cannot_be_made(call):
    said(call)


# Files


def edited(folder, name, *keys, value):
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    item = content
    for key in keys[:-1]:
        item = item[key]
    item[keys[-1]] = value
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


@every_kind
def test_what_is_no_file_is_refused(tokenizer, tmp_path):
    """A folder, a FIFO and a device in the place of each file."""
    tokenizer.save(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        data = path.read_bytes()
        path.unlink()
        for make in (Path.mkdir,) if os.name == "nt" else (Path.mkdir, os.mkfifo, lambda at: at.symlink_to(os.devnull)):
            make(path)
            whole = tmp_path / "tokenizer.json"
            unread = whole.exists() and path.name in ("vocab.txt", "vocab.json", "merges.txt", "spiece.model")
            unread = unread or path.name == published.MAP  # the settings list the added tokens
            if not unread:
                assert "not a file" in said(lambda: type(tokenizer).load(tmp_path))
            if not path.is_dir() and (path.suffix != ".json" or path.name == "vocab.json"):
                assert "not a file" in said(lambda path=path: type(tokenizer).load(path))
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        path.write_bytes(data)
    assert type(tokenizer).load(tmp_path).encode("a") == tokenizer.encode("a")


def test_a_vocabulary_has_so_many_pieces_and_no_more(tmp_path, monkeypatch):
    WORDPIECE.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    monkeypatch.setattr(encoding, "MOST_PIECES", len(VOCABULARY))
    assert len(WordPiece.load(tmp_path)) == len(VOCABULARY)
    (tmp_path / "vocab.txt").write_text("".join(f"{p}\n" for p in [*VOCABULARY, "new", "newer"]), encoding="utf-8")
    monkeypatch.setattr(encoding, "indexed", lambda *_: pytest.fail("refused before the lines are cut"))
    assert f"may have {len(VOCABULARY)} pieces" in said(lambda: WordPiece.load(tmp_path))


def test_more_values_than_a_vocabulary_has_are_not_parsed(tmp_path, monkeypatch):
    WORDPIECE.save(tmp_path)
    for name in (published.CONFIG, published.MAP):
        (tmp_path / name).unlink()
    monkeypatch.setattr(strictjson, "MOST", 100)
    monkeypatch.setattr(strictjson.json.JSONDecoder, "decode", lambda *_: pytest.fail("refused before"))
    assert "more than 100 commas" in said(lambda: WordPiece.load(tmp_path))
    (tmp_path / "vocab.txt").unlink()
    assert "more than 100 commas" in said(lambda: tokenizers.load(tmp_path, "wordpiece"))


@pytest.mark.parametrize("size", [encoding.LONGEST_PIECE, encoding.LONGEST_PIECE + 1])
def test_a_piece_has_so_many_characters_and_no_more(tmp_path, size):
    long = "x" * size
    for make in (
        lambda: WordPiece([*VOCABULARY, long]),
        lambda: WordPiece(VOCABULARY, added={long: Added()}),
        lambda: ByteLevelBPE([*PIECES, long], MERGES),
        lambda: ByteLevelBPE(PIECES, MERGES, added={long: Added()}),
        lambda: Unigram(replace(MODEL, pieces=[*MODEL.pieces[:-1], long]), FAST.normal),
        lambda: Unigram(MODEL, FAST.normal, added={long: Added()}),
    ):
        if size == encoding.LONGEST_PIECE:
            assert make().id(long)
        else:
            assert "longer than 256 characters" in said(make)


@pytest.mark.parametrize("most", [10**9, 10**30])
def test_words_may_be_as_long_as_a_file_says(tmp_path, most):
    WORDPIECE.save(tmp_path)
    edited(tmp_path, "tokenizer.json", "model", "max_input_chars_per_word", value=most)
    made = WordPiece.load(tmp_path)
    assert made.ids("ab" * 12_000) == [made.id("a"), *[made.id("##b"), made.id("##a")] * 11_999, made.id("##b")]
    assert made.ids("ab" * 12_000 + "\u4e8c\u0e01") == made.ids("ab" * 12_000) + [made.unk_id] * 2


@every_kind
def test_settings_of_length_change_no_id(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    edited(tmp_path, "tokenizer_config.json", "model_max_length", value=10**30)
    if (tmp_path / "tokenizer.json").exists():
        cut = {"direction": "Right", "max_length": 10**30, "strategy": "LongestFirst", "stride": -5}
        edited(tmp_path, "tokenizer.json", "truncation", value=cut)
        edited(tmp_path, "tokenizer.json", "padding", value={"strategy": {"Fixed": 10**12}, "pad_id": -1})
    assert type(tokenizer).load(tmp_path).encode_batch(["a b", "c"]) == tokenizer.encode_batch(["a b", "c"])


def template(**changes):
    special = {token: {"id": token, "ids": [PIECES.index(token)], "tokens": [token]} for token in ("<s>", "</s>")}
    items = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = [*items, {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": items, "pair": pair, "special_tokens": special} | changes


def test_templates_are_short_and_known(tmp_path):
    BYTE_LEVEL.save(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()

    def load(post):
        edited(tmp_path, "tokenizer.json", "post_processor", value=post)
        return ByteLevelBPE.load(tmp_path)

    good = template()
    special = good["single"][0]
    assert load(good).encode("a").ids == [PIECES.index("<s>"), PIECES.index("a")]
    nested = good
    for _ in range(150):
        nested = {"type": "Sequence", "processors": [nested, {"type": "ByteLevel"}]}
    twice = {"<s>": {"id": "<s>", "ids": [1, 2], "tokens": ["a", "b"]}}
    for post in (
        template(single=[special] * 100_000 + good["single"]),
        template(single=[{"SpecialToken": {"id": "<s>", "type_id": 10**30}}, good["single"][1]]),
        template(single=[{"SpecialToken": {"id": "<s>", "type_id": -1}}, good["single"][1]]),
        template(special_tokens=twice),  # published, this puts two tokens there
        template(special_tokens={}),
        template(special_tokens=None),
        template(single=7),
        template(single={"a": 1}),
        nested,
    ):
        assert "post_processor" in said(lambda post=post: load(post))


SCORES = [1e31, -1e31, 1e300, 10**400, -(10**400), "1", None, True]


@pytest.mark.parametrize("score", SCORES, ids=lambda x: f"{x!s:.6}")
def test_scores_that_no_float32_sum_can_hold(tmp_path, score):
    FAST.save(tmp_path)
    edited(tmp_path, "tokenizer.json", "model", "vocab", 7, 1, value=score)
    assert "e+30" in said(lambda: Unigram.load(tmp_path))


def test_large_scores_are_computed_with(tmp_path):
    scores = [s if abs(s) < 7 else -(2.0**100) for s in MODEL.scores]
    made = Unigram(replace(MODEL, scores=scores), FAST.normal)
    made.save(tmp_path)
    for again in (Unigram.load(tmp_path), Unigram.load(tmp_path / "spiece.model")):
        assert again.tokenize("the s the s")[0] == f"{META}the"
        assert again.ids("zq" * 2000)


FIELD = sentencepiece_model._message
GOOD = sentencepiece_model.encoded(MODEL)


@pytest.mark.parametrize(("data", "what"), [
    (GOOD + FIELD([(1, FIELD([(1, b"zz"), *[(9, 1)] * 8]))]), "more than 8 fields"),
    (GOOD + FIELD([(1, FIELD([(1, b"x" * 65_000)]))]), "1024 bytes"),
    (GOOD + FIELD([(1, FIELD([(1, b"zz"), (2, 1e31)]))]), "e+30"),
    (GOOD + FIELD([(3, FIELD([(2, b"\0" * (1 << 22) + b"\0")]))]), "4194304"),
])  # fmt: skip
def test_a_spiece_model_keeps_its_bounds(tmp_path, data, what):
    (tmp_path / "spiece.model").write_bytes(data)
    assert what in said(lambda: Unigram.load(tmp_path))


@pytest.mark.parametrize(("name", "count"), [("MOST_PIECES", "40 pieces"), ("_MAX_FIELDS", "40 fields")])
def test_a_spiece_model_has_so_many_pieces_and_fields(monkeypatch, name, count):
    monkeypatch.setattr(sentencepiece_model, name, 40)
    fields = GOOD if name == "MOST_PIECES" else FIELD([(99, 1)] * 41)
    most = {} if name == "MOST_PIECES" else {"most": 40}
    call = (lambda: sentencepiece_model.decoded(fields)) if not most else (
        lambda: list(sentencepiece_model._fields(fields, {}, "model", **most))
    )  # fmt: skip
    assert f"more than {count}" in said(call)


@pytest.mark.parametrize(("keys", "value"), [
    (("added_tokens_decoder",), {"9" * 5000: {"content": "x", "special": True}}),
    (("added_tokens_decoder",), {"\u0663": {"content": "x", "special": True}}),
    (("added_tokens_decoder",), {"3": {"content": ["x"], "special": True}}),
    (("cls_token",), 5),
    (("mask_token",), {"content": None, "lstrip": True}),
    (("mask_token",), ["<mask>"]),
])  # fmt: skip
def test_settings_that_say_nothing_usable(tmp_path, keys, value):
    BYTE_LEVEL.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    edited(tmp_path, "tokenizer_config.json", *keys, value=value)
    said(lambda: ByteLevelBPE.load(tmp_path))


ESCAPE = "\x1b[2J\u202e"


@pytest.mark.parametrize(("name", "keys"), [
    ("tokenizer.json", ("post_processor",)), ("tokenizer.json", ("model", "unk_token")),
    ("tokenizer.json", ("normalizer", "type")), ("tokenizer.json", ("added_tokens", 0, "content")),
    ("tokenizer_config.json", ("do_lower_case",)), ("tokenizer_config.json", ("cls_token",)),
])  # fmt: skip
def test_foreign_text_does_nothing_to_a_terminal(tmp_path, name, keys):
    folder = tmp_path / "a\x1bb" if os.name != "nt" else tmp_path / "ab"
    WORDPIECE.save(folder)
    for value in (ESCAPE, {"type": ESCAPE}, [ESCAPE] * 10_000):
        edited(folder, name, *keys, value=value)
        if keys[0] == "cls_token" and isinstance(value, str):
            (folder / "tokenizer.json").unlink()
        said(lambda: WordPiece.load(folder))


def test_deep_nesting_is_one_line(tmp_path):
    WORDPIECE.save(tmp_path)
    for depth in (400, 900, 100_000):
        data = '{"model": ' + '{"a":[' * depth + "]}" * depth + "}"
        (tmp_path / "tokenizer.json").write_text(data, encoding="utf-8")
        said(lambda: tokenizers.load(tmp_path, "wordpiece"))
        content = f'{{"model": {{"type": "WordPiece", "unk_token": {"[" * depth + "]" * depth}}}}}'
        (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
        said(lambda: tokenizers.load(tmp_path, "wordpiece"))


def test_many_added_tokens_are_found(tmp_path):
    rng = random.Random(0)
    tokens = list(dict.fromkeys("<" + "".join(rng.choices("ab", k=rng.randint(1, 40))) for _ in range(8192)))
    made = WordPiece(VOCABULARY, added=dict.fromkeys(tokens, Added(special=False)))
    for token in tokens[::97]:
        assert made.tokenize(f"a{token}c") == ["a", token, "c"]
    assert made.tokenize("<".join(["", *"c" * 300])) == ["[UNK]", "c"] * 300
    assert "8192" in said(lambda: WordPiece(VOCABULARY, added=dict.fromkeys(map(str, range(8193)), Added())))
