"""The data of encoder-decoders on their way into a run: rows on disk, noised when they are made or served."""

import types

import numpy as np
import pytest

from minibert import data, families
from minibert.corpus import Part
from minibert.corruption import denoising, spans
from minibert.families import gpt2
from minibert.objective import Term
from minibert.tokenizers.byte_level import ByteLevelBPE
from minibert.tokenizers.unigram import Unigram
from minibert.tokenizers.unigram_files import T5

TEXTS = [["The cat sat on a mat.", "It was a fine day.", "The dog was away."] * 4, ["A cat and a dog, and so on."] * 9]
FIELDS = {"input_ids", "attention_mask", "labels", "decoder_attention_mask"}
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
    assert set(held_out[np.arange(2)]) == FIELDS  # noised once
    stamp = (tmp_path / "a" / "train-00000" / data.ROWS).stat().st_mtime_ns
    data.made(recipe, text, "train", tmp_path / "a")
    assert (tmp_path / "a" / "train-00000" / data.ROWS).stat().st_mtime_ns == stamp  # it is taken for what it is
    rows = made[np.arange(4)]
    served = [rows, rows] if masking == "static" else [recipe.corrupted(rows, np.random.default_rng(i)) for i in (0, 1)]
    for batch in served:
        assert {name: batch[name].shape[0] for name in batch} == dict.fromkeys(FIELDS, 4)
    same = np.array_equal(served[0]["input_ids"], served[1]["input_ids"])
    assert same == (masking == "static")
