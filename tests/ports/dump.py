"""The torch port's tensors on a golden case, right or with one planted mistake, as a candidate for `minibert check`.

    python tests/ports/dump.py bert/published right.safetensors
    python tests/ports/dump.py bert/published wrong.safetensors --fault sample_variance

The two files in reference/candidates/ were made like this. --faults lists the mistakes there are.
"""

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]

from minibert.checkpoint import safetensors  # noqa: E402 the paths come first
from minibert.golden import case as cases  # noqa: E402
from ports import planted, torch_from_spec  # noqa: E402

SCHEDULE = {"peak": "learning_rate", "start": "first_step", "decay": "weight_decay", "clip": "clip_norm"}


def inputs(case: cases.Case, number: int = 0) -> dict:
    """Batch `number` of the case, dropout masks under "dropout", as the port takes it."""
    batch: dict = {"dropout": {}}
    start = f"inputs/{number}/" if number else "inputs/"
    for key in case.entries:
        name = key.removeprefix(start)
        if key == name or name.split("/")[0].isdigit():
            continue
        place, name = (batch["dropout"], name[8:]) if name.startswith("dropout/") else (batch, name)
        place[name] = case.tensor(key)
    return {name: value for name, value in batch.items() if name != "dropout" or value}


def dump(case: cases.Case, fault: str | None = None, dtype: str = "float32") -> dict:
    """Every tensor of the port on the case."""
    facts = case.facts["optimizer"]
    plan = {name: facts[SCHEDULE.get(name, name)] for name in ("peak", "warmup", "total", "start", "decay", "clip")}
    batches = [inputs(case, n) for n in range(case.facts["batches"])]
    arguments = (case.section("weights"), batches[0], dict(case.facts["config"]))
    options = {"dtype": dtype, "optimizer": plan, "batches": batches}
    if fault:
        return planted.candidate(fault, *arguments, **options)
    return torch_from_spec.run(*arguments, **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("case", nargs="?", help="a case's path, or a shipped case's name")
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--fault")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--dtype", default="float32")
    args = parser.parse_args()
    if args.faults:
        for name, fault in planted.PLANTED.items():
            print(f"{fault.mistake or '-':5} {name}")
        return
    shipped = cases.folder() / args.case
    case = cases.read(shipped if shipped.is_dir() else args.case)
    safetensors.write(args.out, dump(case, args.fault, args.dtype))


if __name__ == "__main__":
    main()
