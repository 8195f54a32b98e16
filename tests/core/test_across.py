"""What the tables across languages rest on: pages of a manual as paragraphs, words and fonts; dictionaries; fakes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import across

PAGE = r""".\" a remark
.TH OUTB 2 2022 "Linux"
.SH NAME
outb \- port \fIoutput\fP here
.SH "RETURN VALUE"
.nf
.B left out
.fi
On success,
.BR open (2),
.I value
and
.BI "int " port ;
.PP
\fB\-1\fP means that.
"""


def test_a_page_is_paragraphs_of_words_in_fonts():
    found = across.paragraphs(PAGE)
    assert [heading for heading, _ in found] == ["NAME", "RETURN VALUE", "RETURN VALUE"]
    words = [[*zip(*held, strict=True)] for _, held in found]
    assert words[0] == [("outb", "-", "port", "output", "here"), ("R", "R", "R", "I", "R")]
    assert words[1][0] == ("On", "success,", "open(2),", "value", "and", "int", "port;")
    assert words[1][1] == ("R", "R", "B", "I", "R", "B", "I")
    assert words[2] == [("-1", "means", "that."), ("B", "R", "R")]


def test_a_dictionary_has_words_that_stand_beside_one_another():
    pairs = [("the dog", "der hund"), ("the cat", "die katze")] * 9 + [("open", "open")] * 9
    rows = {name: [{"tokens": pair[n].split()} for pair in pairs] for n, name in enumerate(("en", "de"))}
    found = across.dictionary(rows, [*range(len(pairs))], "de")
    assert {found["dog"], found["cat"]} <= {"hund", "der", "katze", "die"}
    assert "open" not in found
    assert not across.dictionary(rows, [*range(3)], "de")


def test_fake_english_shares_no_letter_and_can_be_read_back():
    made = across.fake("The cat, 42")
    assert made[-4:] == ", 42"
    assert not {*made} & set("abcdefghijklmnopqrstuvwxyz")
    assert "".join(chr(ord(c) - 0x10D0 + 97) if ord(c) >= 0x10D0 else c for c in made) == "the cat, 42"


def test_labels_are_balanced():
    label = ["a"] * 10 + ["b"] * 3
    assert across.balanced([*range(13)], label.__getitem__, 6) == [0, 1, 2, 10, 11, 12]


def test_the_most_frequent_answer_is_of_a_file_s_own_labels(tmp_path):
    (tmp_path / "tags.jsonl").write_text('{"tags": ["a", "b", "a"]}\n{"tags": ["a"]}', encoding="utf-8")
    (tmp_path / "labels.jsonl").write_text('{"label": "x"}\n{"label": "y"}', encoding="utf-8")
    assert across.most_frequent(tmp_path / "tags.jsonl") == 0.75
    assert across.most_frequent(tmp_path / "labels.jsonl") == 0.5
