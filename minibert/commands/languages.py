"""`minibert languages`: see `minibert.analysis.languages`."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from minibert import commands, corpus, uses
from minibert import languages as spoken
from minibert.analysis import languages, pictures, probing
from minibert.checkpoint import atomic
from minibert.config import require, whole
from minibert.errors import printable
from minibert.options import ending
from minibert.progress import doing

LONGEST = 512  # tokens of a sentence
SHOWN = 150  # tokens of a language in the picture


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "which layer tells languages apart, and where their means lie"
    more = ("A linear classifier is fitted to each layer's states of the tokens of every second sentence and asked "
            "about the others: in which language does a token stand? Beside it, how far the languages' means lie "
            "apart, in deviations of the tokens from their own language's mean.")  # fmt: skip
    examples = ending("languages runs/bert en=en.txt de=de.txt",
                      "languages runs/bert en=en.txt de=de.txt fr=fr.txt -o languages.svg")  # fmt: skip
    command = commands.add_parser("languages", help=about, description=f"Shows {about}. {more}", epilog=examples)
    command.set_defaults(run=_languages)
    command.add_argument("directory", metavar="DIR", help="a published directory, or one that a run has made")
    command.add_argument("text", nargs="+", metavar="NAME=FILE", help="text in this language: two or more")
    tokens = "take so many tokens of each to learn from, and as many to be asked; default 2000"
    command.add_argument("--tokens", type=int, default=2000, metavar="N", help=tokens)
    command.add_argument("-o", "--output", metavar="OUT", help="an .svg picture of tokens and means, layer by layer")


def _languages(args: argparse.Namespace) -> None:
    count = whole("--tokens", args.tokens, 2)
    files = spoken.given(args.text)
    require(len(files) > 1, "there is one language, nothing to tell apart: give NAME=FILE twice or more")
    svg = args.output is None or Path(args.output).suffix.lower() == ".svg"
    require(svg, f"--output {args.output}: the name must end in .svg")
    with commands.opened(args.directory) as model:
        length = uses.longest(model, LONGEST)
        sides = []
        with doing("reading the text"):
            for half in (0, 1):
                sides.append([_tokens(model, path, half, length, count) for path in files.values()])
        least = min(len(one[0]) for side in sides for one in side)
        told, asked = ([[layer[:least] for layer in one] for one in side] for side in sides)
        labels = np.repeat(np.arange(len(files)), least)
        asking = f"{least:,} tokens of each of {len(files)} languages learnt from, as many asked"
        print(f"{asking}; chance {1 / len(files):.4f}")
        print(f"  {'':<12}{'told':>8}{'apart':>9}")
        for i in range(len(told[0])):
            before, after = (np.concatenate([one[i] for one in side]) for side in (told, asked))
            share = probing.accuracy(probing.fitted(before, labels), after, labels)
            distance = languages.apart([one[i] for one in asked])
            print(f"  {f'layer {i}' if i else 'embeddings':<12}{share:>8.4f}{distance:>9.4f}", flush=True)
    if args.output is not None:
        atomic.write_text(args.output, drawn([*files], asked))
        print(f"{printable(args.output)}: {min(SHOWN, least)} tokens and the mean of each language, layer by layer")


def _tokens(model: Any, path: str, half: int, length: int, count: int) -> list[np.ndarray]:
    """The states of the tokens of every second sentence of a text."""
    every = (text for document in corpus.Files([path]) for text in document)
    texts = (text for i, text in enumerate(every) if i % 2 == half)
    return languages.tokens(model, texts, length, count, f"every second sentence of {path}")


def drawn(names: list[str], sides: list[list[np.ndarray]]) -> str:
    """The picture of each language's states (N, D) of each layer."""
    panels = []
    for i in range(len(sides[0])):
        points, means = languages.plane([one[i] for one in sides])
        some = [own[:: max(1, len(own) // SHOWN)][:SHOWN] for own in points]
        panels.append((f"layer {i}" if i else "embeddings", some, means))
    return pictures.clouds("tokens of each language, and their means", names, panels)
