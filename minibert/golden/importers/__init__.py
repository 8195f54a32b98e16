"""What others' tools dump, read as a candidate: one file a tool, found by its name.

    recognises(root)      whether a folder is such a dump
    tensors(root)         (name as golden cases have it, Stored) of what it holds; InputError, one line, where it cannot
                          be used
"""

import pkgutil
from importlib import import_module
from pathlib import Path
from types import ModuleType


def of(root: Path) -> ModuleType | None:
    """The importer of a folder; None where it is nobody's dump."""
    tools = (import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
    return next((tool for tool in tools if tool.recognises(root)), None)


def called(path: str, call: int) -> str:
    """A module's output under its golden name: the n-th call after the first is "path@n"."""
    return f"forward/{path}@{call}" if call else f"forward/{path}"
