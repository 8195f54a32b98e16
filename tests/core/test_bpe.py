"""Joint byte-pair encoding: one vocabulary of two languages, what comes back, its file, equality with the published."""

import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_unigram import NO_TOKENIZERS, strings_for

from minibert.errors import InputError
from minibert.tokenizers import load
from minibert.tokenizers.bpe import BPE, SPECIALS
from minibert.tokenizers.byte_level import CHARACTERS, ByteLevelBPE

ENGLISH = ["The file could not be found.", "Cannot open %s: %s", "the house and the horse", "a file, two files"] * 3
GERMAN = ["Die Datei wurde nicht gefunden.", "Kann %s nicht öffnen: %s", "das Haus und das Pferd", "eine Datei"] * 3
JOINT = BPE.train([*ENGLISH, *GERMAN], 140)


def merged(word, merges):
    """The published algorithm, one pair at a time over the whole word (subword-nmt's encode)."""
    symbols = list(word)  # a text, or the characters
    while True:
        pairs = [(merges.index(pair), i) for i, pair in enumerate(itertools.pairwise(symbols)) if pair in merges]
        if not pairs:
            return symbols
        best = merges[min(pairs)[0]]
        out = []
        while symbols:
            if tuple(symbols[:2]) == best:
                out.append("".join(best))
                del symbols[:2]
            else:
                out.append(symbols.pop(0))
        symbols = out


def test_one_vocabulary_of_two_languages():
    assert JOINT.tokens[:4] == list(SPECIALS.values())
    assert (JOINT.pad_id, JOINT.bos_id, JOINT.eos_id, JOINT.unk_id) == (0, 1, 2, 3)
    assert (JOINT.cls_id, JOINT.sep_id, JOINT.mask_id) == (None,) * 3
    for text in (*ENGLISH, *GERMAN):
        assert JOINT.decode(JOINT.ids(text)) == text
        assert JOINT.unk_id not in JOINT.ids(text)
    assert "▁Datei" in JOINT.tokens
    assert "▁file" in JOINT.tokens
    alone = BPE.train(ENGLISH, 140)
    assert "▁Datei" not in alone.tokens
    again = BPE.train([*ENGLISH, *GERMAN], 140)
    assert (again.tokens, again.merges) == (JOINT.tokens, JOINT.merges)
    one, pair = JOINT.encode("the file"), JOINT.encode("the", "file")
    assert one.ids == [*JOINT.ids("the file"), 2]
    assert pair.ids == [*JOINT.ids("the"), 2, *JOINT.ids("file"), 2]
    assert JOINT.encode("the </s> file").ids == [*JOINT.ids("the"), 2, *JOINT.ids("file"), 2]
    assert JOINT.ids("日 the") == [JOINT.index["▁"], 3, *JOINT.ids("the")]
    assert BPE.train(["ÄÖ äö " * 5], 20, lowercase=True).tokens[4:] == ["ä", "ö", "▁", "äö", "▁äö"]


@given(st.lists(st.text("Dateihousfl% .,", max_size=12), max_size=5).map(" ".join))
def test_pieces_are_the_scalar_doubles(text):
    due = [piece for word in text.split() for piece in merged(f"▁{word}", JOINT.merges)]
    known = [piece if piece in JOINT.index else "<unk>" for piece in due]
    assert JOINT.tokenize(text) == known
    assert JOINT.encode(text).ids[:-1] == JOINT.ids(text)


def test_what_is_saved_loads_again(tmp_path):
    for made in (JOINT, BPE.train(ENGLISH, 90, lowercase=True, specials={"unk": "<unk>", "eos": "</s>"})):
        made.save(tmp_path)
        again = load(tmp_path, "wordpiece")
        assert isinstance(again, BPE)
        assert [again.encode(text).ids for text in GERMAN] == [made.encode(text).ids for text in GERMAN]
        assert (again.specials, again.pad_id) == (made.specials, made.pad_id)
    ByteLevelBPE([*CHARACTERS], [], specials={}).save(tmp_path / "bytes")
    assert isinstance(load(tmp_path / "bytes", "wordpiece"), ByteLevelBPE)


@pytest.mark.parametrize(("edit", "says"), [
    (lambda c: c["model"].update(end_of_word_suffix="</w>"), "end_of_word_suffix is '</w>'"),
    (lambda c: c["model"].update(fuse_unk=True), "fuse_unk is True"),
    (lambda c: c["model"].update(unk_token=None), "unk_token is None"),
    (lambda c: c["model"].update(merges=[["a", "zzz"]]), "merge 0"),
    (lambda c: c.update(normalizer={"type": "NFC"}), "is not Lowercase"),
    (lambda c: c["pre_tokenizer"]["pretokenizers"].pop(0), "only WhitespaceSplit, Metaspace"),
    (lambda c: c.update(decoder={"type": "WordPiece"}), "only Metaspace"),
    (lambda c: c["model"]["vocab"].update({"▁": 10**7}), "ids of the"),
])  # fmt: skip
def test_unusable_files(tmp_path, edit, says):
    JOINT.save(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    edit(content)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=says):
        load(tmp_path, "bpe")


def test_unusable_training():
    for call, says in (
        (lambda: BPE.train(ENGLISH, 20), "vocabulary_size 20 is below"),
        (lambda: BPE.train("one text", 90), "texts: several are due"),
        (lambda: BPE.train(ENGLISH, 90, specials={"pad": "<pad>"}), "unk, and any of"),
        (lambda: BPE(["<unk>", "a"], [("a", "b")], {"unk": "<unk>"}), "'b' is not in the vocabulary"),
    ):
        with pytest.raises(InputError, match=says):
            call()


def test_equal_to_the_published_program_on_hard_strings(tmp_path):
    tk = pytest.importorskip("tokenizers", reason=NO_TOKENIZERS)
    rng = random.Random(5)
    for lowercase in (False, True):
        JOINT.save(tmp_path) if not lowercase else BPE.train([*ENGLISH, *GERMAN], 130, lowercase=True).save(tmp_path)
        ours, theirs = load(tmp_path, "bpe"), tk.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        strings = strings_for(ours.tokens, 2_000 if lowercase else 10_000, seed=4)
        wrong = [ascii(text) for text in strings if theirs.encode(text).ids != ours.encode(text).ids]
        assert wrong == []
        for text in rng.sample(strings, 1000):
            want, got = theirs.encode(text), ours.encode(text)
            assert (want.offsets, want.tokens) == (got.offsets, got.tokens), ascii(text)
            assert ours.ids(text) == want.ids[:-1], ascii(text)
            assert theirs.decode(want.ids) == ours.decode(got.ids), ascii(text)
