"""Mistakes of parameters shared by several layers, and of tables narrower than the network (ALBERT, ELECTRA)."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np

from minibert import families, layers, tree
from minibert.corruption import rules, sequences
from minibert.golden import shares
from minibert.golden.subject import Subject, Tensors
from minibert.mistakes.catalogue import FORWARD, GRADIENTS, Mutant, entry, lent, swap, weights, whole
from minibert.mistakes.ops.heads import TURNED, flipped
from minibert.mistakes.ops.norms import LAYERS, passed_over
from minibert.mistakes.swap import Replacement, Site, graded, relinear, zeros

Array = np.ndarray
Cache = dict[str, Any]


# ---- Layers used again -----------------------------------------------------------------------------------------------
def times_used(subject: Subject) -> dict[str, int]:
    """Path of a parameter of the layers -> how many layers use it, where that is more than one."""
    uses = getattr(families.family(subject.family), "uses", None)
    counted = Counter((i, part) for use in (uses(subject.config) if uses else ()) for part, i in use.items())
    found = {}
    for path, _ in tree.items(subject.params):
        match = re.match(r"encoder\.(\d+)\.(\w+)\.", path)
        if match and counted[int(match[1]), match[2]] > 1:
            found[path] = counted[int(match[1]), match[2]]
    return found


def _averaged(subject: Subject, _: Any) -> list[Mutant]:
    """The gradient of a shared parameter divided by its uses: of all, of some kinds and of one module."""
    uses, of = times_used(subject), {}
    for path, count in uses.items():
        part, module = path.split(".")[2:4]
        kinds = ["norms"] if module == "norm" else [f"{part}'s linear layers", "linear layers"]
        for where in (part, *kinds, f"{part} {module}"):
            of.setdefault(where.replace("_", " "), {})[path] = count
    inside = tuple(_divided(subject, some, where) for where, some in of.items())
    return [replace(_divided(subject, uses), inside=inside)] if uses else []


def _divided(subject: Subject, uses: dict[str, int], where: str = "") -> Mutant:
    named = {name: path for path, name, _ in families.family(subject.family).names(subject.config)}

    def averaged(grads: Any, step: int) -> Any:
        return tree.unflatten({path: g / g.dtype.type(uses.get(path, 1)) for path, g in tree.items(grads)})

    def written(tensors: Tensors) -> Tensors:
        of = {key: uses.get(named.get(key.removeprefix("gradients/"), ""), 1) for key in tensors}
        return {key: array / array.dtype.type(of[key]) for key, array in tensors.items()}

    change = lambda s: replace(s, parts={**s.parts, "grads": averaged})  # noqa: E731
    return Mutant("shared gradients averaged over the uses", change, where, GRADIENTS, after=written)


def _one_use(which: int) -> Callable:
    """One layer's gradient stands for all that share its parameters: which is 0, the first, or -1, the last."""
    none = graded(layers.encoder_layer, lambda g, dy, c: (g[0], zeros(g[1])))

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        module = families.family(subject.family)
        if not times_used(subject):
            return []
        uses = module.uses(subject.config)
        kept = {}
        for number, use in enumerate(uses):
            for part, i in use.items():
                kept.setdefault((part, i), []).append(number)
        kept = {numbers[which] for numbers in kept.values()}
        blocks = {f"encode.encoder.{number}" for number in range(len(uses)) if number not in kept}
        made = lambda _, site: none if site.path in blocks else None  # noqa: E731
        what = f"the {('first', 'last')[which]} use's gradient alone"
        return swap(what, "encoder_layer", made, section=GRADIENTS)(subject, at)[:1]

    return maker


def exchanged(what: str, order: Callable[[Any], list[int]]) -> Callable:
    """Stored layers loaded in another order: order(config) of the entries of p["encoder"]."""

    def change(s: Subject) -> Subject:
        encoder = [s.params["encoder"][i] for i in order(s.config)]
        return replace(s, params={**s.params, "encoder": encoder})

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        if not hasattr(subject.config, "inner_group_num"):
            return []
        wanted, held = order(subject.config), subject.params["encoder"]
        fits = sorted(wanted) == list(range(len(held))) and all(part.keys() == held[0].keys() for part in held)
        return [Mutant(what, change)] if fits and wanted != list(range(len(held))) else []

    return maker


def regrouped(what: str, **methods: Callable) -> Callable:
    """Layers given to groups in another way, by other methods of the configuration; no mutant where one would have
    none.
    """

    def changed(config: Any) -> Any:
        other = type("Config", (type(config),), methods)
        return other(**{field.name: getattr(config, field.name) for field in fields(config)})

    def maker(subject: Subject, at: list[Site]) -> list[Mutant]:
        if not hasattr(subject.config, "group"):
            return []
        uses = families.family(subject.family).uses
        right, wrong = uses(subject.config), uses(changed(subject.config))
        stored = [{pair for use in every for pair in use.items()} for every in (right, wrong)]
        if right == wrong or not stored[0] >= stored[1]:
            return []
        first = next(i for i, use in enumerate(right) if use != wrong[i])
        moved = {f"encode.encoder.{i}" for i in range(first, len(right))}  # all behind it have other names, too
        paths = tuple(site.path for site in at if site.path in moved)
        return [Mutant(what, lambda s: replace(s, config=changed(s.config)), sites=paths)]

    return maker


def _inner_turned(config: Any) -> list[int]:
    n = config.inner_group_num
    return [group * n + i for group in range(config.num_hidden_groups) for i in reversed(range(n))]


def _groups_turned(config: Any) -> list[int]:
    n = config.inner_group_num
    return [group * n + i for group in reversed(range(config.num_hidden_groups)) for i in range(n)]


def _inner_first(config: Any) -> list[int]:
    """Stored by inner layer, read by group."""
    return [group + i * config.num_hidden_groups for group in range(config.num_hidden_groups)
            for i in range(config.inner_group_num)]  # fmt: skip


def _first_inner(subject: Subject, at: list[Site]) -> list[Mutant]:
    """It is called again where another is due: what has the name of its second use is of that."""
    n, encoder = subject.config.inner_group_num, subject.params["encoder"]
    stored = [use["attention"] for use in families.family(subject.family).uses(subject.config)]
    first = {stored.index(i) for i in stored if i % n == 0}
    others = "|".join(str(number) for number in range(len(stored)) if number not in first)
    behind = [(i, path) for i, held in enumerate(encoder) if i % n for path in tree.flatten(held)]
    lender = {f"encoder.{i}.{path}": f"encoder.{i // n * n}.{path}" for i, path in behind}
    made = lent(subject, at, "each group's first inner layer for all", lender)
    named = rf"({FORWARD}|{GRADIENTS})/encode\.encoder\.({others})\..*"
    return [replace(mutant, where="", silent=f"{mutant.silent}|{named}") for mutant in made]


def _behind_first(subject: Subject, site: Site) -> Replacement | None:
    """No inner layer but the first of each group."""
    return passed_over(*LAYERS["encoder_layer"]) if (site.layer or 0) % subject.config.inner_group_num else None


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "C14", "ALBERT group/inner indices; Conv1D layout", "one group reused; [in,out]",
    "own knowledge; src albert", "loading", "ALB-ENC-1", families=("albert",),
    mutants=[
        exchanged("the inner layers of each group in each other's place", _inner_turned),
        exchanged("the groups in each other's place", _groups_turned),
        exchanged("stored by inner layer, read by group", _inner_first),
        regrouped("the groups take turns, layer by layer", group=lambda c, layer: layer % c.num_hidden_groups),
        regrouped("the first groups have fewer layers", group=lambda c, layer: min(
            layer // (c.num_hidden_layers // c.num_hidden_groups), c.num_hidden_groups - 1)),
        regrouped("the groups from the last to the first", group=lambda c, layer: c.num_hidden_groups - 1 - int(
            layer / (c.num_hidden_layers / c.num_hidden_groups))),
        regrouped("the first group's layers in the place of all", group=lambda c, layer: 0),
        regrouped("the inner layers of each group run from the last to the first",
                  inner=lambda c: range(c.inner_group_num)[::-1]),
        _first_inner,
        whole(swap("of each group the first inner layer alone", "encoder_layer", _behind_first)),
    ],
)  # fmt: skip
entry(
    "O12", "gradient of a shared parameter averaged over its uses, or of one use", "the sum over all uses",
    "own knowledge", "gradient", "ALB-ENC-3", families=("albert",),
    mutants=[_averaged, _one_use(0), _one_use(-1)],
)  # fmt: skip
entry(
    "H12", "SOP data made as NSP", "same two segments, swapped",
    "google-research/albert#234, #102", "data", "ALB-DATA-1", families=("albert",),
    rule={shares.ORDER: sequences.pairs},
)  # fmt: skip

entry(
    "H19", "sentence-order labels or classes reversed", "0 = in order, 1 = swapped",
    "own knowledge; src albert create_pretraining_data", "loss", "ALB-SOP-1", families=("albert", "macbert"),
    mutants=[
        flipped("sentence_order_labels"),
        lambda subject, at: (
            weights("the two classes change places", lambda path, a: np.ascontiguousarray(a[::-1]),
                    r"(sop|nsp)\.(weight|bias)")(subject, at)
            if "sentence_order_labels" in subject.batches[0] else []
        ),
        swap("the two logits change places", "linear", relinear(weight=TURNED, bias=TURNED),
             r"sentence_order\.head\.dense"),
    ],
)  # fmt: skip

entry(
    "D20", "n-grams favour the longer ones, or lengths are uniform", "p(n) proportional to 1/n",
    "src albert create_pretraining_data (favor_shorter_ngram)", "data", "ALB-DATA-2", families=("albert",),
    rule={"ngram": lambda *given: rules.ngram(*given, lengths=rules.ALBERT_LENGTHS[::-1])},
)  # fmt: skip
