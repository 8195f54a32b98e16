"""Tags of words: rows and pieces are those of `tagging`."""

from minibert.uses.tagging import constant, measures, pieces, said, settings, target

__all__ = ["constant", "measures", "pieces", "said", "settings", "target"]
