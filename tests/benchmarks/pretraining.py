"""Does every family learn from text? python tests/benchmarks/pretraining.py [FAMILY …] [--each-kind] [--steps N]
[--share X]

Each family is pre-trained as `minibert pretrain FAMILY` does, on the text that Python ships. Printed for each term: the
held-out loss, and by how much it is below that of the best guess that does not look at the context (how frequent each
token, or each class, is in that text). The exit code is 1 where the first term of a family is not below it.
`--each-kind`: one encoder, one decoder, one of both and one that reads a stream; `.ci/run` trains these.
"""

import argparse
import contextlib
import io
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import minibert
from minibert import families, objective, pretraining


def kinds() -> list[str]:
    """The first family of text of each: encoders, decoders, both together, and what reads a stream of segments."""
    found: dict[tuple[bool, bool, bool], str] = {}  # writes alone, reads and writes, reads a stream
    for name in families.names():
        module = families.family(name)
        if "KIN" not in vars(module) and module.TOKENIZER is not None:
            writes = any(given.startswith("decoder") for given in module.inputs(module.Config()))
            causal, stream = bool(getattr(module, "CAUSAL", False)), pretraining.carries(module)
            found.setdefault((causal and not (writes or stream), writes and not stream, stream), name)
    return [*found.values()]


def guesses(model: minibert.Model, report: dict[str, Any]) -> Iterator[tuple[str, float, float | None]]:
    """(term, held-out loss, loss of the guess without context or None) of a finished run."""
    for term, head in objective.heads(model.module, model.config).items():
        if term not in report["terms"]:  # which the rows of this run don't ask
            continue
        guess = {
            "unigram": lambda term: report["unigram"]["entropy"],
            "majority": lambda term: sum(-share * math.log(share) for share in report["classes"][term] if share),
        }.get(head.BASELINE, lambda term: None)(term)
        yield term, report["terms"][term], guess


def trained(
    name: str, steps: int | None, *, seed: int = 0, out: Path | None = None, **given: Any
) -> tuple[list[tuple[str, float, float | None]], float]:
    """(`guesses` of a run of the family's own, its seconds); given: of `pretraining.pretrain`; nothing is kept but in
    `out`, where it is gone on with.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        given |= {"seed": seed, **({} if steps is None else {"steps": steps})}
        run = out or Path(folder, "run")
        pretraining.pretrain(name, out=run, resume=(run / "run.json").exists(), **given)
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        return list(guesses(minibert.load(run), report)), time.perf_counter() - start


def steps_of(name: str, share: float) -> int:
    """This share of a family's own steps."""
    module = families.family(name)
    return max(1, round(share * pretraining.options_of(module, dict(module.DEFAULTS))[0].steps))


def table(names: list[str], steps: int | None, share: float = 1.0) -> Iterator[tuple[str, bool]]:
    """(a line, whether its term is the family's first and has not learnt to look at the context)."""
    yield "| family | term | held-out loss | without context | below by | seconds |\n|---|---|---|---|---|---|", False
    for name in names:
        found, seconds = trained(name, steps if share == 1 else steps_of(name, share))
        for n, (term, loss, guess) in enumerate(found):
            than = ("", "") if guess is None else (f"{guess:.3f}", f"{guess - loss:.3f}")
            cells = (name, term, f"{loss:.3f}", *than, f"{seconds:.0f}" if n == 0 else "")
            yield f"| {' | '.join(cells)} |", n == 0 and guess is not None and loss >= guess


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("family", nargs="*", help="default: every one")
    parser.add_argument("--steps", type=int, help="of each run; default: the family's own")
    parser.add_argument("--share", type=float, default=1.0, metavar="X", help="of the family's own steps; default 1")
    parser.add_argument("--each-kind", action="store_true", help="one family of each kind")
    given = parser.parse_args(arguments)
    names = kinds() if given.each_kind else given.family or families.names()
    wrong = False
    for line, failed in table(names, given.steps, given.share):
        print(line, flush=True)
        wrong |= failed
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
