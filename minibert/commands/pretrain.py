"""`minibert pretrain`: see `minibert.pretraining`. The options are the run's and those of the family's data."""

import argparse
import functools
from collections.abc import Iterator
from typing import Any

from minibert import families, pretraining
from minibert.commands import add_options, field_values, flag
from minibert.options import ending


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "train a model from raw text"
    more = "With a family there are the options of its data, too: minibert pretrain bert --help."
    examples = ending(
        "pretrain bert", "pretrain bert --preset tiny --steps 50", "pretrain bert --resume",
        "pretrain gpt2 --corpus text.txt --out runs/mine --seq-length 128",
        "pretrain bert --from runs/bert --corpus other.txt",
    )  # fmt: skip
    command = commands.add_parser("pretrain", help=about, description=f"{about.capitalize()}. {more}", epilog=examples)
    command.set_defaults(run=_pretrain)
    family = command.add_argument("family", metavar="FAMILY", help=f"one of: {', '.join(families.names())}")
    family.completer = families.names
    text = "learn from this UTF-8 text; default: what every Python ships"
    command.add_argument("--corpus", nargs="+", metavar="FILE", help=text)
    several = "learn from text in these languages, such as zh=FILE, or from pairs in two, such as en-zh=FILE"
    command.add_argument("--language", nargs="+", metavar="NAME=FILE", help=several)
    command.add_argument("--out", metavar="DIR", help="write into this new directory; default: runs/FAMILY")
    command.add_argument("--resume", action="store_true", help="continue the run in DIR, bit for bit")
    sizes = f"begin from these options: {', '.join(pretraining.PRESETS)}, or from a size of the family's, such as tiny"
    command.add_argument("--preset", metavar="NAME", help=f"{sizes}; default quick")
    command.add_argument("--config", metavar="FILE", help="take the model's fields from this config.json")
    fields = "change fields of the model's configuration, such as hidden_size=96"
    command.add_argument("--set", nargs="+", metavar="FIELD=VALUE", help=fields)
    learnt = "use the vocabulary of this file or directory; default: learn one"
    command.add_argument("--vocabulary", metavar="PATH", help=learnt)
    going_on = "go on from the model of this directory, of FAMILY or its kin, with its vocabulary; default: begin anew"
    command.add_argument("--from", dest="start", metavar="DIR", help=going_on)
    cores = "use so many cores, on which no bit depends; default: all"
    command.add_argument("--threads", type=int, metavar="N", help=cores)
    several = "make the data in so many processes, on which no bit depends; default 1"
    command.add_argument("--processes", type=int, default=1, metavar="N", help=several)
    every = "write a checkpoint after so many steps; default 100"
    command.add_argument("--checkpoint-every", type=int, default=100, metavar="STEPS", help=every)
    command.complete = functools.partial(_complete, command)


def _complete(command: Any, words: list[str]) -> None:
    """Adds the options of a run and of the data functions of the family that the words name, with its defaults."""
    spelled = next((word for word in _free(command, words) if word.replace("-", "_") in _known()), None)
    module = None if spelled is None else families.family(spelled)
    if not hasattr(module, "Data"):
        module = None
    add_options(command, pretraining.Options, {} if module is None else module.DEFAULTS)
    if module is not None:
        add_options(command.add_argument_group(f"data of {spelled}"), module.Data, module.DEFAULTS)
    others = {name for other in families.names() for name in pretraining.known(families.family(other))}
    for name in sorted(others.difference(pretraining.RUN if module is None else pretraining.known(module))):
        command.add_argument(flag(name), help=argparse.SUPPRESS)  # refused by name
    command.set_defaults(known=sorted(others))


def _known() -> list[str]:
    return [*families.names(), *families.ALIASES]


def _free(command: Any, words: list[str]) -> Iterator[str]:
    """The words that are no option and no option's value."""
    taking = many = False
    for word in words:
        if word.startswith("--"):
            action = command._option_string_actions.get(word)
            run = word[2:].replace("-", "_") in pretraining.RUN  # each has a value
            taking = run or (action is not None and action.nargs != 0)
            many = action is not None and action.nargs == "+"
        elif taking or many:
            taking = False
        else:
            yield word


def _pretrain(args: argparse.Namespace) -> None:
    names = ("family", "out", "resume", "preset", "config", "vocabulary", "threads", "processes", "checkpoint_every",
             "start")  # fmt: skip
    own = {name: getattr(args, name) for name in names}
    chosen = {name: getattr(args, name) for name in args.known}
    given = {"corpus_files": args.corpus or (), "language": args.language or ()}
    pretraining.pretrain(**given, fields=field_values(args.set or []), **own, **chosen)
