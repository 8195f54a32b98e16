"""The shipped cases, a file a family (and ops, tokenizer, masking), found by its name: `reference/golden/FILE/CASE`.

    CASES                         {name of the case: CaseRecipe}
    SIZES                         optional: config fields at small, unequal sizes, the others keep their defaults
    LEAST                         optional: how long a row of a batch of all kinds of trouble is at least
    recipe(title, family, **fields)       optional: a CaseRecipe as this family's batches and weights want it
    double(subject)               optional: ((params, config, batch) -> values by key, whether its slope counts) at 50
                                  digits, None where the double covers less than the subject

What a family's file does not have is its kin's. A family without a file, or from outside this package, takes SIZES from
its PROBE, and everything from `example` and `shapes`.
"""

import math
import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from minibert import families, objective, tree
from minibert.config import from_fields, nearest, require
from minibert.golden.recipe import DIMS, CaseRecipe
from minibert.pairs import BLOCKS, PAIRS

MOST_PARAMETERS = 100_000


def names() -> list[str]:
    """The files there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def recipes() -> dict[str, CaseRecipe]:
    """Every shipped case by its name, such as "bert/probe"."""
    files = {name: import_module(f"{__name__}.{name}") for name in names()}
    return {f"{name}/{case}": recipe for name, file in files.items() for case, recipe in file.CASES.items()}


def hook(family: str, name: str) -> Any:
    """What a family's file offers under this name, or its kin's; None where there is none."""
    if family in names():
        found = getattr(import_module(f"{__name__}.{family}"), name, None)
        if found is not None:
            return found
    elif f"golden_{name.lower()}" in vars(families.family(family)):  # a family from outside has them in its own file
        return vars(families.family(family))[f"golden_{name.lower()}"]
    kin = vars(families.family(family)).get("KIN")
    return hook(kin, name) if kin else None


def config(family: str, fields: Mapping[str, Any]) -> Any:
    """The family's Config with these fields, small sizes, and the published meaning of every switch."""
    return from_fields(families.family(family).Config, {**sizes(family), **fields})


def sizes(family: str) -> dict[str, Any]:
    """Config fields that are sizes, at small ones."""
    known = hook(family, "SIZES")
    return dict(known) if known is not None else probe_sizes(families.family(family))


def probe_sizes(module: ModuleType) -> dict[str, Any]:
    """The whole numbers, and tuples of them, in a family's PROBE, but for ids: SIZES where it says which."""
    named = getattr(module, "SIZES", None)
    types = {name: field.type for name, field in module.Config.__dataclass_fields__.items()}
    whole = {name for name, kind in types.items() if kind in (int, "int") or str(kind).startswith("tuple[int")}
    chosen = [name for name in module.PROBE if name in whole and not name.endswith("_id")] if named is None else named
    return {name: module.PROBE[name] for name in chosen}


def of(name: str, kind: str, fields: Mapping[str, Any], seed: int, pair: str | None = None) -> CaseRecipe:
    """The recipe of a family's case of that kind (pair: the block), or of an op's, with these config fields over small
    sizes.
    """
    if kind == "op":
        require(name in PAIRS, f"no op {name!r}{nearest(name, PAIRS)}; there are: {', '.join(PAIRS)}")
        slope = fields.get("padding_idx") is None
        return CaseRecipe(f"{name} alone", kind="op", pair=name, config=fields, seed=seed, steps=(), slope=slope)
    module = families.family(name)
    name = families.named(module)
    made = config(name, fields)
    size = sum(map(math.prod, tree.leaves(objective.shapes(module, made))))
    advice = "a case holds them eleven times: give a smaller configuration, or --from a published directory"
    require(
        size <= MOST_PARAMETERS, f"the configuration has {size:,} parameters of {MOST_PARAMETERS:,} allowed; {advice}"
    )
    dims, least = dict(DIMS), hook(name, "LEAST") or 1
    for letter, (array, most) in module.lengths(made).items():
        if most is None:
            continue
        room = f"the configuration leaves room for {most} along {letter} of {array}"
        require(most >= least, f"{room}; a probe batch needs {least} or more")
        dims[letter] = min(dims.get(letter, most), most)
    title = f"{name} made from seed {seed}"
    given: dict[str, Any] = {"config": fields, "seed": seed, "dropout": True, "dims": dims}
    if kind == "block":
        known = f"there are: {', '.join(BLOCKS)}"
        require(pair in BLOCKS, f"no block {pair!r}{nearest(str(pair), BLOCKS)}; {known}")
        title, given = f"{pair} of {name} alone, from seed {seed}", {**given, "kind": kind, "pair": pair, "steps": ()}
    return (hook(name, "recipe") or CaseRecipe)(title, name, **given)
