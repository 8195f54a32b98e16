"""Files of word vectors, and what is asked of them; gensim's where it is installed."""

import json

import numpy as np
import pytest

import minibert
from minibert import cli, vectors
from minibert.checkpoint import vectors as files
from minibert.errors import InputError
from minibert.tokenizers.words import Words

WORDS = ["the", "é", "中", "a-b", "1.5", "<"]
ROWS = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
FORMATS = [(False, True), (True, True), (False, False)]  # text, binary, GloVe's


@pytest.mark.parametrize(("binary", "head"), FORMATS)
def test_a_file_is_read_as_it_was_written(binary, head, tmp_path):
    """To the last bit, whichever it is, unsaid."""
    files.write(tmp_path / "v", WORDS, ROWS, binary, head)
    words, rows = files.read(tmp_path / "v")
    assert words == WORDS
    assert rows.dtype == np.float32
    assert np.array_equal(rows, ROWS)
    first = (tmp_path / "v").read_bytes().partition(b"\n")[0]
    assert first == b"6 5" or not head


def test_bytes_that_look_like_text_do_not_end_a_vector(tmp_path):
    """With line feeds, and as gensim writes it without."""
    odd = np.frombuffer(b"\x20\x20\x20\x20\x0a\x0a\x0a\x0a" * 2, np.float32).reshape(2, 2)
    for end in (b"\n", b""):
        both = [word + row.tobytes() + end for word, row in zip((b"x ", b"y "), odd, strict=True)]
        (tmp_path / "v").write_bytes(b"2 2\n" + b"".join(both))
        words, rows = files.read(tmp_path / "v", binary=True)
        assert words == ["x", "y"]
        assert np.array_equal(rows, odd)


TEXT = "2 2\na 1 2\nb 3 4\n"


@pytest.mark.parametrize(("data", "said"), [
    (b"", "holds no vector"),
    (b"2 2\n", "states 2 vectors and holds 0"),
    (TEXT.replace("2 2", "3 2", 1).encode(), "states 3 vectors and holds 2"),
    (TEXT.replace("4", "nan").encode(), "'b' is not finite"),
    (TEXT.replace("b", "a").encode(), "'a', stands twice"),
    (TEXT.replace("3 4", "3").encode(), "line 2 of vectors does not hold a word and 2 numbers"),
    (b"word\n", "holds no vectors: a line of them is a word and"),
    (TEXT.replace("3", "x").encode(), "something else than numbers"),
    (b"99999999999 300\n" + b"\xff" * 5000, "for which it is too short"),
    (b"2 0\n" + b"\xff" * 5000, "states 2 vectors of 0 numbers"),
    (b"1 2\n" + b"\xff " + np.ones(2, "<f4").tobytes(), "is not UTF-8"),
    (b"1 1\n" + b"w" * 6000 + b" " + bytes(4), "word 0, .*too many"),
    (b"2 1\nw " + bytes(4) + b"\nv" + bytes(5), "ends within vector 1 of 2"),
    (b"1 1\nw " + bytes(4) + b"\nmore", "goes on behind its 1 vectors"),
])  # fmt: skip
def test_what_is_none_is_refused_in_one_line(data, said, tmp_path):
    (tmp_path / "v").write_bytes(data)
    with pytest.raises(InputError, match=said) as error:
        files.read(tmp_path / "v", binary=True if b"\x00" in data or b"\xff" in data else None)
    assert "\n" not in str(error.value)


def test_what_a_file_cannot_hold_is_not_written(tmp_path):
    for word in ("", "a b", "a\nb", "x" * 5000):
        with pytest.raises(InputError, match="cannot hold the word"):
            files.write(tmp_path / "v", [word], ROWS[:1])
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize("binary", [False, True])
def test_gensim_reads_it_and_writes_what_is_read(binary, tmp_path):
    models = pytest.importorskip("gensim.models", reason="compares with gensim's files")
    files.write(tmp_path / "v", WORDS, ROWS, binary)
    theirs = models.KeyedVectors.load_word2vec_format(tmp_path / "v", binary=binary)
    assert theirs.index_to_key == WORDS
    assert np.array_equal(theirs.vectors, ROWS)
    theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=binary)
    words, rows = files.read(tmp_path / "theirs", binary)
    assert words == WORDS
    assert np.array_equal(rows, ROWS)
    held = vectors.Vectors(WORDS, ROWS, {word: i for i, word in enumerate(WORDS)})
    for plus, minus in ((["the"], []), (["é", "中"], ["a-b"])):
        due = theirs.most_similar(positive=plus, negative=minus, topn=3)
        found = vectors.nearest(held, plus, minus, 3)
        assert [word for word, _ in found] == [word for word, _ in due]
        assert [c for _, c in found] == pytest.approx([c for _, c in due], abs=1e-6)


# ---- Neighbours ------------------------------------------------------------------------------------------------------
def test_what_is_to_c_as_b_is_to_a():
    """Every vector with length 1; the words asked with are never the answer."""
    rows = np.array([[3.0, 0], [0, 2], [1, 1], [-1, 5], [0.1, 0]], np.float32)
    held = vectors.Vectors([*"abcde"], rows, {word: i for i, word in enumerate("abcde")})
    assert [word for word, _ in vectors.nearest(held, ["a"], count=2)] == ["e", "c"]
    (first, cosine), *_ = vectors.nearest(held, ["b", "a"], ["e"], 1)
    assert first == "d"
    assert cosine == pytest.approx(5 / 26**0.5, rel=1e-6)
    assert len(vectors.nearest(held, ["a"], count=99)) == 4
    with pytest.raises(InputError, match="there is no vector of 'f'"):
        vectors.nearest(held, ["f"])


def test_the_commands_ask_a_directory_and_a_file(tmp_path, capsys):
    model = minibert.create("word2vec", vocab_size=9, vector_size=5, sg=True)
    model.tokenizer = Words.train(["the cat sat on"] * 5, 99)
    model.params["embeddings"]["word"]["weight"][5:] = ROWS[:4]
    model.save(tmp_path / "model")
    assert cli.main(["vectors", str(tmp_path / "model"), "-o", str(tmp_path / "v.bin"), "--format", "binary"]) == 0
    assert capsys.readouterr().out.startswith("4 vectors of 5 numbers")
    said = []
    for place in ("model", "v.bin"):
        assert cli.main(["neighbours", str(tmp_path / place), "cat", "--json", "--top", "3"]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1]
    assert {found["word"] for found in said[0]["words"]} == {"the", "sat", "on"}
    assert cli.main(["analogy", str(tmp_path / "v.bin"), "the", "cat", "sat"]) == 0
    assert capsys.readouterr().out.split()[1] == "on"
    assert cli.main(["neighbours", str(tmp_path / "model"), "dog"]) == 2
    assert "there is no vector of 'dog'" in capsys.readouterr().err


# ---- The vocabulary --------------------------------------------------------------------------------------------------
def test_words_are_the_most_frequent_and_others_unknown(tmp_path):
    """By falling count, of equals by code point; none below the least count; a WordPiece vocabulary for readers."""
    tokenizer = Words.train(["b b a a c", "c a. B"], 99, min_frequency=2)
    assert tokenizer.tokens[5:] == ["a", "b", "c"]
    assert tokenizer.ids("A d b") == [5, tokenizer.unk_id, 6]
    assert Words.train(["b b a a c", "c a. B"], 7, min_frequency=2).tokens[5:] == ["a", "b"]
    tokenizer.save(tmp_path)
    assert minibert.tokenizers.load(tmp_path, "words").tokens == tokenizer.tokens
    with pytest.raises(InputError, match="no word is frequent enough"):
        Words.train(["a b"], 99)
    with pytest.raises(InputError, match="has no room for words"):
        Words.train(["a " * 9], 5)
