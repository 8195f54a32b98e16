"""What a diagnosis says: the mutants that explain a candidate, and the lines about them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from minibert.golden import compare
from minibert.mistakes.catalogue import CATALOGUE, Mistake, Mutant


@dataclass(frozen=True)
class Found:
    """A mutant that explains the candidate. exact: what it leaves is rounding, not only far less than there was; tied:
    the ids of others that give the same tensors; behind: it is no name of its own here, but may be why another is so.
    """

    mistake: Mistake
    mutant: Mutant
    exact: bool = True
    tied: tuple[str, ...] = ()
    behind: bool = False

    @property
    def id(self) -> str:
        """The entry's id."""
        return self.mistake.id

    @property
    def variant(self) -> bool:
        """Whether it is legitimate if declared."""
        return self.mistake.variant if self.mutant.variant is None else self.mutant.variant

    @property
    def listed(self) -> bool:
        """Whether it is an entry of the catalogue."""
        return self.id in CATALOGUE

    @property
    def place(self) -> str:
        """ " in layer 1", "" everywhere."""
        return f" in {self.mutant.where}" if self.mutant.where else ""

    def alike(self, other: "Found") -> bool:
        """Whether the other is the same mistake, at whatever place."""
        return (self.id, self.mutant.what) == (other.id, other.mutant.what)

    def __str__(self) -> str:
        return f"{self.id}{self.place}: {self.mutant.what}" if self.listed else f"{self.mutant.what}{self.place}"


@dataclass(frozen=True)
class Diagnosis:
    """What explains a candidate.

    kind: "right", "mistake" (one), "tie" (several that can't be told apart), "pair" (two in one block), "several" (in
    different blocks), "variant" (legitimate if declared), "explained" (exactly, by what has no entry), "unknown" (all
    were tried) or "unfinished" (not all were). mistakes: those found, of a tie all; ratio: what is left over the noise
    floor; first_divergence: a key or None; lines: all of it as text; unexplained: the first key that nothing found
    explains; together: one of each tie, which compute together what the candidate has.
    """

    kind: str
    mistakes: list[Found]
    ratio: float | None
    first_divergence: str | None
    lines: list[str] = field(default_factory=list)
    unexplained: str | None = None
    together: tuple[Found, ...] = ()

    @property
    def ids(self) -> list[str]:
        """The ids of the catalogue's entries, each once."""
        return list(dict.fromkeys(found.id for found in self.mistakes if found.listed))

    @property
    def names(self) -> list[Found]:
        """The mistakes without those that are but a reason for another."""
        return [found for found in self.mistakes if not found.behind]


def named(
    found: list[Found], kind: str, left: float, right: float, dtype: str, beside: Iterable[str],
    each: Iterable[str] | None = None, acceptable: Iterable[str] = (),
) -> list[str]:  # fmt: skip
    """The mistakes by name. left, right: what they and the right model leave, over the noise floor; beside: lines about
    what else was found; each: they in words, where some are ties among several; acceptable: variants beside them.
    """
    reasons = dict.fromkeys(f"{one.id} {one.mistake.title}" for one in found if one.behind)
    found = [one for one in found if not one.behind]
    entries = {one.id: one for one in found if one.listed}.values()
    none = dict.fromkeys(one.mistake.title for one in found if not one.listed)
    said, beside_it = [*map(str, found)] if each is None else [*each], "; ".join(acceptable)
    head = _headline("mistake" if kind == "several" and len(said) == 1 else kind, said)
    lines = [
        f"{head}; acceptable beside {'it' if len(said) == 1 else 'them'}: {beside_it}" if beside_it else head,
        *(line for one in entries for line in _entry(one)),
        *([_rest(kind, left, right, dtype)] if found else []),
    ]
    lines += [f"why it may be so: {'; '.join(reasons)}"] if reasons else []
    return [*lines, *([f"the catalogue has no such mistake: {' and '.join(none)}"] if none else []), *beside]


def _rest(kind: str, left: float, right: float, dtype: str) -> str:
    rest = "what they leave" if kind in ("pair", "several") else "what it leaves"
    return f"{rest} is at most {left:.1f} times the noise floor of {dtype}; the right model leaves {_times(right)}"


def unknown(first: compare.Row, more: str) -> Diagnosis:
    """No name."""
    lines = [f"no known mistake explains this; first divergence at {first.key} ({first.verdict})", more]
    return Diagnosis("unknown", [], first.ratio, first.key, lines, first.key)


def _times(ratio: float) -> str:
    if ratio == float("inf"):  # of what is equal or not
        return "other tokens"
    return f"{ratio:.0f} times" if ratio < 1e6 else f"{ratio:.0e} times"


def _headline(kind: str, each: list[str]) -> str:
    return {
        "mistake": f"the mistake is {' and '.join(each)}",
        "tie": f"these mistakes give the same tensors here, one of them it is: {'; '.join(each)}",
        "variant": f"acceptable variant, if declared: {'; '.join(each)}",
        "pair": f"two mistakes: {' and '.join(each)}",
        "several": f"{len(each)} mistakes, each by itself: {'; '.join(each)}",
        "explained": f"what explains it exactly: {' and '.join(each)}",
        "unknown": f"no known mistake explains what is wrong beside what is acceptable: {'; '.join(each)}",
        "unfinished": f"not all known mistakes were tried; found so far: {'; '.join(each) or 'none'}",
    }[kind]


def _entry(found: Found) -> list[str]:
    m = found.mistake
    clause = f" ({m.clause})" if m.clause else ""
    return [f"  {m.id} {m.title}", f"    right: {m.right}{clause}", f"    seen in: {m.evidence}"]
