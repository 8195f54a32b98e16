"""Pictures of NumPy's files as rows: each picture of the file one, with its label where the file has such."""

from collections.abc import Iterator, Mapping
from typing import Any

from minibert import pictures
from minibert.config import require, shown


def records(path: Any, names: Mapping[str, str], needed: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(which picture, record) of the file's pictures. needed: not looked at here."""
    others = [called for name, called in names.items() if name != called]
    require(not others, f"{path}: a file of NumPy's has no column {shown((others or [''])[0])}: leave --columns out")
    found = pictures.read(path)
    for number in range(len(found.pixels)):
        label = {} if found.labels is None else {"label": found.labels[number]}
        yield f"picture {number}", {"picture": str(path), "number": number, **label}
