"""`minibert completion bash|zsh|fish`: what a shell completes, generated from the parsers of all commands.

A parser's arguments complete to their choices, or to what `completer` gives, where it is set; else to files.
"""

import argparse
import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

from minibert.options import ending

NAME = "minibert"


class Place(NamedTuple):
    """Somewhere in a command line. begun: the words before; options: each with its values, None for a flag, empty where
    files are due; values: of what is no option.
    """

    begun: tuple[str, ...]
    options: dict[str, list[str] | None]
    values: list[str]


def parser(commands: Any) -> None:
    """Adds the command to the command line."""
    about = "print what makes a shell complete commands, options and names"
    examples = ending('completion bash > ~/.minibert; echo ". ~/.minibert" >> ~/.bashrc',
                      "completion zsh > ~/.minibert; echo '. ~/.minibert' >> ~/.zshrc",
                      "completion fish > ~/.config/fish/completions/minibert.fish")  # fmt: skip
    command = commands.add_parser("completion", help=about, description=f"{about.capitalize()}.", epilog=examples)
    command.set_defaults(run=lambda args: print(SHELLS[args.shell](list(places())), end=""))
    command.add_argument("shell", metavar="SHELL", choices=SHELLS, help=" or ".join(SHELLS))


def places() -> Iterator[Place]:
    """Every place, the longer before those that they begin with."""
    from minibert import cli

    yield from _places(cli.parser([]), ())


def _places(command: argparse.ArgumentParser, begun: tuple[str, ...]) -> Iterator[Place]:
    values = []
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from _places(inner, (*begun, name))
        if not action.option_strings:
            values += _values(action)
    if hasattr(command, "complete"):  # its options depend on the words
        from minibert import cli

        for value in values:
            again = cli.parser([*begun])._subparsers._group_actions[0].choices[begun[0]]
            again.complete([value])
            yield Place((*begun, value), _options(again), [])
        command.complete([])
    yield Place(begun, _options(command), values)


def _options(command: argparse.ArgumentParser) -> dict[str, list[str] | None]:
    shown = [action for action in command._actions if action.help is not argparse.SUPPRESS]
    return {name: None if action.nargs == 0 else _values(action) for action in shown for name in action.option_strings}


def _values(action: argparse.Action) -> list[str]:
    return [str(value) for value in action.choices or getattr(action, "completer", list)()]


# ---- Shells ----------------------------------------------------------------------------------------------------------
def _cases(places: list[Place]) -> str:
    """Sets `known` to the words that may stand at `word`, for shells like Bourne's."""
    lines = ['case "$line" in']
    for begun, options, values in places:
        pattern = '" ' + '"*" '.join(begun) + ' "*' if begun else "*"
        lines += [f"    {pattern})", '        case "$before" in']
        valued: dict[str, list[str]] = {}
        for option, given in options.items():
            if given is not None:
                valued.setdefault(" ".join(given), []).append(option)
        lines += [f"            {'|'.join(names)}) known={shlex.quote(given)} ;;" for given, names in valued.items()]
        lines += [f"            *) known={shlex.quote(' '.join(values))}",
                  f'                case "$word" in -*) known={shlex.quote(" ".join(options))} ;; esac ;;',
                  "        esac ;;"]  # fmt: skip
    return "\n".join(f"    {line}" for line in [*lines, "esac"])


def _bash(places: list[Place]) -> str:
    return f"""_{NAME}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} known=
    local line=" ${{COMP_WORDS[*]:1:COMP_CWORD-1}} "
{_cases(places)}
    COMPREPLY=($(compgen -W "$known" -- "$word"))
}}
complete -o default -F _{NAME} {NAME}
"""


def _zsh(places: list[Place]) -> str:
    return f"""#compdef {NAME}
_{NAME}() {{
    local word=$words[CURRENT] before=$words[CURRENT-1] known=
    local line=" ${{(j: :)words[2,CURRENT-1]}} "
{_cases(places)}
    if [[ -n "$known" ]]; then compadd -- ${{=known}}; else _files; fi
}}
(( $+functions[compdef] )) || {{ autoload -U compinit && compinit }}
compdef _{NAME} {NAME}
"""


def _fish(places: list[Place]) -> str:
    lines = [f"function __{NAME}_after", "    string match -rq -- \"^\\S+ $argv\" (commandline -cp)", "end"]
    for begun, options, values in places:
        inner = [other.begun for other in places if other.begun[: len(begun)] == begun != other.begun]
        closed = "|".join(sorted({words[len(begun)] for words in inner}))
        after = "".join(f"{word} .*" for word in begun).removesuffix(".*") + (f"(?!.*({closed}) )" if closed else "")
        where = f"complete -c {NAME} -n {shlex.quote(f'__{NAME}_after {shlex.quote(after)}')}"
        for option, given in options.items():
            flag = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            takes = "" if given is None else f" -x -a {shlex.quote(' '.join(given))}" if given else " -r"
            lines.append(f"{where} {flag}{takes}")
        if values:
            lines.append(f"{where} -a {shlex.quote(' '.join(values))}")
    return "\n".join([*lines, ""])


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
