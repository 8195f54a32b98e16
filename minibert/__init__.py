"""minibert: a NumPy-only reference engine of BERT-family models, forward and backward written by hand."""

from importlib import import_module

from minibert.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minibert.model import Model, create, load
    from minibert.sentences import embed

__version__ = "0.1.0"
__all__ = ["InputError", "Model", "create", "embed", "load"]

_HOMES = {"Model": "model", "create": "model", "load": "model", "embed": "sentences"}


def __getattr__(name: str) -> object:
    """What needs NumPy, and the modules: imported when first asked for, so that the command hears Ctrl-C before."""
    try:
        module = import_module(f"minibert.{_HOMES.get(name, name)}")
    except ModuleNotFoundError as error:
        if error.name != f"minibert.{name}":
            raise
        raise AttributeError(f"module 'minibert' has no attribute {name!r}") from None
    found = globals()[name] = getattr(module, name) if name in _HOMES else module
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
