"""`minibert summarize`: a text in fewer words, by a model with a source."""

from typing import Any

from minibert.commands import generate
from minibert.options import ending


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    examples = ending('summarize bart-large-cnn "A text."', "summarize bart-large-cnn --beams 4 --json < texts.txt")
    generate.add(commands, "summarize", "the summary of a text", "texts to summarize", examples, sourced=True)
