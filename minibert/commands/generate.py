"""`minibert generate`: a text goes on, token by token."""

import argparse
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import minibert
from minibert import commands, generation, inference, streams
from minibert.config import nearest, require, shown, whole
from minibert.errors import InputError, printable
from minibert.options import ending

# option: (its setting, the option without which it says nothing)
SETTINGS = {
    "max_new_tokens": ("max_new_tokens", None), "min_new_tokens": ("min_new_tokens", None),
    "beams": ("num_beams", None), "sample": ("do_sample", None), "temperature": ("temperature", "sample"),
    "top_k": ("top_k", "sample"), "top_p": ("top_p", "sample"), "length_penalty": ("length_penalty", "beams"),
    "early_stopping": ("early_stopping", "beams"), "no_repeat_ngram": ("no_repeat_ngram_size", None),
    "repetition_penalty": ("repetition_penalty", None),
}  # fmt: skip
OPTIONS = {setting: f"--{name.replace('_', '-')}" for name, (setting, _) in SETTINGS.items()}
TOGETHER = 8  # texts
EARLY = {"no": False, "yes": True, "never": "never"}


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    examples = ending(
        'generate runs/gpt2 "The function returns"', 'generate runs/gpt2 "The function returns" --sample --top-k 40',
        "generate runs/gpt2 --beams 4 --json < prompts.txt", 'generate runs/bert "the value of"',
        """generate runs/grover --field title '{"text": "An article."}'""",
    )  # fmt: skip
    command = add(commands, "generate", "what comes after a text", "texts to go on from", examples, sourced=False)
    given = "given each text as a JSON object with text, title, domain, publish_date, authors, summary, as far as known"
    command.add_argument("--field", metavar="NAME", help=f"of grover: write this field of an article, {given}")


def add(commands: Any, name: str, about: str, given: str, examples: str, sourced: bool) -> argparse.ArgumentParser:
    """Adds a command that writes. about: what, given: the texts that it takes, sourced: only models that make one text
    of another may.
    """
    more = "Settings that are not given are those of generation_config.json in DIR."
    command = commands.add_parser(name, help=about, description=f"Writes {about}. {more}", epilog=examples)
    command.set_defaults(run=_generate, sourced=sourced, field=None)
    command.add_argument("directory", metavar="DIR", help="a published directory, or one that a run has made")
    given = f"{given}; default: lines of standard input"
    command.add_argument("text", nargs="*", metavar="TEXT", help=given)
    command.add_argument("--max-new-tokens", type=int, metavar="N", help="at most so many; default 20")
    command.add_argument("--min-new-tokens", type=int, metavar="N", help="no end before so many")
    command.add_argument("--json", action="store_true", help="one JSON object a text: prompt, text, ids, score")
    together = f"read and answered together; default {TOGETHER}, of a pipe or the keyboard 1"
    command.add_argument("--batch-size", type=int, metavar="TEXTS", help=together)
    over = "do without this setting of generation_config.json; may be given several times"
    command.add_argument("--pass-over", action="append", default=[], metavar="NAME", help=over)
    ways = command.add_argument_group("which tokens", "Without these the most probable token is taken each time.")
    flag = argparse.BooleanOptionalAction
    ways.add_argument("--sample", action=flag, help="draw tokens by their probability")
    ways.add_argument("--temperature", type=float, metavar="X", help="below 1 likely tokens become likelier")
    ways.add_argument("--top-k", type=int, metavar="N", help="draw from the N most probable; 0: from all")
    ways.add_argument("--top-p", type=float, metavar="P", help="draw from the fewest that make up P")
    ways.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn; default 0")
    ways.add_argument("--beams", type=int, metavar="N", help="keep the N best texts at each step, print the best")
    ways.add_argument("--length-penalty", type=float, metavar="X", help="score / length^X; above 0 longer is better")
    early = "when beams end. yes: once N texts have; no, the default: once no other would be better if it ended now; "
    ways.add_argument("--early-stopping", choices=EARLY, help=f"{early}never: once no other can become better")
    ways.add_argument("--no-repeat-ngram", type=int, metavar="N", help="no N tokens in a row twice")
    ways.add_argument("--repetition-penalty", type=float, metavar="X", help="above 1: less of what was there")
    return command


def _generate(args: argparse.Namespace) -> None:
    size = TOGETHER if args.text or streams.stored() else 1
    size = size if args.batch_size is None else whole("--batch-size", args.batch_size, 1)
    whole("--seed", args.seed)
    with commands.opened(args.directory) as model:
        other = f"{args.directory} holds {model.family}, which goes on from a text and makes no other of it"
        require(not args.sourced or not _goes_on(model), f"{other}: use generate")
        settings = _settings(args, generation.stated(model.generation, model.config))
        try:
            (_answered if args.field is None else _asked)(model, args, size, settings)
        except InputError as error:
            raise InputError(_options(str(error))) from None


def _options(line: str) -> str:
    """The line with the options that whoever reads it can give in the place of settings; a file's stay."""
    if line.startswith("generation_config.json"):
        return line
    return re.sub(r"\w+", lambda found: OPTIONS.get(found[0], found[0]), line)


def _answered(model: minibert.Model, args: argparse.Namespace, size: int, settings: dict[str, Any]) -> None:
    texts = streams.texts(args.text)
    if args.json:
        for found in inference.continued(model, texts, size, **settings):
            print(json.dumps(found._asdict(), allow_nan=False), flush=True)
    elif sys.stdout.isatty() or len(args.text) == 1:
        door = _lines if sys.stdout.isatty() else printable
        for number, text in enumerate(texts):
            _streamed(model, text, door, {**settings, "first": number})
    else:
        for found in inference.continued(model, texts, size, **settings):
            print(printable((found.prompt if _goes_on(model) else "") + found.text), flush=True)


def _asked(model: minibert.Model, args: argparse.Namespace, _: int, settings: dict[str, Any]) -> None:
    """One field of each article, one after the other."""
    known = getattr(model.module, "ASKED", ())
    other = f"; there are: {', '.join(known)}" if known else f": {model.family} writes no fields; grover does"
    require(args.field in known, f"--field {shown(args.field)}{other}")
    for number, line in enumerate(streams.texts(args.text), 1):
        text = model.module.asked(model, line, f"article {number}", args.field, **settings)
        said = json.dumps({"given": json.loads(line), args.field: text}) if args.json else printable(text)
        print(said, flush=True)


def _settings(args: argparse.Namespace, stated: dict[str, Any]) -> dict[str, Any]:
    """Those given; InputError for one that would say nothing."""
    given = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    if "early_stopping" in given:
        given["early_stopping"] = EARLY[given["early_stopping"]]
    settings = {SETTINGS[name][0]: value for name, value in given.items()}
    known = {*stated, *generation.NAMES, *generation.NEUTRAL}
    for name in args.pass_over:
        require(name in known, f"--pass-over {shown(name)}: {args.directory} says no such setting"
                f"{nearest(name, known)}")  # fmt: skip
    said = {**stated, **dict.fromkeys(args.pass_over), **settings}
    heard = {"sample": said.get("do_sample"), "beams": said.get("num_beams") not in (None, 1), None: True}
    for name in given:
        if not heard[SETTINGS[name][1]]:
            option = name.replace("_", "-")
            raise InputError(f"--{option} says nothing without --{SETTINGS[name][1]}")
    return {**dict.fromkeys(args.pass_over), **settings, "seed": args.seed}


def _streamed(model: minibert.Model, text: str, door: Callable[[str], str], settings: dict[str, Any]) -> None:
    """One text on standard output, token by token as they come; with Ctrl-C those that came."""
    begun = False

    def show(more: str) -> None:
        nonlocal begun
        print("" if begun or not _goes_on(model) else door(text), door(more), sep="", end="", flush=True)
        begun = True

    try:
        for _ in inference.continued(model, [text], show=show, **settings):
            pass
    finally:
        if begun:
            print(flush=True)


def _goes_on(model: minibert.Model) -> bool:
    """Whether what is written goes on from the text; else it is one of its own, for a source."""
    return generation.WRITTEN not in model.module.inputs(model.config)


def _lines(text: str) -> str:
    """Foreign text for a terminal, on as many lines as it has."""
    return "\n".join(map(printable, text.split("\n")))
