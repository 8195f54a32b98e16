"""Classes of texts: rows and pieces are those of `classification`."""

from minibert.uses.classification import constant, measures, pieces, said, settings, target

__all__ = ["constant", "measures", "pieces", "said", "settings", "target"]
