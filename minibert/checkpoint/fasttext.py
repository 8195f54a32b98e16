"""fastText's own files, NAME.bin, as its release and gensim write them (facebookresearch/fastText, `fasttext.cc`,
`dictionary.cc`, `matrix.cc`); version 12, little-endian, without a gap:

    magic 793712314, version                                                              2 int32
    dim ws epoch minCount neg wordNgrams loss model bucket minn maxn lrUpdateRate, t      12 int32, 1 float64
    entries, words, labels; tokens, pairs of a pruned table, -1: none                     3 int32, 2 int64
    of each entry: its text and a byte 0, its count, 0 a word or 1 a label                …, 1 int64, 1 int8
    those pairs                                                                           2 int32 each
    0; rows, columns of the input: words, then the rows of n-grams; its numbers           1 byte, 2 int64, float32 …
    0; rows, columns of the output: words or labels; its numbers                          1 byte, 2 int64, float32 …

Read within what the file's size allows. A compressed file (.ftz) has 1 for the first of these 0, and is refused.
"""

import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minibert import reading
from minibert.checkpoint import atomic
from minibert.checkpoint.vectors import MOST, WIDE, WORD
from minibert.config import require, shown
from minibert.errors import InputError

MAGIC, VERSION = 793712314, 12
ARGUMENTS = ("dim", "ws", "epoch", "minCount", "neg", "wordNgrams", "loss", "model", "bucket", "minn", "maxn",
             "lrUpdateRate")  # fmt: skip
LOSSES, MODELS = ("hs", "ns", "softmax", "ova"), ("cbow", "sg", "sup")  # counted from 1
HEAD, SIZES, ENTRY, SHAPE = (struct.Struct(form) for form in ("<2i12id", "<3i2q", "<qb", "<?2q"))


class FastText(NamedTuple):
    """What such a file holds. arguments: of ARGUMENTS, and t; words, labels: {text: count}; rows: the input table (V +
    bucket, D), output: (V, D), or a row a label, both float32.
    """

    arguments: dict[str, float]
    words: dict[str, int]
    labels: dict[str, int]
    rows: np.ndarray
    output: np.ndarray

    def said(self, name: str, known: tuple[str, ...]) -> str:
        """The loss or the model by its name."""
        return known[int(self.arguments[name]) - 1]


def is_one(path: str | os.PathLike) -> bool:
    """Whether a file begins as such."""
    with reading.opened(path, MOST) as file:
        return file.read(4) == struct.pack("<i", MAGIC)


def read(path: str | os.PathLike) -> FastText:
    """InputError, one line, for what is no such file, or one that is compressed, pruned, or of another version."""
    with reading.opened(path, MOST) as file:
        left = [os.fstat(file.fileno()).st_size]

        def taken(count: int, what: str) -> bytes:
            require(count <= left[0], f"{path} ends within its {what}")
            left[0] -= count
            return file.read(count)

        magic, version, *values = HEAD.unpack(taken(HEAD.size, "head"))
        require(magic == MAGIC, f"{path} is no file of fastText: it begins with another number")
        require(version == VERSION, f"{path} is of version {version} of fastText's format; {VERSION} is read")
        arguments = dict(zip((*ARGUMENTS, "t"), values, strict=True))
        for name, known in (("loss", LOSSES), ("model", MODELS)):
            require(1 <= arguments[name] <= len(known), f"{path}: {name} is {arguments[name]}, not 1 to {len(known)}")
        width, bucket = arguments["dim"], arguments["bucket"]
        require(0 < width <= WIDE and bucket >= 0, f"{path} states {width} columns and {bucket} rows for n-grams")
        grams = 0 <= arguments["minn"] <= 64 and 0 <= arguments["maxn"] <= 64
        require(grams, f"{path} states n-grams of {arguments['minn']} to {arguments['maxn']} characters; 64 at most")
        size, words, labels, _, pruned = SIZES.unpack(taken(SIZES.size, "dictionary"))
        fits = min(words, labels) >= 0 and words + labels == size and size * (ENTRY.size + 2) <= left[0]
        require(fits, f"{path} states {size} entries, {words} words and {labels} labels, for which it is too short")
        require(pruned <= 0, f"{path} has a pruned table of n-grams: it is not read")
        held: tuple[dict[str, int], ...] = {}, {}
        data = _Entries(file, left, path)
        for row in range(size):
            text, count, kind = data.next(row)
            fits = kind == int(row >= words) and text not in held[kind]
            wrong = "stands twice, or where the other kind does" if kind in (0, 1) else "is of no kind"
            require(fits, f"{path}: entry {row}, {shown(text)}, {wrong}")
            held[kind][text] = count
        data.end()
        tables = []
        for name, due in (("input", words + bucket), ("output", labels if arguments["model"] == 3 else words)):
            compressed, rows, columns = SHAPE.unpack(taken(SHAPE.size, name))
            require(not compressed, f"{path} is compressed: it is not read; take the .bin in the place of the .ftz")
            fits = (rows, columns) == (due, width)
            require(fits, f"{path}: its {name} has {rows} rows of {columns}, and not {due} of {width}")
            table = np.frombuffer(taken(4 * rows * columns, name), "<f4").reshape(rows, columns).astype(np.float32)
            require(bool(np.isfinite(table).all()), f"{path}: its {name} has numbers that are not finite")
            tables.append(table)
        require(not left[0], f"{path} goes on behind its tables")
    return FastText(arguments, *held, *tables)


class _Entries:
    """The entries of a dictionary, read in blocks."""

    def __init__(self, file: Any, left: list[int], path: Any) -> None:
        self.file, self.left, self.path, self.held, self.at = file, left, path, b"", 0

    def next(self, row: int) -> tuple[str, int, int]:
        """(text, count, kind)."""
        if len(self.held) - self.at < WORD + 1 + ENTRY.size:
            more = self.file.read(min(1 << 20, self.left[0]))
            self.left[0] -= len(more)
            self.held, self.at = self.held[self.at :] + more, 0
        end = self.held.find(b"\0", self.at, self.at + WORD + 1)
        fits = self.at <= end and end + 1 + ENTRY.size <= len(self.held)
        require(fits, f"{self.path}: entry {row} has no end, or more than {WORD} bytes")
        word = self.held[self.at : end]
        count, kind = ENTRY.unpack_from(self.held, end + 1)
        self.at = end + 1 + ENTRY.size
        try:
            return word.decode("utf-8"), count, kind if kind in (0, 1) else -1
        except UnicodeDecodeError:
            raise InputError(f"{self.path}: entry {row} is not UTF-8: {shown(word)}") from None

    def end(self) -> None:
        """What was read too much is not."""
        spare = len(self.held) - self.at
        self.file.seek(-spare, os.SEEK_CUR)
        self.left[0] += spare


def write(path: str | os.PathLike, held: FastText) -> None:
    """Writes a file, whole or not at all. InputError for a word that it cannot hold."""
    entries = [*((word, count, 0) for word, count in held.words.items()),
               *((word, count, 1) for word, count in held.labels.items())]  # fmt: skip
    for word, *_ in entries:
        fits = 0 < len(word.encode()) <= WORD and not set(word) & set("\0 \n\r\t")
        require(fits, f"a file of fastText cannot hold the word {shown(word)}")
    values = [int(held.arguments[name]) for name in ARGUMENTS]
    with atomic.file(Path(path)) as out:
        out.write(HEAD.pack(MAGIC, VERSION, *values, float(held.arguments["t"])))
        counts = sum(held.words.values()), -1
        out.write(SIZES.pack(len(entries), len(held.words), len(held.labels), *counts))
        for word, count, kind in entries:
            out.write(word.encode() + b"\0" + ENTRY.pack(count, kind))
        for table in (held.rows, held.output):
            out.write(SHAPE.pack(False, *table.shape))
            out.write(np.ascontiguousarray(table, "<f4").data)
