"""The budget of a family, and what the project weighs: `python tests/core/test_size.py` prints it by folder and family.

What is past its budget stands in EXCEPTIONS with the reason, and with a limit of its own. Seconds of a family's tests
are printed at the end of every run of them (`tests/conftest.py`).
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))  # when it is run by itself

from minibert import families  # noqa: E402

MB = 1_000_000
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
EXCEPTIONS: dict[tuple[str, str], tuple[int, str]] = {
    ("family", "bert"): (450, "the family that the others are kin of: all data and names that theirs are made of"),
    ("family", "albert"): (430, "four modes of sharing, groups, and names of modules that are called several times"),
    ("family", "electra"): (680, "two networks over one another, three ways to share, two further ways to train"),
    ("family", "gpt2"): (460, "no kin's configuration, places or names, and a state that goes on from token to token"),
    ("family", "gpt"): (365, "a configuration and places of its own, rows of one text or of several, two heads"),
    ("family", "transformer"): (440, "the first encoder with a decoder: names as torch's, variants of four releases"),
    ("tests", "transformer"): (235, "beside a twin in torch: what its paper states, and the state"),
    ("mistakes", "transformer"): (175, "sinusoids, roots and smoothing, which no other family has"),
    ("cases", "transformer"): (45, "what is generated, beside the cases that all families have"),
    ("family", "t5"): (550, "two versions, a layer of its own in two stacks, an encoder alone, published names"),
    ("family", "bart"): (470, "two stacks with sizes of their own, a state, published names of parts and modules"),
    ("tests", "bart"): (370, "beside a published class: the state, what is written, three published configurations"),
    ("cases", "bart"): (50, "what is generated, beside the cases that all families have"),
    ("mistakes", "bart"): (190, "positions and norms of two stacks, and what a decoder's place is by its cache"),
    ("data-only family", "macbert"): (130, "its table of similar words, and a term with a name of its own"),
    ("data-only family", "bert_wwm"): (105, "words, entities and n-grams, for kin that use them too"),
    ("data-only family", "bert_wwm_ext"): (85, "rows of single sentences, and a published head that it passes over"),
    ("family", "ambert"): (420, "two grains in three structures, rows of both with nested masks, names of both"),
    ("double", "ambert"): (70, "three structures and three terms"),
    ("cases", "ambert"): (50, "two grains' targets, structures, and the double composed"),
    ("mistakes", "ambert"): (115, "two grains and a distance that are in no other family"),
    ("tests", "ambert"): (155, "BERT to the bit, both grains against each other, nested masks, the distance"),
    ("family", "xlm"): (485, "no kin's fields, places or names, two objectives, two rules of first weights"),
    ("double", "xlm"): (65, "the network and the loss, each in a file, with both objectives"),
    ("cases", "xlm"): (55, "two objectives, each in cases of its own, and the double composed"),
    ("mistakes", "xlm"): (115, "languages, restarts, padding and switches that are in no other family"),
    ("tests", "xlm"): (315, "beside a published class: languages, their sampling, rows of three kinds, first weights"),
    ("tests", "albert"): (265, "sharing against copies, groups as published, names of repeated calls, pairs, LAMB"),
    ("tests", "electra"): (600, "two networks that share or not, sampling, REINFORCE, stages, two directories"),
    ("cases", "bert"): (245, "every kind of case, which the others have one or two of"),
    ("tests", "gpt2"): (320, "beside a published class: the state, prefixes to the bit, first weights, old files"),
    ("tests", "gpt"): (200, "beside two published classes: two heads, the state, what is generated"),
    ("mistakes", "gpt"): (105, "a softmax over other rows and a norm that are replaced with their gradients"),
    ("cases", "gpt"): (40, "both heads, beside the cases that all families have"),
    ("tests", "t5"): (465, "beside a published class: buckets, sums over layers, two versions' files, generation"),
    ("cases", "t5"): (45, "what is generated, beside the cases that all families have"),
    ("cases", "gpt2"): (50, "what is generated, beside the cases that all families have"),
    ("cases", "electra"): (55, "cases of each network, of both, and of what an adversarial generator adds"),
    ("tests", "unilm"): (255, "no published class: masks to the bit, rows of four objectives, fine-tuning, writing"),
    ("mistakes", "unilm"): (140, "each rule of four masks has mistakes of its own, which no other family has"),
    ("mistakes", "albert"): (200, "what goes wrong where one tensor has several uses, and modules several calls"),
    ("mistakes", "electra"): (260, "two networks, sampling, replacing, a policy: most of it is in no other family"),
    ("mistakes", "gpt2"): (425, "the first causal decoder: 33 entries, half of them those of every one to come"),
    ("mistakes", "t5"): (500, "scores, buckets, a norm, a gate and a scale that are in no other family"),
    ("mistakes", "spanbert"): (155, "its own head has as many parts as BERT's two together"),
    ("family", "mpnet"): (500, "two streams in one layer of its own, rows and masks for them, three modes of data"),
    ("tests", "mpnet"): (240, "beside a published class: who sees what in either mode, orders, data of each mode"),
    ("mistakes", "mpnet"): (240, "masks of two streams and relative positions that travel, which no other family has"),
    ("double", "mpnet"): (90, "both streams in the release's layout, and their masks, each file within 65 lines"),
    ("page of the spec", "bert"): (140, "the clauses that bind in all encoders that are kin to it"),
    ("double", "albert"): (65, "the encoder with its groups and the loss, each in a file of the loops' 40 lines"),
    ("bytes of golden cases", "bert"): (77 * MB // 10, "dtypes, variants, optimizers that others need not repeat"),
    ("bytes of golden cases", "albert"): (11 * MB // 10, "a case for each mode of sharing"),
    ("bytes of golden cases", "electra"): (12 * MB // 10, "each network alone, both together, adversarial training"),
}  # fmt: skip


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
    return sum(path.stat().st_size if what.startswith("bytes") else lines(path) for path in files)


def lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def kinds(name: str) -> Iterator[str]:
    return (what for what in BUDGETS if what != ("family" if data_only(name) else "data-only family"))


@pytest.mark.parametrize("name", families.names())
def test_a_family_is_within_its_budget(name):
    past = {}
    for what in kinds(name):
        most, _ = EXCEPTIONS.get((what, name), (BUDGETS[what][1], ""))
        if size(what, name) > most:
            past[what] = f"{size(what, name)} of {most}"
    assert not past, f"{name}: past its budget"


@pytest.mark.parametrize(("what", "name"), EXCEPTIONS)
def test_an_exception_is_one(what, name):
    """It says why, and goes when it is no longer needed."""
    most, reason = EXCEPTIONS[what, name]
    there = size(what, name)
    assert there == 0 or BUDGETS[what][1] < there <= most  # 0: there is no such file yet
    assert len(reason.split()) > 4


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
