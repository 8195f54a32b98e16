"""Ids of cases and tensors never change and are never used again: what `reference/golden/FOLDER/ids.json` holds.

    {"cases": {"published": SHA-256 of its tensors' keys, sorted, one a line}, "retired": {"probe": why}}

A new case is entered here when it is shipped: the failing test says how. A case's keys stay for good; other tensors are
another case. One that goes leaves its id and the reason.
"""

import hashlib
import json

import pytest

from minibert import cli
from minibert.golden import case as files

LISTED = {
    path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(files.folder().glob("*/ids.json"))
}
SHIPPED = {path.relative_to(files.folder()).as_posix(): path for path in files.shipped()}


def digest(keys):
    return hashlib.sha256("".join(f"{key}\n" for key in sorted(keys)).encode()).hexdigest()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_case_holds_the_tensors_it_was_shipped_with(name):
    folder, _, case = name.partition("/")
    keys, held = digest(files.read(SHIPPED[name]).entries), LISTED.get(folder, {"cases": {}})["cases"]
    entered = f'{{"cases": {{"{case}": "{keys}"}}, "retired": {{}}}}'
    file = f"reference/golden/{folder}/ids.json"
    where = f"of {file}" if folder in LISTED else f"in a new {file}: {entered}"
    assert case in held, f'a new case: enter "{case}": "{keys}" among the cases {where}'
    assert keys == held[case], "its tensors' names changed: give the case another name, and retire this one"


def test_no_case_is_gone_and_no_id_comes_back():
    for folder, ids in LISTED.items():
        assert ids.keys() == {"cases", "retired"}, folder
        assert not ids["cases"].keys() & ids["retired"].keys(), folder
        assert all(ids["retired"].values()), f"{folder}: a retired case says why"
        for case in ids["cases"]:
            assert f"{folder}/{case}" in SHIPPED, f"{folder}/{case} is gone: retire it by its id, with the reason"
        for case in ids["retired"]:
            assert f"{folder}/{case}" not in SHIPPED, f"the id {folder}/{case} was used before"


def test_a_retired_case_says_why(capsys):
    assert cli.main(["golden", "verify", "bert_wwm/published"]) == 2
    line = capsys.readouterr().err
    assert line.endswith("bert_wwm/published is retired: data rules over BERT's network: see bert/published\n")
