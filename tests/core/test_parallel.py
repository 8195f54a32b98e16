"""Pairs of texts: catalogues as Python's gettext reads them, files of pairs, what is left out, and what is refused."""

import gettext
import io
import json
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import cli, corpus, parallel
from minibert.errors import InputError

HEADER = "Content-Type: text/plain; charset={}\nPlural-Forms: nplurals=2; plural=n != 1;\n"
PO = r'''
# of translators
msgid ""
msgstr ""
"Project-Id-Version: x\n"
"Content-Type: text/plain; charset=UTF-8\n"

#: a.c:1
#, c-format
msgid "Cannot open %s: %s"
msgstr "Kann %s nicht öffnen: %s"

msgctxt "menu"
msgid "_File"
msgstr "_Datei"

#, fuzzy, c-format
#| msgid "Open"
msgid "Close"
msgstr "Öffnen"

msgid "one file"
msgid_plural "%d files"
msgstr[0] "eine Datei"
msgstr[1] "%d Dateien"

msgid "a \"quoted\" word,\n"
"and\tmore \\ \303\244"
msgstr ""
"ein „Wort“,\n"
"und mehr"

msgid "not translated"
msgstr ""

msgctxt "button"
msgid "_File"
msgstr "_Datei"

#~ msgid "obsolete"
#~ msgstr "veraltet"
'''
DUE = [
    ("Cannot open %s: %s", "Kann %s nicht öffnen: %s"),
    ("_File", "_Datei"),
    ("one file", "eine Datei"),
    ("%d files", "%d Dateien"),
    ('a "quoted" word, and more \\ ä', "ein „Wort“, und mehr"),
]


def compiled(entries, charset="utf-8", order="<"):
    """A .mo file; entries: {msgid: msgstr}, with \0 between forms and \4 behind a context."""
    entries = dict(sorted({"": HEADER.format(charset), **entries}.items()))
    texts = [[text.encode(charset) for text in side] for side in (entries.keys(), entries.values())]
    at, data, tables = 28 + 16 * len(entries), b"", b""
    for side in texts:
        for text in side:
            tables += struct.pack(f"{order}2I", len(text), at + len(data))
            data += text + b"\0"
    head = struct.pack(f"{order}7I", 0x950412DE, 0, len(entries), 28, 28 + 8 * len(entries), 0, at)
    return head + tables + data


def read(tmp_path, name, data, **given):
    (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return list(parallel.pairs([tmp_path / name], **given))


# ---- Catalogues ------------------------------------------------------------------------------------------------------
def test_a_po_file(tmp_path):
    assert read(tmp_path, "de.po", PO) == DUE
    assert read(tmp_path, "bom.po", b"\xef\xbb\xbf" + PO.replace("\n", "\r\n").encode()) == DUE
    assert read(tmp_path, "latin.po", PO.replace("UTF-8", "ISO-8859-1").replace("„", "").replace("“", "")
                .replace(r"\303\244", r"\344").encode("latin-1"))[0] == DUE[0]  # fmt: skip


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-15", "koi8-u"])
def test_a_mo_file_is_what_pythons_gettext_reads(tmp_path, order, charset):
    word = "Ö" if charset != "koi8-u" else "є"
    entries = {"open": f"{word}ffnen", "menu\4_File": "_Datei", "one file\0%d files": "eine Datei\0%d Dateien",
               "empty": "", "many\0files\tof\nthem": "alle"}  # fmt: skip
    data = compiled(entries, charset, order)
    found = read(tmp_path, "x.mo", data)
    assert sorted(found) == sorted([
        ("open", f"{word}ffnen"), ("_File", "_Datei"), ("one file", "eine Datei"), ("%d files", "%d Dateien"),
        ("many", "alle"), ("files of them", "alle"),
    ])  # fmt: skip
    theirs = gettext.GNUTranslations(io.BytesIO(data + b"\0"))
    assert dict(found)["open"] == theirs.gettext("open")
    assert dict(found)["_File"] == theirs.pgettext("menu", "_File")
    for n, source in ((1, "one file"), (2, "%d files")):
        assert dict(found)[source] == theirs.ngettext("one file", "%d files", n)


def test_several_plural_forms_are_those_of_the_plural(tmp_path):
    found = read(tmp_path, "pl.mo", compiled({"file\0files": "plik\0pliki\0plików"}))
    assert found == [("file", "plik"), ("files", "pliki"), ("files", "plików")]


@given(st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0\4"), min_size=1),
                       st.text(st.characters(codec="utf-8", exclude_characters="\0"))))  # fmt: skip
def test_any_text_comes_through(entries):
    """Both formats hold the same, but for white space."""
    def spaced(text):
        return " ".join(text.split())

    def quoted(text):
        return '"' + "".join(f"\\{b:03o}" for b in text.encode()) + '"'

    due = {(spaced(a), spaced(b)) for a, b in entries.items()}
    po = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'
    po += "".join(f"msgid {quoted(a)}\nmsgstr {quoted(b)}\n\n" for a, b in entries.items())
    for name, data in (("x.mo", compiled(entries)), ("x.po", po.encode())):
        pieces = parallel._compiled if name.endswith("mo") else parallel._written
        found = list(parallel._translated(name, pieces(name, data)))
        assert {(spaced(a), spaced(b)) for a, b in found} == due


def test_what_no_text_has_is_left_out(tmp_path):
    assert read(tmp_path, "x.mo", compiled({"a\x1b[2J": "b", "c": "d\0", "e": "f\x85g\x7f", "g": "\u200fh"})) == [
        ("c", "d"), ("g", "\u200fh"),
    ]  # fmt: skip


def test_a_folder_as_systems_have_it(tmp_path):
    for place, word in (("share/locale/de/LC_MESSAGES", "a"), ("share/app/locale/de/LC_MESSAGES", "b"),
                        ("share/locale/fr/LC_MESSAGES", "c"), ("share/locale/de", "d")):  # fmt: skip
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "x.mo").write_bytes(compiled({"same": "gleich", word: word.upper()}))
    (tmp_path / "src" / "po").mkdir(parents=True)
    (tmp_path / "src" / "po" / "de.po").write_text(PO, encoding="utf-8")
    found = list(parallel.pairs([tmp_path], "de"))
    assert [pair for pair in found if pair not in DUE] == [("b", "B"), ("same", "gleich"), ("a", "A")]
    assert len(found) == 3 + len(DUE)  # each once
    with pytest.raises(InputError, match="is a folder: say which"):
        list(parallel.pairs([tmp_path]))
    with pytest.raises(InputError, match="no catalogue of the language 'xx'"):
        list(parallel.pairs([tmp_path], "xx"))


# ---- Files of pairs --------------------------------------------------------------------------------------------------
def test_files_of_pairs(tmp_path):
    due = [("a b", "ä"), ("c", "d")]
    assert read(tmp_path, "x.tsv", "source\ttarget\na  b\tä\n\nc\td\r\na b\tä\n") == due
    objects = "".join(json.dumps({"source": a, "target": b, "id": 1}) + "\n" for a, b in due)
    assert read(tmp_path, "x.jsonl", objects) == due
    for form in ("tsv", "json"):
        assert read(tmp_path, "again", "\n".join(parallel.lines(due, form))) == due
    (tmp_path / "blocks").write_text("\n".join(parallel.lines(DUE * 4, "blocks")), encoding="utf-8")
    assert list(corpus.Files([tmp_path / "blocks"])) == [list(pair) for pair in DUE * 4]


def test_what_is_held_out_goes_by_the_source():
    sources = [f"source {i}" for i in range(20_000)]
    out = [parallel.apart(source, 0.1) for source in sources]
    assert abs(sum(out) / 20_000 - 0.1) < 3.29 * (0.09 / 20_000) ** 0.5
    assert all(not one or parallel.apart(source, 0.2) for source, one in zip(sources, out, strict=True))
    assert not any(parallel.apart(source, 0.0) for source in sources[:99])
    assert all(parallel.apart(source, 1.0) for source in sources[:99])


def test_the_command(tmp_path, capsys):
    (tmp_path / "de.po").write_text(PO, encoding="utf-8")
    said = {}
    for part in ("all", "train", "held-out"):
        assert cli.main(["pairs", str(tmp_path), "--language", "de", "--part", part, "--held-out", "0.5"]) == 0
        header, *said[part] = capsys.readouterr().out.splitlines()
        assert header == "source\ttarget"
    assert sorted(said["train"] + said["held-out"]) == sorted(said["all"]) == sorted("\t".join(pair) for pair in DUE)
    assert cli.main(["pairs", str(tmp_path / "de.po"), "--json"]) == 0
    assert [tuple(json.loads(line).values()) for line in capsys.readouterr().out.splitlines()] == DUE
    assert cli.main(["pairs", str(tmp_path / "de.po"), "--blocks"]) == 0
    assert capsys.readouterr().out.split("\n\n")[0] == "\n".join(DUE[0])
    assert cli.main(["pairs", str(tmp_path / "de.po"), "--held-out", "2"]) == 2
    assert cli.main(["pairs", str(tmp_path / "none")]) == 2


# ---- Refused ---------------------------------------------------------------------------------------------------------
GOOD = compiled({"open": "öffnen"})
HUGE = struct.pack("<7I", 0x950412DE, 0, 1 << 31, 28, 28, 0, 0)
SHARED = struct.pack("<7I", 0x950412DE, 0, 300, 28, 28, 0, 0) + struct.pack("<2I", 2000, 28) * 300  # one, 300 times


@pytest.mark.parametrize(("name", "data", "says"), [
    ("x.mo", b"", "no .mo file"),
    ("x.mo", b"\xde\x12\x04\x95" + b"\0" * 9, "no .mo file"),
    ("x.mo", b"PK\3\4" * 20, "no .mo file"),
    ("x.mo", GOOD[:4] + struct.pack("<I", 7 << 16) + GOOD[8:], "unknown version 7"),
    ("x.mo", HUGE, "damaged: its tables of 2,147,483,648"),
    ("x.mo", GOOD[:-9], "damaged: text 1"),
    ("x.mo", SHARED, "damaged: text"),
    ("x.mo", compiled({"open": "öffnen"}).replace(b"utf-8", b"ascii"), "is not ascii, as it says"),
    ("x.mo", compiled({"a": "b"}).replace(b"utf-8", b"zlib_"), "unknown character set 'zlib_'"),
    ("x.mo", compiled({"a": "b"}).replace(b"charset=utf-8", b"charset=idna\n"), "unknown character set 'idna'"),
    ("x.po", "msgid \"a\"\nmsgstr 'b'\n", "line 2: \"msgstr 'b'\" is nothing"),
    ("x.po", "<html>\n", "line 1: '<html>' is nothing"),
    ("x.tsv", "a\tb\tc\n", "line 1 has 3 columns"),
    ("x.tsv", "a\tb\nalone\n", "line 2 has 1 columns"),
    ("x.tsv", b"a\tb\n\xff\tc\n", "line 2 is not UTF-8"),
    ("x.jsonl", '{"source": "a"}\n', "line 1 is no pair"),
    ("x.jsonl", '{"source": 1, "target": "b"}\n', "line 1 is no pair"),
    ("x.jsonl", '{"a":' * 9000, "line 1 is no pair"),
    ("x.tsv", "a" * 1_000_001, "line 1 has more than 1,000,000 bytes"),
])  # fmt: skip
def test_what_is_no_catalogue_and_no_pair(tmp_path, name, data, says):
    with pytest.raises(InputError, match=re.escape(says)) as error:
        read(tmp_path, name, data)
    assert "\n" not in str(error.value)



def test_a_text_may_begin_as_json_does(tmp_path):
    """What has a tab is a pair of columns, whatever it begins with."""
    file = tmp_path / "pairs.tsv"
    file.write_text('{ COMMANDS ; }\t{ Kommandos ; }\n{"source": "a", "target": "b"}\n', encoding="utf-8")
    assert list(parallel.pairs([file])) == [("{ COMMANDS ; }", "{ Kommandos ; }"), ("a", "b")]
