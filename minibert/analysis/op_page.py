"""A page of an op or a head: its equation, where its gradient comes from, scalar code, the engine's, numbers of each.

Made of what stands in the files: the double's docstrings and code (`reference/NAME.py`), the engine's pair or block.
"""

import ast
import functools
import inspect
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minibert import gradcheck, tree
from minibert.config import require
from minibert.golden import clauses
from minibert.pairs import PAIRS

SEED = 3


@functools.cache
def names() -> list[str]:
    """The ops, then the blocks and heads, that have a backward as scalar loops."""
    blocks = (example.name for example in gradcheck.examples(SEED))
    return [name for name in dict.fromkeys([*PAIRS, *blocks]) if hasattr(_double(name), f"{name}_backward")]


def _double(name: str) -> ModuleType:
    package = gradcheck.doubles()
    require(package is not None, "the reference files are not installed: no pages here")
    return import_module(f"{package.__name__}.{name}")


def page(name: str) -> str:
    """The page of one of `names`, as Markdown."""
    double, engine = _double(name), inspect.unwrap(_example(name).forward)
    forward, backward = getattr(double, name), getattr(double, f"{name}_backward")
    module = import_module(engine.__module__)
    engine_backward = getattr(module, f"{engine.__name__}_backward")
    home = module.__name__.replace(".", "/")
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
        "## In the engine", "", _fenced(f"{_code(engine)}\n\n\n{_code(engine_backward)}"),
        "## In numbers", "", _numbers(name), "",
    ])  # fmt: skip


def _example(name: str) -> gradcheck.Example:
    return next(case for case in gradcheck.examples(SEED) if case.name == name)


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
    case = _example(name)
    package = gradcheck.doubles().__name__
    convert, leaves = (getattr(import_module(f"{package}.lists"), part) for part in ("convert", "leaves"))
    fifty = import_module(f"{package}.scalars").fifty_digits
    y, cache = case.forward(**case.args, **case.constants)
    dy = np.asarray(np.random.default_rng(SEED).standard_normal(np.shape(y)))
    given = {**case.args, **(case.double_constants or case.constants)}
    lists = tree.map(lambda value: value.tolist() if isinstance(value, np.ndarray) else value, given)
    with fifty():
        value = getattr(_double(name), name)(**convert(lists))
        slopes = getattr(_double(name), f"{name}_backward")(*convert([dy.tolist()]), **convert(lists))
    engine = gradcheck.gradients(case.forward, case.backward(dy, cache), case.args)
    arguments = tree.flatten(case.args)
    shapes = ", ".join(f"{key} {np.shape(array)}" for key, array in arguments.items())
    rows = [("the result", value, y), *((f"gradient of {key}", _at(slopes, key), engine[key]) for key in arguments)]
    lines = ["| the largest entry of | at 50 digits | the engine, float64 |", "|---|---|---|"]
    for what, exact, ours in rows:
        at = int(np.abs(ours).argmax())
        lines.append(f"| {what} | {leaves([exact])[at]:.25g} | {np.ravel(ours)[at]:.12g} |")
    return "\n".join([f"Of arguments that are drawn: {shapes}.", "", *lines])


def _at(value: Any, path: str) -> Any:
    """What stands there in nested dicts and lists."""
    for part in path.split("."):
        value = value[int(part) if isinstance(value, list) else part]
    return value
