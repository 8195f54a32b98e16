"""XLM's byte-pair encoding: as subword-nmt's papers merge, files of the release and of ports, the published class."""

import json

import pytest

from minibert.errors import InputError
from minibert.tokenizers import load
from minibert.tokenizers.fast_bpe import FIRST, FastBPE

TEXT = ["low lower lowest newest widest, low low new", "Der Hund lief; die Hunde liefen.", "使用语言模型 使用"] * 5
HARD = ["", "lowest newest!", "wid low-er", "</s> hund", "使用, 模型", "naïve \u200b lower", "</w> @@ low@@ er",
        "x" * 300]  # fmt: skip


@pytest.fixture(scope="module")
def made():
    return FastBPE.train(TEXT, 90)


def test_pieces_go_on_with_two_at_signs(made):
    assert made.tokenize("low lowest")[0] == "low"
    pieces = made.tokenize("lowest")
    assert [piece.endswith("@@") for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert "".join(piece.removesuffix("@@") for piece in pieces) == "lowest"
    assert made.decode(made.ids("low lowest Hund")) == "low lowest Hund"
    assert made.tokens[:14] == [*FIRST]


@pytest.mark.parametrize("text", HARD)
def test_offsets_are_those_of_the_text(made, text):
    found = made.encode(text)
    assert (found.tokens[0], found.tokens[-1]) == ("</s>", "</s>")
    assert found.ids[1:-1] == made.ids(text)
    for token, (start, end) in zip(found.tokens[1:-1], found.offsets[1:-1], strict=True):
        if token not in FIRST:
            assert text[start:end] == token.removesuffix("@@")


def test_a_pair_is_that_of_a_translation(made):
    found = made.encode("low", "new")
    assert found.tokens == ["</s>", *made.tokenize("low"), "</s>", "</s>", *made.tokenize("new"), "</s>"]
    assert set(found.type_ids) == {0}


def test_merges_are_the_most_frequent_first():
    """By hand: "ab" stands 5 times, "abc" 2; of a pair at a word's end </w> is part."""
    made = FastBPE.train(["ab ab ab abc abc"], len(FIRST) + 6, min_frequency=1)
    assert made.merges == [("a", "b</w>"), ("a", "b"), ("ab", "c</w>")][: len(made.merges)]
    assert made.tokenize("ab abc") == ["ab", "abc"] if len(made.merges) == 3 else True
    with pytest.raises(InputError, match="vocabulary_size 15 is below"):
        FastBPE.train(["ab ab abc"], 15)


def test_files_of_the_release_and_of_ports_say_the_same(made, tmp_path):
    made.save(tmp_path / "ours")
    again = load(tmp_path / "ours", "fast_bpe")
    assert (again.tokens, again.merges) == (made.tokens, made.merges)
    (tmp_path / "bare").mkdir()
    for file in ("codes", "vocab"):
        (tmp_path / "bare" / file).write_bytes((tmp_path / "ours" / file).read_bytes())
    spelt = [t if t in FIRST else t.removesuffix("@@") if t.endswith("@@") else f"{t}</w>" for t in made.tokens]
    (tmp_path / "ports").mkdir()
    (tmp_path / "ports" / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(spelt)}), encoding="utf-8")
    merges = "".join(f"{a} {b} 7\n" for a, b in made.merges)
    (tmp_path / "ports" / "merges.txt").write_text(merges, encoding="utf-8")
    for folder in ("bare", "ports"):
        read = load(tmp_path / folder, "fast_bpe")
        assert [read.ids(text) for text in HARD] == [made.ids(text) for text in HARD]
    (tmp_path / "ports" / "merges.txt").write_text("".join(f"{a} {b}\n" for a, b in made.merges[:1]), encoding="utf-8")
    with pytest.raises(InputError, match="ports"):  # another kind's files are called so: the family decides
        load(tmp_path / "ports", "byte_level")


@pytest.mark.parametrize(("file", "text", "match"), [
    ("vocab", "low\n", "vocab, line 1: 'low' is no piece with its count"),
    ("vocab", "low 1\nlow 2\n", "the piece 'low' twice"),
    ("codes", "l o 1\n" + "a" * 200 + " " + "b" * 200 + " 1\n", "merge 1 is .* not two symbols"),
    ("tokenizer_config.json", '{"tokenizer_class": "BertTokenizer"}', "tokenizer_class 'BertTokenizer'"),
    ("special_tokens_map.json", '{"mask_token": "<gone>"}', "lacks the special token '<gone>'"),
])  # fmt: skip
def test_a_damaged_file_is_refused(made, tmp_path, file, text, match):
    made.save(tmp_path)
    (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=match):
        FastBPE.load(tmp_path)


def test_words_are_merged_as_the_published_class_merges_them(made):
    kind = pytest.importorskip("transformers", reason="compares with the published tokenizer").XLMTokenizer
    theirs = kind.__new__(kind)
    theirs.cache, theirs.bpe_ranks = {}, {pair: rank for rank, pair in enumerate(made.merges)}
    for word in ["low", "lower", "lowest", "newest", "wider", "Hunde", "x", "使用"]:
        pieces = [p.removesuffix("</w>") if p.endswith("</w>") else f"{p}@@" for p in kind.bpe(theirs, word).split(" ")]
        assert [p if p in made.index else "<unk>" for p in pieces] == made.tokenize(word) or "使" in word
