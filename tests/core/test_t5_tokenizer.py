"""T5's tokenizer: sentinels counted down from the end, </s> behind a text and nothing before it, published files."""

import io
import json
from dataclasses import replace

import pytest
from test_unigram import NO_SENTENCEPIECE, lines, strings_for

from minibert.errors import InputError
from minibert.tokenizers import load, sentencepiece_model
from minibert.tokenizers.unigram import Unigram
from minibert.tokenizers.unigram_files import T5

TEXT = ["The quick brown fox jumps over the lazy dog.", "A naïve Café, 3,000 dogs!", "over the dog and the fox"] * 4


@pytest.fixture(scope="module")
def ours():
    return Unigram.train(TEXT, 60, lowercase=False, specials=T5, extra_ids=10)


def test_a_vocabulary_that_is_learnt(ours):
    assert len(ours) == 60
    assert ours.tokens[:3] == ["<pad>", "</s>", "<unk>"]
    assert ours.tokens[50:] == [f"<extra_id_{i}>" for i in range(9, -1, -1)]
    assert (ours.pad_id, ours.eos_id, ours.unk_id) == (0, 1, 2)
    assert (ours.cls_id, ours.sep_id, ours.mask_id, ours.bos_id) == (None,) * 4
    assert ours.special_ids == {0, 1, 2, *range(50, 60)}
    one, pair = ours.encode("Café"), ours.encode("the", "dog")
    assert one.ids[-1] == 1
    assert one.ids[:-1] == ours.ids("Café")
    assert pair.ids == [*ours.ids("the"), 1, *ours.ids("dog"), 1]
    assert set(pair.type_ids) == {0}
    assert ours.decode(one.ids) == "Café"  # capitals and accents are kept
    assert ours.ids("fox <extra_id_0> dog<extra_id_9>")[-1] == 50
    assert 59 in ours.ids("fox <extra_id_0> dog")
    assert ours.ids("``") == [ours.index["▁"], 2]  # no preparation of quotes


def test_what_is_saved_loads_again(tmp_path, ours):
    ours.save(tmp_path)
    said = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert (said["tokenizer_class"], said["extra_ids"]) == ("T5Tokenizer", 10)
    again = load(tmp_path, "wordpiece")
    assert isinstance(again, Unigram)
    (tmp_path / "tokenizer.json").unlink()
    alone = load(tmp_path, "wordpiece")
    for other in (again, alone):
        assert (other.tokens, other.layout, other.specials) == (ours.tokens, ours.layout, ours.specials)
        assert [other.encode(text).ids for text in TEXT[:3]] == [ours.encode(text).ids for text in TEXT[:3]]


def test_sentinels_follow_the_pieces_of_a_spiece_model(tmp_path, ours):
    model = ours.model
    cut = replace(model, pieces=model.pieces[:50], scores=model.scores[:50], types=model.types[:50])
    (tmp_path / "spiece.model").write_bytes(sentencepiece_model.encoded(cut))
    usual = Unigram.load(tmp_path)
    assert (len(usual), usual.index["<extra_id_0>"], usual.index["<extra_id_99>"]) == (150, 149, 50)
    for said, count in ({"extra_ids": 7}, 7), ({"extra_ids": 0, "tokenizer_class": "MT5Tokenizer"}, 0), (
        {"tokenizer_class": "T5Tokenizer", "additional_special_tokens": [f"<extra_id_{i}>" for i in range(100)]}, 100
    ):  # fmt: skip
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(said), encoding="utf-8")
        made = Unigram.load(tmp_path)
        assert made.tokens[50:] == [f"<extra_id_{i}>" for i in range(count - 1, -1, -1)]
    for wrong in (-1, "7", 10**9):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"extra_ids": wrong}), encoding="utf-8")
        with pytest.raises(InputError, match="extra_ids is"):
            Unigram.load(tmp_path)


def test_roles_that_are_none(ours):
    with pytest.raises(InputError, match="unk, and any of"):
        Unigram(ours.model, ours.normal, {"pad": "<pad>"})
    with pytest.raises(InputError, match="cls and sep go together"):
        Unigram(ours.model, ours.normal, {**T5, "cls": "<pad>"})
    with pytest.raises(InputError, match="lacks the special token '<s>'"):
        Unigram(ours.model, ours.normal, {**T5, "bos": "<s>"}, added={})


# ---- Against the published programs ----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def spiece(tmp_path_factory):
    """(a directory with a spiece.model as T5's was trained, SentencePiece's processor of it)."""
    spm = pytest.importorskip("sentencepiece", reason=NO_SENTENCEPIECE)
    import pydoc_data.topics

    out = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines([*pydoc_data.topics.topics.values()][:50])), model_writer=out, vocab_size=1000,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=2,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("spiece")
    (folder / "spiece.model").write_bytes(out.getvalue())
    return folder, spm.SentencePieceProcessor(model_proto=out.getvalue())


def test_equal_to_sentencepiece(spiece):
    folder, theirs = spiece
    alone = Unigram.load(folder, specials_in_text=False)
    strings = strings_for(alone.tokens, 2000, seed=2)
    assert [ascii(text) for text in strings if theirs.encode(text) != alone.ids(text)] == []


def test_equal_to_transformers_on_hard_strings(spiece, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    theirs = transformers.T5Tokenizer.from_pretrained(str(spiece[0]))
    theirs.save_pretrained(str(tmp_path))
    ours = Unigram.load(tmp_path)
    assert (len(ours), ours.pad_id, ours.eos_id) == (1100, theirs.pad_token_id, theirs.eos_token_id)
    marks = [f"<extra_id_{i}>" for i in (0, 1, 9, 99, 100)]
    strings = [*strings_for(ours.tokens, 10_000, seed=3), *(f"a{x} b {x}{y}" for x in marks for y in marks)]
    assert [ascii(text) for text in strings if theirs(text)["input_ids"] != ours.encode(text).ids] == []
    for text, pair in zip(strings[:300], strings[300:600], strict=True):
        assert theirs(text, pair)["input_ids"] == ours.encode(text, pair).ids
        assert theirs.decode(ours.ids(text)) == ours.decode(ours.ids(text), skip_special_tokens=False)


def test_transformers_reads_what_we_save(ours, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    ours.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    assert type(theirs).__name__.startswith("T5Tokenizer")
    for text in [*TEXT[:3], "fox <extra_id_0> dog<extra_id_9>  Café ``x'' 中"]:
        assert theirs(text)["input_ids"] == ours.encode(text).ids
