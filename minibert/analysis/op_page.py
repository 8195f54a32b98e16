"""A page of an op: its equation, where its gradient comes from, scalar code, the engine's, and a number of each.

Made of what stands in the files: the double's docstrings and code (`reference/NAME.py`), the engine's pair.
"""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minibert import gradcheck
from minibert.config import require
from minibert.golden import clauses
from minibert.pairs import PAIRS

SEED = 3


def names() -> list[str]:
    """The ops that have a backward as scalar loops."""
    return [name for name in PAIRS if hasattr(_double(name), f"{name}_backward")]


def _double(name: str) -> ModuleType:
    package = gradcheck.doubles()
    require(package is not None, "the reference files are not installed: no pages here")
    return import_module(f"{package.__name__}.{name}")


def page(name: str) -> str:
    """The page of an op, as Markdown."""
    double, pair = _double(name), PAIRS[name]
    forward, backward = getattr(double, name), getattr(double, f"{name}_backward")
    home = pair.forward.__module__.replace(".", "/")
    stated = [(id, clause) for id, clause in clauses.clauses().items()
              if name in re.findall(r"\w+", clause.section) and clause.page == "spec/operations"]  # fmt: skip
    links = [f"Clauses: {', '.join(id for id, _ in stated)}"] if stated else []
    links += [f"scalar code: reference/{name}.py", f"the engine's: {home}.py"]
    exercises = [found for found in (name, f"{name}_backward") if _exercise(found)]
    own = f" To write it yourself: `minibert learn` ({', '.join(exercises)})." if exercises else ""
    lead = f"{' · '.join(links)}.{own}"
    return "\n".join([
        f"# {name}, forward and backward", "", lead, "",
        "## The equation", "", _fenced(inspect.getdoc(double), "text"),
        "## Where the gradient comes from", "", _fenced(inspect.getdoc(backward), "text"),
        "## In scalar loops", "", _fenced(f"{_code(forward)}\n\n\n{_code(backward)}"),
        "## In the engine", "", _fenced(f"{_code(pair.forward)}\n\n\n{_code(pair.backward)}"),
        "## In numbers", "", _numbers(name), "",
    ])  # fmt: skip


def _exercise(name: str) -> bool:
    return (Path(__file__).parents[1] / "exercises" / f"{name}.py").exists()


def _fenced(text: str, language: str = "python") -> str:
    return f"```{language}\n{text}\n```\n"


def _code(f: Any) -> str:
    """The source of a function without its docstring and what is declared of it."""
    source = inspect.getsource(inspect.unwrap(f))
    whole = ast.parse(source).body[0]
    lines = source.splitlines()
    first = whole.body[0]
    said = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    head, body = lines[whole.lineno - 1 : first.lineno - 1], lines[first.end_lineno if said else first.lineno - 1 :]
    while not body[0].strip():
        del body[0]
    return "\n".join([*head, *body]).rstrip()


def _numbers(name: str) -> str:
    """The largest entry of each gradient of a small call: by scalar loops at 50 digits, and by the engine."""
    case = next(case for case in gradcheck.examples(SEED) if case.name == name)
    package = gradcheck.doubles().__name__
    convert, leaves = (getattr(import_module(f"{package}.lists"), part) for part in ("convert", "leaves"))
    fifty = import_module(f"{package}.numbers").fifty_digits
    y, cache = case.forward(**case.args, **case.constants)
    dy = np.asarray(np.random.default_rng(SEED).standard_normal(np.shape(y)))
    given = {**case.args, **(case.double_constants or case.constants)}
    lists = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in given.items()}
    with fifty():
        value = getattr(_double(name), name)(**convert(lists))
        slopes = getattr(_double(name), f"{name}_backward")(*convert([dy.tolist()]), **convert(lists))
    engine = gradcheck.gradients(case.forward, case.backward(dy, cache), case.args)
    shapes = ", ".join(f"{key} {np.shape(array)}" for key, array in case.args.items())
    rows = [("the result", value, y), *((f"gradient of {key}", slopes[key], engine[key]) for key in case.args)]
    lines = ["| the largest entry of | at 50 digits | the engine, float64 |", "|---|---|---|"]
    for what, exact, ours in rows:
        at = int(np.abs(ours).argmax())
        lines.append(f"| {what} | {leaves([exact])[at]:.25g} | {np.ravel(ours)[at]:.12g} |")
    return "\n".join([f"Of arguments that are drawn: {shapes}.", "", *lines])
