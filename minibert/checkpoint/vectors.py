"""Files of word vectors, as word2vec, GloVe, fastText and gensim read and write them.

    text       a line "V D" (GloVe's has none), then for each word "word v1 … vD"
    binary     the line "V D", then for each word the word, a blank, D little-endian float32, and a line feed, which
               gensim leaves out: what stands before a word is passed over

Read within what the file's size allows, so that no stated size takes memory; nothing is unpickled.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minibert import reading
from minibert.checkpoint import atomic
from minibert.config import require, shown
from minibert.errors import InputError

MOST = 1 << 36  # bytes of a file
WORD, LINE = 1 << 12, 1 << 20  # bytes of a word, of a line
WIDE = 1 << 15
PIECE = 1 << 16

Words = list[str]


def read(path: str | os.PathLike, binary: bool | None = None) -> tuple[Words, np.ndarray]:
    """(words, vectors (V, D) float32) of a file; binary: by its bytes unless given. InputError, one line, for what is
    none, a word that stands twice and a number that is not finite.
    """
    with reading.opened(path, MOST) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.readline(LINE)
        stated = _stated(head)
        if binary is None:
            binary = stated is not None and _is_binary(file.read(PIECE), stated[1])
            file.seek(len(head))
        require(not binary or stated is not None, f"{path} does not begin with a line of two numbers, as such files do")
        if binary:
            words, vectors = _of_bytes(file, *stated, size - len(head), path)
        else:
            if stated is None:
                file.seek(0)
            words, vectors = _of_lines(file, stated, size, path)
    require(len(words) > 0, f"{path} holds no vector")
    finite = np.isfinite(vectors).all(1)
    require(bool(finite.all()), f"{path}: the vector of {shown(words[int(finite.argmin())])} is not finite")
    return words, vectors


def _stated(head: bytes) -> tuple[int, int] | None:
    """(V, D) of a first line that has two whole numbers and nothing else."""
    parts = head.split()
    plain = len(parts) == 2 and all(part.isdigit() and len(part) < 12 for part in parts)
    return (int(parts[0]), int(parts[1])) if plain else None


def _is_binary(piece: bytes, width: int) -> bool:
    """Whether these bytes, cut anywhere, do not begin with a word and a line of so many numbers."""
    line, end, _ = piece.lstrip(b"\n").partition(b"\n")
    parts = line.rstrip(b"\r ").split(b" ")[1:]
    try:
        read = len([float(part) for part in (parts if end else parts[:-1])])
    except ValueError:
        return True
    return read != width if end else len(piece) == PIECE and not read


def _of_bytes(file: Any, count: int, width: int, size: int, path: Any) -> tuple[Words, np.ndarray]:
    least = count * (4 * width + 2)
    fits = 0 < width <= WIDE and count > 0 and least <= size
    require(fits, f"{path} states {count} vectors of {width} numbers, for which it is too short")
    words: dict[str, int] = {}
    vectors = np.empty((count, width), np.float32)
    held = b""
    for row in range(count):
        end = held.find(b" ")
        while end < 0 or len(held) < end + 1 + 4 * width:
            more = file.read(1 << 20)
            require(bool(more), f"{path} ends within vector {row} of {count}")
            require(end >= 0 or len(held) <= WORD + 1, f"{path}: word {row} has no end")
            held += more
            end = held.find(b" ") if end < 0 else end
        _enter(words, held[:end].lstrip(b"\n"), path)
        vectors[row] = np.frombuffer(held, "<f4", width, end + 1)
        held = held[end + 1 + 4 * width :]
    require(not held.strip(b"\n") and not file.read(1), f"{path} goes on behind its {count} vectors")
    return [*words], vectors


def _of_lines(file: Any, stated: tuple[int, int] | None, size: int, path: Any) -> tuple[Words, np.ndarray]:
    words: dict[str, int] = {}
    rows: list[np.ndarray] = []
    width = stated[1] if stated else None
    for line in _lines(file, path):
        if width is None:
            width = len(line.split(b" ")) - 1
            require(width > 0, f"{path} holds no vectors: a line of them is a word and, behind blanks, its numbers")
        parts = line.rsplit(b" ", width) if width else []
        fits = width and width <= WIDE and len(parts) == width + 1
        require(bool(fits), f"{path}: line {len(rows) + 1} of vectors does not hold a word and {width} numbers")
        try:
            rows.append(np.array(parts[1:], np.float64).astype(np.float32))
        except (ValueError, OverflowError):
            raise InputError(f"{path}: line {len(rows) + 1} of vectors holds something else than numbers") from None
        _enter(words, parts[0], path)
    right = stated is None or stated[0] == len(rows)
    require(right, f"{path} states {stated and stated[0]} vectors and holds {len(rows)}")
    return [*words], np.stack(rows) if rows else np.empty((0, 0), np.float32)


def _lines(file: Any, path: Any) -> Iterator[bytes]:
    while line := file.readline(LINE):
        require(line.endswith(b"\n") or len(line) < LINE, f"{path} has a line of more than {LINE} bytes")
        if stripped := line.rstrip(b"\r\n ").lstrip(b"\n"):
            yield stripped


def _enter(words: dict[str, int], word: bytes, path: Any) -> None:
    try:
        text = word.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: word {len(words)} is not UTF-8: {shown(word)}") from None
    require(0 < len(word) <= WORD and text not in words, f"{path}: word {len(words)}, {shown(text)}, "
            f"{'stands twice' if text in words else 'has no letters, or too many'}")
    words[text] = len(words)


def write(path: str | os.PathLike, words: Sequence[str], vectors: np.ndarray, binary: bool = False,
          head: bool = True) -> None:
    """Writes a file, whole or not at all; head: with the line "V D", which GloVe's text lacks. InputError for words
    that such a file cannot hold.
    """
    require(len(words) == len(vectors), f"{len(words)} words and {len(vectors)} vectors")
    for word in words:
        fits = 0 < len(word.encode()) <= WORD and not set(word) & set(" \n\r")
        require(fits, f"a file of vectors cannot hold the word {shown(word)}")
    first = f"{len(words)} {vectors.shape[1]}\n".encode() if head or binary else b""
    with atomic.file(Path(path)) as out:
        out.write(first)
        for word, row in zip(words, vectors.astype("<f4"), strict=True):
            held = row.tobytes() if binary else " ".join(np.format_float_positional(x, trim="-") for x in row).encode()
            out.write(word.encode() + b" " + held + b"\n")
