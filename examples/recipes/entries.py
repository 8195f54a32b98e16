"""WordNet as running text: definitions and examples, in which ERNIE of Tsinghua finds the synsets that words stand for.

    python examples/recipes/entries.py FOLDER OUT [MOST]
    minibert pretrain ernie-thu --corpus OUT --knowledge FOLDER

FOLDER has data.noun, … and index.sense (wndb(5WN)). A line is "word: definition." or an example, as
`corruption.knowledge` knows them by synset; a document is 20 synsets in a row, MOST of them at most.
"""

import random
import sys
from collections.abc import Iterator
from pathlib import Path

from minibert.corruption import knowledge

DOCUMENT = 20


def documents(folder: str) -> Iterator[list[str]]:
    """By the synsets' numbers, those of one document behind each other."""
    sentences: dict[int, list[str]] = {}
    for sentence, meant in knowledge.read(folder).own.items():
        sentences.setdefault(min(meant.values()), []).append(sentence)
    numbers = sorted(sentences)
    for first in range(0, len(numbers), DOCUMENT):
        yield [sentence for number in numbers[first : first + DOCUMENT] for sentence in sentences[number]]


def main() -> None:
    folder, out, *most = sys.argv[1:]
    found = [*documents(folder)]
    random.Random(0).shuffle(found)
    found = found[: int(most[0]) if most else None]
    text = "\n\n".join("\n".join(document) for document in found) + "\n"
    Path(out).write_text(text, encoding="utf-8", newline="\n")
    print(f"{out}  {len(found):,} documents, {sum(map(len, found)):,} sentences")


if __name__ == "__main__":
    main()
