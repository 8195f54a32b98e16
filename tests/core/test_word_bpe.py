"""Byte-pair encoding of words with </w> at their ends: pieces, files, equality with the published program."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_bpe import merged
from test_unigram import NO_TOKENIZERS, strings_for

from minibert.errors import InputError
from minibert.tokenizers import load
from minibert.tokenizers.byte_level import ByteLevelBPE
from minibert.tokenizers.word_bpe import SPECIALS, WordBPE, symbols

TEXTS = ["The newest, widest file could not be found.", "lower and newer; the lowest!", "Ännchen's café: 10 files"] * 3
LEARNT = WordBPE.train(TEXTS, 110)


def test_a_word_ends_in_its_last_piece():
    assert (LEARNT.tokens[0], LEARNT.unk_id, LEARNT.pad_id, LEARNT.continues) == ("<unk>", 0, None, None)
    assert symbols("low") == ["l", "o", "w</w>"]
    assert symbols("a") == ["a</w>"]
    assert LEARNT.tokenize("newest low") == ["newest</w>", "lo", "w</w>"]
    assert LEARNT.decode(LEARNT.ids("The Lowest file!")) == "the lowest file !"
    assert LEARNT.decode([]) == ""
    assert LEARNT.ids("日 a") == [0, LEARNT.index["a</w>"]]
    one = LEARNT.encode("low <unk> er", "file")
    assert one.type_ids == [0] * (len(one) - len(LEARNT.ids("file"))) + [1] * len(LEARNT.ids("file"))
    assert one.ids == [*LEARNT.ids("low"), 0, *LEARNT.ids("er"), *LEARNT.ids("file")]
    again = WordBPE.train(TEXTS, 110)
    assert (again.tokens, again.merges) == (LEARNT.tokens, LEARNT.merges)


def test_the_paper_s_toy_text():
    """low 5, lower 2, newest 6, widest 3 (E3): of equal counts the smaller ids."""
    made = WordBPE.train(["low " * 5 + "lower " * 2 + "newest " * 6 + "widest " * 3], 1 + 20 + 6)
    assert made.merges == [("e", "s"), ("es", "t</w>"), ("l", "o"), ("e", "w"), ("n", "ew"), ("new", "est</w>")]


@given(st.lists(st.text("newstrlofid", min_size=1, max_size=9), max_size=4))
def test_pieces_are_the_scalar_doubles(words):
    """One pair at a time over the whole word."""
    due = [piece for word in words for piece in merged(symbols(word), LEARNT.merges)]
    assert LEARNT.tokenize(" ".join(words)) == [piece if piece in LEARNT.index else "<unk>" for piece in due]


def test_what_is_saved_loads_again(tmp_path):
    cased = WordBPE.train(TEXTS, 120, lowercase=False, specials={"pad": "<pad>", **SPECIALS})
    for made in (LEARNT, cased):
        made.save(tmp_path)
        again = load(tmp_path, "wordpiece")
        assert isinstance(again, WordBPE)
        assert [again.encode(text).ids for text in TEXTS] == [made.encode(text).ids for text in TEXTS]
        assert (again.specials, again.pad_id) == (made.specials, made.pad_id)
    LEARNT.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    two = load(tmp_path, "word_bpe")  # what the two files alone are, the family says
    assert [two.ids(text) for text in TEXTS] == [LEARNT.ids(text) for text in TEXTS]
    with pytest.raises(InputError, match="tokenizer_class 'OpenAIGPTTokenizer' is not one"):
        load(tmp_path, "byte_level")
    ByteLevelBPE.train(TEXTS, 300).save(tmp_path)
    assert isinstance(load(tmp_path, "word_bpe"), ByteLevelBPE)


@pytest.mark.parametrize(("edit", "says"), [
    (lambda c: c["model"].update(end_of_word_suffix="@"), "end_of_word_suffix is '@'"),
    (lambda c: c["model"].update(fuse_unk=True), "fuse_unk is True"),
    (lambda c: c["model"].update(unk_token=None), "unk_token is None"),
    (lambda c: c["model"].update(merges=[["a", "zzz"]]), "merge 0"),
    (lambda c: c["normalizer"].update(clean_text=False), "is not BERT's"),
    (lambda c: c.update(normalizer={"type": "Lowercase"}), "is not BERT's"),
    (lambda c: c.update(pre_tokenizer={"type": "Whitespace"}), "only BertPreTokenizer"),
    (lambda c: c.update(decoder={"type": "WordPiece"}), "only BPEDecoder"),
])  # fmt: skip
def test_unusable_files(tmp_path, edit, says):
    LEARNT.save(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    edit(content)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=says):
        load(tmp_path, "word_bpe")


def test_unusable_training():
    for call, says in (
        (lambda: WordBPE.train(TEXTS, 20), "vocabulary_size 20 is below"),
        (lambda: WordBPE.train("one text", 90), "texts: several are due"),
        (lambda: WordBPE.train(TEXTS, 90, specials={"pad": "<pad>"}), "unk, and any of"),
        (lambda: WordBPE(["<unk>", "a"], [("a", "b")]), "'b' is not in the vocabulary"),
    ):
        with pytest.raises(InputError, match=says):
            call()


def test_equal_to_the_published_program_on_hard_strings(tmp_path):
    tk = pytest.importorskip("tokenizers", reason=NO_TOKENIZERS)
    rng = random.Random(5)
    for made in (LEARNT, WordBPE.train(TEXTS, 130, lowercase=False)):
        made.save(tmp_path)
        ours, theirs = load(tmp_path, "bpe"), tk.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        strings = strings_for(ours.tokens, 2_000, seed=4)
        assert [ascii(text) for text in strings if theirs.encode(text).ids != ours.encode(text).ids] == []
        for text in rng.sample(strings, 500):
            want, got = theirs.encode(text), ours.encode(text)
            assert (want.offsets, want.tokens) == (got.offsets, got.tokens), ascii(text)
            assert ours.ids(text) == want.ids, ascii(text)
            assert theirs.decode(want.ids) == ours.decode(got.ids), ascii(text)


def test_the_published_class_reads_its_files(tmp_path):
    transformers = pytest.importorskip("transformers", reason=NO_TOKENIZERS)
    LEARNT.save(tmp_path)
    theirs = transformers.OpenAIGPTTokenizer.from_pretrained(tmp_path)
    assert [theirs(text)["input_ids"] for text in TEXTS] == [LEARNT.encode(text).ids for text in TEXTS]
    theirs.save_pretrained(tmp_path / "theirs")
    again = load(tmp_path / "theirs", "word_bpe")
    assert [again.encode(text).ids for text in TEXTS] == [LEARNT.encode(text).ids for text in TEXTS]
