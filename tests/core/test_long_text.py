"""Text without end, in a line, a paragraph or a document: the same words, a bounded piece at a time."""

import io
import itertools
import os
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import corpus
from minibert.errors import InputError


def prose(count, seed=3):
    """So many sentences of 30 to 80 characters."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefgiklmnoprstu", k=draw.randint(2, 9))) for _ in range(200)]
    return [" ".join(draw.choices(words, k=draw.randint(7, 11))).capitalize() + "." for _ in range(count)]


@pytest.fixture
def short(monkeypatch):
    """What takes megabytes, in little."""
    for name, value in (("LINE", 2000), ("TAIL", 400), ("BLOCK", 8000), ("CHARACTERS", 16_000)):
        monkeypatch.setattr(corpus, name, value)


def joined(documents):
    return list(itertools.chain.from_iterable(documents))


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_long_line_is_cut_between_its_sentences(short, end):
    """No sentence is lost or cut, and the line becomes documents of the usual length, not one."""
    text = " ".join(prose(2000)) + end
    documents = corpus.documents_from_text(text)
    assert joined(documents) == prose(2000) == corpus.sentences(text)
    assert max(map(len, documents)) < 2 * corpus.DOCUMENT + 50
    assert min(map(len, documents)) >= corpus.DOCUMENT // 2


def test_without_ends_it_is_cut_between_words_and_without_blanks_anywhere(short):
    words = " ".join(prose(500)).replace(".", "")
    pieces = joined(corpus.documents_from_text(words))
    assert " ".join(pieces) == words
    assert max(map(len, pieces)) <= 2400
    assert min(map(len, pieces[:-1])) > 1500
    pieces = joined(corpus.documents_from_text("中" * 20_000))
    assert "".join(pieces) == "中" * 20_000
    assert max(map(len, pieces)) <= 2400
    han = "长句子在这里。" * 3000
    assert joined(corpus.documents_from_text(han)) == ["长句子在这里。"] * 3000


@given(st.lists(st.sampled_from([" ", "  ", "\n", "\r\n", "\r", "a", "Bc", "Def. ", "。", "\u2028", "x" * 9])))
def test_no_blank_line_comes_or_goes(parts):
    """Whatever the pieces: the same characters in the same documents as where no line is long."""
    text = "".join(parts)

    def read():
        documents = corpus.documents_from_text(text, "sentences")
        return ["".join("".join(document).split()) for document in documents]

    expected = read()
    for line, tail in ((1, 1), (2, 1), (5, 3), (8, 8)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(corpus, "LINE", line)
            patch.setattr(corpus, "TAIL", tail)
            assert read() == expected


def test_a_line_of_exactly_the_most_is_one(short):
    for length in (1999, 2000, 2001):
        line = "x" * length
        pieces = list(corpus._lines(io.StringIO(f"{line}\n\ny\n")))
        assert "".join(pieces) == line + "y"
        assert pieces.count("") == 1
        assert len(pieces) == (3 if length < 2000 else len(pieces))


def test_documents_and_paragraphs_end(short):
    """Sentences a line without a blank one, and a paragraph that is wrapped for ever."""
    lines = prose(1000)
    documents = corpus.documents_from_text("\n".join(lines), "sentences")
    assert joined(documents) == lines
    assert all(8000 < sum(map(len, document)) < 8100 for document in documents[:-1])
    wrapped = " ".join(lines).replace(" ", "\n")
    documents = corpus.documents_from_text(wrapped, "wrapped")
    assert " ".join(joined(documents)) == " ".join(lines)
    assert max(sum(map(len, document)) for document in documents) < 16_500
    long = [["x" * 1500] for _ in range(60)]  # paragraphs of few but long sentences
    assert max(sum(map(len, document)) for document in corpus._cut(long)) < 20_000


def test_ends_change_no_layout(short, monkeypatch):
    """Paragraphs a line without a blank one, more than a block of them: as where blocks are larger."""
    text = "\n".join(" ".join(prose(12, seed)) for seed in range(40))
    found = corpus.documents_from_text(text)
    assert len(found) == 8
    monkeypatch.setattr(corpus, "BLOCK", 4_000_000)
    assert corpus.documents_from_text(text) == found


@pytest.mark.parametrize("kind", ["sentences in a line", "words in a line", "one word", "blanks", "lines"])
def test_memory_does_not_grow_with_the_line(kind, short, tmp_path):
    """Four times the text: the same peak."""
    path, peaks = tmp_path / "text.txt", []
    pieces = {
        "sentences in a line": " ".join(prose(3000)) + " ",
        "words in a line": " ".join(prose(3000)).replace(".", ""),
        "one word": "x" * 200_000,
        "blanks": " " * 200_000,
        "lines": "\n".join(prose(3000)) + "\n",
    }
    piece = pieces[kind]
    for count in (2, 8):
        path.write_text(f"{piece * count}\n\nEnd.\n", encoding="utf-8")
        tracemalloc.start()
        for _ in corpus.Files([path]):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 20_000


@pytest.mark.parametrize("place", [5, 1 << 20, (1 << 20) - 1, 3_000_000])
def test_a_wrong_byte_in_a_long_line_is_found(place, tmp_path):
    """By its place, with no more than some pieces of the line held."""
    path = tmp_path / "text.txt"
    line = "é".encode() * 2_000_000
    path.write_bytes(b"A\n" + line[: place // 2 * 2] + b"\xff" + line)
    tracemalloc.start()
    with pytest.raises(InputError) as error:
        list(corpus.Files([path]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    where = f"byte {2 + place // 2 * 2} (0xff), line 2"
    assert str(error.value) == f"{path} is not UTF-8 at {where}: convert the file to UTF-8"
    assert peak < 40_000_000


def test_sources_that_cannot_be_parsed_have_no_docstrings(tmp_path, capsys):
    (tmp_path / "deep.py").write_text("(" * 100_000)
    (tmp_path / "deeper.py").write_text("a = " + "-" * 100_000 + "1")
    (tmp_path / "text.py").write_bytes(b"\xff\xfe\0")
    if os.name != "nt":
        os.mkfifo(tmp_path / "fifo.py")  # to read it would wait for ever
    assert corpus.default_documents(tmp_path)
    assert "no Python sources" in capsys.readouterr().err
