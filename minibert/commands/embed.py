"""`minibert embed`: a vector for each line of text."""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from json import encoder
from pathlib import Path
from typing import Any

import numpy as np

from minibert import commands, inference, progress, ranks, sentences, streams
from minibert.checkpoint import atomic, growing
from minibert.checkpoint.directory import OWNED
from minibert.config import whole
from minibert.errors import InputError
from minibert.options import ending

PART = 1024  # texts that are read, sorted by length and answered together
HEAD = 128  # bytes in front of an .npy file's numbers


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    examples = ending("embed DIR texts.txt -o vectors.npy", "embed DIR --pooling cls --normalize < texts.txt")
    command = commands.add_parser(
        "embed", help="a vector for each line of text",
        description="A vector for each line of text, made as the directory's modules.json says, else the family's own "
        "vector, or the mean of the tokens' states. A file is read in windows of 1,024 lines, standard input as its "
        "lines come.",
        epilog=examples,
    )  # fmt: skip
    command.set_defaults(run=_embed)
    command.add_argument("directory", metavar="DIR", help="a published directory, or one that a run has made")
    command.add_argument("text", nargs="?", metavar="FILE", help="UTF-8, one text a line; default: standard input")
    command.add_argument("-o", "--output", metavar="OUT", help="an .npy or .jsonl file; default: JSON lines, printed")
    command.add_argument(
        "--pooling", metavar="POOLING",
        help=f"{', '.join(inference.POOLINGS)}, or several with commas between; default: as the directory says",
    )  # fmt: skip
    command.add_argument(
        "--normalize", action=argparse.BooleanOptionalAction,
        help="scale each vector to length 1, or don't; default: as the directory says",
    )  # fmt: skip
    kept = "keep so many tokens of a text; default: as the directory says"
    command.add_argument("--max-length", type=int, metavar="TOKENS", help=kept)
    size = "compute at most so many texts together; default 64"
    command.add_argument("--batch-size", type=int, default=64, metavar="TEXTS", help=size)
    command.add_argument("--resume", action="store_true", help="go on with an OUT that was interrupted")


def _embed(args: argparse.Namespace) -> None:
    output = Path(args.output) if args.output else None
    if output and output.suffix not in (".npy", ".jsonl"):
        raise InputError(f"--output {args.output}: the name must end in .npy or .jsonl")
    if args.resume and output is None:
        raise InputError("--resume goes on with a file: name it with --output")
    if args.text is None and ranks.group().size > 1:
        raise InputError("standard input comes to one process of several: name a file of texts")
    whole("--batch-size", args.batch_size, 1)
    pooling = args.pooling.split(",") if args.pooling is not None else None
    with commands.opened(args.directory) as held:
        model = sentences.Embedder(args.directory, pooling, args.normalize, args.max_length, held)
        parts = _some(_parts(args), f"{args.text or streams.INPUT} holds no text")
        if ranks.group().rank:
            for _ in _embedded(model, (), args):  # for the first, which writes
                pass
        elif output is None:
            for texts, vectors in _embedded(model, parts, args):
                print(_json_lines(texts, vectors), end="", flush=True)
        else:
            _written(model, parts, output, args)


def _written(model: sentences.Embedder, parts: Iterator[list[str]], output: Path, args: argparse.Namespace) -> None:
    numbers = output.suffix == ".npy"
    settings = {"format": output.suffix, **_settings(model)}
    with growing.growing(output, settings, HEAD if numbers else 0, args.resume) as file:
        for texts, vectors in _embedded(model, file.rest(parts), args, file.noted):
            data = vectors.astype("<f4").tobytes() if numbers else _json_lines(texts, vectors).encode("ascii")
            file.add(data, texts)
        file.finish(_head(*file.done[:2]) if numbers else b"")


def _settings(model: sentences.Embedder) -> dict[str, Any]:
    """What the vectors depend on, besides the texts: how they are made, and the files of the model as they are now."""
    said, folder = model.settings, model.settings.network
    place = [atomic.place(own / name) for own in dict.fromkeys((folder, *said.others)) for name in OWNED]
    files = {str(path): [path.stat().st_size, path.stat().st_mtime_ns] for path in place if path.is_file()}
    steps = [getattr(step, "__name__", "") for step in said.after]
    return {"model": os.path.realpath(folder), "files": files, "pooling": list(said.pooling), "after": steps,
            "layers": list(said.layers), "max_length": said.max_length, "lower": said.lower,
            "prompt": said.prompt}  # fmt: skip


def _parts(args: argparse.Namespace) -> Iterator[list[str]]:
    """The texts: of a file windows, of standard input what has come."""
    size = max(PART, min(args.batch_size, 64 * PART))
    if args.text is None:
        yield from streams.arriving(size)
        return
    lines = streams.lines(args.text)
    while part := list(islice(lines, size)):
        yield part


def _some(parts: Iterator[list[str]], otherwise: str) -> Iterator[list[str]]:
    empty = True
    for part in parts:
        empty = False
        yield part
    if empty:
        raise InputError(otherwise)


def _embedded(
    model: sentences.Embedder, parts: Iterable[list[str]], args: argparse.Namespace, done: int = 0
) -> Iterator[tuple[list[str], np.ndarray]]:
    """(texts, their vectors), part by part; of a group of ranks each computes one of as many parts."""
    size, group, parts = 0, ranks.group(), iter(parts)
    with suppress(OSError, ValueError):  # said by whoever reads it
        size = os.path.getsize(args.text) if args.text else 0
    rate = _Rate(done, size)
    while several := group.once(lambda: [*islice(parts, group.size)]):
        rate.begin([text for texts in several for text in texts])
        vectors = []
        for texts in several[group.rank : group.rank + 1]:
            try:
                vectors.append(model(texts, args.batch_size, rate.show))
            except inference.NoToken as error:
                line = done + sum(map(len, several[: group.rank])) + error.place + 1
                raise InputError(f"{args.text or streams.INPUT}, line {line}: {error}") from None
        done += sum(map(len, several))
        yield from zip(several, (one for own in group.gathered(vectors) for one in own), strict=True)
    progress.leave()


class _Rate:
    """One line on a terminal of any width: texts done, the share of the file, the rate, the time left."""

    def __init__(self, done: int, size: int):
        self.before, self.size, self.terminal = done, size, sys.stderr.isatty()
        self.done, self.bytes, self.part, self.start = 0, 0, 0, time.perf_counter()
        self.last = self.start - progress.REDRAWN

    def begin(self, texts: list[str]) -> None:
        """Counts the next texts, and their bytes."""
        self.done, self.bytes = self.done + len(texts), self.bytes + self.part
        self.part = sum(len(text.encode("utf-8", "replace")) + 1 for text in texts) if self.terminal else 0

    def show(self, of_part: int, texts: int) -> None:
        """Draws the line, at most twice a second."""
        now = time.perf_counter()
        if not self.terminal or (now - self.last < progress.REDRAWN and of_part < texts):
            return
        self.last, spent = now, max(now - self.start, 1e-9)
        done = self.done - texts + of_part
        line = f"{self.before + done:,} texts  {done / spent:,.0f}/s"
        share = (self.bytes + self.part * of_part / texts) / self.size if self.size else 0
        if share and not self.before:
            line += f"  {min(share, 1.0):.0%}  {progress.clock(spent * (1 / min(share, 1.0) - 1))} left"
        with suppress(OSError):
            progress.draw(line[: progress.columns()])


def _json_lines(texts: list[str], vectors: np.ndarray) -> str:
    """A JSON object a line; nine digits tell every float32 from its neighbours."""
    rows = (", ".join(f"{number:.9g}" for number in vector.tolist()) for vector in vectors)
    said = (encoder.encode_basestring_ascii(text) for text in texts)
    return "".join(f'{{"text": {text}, "vector": [{row}]}}\n' for text, row in zip(said, rows, strict=True))


def _head(rows: int, size: int) -> bytes:
    """What stands in front of the numbers of an .npy file (NumPy's format 1.0) of so many rows and bytes."""
    facts = {"descr": "<f4", "fortran_order": False, "shape": (rows, (size - HEAD) // (4 * rows))}
    return b"\x93NUMPY\x01\x00" + (HEAD - 10).to_bytes(2, "little") + f"{facts!r:<{HEAD - 11}}\n".encode()
