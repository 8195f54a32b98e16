"""Text in: files, or the text that every Python ships, as documents; a document is a list of sentences (str).

Documents are an iterable that can be gone through again: `Files` reads its files each time, document by document, so
that a corpus of any size is never held; the text that Python ships is a list.

Files are UTF-8 in one of three layouts, told apart by `layout`: "sentences" (BERT's own input: one sentence a
line, a blank line between documents), "wrapped" prose and one "paragraphs" a line. Prose is cut into sentences
by `sentences` and, as it marks no documents, into documents of DOCUMENT sentences at the ends of paragraphs.
No line, paragraph or document is endless: of more than LINE or BLOCK characters it is read as several.

The default corpus is real technical English: each topic of `pydoc_data.topics` is a document, and so is each
module of the standard library: its docstrings in source order, parsed and never imported. Cleaning leaves out
what is not prose, because a model of sentences learns nothing from a torn table or from half a program:
underline rows, table rows, doctests with their output, literal blocks, directives, inline markup; then every
sentence under MIN_WORDS words (headings, signatures) or with fewer than PROSE plain words (code, grammar).
A sentence that occurred before is left out too: the same paragraph stands in many topics and modules, and would
otherwise be both learnt from and tested on.
"""

import ast
import codecs
import hashlib
import io
import json
import math
import os
import sysconfig
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress, islice, pairwise, zip_longest
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import regex

from minibert import reading
from minibert.errors import InputError
from minibert.progress import note

Documents = Iterable[list[str]]

LINES, CHARACTERS = 10_000, 8_000_000  # of a file's beginning that decide on its layout
LINE = 1_000_000  # characters of a line; a longer one is cut behind the last sentence within them, else the last word
TAIL = 50_000  # characters before that end in which it is looked for
BLOCK = 4_000_000  # characters of a document or wrapped paragraph; a longer one ends with the line that exceeds them
DOCUMENT = 50  # sentences at least of a document cut from prose: about ten instances of 128 tokens
MIN_WORDS = 4  # below this a "sentence" of the default corpus is a heading or a signature
PROSE = 0.6  # least share of plain words in a sentence of the default corpus; code and grammar lie around 0.3


# ---- sentences ------------------------------------------------------------------------------------------------

# A break: a full stop, question or exclamation mark, closing quotes, white space, and a start that is not lower
# case (opening quotes and brackets, then a capital, a digit or a letter of a script without cases). The full-width
# marks need no white space.
_BREAK = regex.compile(
    r"""(?<![.!?…؟।])(?P<mark>[.!?…؟।]++)["'”’»)\]`*]*\s+(?=["'“‘«(\[`*]*[\p{Lu}\p{Lt}\p{Lo}\p{N}"'“‘«`])"""
    r"""|[。！？]+["'”’」』）]*\s*"""
)
_BLANK = regex.compile(r"(?r)\s")  # matched backwards
_LAST = regex.compile(r"(?r)[\p{L}\p{N}.]+")  # matched backwards, from the end that `match` is given
_DOTTED = regex.compile(r"(?:\p{L}\.)+\p{L}|(?!I$)\p{Lu}")  # e.g i.e a.m U.S, and an initial
_HYPHEN = regex.compile(r"(?<=\p{L})-\n(?=\p{Ll})")
_ENDS = ".!?…:;。！？؟।\"'”’»)]"
_NEVER = regex.compile("cf|vs|viz|al|mr|mrs|ms|dr|prof|st|approx|resp|incl|mt", regex.I)
_BEFORE_DIGIT = regex.compile(
    "nos?|figs?|eqs?|sec|ch|vol|pp?|art|ca|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec", regex.I
)


def sentences(paragraph: str) -> list[str]:
    """The sentences of one paragraph, white space normalised; abbreviations, initials, 3.11 and "1." don't end one."""
    text = " ".join(paragraph.split())
    found, start = [], 0
    for match in _BREAK.finditer(text):
        if match["mark"] == "." and not _ends(text, start, match):
            continue
        found.append(text[start : match.end()].rstrip())
        start = match.end()
    return [*found, text[start:]] if start < len(text) else found


def _ends(text: str, start: int, match: regex.Match) -> bool:
    """Whether the full stop at `match` ends the sentence that began at `start`."""
    last = _LAST.match(text, start, match.start())
    if last is None:
        return True
    word = last[0]
    if _DOTTED.fullmatch(word) or _NEVER.fullmatch(word):
        return False
    if _BEFORE_DIGIT.fullmatch(word):
        return not text[match.end()].isdigit()
    return not (last.start() == start and word.isdigit())  # "1. First point"


# ---- languages ------------------------------------------------------------------------------------------------


class Document(list):
    """The sentences of a document that is known to be in this language."""

    def __init__(self, sentences: Iterable[str], language: str = "") -> None:
        super().__init__(sentences)
        self.language = language


# ---- given files ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Files:
    """The documents of UTF-8 files (a byte order mark is accepted), in order; no document spans two files.

    layout: "sentences", "wrapped" or "paragraphs" for all files; default: found file by file (see `layout_of`).
    Going through them raises InputError for a missing, unreadable or undecodable file, a directory, and when there is
    no text at all.
    """

    paths: Sequence[str | os.PathLike]
    layout: str | None = None

    def __iter__(self) -> Iterator[list[str]]:
        document = None
        for path in self.paths:
            for document in _documents(_read(path), self.layout):
                yield document
        if document is None:
            given = ", ".join(map(str, self.paths)) or "an empty list of files"
            raise InputError(f"no text in {given}: give UTF-8 text files")


def documents_from_files(paths: Iterable[str | os.PathLike], layout: str | None = None) -> list[list[str]]:
    """The documents of `Files`, held."""
    return list(Files(list(paths), layout))


def documents_from_text(text: str, layout: str | None = None) -> list[list[str]]:
    """The documents of one text: see `layout_of` for the three layouts."""
    return list(_documents(_lines(io.StringIO(text, newline=None)), layout))


def _read(path: str | os.PathLike) -> Iterator[str]:
    """The lines of a UTF-8 file."""
    with io.TextIOWrapper(reading.opened(path), encoding="utf-8-sig") as text:
        try:
            yield from _lines(text)
        except UnicodeDecodeError:
            raise _undecodable(path) from None
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from None


def _lines(text: TextIO) -> Iterator[str]:
    """The lines, white space normalised, "" for a blank one; of more than LINE characters each is several."""
    rest, begun = "", False
    while read := text.readline(LINE):
        whole = read.endswith("\n") or len(read) < LINE
        piece = rest + read
        end = len(piece) if whole else _end(piece)
        line, rest = " ".join(piece[:end].split()), piece[end:]
        if line or (whole and not begun):  # the blanks of a long line make no blank line
            yield line
        begun = not whole and (begun or line != "")
    if line := " ".join(rest.split()):
        yield line


def _end(piece: str) -> int:
    """Where to cut a piece of a long line: behind its last sentence, else its last word, near its end."""
    tail = len(piece) - TAIL
    ends = [match.end() for match in _BREAK.finditer(piece, tail) if match["mark"] != "." or _ends(piece, tail, match)]
    blank = _BLANK.search(piece, tail)
    return ends[-1] if ends else blank.end() if blank else len(piece)


def _undecodable(path: str | os.PathLike) -> InputError:
    """Where a file stops being UTF-8."""
    decoder, at, number = codecs.getincrementaldecoder("utf-8")(), 0, 1
    with reading.opened(path) as file:
        last = False
        while not last:
            read = file.read(1 << 20)
            begun, last = decoder.getstate()[0], not read
            try:
                decoder.decode(read, final=last)
            except UnicodeDecodeError as error:
                data, start = begun + read, error.start
                byte, line = at - len(begun) + start, number + data.count(b"\n", 0, start)
                where = f"byte {byte} (0x{data[start]:02x}), line {line}"
                return InputError(f"{path} is not UTF-8 at {where}: convert the file to UTF-8")
            at, number = at + len(read), number + read.count(b"\n")
    return InputError(f"{path} changed while it was read")


def _documents(lines: Iterable[str], layout: str | None) -> Iterator[list[str]]:
    """The documents of the lines of one text, one after the other."""
    head = list(_head(lines))
    blocks = list(_blocks(head, math.inf))
    layout = layout or layout_of(blocks)
    lines = chain(head, lines)
    if layout == "sentences":
        yield from _blocks(lines, BLOCK)
    elif layout == "wrapped":
        yield from _cut(sentences(_unwrapped(block)) for block in _blocks(lines, BLOCK))
    elif layout != "paragraphs":
        raise InputError(f"unknown text layout {layout!r}: give sentences, wrapped or paragraphs")
    elif len(blocks) > 1 and sum(map(len, blocks)) >= 2 * len(blocks):  # blank lines stand between documents
        yield from ([s for line in block for s in sentences(line)] for block in _blocks(lines, BLOCK))
    else:
        yield from _cut(sentences(line) for line in lines if line)


def _head(lines: Iterator[str]) -> Iterator[str]:
    """The first LINES lines, or fewer that have CHARACTERS characters."""
    room = CHARACTERS
    for line in islice(lines, LINES):
        yield line
        room -= len(line)
        if room <= 0:
            return


def layout_of(blocks: Sequence[Sequence[str]]) -> str:
    """The layout of a text, from the lines of the blank-line separated blocks at its beginning.

    Of the lines that another one follows, "wrapped" has fewer than half ending in a punctuation mark and at least a
    quarter full: the next line's first word would not have fitted (into the 95th percentile of their lengths, at
    most 200 columns). Measured: licences and manuals end 0-25 % and fill 38-86 %, sentence files end 92 % and
    fill 6 %, and still fill 6 % with their punctuation removed. Otherwise "paragraphs" when `sentences` finds 1.5
    or more in the average line, else "sentences".
    """
    sample = list(chain.from_iterable(blocks))
    followed = [pair for block in blocks for pair in pairwise(block)]
    if followed:
        width = sorted(len(line) for line, _ in followed)[int(0.95 * (len(followed) - 1))]
        full = sum(len(line) + 1 + len(after.split(" ", 1)[0]) > width for line, after in followed)
        ending = sum(line[-1] in _ENDS for line, _ in followed)
        if 2 * ending < len(followed) <= 4 * full and width <= 200:
            return "wrapped"
    return "paragraphs" if 2 * sum(len(sentences(line)) for line in sample) >= 3 * len(sample) else "sentences"


def _unwrapped(lines: Iterable[str]) -> str:
    """Hard-wrapped lines as one; a word wrapped behind its hyphen ("post-" "mortem") stays one word."""
    return _HYPHEN.sub("-", "\n".join(lines)).replace("\n", " ")


def _blocks(lines: Iterable[str], most: float) -> Iterator[list[str]]:
    """The lines between blank ones, at most up to the one that makes them more than so many characters."""
    block: list[str] = []
    size = 0
    for line in lines:
        if line:
            block.append(line)
            size += len(line)
        if block and (not line or size > most):
            yield block
            block, size = [], 0
    if block:
        yield block


def _cut(paragraphs: Iterable[list[str]]) -> Iterator[list[str]]:
    """Documents of whole paragraphs, DOCUMENT sentences or a little more each; a short rest joins the last one."""
    last: list[str] = []  # complete, but for the rest that may join it
    document: list[str] = []
    size = 0
    for paragraph in paragraphs:
        if len(document) >= DOCUMENT or size > BLOCK:
            if last:
                yield last
            last, document, size = document, [], 0
        document += paragraph
        size += sum(map(len, paragraph))
    if last and len(document) < DOCUMENT // 2:
        last, document = last + document, []
    yield from filter(None, (last, document))


# ---- the default corpus: the text every Python ships ----------------------------------------------------------

# Test suites and their fixtures, other people's packages, folders without modules.
_SKIPPED = {"test", "tests", "idle_test", "lib2to3", "site-packages", "dist-packages", "ensurepip", "_vendor"}
_SKIPPED |= {"lib-dynload", "__pycache__"}
_BODIES = ("body", "handlers", "orelse", "finalbody", "cases")
_DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_BULLET = regex.compile(r"(?:[*•+-]|\(?[0-9]{1,2}[.)]|\(?[a-z]\))\s+")
_ROW = regex.compile(r"[|+][-=|+\s]|\.\. |\$ |[^\p{L}]*$")  # table row, directive, shell line, a line without letters
_MARKUP = regex.compile(
    r":[\w:]+:`~?([^`]+)`|``([^`]+)``|`([^`\s][^`]*)`_?|(?<![\w*])\*\*?(\w(?:[^*]*\w)?)\*\*?(?![\w*])"
)
_PLAIN = regex.compile(r"""["'“‘(\[]*\p{L}[\p{L}'’-]*["'”’)\],.;:!?…]*""")


def default_documents(stdlib: str | os.PathLike | None = None) -> list[list[str]]:
    """One document a topic of `pydoc_data.topics`, then one a module of the standard library, by path.

    stdlib: the library's folder (default: this Python's). Sentences are unique; a document has two or more.
    Where there are no sources (some distributions ship bytecode alone) the topics are all, and one line on
    standard error says so; where there are no topics either, InputError.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        topics = {}
    root = Path(stdlib or sysconfig.get_path("stdlib"))
    modules = ["\n\n".join(found) for _, found in docstrings(root)]
    if not modules:
        note(f"no Python sources in {root}; the corpus is pydoc's topics alone")
    seen: set[str] = set()
    documents = []
    for text in [*(topics[name] for name in sorted(topics)), *modules]:
        new = [s for s in dict.fromkeys(prose(text)) if s not in seen]
        if len(new) >= 2:  # one sentence has no next one
            seen.update(new)
            documents.append(new)
    if not documents:
        raise InputError("this Python ships neither pydoc topics nor library sources: give text files")
    return documents


def docstrings(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """(file, its docstrings in source order) of each module under root that has any; parsed, never imported."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("config-"))
        for name in sorted(name for name in files if name.endswith(".py")):
            try:
                path = Path(folder, name)
                module = ast.parse(reading.contents(path))
            except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested too deeply
                continue  # a file this Python can't parse has no docstrings to offer
            if found := list(_docstrings_of(module)):
                yield path, found


def _docstrings_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, _DEFINITIONS) and (text := ast.get_docstring(node)):
        yield text
    for body in _BODIES:  # statements only: expressions hold no docstrings, and most of the nodes
        for child in getattr(node, body, ()):
            yield from _docstrings_of(child)


def prose(text: str) -> list[str]:
    """The sentences of a docstring or topic that are prose, without markup."""
    return [s for paragraph in _paragraphs(text) for s in sentences(paragraph) if _prose(s)]


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs of reStructuredText-like text, unwrapped, without tables, doctests, literal blocks and markup."""
    current: list[str] = []
    margin = 0  # column of the paragraph's text
    literal = -1  # >= 0: inside a literal block, everything deeper than this column is left out
    doctest = False
    for line in [*text.expandtabs().split("\n"), ""]:
        body = line.strip()
        indent = len(line) - len(line.lstrip())
        doctest = bool(body) and (doctest or body.startswith(">>>"))
        if body and indent <= literal:
            literal = -1
        inside = bool(body) and not doctest and literal < 0 and not _ROW.match(body)
        bullet = _BULLET.match(body)
        starts = bullet or indent < margin or (indent > margin and current and current[-1][-1] in ".:")
        if current and (starts or not inside):
            yield _MARKUP.sub(lambda m: m[1] or m[2] or m[3] or m[4], _unwrapped(current))
            current = []
        if not inside:
            continue
        if not current:
            margin = indent + (bullet.end() if bullet else 0)
            body = body[bullet.end() :] if bullet else body
        if body:
            current.append(body)
        if body.endswith("::"):
            literal = indent


def _prose(sentence: str) -> bool:
    words = sentence.split()
    if len(words) < MIN_WORDS or "::=" in words:
        return False
    return sum(_PLAIN.fullmatch(word) is not None for word in words) >= PROSE * len(words)


# ---- held-out text, and what a guess without context gets ------------------------------------------------------


class Survey(NamedTuple):
    """What one pass over documents shows: their sizes in characters (D,), all their sentences, and a digest."""

    sizes: np.ndarray
    sentences: int
    sha256: str  # of the documents as JSON


def survey(documents: Documents) -> Survey:
    """One pass over the documents."""
    sizes, count, digest = array("q"), 0, hashlib.sha256(b"[")
    for document in documents:
        digest.update(f"{', ' if sizes else ''}{json.dumps(document, default=_digest)}".encode())
        sizes.append(sum(map(len, document)))
        count += len(document)
    digest.update(b"]")
    return Survey(np.array(sizes), count, digest.hexdigest())


@dataclass(frozen=True, eq=False)
class Part:
    """One side of a split, gone through in the documents' order. chosen: (D,) those that it has; sizes: (D,) theirs.

    kept: which of the chosen documents' sentences it has, one after the other; None: all. A document without any is
    left out. lengths: the characters that it has of each document left.
    """

    documents: Documents
    sizes: np.ndarray
    chosen: np.ndarray
    kept: np.ndarray | None
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[list[str]]:
        at = 0
        for document, size, chosen in zip_longest(self.documents, self.sizes.tolist(), self.chosen.tolist()):
            if document is None or size != sum(map(len, document)):
                raise InputError("the corpus changed while it was read: start again")
            if not chosen:
                continue
            end = at + len(document)
            mine = document if self.kept is None else list(compress(document, self.kept[at:end].tolist()))
            if isinstance(document, Document):
                mine = Document(mine, document.language)
            at = end
            if mine:
                yield mine


def split(
    documents: Documents, held_out: float = 0.1, seed: int = 0, sizes: np.ndarray | None = None
) -> tuple[Part, Part]:
    """(training, held-out) by whole documents, each in the given order; the same seed gives the same split.

    held_out: below 1 the share of the text (characters), from 1 on the number of documents. Documents are gone
    through in random order and held out while they fit, so the share is met up to the smallest document left. A
    sentence that also stands in the training text is removed from the held-out text: of the held-out sentences alone
    8 bytes each are held, a hash. sizes: the `survey`'s, where it has been made. InputError when either side would be
    empty.
    """
    sizes = survey(documents).sizes if sizes is None else sizes
    count, characters = len(sizes), sizes.tolist()
    order = np.random.default_rng(seed).permutation(count).tolist()
    if count < 2:
        raise InputError("cannot hold out any of a text of one document: separate its documents by blank lines")
    if not held_out > 0 or held_out >= count:
        raise InputError(f"cannot hold out {held_out} of {count} documents: give a share below 1, or fewer of them")
    held = np.zeros(count, bool)
    if held_out >= 1:
        held[order[: int(held_out)]] = True
    else:
        room = held_out * sum(characters)
        for i in order:
            if characters[i] <= room:
                held[i] = True
                room -= characters[i]
        if not held.any():  # every document is larger than the share
            held[min(order, key=characters.__getitem__)] = True
    training = Part(documents, sizes, ~held, None, sizes[~held])
    kept, lengths = _unknown(Part(documents, sizes, held, None, sizes[held]), training)
    if not len(training) or not len(lengths):
        raise InputError("nothing is left to hold out: the documents repeat each other")
    return training, Part(documents, sizes, held, kept, lengths)


def _unknown(held_out: Part, training: Part) -> tuple[np.ndarray, np.ndarray]:
    """(which sentences of the one part are none of the other's, characters of them in each document that has any)."""
    lengths = [np.array([len(sentence) for sentence in document]) for document in held_out]
    hashes, places = np.unique(np.concatenate([_hashes(document) for document in held_out]), return_inverse=True)
    known = np.zeros(len(hashes), bool)
    for document in training:
        found = _hashes(document)
        at = np.minimum(np.searchsorted(hashes, found), len(hashes) - 1)
        known[at[hashes[at] == found]] = True
    kept = ~known[places]
    ends = np.cumsum([len(document) for document in lengths])
    left = np.add.reduceat(np.concatenate(lengths) * kept, np.concatenate([[0], ends[:-1]]))
    return kept, left[left > 0]


def _digest(frames: np.ndarray) -> str:
    """Of an utterance, which stands where a text has a sentence."""
    return hashlib.sha256(np.ascontiguousarray(frames)).hexdigest()


def _bytes(sentence: str | np.ndarray) -> bytes:
    return sentence.encode("utf-8", "surrogatepass") if isinstance(sentence, str) else sentence.tobytes()


def _hashes(document: list[str]) -> np.ndarray:
    """(S,) 64 bits of each sentence: two of a million agree by chance once in 37 million corpora."""
    digests = (hashlib.blake2b(_bytes(s), digest_size=8).digest() for s in document)
    return np.frombuffer(b"".join(digests), np.uint64)


class Unigram(NamedTuple):
    """What guessing without context costs, in nats a token."""

    entropy: float
    cross_entropy: float


def unigram_entropy(training: np.ndarray, held_out: np.ndarray) -> Unigram:
    """The loss of the best guess that ignores the context, from counts (V,) of training and held-out labels.

    entropy: of the held-out labels' own frequencies, H = -sum p ln p. No fixed distribution scores lower on these
    labels, not even one chosen with hindsight, so a loss below it proves that context is used.
    cross_entropy: of the held-out labels under the training frequencies, -sum p ln q with q = (n + 1) / (N + V): the
    loss of a model that has learnt frequencies and nothing else; always at least the entropy. On few held-out
    labels the entropy is biased low (many labels seen once), which only makes it the harder bar.
    """
    training, held_out = np.asarray(training, np.float64), np.asarray(held_out, np.float64)
    if training.shape != held_out.shape or training.ndim != 1:
        raise InputError(f"counts must be two arrays over one vocabulary, not {training.shape} and {held_out.shape}")
    if not held_out.sum() > 0:
        raise InputError("no held-out labels to take the entropy of")
    seen = held_out > 0
    p = held_out[seen] / held_out.sum()
    q = (training[seen] + 1) / (training.sum() + training.size)
    return Unigram(float(-(p * np.log(p)).sum()), float(-(p * np.log(q)).sum()))
