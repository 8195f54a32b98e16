"""How a candidate's numbers lie, decided by what they are.

A shape can often be read in several ways: a square kernel as (out, in) or (in, out), a fused one with query, key and
value whole or head by head. What only one reading fits, and what one reading gives the truth and no other does, votes
for how the whole dump lies, for a dump has one convention; what is then undecided, because no reading gives the truth
or two do, follows the votes. So a mistake is not explained away: the one square gradient that lies the other way than
all others is read as the others are, and is wrong. What is not square may be turned in every layer.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minibert.config import shown
from minibert.golden import axes
from minibert.golden.axes import Axes, Reading
from minibert.golden.sources import Piece, apart

ALIKE = 0.9  # cosine from which a reading gives the truth, wrong by some mistake perhaps
APART = 0.05  # by which another one must be less alike
DECLARED = {"torch": ("O<I", "s<H"), "keras": ("I<O",), "flax": ("I<O",), "fused-qkv": ("s<H", "s<K")}
NAMES = ("auto", *DECLARED)
SECTIONS = ("weights", "forward", "gradients", "steps")
ELSEWHERE = 0.01  # the weight of a vote from another section


class Laid(NamedTuple):
    """A piece that was read. array: with an axis for each letter of the reading's base; None where no reading fits, or
    where `refused` says that several do.
    """

    piece: Piece
    reading: Reading | None
    array: np.ndarray | None
    refused: str = ""


class _Open(NamedTuple):
    piece: Piece
    array: np.ndarray
    readings: list[Reading]
    likeness: list[float]
    best: int | None  # the reading that its contents say
    facts: set[str]  # that it votes for


def laid(
    pieces: Iterable[Piece], arrays: Mapping[tuple[str, ...], np.ndarray], known: Axes, layout: str
) -> list[Laid]:
    """Every piece, read; arrays: by names and keys of a piece. layout: one of NAMES."""
    opened = [_opened(piece, arrays[piece.names + piece.keys], known) for piece in pieces]
    votes: Counter[tuple[str, str]] = Counter()
    for one in opened:
        votes.update((part, fact) for fact in one.facts for part in (_section(one), _role(one)))
    declared = dict.fromkeys(DECLARED.get(layout, ()), 1e6)
    declared |= {} if declared else _certain(opened)
    return [_decided(one, known, votes, declared) for one in opened]


def trimmed(
    pieces: Iterable[Piece], arrays: dict[tuple[str, ...], np.ndarray], known: Axes
) -> tuple[list[Piece], list[dict[str, Any]]]:
    """(the pieces, notes as of `notes`) without what pads the tokens, or the vocabulary, to a greater length, which is
    taken out of the arrays. That is so where all that are longer are as long, and one at least is nearly what is due.
    """
    pieces, longer, said = list(pieces), {}, []
    for place, piece in enumerate(pieces):
        shape = arrays[piece.names + piece.keys].shape
        single = len(piece.names) == len(piece.keys) == 1 and not known.readings(piece.keys, shape)
        for what in {*known.padded(piece.keys[0], shape).values()} if single else ():
            longer.setdefault(what, []).append(place)
    for what, size in [*longer]:
        held = [(place, pieces[place]) for place in longer[what, size]]
        due = [known.case.tensor(one.keys[0]) for _, one in held]
        cut = [arrays[one.names + one.keys][tuple(map(slice, a.shape))] for (_, one), a in zip(held, due, strict=True)]
        if sum(other == what for other, _ in longer) > 1 or not any(map(_nearly, cut, due)):
            continue
        first = known.slots.tokens if what == "tokens" else known.vocabulary
        for (place, one), array in zip(held, cut, strict=True):
            arrays[one.names + one.keys] = array
            shape = array.shape[::-1] if one.transposed else array.shape
            pieces[place] = one._replace(stored=one.stored._replace(shape=shape))
        said.append({"read": f"{what} padded to {size}: the first {first} are read",
                     "names": [one.names[0] for _, one in held], "keys": [one.keys[0] for _, one in held]})  # fmt: skip
    return pieces, said


def _nearly(array: np.ndarray, due: np.ndarray) -> bool:
    return _alike(array, due) >= ALIKE


def _opened(piece: Piece, array: np.ndarray, known: Axes) -> _Open:
    readings = known.readings(piece.keys, array.shape)
    if len(piece.names) == 3:
        readings = [reading for reading in readings if reading.order[0] == "s"]
    if len(readings) == 1:
        return _Open(piece, array, readings, [], 0, readings[0].facts)
    likeness = [_alike(reading.taken(array), true(piece.keys, reading, known)) for reading in readings]
    order = np.argsort(likeness)[::-1] if likeness else []
    clear = len(order) > 1 and likeness[order[0]] >= ALIKE and likeness[order[0]] - likeness[order[1]] >= APART
    best = int(order[0]) if clear else None
    return _Open(piece, array, readings, likeness, best, readings[best].facts if best is not None else set())


def _certain(opened: list[_Open]) -> dict[str, float]:
    """How kernels lie, where every one whose shape tells it says the same, and that is how the case has them."""
    told = [one.readings[0] for one in opened if len(one.readings) == 1 and _kernel(one.readings[0])]
    facts = {fact for reading in told for fact in _kernel(reading)}
    return dict.fromkeys(facts, 1e6) if len(facts) == 1 and all(reading.own for reading in told) else {}


def _section(one: _Open) -> str:
    return apart(one.piece.keys[0])[0].partition("/")[0]


def _role(one: _Open) -> str:
    """What it is in every layer: its key without numbers."""
    return re.sub(r"\d+", "#", one.piece.keys[0])


def _decided(one: _Open, known: Axes, votes: Counter, declared: Mapping[str, float]) -> Laid:
    if not one.readings:
        return Laid(one.piece, None, None)
    scores = [_score(one, reading, votes, declared) for reading in one.readings]
    best = [i for i, score in enumerate(scores) if score >= max(scores) - 1e-9]
    as_in_case = one.array.shape == _due(one.piece, known)
    own = next((i for i in best if one.readings[i].own), None)
    if len(best) == 1:
        chosen = best[0]
    elif as_in_case and own is not None:
        chosen = own
    elif one.best in best:
        chosen = one.best
    elif own is not None and not one.piece.how.startswith("query"):
        chosen = own
    else:
        ways = " or ".join(axes.told(one.readings[i], one.array.shape) for i in best[:2])
        why = f"{shown(one.piece.names[0])} {one.array.shape} may be {ways}, and neither gives nearly what is due"
        return Laid(one.piece, None, None, why)
    reading = one.readings[chosen]
    odd = scores[chosen] < -0.5 and not as_in_case and len(one.piece.keys) == 1
    if odd and (not _shared(one, reading, votes) or _kernel(reading) & {*map(_against, declared)}):
        return Laid(one.piece, None, None)  # the others lie otherwise: this one has the wrong shape
    return Laid(one.piece, reading, reading.taken(one.array))


def _shared(one: _Open, reading: Reading, votes: Counter) -> bool:
    """Whether this is no kernel, or one that lies otherwise in no layer."""
    role = _role(one)
    return not any(votes[role, _against(fact)] for fact in _kernel(reading))


def _kernel(reading: Reading) -> set[str]:
    return {"O<I", "I<O"} & reading.facts


def _against(fact: str) -> str:
    return f"{fact[2]}<{fact[0]}"


def _score(one: _Open, reading: Reading, votes: Counter, declared: Mapping[str, float]) -> float:
    """What the rest of the dump says for a reading."""
    total = 0.0
    for fact in reading.facts:
        against = _against(fact)
        total += _votes(one, fact, votes) - _votes(one, against, votes)
        total += declared.get(fact, 0) - declared.get(against, 0)
    return total


def _votes(one: _Open, fact: str, votes: Counter) -> float:
    """Those of the same section, and a little of the others, but for its own."""
    here = _section(one)
    elsewhere = sum(votes[section, fact] for section in SECTIONS if section != here)
    return votes[here, fact] - (fact in one.facts) + ELSEWHERE * elsewhere


def _due(piece: Piece, known: Axes) -> tuple[int, ...] | None:
    return known.case.entries[piece.keys[0]].shape if len(piece.keys) == len(piece.names) == 1 else None


def true(keys: tuple[str, ...], reading: Reading, known: Axes) -> np.ndarray:
    """The truth with an axis for each letter of a reading's base."""
    held = np.stack([known.case.tensor(key) for key in keys]) if len(keys) > 1 else known.case.tensor(keys[0])
    letter = next((letter for letter in "NMG" if letter in reading.base), None)
    sizes = [reading.sizes[one] for one in reading.base]
    rows = (known.slots.batch, known.slots.tokens)
    if letter is None and "B" in reading.base and "T" in reading.base and np.size(held) != int(np.prod(sizes)):
        held = np.broadcast_to(held, (*rows, held.shape[-1]))  # one for all rows
    if letter is not None:
        full = (len(keys), *rows, held.shape[-1]) if len(keys) > 1 else (*rows, held.shape[-1])
        flat = np.broadcast_to(held, full).reshape(*full[:-3], rows[0] * rows[1], full[-1])
        held = flat[..., known.slots.rows(letter), :]
    return np.reshape(held, sizes)


def _alike(array: np.ndarray, truth: np.ndarray) -> float:
    """|cosine| of the two; 0 where there is none."""
    a, b = (np.asarray(part, np.float64).reshape(-1) for part in (array, truth))
    with np.errstate(all="ignore"):
        largest = np.abs(a).max(initial=0)
        a = a / largest if np.isfinite(largest) and largest else np.zeros_like(a)
        found = abs(float(a @ b)) / float(np.linalg.norm(a) * np.linalg.norm(b) or np.inf)
    return found if np.isfinite(found) else 0.0


# ---- In words --------------------------------------------------------------------------------------------------------
def notes(found: Iterable[Laid], known: Axes) -> list[dict[str, Any]]:
    """What was read otherwise than it stands in the case: {"read": words, "names": [...], "keys": [...]} a way."""
    ways: dict[str, tuple[list[str], list[str]]] = {}
    for one in found:
        if one.reading is None:
            continue
        words = _words(one, known)
        if words:
            names, keys = ways.setdefault(words, ([], []))
            names += [name for name in one.piece.names if name not in names]
            keys += one.piece.keys
    return [{"read": words, "names": names, "keys": keys} for words, (names, keys) in ways.items()]


def _words(one: Laid, known: Axes) -> str:
    shape, due = one.piece.stored.shape, known.case.entries[one.piece.keys[0]].shape
    shape = shape[::-1] if one.piece.transposed else shape
    said = [one.piece.how] if one.piece.how else []
    same = one.reading.own and [n for n in shape if n != 1] == [n for n in due if n != 1]
    if not same and len(one.piece.names) == 3:
        shape = shape[1:]
        inner = one.reading._replace(order=one.reading.order[1:])
        turned = _turned(one.reading)
        said.append(f"read {turned}as {axes.told(inner, shape)}")
    elif not same and one.reading.base[:1] != "a":
        said.append(f"read {_turned(one.reading)}as {axes.told(one.reading, shape)}")
    elif not same:
        said.append(f"{shape} read as {due}")
    return ": ".join(said)


def _turned(reading: Reading) -> str:
    """ "transposed " of a kernel that lies the other way than in the case."""
    return "transposed, " if "Z<Y" in reading.facts else ""
