"""`minibert mistakes`: see `minibert.mistakes.commands`."""

from minibert.mistakes.commands import parser

__all__ = ["parser"]
