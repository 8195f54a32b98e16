"""`minibert corrupt RULE [TEXT …]`: texts with their corruption, to look at."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import regex

from minibert import corpus, reading, streams, tokenizers
from minibert.config import require
from minibert.config import shown as in_words
from minibert.corruption import replacement, segmentation, shown, units
from minibert.corruption.denoising import NOISES
from minibert.corruption.masking import Vocabulary
from minibert.corruption.rules import RULES
from minibert.corruption.spans import OBJECTIVES
from minibert.errors import InputError, printable
from minibert.options import ending

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORD = regex.compile(r"\p{Han}|[\p{L}\p{M}\p{N}]+|[^\s\p{C}]")
T5 = ["</s>", *(f"<extra_id_{i}>" for i in reversed(range(100)))]  # its end of a text, its sentinels
MOST_SAMPLES, MOST_TOKENS, MOST_SHOWN = 1000, 4096, 1 << 20  # corruptions of a text, tokens of one, tokens in all

# fate: (SGR code, how it looks without colour); o: what stood there, n: what stands there now
FATES = {
    "masked": ("97;41", "[{o}→" + shown.BLANK + "]"),
    "random": ("30;43", "[{o}→{n}]"),
    "similar": ("30;42", "[{o}~{n}]"),
    "kept but predicted": ("97;44", "[{o}=]"),
}


NAMES = shown.Names([*RULES, *NOISES, *OBJECTIVES])
_TOO_MUCH = f"more than the {MOST_SHOWN} tokens that are shown at once; give fewer texts or samples"


def parser(commands: Any) -> None:
    """Adds `corrupt` to the command line."""
    about = "show texts as a pre-training objective corrupts them"
    examples = ending(
        'corrupt span "what a rule does to a text, in colour"', "corrupt bert --tokenizer runs/bert --file texts.txt",
        'corrupt entity "New York is large" --words New_York --samples 3',
        "corrupt permutation+infilling --file texts.txt", 'corrupt random-spans "what is read and written by T5"',
    )  # fmt: skip
    command = commands.add_parser("corrupt", help=about, description=f"{about.capitalize()}.", epilog=examples)
    command.set_defaults(run=_run)
    ours = f"{', '.join(RULES)}; BART's noises, several with + between them: {', '.join(NOISES)}; T5's objectives: "
    command.add_argument("rule", metavar="RULE", choices=NAMES, help=f"{ours}{', '.join(OBJECTIVES)}")
    command.add_argument("text", nargs="*", metavar="TEXT", help="default: lines of standard input")
    command.add_argument("--file", metavar="FILE", help="UTF-8, one text a line")
    command.add_argument("--tokenizer", metavar="DIR", help="a published directory; default: the texts' own words")
    command.add_argument("--rate", type=float, metavar="X", help="share to predict, default 0.15, of noises 0.3")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn, default 0")
    words = 'a segmentation ("使用 语言 模型"); for the rule entity the entities, with _ for a blank'
    command.add_argument("--words", metavar="'W W …'", default="", help=words)
    known = 'for the rule macbert: "model=system,network language=text"'
    command.add_argument("--similar", metavar="'W=V,V …'", default="", help=known)
    command.add_argument("--samples", type=int, default=1, metavar="K", help="corruptions of each text, default 1")
    command.add_argument(
        "--no-color", action="store_true", help="markers in place of colours, as where output is a file"
    )


def _run(args: argparse.Namespace) -> None:
    require(args.rate is None or 0 <= args.rate <= 1, f"--rate {args.rate or 0:g}: a share from 0 to 1")
    require(args.samples >= 1, f"--samples {args.samples}: at least 1")
    require(args.samples <= MOST_SAMPLES, f"--samples {in_words(args.samples)}: at most {MOST_SAMPLES}")
    require(0 <= args.seed < 1 << 64, f"--seed {in_words(args.seed)}: from 0 to {(1 << 64) - 1}")
    require(not args.similar or args.rule == "macbert", "--similar goes with the rule macbert")
    texts = [*args.text, *(segmentation.lines(args.file) if args.file else ())]
    if not args.text and not args.file:
        texts = _standard_input()
    texts = [text for text in texts if text.strip()]
    require(bool(texts), "no text given")
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ and not args.no_color
    names = ("rule", "rate", "seed", "words", "similar", "samples", "tokenizer")
    for line in corrupted(texts, **{name: getattr(args, name) for name in names}, coloured=coloured):
        print(line)


def corrupted(
    texts: list[str],
    rule: str,
    rate: float | None = None,
    seed: int = 0,
    words: str = "",
    similar: str = "",
    samples: int = 1,
    tokenizer: str | None = None,
    coloured: bool = False,
) -> list[str]:
    """A legend, and for each text its samples, each with a line that counts; arguments as of the command."""
    if rule not in RULES:
        return _between(texts, rule, rate, seed, samples, tokenizer, coloured)
    rate, known = 0.15 if rate is None else rate, _similar(similar)
    own = [*texts, *words.replace("_", " ").split(), *known, *(w for found in known.values() for w in found)]
    text = _own(own) if tokenizer is None else _loaded(tokenizer)
    require(len(texts) * samples <= MOST_SHOWN, f"{len(texts)} texts, {samples} times each: {_TOO_MUCH}")
    rows = [text.read(line) for line in texts]
    for row, line in zip(rows, texts, strict=True):
        require(bool(row), f"{line[:40]!r} holds no token")
        require(len(row) <= MOST_TOKENS, f"{line[:40]!r} has {len(row)} tokens; a text may have {MOST_TOKENS}: cut it")
    width = 2 + max(map(len, rows))
    require(len(rows) * width * samples <= MOST_SHOWN, f"{len(rows)} texts of up to {width} tokens: {_TOO_MUCH}")
    ids = np.full((len(rows), width), text.vocabulary.pad, np.int32)
    starts = np.ones(ids.shape, bool)
    present = (np.arange(width) < [[2 + len(row)] for row in rows]).astype(np.int32)
    segment = segmentation.occurring(words.split())
    for b, row in enumerate(rows):
        ids[b, : len(row) + 2] = [text.vocabulary.cls, *row, text.vocabulary.sep]
        pieces = [text.pieces[i] for i in row]
        starts[b, 1 : len(row) + 1] = units.segmentation(pieces, segment("".join(pieces)))
    known_words = text.vocabulary.continues is not None
    require(known_words, "this tokenizer's pieces do not say whether they continue a word: take another")
    starts &= ~text.vocabulary.continues[ids]
    given: dict[str, Any] = {"rate": rate, "starts": starts}
    if rule == "entity":
        named = {tuple(text.read(word.replace("_", " "))) for word in words.split()}
        given = {"rate": rate, "units": segmentation.entities(ids, named - {()}, text.vocabulary.continues)}
    alike = {tuple(text.read(w)): [tuple(text.read(v)) for v in found] for w, found in known.items()}
    if rule == "macbert":
        given["similar"] = replacement.thesaurus(alike, text.vocabulary)
    rng = np.random.default_rng(seed)
    absent = "masked" if rule == "macbert" else "similar"
    lines = ["  ".join(_mark(fate, fate, "other", coloured) for fate in FATES if fate != absent)]
    made = [RULES[rule](ids, present, rng, text.vocabulary, **given) for _ in range(samples)]
    for b, row in enumerate(rows):
        tokens = slice(0, len(row) + 2)
        for one in made:
            after, chosen = one.ids[b, tokens].tolist(), one.chosen[b, tokens]
            fates = _fates(ids[b, tokens].tolist(), after, chosen, starts[b], text.vocabulary.mask, alike)
            lines += _shown(ids[b, tokens].tolist(), after, fates, text.pieces, coloured)
    return lines


def _between(
    texts: list[str], name: str, rate: float | None, seed: int, samples: int, tokenizer: str | None, coloured: bool
) -> list[str]:
    """What a noise, or an objective, makes of texts between an encoder and a decoder."""
    spread = name in OBJECTIVES
    text = _own(texts, T5 if spread else ()) if tokenizer is None else _loaded(tokenizer, spread)
    require(len(texts) * samples <= MOST_SHOWN, f"{len(texts)} texts, {samples} times each: {_TOO_MUCH}")
    total = 0
    for line in texts:
        tokens = len(text.read(line))
        require(tokens > 0, f"{line[:40]!r} holds no token")
        require(tokens <= MOST_TOKENS, f"{line[:40]!r} has {tokens} tokens; a text may have {MOST_TOKENS}: cut it")
        total += tokens * samples
    require(total <= MOST_SHOWN, f"{total} tokens: {_TOO_MUCH}")
    rng = np.random.default_rng(seed)
    cut = [corpus.sentences(line) for line in texts]
    if spread:
        return [line for one in cut for line in shown.written(one, name, rate, samples, rng, text)]
    mark = partial(_mark, coloured=coloured, fates=shown.FATES)
    lines = ["  ".join(mark(fate, fate, "other") for fate in shown.FATES)]
    return [*lines, *(line for one in cut for line in shown.noised(one, name, rate, samples, rng, text, mark))]


def _fates(
    before: list[int], after: list[int], chosen: np.ndarray, starts: np.ndarray, mask: int, alike: dict
) -> list[str | None]:
    """What became of each token, None where it was not chosen."""
    found: list[str | None] = [
        None if not c else "masked" if new == mask else "kept but predicted" if new == old else "random"
        for old, new, c in zip(before, after, chosen, strict=True)
    ]
    bounds = [*np.flatnonzero(starts[: len(before)]).tolist(), len(before)]
    for a, b in pairwise(bounds):
        if chosen[a] and before[a:b] != after[a:b] and tuple(after[a:b]) in alike.get(tuple(before[a:b]), ()):
            found[a:b] = ["similar"] * (b - a)
    return found


def _shown(
    before: list[int], after: list[int], fates: list[str | None], pieces: list[str], coloured: bool
) -> list[str]:
    """A corrupted row, and what became of how many of its tokens. Special tokens stand there only if chosen."""
    inner = range(1, len(before) - 1)
    names = [(printable(pieces[old]), printable(pieces[new])) for old, new in zip(before, after, strict=True)]
    marked = [
        old if fate is None else _mark(fate, old, new, coloured)
        for i, ((old, new), fate) in enumerate(zip(names, fates, strict=True))
        if fate is not None or i in inner
    ]
    counts = ", ".join(f"{fates.count(fate)} {fate}" for fate in FATES if fate in fates) or "none"
    return [" ".join(marked), f"  {len(fates) - fates.count(None)} of {len(before)} tokens: {counts}"]


def _mark(
    fate: str, old: str, new: str, coloured: bool, fates: Mapping[str, tuple[str, str]] = MappingProxyType(FATES)
) -> str:
    colour, plain = fates[fate]
    if not coloured:
        return plain.format(o=old, n=new)
    return f"\x1b[{colour}m{old if new in (old, 'other') or fate == 'masked' else f'{old}→{new}'}\x1b[0m"


def _similar(given: str) -> dict[str, list[str]]:
    """{word: similar words} from "word=other,other word=other"."""
    known = {}
    for part in given.split():
        word, equals, others = part.partition("=")
        if not (word and equals and all(others.split(","))):
            raise InputError(f"--similar {in_words(part)}: write WORD=WORD,WORD")
        known[word] = others.split(",")
    return known


def _own(texts: list[str], extra: Sequence[str] = ()) -> shown.Text:
    """A vocabulary of the texts' own words; Chinese characters stand alone, as in BERT. extra: further specials."""
    words = sorted({word for text in texts for word in _WORD.findall(text)})
    pieces = [*SPECIALS, *words, *extra]
    index = {piece: i for i, piece in enumerate(pieces)}
    special = (*range(len(SPECIALS)), *range(len(pieces) - len(extra), len(pieces)))
    vocabulary = Vocabulary(len(pieces), 2, 3, 4, 0, np.zeros(len(pieces), bool), special, index.get("</s>"))
    return shown.Text(lambda text: [index[word] for word in _WORD.findall(text)], pieces, vocabulary)


def _loaded(folder: str, spread: bool = False) -> shown.Text:
    """The vocabulary of a published directory; spread: of a decoder that begins and ends texts without cls and mask."""
    require(Path(folder).is_dir(), f"--tokenizer {folder}: no such directory")
    made = tokenizers.load(Path(folder), "wordpiece")
    if made is None:
        raise InputError(f"--tokenizer {folder}: holds none of {', '.join(tokenizers.FILES)}")
    roles = {role: getattr(made, f"{role}_id") for role in ("cls", "sep", "mask", "pad", "eos")}
    for role in ("eos", "pad") if spread else ("cls", "sep", "mask", "pad"):
        require(roles[role] is not None, f"--tokenizer {folder}: its vocabulary names no token for the role {role}")
    ids = [roles[role] for role in ("cls", "sep", "mask", "pad")]
    vocabulary = Vocabulary(len(made), *ids, made.continues, tuple(sorted(made.special_ids)), roles["eos"])
    return shown.Text(made.ids, list(made.tokens), vocabulary)


def _standard_input() -> list[str]:
    texts, size = [], 0
    for line in streams.lines(None):
        size += len(line.encode("utf-8")) + 1
        require(size <= reading.TEXT + 1, f"standard input has more than {reading.TEXT} bytes: give less of it")
        texts.append(line)
    return texts
