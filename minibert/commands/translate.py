"""`minibert translate`: a text in another language, by a model with a source."""

from typing import Any

from minibert.commands import generate
from minibert.options import ending


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    examples = ending('translate runs/transformer "Open the file."', "translate runs/transformer --beams 4 < lines.txt")
    generate.add(commands, "translate", "the translation of a text", "texts to translate", examples, sourced=True)
