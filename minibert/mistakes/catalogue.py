"""What an entry of the catalogue is, and the edits of a subject from which mutants are made."""

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from minibert import families, tree
from minibert.golden import places
from minibert.golden.subject import Subject, Tensors
from minibert.mistakes.solving import Free
from minibert.mistakes.swap import Replacement, Site, local, reading, sites, swapped

Change = Callable[[Subject], Subject]
FORWARD, GRADIENTS, STEPS = "forward", "gradients", "steps"


@dataclass(frozen=True)
class Mutant:
    """One way to make a mistake.

    what: in words; where: the place, "" everywhere; change: the edit of a subject; section: the first of forward,
    gradients, steps that it can change; sites: paths of the calls that are replaced, () where nothing is;
    variant: None as the entry says; silent: a pattern of keys, with paths within a network for published names, on
    which an implementation with this mistake may hold either of two things; after: what happens to the tensors when
    they are written out; also: ids of further entries that it makes at once; free: a value that it leaves open;
    renames: `after` gives tensors the names of others, so that none of a candidate is put into its run; inside: the
    same at one place each, tried where this one, of all places, shows something; rounds: to fewer bits, so that numbers
    on the border may fall the other way, and it is judged by most of what it changes.
    """

    what: str
    change: Change
    where: str = ""
    section: str = FORWARD
    sites: tuple[str, ...] = ()
    variant: bool | None = None
    silent: str = ""
    after: Callable[[Tensors], Tensors] | None = None
    also: tuple[str, ...] = ()
    free: Free | None = None
    renames: bool = False
    inside: tuple["Mutant", ...] = ()
    rounds: bool = False


@dataclass(frozen=True)
class Mistake:
    """An entry: what is wrong and what is right, where it shows, who made it.

    shows: tokens, output, loss, gradient, step, data, loading or nowhere. families: names of those that it concerns,
    here or to come, () all; when: what must be so in them, in words. variant: legitimate if declared. reason: why no
    case can show it, or what it waits for. cause_of: ids of entries whose numbers it gives for a reason of its own:
    where both explain, theirs is the name. home: the family in whose file it stands, or "ops". mutants(subject),
    tokenize(tokenizer, text, pair), rule(ids, present, rng, vocabulary) and going, by words what makes another (start,
    step) of a network and the prompts' length, execute it, whichever applies; the second for kinds of tokenizer in
    `tokenizers`; `rule` may be several by the name of the law that they break. writing, by words what stands in the
    place of `generation.written`, executes it, too.
    """

    id: str
    title: str
    right: str
    evidence: str
    shows: str
    clause: str = ""
    families: tuple[str, ...] = ()
    when: str = ""
    home: str = ""
    variant: bool = False
    reason: str = ""
    cause_of: tuple[str, ...] = ()
    mutants: Callable[[Subject, list[Site]], list[Mutant]] | None = None
    tokenize: Callable | None = None
    tokenizers: tuple[str, ...] = ("wordpiece",)
    rule: Callable | Mapping[str, Callable] | None = None
    going: Mapping[str, Callable] | None = None
    writing: Mapping[str, Callable] | None = None

    def rule_of(self, law: str) -> Callable | None:
        """The rule that stands in the place of that law's, or None."""
        return self.rule.get(law) if isinstance(self.rule, Mapping) else self.rule if law == "bert" else None

    def concerns(self, family: str) -> bool:
        """Whether it is an entry of all families, of this one or of its kin."""
        return not self.families or not set(lineage(family)).isdisjoint(self.families)

    @property
    def executable(self) -> bool:
        """Whether the mistake can be made here."""
        return any((self.mutants, self.tokenize, self.rule, self.going, self.writing))


lineage = families.lineage
CATALOGUE: dict[str, Mistake] = {}
UNLISTED: dict[str, Mistake] = {}  # changes that explain, but of which the catalogue has no entry


def entry(id: str, title: str, right: str, evidence: str, shows: str, clause: str = "", **fields: Any) -> None:
    """Enters a mistake of the module that calls it; `mutants` is a list of makers, each (subject, sites) -> mutants."""
    makers = fields.pop("mutants", None)
    if makers is not None:
        fields["mutants"] = partial(_made, tuple(makers))
    if not re.fullmatch(r"[A-Z]\d\d|[a-z]\w*-\d\d", id):
        raise ValueError(f"id {id!r}: a letter or a family's name with -, and two digits")
    if id in CATALOGUE:
        raise ValueError(f"{id} is entered twice")
    *above, name = sys._getframe(1).f_globals["__name__"].split(".")
    home = name if "families" in above else "ops"
    CATALOGUE[id] = Mistake(id, title, right, evidence, shows, clause, home=home, **fields)


def unlisted(title: str, *makers: Callable) -> None:
    """Enters a change that nobody was seen to make by mistake: told in words where it explains, never as a name."""
    UNLISTED[title] = Mistake(title, title, "", "", "output", mutants=partial(_made, makers))


def _made(makers: tuple[Callable, ...], subject: Subject, at: list[Site] | None = None) -> list[Mutant]:
    at = sites(subject) if at is None else at
    subject = replace(subject, batches=[_Batch(b) for b in subject.batches])
    return [mutant for maker in makers for mutant in _possible(maker, subject, at)]


class _Batch(dict):
    """A batch that says so where a field is not there."""

    def __missing__(self, name: str) -> Any:
        raise _Absent(name)


class _Absent(KeyError):
    """A field of a batch that a maker reads and a family does not have."""


def _possible(maker: Callable, subject: Subject, at: list[Site]) -> list[Mutant]:
    """What a maker makes; nothing where it reads an input or a config field that this family does not have."""
    try:
        return maker(subject, at)
    except _Absent:
        return []
    except AttributeError as error:
        if error.obj is not subject.config:
            raise
        return []


def field(subject: Subject, name: str) -> Any:
    """The config field that is `name` in BERT's, whatever the subject's family calls it."""
    return getattr(Fields(subject), name)


class Fields:
    """A subject's configuration under BERT's names, whatever its family calls them."""

    def __init__(self, subject: Subject):
        self._config, self._module = subject.config, families.family(subject.family)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, families.field(self._module, name))


def present(b: Mapping[str, Any]) -> np.ndarray:
    """Which tokens of a batch are there, as its ids; of a mask for each query those that some query attends to."""
    ones = places_of(b)
    mask = b.get("attention_mask", ones)
    return mask if mask.ndim == ones.ndim else mask.max(1)


def places_of(b: Mapping[str, Any]) -> np.ndarray:
    """A 1 for each token of a batch, or for each frame."""
    if "input_frames" in b:
        return np.ones(b["input_frames"].shape[:2], np.int64)
    return np.ones_like(b["input_ids"])


# ---- Makers ----------------------------------------------------------------------------------------------------------
def config(what: str, section: str = FORWARD, variant: bool | None = None, **fields: Any) -> Callable:
    """Config fields at other values, all under BERT's names (`Fields`), which a function takes. No mutant where nothing
    changes.
    """

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        known = partial(families.field, families.family(subject.family))
        values = {known(name): value(Fields(subject)) if callable(value) else value for name, value in fields.items()}
        if all(getattr(subject.config, name) == value for name, value in values.items()):
            return []
        change = lambda s: replace(s, config=replace(s.config, **values))  # noqa: E731
        return [Mutant(what, change, section=section, sites=reading(change(subject), at), variant=variant)]

    return maker


def apart(b: dict) -> dict:
    """The batch with as many rows as there are texts, where rows are of several; else the batch itself."""
    if "input_ids" not in b or b["input_ids"].ndim < 3:
        return b
    return type(b)({name: array.reshape(-1, array.shape[2]) if np.ndim(array) == 3 else array
                    for name, array in b.items()})  # fmt: skip


def batch(what: str, edit: Callable[[dict, Any], dict], section: str = FORWARD) -> Callable:
    """Every batch edited: edit(batch, its `Fields`) -> the fields that change. Rows of several texts are given and
    taken back as that many rows.
    """

    def edited(b: dict, s: Subject) -> dict:
        flat, found = apart(b), edit(apart(b), Fields(s))
        if flat is not b:
            several = b["input_ids"].shape[:2]
            wide = {name for name, a in found.items() if np.ndim(a) == 2 and np.ndim(b.get(name, b["input_ids"])) == 3}
            found = {name: a.reshape(*several, -1) if name in wide else a for name, a in found.items()}
        return {**b, **found}

    def change(s: Subject) -> Subject:
        return replace(s, batches=[edited(b, s) for b in s.batches])

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        return [Mutant(what, change, section=section, sites=reading(change(subject), at))]

    return maker


def weights(what: str, edit: Callable[[str, np.ndarray], np.ndarray], paths: str, where: str = "") -> Callable:
    """Tensors whose path, whole or within a network, matches `paths` edited: edit(path, array) -> array. No mutant
    where none matches.
    """

    def matching(s: Subject) -> set[str]:
        towers = places.places(s.family, s.config).towers
        return {p for p, _ in tree.items(s.params) if re.fullmatch(paths, p) or re.fullmatch(paths, local(p, towers))}

    def change(s: Subject) -> Subject:
        chosen = matching(s)
        return replace(
            s, params=tree.unflatten({p: edit(p, a) if p in chosen else a for p, a in tree.items(s.params)})
        )

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        found = matching(subject)
        users = tuple(site.path for site in at if found.intersection(site.params))
        return [Mutant(what, change, where, sites=users)] if found else []

    return maker


def lent(subject: Subject, at: list[Site], what: str, lender: Mapping[str, str], where: str = "") -> list[Mutant]:
    """Parameters of which others stand in the place: lender: a path -> the path of what is used there. No mutant where
    one is missing, or of another shape. What is lent is the right model's, whatever else was put in its own place.
    Gradients of them say nothing: those that are used may have all uses'.
    """
    flat, towers = tree.flatten(subject.params), places.places(subject.family, subject.config).towers
    if not lender or any(to not in flat or flat[to].shape != flat[path].shape for path, to in lender.items()):
        return []

    def change(s: Subject) -> Subject:
        held = tree.flatten(s.params)
        used = {path: flat[use].astype(held[path].dtype, copy=False) for path, use in lender.items()}
        return replace(s, params=tree.unflatten({**held, **used}))

    users = [site for site in at if not lender.keys().isdisjoint(site.params)]
    known = "|".join(re.escape(local(path, towers)) for path in {*lender, *lender.values()})
    return [Mutant(what, change, where or users[0].words, sites=tuple(site.path for site in users),
                   silent=rf"gradients/({known})|steps/.*")] if users else []  # fmt: skip


def part(what: str, variant: bool | None = None, **parts: Callable) -> Callable:
    """Parts of the optimizer step (`Subject.parts`) replaced."""
    change = lambda s: replace(s, parts={**s.parts, **parts})  # noqa: E731
    return lambda subject, _: [Mutant(what, change, section=STEPS, variant=variant)]


def only(names: str, maker: Callable) -> Callable:
    """No mutant but in these families and those whose kin they are."""
    return lambda subject, at: maker(subject, at) if {*names.split()}.intersection(lineage(subject.family)) else []


def whole(maker: Callable) -> Callable:
    """The maker's first mutant alone: the one of all places."""
    return lambda subject, at: maker(subject, at)[:1]


def everywhere(maker: Callable) -> Callable:
    """The maker's first mutant, the one of all places, with the others inside it."""

    def made(subject: Subject, at: list[Site]) -> list[Mutant]:
        first = maker(subject, at)
        return [replace(first[0], inside=tuple(first[1:]))] if first else []

    return made


def rounded(maker: Callable) -> Callable:
    """The maker's mutants, which round (`Mutant.rounds`)."""

    def of(mutant: Mutant) -> Mutant:
        return replace(mutant, rounds=True, inside=tuple(map(of, mutant.inside)))

    return lambda subject, at: [*map(of, maker(subject, at))]


def swap(
    what: str,
    name: str,
    replacement: Replacement | Callable[[Subject, Site], Replacement | None],
    paths: str = ".*",
    groups: Iterable[tuple[str, str]] = (),
    section: str = FORWARD,
    **fields: Any,
) -> Callable:
    """The op or block `name` replaced at all sites whose path matches, then in each group, network and layer alone.

    paths: within a network (`Site.local`). groups: (where, pattern of such paths). replacement: a Replacement, or what
    makes one for a site (None: not there).
    """

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        chosen = {}
        for site in at:
            if site.name == name and re.fullmatch(paths, site.local):
                made = replacement if isinstance(replacement, Replacement) else replacement(subject, site)
                if made is not None:
                    chosen[site] = made
        mutants = []
        grouped = [(where, [s for s in chosen if re.fullmatch(pattern, s.local)]) for where, pattern in groups]
        for where, held in in_places([*chosen], grouped):
            change = partial(swapped, at={site.key: chosen[site] for site in held})
            mutants.append(Mutant(what, change, where, section, tuple(site.path for site in held), **fields))
        return mutants

    return maker


def in_places(chosen: list[Site], groups: Iterable[tuple[str, list[Site]]] = ()) -> list[tuple[str, list[Site]]]:
    """(where, sites), none twice: all; those of each of these groups; what is `_alike`; those of each network that has
    one, of each layer; each.
    """
    found: dict[str, list[Site]] = {}
    for site in chosen:
        if site.tower:
            found.setdefault(site.tower, []).append(site)
    layers: dict[tuple[str, int], list[Site]] = {}
    for site in chosen:
        if site.layer is not None:
            layers.setdefault((site.tower, site.layer), []).append(site)
    found |= {held[0].place: held for _, held in sorted(layers.items())}
    every = [("", chosen), *groups, *_alike(chosen), *found.items(), *((site.words, [site]) for site in chosen)]
    unique: dict[tuple[Site, ...], str] = {}
    for where, held in every:
        unique.setdefault(tuple(held), where)
    return [(where, [*held]) for held, where in unique.items() if held]


QK, KV, QKV = "queries and keys", "keys and values", "queries, keys and values"
PROJECTED = {"query": (QK, QKV), "key": (QK, KV, QKV), "value": (KV, QKV)}


def _alike(sites: Iterable[Site]) -> list[tuple[str, list[Site]]]:
    """(where, sites) of each part of a model, of all but the embeddings and all but the heads, of all layers but the
    first or the last, and of the same place in every layer or network.
    """
    pattern = re.compile(r"(encode\.)?(\w+)(?:\.(\d+))?\.?(.*)")
    split = [(site, *pattern.fullmatch(site.local).groups()) for site in sites]
    stacks = {part for _, _, part, number, _ in split if number}
    last = max((int(number) for _, _, _, number, _ in split if number), default=0)
    groups: dict[str, list[Site]] = {}
    for site, encode, part, number, inner in split:
        held = ["every layer", f"every {part} layer"][: len(stacks)] if number else [part if encode else f"{part} head"]
        held += ["all but the embeddings"] * (part != "embeddings") + ["all but the heads"] * bool(encode)
        if number and last > 1:
            held += [f"all layers but the {which}" for which, n in (("first", 0), ("last", last)) if int(number) != n]
        of = [f"every {layer}'s" for layer in ("layer", f"{part} layer")[: len(stacks)]] if number else [part]
        parts = inner.replace("add_norm.norm", "norm").removeprefix("tables.").split(".") if inner else []
        ends = [".".join(parts[: n + 1]) for n in range(len(parts))]
        ends += [inner.replace(one, several) for one in PROJECTED if inner.endswith(one) for several in PROJECTED[one]]
        for where in (*held, *(f"{one} {end}" for one in of for end in ends)):
            groups.setdefault(where, []).append(site)
    return [(re.sub("[._]", " ", where), held) for where, held in groups.items()]
