"""`minibert embed`: a vector for each line of text."""

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import minibert
from minibert import inference, streams
from minibert.checkpoint import atomic
from minibert.config import whole
from minibert.errors import InputError
from minibert.options import ending

PART = 1024  # texts that are read, sorted by length and answered together


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    examples = ending("embed DIR texts.txt -o vectors.npy", "embed DIR --pooling cls --normalize < texts.txt")
    command = commands.add_parser("embed", help="a vector for each line of text", epilog=examples)
    command.set_defaults(run=_embed)
    command.add_argument("directory", metavar="DIR")
    command.add_argument("text", nargs="?", metavar="FILE", help="UTF-8, one text a line; default: standard input")
    command.add_argument("-o", "--output", metavar="OUT", help="an .npy or .jsonl file; default: JSON lines, printed")
    command.add_argument("--pooling", choices=inference.POOLINGS, default="mean")
    command.add_argument("--normalize", action="store_true", help="scale each vector to length 1")
    command.add_argument("--max-length", type=int, metavar="TOKENS")
    command.add_argument("--batch-size", type=int, default=32, metavar="TEXTS")


def _embed(args: argparse.Namespace) -> None:
    output = Path(args.output) if args.output else None
    if output and output.suffix not in (".npy", ".jsonl"):
        raise InputError(f"--output {args.output}: the name must end in .npy or .jsonl")
    whole("--batch-size", args.batch_size, 1)
    model = minibert.load(args.directory)
    texts = streams.some(streams.lines(args.text), f"{args.text or 'standard input'} holds no text")
    parts = _embedded(model, texts, args)
    if output is None:
        for lines in map(_json_lines, parts):
            print(lines, end="", flush=True)
    elif output.suffix == ".jsonl":
        with atomic.file(output) as file:
            for lines in map(_json_lines, parts):
                file.write(lines.encode("ascii"))
    else:
        with atomic.file(output) as file:  # before anything is computed: it may be refused
            vectors = [vectors for _, vectors in parts]
            shape = (sum(map(len, vectors)), vectors[0].shape[1])
            facts = {"descr": np.lib.format.dtype_to_descr(vectors[0].dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, facts)
            file.writelines(vectors)


def _embedded(
    model: minibert.Model, texts: Iterator[str], args: argparse.Namespace
) -> Iterator[tuple[list[str], np.ndarray]]:
    """(texts, their vectors) for each PART of the batches that are read."""
    done = 0

    def progress(of_part: int, _: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done + of_part:,} texts", end="", file=sys.stderr, flush=True)

    options = (args.pooling, args.normalize, args.max_length, args.batch_size, progress)
    while part := list(islice(texts, max(PART, min(args.batch_size, 64 * PART)))):
        yield part, inference.sentence_vectors(model, part, *options)
        done += len(part)
    if sys.stderr.isatty():
        print(file=sys.stderr)


def _json_lines(part: tuple[list[str], np.ndarray]) -> str:
    rows = zip(*part, strict=True)
    return "".join(json.dumps({"text": text, "vector": vector.tolist()}) + "\n" for text, vector in rows)
