"""C4's rules one by one, their order, the filter as a stream, and what it counts."""

import io
import json
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import cleaning, cli
from minibert.cleaning import RULES
from minibert.commands import clean

FIRST, SECOND, THIRD = "The cat sat on a mat.", "It was a very fine day!", 'She said "this is the end"'
GOOD = [FIRST, SECOND, THIRD]


def run(*pages, **own):
    counts = Counter()
    left = list(cleaning.cleaned([list(page) for page in pages], counts, **own))
    return left, {name: counts[name] for name in RULES if counts[name]}


@pytest.mark.parametrize(("line", "rule"), [
    ("A word of many characters, " + "x" * 1001 + ", is none.", "long word"),
    ("Home | About us | Contact our team", "no end mark"),
    ("Read more of it here, as ever...", "no end mark"),
    ("Only four words here.", "few words"),
    ("Lorem ipsum dolor sit amet, and so on.", "lorem ipsum"),
    ("Please enable JavaScript to see this page.", "javascript"),
    ("if (x) { return the value of it.", "curly bracket"),
    ("By going on you accept the Privacy Policy here.", "policy"),
    ("This site uses cookies to know who you are.", "policy"),
    ("Nobody should say such a damn word here.", "bad word"),
    ("Damn it, nobody should say such a thing.", "bad word"),
    ("What nobody should say in a text is foul play!", "bad word"),
])  # fmt: skip
def test_each_rule_takes_its_line_or_page(line, rule):
    left, counts = run([*GOOD, line], bad_words=["Damn", "foul play"])
    assert counts == {rule: 1}
    assert left == [[] if RULES[rule] == cleaning.PAGE else GOOD]


@pytest.mark.parametrize("line", [
    "A word of many characters, " + "x" * 999 + ", is one.",
    "Are these five words here?",
    "One, two, three, four, five!",
    "The damnation of it is no bad word.",
    "goddamn is none of the words, nor is damned.",
    "A policy for all, and the use of a cookie.",
])  # fmt: skip
def test_what_only_looks_like_it_stays(line):
    assert run([*GOOD, line], bad_words=["damn"]) == ([[*GOOD, line]], {})


def test_citations_are_taken_out_before_a_line_is_judged():
    page = ["The cat sat on a mat.[12]", "It was a very fine day![edit]", "And so on, as they say.[citation needed]"]
    assert run(page)[0] == [["The cat sat on a mat.", "It was a very fine day!", "And so on, as they say."]]


def test_the_order_is_the_releases():
    """The first rule that takes a line counts, and a page ends with the line that takes it along."""
    assert run([*GOOD, "javascript {"])[1] == {"no end mark": 1}
    assert run([*GOOD, "Here javascript stands before a { bracket."])[1] == {"javascript": 1}
    assert run(["Lorem ipsum dolor sit amet, as ever.", "short", *GOOD])[1] == {"lorem ipsum": 1}


def test_sentences_of_a_page():
    two = [FIRST, SECOND]
    assert run(two) == ([[]], {"few sentences": 1})
    assert run(two, min_sentences=2) == ([two], {})
    assert run(["The cat sat here. It was fine. So it was."]) == ([["The cat sat here. It was fine. So it was."]], {})
    assert run(["Four words are here."] * 3, min_words=4)[1] == {}


def test_a_check_of_the_language_sees_what_is_left():
    seen = []
    left, counts = run([*GOOD, "menu"], GOOD[::-1], language=lambda text: seen.append(text) or text.startswith("The"))
    assert left == [GOOD, []]
    assert counts == {"no end mark": 1, "language": 1}
    assert seen == ["\n".join(GOOD), "\n".join(GOOD[::-1])]


def test_three_sentences_that_stood_before_go():
    more = ["Here is what is new in it.", "And a line more of it.", "And then the last line of all."]
    joined = " ".join(s.upper() for s in (FIRST, SECOND)) + " And a third one that follows it. Then one more."
    assert run(GOOD, [*more, *GOOD])[0] == [GOOD, more]
    assert run(GOOD, [*more, *GOOD])[1] == {"duplicate": 3}
    assert run(GOOD, [FIRST, SECOND, more[0], more[1]])[1] == {}  # two in a row are none
    assert run([*GOOD, *GOOD])[0] == [GOOD]  # in one page, too
    assert run(GOOD, GOOD)[0] == [GOOD, []]
    assert run(GOOD, [*GOOD, more[0]])[1] == {"duplicate": 3, "few sentences": 1}
    assert run(GOOD, GOOD, duplicates=True) == ([GOOD, GOOD], {})
    first = [FIRST, SECOND, "And a third one that follows it."]
    assert run(first, [joined, *more])[0][1] == ["Then one more.", *more]  # a line keeps what is new, case is no matter


@given(st.lists(st.lists(st.sampled_from([*GOOD, "menu", "A { bracket in a long line.", "A b. C d. E f. G h."]),
                         max_size=6), max_size=5))  # fmt: skip
def test_what_comes_out_is_clean_and_counted(pages):
    counts = Counter()
    left = list(cleaning.cleaned(pages, counts))
    assert len(left) == len(pages) == counts["pages"]
    assert counts["kept pages"] == sum(map(bool, left))
    assert counts["kept lines"] == sum(map(len, left))
    again = Counter()
    kept = [page for page in left if page]
    assert list(cleaning.cleaned(kept, again, duplicates=True, min_words=0)) == kept
    assert not any(again[rule] for rule in RULES)


# ---- The command -----------------------------------------------------------------------------------------------------
def piped(monkeypatch, text):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))


PAGES = "\n".join([*GOOD, "menu", "", "", "a { page of code is here.", "", *GOOD[::-1], ""])


def test_the_filter(capsys, monkeypatch, tmp_path):
    piped(monkeypatch, PAGES)
    assert cli.main(["clean"]) == 0
    out, err = capsys.readouterr()
    assert out.split("\n\n") == ["\n".join(GOOD), "\n".join(GOOD[::-1]), ""]
    assert [line.split() for line in err.splitlines()] == [
        ["no", "end", "mark", "1", "lines"], ["curly", "bracket", "1", "pages"],
        ["kept", "2", "of", "3", "pages", "and", "6", "of", "8", "lines"],
    ]  # fmt: skip
    for name in "ab":
        (tmp_path / name).write_text("\n".join(GOOD), encoding="utf-8")  # no page goes over the end of a file
    (tmp_path / "bad").write_text("mat\n\n", encoding="utf-8")
    assert cli.main(["clean", str(tmp_path / "a"), str(tmp_path / "b"), "--duplicates"]) == 0
    assert capsys.readouterr().out.count("\n\n") == 2
    assert cli.main(["clean", str(tmp_path / "a"), "--bad-words", str(tmp_path / "bad")]) == 0
    assert "bad word" in capsys.readouterr().err


def test_objects(capsys, monkeypatch):
    rows = [{"text": "\n".join([*GOOD, "menu"]), "url": "a"}, {"text": "none", "url": "b"}, {"text": PAGES, "url": "c"}]
    piped(monkeypatch, "".join(json.dumps(row) + "\n\n" for row in rows))
    assert cli.main(["clean", "--json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"text": "\n".join(GOOD), "url": "a"}
    ]


def test_pages_come_as_they_are_read():
    """Nothing waits for the end: the first page is out before the third is read."""
    read = []

    def lines():
        for line in PAGES.splitlines():
            read.append(line)
            yield line

    first = next(clean._texts(lines(), Counter(), {}))
    assert first.startswith(FIRST)
    assert len(read) == 5
    whole = list(clean._pages(iter(["x" * 3_000_000] * 3)))
    assert [len(page) for page in whole] == [2]  # and no page is endless


@pytest.mark.parametrize(("args", "text", "says"), [
    (["--json"], "no\n", "line 1 is no page"),
    (["--json"], '{"text": 3}\n', "line 1 is no page"),
    (["--min-words", "-1"], "", "--min-words -1: at least 0"),
    (["--language", "none_such:f"], "", "--language 'none_such:f': No module"),
    (["--language", "math"], "", "write MODULE:FUNCTION"),
    (["--language", "math:pi"], "", "is no function"),
    (["missing.txt"], "", "missing.txt"),
    (["--bad-words", "missing.txt"], "", "missing.txt"),
])  # fmt: skip
def test_unusable_input_is_one_line(capsys, monkeypatch, args, text, says):
    piped(monkeypatch, text)
    assert cli.main(["clean", *args]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
