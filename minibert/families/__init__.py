"""One file, one family. A family is found by its file: `family("bert")` is the module `minibert.families.bert`."""

import pkgutil
from importlib import import_module
from types import ModuleType

from minibert.config import nearest
from minibert.errors import InputError


def names() -> list[str]:
    """The families there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def family(name: str) -> ModuleType:
    """The family's module; InputError for an unknown name."""
    if name not in names():
        raise InputError(f"unknown family {name!r}{nearest(name, names())}; there are: {', '.join(names())}")
    return import_module(f"{__name__}.{name}")
