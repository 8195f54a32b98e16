"""`minibert check`: see `minibert.golden.checking`."""

from minibert.golden.checking import parser

__all__ = ["parser"]
