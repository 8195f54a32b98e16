"""A golden case on disk: case.json and flat files of tensors, written at once and read strictly.

    case = case.read("reference/golden/bert/probe")
    case.entries["forward/loss"].noise["float32"]        the tensor's noise floor
    case.tensor("gradients/bert.pooler.dense.weight")    its float64 truth, hash checked
    observe(case.subject())                              the same numbers, computed again

Keys are SECTION/NAME: weights, inputs, forward, gradients, steps, each a safetensors file of that name. What case.json
may say stands in `case.schema.json` among the reference files, and in no second place. Its format has a version of its
own, beside the engine's: this one is 2; cases of version 1 (`case-1.schema.json`) are read, and written no more.
"""

import hashlib
import json
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minibert import families, gradcheck, objective, reading, tree
from minibert.checkpoint import atomic, directory, safetensors, strictjson
from minibert.checkpoint.names import from_published
from minibert.config import from_fields, nearest, require, shown
from minibert.errors import InputError
from minibert.golden import kinds, subject, unmoved
from minibert.golden.subject import Subject
from minibert.model import Model

FORMAT, VERSION = "minibert-case/", 2
SECTIONS = ("weights", "inputs", "forward", "gradients", "steps")
MAX_JSON = 1 << 26  # bytes of a case.json or text.json that are read at all
MAX_BYTES = 1 << 30  # of a case's tensors
OWNED = ("case.json", "text.json", *(f"{section}.safetensors" for section in SECTIONS))
IDS = "ids.json"  # of a family's cases: those that are, and those that were
Tensors = dict[str, np.ndarray]


class Entry(NamedTuple):
    """What case.json says of one tensor; scale is what its error is divided by, noise the floors by dtype."""

    key: str
    file: str
    role: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    noise: dict[str, float | None]


class Case:
    """A case that was read. path: its folder; facts: the fields of case.json but the tensors; entries: by key; hashes:
    SHA-256 by file, or in version 1 by key.
    """

    def __init__(self, path: Path, facts: dict[str, Any], entries: dict[str, Entry], hashes: dict[str, str]):
        self.path, self.facts, self.entries, self.hashes = path, facts, entries, hashes
        self._sections: dict[str, Tensors] = {}
        self._verified: set[str] = set()

    @property
    def name(self) -> str:
        """Its folder below the golden ones, such as "bert/probe"."""
        return self.facts["name"]

    @property
    def whole(self) -> bool:
        """Whether it is a family's whole computation."""
        return kinds.of(self).WHOLE

    def tensor(self, key: str) -> np.ndarray:
        """The array of one key, read-only; InputError where there is none or its bytes are not those once hashed."""
        require(key in self.entries, f"case {self.name} has no tensor {shown(key)}")
        section, _, name = key.partition("/")
        if section not in self._sections:
            self._sections[section] = self._read(section)
        array = self._sections[section][name]
        if key not in self._verified:
            right = key not in self.hashes or _digest(array) == self.hashes[key]
            require(right, f"{self.path}: tensor {shown(key)} is damaged: its SHA-256 is not the recorded one")
            array.flags.writeable = False
            self._verified.add(key)
        return array

    def _read(self, section: str) -> Tensors:
        file = atomic.place(self.path / f"{section}.safetensors")
        right = file.name not in self.hashes or file_digest(file) == self.hashes[file.name]
        require(right, f"{file} is damaged: its SHA-256 is not the recorded one")
        return safetensors.read(file)

    def section(self, name: str) -> Tensors:
        """The arrays of one section by the names in its file, in forward order."""
        prefix = f"{name}/"
        return {key.removeprefix(prefix): self.tensor(key) for key in self.entries if key.startswith(prefix)}

    @cached_property
    def unmoved(self) -> Tensors:
        """By parameter, the entries that only rounding moves (see `unmoved`)."""
        true = {name: array for name, array in self.section("gradients").items() if self._learnt(name)}
        return unmoved.masks(true, *((self.facts["family"], self.config()) if self.whole else ()))

    def _learnt(self, name: str) -> bool:
        return self.entries[f"gradients/{name}"].role == "gradient"

    def text(self) -> Any:
        """The contents of text.json, hash checked; None where the case has none."""
        if self.facts["text"] is None:
            return None
        data = _bytes(self.path / "text.json")
        right = hashlib.sha256(data).hexdigest() == self.facts["text"]["sha256"]
        require(right, f"{self.path / 'text.json'} is damaged: its SHA-256 is not the recorded one")
        return strictjson.loads(data, str(self.path / "text.json"))

    def config(self) -> Any:
        """The family's Config."""
        return from_fields(families.family(self.facts["family"]).Config, self.facts["config"])

    def params(self, weights: Any = None) -> Any:
        """The tree of parameters, from the case or from the published directory `weights` that it refers to."""
        held = self.facts["weights"]
        require(held is not None, f"case {self.name} has no weights")
        if "file" in held:
            module, config = families.family(self.facts["family"]), self.config()
            params = from_published(self.section("weights"), module.names(config))
            held = {path: array.shape for path, array in tree.items(params)}
            for path, shape in tree.items(objective.trained(module, config)):
                fits = held.get(path) == shape
                require(fits, f"case {self.name}: weights {path} are {held.get(path)}, the config says {shape}")
            return params
        require(weights is not None, f"case {self.name} is over the directory {held['directory']!r}: say where it lies")
        file = Path(weights) / directory.WEIGHTS
        right = file_digest(file) == held["sha256"]
        require(right, f"{file} is not the file of case {self.name}: its SHA-256 differs")
        return directory.load(weights).params

    def batches(self) -> list[dict[str, Any]]:
        """The batches of inputs, as files hold them, but that those of a list stand in one: "dropout" maps published
        module names to keep-masks.
        """
        batches: list[dict[str, Any]] = [{} for _ in range(max(1, self.facts["batches"]))]
        for key, array in self.section("inputs").items():
            number, _, rest = key.partition("/")
            batch, name = (batches[int(number)], rest) if number.isdigit() else (batches[0], key)
            if name.startswith("dropout/"):
                batch.setdefault("dropout", {})[name.removeprefix("dropout/")] = array
            else:
                batch[name] = array
        return [tree.unflatten(batch) for batch in batches]

    def subject(self, weights: Any = None) -> Subject:
        """The computation itself, rebuilt from weights and inputs in the case's dtype (kinds family and pipeline).

        weights: where the published directory lies, for a case that refers to one.
        """
        require(self.whole, f"case {self.name} is of kind {self.facts['kind']!r}: no whole family to rebuild")
        model = Model(self.facts["family"], self.config(), self.params(weights))
        return subject.made(model, self.batches(), self.facts["optimizer"])


@contextmanager
def replaying(case: Case) -> Iterator[None]:
    """Inside, the engine computes what a case that may come from anywhere says: what cannot be computed is one line."""
    try:
        with np.errstate(all="ignore"):  # what is not finite shows in the numbers
            yield
    except InputError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        said = shown(str(error))
        raise InputError(f"case {case.name} cannot be computed again: {type(error).__name__} {said}") from None


# ---- Reading ---------------------------------------------------------------------------------------------------------
def folder() -> Path:
    """Where the shipped cases and their schema lie: beside the scalar-loop doubles."""
    package = gradcheck.doubles()
    require(package is not None, "the reference files are not installed: no golden cases here")
    return Path(package.__file__).parent / "golden"


def shipped() -> list[Path]:
    """The folders of all shipped cases, sorted."""
    return sorted(path.parent for path in folder().rglob("case.json"))


def names() -> list[str]:
    """Those of all shipped cases."""
    return [path.relative_to(folder()).as_posix() for path in shipped()]


def shipped_of(family: str) -> list[Path]:
    """The folders of those of a family, as their case.json says."""
    return [path for path in shipped() if strictjson.loads(_bytes(path / "case.json"), str(path))["family"] == family]


def read(path: str | os.PathLike) -> Case:
    """The case of a folder, or of a shipped case's name; InputError, one line, for anything that case.json may not say.

    Files are compared with case.json by their headers; tensors are read and hashed when asked for.
    """
    place = Path(path)
    if not reading.present(atomic.place(place / "case.json")) and reading.present(folder() / place / "case.json"):
        place = folder() / place
    if not place.is_dir() and (why := _retired(place)):
        raise InputError(f"the case {path} is retired: {why}")
    if not place.is_dir():
        raise InputError(f"{path} is no case: there is no such folder{nearest(str(path), names())}")
    with atomic.unchanged(place, OWNED):
        return _read(place)


def _retired(place: Path) -> str:
    """Why the shipped case of that name is no more; "" where there was none."""
    ids = folder() / place.parent / IDS
    return strictjson.loads(_bytes(ids), str(ids))["retired"].get(place.name, "") if reading.present(ids) else ""


def _read(place: Path) -> Case:
    source = str(place / "case.json")
    text = _bytes(place / "case.json")
    facts = strictjson.loads(text, source)
    version = _version(facts, source)
    problem = _problem(text, version)
    require(problem is None, f"{source}: {problem}")
    listed, hashes = _rows_of_1(facts) if version == 1 else _rows(facts, source)
    entries: dict[str, Entry] = {}
    for entry in listed:
        key = entry.key
        require(key not in entries, f"{source}: tensor {shown(key)} stands twice")
        stepped = not key.startswith("steps/") or re.fullmatch(r"steps/\d{1,9}/.+", key)
        require(bool(stepped), f"{source}: tensor {shown(key)} does not say after which step")
        entries[key] = entry
    size = sum(math.prod(entry.shape) * np.dtype(entry.dtype).itemsize for entry in entries.values())
    require(size <= MAX_BYTES, f"{source}: its tensors have {shown(size)} bytes; the limit is {MAX_BYTES}")
    _require_files(place, entries)
    numbered = {int(match[1]) for key in entries if (match := re.match(r"inputs/(\d{1,9})/", key))}
    counted = max(facts["batches"], 1) == len(numbered) + 1 and max(numbered, default=0) == len(numbered)
    require(counted, f"{source}: batches is {facts['batches']}, the inputs have {len(numbered) + 1}")
    return Case(place, facts, entries, hashes)


@lru_cache(maxsize=64)
def _problem(text: bytes, version: int) -> str | None:
    """What is wrong with what a case.json says, if anything: asked once of those that are read again."""
    return invalid(strictjson.loads(text, "case.json"), schema(version))


def _version(facts: Any, source: str) -> int:
    """The version of the format that case.json says, one that is read here."""
    named = facts.get("format") if isinstance(facts, dict) else FORMAT + "1"
    match = re.fullmatch(re.escape(FORMAT) + r"(\d{1,9})", named) if isinstance(named, str) else None
    newer = "; it is newer: update minibert" if match and int(match[1]) > VERSION else ""
    known = f"this minibert reads {FORMAT}1 and {FORMAT}{VERSION}"
    require(match is not None and 1 <= int(match[1]) <= VERSION, f"{source}: format {shown(named)}, {known}{newer}")
    return int(match[1])


def _rows(facts: dict[str, Any], source: str) -> tuple[list[Entry], dict[str, str]]:
    """(every tensor's Entry, hash by file), from `sections`, which is taken out of the facts."""
    entries, hashes = [], {}
    for section, held in facts.pop("sections").items():
        file = f"{section}.safetensors"
        hashes[file] = held["sha256"]
        for name, shape, scale, *rest in held["tensors"]:
            floors, own = (*rest, None, None)[:2]
            fits = not floors or len(floors) == len(held["noise"])
            require(fits, f"{source}: tensor {shown(name)} of {section} has floors for other types than its section")
            noise = held["noise"] if floors is None else dict(zip(held["noise"], floors, strict=False))
            role, dtype = ((own or {}).get(field, held[field]) for field in ("role", "dtype"))
            entries.append(Entry(f"{section}/{name}", file, role, tuple(shape), dtype, scale, dict(noise)))
    return entries, hashes


def _rows_of_1(facts: dict[str, Any]) -> tuple[list[Entry], dict[str, str]]:
    """(every tensor's Entry, hash by key), from `tensors` of version 1, which goes, as do the flags."""
    entries, hashes = [], {}
    facts.pop("flags")
    for row in facts.pop("tensors"):
        key = f"{row['file'].removesuffix('.safetensors')}/{row['name']}"
        shape = tuple(row["shape"])
        entries.append(Entry(key, row["file"], row["role"], shape, row["dtype"], row["scale"], row["noise"]))
        hashes[key] = row["sha256"]
    return entries, hashes


def _require_files(place: Path, entries: dict[str, Entry]) -> None:
    """Each file holds exactly the tensors listed for it, in the dtypes and shapes listed."""
    listed: dict[str, dict[str, Entry]] = {}
    for key, entry in entries.items():
        listed.setdefault(entry.file, {})[key.partition("/")[2]] = entry
    for section in SECTIONS:
        file = place / f"{section}.safetensors"
        wanted = file.name in listed
        held = reading.present(atomic.place(file))
        require(held == wanted, f"{file} is {'missing' if wanted else 'not listed'}")
    for name, wanted in listed.items():
        held = safetensors.header(atomic.place(place / name)).entries
        for tensor in wanted.keys() ^ held.keys():
            where = "listed but not in the file" if tensor in wanted else "in the file but not listed"
            raise InputError(f"{place / name}: tensor {shown(tensor)} is {where}")
        for tensor, entry in wanted.items():
            stored = safetensors.NAMES[np.dtype(entry.dtype)]
            fits = (held[tensor].dtype, held[tensor].shape) == (stored, entry.shape)
            found = f"{held[tensor].dtype} {held[tensor].shape}, listed as {stored} {entry.shape}"
            require(fits, f"{place / name}: tensor {shown(tensor)} is {found}")


def _bytes(path: Path) -> bytes:
    return reading.contents(atomic.place(path), MAX_JSON)


def _digest(array: np.ndarray) -> str:
    """SHA-256 of the little-endian bytes in C order."""
    little = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return hashlib.sha256(little.tobytes()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with reading.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- Writing ---------------------------------------------------------------------------------------------------------
def write(
    path: str | os.PathLike,
    facts: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    noise: Mapping[str, Mapping[str, float | None]],
    text: Any = None,
    outputs: Iterable[str] = (),
    scales: Mapping[str, float] | None = None,
) -> Case:
    """Write a case, all of it or nothing, and read it back.

    tensors: by key, in forward order. noise: floors of what is computed. text: the contents of text.json.
    outputs: forward names whose role is "output". scales: of a whole computation, where only a part of it is held.
    """
    arrays = {key: np.asarray(array) for key, array in tensors.items()}
    scales = {**scale(arrays), **(scales or {})}
    words = None if text is None else _lines(text)
    config = {name: [*value] if isinstance(value, tuple) else value for name, value in facts["config"].items()}
    facts = {name: fact for name, fact in facts.items() if name != "flags"}  # of version 1: see `kills`
    facts |= {"format": f"{FORMAT}{VERSION}", "config": config}
    facts["text"] = None if words is None else {"file": "text.json", "sha256": hashlib.sha256(words).hexdigest()}
    with atomic.directory(path, OWNED) as place:
        if words is not None:
            atomic.write_bytes(place / "text.json", words)
        sections = {}
        for section in SECTIONS:
            held = {key.partition("/")[2]: a for key, a in arrays.items() if key.startswith(f"{section}/")}
            if held:
                file = place / f"{section}.safetensors"
                safetensors.write(file, held)
                roles = {name: _role(section, name, arrays, {*outputs}) for name in held}
                sections[section] = _section(section, held, roles, scales, noise, file_digest(file))
        fields = {**facts, "sections": sections}
        problem = invalid(fields, schema())
        require(problem is None, f"{path}: {problem}")
        atomic.write_bytes(place / "case.json", _lines({name: fields[name] for name in schema()["properties"]}))
    return read(path)


def _section(
    section: str,
    held: Tensors,
    roles: Mapping[str, str],
    scales: Mapping[str, float],
    noise: Mapping[str, Mapping[str, float | None]],
    digest: str,
) -> dict[str, Any]:
    """A section as case.json has it: what most of its tensors share, and of each tensor what is its own."""
    floors = {name: tuple(noise.get(f"{section}/{name}", {}).items()) for name in held}
    dtypes = {name: array.dtype.name for name, array in held.items()}
    role, dtype, common = (Counter(of.values()).most_common(1)[0][0] for of in (roles, dtypes, floors))
    rows = []
    for name, array in held.items():
        own = {"role": roles[name]} if roles[name] != role else {}
        own |= {"dtype": dtypes[name]} if dtypes[name] != dtype else {}
        row = [name, list(array.shape), scales[f"{section}/{name}"]]
        row += [[floor for _, floor in floors[name]]] if floors[name] != common else [None] if own else []
        rows.append([*row, own] if own else row)
    return {"sha256": digest, "role": role, "dtype": dtype, "noise": dict(common), "tensors": rows}


def scale(tensors: Mapping[str, np.ndarray]) -> dict[str, float]:
    """What each tensor's error is divided by: max|y|, 1 where that is 0.

    Gradients and moments: at least 1e-3 of the largest entry of them all, so that a gradient that is truly 0 (the key
    bias) is judged beside the others.
    """
    own = {key: float(np.max(np.abs(np.asarray(a, np.float64)), initial=0)) for key, a in tensors.items()}
    largest: dict[str | None, float] = {}
    for key, value in own.items():
        together = scaled_with(key)
        largest[together] = max(largest.get(together, 0.0), value)
    return {
        key: (max(value, 1e-3 * largest[scaled_with(key)]) if scaled_with(key) else value) or 1.0
        for key, value in own.items()
    }


def scaled_with(key: str) -> str | None:
    """What a tensor is scaled together with: the gradients, each step's moments of one kind; None: it is alone."""
    if key.startswith("gradients/"):
        return "gradients"
    moment = re.match(r"steps/\d+/(adam_m|adam_v|exp_avg|exp_avg_sq|momentum_buffer)\.", key)
    return moment[0] if moment else None


def _role(section: str, name: str, tensors: Mapping[str, Any], outputs: set[str]) -> str:
    if section == "forward":
        return "loss" if name.split(".")[0] == "loss" else "output" if name in outputs else "activation"
    if section == "gradients":
        return "activation_gradient" if f"forward/{name}" in tensors else "gradient"
    return {"weights": "weight", "inputs": "input", "steps": "state"}[section]


def _lines(value: Mapping[str, Any]) -> bytes:
    """JSON with a line for each field and each element of a list: short differences, short files."""
    fields = []
    for key, field in value.items():
        text = _compact(field)
        if key == "sections":
            text = "{\n" + ",\n".join(f'  "{name}": {_section_lines(held)}' for name, held in field.items()) + "\n }"
        elif isinstance(field, list) and field and isinstance(field[0], dict | list):
            text = "[\n" + ",\n".join(f"  {_compact(element)}" for element in field) + "\n ]"
        fields.append(f" {json.dumps(key)}: {text}")
    return ("{\n" + ",\n".join(fields) + "\n}\n").encode("utf-8")


def _section_lines(held: Mapping[str, Any]) -> str:
    shared = ",".join(f'"{key}":{_compact(value)}' for key, value in held.items() if key != "tensors")
    return f'{{{shared},"tensors":[\n' + ",\n".join(f"   {_compact(row)}" for row in held["tensors"]) + "\n  ]}"


def _compact(value: Any) -> str:
    return strictjson.dumps(value).decode("utf-8")


# ---- The schema ------------------------------------------------------------------------------------------------------
@cache
def schema(version: int = VERSION) -> dict[str, Any]:
    """The JSON schema of case.json."""
    name = "case.schema.json" if version == VERSION else f"case-{version}.schema.json"
    return strictjson.loads(_bytes(folder() / name), name)


_TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
    "number": (int, float),
}  # fmt: skip


def invalid(value: Any, rule: Mapping[str, Any], where: str = "", named: Mapping[str, Any] | None = None) -> str | None:
    """What is wrong with a JSON value under a schema, in words; None when nothing is. named: the rules of its $defs.

    The keywords that our schemas use: $ref, anyOf, type, const, enum, pattern (of the whole text), minimum, maximum,
    minItems, prefixItems, items, properties, required, additionalProperties. A number is one that float64 holds.
    """
    at, named = where or "the file", rule.get("$defs", {}) if named is None else named
    if "$ref" in rule:
        rule = {**named[rule["$ref"].rpartition("/")[2]], **rule}
    if "anyOf" in rule:
        problems = [invalid(value, choice, where, named) for choice in rule["anyOf"]]
        return None if None in problems else problems[-1]
    kinds = rule.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return f"{at} is {shown(value)}, expected {' or '.join(kinds)}"
    if "const" in rule and value != rule["const"]:
        return f"{at} is {shown(value)}, expected {rule['const']!r}"
    if "enum" in rule and value not in rule["enum"]:
        return f"{at} is {shown(value)}; allowed: {', '.join(map(str, rule['enum']))}"
    if isinstance(value, str) and not re.fullmatch(rule.get("pattern", "(?s).*"), value):
        return f"{at} is {shown(value)}, expected the form {rule['pattern']}"
    if _is(value, "number") and not value >= rule.get("minimum", -math.inf):
        return f"{at} is {shown(value)}, expected {rule['minimum']} or more"
    if _is(value, "number") and not value <= rule.get("maximum", math.inf):
        return f"{at} is {shown(value)}, expected {rule['maximum']} or less"
    if isinstance(value, list):
        first, others = rule.get("prefixItems", []), rule.get("items", {})
        if len(value) < rule.get("minItems", 0) or (others is False and len(value) > len(first)):
            return f"{at} has {len(value)} entries, expected {rule.get('minItems', 0)} to {len(first)}"
        rules = [*first[: len(value)], *[others] * (len(value) - len(first))]
        parts = [(f"{where}[{i}]", part, own) for i, (part, own) in enumerate(zip(value, rules, strict=True))]
    elif isinstance(value, dict):
        own, others = rule.get("properties", {}), rule.get("additionalProperties", {})
        for name in rule.get("required", ()):
            if name not in value:
                return f"{at} lacks the field {name!r}"
        for name in value:
            if name not in own and others is False:
                return f"{at} has the unknown field {shown(name)}"
        parts = [(f"{where}.{name}".lstrip("."), part, own.get(name, others)) for name, part in value.items()]
    else:
        parts = []
    return next(filter(None, (invalid(part, inner, name, named) for name, part, inner in parts)), None)


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind]) and (kind not in ("integer", "number") or abs(value) <= sys.float_info.max)
