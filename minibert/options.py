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

PROGRAMS = ("jieba", "pypinyin")  # installed programs, which may be named in a file's place
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


def ending(*examples: str, one: str = "") -> str:
    """The end of a command's help: examples of it, and its exit codes; one: what 1 means, where it can come."""
    codes = ["0 fine", *([f"1 {one}"] if one else []), "2 unusable input, in one line", "130 Ctrl-C"]
    shown = "".join(f"  minibert {example}\n" for example in examples)
    return f"examples:\n{shown}\nExit codes: {'; '.join(codes)}."


def files(options: type) -> list[str]:
    """The names of the fields that name files."""
    return [field.name for field in dataclasses.fields(options) if field.metadata.get("file")]


# ---- What several families' data functions ask for -------------------------------------------------------------------
@dataclass(frozen=True)
class Text(Options):
    """A vocabulary, learnt from the training text."""

    vocab_size: int = option(4000, "learn a vocabulary of so many pieces", least=1, most=1 << 20)
    lowercase: bool = option(True, "make the text lower-case, and drop its accents")
    vocabulary_smoothing: float = option(0.7, "learn it of each language's share of the text to this power, where "
                                         "languages are given", least=0, most=1)  # fmt: skip


@dataclass(frozen=True)
class Rows(Text):
    """Rows of tokens."""

    seq_length: int = option(64, "make rows of so many tokens", least=8, most=LONGEST)
    duplicates: int = option(8, "pass over the text so many times, with rows and masks of their own",
                             least=1, most=1000)  # fmt: skip
    smoothing: float = option(0.7, "make rows of each language by its share of the text to this power, where languages "
                              "are given", least=0, most=1)  # fmt: skip


@dataclass(frozen=True)
class Corrupted(Rows):
    """A share of a row is corrupted."""

    masking: str = option("static", "mask a row once, or anew each time that it is served",
                          among=("static", "dynamic"))  # fmt: skip
    rate: float = option(0.15, "ask for this share of the tokens")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.rate < 1, f"rate is {self.rate}; it must lie between 0 and 1")


@dataclass(frozen=True)
class Masked(Corrupted):
    """Some tokens of a row are masked, and asked for."""

    max_predictions: int = option(0, "ask for at most so many tokens of a row; 0: the rate's share", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = self.max_predictions <= self.seq_length
        require(fits, f"max_predictions is {self.max_predictions}; it must be from 0 to {self.seq_length:,}")

    @property
    def slots(self) -> int:
        """The targets that a row has room for."""
        return self.max_predictions or max(1, round(self.rate * self.seq_length))


@dataclass(frozen=True)
class Pairs(Masked):
    """Rows of two segments."""

    short_rate: float = option(0.1, "cut this share of the rows to a random length (short_seq_prob)", least=0, most=1)
