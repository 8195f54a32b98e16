"""Golden cases as tests of an implementation of yours, one test for each case and level.

    pytest --minibert-adapter package.module:function [--minibert-case roberta …] [--minibert-dtype float32]
    pytest --minibert-adapter path/to/file.py:function

The adapter is function(weights, inputs, facts) -> {"forward/NAME": array, "gradients/NAME": …, "steps/K/NAME": …}: it
gets the case's tensors by name (inputs of later batches begin with their number, as in "1/input_ids") and what its
case.json says, and gives as much as it has. A level that nothing was given for is skipped, with what it needs; a
failed one has the mistake in the line of pytest's summary. What keeps an adapter from giving anything fails the first
test that asks, and skips the others. With --minibert-laws the laws that need no goldens are asked as well.

    pytest --minibert-loop path/to/file.py:function

asks a training loop of yours the laws of `minibert.laws.loops`, a test for each: function() -> (start, batch, facts).
The options stand in pytest_minibert.py, which pytest loads; this module is imported when they are used.
"""

import importlib
import importlib.util
import inspect
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from minibert import families, laws
from minibert.checkpoint import safetensors
from minibert.config import require, shown
from minibert.errors import InputError, printable
from minibert.golden import answer, checking, levels, report
from minibert.golden import case as cases
from minibert.golden.compare import compare
from minibert.laws import loops


def tests(session: pytest.Session, config: pytest.Config) -> Iterator[pytest.Item]:
    """The tests that the options ask for; UsageError where they ask for what is not there."""
    if named := config.getoption("minibert_loop"):
        try:
            made = Loop.from_parent(session, name=named, nodeid="minibert::loop")
            made.given, made.failures = _function("--minibert-loop", named), {}
        except InputError as error:
            raise pytest.UsageError(str(error)) from None
        yield from made.collect()
    if config.getoption("minibert_adapter"):
        yield from _of_cases(session, config)


def _of_cases(session: pytest.Session, config: pytest.Config) -> Iterator[pytest.Item]:
    try:
        adapter, failures = _function("--minibert-adapter", config.getoption("minibert_adapter")), {}
        golden = [case for name in config.getoption("minibert_case") or ["bert"] for case in _cases(name)]
        for case in golden:
            kind = case.facts["kind"]
            advice = "not a whole family: give it to `minibert check`"
            require(case.whole, f"case {case.name} is of kind {kind!r}, {advice}")
    except InputError as error:
        raise pytest.UsageError(str(error)) from None
    for case in golden:
        made = Candidate.from_parent(session, name=case.name, nodeid=f"minibert::{case.name}")
        made.case, made.adapter, made.dtype = case, adapter, config.getoption("minibert_dtype")
        made.failures = failures
        yield from made.collect()


def _cases(name: str) -> list[cases.Case]:
    """The case of a folder or of that name; of a family's name every whole one of its cases."""
    if name not in families.names():
        return [cases.read(name)]
    found = [case for path in cases.shipped_of(name) if (case := cases.read(path)).facts["kind"] == "family"]
    kin = families.equations(name)
    require(bool(found), f"{name} has no cases of its own: it is a network of {kin}'s, --minibert-case {kin}")
    return found


def _function(option: str, named: str) -> Callable:
    """What MODULE:FUNCTION or FILE.py:FUNCTION says."""
    module, _, function = named.rpartition(":")
    if not module or not function:
        raise InputError(f"{option} {named!r}: expected package.module:function or file.py:function")
    try:
        held = _of_file(option, Path(module)) if module.endswith(".py") else importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"{option} {named!r}: {error}") from None
    found = getattr(held, function, None)
    if not callable(found):
        raise InputError(f"{option} {named!r}: {module} has no function {function!r}")
    return found


def _of_file(option: str, path: Path) -> ModuleType:
    """The module that a file is; what lies beside it can be imported, as where it is run."""
    require(path.is_file(), f"{option}: {path}: no such file")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Candidate(pytest.Collector):
    """One case and what the adapter gives for it; the adapter is called once, by the first test that wants it."""

    case: cases.Case
    adapter: Callable
    dtype: str | None

    failures: dict[str, str]  # of all cases: what kept the adapter from giving anything, and the test that said so
    told: str | None = None  # the test that printed the whole report
    failed: str | None = None  # the test that says why there is no report

    @property
    def source(self) -> Path:
        return self.case.path / "case.json"

    def collect(self) -> list[pytest.Item]:
        asked = [AtLevel.from_parent(self, name=f"L{level.number} {level.title}")
                 for level in levels.levels(self.case, compare(self.case, {}, "float64")) if level.state != "absent"]
        if self.config.getoption("minibert_laws") and self.case.facts["kind"] == "family":
            asked += [Law.from_parent(self, name=f"law {name}") for name in laws.of(self.case.facts["family"])]
        return asked

    def run(self, weights: Any, inputs: Any, **facts: Any) -> dict[str, np.ndarray]:
        """The adapter on copies, so that it may write to what it gets."""
        copies = ({name: np.array(value) for name, value in given.items()} for given in (weights, inputs))
        found = self.adapter(*copies, {**self.case.facts, **facts})
        require(isinstance(found, Mapping), f"the adapter gives {shown(found)}, not a dict of arrays by name")
        require(bool(found), "the adapter gives nothing: an empty dict")
        return {name: np.asarray(value) for name, value in found.items()}

    def ask(self, test: str, question: Callable[[], Any]) -> Any:
        """The answer to a test's question; what keeps the adapter from giving any fails one test, of all cases'."""
        if self.failed is None:
            try:
                return question()
            except Broken:
                raise
            except (Exception, SystemExit) as error:
                said, name = f"{type(error).__name__}: {error}", f"{self.name} {test}"
                self.failed = self.failures.setdefault(said, name)
                if self.failed == name:
                    raise
        return pytest.skip(f"the adapter gives nothing: see {self.failed}")

    @cached_property
    def weights(self) -> dict[str, np.ndarray]:
        dtype = self.dtype or self.case.facts["dtype"]
        return {name: value.astype(dtype) for name, value in self.case.section("weights").items()}

    @cached_property
    def report(self) -> report.Report:
        found = self.run(self.weights, self.case.section("inputs"))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "candidate.safetensors"
            safetensors.write(file, found)
            return checking.report_of(self.case.path, file, dtype=self.dtype)


class Broken(Exception):
    """What a test found, as text. brief: of it what the line of the summary has room for."""

    def __init__(self, text: str, brief: str | None = None):
        super().__init__(text)
        self.brief = brief or text.partition("\n")[0]


class Told:
    """What pytest shows of a failed test, and what stands in its summary and in JUnit's message."""

    def __init__(self, text: str, brief: str):
        self.text, self.reprcrash = text, SimpleNamespace(message=brief)

    def __str__(self) -> str:
        return self.text

    def toterminal(self, terminal: Any) -> None:
        """As pytest asks for it."""
        terminal.line(self.text)


class Check(pytest.Item):
    """A test whose failure is a text, not a traceback."""

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.parent.source, 0, f"{self.parent.name} {self.name}"

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        error = excinfo.value
        if isinstance(error, Broken):
            return Told(str(error), error.brief)
        return Told(str(error), str(error)) if isinstance(error, InputError) else super().repr_failure(excinfo, style)


class AtLevel(Check):
    """The tensors of one level are those of the case, or differ by no more than rounding."""

    def runtest(self) -> None:
        found = self.parent.ask(self.name, lambda: self.parent.report)
        level = next(level for level in found.levels if self.name == f"L{level.number} {level.title}")
        if level.state in ("missing", "implied"):
            pytest.skip(printable(f"{self.name} needs {level.needs[0]}, which the adapter does not give"))
        if level.state == "differs":
            brief = printable(answer.brief(found))
            counted = f"{level.right} of {level.supplied} tensors of this level are right"
            if self.parent.told:
                raise Broken(f"{counted}; the report is that of {self.parent.told}", brief)
            self.parent.told = self.name
            raise Broken("\n".join([counted, *report.table(found)]), brief)


class Law(Check):
    """A law of `minibert.laws` on the case's own weights and inputs."""

    def runtest(self) -> None:
        made = self.parent
        facts = made.case.facts
        asked = laws.of(facts["family"])[self.name.removeprefix("law ")]
        finding = made.ask(self.name, lambda: asked(
            lambda weights, inputs: made.run(weights, inputs, optimizer=None), made.weights,
            made.case.section("inputs"), facts["config"], facts["family"]))  # fmt: skip
        _judge(finding)


class Loop(pytest.Collector):
    """A training loop; `given` returns (start, batch, facts), and is called once."""

    given: Callable
    failures: dict[str, str]  # what kept it from running, and the law that said so

    @property
    def source(self) -> Path:
        return Path(inspect.getsourcefile(inspect.unwrap(self.given)) or "loop")

    def collect(self) -> list[pytest.Item]:
        return [LoopLaw.from_parent(self, name=name) for name in loops.LAWS]

    @cached_property
    def asked(self) -> loops.Asked:
        found = self.given()
        fits = isinstance(found, tuple) and len(found) == 3
        require(fits, f"--minibert-loop {self.name}: returned {shown(found)}, not (start, batch, facts)")
        return loops.Asked(*found)

    def ask(self, law: str) -> laws.Finding:
        """The finding of a law; what keeps the loop from running fails the first that meets it."""
        try:
            return loops.finding(law, self.asked)
        except (Exception, SystemExit) as error:
            first = self.failures.setdefault(f"{type(error).__name__}: {error}", law)
            if first == law:
                raise
            return pytest.skip(f"the loop does not run: see {first}")


class LoopLaw(Check):
    """A law of `minibert.laws.loops`."""

    def runtest(self) -> None:
        _judge(self.parent.ask(self.name))


def _judge(finding: laws.Finding) -> None:
    if finding.holds is None:
        pytest.skip(printable(finding.text))
    if not finding.holds:
        text = printable(finding.text)
        raise Broken(text, text.rpartition(f"bar {finding.bar:.0e}: ")[2])
