"""The exception for input that minibert cannot use, and the one way in which foreign text is shown."""

import unicodedata

LONGEST = 480  # characters of an error; with what the command line puts in front of it, the line has at most 500
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, formats that turn or hide text, lone surrogates, line breaks
_JOINERS = "\u200c\u200d"  # formats that Persian, Hindi and emoji are written with


class InputError(ValueError):
    """Unusable input: one line, of at most LONGEST characters, that says what is wrong, where, and what to do about it.

    The names of files and tensors in it come from anywhere: they are shown as `printable` shows them.
    """

    def __init__(self, message: object = ""):
        brief = shortened(str(message), 10 * LONGEST)  # before each character is looked at
        super().__init__(shortened(printable(brief), LONGEST))


class WriteError(InputError):
    """Output that cannot be written: a full disk, no right. What was asked for may be right."""


def printable(text: str) -> str:
    """Foreign text as one line that does nothing to a terminal: what cannot be seen stands as its escape.

    What is printable already stays as it is, so that text may pass twice.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() or _harmless(c) else repr(c)[1:-1] for c in text)


def _harmless(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in _UNSEEN


def shortened(text: str, most: int) -> str:
    """The text, of what exceeds `most` characters the beginning and the last fifth: errors end with what to do."""
    end = most // 5
    return text if len(text) <= most else f"{text[: most - end - 3]} … {text[-end:]}"
