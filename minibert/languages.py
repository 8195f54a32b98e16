"""Text in several languages: whose each document is, and how often each language is sampled.

    q_l = p_l^α / Σ p^α, p_l the share of the language l: its text, or its pairs                                    (1)

Devlin et al., google-research/bert, `multilingual.md`: α 0.7 for the vocabulary and for training; Conneau, Lample,
2019, arXiv 1901.07291, section 3.1: α 0.5 for the vocabulary, 0.7 for training. Both smooth what is drawn; here text is
never left out: the language with the largest share is read once, the others so much more often than it that their
shares are those of (1) (`weights`).
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from minibert import parallel
from minibert.config import require, shown
from minibert.corpus import Document, Files, Part

BETWEEN = "-"


@dataclass(frozen=True)
class Languages:
    """The documents of files by the language that they are in; "en-zh": pairs of a sentence and its translation.

    files: {language: path}. A language's file is text as `corpus.Files` reads it; that of two languages is what
    `parallel.pairs` reads, of a folder the catalogues of the second.
    """

    files: Mapping[str, str | os.PathLike]

    def __iter__(self) -> Iterator[Document]:
        for name, path in self.files.items():
            if BETWEEN in name:
                pair = None
                for pair in parallel.pairs([path], name.partition(BETWEEN)[2]):
                    yield Document(pair, name)
                require(pair is not None, f"no pairs in {path}: give lines of a source and a target, or catalogues")
            else:
                yield from (Document(document, name) for document in Files([path]))


def given(texts: Iterable[str]) -> dict[str, str]:
    """{language: path} of texts "zh=FILE", in the order of the languages' names."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        require(bool(equals and name.strip() == name and name and path), f"language {shown(text)}: write NAME=FILE")
        parts = name.split(BETWEEN)
        fits = len(parts) <= 2 and all(parts) and len(set(parts)) == len(parts) and not any(map(str.isspace, name))
        require(fits, f"language {shown(name)}: give a name such as zh, or two of parallel text, such as en-zh")
        require(name not in found, f"language {shown(name)} is given twice")
        found[name] = path
    return dict(sorted(found.items()))


def spoken(files: Mapping[str, str]) -> list[str]:
    """The names of the languages, each once: of parallel text both."""
    return sorted({part for name in files for part in name.split(BETWEEN)})


def smoothed(shares: Mapping[str, float], exponent: float) -> dict[str, float]:
    """(1) of shares, or of counts, that are not 0; exponent 1 leaves them, 0 makes all equal."""
    powers = {name: float(share) ** exponent for name, share in shares.items() if share > 0}
    total = sum(powers.values())
    return {name: power / total for name, power in powers.items()}


def weights(part: Part, exponent: float) -> dict[str, float]:
    """How often the text of each language is read for its share to be that of (1), at least once; {} where no document
    has a language.
    """
    sizes: dict[str, int] = {}
    for document in part:
        if isinstance(document, Document):
            sizes[document.language] = sizes.get(document.language, 0) + sum(map(len, document))
    wanted = smoothed(sizes, exponent)
    often = {name: wanted[name] / sizes[name] for name in wanted}
    least = min(often.values(), default=1.0)
    return {name: value / least for name, value in often.items()}


def repeated(part: Part, often: Mapping[str, float], seed: int) -> Iterator[list[str]]:
    """The documents, each as often as its language's weight: the rest of a weight is the chance of once more."""
    rng = np.random.default_rng(seed)
    for document in part:
        weight = often.get(getattr(document, "language", ""), 1.0)
        for _ in range(int(weight) + (rng.random() < weight % 1 if often else 0)):
            yield document
