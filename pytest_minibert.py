"""The options of minibert's pytest plugin; minibert itself is imported only where they are used."""

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Adds the tests, before -k and -m choose among all."""
    if config.getoption("minibert_adapter"):
        from minibert import pytest_plugin

        items += pytest_plugin.tests(session, config)
