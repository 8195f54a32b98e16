"""What a cache of keys and values saves: python tests/benchmarks/generation.py [SIZE …] [--tokens N] [--repeats N]

GPT-2 with random weights, float32, goes on greedily from a prompt of 16 tokens, in turn: with the state of the tokens
before; without, so that each step reads all of them anew; and transformers' `generate` with its cache, where torch and
transformers are installed. All write the same tokens, or nothing is timed (the peer: as many as rounding allows).
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
from minibert.families import gpt2

SIZES = {"tiny": {"vocab_size": 4000, "n_positions": 512, **gpt2.NARROW}, "small": gpt2.PRESETS["small"]}
PROMPT = 16  # tokens
Run = Callable[[], np.ndarray]


def contestants(fields: dict[str, Any], tokens: int) -> dict[str, Run]:
    """The ids (1, PROMPT + tokens) of each."""
    model = minibert.create("gpt2", **fields)
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, (1, PROMPT))
    settings = generation.Settings(max_length=PROMPT + tokens)

    def anew(new: np.ndarray, state: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """A step whose state is the ids themselves."""
        read = np.concatenate([state["ids"], new], 1)
        return model.module.step(model.params, model.config, read, {})[0], {"ids": read}

    runs = {
        "with the cache": lambda: model.generate(ids, max_new_tokens=tokens, eos_token_id=None),
        "without": lambda: generation.greedy(anew, {"ids": ids[:, :-1]}, ids, settings).ids,
    }
    try:
        import torch
        import transformers
    except ModuleNotFoundError as missing:
        print(f"transformers: {missing.name} is not installed")
        return runs
    torch.set_num_threads(kernels.THREADS)
    known = transformers.GPT2Config()
    given = {name: value for name, value in vars(model.config).items() if hasattr(known, name)}
    twin = transformers.GPT2LMHeadModel(transformers.GPT2Config(**given)).eval()
    tensors = {name: torch.from_numpy(array) for name, array in model.state_dict().items()}
    twin.load_state_dict(tensors, strict=False)
    twin.tie_weights()
    prompt = torch.from_numpy(ids)
    options = {"max_new_tokens": tokens, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
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
    parser.add_argument("sizes", nargs="*", metavar="SIZE", help=f"of {', '.join(SIZES)}; default: all")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args(arguments)
    print(f"{_processor()}; {kernels.THREADS} threads, load {os.getloadavg()[0]:.1f}; OpenBLAS for {measures.core()}")
    failed = False
    for size in args.sizes or SIZES:
        for run in contestants(SIZES[size], 2).values():
            run()  # imports, buffers
        seconds, found = measured(contestants(SIZES[size], args.tokens), args.repeats)
        differ = not np.array_equal(found["with the cache"], found["without"])
        failed |= differ
        print(f"{size}: {args.tokens} tokens after {PROMPT}" + (", which DIFFER without the cache" if differ else ""))
        first = statistics.median(seconds["with the cache"])
        for name, times in seconds.items():
            middle, alike = statistics.median(times), int((found[name] == found["with the cache"]).sum()) - PROMPT
            print(f"  {name:<16}{middle:>9.2f} s{args.tokens / middle:>9.1f} tokens/s{middle / first:>8.2f} times"
                  f"{alike:>6} tokens alike")  # fmt: skip
    return int(failed)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
