"""What the command line says of itself, in a terminal of 80 columns, and what it takes a slip for."""

import argparse
import re

import pytest

from minibert import cli, commands, families, pretraining
from minibert.golden.candidate import shipped
from minibert.golden.commands import verify
from minibert.mistakes import page
from minibert.mistakes.catalogue import CATALOGUE


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()):
    """(words, parser) of each command that does something."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield words, parser
    for action in inner:
        for name, command in action.choices.items():
            yield from leaves(command, (*words, name))


COMMANDS = {" ".join(words): parser for words, parser in leaves(cli.parser([]))}


@pytest.fixture(autouse=True)
def eighty(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_and_ends_with_examples_and_exit_codes(command, capsys):
    assert cli.main([*command.split(), "--help"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    usage, _, end = printed.partition("\nexamples:\n")
    assert usage.startswith(f"usage: minibert {command} ")
    examples = re.findall(r"^  minibert (.*)$", end, re.MULTILINE)
    assert examples
    for example in examples:
        assert example.startswith(command), example
    codes = " ".join(end.partition("\n\n")[2].split())
    differs = "1 (a|no)[^;]*; " if command in ("check", "gradcheck", "golden verify", "learn", "mistakes") else ""
    assert re.fullmatch(rf"Exit codes: 0 fine; {differs}2 unusable input, in one line; 130 Ctrl-C\.", codes)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_are_commands_that_there_are(command):
    """Their options are those of the parser."""
    for line in re.findall(r"^  minibert (.*)$", COMMANDS[command].epilog, re.MULTILINE):
        known = cli.parser(line.split())
        options = {option for _, parser in leaves(known) for option in parser._option_string_actions}
        runs = {name for family in families.names() for name in pretraining.known(families.family(family))}
        given = {word for word in line.split() if word.startswith("--")}
        assert given <= options | {"--" + name.replace("_", "-") for name in runs}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_argument_is_said(command):
    silent = [action.dest for action in COMMANDS[command]._actions if not action.help]
    assert silent == []


@pytest.mark.parametrize("family", [name for name in families.names() if hasattr(families.family(name), "Data")])
def test_every_option_of_a_run_says_its_default_and_its_choices(family, capsys):
    assert cli.main(["pretrain", family, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    module = families.family(family)
    for kind in (pretraining.Options, module.Data):
        for field in kind.__dataclass_fields__.values():
            option = "--" + field.name.replace("_", "-")
            begun = f"{option}, --no-{option[2:]}" if field.type is bool else f"{option} [A-Z]+"
            said = re.search(rf" {begun} (.*?; default (\S+))", text.partition("options:")[2])
            assert said is not None, option
            assert field.metadata["help"] in said[1], option
            assert len(said[1].split()) > 5, option
            for choice in field.metadata["among"]:
                assert choice in said[1], option
            default = module.DEFAULTS.get(field.name, field.default)
            shown = f"{default:g}" if isinstance(default, float) else str(default) or "none"
            assert said[2] == {"True": "yes", "False": "no"}.get(shown, shown), option


def test_none_is_what_the_help_says_that_it_is():
    """An option whose default is none can be given as none."""
    parser = argparse.ArgumentParser()
    commands.add_options(parser, pretraining.Options, {})
    told = parser.parse_args(["--lengths", "none", "--averaging", "none"])
    assert (told.lengths, told.averaging) == ("", "none")


SLIPS = {
    "pretran": "pretrain", "golden lst": "list", "pretrain brt": "bert", "pretrain bert --stpes 3": "--steps",
    "pretrain bert --optimizer bert_adm": "bert_adam", "pretrain bert --preset tinny": "tiny",
    "golden verify bert/publishd": "bert/published", "check bert/publishd x": "bert/published",
    "check bert/published wrong-torch": "wrong-torch-port", "check bert/published x --dtype flaot32": "float32",
    "golden make bert/publishd -o x": "bert/published", "golden make gelu_tnh --kind op -o x": "gelu_tanh",
    "mistakes gtp2-1": "gpt2-01", "mistakes A04x": "A04", "gradcheck layer_nrom": "layer_norm",
    "corrupt entty x": "entity", "generate x --early-stopping nver": "never", "info x --memry": "--memory",
    "docs PORTNG": "PORTING", "spec OP-ATT-22": "OP-ATT-2", "completion bsh": "bash",
}  # fmt: skip


@pytest.mark.parametrize("line", SLIPS)
def test_a_slip_is_told_what_was_meant(line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(line.split()) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"; did you mean '{SLIPS[line]}'?" in said


def test_what_developers_need_is_not_shown_and_no_abbreviation_reaches_it(capsys, monkeypatch):
    assert cli.main(["mistakes", "--help"]) == 0
    assert "--write" not in capsys.readouterr().out
    monkeypatch.setattr("minibert.mistakes.commands.mistakes", lambda id, write: pytest.fail(f"--write {write}"))
    for option in ("--w", "--writ", "--writ=bert"):
        assert cli.main(["mistakes", option]) == 2
        said = capsys.readouterr().err
        assert "unrecognized arguments" in said
        assert "--write" not in said.removeprefix(option)
    assert cli.main(["embed", "no-such-directory", "--max", "3"]) == 2  # others may be abbreviated
    assert "no-such-directory is not a directory" in capsys.readouterr().err


def test_a_mistake_goes_by_its_number_too(capsys):
    assert [cli.main(["mistakes", id]) for id in ("T1", "t01", "T01")] == [0, 0, 0]
    printed = capsys.readouterr().out
    assert printed == 3 * printed[: len(printed) // 3]


def test_verify_ends_with_a_summary(capsys, monkeypatch):
    assert verify(["ops/gelu", "ops/relu"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 cases fine"
    monkeypatch.setattr("minibert.golden.make.verify", lambda case, weights: ["x: error"] * ("relu" in case.name))
    assert verify(["ops/gelu", "ops/relu", "ops/tanh"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 of 3 cases fine; different: ops/relu"


def test_a_shipped_candidate_goes_by_its_name(capsys, tmp_path, monkeypatch):
    """From anywhere, in lines of a terminal; the wrong one: test_progress.py."""
    monkeypatch.chdir(tmp_path)
    assert set(shipped()) == {"right-torch-port", "wrong-torch-port"}
    assert cli.main(["check", "bert/published", "right-torch-port", "--every"]) == 0
    table = capsys.readouterr().out.partition("\nx floor:")[0]
    assert max(map(len, table.splitlines())) < 80
    assert "\n  bert.encoder.layer.0.attention.output.LayerNorm.weight\n   " in table  # too long: its numbers below


def test_every_mistake_fits():
    for entry in CATALOGUE.values():
        assert max(map(len, "\n".join(page.lines(entry)).splitlines())) < 80, entry.id


@pytest.mark.parametrize("command", ["mistakes", "mistakes A04", "gradcheck gelu cross_entropy"])
def test_lines_of_a_list_fit(command, capsys):
    assert cli.main(command.split()) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) < 80
