"""Documents and sentences from files and from the text every Python ships."""

import hashlib
import json
import os
import random
import subprocess
import sys
import sysconfig
import textwrap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from draws import NOT_DRAWN
from hypothesis import given
from hypothesis import strategies as st

from minibert import corpus
from minibert.errors import InputError

# ---- sentences ----


@pytest.mark.parametrize(
    "expected",
    [
        ["One sentence.", "Another one!", "A third?", "And a rest"],
        ["See e.g. the manual, i.e. The Book, cf. Smith et al. For more.", "Done."],
        ["Python 3.11.4 came after 2.7.", "It needs 3.5 MB.", "2.5 is a number."],
        ["Mr. J. R. Smith met Dr. Who.", "I did not.", "So did I.", "He left at 5 p.m. on Monday."],
        ["The answer is no.", "It stands in no. 5 and Fig. 3 of vol. 2, p. 7, on Jan. 5.", "Look in the fig.", "Yes."],
        ["1. First point.", "2. Second point.", "It was 1999.", "Then came 2000."],
        ['He said "Stop."', "(He meant it.)", '"Why?"', "Nobody knew...", "“Oh!”", "The end."],
        ["It ends in code (see os.path.).", "`name` starts one.", "The U.S. Government stays whole."],
        ["Éa va.", "Ça va?", "Да.", "Нет.", "Ærlig talt."],
        ["这是第一句。", "这是第二句！", "“真的吗？”", "是3.5吗"],
        ["Well done!!", "Really?! lower case after a mark. does not start a sentence"],
    ],
)
def test_sentences_of_a_paragraph(expected):
    separator = "" if "。" in expected[0] else " "
    assert corpus.sentences(separator.join(expected)) == expected


@given(st.text("aB1 .!?\"'()。\n\teg", max_size=60))
def test_sentences_lose_nothing_but_white_space(text):
    found = corpus.sentences(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(sentence == " ".join(sentence.split()) and sentence for sentence in found)


# ---- layouts ----

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "seven", "old", "wizards"]


def prose(count: int, seed: int = 0) -> list[str]:
    """Sentences of 4 to 25 words."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(4, 25))).capitalize() + "." for _ in range(count)]


def joined(lists: list[list]) -> list:
    return [item for part in lists for item in part]


def chunks(items: list, size: int) -> list[list]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def test_sentence_layout_keeps_lines_and_blank_lines():
    documents = chunks(prose(60), 7)
    assert corpus.documents_from_text("\n\n".join("\n".join(d) for d in documents)) == documents
    bare = [[s.lower().replace(".", "") for s in d] for d in documents]  # no capital, no mark: still one a line
    assert corpus.documents_from_text("\n\n \n".join("\n".join(d) for d in bare) + "\n") == bare


@pytest.mark.parametrize("width", [40, 72, 100])
def test_wrapped_prose_is_unwrapped_and_cut_at_paragraphs(width):
    paragraphs = chunks(prose(200), 6)
    text = "\n\n".join(textwrap.fill(" ".join(p), width) for p in paragraphs)
    documents = corpus.documents_from_text(text)
    assert documents[:3] == [joined(part) for part in chunks(paragraphs, 9)[:3]]  # 9 paragraphs: 54 sentences
    assert joined(documents) == joined(paragraphs)
    assert all(len(d) >= corpus.DOCUMENT for d in documents[:-1])


def test_a_word_wrapped_behind_its_hyphen_stays_one_word():
    lines = "It goes on as if nothing had happened in post-\nmortem mode and then it ends there - or\nnot at all"
    assert corpus.documents_from_text(lines, "wrapped") == [
        ["It goes on as if nothing had happened in post-mortem mode and then it ends there - or not at all"]
    ]


@pytest.mark.parametrize("count", [55, 60, 102, 110, 160, 195, 215])
def test_a_short_rest_joins_the_last_document(count):
    """Whatever is left over, no sentence is lost or stands twice."""
    documents = corpus.documents_from_text("\n".join(" ".join(p) for p in chunks(prose(count), 5)), "paragraphs")
    rest = count % corpus.DOCUMENT
    assert joined(documents) == prose(count)
    assert [len(d) for d in documents] == [50] * (count // 50 - (rest < 25)) + [rest + 50 * (rest < 25)]


@pytest.mark.parametrize("separator", ["\n", "\n\n"])
def test_paragraph_lines_are_split(separator):
    text = separator.join(" ".join(p) for p in chunks(prose(300), 5))
    documents = corpus.documents_from_text(text)
    assert joined(documents) == prose(300)
    assert len(documents) == 6


def test_blank_lines_between_several_paragraph_lines_separate_documents():
    documents = chunks(chunks(prose(60), 4), 5)
    text = "\n\n".join("\n".join(" ".join(p) for p in d) for d in documents)
    assert corpus.documents_from_text(text) == [joined(d) for d in documents]


def test_layout_can_be_given_and_is_checked():
    assert corpus.documents_from_text("A b c. D e f.\nG h.", "sentences") == [["A b c. D e f.", "G h."]]
    assert corpus.documents_from_text("A b c. D e f.\nG h.", "paragraphs") == [["A b c.", "D e f.", "G h."]]
    with pytest.raises(InputError, match="unknown text layout 'verse'"):
        corpus.documents_from_text("A b.", "verse")


@given(st.lists(st.sampled_from(["Some words here.", "More of them", "", "x", "\u2028", "  "]), max_size=30))
def test_no_document_and_no_sentence_is_empty(lines):
    for layout in (None, "sentences", "wrapped", "paragraphs"):
        documents = corpus.documents_from_text("\n".join(lines), layout)
        assert all(documents)
        assert all(s.strip() for d in documents for s in d)


@pytest.mark.parametrize("made", [
    "corpus.documents_from_text('\\n'.join(wrapped * 1000))",
    *(f"corpus.sentences({unit!r} * 200_000)" for unit in (".", "e.g. A ", "!'", "... ")),
], ids=["prose", "dots", "abbreviations", "marks", "ellipses"])  # fmt: skip
def test_time_grows_with_the_text_and_not_with_its_square(made):
    """Much prose, dots without end, full stops that end nothing: a second's work, of which the square is half an hour
    and more (with the pattern that looked back at each dot, by what 16,000 dots took)."""
    program = f"wrapped = {textwrap.wrap(' '.join(prose(100)), 72)}; from minibert import corpus; print(len({made}))"
    environment = {**os.environ, "PYTHONPATH": str(Path(corpus.__file__).parent.parent)}
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=True)
    assert int(ran.stdout) >= 1


# ---- files ----


def test_files_with_mark_and_foreign_line_ends(tmp_path):
    a, b = tmp_path / "a.txt", tmp_path / "b.txt"
    a.write_bytes(b"\xef\xbb\xbfFirst line here.\r\nS\xc3\xa9cond line here.\r\n\r\nNew document now.\r\n")
    b.write_bytes(b"Old line ends.\rStill read well.")
    assert corpus.documents_from_files([a, str(b)]) == [
        ["First line here.", "Sécond line here."],
        ["New document now."],
        ["Old line ends.", "Still read well."],
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"one\ntwo\n\xff three", r"byte 8 \(0xff\), line 3"),
        (b"\xef\xbb\xbfone\ntw\xe9\n", r"byte 9 \(0xe9\), line 2"),
        ("Grüße".encode("utf-16"), r"byte 0 \(0xff\), line 1"),
        ("Ende ü".encode()[:-1], r"byte 5 \(0xc3\), line 1"),
    ],
)
def test_undecodable_files_are_named_with_byte_and_line(tmp_path, data, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"bad\.txt is not UTF-8 at " + message) as error:
        corpus.documents_from_files([path])
    assert "\n" not in str(error.value)


def test_bytes_that_are_wrong_in_the_middle_of_a_large_file(tmp_path):
    """Found by a decoder that sees a piece at a time, and named by their place in all of it."""
    path, line = tmp_path / "large.txt", "Größe ist nicht alles.\n".encode()
    path.write_bytes(line * 9000 + b"Ende \xe4hnlich.\n" + line * 9000)
    documents = iter(corpus.Files([path]))
    with pytest.raises(InputError) as error:
        list(documents)
    at = 9000 * len(line) + 5
    assert str(error.value) == f"{path} is not UTF-8 at byte {at} (0xe4), line 9001: convert the file to UTF-8"


def test_characters_across_the_pieces_that_are_read(tmp_path):
    """A character, a foreign line end and the byte order mark stay whole wherever a piece ends."""
    path = tmp_path / "long.txt"
    for shift in range(4):
        documents = [["x" * (8190 + shift) + "é𝄞" * 3000, "Zwei."], ["Drei."]]
        path.write_bytes("\ufeff".encode() + "\r\n\r\n".join("\r\n".join(d) for d in documents).encode())
        assert list(corpus.Files([path], "sentences")) == documents


def test_files_are_read_anew_and_never_held(tmp_path):
    """Each pass gives the same documents; the peak of a pass over four times the text is not higher."""
    path, peaks = tmp_path / "text.txt", []
    for layout, separator in (("sentences", "\n"), ("wrapped", "\n"), ("paragraphs", " ")):
        for count in (2, 8):
            part = "\n\n".join(separator.join(d) for d in chunks(prose(1000), 10))
            path.write_text("\n\n".join([part] * count) + "\n", encoding="utf-8", newline="\n")
            files = corpus.Files([path], layout)
            assert list(files) == list(files) == corpus.documents_from_text(path.read_text(encoding="utf-8"), layout)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(corpus, "LINES", 100)
                tracemalloc.start()
                for _ in files:
                    pass
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
        assert peaks[-1] < 1.2 * peaks[-2] + 20_000
        assert peaks[-1] < path.stat().st_size / 4


def test_a_survey_is_one_pass_over_what_json_would_say():
    documents = [["One é.", "Two."], ["Three."]]
    found = corpus.survey(iter(documents))
    assert (found.sizes.tolist(), found.sentences) == ([10, 6], 3)
    assert found.sha256 == hashlib.sha256(json.dumps(documents).encode()).hexdigest()


def test_unusable_paths_are_one_line_errors(tmp_path):
    empty, blank = tmp_path / "empty.txt", tmp_path / "blank.txt"
    empty.write_bytes(b"")
    blank.write_bytes(b"\xef\xbb\xbf \n\t\n\xc2\xa0\n")
    for paths, message in [
        ([tmp_path], "is a directory"),
        ([tmp_path / "missing.txt"], "cannot read .*missing.txt: No such file"),
        ([empty, blank], "no text in .*empty.txt, .*blank.txt"),
        ([], "no text in an empty list"),
    ]:
        with pytest.raises(InputError, match=message) as error:
            corpus.documents_from_files(paths)
        assert "\n" not in str(error.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root and Windows read any file")
def test_unreadable_file(tmp_path):
    path = tmp_path / "secret.txt"
    path.write_text("words", encoding="utf-8")
    path.chmod(0)
    with pytest.raises(InputError, match=r"cannot read .*secret\.txt: Permission denied"):
        corpus.documents_from_files([path])


# ---- the default corpus ----


@pytest.fixture(scope="module")
def documents():
    return corpus.default_documents()


@NOT_DRAWN
def test_default_corpus_is_large_clean_and_unique(documents):
    """Measured on 3.11: 519 documents, 20,105 sentences, 271,621 words; the bounds leave room for other versions."""
    sentences = [s for d in documents for s in d]
    words = [w for s in sentences for w in s.split()]
    assert len(documents) > 300
    assert len(sentences) > 12_000
    assert len(words) > 180_000
    assert len(set(sentences)) == len(sentences)
    assert min(map(len, documents)) >= 2
    text = "\n".join(sentences)
    for noise in (">>> ", "+---", "=====", ":class:`", "::="):
        assert noise not in text
    ended = sum(s.rstrip("\"')]”’").endswith((".", "!", "?", ":", ";")) for s in sentences)
    assert ended > 0.8 * len(sentences)


@NOT_DRAWN
def test_default_corpus_starts_with_topics(documents):
    assert documents[0][0].startswith("Assert statements are a convenient way")


def test_default_corpus_does_not_depend_on_the_hash_seed():
    part = Path(sysconfig.get_path("stdlib"), "asyncio")
    code = (
        "import hashlib, sys; from minibert import corpus; d = corpus.default_documents(sys.argv[1]);"
        "t = [*map(list, corpus.split(d, 0.1, 3))]; print(hashlib.sha256(repr((d, t)).encode()).hexdigest())"
    )
    here = corpus.default_documents(part)
    expected = hashlib.sha256(repr((here, [*map(list, corpus.split(here, 0.1, 3))])).encode()).hexdigest()
    root = str(Path(corpus.__file__).parents[1])
    for seed in ("1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root, "PYTHONIOENCODING": "utf-8"}
        command = [sys.executable, "-W", "error", "-c", code, str(part)]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert run.stdout.strip() == expected


def test_docstrings_are_cleaned_in_source_order(tmp_path):
    source = '''
"""Module summary stands here.

Heading
=======

The first paragraph is wrapped over a
few lines and uses :class:`~a.Thing`, ``code here`` and *stress* in text.  It has
two sentences, e.g. this one.

    >>> doctest(1)
    never shown to any reader at all

* A bullet of several words
  that goes on here.
* Another bullet of several words.

Literal block follows below here::

    this is program text that nobody wants

    and neither is this line here

After the block comes more text.

+-----------+----------------+
| A cell of | a table in text |
+-----------+----------------+

.. note:: a directive of several words
"""
if True:
    class Thing:
        """A class inside of an if."""
        async def method(self):
            """A coroutine in the class."""
try:
    pass
except Exception:
    def late():
        """A function within a handler."""
def twice():
    """A class inside of an if."""
'''
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "skipped.py").write_text('"""This text must never be seen. It is a test."""', "utf-8")
    (tmp_path / "b.py").write_text(source, "utf-8")
    (tmp_path / "broken.py").write_text('"""Broken code is passed over. Really it is."""\ndef (', "utf-8")
    german = '# coding: latin-1\n"""Ein größerer Satz steht hier. Noch einer folgt ihm dann."""'
    (tmp_path / "a.py").write_bytes(german.encode("latin-1"))
    documents = corpus.default_documents(tmp_path)
    assert documents[-2] == ["Ein größerer Satz steht hier.", "Noch einer folgt ihm dann."]
    assert documents[-1] == [
        "Module summary stands here.",
        "The first paragraph is wrapped over a few lines and uses a.Thing, code here and stress in text.",
        "It has two sentences, e.g. this one.",
        "A bullet of several words that goes on here.",
        "Another bullet of several words.",
        "Literal block follows below here::",
        "After the block comes more text.",
        "A class inside of an if.",
        "A coroutine in the class.",
        "A function within a handler.",
    ]


def test_without_sources_the_topics_are_all_and_one_line_says_so(tmp_path, capsys):
    topics = corpus.default_documents(tmp_path)
    assert len(topics) > 50
    assert capsys.readouterr().err.count("\n") == 1


def test_without_topics_and_sources_there_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(InputError, match="give text files"):
        corpus.default_documents(tmp_path)


# ---- held-out text ----


def split(*given, **named):
    """Both sides, held."""
    return tuple(map(list, corpus.split(*given, **named)))


@NOT_DRAWN
def test_split_holds_out_whole_documents_by_share_of_text(documents):
    training, held_out = split(documents, 0.1, seed=1)
    total = sum(len(s) for d in documents for s in d)
    assert sorted(training + held_out) == sorted(documents)
    assert abs(sum(len(s) for d in held_out for s in d) / total - 0.1) < 0.002
    assert len(held_out) > 10
    assert split(documents, 0.1, seed=1) == (training, held_out)
    assert split(documents, 0.1, seed=2) != (training, held_out)
    assert [d for d in documents if d in training] == training


@given(
    st.lists(st.lists(st.sampled_from("abcdefghijklmnop"), min_size=1, max_size=4), min_size=2, max_size=12),
    st.one_of(st.floats(0.01, 0.9), st.integers(1, 11)),
    st.integers(0, 5),
)
def test_split_never_shares_a_sentence(documents, share, seed):
    try:
        training, held_out = split(documents, share, seed)
    except InputError:
        return
    assert training
    assert held_out
    assert all(d in documents for d in training)
    assert not {s for d in training for s in d} & {s for d in held_out for s in d}


def test_a_split_gives_streams_and_notices_a_corpus_that_changes():
    """Nothing of the documents is held; what they were when they were surveyed they must stay."""
    documents = [[f"{c} {n}." for n in range(9)] for c in "abcdefgh"]
    documents[3] += documents[0]  # known whichever side has the other
    training, held_out = corpus.split(documents, 3)
    for part in (training, held_out):
        assert list(part) == list(part)
        assert len(part) == len(list(part))
        assert part.lengths.tolist() == [sum(map(len, d)) for d in part]
    documents[5] = documents[5][:-1]
    for part in (training, held_out):
        with pytest.raises(InputError, match="corpus changed"):
            list(part)
    del documents[5:]
    with pytest.raises(InputError, match="corpus changed"):
        list(training)


def test_split_by_number_and_its_errors():
    documents = [[c, c * 2] for c in "abcdef"]
    assert [len(side) for side in split(documents, 2)] == [4, 2]
    big = [["x" * 1000], ["y" * 500], ["z" * 900]]
    assert split(big, 0.1)[1] == [["y" * 500]]  # none fits: the smallest
    for share in (6, 0, -1, float("nan")):
        with pytest.raises(InputError, match=r"^cannot hold out .* of 6 documents: give a share below 1, or fewer"):
            corpus.split(documents, share)
    with pytest.raises(InputError, match="of a text of one document: separate its documents by blank lines"):
        corpus.split([["a"]], 0.1)
    with pytest.raises(InputError, match="repeat each other"):
        corpus.split([["a"], ["a"]], 0.5)


def test_unigram_entropy_of_known_counts():
    found = corpus.unigram_entropy(np.array([7, 0, 1, 0]), np.array([1, 1, 2, 0]))
    assert found.entropy == pytest.approx(1.5 * np.log(2), abs=1e-15)
    expected = -(0.25 * np.log(8 / 12) + 0.25 * np.log(1 / 12) + 0.5 * np.log(2 / 12))
    assert found.cross_entropy == pytest.approx(expected, abs=1e-15)
    for training, held_out in [([1, 2], [0, 0]), ([1, 2], [1, 2, 3]), ([[1]], [[1]])]:
        with pytest.raises(InputError):
            corpus.unigram_entropy(training, held_out)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=20))
def test_training_frequencies_never_beat_the_held_out_entropy(counts):
    training, held_out = np.array(counts).T
    if held_out.sum():
        found = corpus.unigram_entropy(training, held_out)
        assert found.cross_entropy >= found.entropy - 1e-12
        uniform = corpus.unigram_entropy(np.ones_like(training), held_out)
        assert uniform.cross_entropy == pytest.approx(np.log(len(counts)))
