"""A tokenizer's output against a case of tokenizer vectors: level L0.

The candidate is a JSON file: a list with an element for each of the case's texts, in their order (or that list as
"vectors" of an object). An element is the list of ids, or an object with "ids" and, where wanted, "type_ids", "tokens"
and "offsets" as in the case; null where nothing was computed.
"""

import os
from typing import Any

import numpy as np

from minibert import reading
from minibert.checkpoint import strictjson
from minibert.config import require, shown
from minibert.errors import LONGEST, InputError, shortened
from minibert.golden.candidate import Candidate, digest
from minibert.golden.compare import Row
from minibert.golden.kinds.tokenizer import tokenizer as tokenizer_of

FIELDS = ("ids", "type_ids", "tokens", "offsets")


def read(path: str | os.PathLike, case: Any) -> tuple[Candidate, list[Row]]:
    """The candidate (its ids by key "tokens/3") and a row for each of the case's texts."""
    try:
        data = reading.contents(path)
    except InputError as error:
        raise InputError(f"{error}; case {case.name} takes a JSON file with the ids of each of its texts") from None
    given = strictjson.loads(data, str(path))
    given = given.get("vectors") if isinstance(given, dict) else given
    due = case.text()["vectors"]
    fits = isinstance(given, list) and len(given) <= len(due)
    require(fits, f"{path} is not a list with an element for each of the {len(due)} texts of case {case.name}")
    tensors, rows = {}, []
    for i, vector in enumerate(due):
        key = f"tokens/{i}"
        got = _element(given[i], f"{path}: element {i}") if i < len(given) else None
        if got is None:
            rows.append(Row(key, "missing"))
            continue
        tensors[key] = np.array(got["ids"], np.int64)
        rows.append(_row(key, got, vector))
    require(bool(tensors), f"{path} has no ids: the candidate and the case have nothing in common")
    return Candidate(tensors, {}, {}, [], "float64", digest(tensors), [], {}, []), rows


def _element(value: Any, where: str) -> dict[str, list] | None:
    if value is None:
        return None
    fields = {"ids": value} if isinstance(value, list) else value
    right = isinstance(fields, dict) and "ids" in fields and all(isinstance(v, list) for v in fields.values())
    require(right, f"{where} is {shown(value)}, neither a list of ids nor an object with 'ids'")
    whole = all(type(n) is int and abs(n) < 2**63 for n in fields["ids"])
    require(whole, f"{where} has ids that are no whole numbers: {shown(fields['ids'])}")
    return {name: fields[name] for name in FIELDS if name in fields}


def _row(key: str, got: dict[str, list], due: dict[str, list]) -> Row:
    """The first field and place where they differ."""
    for name, held in got.items():
        pairs = zip([*held, None], [*due[name], None], strict=False)
        at = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
        if at is not None:
            a, b = (None if at >= len(row) else row[at] for row in (held, due[name]))
            number = name == "ids" and a is not None and b is not None
            return Row(key, "wrong", np.inf, 0.0, np.inf, None, (at,), a if number else None, b if number else None)
    return Row(key, "right", 0.0, 0.0, 0.0)


def diagnosis(case: Any, candidate: Candidate, first: Row) -> Any:
    """The known mistakes that give the candidate's ids for every text, beside the first that comes out wrong."""
    from minibert.mistakes import CATALOGUE, Diagnosis, Found, Mutant

    held = case.text()
    vector = held["vectors"][int(first.key.partition("/")[2])]
    words = dict(enumerate(held["vocabulary"]))
    got = [words.get(int(i), f"<{i}>") for i in candidate.tensors[first.key]]
    said = [f"text {shown(vector['text'])}" + (f" and {shown(vector['pair'])}" if vector["pair"] is not None else "")]
    sides = (f"  got {' '.join(got)}", f"  due {' '.join(vector['tokens'])}")
    said += [shortened(side, 2 * LONGEST) for side in sides]
    kind, tokenizer = held.get("kind", "wordpiece"), tokenizer_of(held)
    named = []
    for mistake in CATALOGUE.values():
        tokenize = mistake.tokenize if kind in mistake.tokenizers else None
        if tokenize is not None and _gives(tokenize, tokenizer, held["vectors"], candidate.tensors):
            named.append(mistake)
    said.append(("no known mistake explains this", "the mistake is", "one of these mistakes it is")[min(2, len(named))])
    said += [f"  {mistake.id} {mistake.title}; right: {mistake.right}" for mistake in named]
    found = [Found(mistake, Mutant(mistake.title, lambda subject: subject)) for mistake in named]
    return Diagnosis(("unknown", "mistake", "tie")[min(2, len(named))], found, None, first.key, said)


def _gives(tokenize: Any, tokenizer: Any, vectors: list[dict], tensors: dict[str, np.ndarray]) -> bool:
    for i, vector in enumerate(vectors):
        if f"tokens/{i}" in tensors:
            try:
                ids = tokenize(tokenizer, vector["text"], vector["pair"], vector["max_length"])[0]
            except (ValueError, KeyError, IndexError):  # some mistakes end that way
                return False
            if not np.array_equal(ids, tensors[f"tokens/{i}"]):
                return False
    return True
