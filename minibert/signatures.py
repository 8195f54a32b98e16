"""Signatures: one line of text that is shape comment, input check and generator of test arrays.

    "(...,i),(o,i),(o)->(...,o)"   the differentiable arguments of an op and what it returns, as NumPy's gufuncs write
                                   it; `...` stands for any loop dimensions, the same in every place
    "(b,t)<v"   "(t)?"   "(t)+"   "(t,d)"   data: integers in [0, v), bits, reals >= 0, reals

    "?(b,t)<v"      the same, which may be absent; "(b,t)<v|-100" integers in [0, v), or the one that asks nothing
    "(b,[c],t)"     of (b, t), or of (b, c, t)
    "[(b,m,d)]"     a list of such arrays; "{(b,...)}" a tree of them, dicts and lists, as an earlier call gave it

A bound is a dimension's letter, a number or a name the caller supplies (a config field); so is a dimension.
"""

import re
from typing import Any, NamedTuple

import numpy as np

from minibert import tree
from minibert.config import shown
from minibert.errors import InputError


class Spec(NamedTuple):
    """One array: its dimension names and what its entries may be ("real", "int", "bit", "nonnegative"); optional: it
    may be absent; ignored: an integer beside those below the bound; holds: "array", or a "list" or "tree" of such;
    between: a dimension that may stand behind the first.
    """

    dims: tuple[str, ...]
    kind: str
    bound: str | None
    optional: bool = False
    ignored: int | None = None
    holds: str = "array"
    between: str | None = None

    def of(self, array: Any) -> tuple[str, ...]:
        """The dimension names of an array, with the one between where it has it."""
        there = self.between is not None and np.ndim(array) == len(self.dims) + 1
        return (self.dims[0], self.between, *self.dims[1:]) if there else self.dims


_KINDS = {"": "real", "?": "bit", "+": "nonnegative"}
_HOLDS = {"": "array", "[]": "list", "{}": "tree"}


def parse(text: str) -> Spec:
    """The Spec of "(b,t)<v" and its like."""
    form = r"(\??)([\[{]?)\(([^)]*)\)(\?|\+|<(\w+)(?:\|(-?\d+))?)?([\]}]?)"
    match = re.fullmatch(form, text.replace(" ", "")) if isinstance(text, str) else None
    if match is None or match[2] + match[7] not in _HOLDS:
        raise InputError(f'signature {shown(text)}: expected dimensions and a kind, as "(b,t)<v"')
    optional, opened, dims, suffix, bound, ignored, closed = match.groups()
    kind, names = "int" if bound else _KINDS[suffix or ""], tuple(filter(None, dims.split(",")))
    between = next((name[1:-1] for name in names[1:2] if name[0] == "["), None)
    names = names if between is None else (names[0], *names[2:])
    return Spec(names, kind, bound, bool(optional), ignored and int(ignored), _HOLDS[opened + closed], between)


def parse_signature(text: str) -> tuple[list[Spec], Spec]:
    """The Specs of an op's differentiable arguments and of its result."""
    arguments, arrow, result = text.replace(" ", "").partition("->") if isinstance(text, str) else ("", "", "")
    if not arrow:
        raise InputError(f'signature {shown(text)}: expected arguments and result, as "(...,d)->(...,d)"')
    return [parse(part) for part in re.findall(r"\([^)]*\)", arguments)], parse(result)


def shape(spec: Spec, sizes: dict[str, Any]) -> tuple[int, ...]:
    """The concrete shape, given a size for each dimension (and a tuple for `...`)."""
    dims: list[int] = []
    for name in spec.dims:
        dims += sizes.get("...", ()) if name == "..." else [int(name) if name.isdigit() else sizes[name]]
    return tuple(dims)


def draw(spec: Spec, sizes: dict[str, Any], rng: np.random.Generator, dtype: Any = np.float64) -> np.ndarray:
    """A random array that satisfies the Spec: reals of order 1, integers in range with both ends among them, bits."""
    dims = shape(spec, sizes)
    if spec.kind == "int":
        values = rng.integers(0, _bound(spec, sizes), dims)
        values.reshape(-1)[[0, -1]] = _bound(spec, sizes) - 1, 0
        return values
    if spec.kind == "bit":
        return (rng.random(dims) < 0.7).astype(dtype)
    values = rng.standard_normal(dims).astype(dtype)
    return abs(values) if spec.kind == "nonnegative" else values


def _bound(spec: Spec, sizes: dict[str, Any]) -> int:
    return int(spec.bound) if spec.bound.isdigit() else sizes[spec.bound]


def array(name: str, value: Any) -> np.ndarray:
    """`value` as an array of numbers; InputError for rows that differ in length, objects, text, complex numbers, and
    for masked arrays, whose mask would be lost.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise InputError(f"{name}: a masked array; fill it, and give what is masked in an array of its own")
    try:
        made = np.asarray(value)
    except Exception as error:  # whatever the conversion of somebody's object raises
        ragged = "the rows differ in length; pad them" if "inhomogeneous" in str(error) else error
        raise InputError(f"{name}: not an array: {ragged}") from None
    if made.dtype.kind not in "biuf":
        raise InputError(f"{name}: expected numbers, got {made.dtype}")
    return made


def check(name: str, value: Any, spec: Spec, sizes: dict[str, Any]) -> Any:
    """`value` as an array, or a list or tree of arrays, that satisfies the Spec; new dimensions are entered into
    `sizes`.

    Raises InputError with the argument's name, the first offending entry and what would be right.
    """
    if spec.holds != "array":
        return _checked_parts(name, value, spec._replace(holds="array"), sizes, spec.holds)
    made = array(name, value)
    dims = spec.of(made)
    if dims[-1:] == ("...",):  # any further dimensions
        dims = (*dims[:-1], *map(str, made.shape[len(dims) - 1 :]))
    if made.ndim != len(dims):
        raise InputError(f"{name}: expected shape ({', '.join(spec.dims)}), got {made.shape}")
    for dim, size in zip(dims, made.shape, strict=True):
        expected = int(dim) if dim.isdigit() else sizes.setdefault(dim, size)
        if size != expected:
            due = f"{dim} is {expected} elsewhere" if not dim.isdigit() else f"({', '.join(dims)}) is due"
            raise InputError(f"{name}: shape {made.shape} does not fit, {due}")
    if spec.kind == "int":
        if made.dtype.kind not in "iu" and made.size:  # NumPy takes empty lists for floats
            raise InputError(f"{name}: expected integers, got {made.dtype}")
        beyond = (made < 0) | (made >= _bound(spec, sizes))
        beside = "" if spec.ignored is None else f", nor {spec.ignored}"
        _refuse(name, made, beyond & (made != spec.ignored), f"not in [0, {_bound(spec, sizes)}){beside}")
    elif spec.kind == "bit":
        _refuse(name, made, (made != 0) & (made != 1), "neither 0 nor 1")
    else:
        _refuse(name, made, ~np.isfinite(made), "not finite")
        if spec.kind == "nonnegative":
            _refuse(name, made, made < 0, "negative")
    whole = spec.kind == "int" or (spec.kind == "bit" and made.dtype.kind != "b")
    return made.astype(np.int64, copy=False) if whole else made  # uint64 plus int64 would be float64, no index


def _checked_parts(name: str, value: Any, spec: Spec, sizes: dict[str, Any], holds: str) -> Any:
    """The list or tree with each of its arrays checked, called by its path."""
    if holds == "list" and not isinstance(value, list | tuple):
        raise InputError(f"{name}: expected a list of arrays, got {shown(type(value).__name__)}")
    if holds == "tree" and not isinstance(value, dict | list):
        raise InputError(f"{name}: expected a tree of arrays (dicts and lists), got {shown(type(value).__name__)}")
    flat = {str(i): part for i, part in enumerate(value)} if holds == "list" else tree.flatten(value)
    checked = {path: check(f"{name}.{path}", part, spec, sizes) for path, part in flat.items()}
    return list(checked.values()) if holds == "list" else tree.unflatten(checked)


def _refuse(name: str, array: np.ndarray, bad: np.ndarray, why: str) -> None:
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(f"{name}{list(at)} is {array[at]}: {why}")
