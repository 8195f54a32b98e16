"""The budget of a family, and what the project weighs: `python tests/core/test_size.py` prints it by folder and family.

A family past its budget says so in its own tests, `PAST_THE_BUDGET`, with a limit of its own and the reason. Seconds of
a family's tests are printed at the end of every run of them (`tests/conftest.py`).
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))  # when it is run by itself

from minibert import families  # noqa: E402

# what: (files of a family NAME, the most lines, or bytes, that they have together)
BUDGETS = {
    "family": (("minibert/families/{}.py",), 250),
    "data-only family": (("minibert/families/{}.py",), 80),
    "double": (("reference/{}.py", "reference/{}_encode.py", "reference/{}_loss.py"), 60),
    "page of the spec": (("reference/spec/{}.md",), 80),
    "cases": (("minibert/golden/cases/{}.py",), 30),
    "mistakes": (("minibert/mistakes/families/{}.py",), 100),
    "tests": (("tests/families/test_{}.py", "tests/families/test_{}_directories.py"), 120),
    "bytes of golden cases": (("reference/golden/{}/**/*.*",), 900_000),
}
EXCEPTIONS = "PAST_THE_BUDGET"  # {what: (the most, why)}, in tests/families/test_NAME.py


def data_only(name: str) -> bool:
    """Whether all of the network and of the heads of a family are its kin's."""
    module = families.family(name)
    kin = vars(module).get("KIN")
    if kin is None or "encode" in vars(module) or "loss" in vars(module):
        return False
    heads = ({term.head for term in m.terms(m.Config()).values()} for m in (module, families.family(kin)))
    own, theirs = heads
    return own <= theirs


def size(what: str, name: str) -> int:
    """Lines, or bytes, of what a family has of one kind; 0 where there is none."""
    files = [path for pattern in BUDGETS[what][0] for path in ROOT.glob(pattern.format(name))]
    whole = sum(path.stat().st_size if what.startswith("bytes") else lines(path) for path in files)
    declared = declaration(name)
    return whole - (declared.end_lineno - declared.lineno + 2 if declared and what == "tests" else 0)


def declaration(name: str) -> ast.Assign | None:
    """Where a family's tests say what of it is past its budget, which with its blank line is no test."""
    path = ROOT / "tests" / "families" / f"test_{name}.py"
    statements = ast.parse(path.read_text(encoding="utf-8")).body if path.exists() else []
    return next((s for s in statements if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == EXCEPTIONS), None)


def exceptions(name: str) -> dict[str, tuple[int, str]]:
    declared = declaration(name)
    return ast.literal_eval(declared.value) if declared else {}


def lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def kinds(name: str) -> Iterator[str]:
    return (what for what in BUDGETS if what != ("family" if data_only(name) else "data-only family"))


@pytest.mark.parametrize("name", families.names())
def test_a_family_is_within_its_budget(name):
    past, own = {}, exceptions(name)
    for what in kinds(name):
        most, _ = own.get(what, (BUDGETS[what][1], ""))
        if size(what, name) > most:
            past[what] = f"{size(what, name)} of {most}"
    assert not past, f"{name}: past its budget"


@pytest.mark.parametrize("name", families.names())
def test_an_exception_is_one(name):
    """It says why, and goes when it is no longer needed."""
    for what, (most, reason) in exceptions(name).items():
        there = size(what, name)
        assert there == 0 or BUDGETS[what][1] < there <= most, (what, there)  # 0: there is no such file yet
        assert len(reason.split()) > 4, what


def test_the_first_page_is_short():
    assert lines(ROOT / "README.md") <= 150


def test_a_budget_sees_what_is_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    page = tmp_path / "reference" / "spec" / "roberta.md"
    page.parent.mkdir(parents=True)
    page.write_text("a line\n" * 81, encoding="utf-8")
    with pytest.raises(AssertionError, match=r"roberta: past its budget\n.*page of the spec.*81 of 80"):
        test_a_family_is_within_its_budget("roberta")


def by_folder() -> dict[str, tuple[int, int]]:
    """(lines of text, bytes) below each folder that holds code, pages or cases."""
    folders = [path for top in ("minibert", "reference", "tests") for path in (ROOT / top, *(ROOT / top).iterdir())]
    folders = [path for path in folders if path.is_dir() and path.name != "__pycache__"]
    weights = {}
    for folder in (*sorted(folders), ROOT / "examples"):
        files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        text = sum(lines(path) for path in files if path.suffix in (".py", ".md"))
        weights[folder.relative_to(ROOT).as_posix()] = text, sum(path.stat().st_size for path in files)
    return weights


def main() -> None:
    print(f"{'folder':<28}{'lines':>8}{'bytes':>12}")
    for name, (text, weight) in by_folder().items():
        print(f"{name:<28}{text:>8}{weight:>12,}")
    columns = [what for what in BUDGETS if what != "data-only family"]
    print(f"\n{'lines of the family':<20}" + "".join(f"{what.split()[0]:>10}" for what in columns))
    for name in families.names():
        print(f"{name:<20}" + "".join(f"{size(what, name):>10,}" for what in columns))


if __name__ == "__main__":
    main()
