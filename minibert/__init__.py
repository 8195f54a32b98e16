"""minibert: a NumPy-only reference engine of BERT-family models, forward and backward written by hand."""

from typing import Any

from minibert.errors import InputError
from minibert.model import Model, create

__version__ = "0.1.0"
__all__ = ["InputError", "Model", "create", "load"]


def load(directory: Any, family: str | None = None, dtype: Any = None) -> Model:
    """The model of a published directory: config.json, weights (safetensors), vocabulary.

    family: from config.json unless given. dtype: the file's, with 16-bit floats widened to float32, unless given.
    """
    from minibert.checkpoint import directory as directories

    return directories.load(directory, family, dtype)
