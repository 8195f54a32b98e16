"""The options of minibert's pytest plugin; minibert itself is imported only where they are used."""

import sys
from collections.abc import Callable, Generator
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("minibert", "conformance with minibert's golden cases")
    group.addoption("--minibert-adapter", metavar="MODULE:FUNCTION",
                    help="your implementation, to be checked; also FILE.py:FUNCTION")  # fmt: skip
    described = "a case's folder or name (`minibert golden list`), or a family's for all; repeatable (default: bert)"
    group.addoption("--minibert-case", action="append", metavar="NAME", default=[], help=described)
    described = "the precision of the weights that the adapter gets (default: the case's)"
    group.addoption("--minibert-dtype", choices=("float64", "float32"), help=described)
    group.addoption("--minibert-laws", action="store_true", help="ask the laws that need no goldens as well")
    described = "your training loop, to be asked `minibert.laws.loops`; the function returns (start, batch, facts)"
    group.addoption("--minibert-loop", metavar="MODULE:FUNCTION", help=described)
    described = "write what a failed test drew from minibert.strategies, for `minibert golden make --from-failure`"
    group.addoption("--minibert-failures", metavar="DIR", help=described)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Adds the tests, before -k and -m choose among all."""
    if config.getoption("minibert_adapter") or config.getoption("minibert_loop"):
        from minibert import pytest_plugin

        items += pytest_plugin.tests(session, config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Keeps what a test that fails drew last, where that is asked for."""
    folder, strategies = item.config.getoption("minibert_failures"), sys.modules.get("minibert.strategies")
    if strategies is not None:
        strategies.latest = None
    try:
        return (yield)
    except Exception:
        if folder and (strategies := sys.modules.get("minibert.strategies")) is not None and strategies.latest:
            from minibert.golden import failures

            print(f"minibert: drawn arguments in {failures.written(folder, item.nodeid, *strategies.latest)}")
        raise


@pytest.fixture
def floor() -> Callable:
    """`minibert.golden.floor.floor`: how far rounding alone moves a function."""
    from minibert.golden.floor import floor

    return floor
