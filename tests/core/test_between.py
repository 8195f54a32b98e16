"""The data of encoder-decoders on their way into a run: rows on disk, noised when served, pairs of texts."""

import types

import numpy as np
import pytest

from minibert import data, families, parallel
from minibert.corpus import Part
from minibert.corruption import denoising, spans, translation
from minibert.corruption.masking import Vocabulary
from minibert.errors import InputError
from minibert.families import gpt2
from minibert.objective import Term
from minibert.tokenizers.bpe import BPE
from minibert.tokenizers.byte_level import ByteLevelBPE
from minibert.tokenizers.unigram import Unigram
from minibert.tokenizers.unigram_files import T5

TEXTS = [["The cat sat on a mat.", "It was a fine day.", "The dog was away."] * 4, ["A cat and a dog, and so on."] * 9]
FLAT = [*TEXTS[0], *TEXTS[1]]
MAKERS = {
    "denoising": (denoising.Denoised, denoising, lambda: ByteLevelBPE.train(FLAT, 300)),
    "spans": (spans.Spans, spans, lambda: Unigram.train(FLAT, 60, False, specials=T5, extra_ids=20)),
}


def toy(name, maker, options):
    """A family with no network: its specs, and three lines of data."""
    module = types.ModuleType(f"toys.{name}")
    module.__getattr__ = lambda part: getattr(gpt2, part)
    head = types.SimpleNamespace(LABELS={"labels": "(B,S)<vocab_size|-100"})
    module.terms = lambda config: {"written": Term(head)}
    module.inputs = lambda config: {"input_ids": "(B,T)<vocab_size", "attention_mask": "?(B,T)?"}
    module.lengths = lambda config: {"T": ("attention_mask", 99)}
    module.Data, module.rows, module.corrupt = options, maker.rows, maker.corrupt
    return module


@pytest.mark.parametrize("masking", ["static", "dynamic"])
@pytest.mark.parametrize("kind", MAKERS)
def test_a_familys_three_lines(tmp_path, monkeypatch, kind, masking):
    options, maker, learnt = MAKERS[kind]
    module = toy(f"toy_{kind}", maker, options)
    monkeypatch.setitem(families._registered, f"toy_{kind}", module)
    chosen = options(seq_length=32, duplicates=3, masking=masking, **({"rate": 0.3} if kind == "denoising" else {}))
    recipe = data.Recipe(f"toy_{kind}", learnt(), chosen, seed=3)
    sizes = np.array([sum(map(len, document)) for document in TEXTS])
    text = Part(TEXTS, sizes, np.ones(2, bool), None, sizes)
    assert recipe.masking == masking
    made, again = (data.made(recipe, text, "train", tmp_path / name) for name in "ab")
    held_out = data.made(recipe, text, "held_out", tmp_path / "a")
    for one, two in zip(made.fields(), again.fields(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert set(held_out[np.arange(2)]) == {"input_ids", "attention_mask", "labels"}  # noised once
    stamp = (tmp_path / "a" / "train-00000" / data.ROWS).stat().st_mtime_ns
    data.made(recipe, text, "train", tmp_path / "a")
    assert (tmp_path / "a" / "train-00000" / data.ROWS).stat().st_mtime_ns == stamp  # it is taken for what it is
    rows = made[np.arange(4)]
    served = [rows, rows] if masking == "static" else [recipe.corrupted(rows, np.random.default_rng(i)) for i in (0, 1)]
    for batch in served:
        assert {name: batch[name].shape[0] for name in batch} == {"input_ids": 4, "attention_mask": 4, "labels": 4}
    same = np.array_equal(served[0]["input_ids"], served[1]["input_ids"])
    assert same == (masking == "static")


# ---- Pairs of texts --------------------------------------------------------------------------------------------------
VOCABULARY = Vocabulary(40, pad=0, end=2, specials=(0, 1, 2, 3))


def test_rows_of_pairs():
    pairs = [[[5, 6, 7], [8, 9]], [[10] * 8, [11]], [[12], [13] * 7], [[], [14]], [[15], [16]], [[17]]]
    chosen = translation.Pairs(seq_length=8, duplicates=2)
    made = translation.rows(pairs, np.random.default_rng(0), VOCABULARY, chosen)
    again = translation.rows(pairs, np.random.default_rng(0), VOCABULARY, chosen)
    found = []
    for read, there, written in zip(*made.values(), strict=True):
        assert read[there == 0].tolist() == [0] * int((there == 0).sum())
        found.append((read[there == 1].tolist(), written[written != -100].tolist()))
    assert sorted(found) == sorted([([5, 6, 7, 2], [8, 9, 2]), ([12, 2], [*[13] * 7, 2]), ([15, 2], [16, 2])] * 2)
    for name, array in made.items():
        assert array.dtype == np.int32
        assert array.shape == (6, 8)
        np.testing.assert_array_equal(array, again[name])
    with pytest.raises(InputError, match="none of 1 pairs has texts of 1 to 7 tokens"):
        translation.rows(pairs[1:2], np.random.default_rng(0), VOCABULARY, chosen)
    with pytest.raises(InputError, match="a document has 3 texts: pairs"):
        translation.rows([[[5], [6], [7]]], np.random.default_rng(0), VOCABULARY, chosen)


def test_pairs_as_documents(tmp_path):
    lines = "one file\teine Datei\nno\tnein\none file\tdie Datei\n"
    (tmp_path / "x.tsv").write_text(lines, encoding="utf-8")
    held = parallel.Documents([tmp_path / "x.tsv"])
    assert list(held) == list(held) == [["one file", "eine Datei"], ["no", "nein"]]
    tokenizer = BPE.train([text for pair in held for text in pair], 40)
    ids = [[tokenizer.ids(text) for text in pair] for pair in held]
    made = translation.rows(ids, np.random.default_rng(0), VOCABULARY, translation.Pairs(seq_length=24))
    assert {tokenizer.decode(row) for row in made["input_ids"]} == {"one file", "no"}
    (tmp_path / "empty.tsv").write_text("source\ttarget\n", encoding="utf-8")
    with pytest.raises(InputError, match="no pair in"):
        list(parallel.Documents([tmp_path / "empty.tsv"]))
