"""What a row of each task holds: its columns, and what must be true of them together.

    classify           text, pair (optional)           label: a string; a whole number, true and false become one;
                                                       where several may hold a list of such
    regress similar    text, pair (of similar: needed) label: a number
    tag                tokens                          tags: as many
    answer             question, context               answers: [{"text", "answer_start"}, …], none where there is none
    choose             context, choices: two or more   label: the right one's number, from 0
    relate             text, head, tail: [start, end)  label: a string
    summarize translate  source                        target
    recommend          items: the history, oldest first; the last is what is asked for
    caption            text                            caption: what is written about it

Of a model of pictures or sound a row names a file in the place of text and pair, from the folder that the rows lie in:

    classify regress caption
                       picture: NumPy's file; number: which of its pictures, from 0, where it has several
                       sound: a wave file

Cells of tables are text: numbers as usual, lists as JSON (of words also with spaces between them). answer_start, head
and tail are counted in characters of the text as it stands. An answer has to stand where it says. Where only white
space differs (a text that begins or ends with some, a line break for a space), it becomes what stands there; anything
else is refused with the place where the text does stand, as an answer one character off is a wrong target.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from minibert.checkpoint import strictjson
from minibert.config import nearest, shown

ALWAYS, LABELLED, OPTIONAL = "always", "labelled", "optional"
_SURROGATE = re.compile("[\ud800-\udfff]")
_LIST = re.compile(r'\[\s*["\]]')
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Unfit(ValueError):
    """A value that its column cannot have; `column` is the column's name in the task."""

    column = ""


class Column(NamedTuple):
    """How a value is read, and when it must be there."""

    value: Callable[[Any], Any]
    needed: str = ALWAYS

    def must(self, labelled: bool) -> bool:
        """Whether a row must have it."""
        return self.needed == ALWAYS or (labelled and self.needed == LABELLED)


def row(task: str, record: dict[str, Any], needed: tuple[str, ...]) -> dict[str, Any]:
    """The record with its task's columns read; the others stay. Unfit: one is missing, or has a value it can't have."""
    held = dict(record)
    for name, column in TASKS[task].items():
        value = held.get(name)
        if value is None or (value == "" and name not in needed):  # a cell that is empty
            if name in needed:
                raise _unfit(name, f"there is none; there are: {', '.join(held) or 'none'}{nearest(name, held)}")
            held.pop(name, None)
            continue
        try:
            held[name] = column.value(value)
        except ValueError as error:
            raise _unfit(name, str(error)) from None
    if task in TOGETHER:
        TOGETHER[task](held)
    return held


def _unfit(column: str, message: str) -> Unfit:
    error = Unfit(message)
    error.column = column
    return error


# ---- One value -------------------------------------------------------------------------------------------------------
def text(given: Any) -> str:
    """A text that says something."""
    if not isinstance(given, str):
        raise ValueError(f"{shown(given)}: expected a text")
    if not given.strip():
        raise ValueError(f"{shown(given)}: expected a text that is not empty")
    if _SURROGATE.search(given):
        raise ValueError(f"{shown(given)}: half a character (a lone surrogate), which no file of text can hold")
    return given


def label(given: Any) -> str:
    """A class."""
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, int) and abs(given) < 2**63:
        return str(given)
    if not isinstance(given, str):
        raise ValueError(f"{shown(given)}: expected a class: a string or a whole number")
    return text(given).strip()


def labels(given: Any) -> str | list[str]:
    """A class, or a list of those that hold: JSON."""
    if isinstance(given, str) and _LIST.match(given.strip()):
        given = _json(given)
    return _each("class", given, label) if isinstance(given, list) else label(given)


def number(given: Any) -> float:
    """A finite number."""
    if isinstance(given, str) and _NUMBER.fullmatch(given.strip()):
        given = float(given)
    fits = isinstance(given, int | float) and not isinstance(given, bool) and abs(given) < 1e300
    if not fits:  # NaN, too
        raise ValueError(f"{shown(given)}: expected a number")
    return float(given)


def whole(given: Any) -> int:
    """A whole number from 0."""
    if isinstance(given, str) and given.strip().isdecimal() and len(given) < 20:
        given = int(given)
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given < 2**31:
        raise ValueError(f"{shown(given)}: expected a whole number, 0 or more")
    return given


def words(given: Any) -> list[str]:
    """A list of words: JSON, or text with spaces between them."""
    if isinstance(given, str) and not given.lstrip().startswith("["):
        given = given.split()
    return _each("word", _list(given, 1), lambda one: str(one) if type(one) is int else text(one))


def options(given: Any) -> list[str]:
    """A list of two texts or more."""
    return _each("choice", _list(given, 2), text)


def span(given: Any) -> list[int]:
    """[start, end)."""
    found = _each("end", _list(given, 2), whole)
    if len(found) != 2 or found[0] >= found[1]:
        raise ValueError(f"{shown(given)}: expected [start, end] in characters, the end behind the last")
    return found


def answers(given: Any) -> list[dict[str, Any]]:
    """A list of {"text", "answer_start"}; also {"text": […], "answer_start": […]}, as some collections have it."""
    held = _json(given)
    if isinstance(held, dict) and all(isinstance(held.get(key), list) for key in ("text", "answer_start")):
        if len(held["text"]) != len(held["answer_start"]):
            raise ValueError(f"{len(held['text'])} texts and {len(held['answer_start'])} of answer_start: as many")
        pairs = zip(held["text"], held["answer_start"], strict=True)
        held = [{"text": said, "answer_start": start} for said, start in pairs]
    return _each("answer", _list(held, 0), _answer)


def _answer(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict) or not {"text", "answer_start"} <= given.keys():
        raise ValueError(f'{shown(given)}: expected {{"text": …, "answer_start": …}}')
    return {"text": text(given["text"]), "answer_start": whole(given["answer_start"])}


def _each(what: str, given: list, read: Callable[[Any], Any]) -> list:
    found = []
    for place, one in enumerate(given):
        try:
            found.append(read(one))
        except ValueError as error:
            raise ValueError(f"{what} {place} of {len(given)}: {error}") from None
    return found


def _list(given: Any, least: int) -> list:
    held = _json(given)
    if not isinstance(held, list) or len(held) < least:
        more = f" of at least {least}" if least else ""
        raise ValueError(f"{shown(given)}: expected a list{more}")
    return held


def _json(given: Any) -> Any:
    """What a cell of a table says in JSON; anything but text as it is."""
    if not isinstance(given, str):
        return given
    return strictjson.loads(given.encode("utf-8", "replace"), shown(given))


# ---- Values together -------------------------------------------------------------------------------------------------
def _as_many_tags(row: dict[str, Any]) -> None:
    if "tags" in row and len(row["tags"]) != len(row["tokens"]):
        raise _unfit("tags", f"{len(row['tags'])} tags of {len(row['tokens'])} tokens: expected as many")


def _right_is_a_choice(row: dict[str, Any]) -> None:
    if "label" in row and row["label"] >= len(row["choices"]):
        raise _unfit("label", f"{row['label']}: there are {len(row['choices'])} choices, and the first is 0")


def _spans_fit(row: dict[str, Any]) -> None:
    for name in ("head", "tail"):
        end, most = row[name][1], len(row["text"])
        if end > most:
            raise _unfit(name, f"{row[name]} goes past the text's end, {most}")
        if not row["text"][slice(*row[name])].strip():
            raise _unfit(name, f"{row[name]}: there is only white space")


def _answers_stand(row: dict[str, Any]) -> None:
    for answer in row.get("answers", ()):
        said, start, context = answer["text"], answer["answer_start"], row["context"]
        stands = _stands(said.split(), start, context)
        if stands is None:
            raise _unfit("answers", _elsewhere(said, start, context))
        answer["text"], answer["answer_start"] = context[slice(*stands)], stands[0]


def _stands(words: list[str], start: int, context: str) -> tuple[int, int] | None:
    """[start, end) of these words in the context, the first behind white space at most; None where they aren't."""
    first = end = _behind_space(start, context)
    for place, word in enumerate(words):
        at = _behind_space(end, context)
        if (place and at == end) or not context.startswith(word, at):
            return None
        end = at + len(word)
    return first, end


def _behind_space(at: int, context: str) -> int:
    while at < len(context) and context[at].isspace():
        at += 1
    return at


def _elsewhere(said: str, start: int, context: str) -> str:
    """What is wrong about an answer that does not stand where it says."""
    places = [place for place in (context.rfind(said, 0, start + len(said)), context.find(said, start)) if place >= 0]
    nearby = min(places, key=lambda place: abs(place - start), default=None)
    due = "it stands nowhere in the context" if nearby is None else f"it stands at {nearby}"
    there = context[start : start + len(said)]
    return f"at answer_start {start} the context has {shown(there)}, not {shown(said)}: {due}"


TEXT, LABEL = Column(text), Column(label, LABELLED)
PAIR = Column(text, OPTIONAL)
TASKS: dict[str, dict[str, Column]] = {
    "classify": {"text": TEXT, "pair": PAIR, "label": Column(labels, LABELLED)},
    "regress": {"text": TEXT, "pair": PAIR, "label": Column(number, LABELLED)},
    "similar": {"text": TEXT, "pair": TEXT, "label": Column(number, LABELLED)},
    "tag": {"tokens": Column(words), "tags": Column(words, LABELLED)},
    "answer": {"question": TEXT, "context": TEXT, "answers": Column(answers, LABELLED)},
    "choose": {"context": TEXT, "choices": Column(options), "label": Column(whole, LABELLED)},
    "relate": {"text": TEXT, "head": Column(span), "tail": Column(span), "label": LABEL},
    "summarize": {"source": TEXT, "target": Column(text, LABELLED)},
    "translate": {"source": TEXT, "target": Column(text, LABELLED)},
    "recommend": {"items": Column(words)},
    "caption": {"text": TEXT, "caption": Column(text, LABELLED)},
}
FILES = {"picture": {"picture": TEXT, "number": Column(whole, OPTIONAL)}, "sound": {"sound": TEXT}}  # rows of files
TASKS |= {f"{task} {kind}": {**columns, asked: TASKS[task][asked]} for kind, columns in FILES.items()
          for task, asked in (("classify", "label"), ("regress", "label"), ("caption", "caption"))}  # fmt: skip
TOGETHER = {
    "tag": _as_many_tags, "answer": _answers_stand, "choose": _right_is_a_choice, "relate": _spans_fit,
}  # fmt: skip
