"""Text in several languages: what each is sampled with, what is refused, and multilingual BERT's vocabulary."""

import json

import numpy as np
import pytest

import minibert
from minibert import languages
from minibert.corpus import Document, Part
from minibert.errors import InputError
from minibert.tokenizers.wordpiece import WordPiece


def test_shares_are_smoothed_as_published():
    """(c) of B17, (a) of B16."""
    shares = {"en": 0.9, "de": 0.09, "is": 0.01}
    known = {0.5: (0.7034, 0.2224, 0.0741), 0.7: (0.8049, 0.1606, 0.0345), 0.3: (0.568, 0.2847, 0.1473)}
    for exponent, due in known.items():
        assert [*languages.smoothed(shares, exponent).values()] == pytest.approx(due, abs=6e-5)
    assert languages.smoothed({"en": 9, "de": 0}, 0.0) == {"en": 1.0}


def test_text_is_repeated_for_its_share_and_none_is_left_out():
    documents = [Document(["x" * 10] * 9, "en") for _ in range(100)] + [Document(["y" * 10] * 9, "is")] * 4
    sizes = np.full(104, 90)
    part = Part(documents, sizes, np.ones(104, bool), None, sizes)
    often = languages.weights(part, 0.5)
    assert often == pytest.approx({"en": 1.0, "is": 5.0})  # 0.2 to 1 of the text for 0.04 to 1
    read = [document.language for document in languages.repeated(part, often, 0)]
    assert (read.count("en"), read.count("is")) == (100, 20)
    assert languages.weights(Part([["a"]], np.ones(1, int), np.ones(1, bool), None, np.ones(1, int)), 0.5) == {}


@pytest.mark.parametrize("text", ["zh", "=x", "zh=", "en-en=x", "en-=x", "a b=x", "a-b-c=x"])
def test_a_language_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="language"):
        languages.given([text])


def test_a_file_without_pairs_is_refused_as_one_without_text(tmp_path):
    (tmp_path / "pairs.tsv").write_text("source\ttarget\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"^no pairs in .*pairs.tsv: give lines of a source and a target"):
        list(languages.Languages({"de-en": tmp_path / "pairs.tsv"}))


# ---- Multilingual BERT -----------------------------------------------------------------------------------------------
PIECES = 119_547  # of the cased release
WORDS = ["[PAD]", *(f"[unused{n}]" for n in range(1, 100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_a_directory_of_the_cased_release_loads(tmp_path):
    """Of its size: nothing lower-cased, no accent lost; ideographs one by one, kana and Hangul not (b of B16)."""
    known = ["Paris", "ist", "schön", "使", "用", "東", "京", "は", "##い", "##い", "한국", "##어", "café"]
    pieces = list(dict.fromkeys([*WORDS, *known]))
    pieces += [f"##x{n}" for n in range(PIECES - len(pieces))]
    model = minibert.create("bert", vocab_size=PIECES, hidden_size=2, num_hidden_layers=1, num_attention_heads=1,
                            intermediate_size=2)  # fmt: skip
    model.save(tmp_path)
    (tmp_path / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    settings = {"do_lower_case": False, "model_max_length": 512}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    held = minibert.load(tmp_path)
    assert len(held.tokenizer) == held.config.vocab_size == PIECES
    assert held.tokenizer.tokenize("Paris ist schön, café") == ["Paris", "ist", "schön", "[UNK]", "café"]
    assert held.tokenizer.tokenize("使用東京はいい한국어") == ["使", "用", "東", "京", "[UNK]"]
    assert held.tokenizer.tokenize("使用 はいい 한국어") == ["使", "用", "は", "##い", "##い", "한국", "##어"]
    ids = held.tokenizer.encode("Paris 使用").ids
    assert held.encode(input_ids=np.array([ids]))["last_hidden_state"].shape == (1, 5, 2)


def test_a_vocabulary_of_smoothed_counts_is_another():
    """(c) of B16: of the rare language more pieces."""
    rng = np.random.default_rng(0)
    words = {name: ["".join(rng.choice([*letters], 5)) for _ in range(30)]
             for name, letters in (("en", "abcdefgh"), ("is", "ijklmnop"))}  # fmt: skip
    documents = [Document([" ".join(rng.choice(words[name], 8))], name) for name in ["en"] * 200 + ["is"] * 3]
    sizes = np.array([sum(map(len, document)) for document in documents])
    part = Part(documents, sizes, np.ones(len(sizes), bool), None, sizes)
    often = languages.weights(part, 0.3)
    assert often["en"] == 1
    assert often["is"] > 10

    def learnt(texts):
        sentences = [sentence for document in texts for sentence in document]
        return {*WordPiece.train(sentences, 120, lowercase=False, min_frequency=1).tokens}

    raw, smoothed = (sum({*piece.removeprefix("##")} <= {*"ijklmnop"} for piece in pieces)
                     for pieces in (learnt(part), learnt(languages.repeated(part, often, 0))))  # fmt: skip
    assert raw < smoothed
