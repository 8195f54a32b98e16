"""What is known of entities: their names, triples of them, and which words of a text stand for which.

`read` takes a folder, of OpenKE's files or of WordNet's (wndb(5WN)), or tells what this Python knows of its modules:

    OpenKE     entity2id.txt, relation2id.txt, train2id.txt: a number of lines, then NAME\tid, or head tail relation;
               where they are there entity2vec.vec, a vector a line, and mentions.txt, WORDS\tNAME
    WordNet    data.noun, …: synsets are entities, pointers relations; a lemma stands for its most frequent synset
               (index.sense), in a synset's own definition and examples for that one
    Python     modules, classes, functions and methods of a few modules; what is in what, and what is a kind of what
"""

import contextlib
import functools
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from minibert import reading
from minibert.config import require, shown
from minibert.corruption import transe

Array = np.ndarray
Link = tuple[int, int, int]  # (first, end, entity), in characters

WORDS = 4  # most words of a mention
SHORTEST = 3  # letters of a lemma of WordNet, and of what is left of a plural: "he" is helium, "was" no plural
_WORD = re.compile(r"[\w.]*\w")


class Knowledge(NamedTuple):
    """names: of entities, by number; relations: their names; triples (M, 3): head, relation, tail; vectors: (N, E),
    None where they are still to be learnt; mentions: the entity that words stand for, own: in a sentence of its own.
    """

    names: list[str]
    relations: list[str]
    triples: Array
    mentions: dict[str, int]
    own: dict[str, dict[str, int]] = {}  # noqa: RUF012 (never written to)
    vectors: Array | None = None

    def linked(self, sentence: str) -> list[Link]:
        """The longest mentions in a sentence, from its beginning."""
        words, found, at = [*_WORD.finditer(sentence)], [], 0
        here = self.own.get(sentence, {})
        while at < len(words):
            for n in range(min(WORDS, len(words) - at), 0, -1):
                first, end = words[at].start(), words[at + n - 1].end()
                entity = self._meant(sentence[first:end], here)
                if entity is not None:
                    found.append((first, end, entity))
                    at += n - 1
                    break
            at += 1
        return found

    def _meant(self, words: str, here: dict[str, int]) -> int | None:
        """As written, in small letters, then without the ending of a plural."""
        single = words.lower().removesuffix("s")
        for known in (here, self.mentions):
            for form in (words, words.lower(), single if len(single) >= SHORTEST else words):
                if form in known:
                    return known[form]
        return None


@functools.lru_cache(maxsize=2)
def read(folder: str = "") -> Knowledge:
    """What a folder holds, or what this Python knows; InputError for what cannot be read."""
    if not folder:
        return of_python()
    place = Path(folder)
    if reading.present(place / "data.noun"):
        return of_wordnet(place)
    found = reading.present(place / "entity2id.txt")
    require(found, f"{folder} has neither entity2id.txt (OpenKE) nor data.noun (WordNet)")
    return of_files(place)


@functools.lru_cache(maxsize=1)
def vectors(folder: str, size: int, passes: int) -> Array:
    """(N, size) those of a folder, or learnt from its triples, or Python's, in so many passes (`transe.learnt`)."""
    known = read(folder)
    if known.vectors is not None:
        wide = known.vectors.shape[1]
        require(wide == size, f"{folder} has vectors of {wide} numbers, entity_size is {size}: choose that")
        return known.vectors
    return transe.learnt(known.triples, len(known.names), len(known.relations), size, passes)


# ---- OpenKE's files --------------------------------------------------------------------------------------------------
def of_files(folder: Path) -> Knowledge:
    names, relations = (_numbered(folder / f"{what}2id.txt") for what in ("entity", "relation"))
    triples = [(head, relation, tail) for head, tail, relation in _numbers(folder / "train2id.txt", int, 3)]
    triples = np.array(triples, np.int64).reshape(-1, 3)
    fits = not len(triples) or ((triples >= 0) & (triples < [len(names), len(relations), len(names)])).all()
    require(bool(fits), f"{folder / 'train2id.txt'} names an entity or a relation that there is not")
    known = {name: number for number, name in enumerate(names)}
    mentions, vectors = dict(known), None
    if reading.present(folder / "mentions.txt"):
        mentions = {}
        for n, line in enumerate(_lines(folder / "mentions.txt")):
            words, tab, name = line.partition("\t")
            fits = bool(tab) and name in known
            require(fits, f"{folder / 'mentions.txt'}, line {n + 1}: expected WORDS, a tab, a name")
            mentions[words] = known[name]
    if reading.present(folder / "entity2vec.vec"):
        rows = _numbers(folder / "entity2vec.vec", float, None, header=False)
        even = len(rows) == len(names) and len({len(row) for row in rows}) == 1
        require(even, f"{folder / 'entity2vec.vec'}: expected {len(names)} vectors of one length")
        with np.errstate(over="ignore"):  # said in the next line
            vectors = np.array(rows, np.float32)
        require(bool(np.isfinite(vectors).all()), f"{folder / 'entity2vec.vec'} has numbers that are not finite")
    return Knowledge(names, relations, triples, mentions, vectors=vectors)


def _lines(path: Path) -> list[str]:
    text = reading.contents(path).decode("utf-8", "replace")
    return [line for line in text.splitlines() if line.strip()]


def _numbered(path: Path) -> list[str]:
    """Names in the order of their numbers, which count from 0."""
    found: dict[int, str] = {}
    for n, line in enumerate(_lines(path)[1:]):
        name, tab, number = line.partition("\t")
        fits = bool(tab) and number.strip().isdecimal() and len(number) < 12
        require(fits, f"{path}, line {n + 2}: expected a name, a tab and a number")
        found[int(number)] = name
    require(bool(found) and sorted(found) == [*range(len(found))], f"{path}: numbers do not count from 0 without gaps")
    return [found[number] for number in range(len(found))]


def _numbers(path: Path, kind: type, count: int | None, header: bool = True) -> list[list]:
    rows = []
    for n, line in enumerate(_lines(path)[header:]):
        try:
            row = [kind(word) for word in line.split()]
        except ValueError:
            row = []
        require(bool(row) and count in (None, len(row)), f"{path}, line {n + 1 + header}: expected "
                f"{'numbers' if count is None else f'{count} whole numbers'}")  # fmt: skip
        rows.append(row)
    return rows


# ---- WordNet ---------------------------------------------------------------------------------------------------------
PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
KINDS = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}  # of a sense's key


def of_wordnet(folder: Path) -> Knowledge:
    number: dict[str, int] = {}
    names, pointers, words, glosses = [], [], [], []
    for part, letter in PARTS.items():
        for line in _lines(folder / f"data.{part}") if reading.present(folder / f"data.{part}") else ():
            if line.startswith(" "):  # the licence
                continue
            try:
                key, lemmas, points, gloss = _synset(line, letter)
            except (ValueError, IndexError):  # fewer fields than they say, or others than numbers
                require(False, f"{folder / f'data.{part}'} is not as WordNet's files are: {shown(line[:40])}")
            number[key] = len(names)
            names.append(f"{lemmas[0]}.{key}")
            words.append(lemmas)
            pointers.append(points)
            glosses.append(gloss)
    relations = sorted({symbol for points in pointers for symbol, _ in points})
    code = {symbol: i for i, symbol in enumerate(relations)}
    triples = [(head, code[symbol], number[key]) for head, points in enumerate(pointers)
               for symbol, key in points if key in number]  # fmt: skip
    own: dict[str, dict[str, int]] = {}
    for entity, gloss in enumerate(glosses):
        for sentence in described(words[entity][0], gloss):
            own.setdefault(sentence, {}).update(dict.fromkeys(words[entity], entity))
    mentions = _senses(folder / "index.sense", number) if reading.present(folder / "index.sense") else {}
    for entity, lemmas in enumerate(words):
        for lemma in lemmas:
            mentions.setdefault(lemma, entity)
    mentions = {lemma: entity for lemma, entity in mentions.items() if len(lemma) >= SHORTEST}
    return Knowledge(names, relations, np.array(triples, np.int64).reshape(-1, 3), mentions, own)


def _synset(line: str, letter: str) -> tuple[str, list[str], list[tuple[str, str]], str]:
    fields, _, gloss = line.partition(" | ")
    offset, _, _, count, *rest = fields.split()
    lemmas = [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in rest[: 2 * int(count, 16) : 2]]
    rest = rest[2 * int(count, 16) :]
    if not lemmas:
        raise ValueError
    letters = {"s": "a"}
    points = [(rest[i], letters.get(rest[i + 2], rest[i + 2]) + rest[i + 1]) for i in range(1, 1 + 4 * int(rest[0]), 4)]
    return letter + offset, lemmas, points, gloss.strip()


def described(word: str, gloss: str) -> list[str]:
    """The sentences of a gloss: the word and its definition, then each example."""
    definition, *examples = gloss.split('; "')
    return [f"{word}: {definition.strip(' ;')}.", *(example.strip(' ;"') for example in examples)]


def _senses(path: Path, number: dict[str, int]) -> dict[str, int]:
    """Of each lemma the synset that is tagged most often; of equals the first sense of a noun."""
    best: dict[str, tuple[int, int, int]] = {}
    for line in _lines(path):
        key, *rest = line.split()
        offset, *counts = rest or [""]
        fits = len(counts) == 2 and all(count.isdecimal() and len(count) < 8 for count in counts)
        require(fits, f"{path} is not as WordNet's file of senses is: {shown(line[:40])}")
        lemma, _, kind = key.partition("%")
        letter, (sense, tagged) = KINDS.get(kind[:1], "n"), map(int, counts)
        synset = number.get(letter + offset)
        rank = tagged, -sense, -"nvar".index(letter)
        if synset is not None and (lemma not in best or rank > best[lemma][0]):
            best[lemma] = rank, synset
    return {lemma.replace("_", " "): synset for lemma, (_, synset) in best.items()}


# ---- Python ----------------------------------------------------------------------------------------------------------
MODULES = """
    builtins argparse asyncio calendar codecs collections collections.abc concurrent concurrent.futures
    configparser contextlib copy csv ctypes dataclasses datetime decimal email email.message enum fractions
    functools heapq html html.parser http http.client http.server importlib inspect io itertools json logging math
    multiprocessing operator optparse os os.path pathlib pickle pprint queue random re select selectors shutil
    signal socket socketserver sqlite3 ssl statistics string struct subprocess sys tarfile tempfile textwrap
    threading time traceback types typing unittest urllib urllib.error urllib.parse urllib.request uuid warnings
    weakref xml xml.dom xml.etree xml.etree.ElementTree xml.sax zipfile
"""
RELATIONS = ("in", "kind of", "is a")  # X is found in Y; X is a subclass of Y; X is a module, class, function
SORTS = ("module", "class", "exception", "function", "method")


def of_python() -> Knowledge:
    """Of MODULES, imported, as far as there are any. A bare name, without its module, stands for the first that has it
    where it does not look like any word: where it has a capital or an underscore; that of a method for none.
    """
    names, triples = [*SORTS], []
    number = {name: i for i, name in enumerate(names)}

    def entered(name: str, sort: str, home: str | None) -> None:
        if name not in number:
            number[name] = len(names)
            names.append(name)
        triples.append((number[name], 2, number[sort]))
        if home is not None:
            triples.append((number[name], 0, number[home]))

    classes: dict[type, str] = {}
    for module, thing in _modules():
        entered(module, "module", module.rpartition(".")[0] if module.rpartition(".")[0] in number else None)
        for name, member in _members(thing):
            if isinstance(member, type):
                full = classes.setdefault(member, name if module == "builtins" else f"{module}.{name}")
                entered(full, "exception" if issubclass(member, BaseException) else "class", module)
                for inner, method in _members(member):
                    if inspect.isroutine(method):
                        entered(f"{full}.{inner}", "method", full)
            else:
                full = name if module == "builtins" else f"{module}.{name}"
                entered(full, "function", module)
    triples += [(number[name], 1, number[classes[base]]) for kind, name in classes.items()
                for base in kind.__bases__ if base in classes]  # fmt: skip
    methods = {full for full in names if full.rpartition(".")[0] in classes.values()}
    plain = {names[head] for head, relation, tail in triples if relation == 2 and names[tail] == "function"}
    entities = names[len(SORTS) :]
    mentions = {name: number[name] for name in entities if "." in name or name not in plain}
    for name in entities:
        *_, bare = name.split(".")
        if name not in methods and (bare != bare.lower() or "_" in bare):
            mentions.setdefault(bare, number[name])
    return Knowledge(names, [*RELATIONS], np.unique(np.array(triples, np.int64), axis=0), mentions)


def _modules() -> Iterator[tuple[str, ModuleType]]:
    for name in MODULES.split():
        with contextlib.suppress(ImportError):  # some are built without one or another
            yield name, importlib.import_module(name)


def _members(thing: object) -> Iterable[tuple[str, object]]:
    """Public classes and functions of a module, or routines of a class itself, by name."""
    held = [(name, member) for name, member in sorted(vars(thing).items()) if not name.startswith("_")]
    if isinstance(thing, type):
        return held
    public = getattr(thing, "__all__", None)
    return [(name, member) for name, member in held
            if (public is None or name in public) and (isinstance(member, type) or inspect.isroutine(member))]
