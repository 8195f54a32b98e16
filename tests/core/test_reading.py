"""The one opener: regular files behind any link, of bounded size; everything else is one line. And foreign text."""

import ast
import os
import socket
from pathlib import Path

import pytest

from minibert import reading
from minibert.errors import LONGEST, InputError, printable

PACKAGE = Path(reading.__file__).parent
POSIX = pytest.mark.skipif(os.name == "nt", reason="FIFOs, devices and sockets of this kind are POSIX's")


def refused(path, most=reading.TEXT):
    with pytest.raises(InputError) as error:
        reading.contents(path, most)
    assert str(error.value).isprintable()
    assert len(str(error.value)) <= LONGEST
    return str(error.value)


@POSIX
def test_what_is_no_file_is_refused_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")  # to open it would wait for ever
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    with listening:
        for name, kind in (("fifo", "a FIFO"), ("socket", "a socket"), ("zero", "a device"), (".", "a directory")):
            assert f"it is {kind}, not a file" in refused(tmp_path / name)
    assert "loop" in refused(tmp_path / "loop")


@POSIX
def test_a_fifo_that_comes_in_between_is_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"1")
    status = os.stat(tmp_path / "file")
    (tmp_path / "file").unlink()
    os.mkfifo(tmp_path / "file")
    monkeypatch.setattr(reading.os, "stat", lambda path: status)
    assert "a FIFO" in refused(tmp_path / "file")


@POSIX
def test_links_to_files_are_followed(tmp_path):
    (tmp_path / "blob").write_bytes(b"1")
    (tmp_path / "link").symlink_to("blob")
    (tmp_path / "further").symlink_to("link")
    assert reading.contents(tmp_path / "further") == b"1"


def test_size_is_bounded_whatever_the_system_says_of_it(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert reading.contents(tmp_path / "file", 5) == b"12345"
    assert "more than 4 bytes" in refused(tmp_path / "file", 4)
    if os.path.exists("/proc/self/status"):  # says it has 0 bytes
        assert "more than 4 bytes" in refused("/proc/self/status", 4)


@pytest.mark.parametrize("path", [None, 0, 3.5, [], "a\0b", b"\0", "\ud800", "x" * 5000, "absent", b"\xff\xfe"])
def test_what_cannot_be_a_path_is_refused(path):
    refused(path)
    assert not reading.present(path if isinstance(path, str | bytes) else "absent")


def test_text_says_where_it_stops_being_utf_8(tmp_path):
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfab")
    assert reading.text(tmp_path / "file") == "ab"
    (tmp_path / "file").write_bytes(b"ab\xff")
    with pytest.raises(InputError, match=r"not UTF-8 \(byte 2\)"):
        reading.text(tmp_path / "file")


def test_foreign_text_does_nothing_to_a_terminal():
    shown = printable("a\x1b[2J\r\nclaim: L7\x07\u202e\u2028\u2066\ud800\x85é中\u3000")
    assert shown == r"a\x1b[2J\r\nclaim: L7\x07\u202e\u2028\u2066\ud800\x85é中" + "\u3000"
    assert printable(shown) == shown
    assert printable("می\u200cخواهم") == "می\u200cخواهم"


def test_an_error_is_one_line_of_bounded_length():
    error = str(InputError("name\nclaim: L7 " + "x" * 5000 + " and what to do"))
    assert error.startswith(r"name\nclaim: L7")
    assert error.endswith("and what to do")
    assert len(error) == LONGEST
    assert str(InputError(error)) == error


OWN = {  # who opens files otherwise, and why it may
    "reading.py": "the opener itself",
    "checkpoint/atomic.py": "a writer, of what it has made itself",
    "checkpoint/growing.py": "a writer, which goes on with the part that it has begun itself",
    "golden/case.py": "lists the package's own folders",
    "golden/commands.py": "the size of a case that was just written or read",
    "corpus.py": "walks the standard library's folders",
    "data.py": "maps the rows that `reading` has opened",
    "parallel.py": "walks the folders of catalogues, which `reading` then opens",
    "quantization.py": "walks the folder that it is writing itself",
    "recordings.py": "decodes the bytes of a wave file that `reading` has read",
}


def test_nothing_else_opens_files_to_read():
    """All that reads files reads them by way of `reading`, or says here why not."""
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _reads(node):
                found.add(path.relative_to(PACKAGE).as_posix())
    assert found == OWN.keys()


def _reads(call):
    """Whether a call opens a file or folder, not only to write."""
    of, name = getattr(call.func, "value", None), getattr(call.func, "attr", getattr(call.func, "id", ""))
    modes = {word.value for word in call.args[1:] if isinstance(word, ast.Constant)}
    if name == "open":
        return not modes & {"w", "a", "wb", "xb", "ab"} and getattr(of, "id", "") not in ("os", "archive", "reading")
    return name in ("read_bytes", "read_text", "iterdir", "rglob", "scandir", "walk", "fromfile", "memmap") and (
        getattr(of, "id", "") != "ast"
    )
