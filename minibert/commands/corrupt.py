"""`minibert corrupt`: see `minibert.corruption.commands`."""

from minibert.corruption.commands import parser

__all__ = ["parser"]
