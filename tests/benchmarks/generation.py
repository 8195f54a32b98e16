"""What a cache of keys and values saves: python tests/benchmarks/generation.py [MODEL …] [--tokens N] [--rows N]
    [--repeats N]

A model with random weights, float32, goes on greedily from 16 tokens, a prompt or a source, in turn: with the state of
the tokens before; without (GPT-2), so that each step reads all of them anew; and transformers' `generate` with its
cache, where torch and transformers are installed. All write the same tokens, or nothing is timed (the peer: as many as
rounding allows).
Figures of one machine say little about another, the ratio says more.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import measures

import minibert
from minibert import generation, kernels
from minibert.families import bart, gpt2

MODELS = {
    "gpt2-tiny": ("gpt2", {"vocab_size": 4000, "n_positions": 512, **gpt2.NARROW}),
    "gpt2-small": ("gpt2", gpt2.PRESETS["small"]),
    "bart-base": ("bart", bart.PRESETS["base"]),
}
TWINS = {"gpt2": ("GPT2Config", "GPT2LMHeadModel"), "bart": ("BartConfig", "BartForConditionalGeneration")}
PROMPT = 16  # tokens
Run = Callable[[], np.ndarray]


def contestants(family: str, fields: dict[str, Any], tokens: int, rows: int) -> dict[str, Run]:
    """The ids (rows, PROMPT + tokens), or what stands in their place, of each."""
    model = minibert.create(family, **fields)
    ids = np.random.default_rng(0).integers(5, model.config.vocab_size, (rows, PROMPT))
    settings = generation.Settings(max_length=PROMPT + tokens)

    def anew(new: np.ndarray, state: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """A step whose state is the ids themselves."""
        read = np.concatenate([state["ids"], new], 1)
        return model.module.step(model.params, model.config, read, {})[0], {"ids": read}

    free = {"eos_token_id": None, **({"forced_eos_token_id": None} if family == "bart" else {})}
    runs = {"with the cache": lambda: model.generate(ids, max_new_tokens=tokens, **free)}
    if family == "gpt2":
        runs["without"] = lambda: generation.greedy(anew, {"ids": ids[:, :-1]}, ids, settings).ids
    try:
        import torch
        import transformers
    except ModuleNotFoundError as missing:
        print(f"transformers: {missing.name} is not installed")
        return runs
    torch.set_num_threads(kernels.THREADS)
    of_config, of_model = (getattr(transformers, name) for name in TWINS[family])
    known = of_config()
    given = {name: value for name, value in vars(model.config).items() if hasattr(known, name)}
    twin = of_model(of_config(**given)).eval()
    tensors = {name: torch.from_numpy(array) for name, array in model.state_dict().items()}
    twin.load_state_dict(tensors, strict=False)
    twin.tie_weights()
    prompt = torch.from_numpy(ids)
    options = {"max_new_tokens": tokens, "do_sample": False, "eos_token_id": None, "pad_token_id": 0, "num_beams": 1}
    if family == "bart":
        options |= {"forced_bos_token_id": None, "forced_eos_token_id": None}
    mask = torch.ones_like(prompt)
    runs["transformers"] = lambda: twin.generate(prompt, attention_mask=mask, **options).numpy()
    return runs


def measured(runs: dict[str, Run], repeats: int) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """(seconds, ids) of each, all in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    found = {}
    for _ in range(repeats):
        for name, run in runs.items():
            time.sleep(measures.PAUSE)
            began = time.perf_counter()
            found[name] = run()
            seconds[name].append(time.perf_counter() - began)
    return seconds, found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}; default: all")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args(arguments)
    print(f"{_processor()}; {kernels.THREADS} threads, load {os.getloadavg()[0]:.1f}; OpenBLAS for {measures.core()}")
    failed = False
    for name in args.models or MODELS:
        family, fields = MODELS[name]
        for run in contestants(family, fields, 2, args.rows).values():
            run()  # imports, buffers
        seconds, found = measured(contestants(family, fields, args.tokens, args.rows), args.repeats)
        own = found["with the cache"]
        differ = not np.array_equal(own, found.get("without", own))
        failed |= differ
        print(f"{name}: {args.rows} x {args.tokens} tokens" + (", which DIFFER without the cache" if differ else ""))
        first = statistics.median(seconds["with the cache"])
        for way, times in seconds.items():
            middle = statistics.median(times)
            alike = int((found[way] == own)[:, -args.tokens :].sum()) if found[way].shape == own.shape else 0
            print(f"  {way:<16}{middle:>9.2f} s{args.rows * args.tokens / middle:>9.1f} tokens/s"
                  f"{middle / first:>8.2f} times{alike:>6} tokens alike")  # fmt: skip
    return int(failed)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
