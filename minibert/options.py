"""Options with their meaning and range: frozen dataclasses from which come checks, the command line and its help.

    @dataclass(frozen=True)
    class Pairs(Options):
        short_rate: float = option(0.1, "share of rows cut to a random length", least=0, most=1)

A family's `Data` puts together what its data functions ask for; a run has its own (`pretraining.Options`).
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from minibert.config import nearest, require, shown

LONGEST = 8192  # tokens of a row; more would not fail but keep a machine busy, or drive it out of memory


def option(
    default: Any, help: str, *, least: float | None = None, most: float | None = None,
    among: tuple[str, ...] = (), file: bool = False,
) -> Any:  # fmt: skip
    """A field. help: a sentence; least, most: of a number; among: what a text may be; file: it names one."""
    about = {"help": help, "least": least, "most": most, "among": among, "file": file}
    return dataclasses.field(default=default, metadata=about)


@dataclass(frozen=True)
class Options:
    """Checks every field by what was said of it; InputError, one line, for what it may not be."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, about = getattr(self, field.name), field.metadata
            if about.get("among"):
                known = about["among"]
                wrong = f"{field.name} is {shown(value)}{nearest(value, known)}; there are: {', '.join(known)}"
                require(value in known, wrong)
            least, most = about.get("least"), about.get("most")
            fits = (least is None or least <= value) and (most is None or value <= most)
            allowed = f"at least {least}" if most is None else f"from {least} to {most:,}"
            require(fits, f"{field.name} is {shown(value)}; it must be {allowed}")


def files(options: type) -> list[str]:
    """The names of the fields that name files."""
    return [field.name for field in dataclasses.fields(options) if field.metadata.get("file")]


# ---- What several families' data functions ask for -------------------------------------------------------------------
@dataclass(frozen=True)
class Text(Options):
    """A vocabulary, learnt from the training text."""

    vocab_size: int = option(4000, "pieces of the vocabulary that is learnt", least=1, most=1 << 20)
    lowercase: bool = option(True, "make the text lower-case, and drop its accents")


@dataclass(frozen=True)
class Rows(Text):
    """Rows of tokens."""

    seq_length: int = option(64, "tokens of a row", least=8, most=LONGEST)
    duplicates: int = option(8, "passes over the text, each with rows and masks of its own", least=1, most=1000)


@dataclass(frozen=True)
class Masked(Rows):
    """Some tokens of a row are masked, and asked for."""

    masking: str = option("static", "static: masked once; dynamic: anew each time that a row is served",
                          among=("static", "dynamic"))  # fmt: skip
    rate: float = option(0.15, "share of the tokens that are asked for")
    max_predictions: int = option(0, "most targets of a row; 0: the rate's share of seq_length", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.rate < 1, f"rate is {self.rate}; it must lie between 0 and 1")
        fits = self.max_predictions <= self.seq_length
        require(fits, f"max_predictions is {self.max_predictions}; it must be from 0 to {self.seq_length:,}")

    @property
    def slots(self) -> int:
        """The targets that a row has room for."""
        return self.max_predictions or max(1, round(self.rate * self.seq_length))


@dataclass(frozen=True)
class Pairs(Masked):
    """Rows of two segments."""

    short_rate: float = option(0.1, "share of rows cut to a random length (short_seq_prob)", least=0, most=1)
