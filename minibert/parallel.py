"""Parallel text: pairs of a source and its translation, from a system's gettext catalogues, or from files of pairs.

    a folder    every catalogue of a language below it: LANGUAGE/LC_MESSAGES/NAME.mo, as in /usr/share/locale, and
                LANGUAGE.po, LANGUAGE.mo, as programs' sources have them
    NAME.mo     a catalogue as programs read it (GNU gettext manual, "The Format of GNU MO Files")
    NAME.po     one as translators write it; entries that are marked fuzzy and those that are commented out are left out
    else        a file of pairs, UTF-8: source and target on a line with a tab between them, or JSON lines with these
                names. A first line "source", "target" is a header.

Left out are a catalogue's header, what is not translated, what came before, and what no text has: control characters.
Plural forms are pairs of their own: the singular goes with the first form, the plural with each of the others, or with
the only one. What programs fill in (%s, {name}), mnemonics (_File) and markup stay as they are; white space is
normalised, the context is not told.

Nothing that is read is run or trusted: the rule by which a catalogue chooses among plural forms, a small program, is
not looked at, sizes and counts are those of the file, and of character sets only plain ones are known.
"""

import codecs
import hashlib
import json
import os
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from minibert import reading
from minibert.config import require, shown
from minibert.errors import InputError

Pair = tuple[str, str]
Entry = tuple[list[bytes], list[bytes]]  # (singular and, where there is one, plural), the forms

CATALOGUE = 1 << 26  # bytes of a catalogue: the largest of a whole desktop have a tenth of it
LINE = 1_000_000  # bytes of a line of pairs
MAGIC = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}
_PLAIN = re.compile(r"utf-8|ascii|iso8859-\d+|koi8-[rut]|cp\d+|euc_\w+|big5\w*|gb\w+|shift_jis\w*|tis-620")
_CHARSET = re.compile(rb"charset=([\w.:-]{1,40})", re.ASCII)
_ESCAPE = re.compile(rb'\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|(.))', re.DOTALL)
_CONTROL = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_KEYWORD = re.compile(rb'(msgctxt|msgid_plural|msgid|msgstr(?:\[\d{1,2}\])?)\s+"(.*)"')
_QUOTED = re.compile(rb'"(.*)"')


def pairs(paths: Iterable[str | os.PathLike], language: str = "") -> Iterator[Pair]:
    """(source, target) of all files and folders, each pair once, in their order; language: of folders, such as de.

    InputError, one line: what cannot be read, is no catalogue, or a folder without a language or any of its catalogues.
    """
    seen: set[bytes] = set()
    for path in paths:
        for found in _of_folder(path, language) if os.path.isdir(path) else _of_file(path):
            source, target = (" ".join(text.split()) for text in found)
            key = hashlib.blake2b(f"{source}\n{target}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
            if source and target and key not in seen and not _CONTROLS.search(source + target):
                seen.add(key)
                yield source, target


def apart(source: str, share: float) -> bool:
    """Whether a pair is held out: a share of the sources, by their hash, with all their targets, whatever else there
    is.
    """
    digest = hashlib.blake2b(source.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def catalogues(folder: str | os.PathLike, language: str) -> list[Path]:
    """A language's catalogues below a folder, sorted; links to folders are not followed."""
    found = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        at = Path(place)
        own = at.name == "LC_MESSAGES" and at.parent.name == language
        found += [at / name for name in sorted(names)
                  if (own and name.endswith(".mo")) or name in (f"{language}.po", f"{language}.mo")]  # fmt: skip
    return found


def _of_folder(folder: str | os.PathLike, language: str) -> Iterator[Pair]:
    require(bool(language), f"{folder} is a folder: say which language's catalogues are meant")
    found = catalogues(folder, language)
    require(bool(found), f"{folder} has no catalogue of the language {shown(language)}: "
            f"no {language}/LC_MESSAGES/*.mo, {language}.po or {language}.mo below it")  # fmt: skip
    for path in found:
        yield from _of_file(path)


def _of_file(path: str | os.PathLike) -> Iterator[Pair]:
    kind = Path(path).suffix.lower()
    if kind not in (".mo", ".po"):
        return _listed(path)
    data = reading.contents(path, CATALOGUE)
    return _translated(path, _compiled(path, data) if kind == ".mo" else _written(path, data))


def _translated(path: str | os.PathLike, entries: Iterable[Entry]) -> Iterator[Pair]:
    """The pairs of a catalogue, decoded as its header says."""
    charset = "utf-8"
    for source, forms in entries:
        if source == [b""]:
            charset = _charset(path, forms[0])
            continue
        try:
            singular, *plural = (text.decode(charset) for text in source)
            first, *others = (text.decode(charset) for text in forms)
        except UnicodeDecodeError as error:
            begun = shown(error.object[:40].decode("latin-1"))
            raise InputError(f"{path} is not {charset}, as it says: {begun}") from None
        yield singular, first
        yield from ((text, form) for text in plural for form in others or [first])


def _charset(path: str | os.PathLike, header: bytes) -> str:
    said = _CHARSET.search(header)
    name = said[1].decode("ascii") if said else "utf-8"
    if name == "CHARSET":  # of a template that nobody filled in
        return "utf-8"
    try:
        found = codecs.lookup(name).name
    except LookupError:
        found = ""
    require(bool(_PLAIN.fullmatch(found)), f"{path} is in the unknown character set {shown(name)}: convert it to UTF-8")
    return found


# ---- .mo -------------------------------------------------------------------------------------------------------------
def _compiled(path: str | os.PathLike, data: bytes) -> Iterator[Entry]:
    """The entries of a .mo file. Two tables of (length, offset) say where the texts lie; \\4 ends a context, \\0 stands
    between forms.
    """
    order = MAGIC.get(data[:4])
    begun = shown(data[:4].decode("latin-1"))
    require(order is not None and len(data) >= 20, f"{path} is no .mo file: it begins with {begun}")
    version, count, sources, targets = struct.unpack_from(f"{order}4I", data, 4)
    require(version >> 16 in (0, 1), f"{path} is a .mo file of the unknown version {version >> 16}")
    fits = max(sources, targets) + 8 * count <= len(data)
    require(fits, f"{path} is damaged: its tables of {count:,} texts go past its end")
    room = len(data)  # no honest file has more text than bytes
    for i in range(count):
        texts = []
        for table in (sources, targets):
            length, start = struct.unpack_from(f"{order}2I", data, table + 8 * i)
            room -= length
            require(start + length <= len(data) and room >= 0, f"{path} is damaged: text {i} goes past its end")
            texts.append(data[start : start + length])
        yield texts[0].rpartition(b"\4")[2].split(b"\0"), texts[1].split(b"\0")


# ---- .po -------------------------------------------------------------------------------------------------------------
def _written(path: str | os.PathLike, data: bytes) -> Iterator[Entry]:
    """The entries of a .po file."""
    entry: dict[bytes, list[bytes]] = {}
    key, fuzzy = b"", False
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).splitlines(), start=1):
        line = line.strip()
        keyword, quoted = _KEYWORD.fullmatch(line), _QUOTED.fullmatch(line)
        begins = line.startswith(b"#") or (keyword and keyword[1] in (b"msgctxt", b"msgid"))
        if begins and b"msgstr" in (k[:6] for k in entry):  # comments stand before the entry they speak of
            yield from _entry(entry, fuzzy)
            entry, key, fuzzy = {}, b"", False
        if line.startswith(b"#"):
            fuzzy |= line.startswith(b"#,") and b"fuzzy" in line
        elif keyword:
            key = keyword[1]
            entry[key] = [_unescaped(keyword[2])]
        elif quoted and key:
            entry[key].append(_unescaped(quoted[1]))
        else:
            begun = shown(line[:40].decode("utf-8", "replace"))
            require(not line, f"{path}, line {number}: {begun} is nothing that a .po file has")
    yield from _entry(entry, fuzzy)


def _entry(entry: dict[bytes, list[bytes]], fuzzy: bool) -> Iterator[Entry]:
    texts = {key: b"".join(parts) for key, parts in entry.items()}
    source = [texts[key] for key in (b"msgid", b"msgid_plural") if key in texts]
    forms = [text for key, text in texts.items() if key.startswith(b"msgstr")]
    if source and forms and (not fuzzy or source == [b""]):
        yield source, forms


def _unescaped(text: bytes) -> bytes:
    """C's escapes resolved."""
    def meant(match: re.Match) -> bytes:
        octal, hexadecimal, other = match.groups()
        if other is None:
            return bytes([int(octal, 8) & 255 if octal else int(hexadecimal, 16)])
        return _CONTROL.get(other, other)

    return _ESCAPE.sub(meant, text) if b"\\" in text else text


# ---- Files of pairs --------------------------------------------------------------------------------------------------
def _listed(path: str | os.PathLike) -> Iterator[Pair]:
    """The pairs of a file of lines, one after the other: it may be of any size."""
    with reading.opened(path) as file:
        number = 0
        while data := file.readline(LINE):
            number += 1
            where = f"{path}, line {number}"
            require(len(data) < LINE, f"{where} has more than {LINE:,} bytes")
            try:
                line = data.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
            except UnicodeDecodeError:
                raise InputError(f"{where} is not UTF-8") from None
            if line.strip():
                held = line.startswith("{") and "\t" not in line  # JSON escapes a tab, texts may begin with a brace
                pair = _object(line, where) if held else tuple(line.split("\t"))
                require(len(pair) == 2, f"{where} has {len(pair)} columns: give source and target, a tab between them")
                if number > 1 or pair != ("source", "target"):
                    yield pair


def _object(line: str, where: str) -> Pair:
    try:
        held = json.loads(line)
    except (ValueError, RecursionError):
        held = None
    found = tuple(held.get(name) for name in ("source", "target")) if isinstance(held, dict) else ()
    fits = bool(found) and all(isinstance(text, str) for text in found)
    require(fits, f"{where} is no pair: expected {{\"source\": …, \"target\": …}}")
    return found


def lines(found: Iterable[Pair], form: str) -> Iterator[str]:
    """Pairs as files have them: "tsv", a header and lines with a tab; "json", JSON lines; "blocks", a line for each of
    the two and a blank one, which `corpus.Files` reads as documents of two sentences.
    """
    if form == "tsv":
        yield "source\ttarget"
    for source, target in found:
        if form == "json":
            yield json.dumps({"source": source, "target": target})
        else:
            yield f"{source}\t{target}" if form == "tsv" else f"{source}\n{target}\n"
