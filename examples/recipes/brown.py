"""The Brown corpus: words and their part of speech (tag), sentences and the genre they come from (classify), how a
story goes on (summarize).

    python examples/recipes/brown.py FOLDER OUT

FOLDER has the corpus as NLTK distributes it: a file a text, ca01 to cr09, lines of word/tag, and cats.txt with the
genre of each. Tags lose the marks of headlines, titles, citations and foreign words (np-hl becomes np, fw-at at).
"""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from written import Row, written

TOGETHER = 4  # sentences of a text to tell the genre by, or to go on from
STORIES = {"adventure", "fiction", "humor", "mystery", "romance", "science_fiction"}


def rows(folder: Path) -> Iterator[Row]:
    """Each text is held out as a whole."""
    genres = dict(line.split()[:2] for line in (folder / "cats.txt").read_text(encoding="utf-8").splitlines())
    for text, genre in genres.items():
        sentences = []
        for line in (folder / text).read_text(encoding="utf-8").splitlines():
            pairs = [pair.rpartition("/")[::2] for pair in line.split()]
            if pairs:
                words = [word for word, _ in pairs]
                yield "tags", text, {"tokens": words, "tags": [plain(tag) for _, tag in pairs]}
                sentences.append(" ".join(words))
        for at in range(TOGETHER, len(sentences) if genre in STORIES else 0):
            yield "stories", text, {"source": " ".join(sentences[at - TOGETHER : at]), "target": sentences[at]}
        several = iter(sentences)
        while chunk := list(islice(several, TOGETHER)):
            yield "genres", text, {"text": " ".join(chunk), "label": genre}


def plain(tag: str) -> str:
    """The part of speech alone."""
    for mark in ("-hl", "-tl", "-nc"):
        tag = tag.replace(mark, "")
    return tag.removeprefix("fw-") or tag


if __name__ == "__main__":
    written(sys.argv[2], rows(Path(sys.argv[1])))
