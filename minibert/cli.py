"""The command line. Exit codes: 0 fine, 1 a failed check, 2 unusable input (one line on standard error), 130 Ctrl-C."""

import argparse
import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import minibert
from minibert import families, gradcheck, inference, memory, objective, pretraining, streams, tree
from minibert.checkpoint import atomic
from minibert.config import whole
from minibert.corruption import commands as corruption
from minibert.errors import InputError, printable
from minibert.golden import checking
from minibert.golden import commands as golden
from minibert.mistakes import commands as mistakes

PART = 1024  # texts that `embed` reads, sorts by length and answers together


class _Parser(argparse.ArgumentParser):
    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Options may stand before, between and after the texts, which plain argparse allows from Python 3.12 on."""
        if self._subparsers is not None or self._mixing:
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    with streams.prepared(), warnings.catch_warnings():
        if not sys.warnoptions:  # NumPy's would be lines of their own: what is not finite is refused by name
            warnings.simplefilter("ignore")
        code = _code(argv)
        try:
            sys.stdout.flush()  # here, where what goes wrong can still be said
        except streams.Unwritable as error:
            code = _cut_off(error.__cause__)
    return code


def _code(argv: list[str] | None) -> int:
    try:
        args = _parser().parse_args(argv)
        return args.run(args) or 0
    except SystemExit as done:  # --help, --version
        return done.code or 0
    except InputError as error:
        return _complain(error)
    except KeyboardInterrupt as interrupt:
        return _complain(str(interrupt) or "interrupted", 130)
    except streams.Unwritable as error:
        return _cut_off(error.__cause__)
    except MemoryError as error:
        return _complain(f"not enough memory{': ' if str(error) else ''}{error}")
    except RecursionError:
        return _complain("what was given is nested too deeply")
    except OSError as error:
        if error.filename is None:
            streams.discard(sys.stdout)  # what is left for it would fail again at the end
        return _complain(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")


def _cut_off(error: OSError) -> int:
    """The exit code where standard output takes no more: 0 where its reader has seen enough."""
    streams.discard(sys.stdout)
    return 0 if isinstance(error, BrokenPipeError) else _complain(f"standard output: {error.strerror or error}")


def _complain(message: object, code: int = 2) -> int:
    said = "minibert: error: " if code == 2 else "minibert: "
    print(f"{said}{InputError(message)}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="minibert", description="A NumPy-only reference engine of BERT-family models.")
    parser.add_argument("--version", action="version", version=f"minibert {minibert.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)

    command = commands.add_parser("pretrain", help="train a model from raw text")
    command.set_defaults(run=_pretrain)
    command.add_argument("family", help=f"one of: {', '.join(families.names())}")
    command.add_argument("--corpus", nargs="+", metavar="FILE", help="UTF-8 text; default: what every Python ships")
    command.add_argument("--out", metavar="DIR", help="a new directory; default: runs/FAMILY")
    command.add_argument("--resume", action="store_true", help="continue the run in DIR, bit for bit")
    command.add_argument("--preset", help=f"model size and run: {', '.join(pretraining.PRESETS)}")
    command.add_argument("--config", metavar="FILE", help="a config.json with the model's fields")
    command.add_argument("--set", nargs="+", metavar="FIELD=VALUE", help="config fields, such as hidden_size=96")
    command.add_argument("--vocabulary", metavar="PATH", help="use this vocabulary instead of learning one")
    command.add_argument("--threads", type=int, help="cores to use; no bit depends on it")
    command.add_argument("--processes", type=int, default=1, metavar="N", help="making the data; no bit depends on it")
    command.add_argument("--checkpoint-every", type=int, default=100, metavar="STEPS")
    for option in fields(pretraining.Options):
        flag, described = "--" + option.name.replace("_", "-"), f"default {option.default}"
        if option.type is bool:
            command.add_argument(flag, action=argparse.BooleanOptionalAction, help=described)
        else:
            command.add_argument(flag, type=option.type, help=described)

    command = commands.add_parser("embed", help="a vector for each line of text")
    command.set_defaults(run=_embed)
    command.add_argument("directory", metavar="DIR")
    command.add_argument("text", nargs="?", metavar="FILE", help="UTF-8, one text a line; default: standard input")
    command.add_argument("-o", "--output", metavar="OUT", help="an .npy or .jsonl file; default: JSON lines, printed")
    command.add_argument("--pooling", choices=inference.POOLINGS, default="mean")
    command.add_argument("--normalize", action="store_true", help="scale each vector to length 1")
    command.add_argument("--max-length", type=int, metavar="TOKENS")
    command.add_argument("--batch-size", type=int, default=32, metavar="TEXTS")

    command = commands.add_parser("fill-mask", help="the most probable tokens for each [MASK]")
    command.set_defaults(run=_fill_mask)
    command.add_argument("directory", metavar="DIR")
    command.add_argument("text", nargs="*", help="texts with [MASK]; default: lines of standard input")
    command.add_argument("--top", type=int, default=5, metavar="N")
    command.add_argument("--json", action="store_true", help="one JSON object a text")

    command = commands.add_parser("detect", help="how probable it is that each token was replaced (ELECTRA)")
    command.set_defaults(run=_detect)
    command.add_argument("directory", metavar="DIR")
    command.add_argument("text", nargs="*", help="texts; default: lines of standard input")
    command.add_argument("--json", action="store_true", help="one JSON object a text")

    command = commands.add_parser("info", help="what a directory holds")
    command.set_defaults(run=_info)
    command.add_argument("directory", metavar="DIR")
    command.add_argument("--json", action="store_true")
    command.add_argument("--memory", action="store_true", help="what a training step holds, by place")
    command.add_argument("--batch-size", type=int, default=8, metavar="ROWS", help="of that step; default 8")
    command.add_argument("--length", type=int, metavar="TOKENS", help="of its rows; default 128, or what fits")

    command = commands.add_parser("gradcheck", help="check every hand-written gradient")
    command.set_defaults(run=_gradcheck)
    command.add_argument("names", nargs="*", metavar="NAME", help="ops, blocks or families; default: all")
    command.add_argument("--seed", type=int, default=0)

    golden.parsers(commands)
    checking.parser(commands)
    mistakes.parser(commands)
    corruption.parser(commands)
    return parser


# ---- Commands --------------------------------------------------------------------------------------------------------
def _pretrain(args: argparse.Namespace) -> None:
    given = {option.name: getattr(args, option.name) for option in fields(pretraining.Options)}
    names = ("family", "out", "resume", "preset", "config", "vocabulary", "threads", "processes", "checkpoint_every")
    own = {name: getattr(args, name) for name in names}
    pretraining.pretrain(corpus_files=args.corpus or (), fields=_assignments(args.set or []), **own, **given)


def _assignments(texts: list[str]) -> dict[str, Any]:
    """Config fields from FIELD=VALUE: numbers, true, false and null as JSON has them, else text."""
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text!r}: write FIELD=VALUE")
        try:
            values[name] = json.loads(value)
        except (ValueError, RecursionError):
            values[name] = value
    return values


def _texts(given: list[str]) -> Iterator[str]:
    """The texts of the arguments, else the lines of standard input, as they come; InputError where there is none."""
    return _some(iter(given) if given else streams.lines(None), "no text given")


def _some(texts: Iterator[str], otherwise: str) -> Iterator[str]:
    empty = True
    for text in texts:
        empty = False
        yield text
    if empty:
        raise InputError(otherwise)


def _embed(args: argparse.Namespace) -> None:
    output = Path(args.output) if args.output else None
    if output and output.suffix not in (".npy", ".jsonl"):
        raise InputError(f"--output {args.output}: the name must end in .npy or .jsonl")
    whole("--batch-size", args.batch_size, 1)
    model = minibert.load(args.directory)
    texts = _some(streams.lines(args.text), f"{args.text or 'standard input'} holds no text")
    parts = _embedded(model, texts, args)
    if output is None:
        for lines in map(_json_lines, parts):
            print(lines, end="", flush=True)
    elif output.suffix == ".jsonl":
        with atomic.file(output) as file:
            for lines in map(_json_lines, parts):
                file.write(lines.encode("ascii"))
    else:
        with atomic.file(output) as file:  # before anything is computed: it may be refused
            vectors = [vectors for _, vectors in parts]
            shape = (sum(map(len, vectors)), vectors[0].shape[1])
            facts = {"descr": np.lib.format.dtype_to_descr(vectors[0].dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, facts)
            file.writelines(vectors)


def _embedded(
    model: minibert.Model, texts: Iterator[str], args: argparse.Namespace
) -> Iterator[tuple[list[str], np.ndarray]]:
    """(texts, their vectors) for each PART of the batches that are read."""
    done = 0

    def progress(of_part: int, _: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done + of_part:,} texts", end="", file=sys.stderr, flush=True)

    options = (args.pooling, args.normalize, args.max_length, args.batch_size, progress)
    while part := list(islice(texts, max(PART, min(args.batch_size, 64 * PART)))):
        yield part, inference.sentence_vectors(model, part, *options)
        done += len(part)
    if sys.stderr.isatty():
        print(file=sys.stderr)


def _json_lines(part: tuple[list[str], np.ndarray]) -> str:
    rows = zip(*part, strict=True)
    return "".join(json.dumps({"text": text, "vector": vector.tolist()}) + "\n" for text, vector in rows)


def _fill_mask(args: argparse.Namespace) -> None:
    whole("--top", args.top, 1)
    model = minibert.load(args.directory)
    for text in _texts(args.text):
        guesses = inference.masked_words(model, text, args.top)
        if args.json:
            masks = [[guess._asdict() for guess in mask] for mask in guesses]
            print(json.dumps({"text": text, "masks": masks}), flush=True)
            continue
        print(printable(text))
        for i, mask in enumerate(guesses, 1):
            for guess in mask:
                place = f"mask {i}  " if len(guesses) > 1 else ""
                print(f"  {place}{guess.probability:7.2%}  {printable(guess.token)}")
        sys.stdout.flush()


def _detect(args: argparse.Namespace) -> None:
    model = minibert.load(args.directory)
    terminal = sys.stdout.isatty()
    for text in _texts(args.text):
        found = inference.replaced_tokens(model, text)
        if args.json:
            tokens = [token._asdict() for token in found]
            print(json.dumps({"text": text, "tokens": tokens}), flush=True)
            continue
        print(printable(text))
        for token in found:
            bar = f"{'#' * round(20 * token.probability):<20}  " if terminal else ""
            shown = printable(token.token)
            print(f"  {token.probability:7.2%}  {bar}{f'[{shown}]' if token.probability > 0.5 else shown}")
        sys.stdout.flush()


def _info(args: argparse.Namespace) -> None:
    model = minibert.load(args.directory)
    if args.memory:
        return _memory(model, args.batch_size, args.length, args.json)
    flat = model.state_dict()
    heads = objective.needs(model.module, model.config)
    parts: dict[str, int] = {}
    for path, array in tree.items(model.params):
        part = path.split(".")[0]
        parts[part] = parts.get(part, 0) + array.size
    facts = {
        "family": model.family,
        "parameters": sum(array.size for array in flat.values()),
        "tensors": len(flat),
        "dtype": str(next(iter(flat.values())).dtype),
        "parts": parts,
        "heads": [head for head in heads if head in model.params],
        "absent": [head for head in heads if head not in model.params],
        "vocabulary": None if model.tokenizer is None else len(model.tokenizer),
        "config": {field.name: getattr(model.config, field.name) for field in fields(model.config)},
    }
    if args.json:
        print(json.dumps(facts, indent=2))
        return
    print(f"{facts['family']}, {facts['parameters']:,} parameters in {facts['tensors']} tensors of {facts['dtype']}")
    for part, count in parts.items():
        print(f"  {part:<24}{count:>14,}")
    print(f"heads: {', '.join(facts['heads']) or 'none'}; absent: {', '.join(facts['absent']) or 'none'}")
    print(f"vocabulary: {facts['vocabulary'] or 'none'}{' tokens' if facts['vocabulary'] else ''}")
    for name, value in facts["config"].items():
        print(f"  {name:<32}{value}")


def _memory(model: minibert.Model, rows: int, length: int | None, as_json: bool) -> None:
    """The arrays between forward and backward; with them the gradient, the parameters and two moments are held."""
    longest = model.module.longest(model.config)
    length = min(128, longest) if length is None else length
    whole("--batch-size", rows, 1, memory.MOST)
    whole("--length", length, 4, longest)
    held = memory.activations(model, rows, length)
    again = memory.activations(model, rows, length, keep="inputs")
    size = sum(array.nbytes for array in tree.leaves(model.params))
    totals = {"activations": sum(h.bytes for h in held), "recomputing_layers": sum(h.bytes for h in again),
              "parameters": size, "gradient": size, "two_moments": 2 * size}  # fmt: skip
    if as_json:
        print(json.dumps({"rows": rows, "length": length, **totals, "held": [h._asdict() for h in held]}, indent=2))
        return
    print(f"a step over {rows} x {length} tokens, {tree.leaves(model.params)[0].dtype}: what the backward finds")
    for place, arrays, amount in held:
        if amount > totals["activations"] / 1000:
            print(f"  {place:<60}{arrays:>6}{amount / 2**20:>12,.2f} MiB")
    for name, amount in totals.items():
        print(f"{name.replace('_', ' '):<62}{'':>6}{amount / 2**20:>12,.2f} MiB")


def _gradcheck(args: argparse.Namespace) -> int:
    whole("--seed", args.seed)
    for name in args.names:
        if name not in gradcheck.known():
            raise InputError(f"unknown name {name!r}; there are: {', '.join(gradcheck.known())}")
    exact = gradcheck.doubles() is not None
    print("max|error| / max|gradient| of every hand-written backward, float64")
    print(f"  {'pair':<24}{'gradient of':<36}{'differences':>12}{'50 digits':>12}")
    failed = checked = 0
    for name, argument, difference, truth in gradcheck.table(args.names, args.seed):
        wrong = difference > gradcheck.DIFFERENCE_BAR or (truth or 0) > gradcheck.EXACT_BAR
        shown = "" if truth is None else f"{truth:12.1e}"
        print(f"  {name:<24}{argument:<36}{difference:>12.1e}{shown:>12}{'  WRONG' if wrong else ''}", flush=True)
        failed, checked = failed + wrong, checked + 1
    print(f"{checked - failed} of {checked} right (bars: {gradcheck.DIFFERENCE_BAR}, {gradcheck.EXACT_BAR})")
    if not exact:
        print("The scalar-loop doubles are not installed, so there is no 50-digit column.")
    return 1 if failed else 0
