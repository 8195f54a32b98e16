"""Rows of a standard library's docstrings: classes, parts, what is left out."""

import pytest

from minibert import rows
from minibert.errors import InputError
from minibert.rows import docstrings

SENTENCES = ["This function returns the {} of its first argument", "Nothing but the {} is ever written to the file"]


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Three modules with 9, 12 and 1 docstrings of their own, and one that two of them have."""
    monkeypatch.setattr(docstrings, "MODULES", 2)
    words = ["size", "name", "owner", "colour", "age", "weight", "place", "order", "sum", "mean", "root", "sign"]
    shared = '"""The same sentence stands in two modules."""\n'

    def function(module, word, sentence):
        text = sentence.format(f"{word} of {module}")
        return f'def f():\n    """{word.title()}.\n\n    {text}.\n    """\n'

    for module, count, sentence in (("small", 9, 0), ("large/inner", 12, 1), ("rare", 1, 0)):
        path = tmp_path / f"{module}.py"
        path.parent.mkdir(exist_ok=True)
        name = module.partition("/")[0]
        body = "".join(function(name, word, SENTENCES[sentence]) for word in words[:count])
        path.write_text((shared if count > 1 else "") + body * 2, encoding="utf-8")
    (tmp_path / "broken.py").write_text("def (:\n", encoding="utf-8")
    return tmp_path


def test_a_docstring_and_its_module(library):
    parts = docstrings.rows("classify", library)
    every = parts["train"] + parts["dev"]
    assert sorted(row["label"] for row in every) == ["large"] * 12 + ["small"] * 9
    assert all(row["label"] in row["text"] for row in every)
    assert len({row["text"] for row in every}) == 21
    assert 0 < len(parts["dev"]) < len(parts["train"])
    assert parts == docstrings.rows("classify", library)
    assert all(rows.tasks.row("classify", row, ("text", "label")) == row for row in every)


def test_a_docstring_and_its_first_line(library):
    parts = docstrings.rows("summarize", library)
    every = parts["train"] + parts["dev"]
    assert {"source": "This function returns the size of small of its first argument.", "target": "Size."} in every
    assert len(every) == 22


def test_what_is_not_there(tmp_path):
    for task, said in (("tag", "unknown task"), ("classify", "no Python sources")):
        with pytest.raises(InputError, match=said):
            docstrings.rows(task, tmp_path)
