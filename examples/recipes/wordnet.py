"""WordNet: kinds of meaning (classify), definitions to choose from (choose), headwords to find (answer), relations,
likeness (similar), definitions to give (summarize), keywords (tag).

    python examples/recipes/wordnet.py FOLDER OUT

FOLDER has data.noun, data.verb, data.adj and data.adv (wndb(5WN)). Of each synset the first word and the definition:

    kinds       a definition -> which of the 45 lexicographer files it is from
    choices     a noun and four definitions of one such file, one of which is its own
    headwords   a definition, and entries in which its headword is the answer; in a quarter it is not among them
    relations   an entry, its headword and a word of the definition: is that its hypernym, its whole, or no such thing
    likeness    two nouns' definitions, and 1 where one is what the other is a kind of, 0 where they stand in one file
    questions   "what is NOUN?" -> its definition
    keywords    the words of a definition, and K for the one that names what it is a kind of
    marked      as relations, for classify: marks about both words, as Tsinghua's ERNIE is tuned (`rows.marks`)
    typed       an entry, marks about its headword -> which file it is from
"""

import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from written import Row, written

from minibert.rows import marks

KINDS = {
    "adj": "all pert", "adv": "all",
    "noun": "Tops act animal artifact attribute body cognition communication event feeling food group location motive "
            "object person phenomenon plant possession process quantity relation shape state substance time",
    "verb": "body change cognition communication competition consumption contact creation emotion motion perception "
            "possession social stative weather",
}  # fmt: skip
FILES = [f"{part}.{kind}" for part, kinds in KINDS.items() for kind in kinds.split()] + ["adj.ppl"]  # lexnames(5WN)
LETTERS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
RELATIONS = {"@": "hypernym", "@i": "hypernym", "#m": "whole", "#p": "whole", "#s": "whole"}
ENTRIES = 5  # in which a headword is to be found


class Synset(NamedTuple):
    """One meaning: the words that have it, in which file, to what it points, what it is."""

    words: list[str]
    file: str
    pointers: list[tuple[str, str]]  # (symbol, key of a synset)
    definition: str


def synsets(folder: Path) -> dict[str, Synset]:
    """By part of speech and offset, such as n00001740."""
    found = {}
    for part, letter in LETTERS.items():
        for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if line.startswith(" "):  # the licence
                continue
            fields, _, gloss = line.partition(" | ")
            offset, file, _, count, *rest = fields.split()
            words = [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in rest[: 2 * int(count, 16) : 2]]
            rest = rest[2 * int(count, 16) :]
            pointers = [(rest[i], rest[i + 2] + rest[i + 1]) for i in range(1, 1 + 4 * int(rest[0]), 4)]
            definition = gloss.partition('; "')[0].strip(" ;")
            if definition:
                found[letter + offset] = Synset(words, FILES[int(file)], pointers, definition)
    return found


def rows(folder: Path) -> Iterator[Row]:
    """What concerns one definition is held out together."""
    held, siblings = synsets(folder), defaultdict(list)
    nouns = {key: synset for key, synset in held.items() if key.startswith("n")}
    for synset in nouns.values():
        siblings[synset.file].append(synset)
    every = {word for synset in nouns.values() for word in synset.words}
    for synset in held.values():
        yield "kinds", synset.definition, {"text": synset.definition, "label": synset.file}
    for key, synset in nouns.items():
        rng = random.Random(key)
        others = [other for other in rng.sample(siblings[synset.file], min(ENTRIES + 3, len(siblings[synset.file])))
                  if other.definition != synset.definition and other.words[0] != synset.words[0]]  # fmt: skip
        if len(others) >= ENTRIES:
            yield "choices", synset.definition, chosen(synset, others[:3], rng)
            yield "headwords", synset.definition, found_in(synset, others[:ENTRIES], rng)
            yield from (("likeness", synset.definition, row) for row in alike(synset, others[-1], nouns))
        yield "questions", synset.definition, {"source": f"what is {synset.words[0]}?", "target": synset.definition}
        yield from (("keywords", synset.definition, row) for row in named(synset, nouns))
        for row in related(synset, nouns, every, rng):
            yield "relations", synset.definition, row
            text = marks.related(row["text"], row["head"], row["tail"])
            yield "marked", synset.definition, {"text": text, "label": row["label"]}
        entry = f"{synset.words[0]}: {synset.definition}"
        typed = marks.typed(entry, (0, len(synset.words[0])))
        yield "typed", synset.definition, {"text": typed, "label": synset.file}


def chosen(synset: Synset, others: list[Synset], rng: random.Random) -> dict:
    choices = [synset.definition, *(other.definition for other in others)]
    rng.shuffle(choices)
    return {"context": synset.words[0], "choices": choices, "label": choices.index(synset.definition)}


def found_in(synset: Synset, others: list[Synset], rng: random.Random) -> dict:
    """Entries of which the last is the headword's, before they are shuffled; or all are others'."""
    entries = [*others[1:], synset] if rng.random() < 0.75 else others
    rng.shuffle(entries)
    context, answers = "", []
    for entry in entries:
        if entry is synset:
            answers = [{"text": synset.words[0], "answer_start": len(context)}]
        context += f"{entry.words[0]}: {entry.definition}. "
    return {"question": synset.definition, "context": context.strip(), "answers": answers}


def alike(synset: Synset, other: Synset, nouns: dict[str, Synset]) -> Iterator[dict]:
    """A row with the definition of what it is a kind of, and one with that of another noun."""
    above = next((nouns[key] for symbol, key in synset.pointers if symbol == "@" and key in nouns), None)
    if above is not None and above.definition not in (synset.definition, other.definition):
        yield {"text": synset.definition, "pair": above.definition, "label": 1.0}
        yield {"text": synset.definition, "pair": other.definition, "label": 0.0}


def named(synset: Synset, nouns: dict[str, Synset]) -> Iterator[dict]:
    """The definition's words, where one of them, the first, is its hypernym."""
    kin = {word for symbol, key in synset.pointers if symbol.startswith("@") and key in nouns
           for word in nouns[key].words}  # fmt: skip
    words = re.findall(r"[\w'-]+|[^\w\s]", synset.definition)
    place = next((i for i, word in enumerate(words) if word in kin), None)
    if place is not None:
        yield {"tokens": words, "tags": ["K" if i == place else "O" for i in range(len(words))]}


def related(synset: Synset, nouns: dict[str, Synset], every: set[str], rng: random.Random) -> Iterator[dict]:
    """A row for the first word of the definition that is a relative's, and as often one for a noun that is none."""
    kin = {word: RELATIONS[symbol] for symbol, key in synset.pointers if symbol in RELATIONS and key in nouns
           for word in nouns[key].words}  # fmt: skip
    head, start = synset.words[0], len(synset.words[0]) + 2
    spans = [(match[0], [start + match.start(), start + match.end()])
             for match in re.finditer(r"[a-z]+", synset.definition) if match[0] in every]  # fmt: skip
    related = [(kin[word], span) for word, span in spans if word in kin][:1]
    strange = [("none", span) for word, span in spans if word not in kin and word not in synset.words]
    for label, span in related + rng.sample(strange, min(len(related), len(strange))):
        yield {"text": f"{head}: {synset.definition}", "head": [0, len(head)], "tail": span, "label": label}


if __name__ == "__main__":
    written(sys.argv[2], rows(Path(sys.argv[1])))
