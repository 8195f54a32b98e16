"""`minibert golden`: see `minibert.golden.commands`."""

from minibert.golden.commands import parsers as parser

__all__ = ["parser"]
