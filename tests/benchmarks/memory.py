"""Reading with a memory against a window that is moved by one token: python tests/benchmarks/memory.py DIR TEXT

DIR: a Transformer-XL, as `minibert pretrain transformer_xl` makes it; TEXT: UTF-8. For each attention length W, in
tokens, each as many keys as every query sees (`same_length`, whatever the model was trained with):

- memory: segments of --segment tokens, each with the states of W tokens before it;
- window W: the last W tokens before each token, read anew for each (Dai et al. 2019, section 4.6, as others evaluate);
- window N(W - 1) + 1: all that a token depends on in N layers. It gives what the memory gives, to rounding.

Said are nats a token over the same --count tokens, the time of a token, and how many times the memory's that is.
"""

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

import minibert
from minibert.families import transformer_xl


def with_length(model: Any, length: int) -> minibert.Model:
    """The same parameters, each query seeing so many keys."""
    config = dataclasses.replace(model.config, mem_len=length, same_length=True)
    return minibert.Model(model.family, config, model.params, model.tokenizer)


def likelihoods(model: Any, states: np.ndarray, following: np.ndarray) -> np.ndarray:
    """log p of what follows each state."""
    term = transformer_xl.terms(model.config)["next_token"]
    z = term.head.predict(states, model.params[term.part], table=model.params[term.table], **term.constants)
    z = z - z.max(-1, keepdims=True)
    return (z - np.log(np.exp(z).sum(-1, keepdims=True)))[np.arange(len(z)), following]


def by_memory(model: Any, ids: np.ndarray, first: int, segment: int) -> tuple[float, float]:
    """(nats of each token from `first` on, seconds a token) segment after segment."""
    found, mems, began = [], None, time.perf_counter()
    for at in range(0, len(ids) - 1, segment):
        part = ids[at : min(at + segment, len(ids) - 1)]
        inputs = {"input_ids": part[None], **({} if mems is None else {"mems": mems})}
        out, _ = transformer_xl.encode(model.params, model.config, inputs, keep="last")
        mems = out["mems"]
        found.append(likelihoods(model, out["last_hidden_state"][0], ids[at + 1 : at + 1 + len(part)]))
    took = time.perf_counter() - began
    return -float(np.concatenate(found)[first:].mean()), took / (len(ids) - 1)


def by_window(model: Any, ids: np.ndarray, first: int, width: int) -> tuple[float, float]:
    """The same, each token from its own window of so many tokens."""
    found, began = [], time.perf_counter()
    for t in range(first, len(ids) - 1):
        window = ids[max(0, t + 1 - width) : t + 1]
        out, _ = transformer_xl.encode(model.params, model.config, {"input_ids": window[None]}, keep="last")
        found.append(likelihoods(model, out["last_hidden_state"][0, -1:], ids[t + 1 : t + 2]))
    return -float(np.mean(found)), (time.perf_counter() - began) / len(found)


def compared(model: Any, ids: np.ndarray, length: int, count: int, segment: int) -> dict[str, tuple[float, float]]:
    """{way: (nats, seconds a token)} over the last `count` of the ids."""
    own, first = with_length(model, length), len(ids) - 1 - count
    reach = own.config.n_layer * (length - 1) + 1
    return {
        "memory": by_memory(own, ids, first, segment),
        f"window {length}": by_window(own, ids, first, length),
        f"window {reach}": by_window(own, ids, first, reach),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("text", type=Path)
    parser.add_argument("--lengths", type=int, nargs="*", default=[64, 128, 256, 512])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--segment", type=int, default=64)
    args = parser.parse_args()
    model = minibert.load(args.directory)
    ids = np.array(model.tokenizer.ids(args.text.read_text(encoding="utf-8")[:200_000]))
    for length in args.lengths:
        own = ids[: model.config.n_layer * length + args.count + 1]
        ways = compared(model, own, length, args.count, args.segment)
        alone = ways["memory"][1]
        for way, (nats, seconds) in ways.items():
            print(f"W {length:4}  {way:12}  {nats:.6f} nats a token  {1e3 * seconds:8.3f} ms  {seconds / alone:6.0f}x")


if __name__ == "__main__":
    main()
