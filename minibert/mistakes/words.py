"""What a diagnosis says: the mutants that explain a candidate, and the lines about them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from minibert.golden import compare
from minibert.mistakes.catalogue import CATALOGUE, Mistake, Mutant


@dataclass(frozen=True)
class Found:
    """A mutant that explains the candidate."""

    mistake: Mistake
    mutant: Mutant

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

    def __str__(self) -> str:
        return f"{self.id}{self.place}: {self.mutant.what}"


@dataclass(frozen=True)
class Diagnosis:
    """What explains a candidate.

    kind: "right", "mistake" (one), "tie" (several that can't be told apart), "pair" (two at once), "variant"
    (legitimate if declared), "explained" (by a change that is no entry) or "unknown". mistakes: those found; ratio:
    what is left over the noise floor; first_divergence: a key or None; lines: all of it as text.
    """

    kind: str
    mistakes: list[Found]
    ratio: float | None
    first_divergence: str | None
    lines: list[str] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """The entries' ids, each once."""
        return list(dict.fromkeys(found.id for found in self.mistakes))


def named(found: list[Found], kind: str, left: float, right: float, dtype: str, beside: Iterable[str]) -> list[str]:
    """The mistakes by name. left, right: what they and the right model leave, over the noise floor; beside: lines about
    what else was found.
    """
    entries = (line for one in found for line in _entry(one))
    return [_headline(kind, found), *entries, _rest(left, right, dtype), *beside]


def explained(first: compare.Row, found: Iterable[Found], left: float, right: float, dtype: str) -> Diagnosis:
    """What explains it exactly and has no entry in the catalogue. first, left, right, dtype: as elsewhere here."""
    each = " and ".join(f"{one.mutant.what}{one.place}" for one in found)
    none = f"the catalogue has no such mistake: {' and '.join(one.mistake.title for one in found)}"
    lines = [f"what explains it exactly: {each}", _rest(left, right, dtype), none]
    return Diagnosis("explained", [], left, first.key, lines)


def _rest(left: float, right: float, dtype: str) -> str:
    rest = f"what it leaves is at most {left:.1f} times the noise floor of {dtype}; "
    return rest + f"the right model leaves {_times(right)}"


def unknown(first: compare.Row, more: str) -> Diagnosis:
    """No name."""
    lines = [f"no known mistake explains this; first divergence at {first.key} ({first.verdict})", more]
    return Diagnosis("unknown", [], first.ratio, first.key, lines)


def _times(ratio: float) -> str:
    if ratio == float("inf"):  # of what is equal or not
        return "other tokens"
    return f"{ratio:.0f} times" if ratio < 1e6 else f"{ratio:.0e} times"


def _headline(kind: str, found: list[Found]) -> str:
    each = [str(one) for one in found]
    return {
        "mistake": f"the mistake is {' and '.join(each)}",
        "tie": f"these mistakes give the same tensors here, one of them it is: {'; '.join(each)}",
        "variant": f"acceptable variant, if declared: {'; '.join(each)}",
        "pair": f"two mistakes: {' and '.join(each)}",
    }[kind]


def _entry(found: Found) -> list[str]:
    m = found.mistake
    clause = f" ({m.clause})" if m.clause else ""
    return [f"  {m.id} {m.title}", f"    right: {m.right}{clause}", f"    seen in: {m.evidence}"]
