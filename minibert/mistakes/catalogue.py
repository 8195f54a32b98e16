"""What an entry of the catalogue is, and the edits of a subject from which mutants are made."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from minibert import tree
from minibert.golden.subject import Subject, Tensors
from minibert.mistakes.swap import Replacement, Site, local, sites, swapped

Change = Callable[[Subject], Subject]
FORWARD, GRADIENTS, STEPS = "forward", "gradients", "steps"


@dataclass(frozen=True)
class Mutant:
    """One way to make a mistake.

    what: in words; where: the place, "" everywhere; change: the edit of a subject; section: the first of forward,
    gradients, steps that it can change; sites: paths of the calls that are replaced, () where nothing is;
    variant: None as the entry says; silent: a pattern of keys on which an implementation with this mistake may hold
    either of two things; after: what happens to the tensors when they are written out; also: ids of further entries
    that it makes at once.
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


@dataclass(frozen=True)
class Mistake:
    """An entry: what is wrong and what is right, where it shows, who made it.

    shows: tokens, output, loss, gradient, step, data, loading or nowhere. families: letters as in the catalogue's head,
    or "all". variant: legitimate if declared. reason: why no case can show it, or what it waits for. mutants(subject),
    tokenize(tokenizer, text, pair) and rule(ids, present, rng, vocabulary) execute it, whichever applies; the first for
    kinds of tokenizer in `tokenizers`; `rule` may be several by the name of the law that they break.
    """

    id: str
    title: str
    right: str
    evidence: str
    shows: str
    clause: str = ""
    families: str = "all"
    variant: bool = False
    reason: str = ""
    mutants: Callable[[Subject, list[Site]], list[Mutant]] | None = None
    tokenize: Callable | None = None
    tokenizers: tuple[str, ...] = ("wordpiece",)
    rule: Callable | Mapping[str, Callable] | None = None

    def rule_of(self, law: str) -> Callable | None:
        """The rule that stands in the place of that law's, or None."""
        return self.rule.get(law) if isinstance(self.rule, Mapping) else self.rule if law == "bert" else None

    def concerns(self, family: str) -> bool:
        """Whether it is an entry of this family's: by its letters among `families`."""
        return bool(LETTERS.get(family, {"B"}).intersection(re.findall(r"[\w-]+", self.families)))

    @property
    def executable(self) -> bool:
        """Whether the mistake can be made here."""
        return not (self.mutants is None and self.tokenize is None and self.rule is None)


# what stands for a family in `Mistake.families`
ANY = {"all", "any"}
LETTERS = {
    "bert": {"B", "mBERT", *ANY}, "roberta": {"R", *ANY}, "albert": {"A", *ANY}, "electra": {"E", "E-small", *ANY},
    "spanbert": {"B", "S", *ANY}, "bert_wwm": {"B", "B-zh", "W", *ANY}, "bert_wwm_ext": {"B", "B-zh", "W", *ANY},
    "macbert": {"B", "MC", *ANY},
}  # fmt: skip

CATALOGUE: dict[str, Mistake] = {}
UNLISTED: dict[str, Mistake] = {}  # changes that explain, but of which the catalogue has no entry


def entry(id: str, title: str, right: str, evidence: str, shows: str, clause: str = "", **fields: Any) -> None:
    """Enters a mistake; `mutants` may be a list of makers, each (subject, sites) -> mutants."""
    makers = fields.pop("mutants", None)
    if makers is not None:
        fields["mutants"] = partial(_made, tuple(makers))
    if id in CATALOGUE:
        raise ValueError(f"{id} is entered twice")
    CATALOGUE[id] = Mistake(id, title, right, evidence, shows, clause, **fields)


def unlisted(title: str, *makers: Callable) -> None:
    """Enters a change that nobody was seen to make by mistake: told in words where it explains, never as a name."""
    UNLISTED[title] = Mistake(title, title, "", "", "output", mutants=partial(_made, makers))


def _made(makers: tuple[Callable, ...], subject: Subject, at: list[Site] | None = None) -> list[Mutant]:
    at = sites(subject) if at is None else at
    return [mutant for maker in makers for mutant in maker(subject, at)]


# Where a field of the batch or of the configuration is first read: patterns of sites.
READ = {
    "attention_mask": r".*\.attention\.attention",
    "mask_constant": r".*\.attention\.attention",
    "token_type_ids": r".*\.token_type",
    "position_ids": r".*\.position",
    "next_sentence_labels": r"next_sentence\.loss",
    "mlm_denominator_eps": r"masked_lm\.loss",
    "hidden_dropout_prob": r"encode\..*\.dropout",
    "attention_probs_dropout_prob": r".*\.attention\.attention",
}


def readers(fields: Iterable[str], at: Iterable[Site]) -> tuple[str, ...]:
    """Paths of the sites that read these fields first; () where that is not known."""
    names = list(fields)
    if not names or any(name not in READ for name in names):
        return ()
    return tuple(site.path for site in at if any(re.fullmatch(READ[name], site.local) for name in names))


# ---- Makers ----------------------------------------------------------------------------------------------------------
def config(what: str, section: str = FORWARD, variant: bool | None = None, **fields: Any) -> Callable:
    """Config fields at other values; a function takes the config. No mutant where nothing changes."""

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        values = {name: value(subject.config) if callable(value) else value for name, value in fields.items()}
        if all(getattr(subject.config, name) == value for name, value in values.items()):
            return []
        change = lambda s: replace(s, config=replace(s.config, **values))  # noqa: E731
        return [Mutant(what, change, section=section, sites=readers(values, at), variant=variant)]

    return maker


def batch(what: str, edit: Callable[[dict, Any], dict], section: str = FORWARD) -> Callable:
    """Every batch edited: edit(batch, config) -> the fields that change."""

    def change(s: Subject) -> Subject:
        return replace(s, batches=[{**b, **edit(b, s.config)} for b in s.batches])

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        fields = edit(subject.batches[0], subject.config)
        return [Mutant(what, change, section=section, sites=readers(fields, at))]

    return maker


def weights(what: str, edit: Callable[[str, np.ndarray], np.ndarray], paths: str, where: str = "") -> Callable:
    """Tensors whose path, whole or within a network, matches `paths` edited: edit(path, array) -> array. No mutant
    where none matches.
    """

    def matching(params: Any) -> set[str]:
        return {p for p, _ in tree.items(params) if re.fullmatch(paths, p) or re.fullmatch(paths, local(p, params))}

    def change(s: Subject) -> Subject:
        chosen = matching(s.params)
        return replace(
            s, params=tree.unflatten({p: edit(p, a) if p in chosen else a for p, a in tree.items(s.params)})
        )

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        found = matching(subject.params)
        users = tuple(site.path for site in at if found.intersection(site.params))
        return [Mutant(what, change, where, sites=users)] if found else []

    return maker


def part(what: str, variant: bool | None = None, **parts: Callable) -> Callable:
    """Parts of the optimizer step (`Subject.parts`) replaced."""
    change = lambda s: replace(s, parts={**s.parts, **parts})  # noqa: E731
    return lambda subject, _: [Mutant(what, change, section=STEPS, variant=variant)]


def only(letters: str, maker: Callable) -> Callable:
    """No mutant in families without one of these letters (`LETTERS`)."""
    return lambda subject, at: maker(subject, at) if LETTERS[subject.family] & {*letters.split()} else []


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
        mutants, seen = [], set()
        grouped = [(where, [s for s in chosen if re.fullmatch(pattern, s.local)]) for where, pattern in groups]
        for where, held in [("", list(chosen)), *grouped, *_places(chosen)]:
            places = tuple(held)
            if places and places not in seen:
                seen.add(places)
                change = partial(swapped, at={site.key: chosen[site] for site in places})
                paths_ = tuple(site.path for site in places)
                mutants.append(Mutant(what, change, where, section, paths_, **fields))
        return mutants

    return maker


def _places(chosen: Iterable[Site]) -> list[tuple[str, list[Site]]]:
    """(where, sites) of each network that has one, of each layer, then of each site."""
    found: dict[str, list[Site]] = {}
    for site in chosen:
        if site.tower:
            found.setdefault(site.tower, []).append(site)
    layers: dict[tuple[str, int], list[Site]] = {}
    for site in chosen:
        if number := layer(site):
            layers.setdefault(number, []).append(site)
    found |= {f"{tower} layer {i}".lstrip(): held for (tower, i), held in sorted(layers.items())}
    return [*found.items(), *((place(site.path), [site]) for site in chosen)]


def layer(site: Site) -> tuple[str, int] | None:
    """(network, number) of the encoder layer that a site is in, or None."""
    match = re.match(r"encode\.encoder\.(\d+)\.", site.local)
    return (site.tower, int(match[1])) if match else None


def place(path: str) -> str:
    """A site's path in words: "encode.encoder.1.attention.add_norm.norm" -> "layer 1 attention norm"."""
    words = re.sub(r"(^|\.)encode\.", r"\1", path, count=1).replace("add_norm.norm", "norm").replace("tables.", "")
    return re.sub(r"(^| )encoder (\d+)", r"\1layer \2", words.replace(".", " ")).replace("_", " ")


def same_backward(forward: Callable, backward: Callable) -> Replacement:
    """A replacement whose backward is another pair's, where the cache is that pair's too."""
    return Replacement(forward, backward)
