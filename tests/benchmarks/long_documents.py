"""What a window costs and what it sees: python tests/benchmarks/long_documents.py memory|text [options]

    memory   the peak of what NumPy allocates in a loss and its gradient of one row, over its length: Longformer beside
             the same network with full attention, and by which power of the length it grows
    text     which part of Python's library a passage of its documentation is from: Longformer over all of it, and
             RoBERTa over the beginning, as BERT has to be cut; the same passages, steps, rows and sizes, for each seed;
             with --reformer that family, too, which is no kin: chunks of half a window, one before, one behind

`text` learns from one share of the modules and is asked about the others; the parts are those with the most text. Its
defaults, with --reformer, are some 14 CPU minutes for three seeds.
"""

import argparse
import itertools
import json
import statistics
import sys
import sysconfig
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import minibert
from minibert import buffers, corpus, families, optim, tokenizers

NORM, RATE, DECAY = 1.0, 1e-3, 0.01


# ---- Memory ----------------------------------------------------------------------------------------------------------
def peak(family: str, length: int, **fields: Any) -> int:
    """Bytes at the peak of a loss and its gradient, of one row, with no memory kept from before."""
    own = families.family(family).QUICK
    model = minibert.create(family, **{**own, "vocab_size": 500, "max_position_embeddings": length + 2, **fields})
    ids = np.random.default_rng(0).integers(4, 500, (1, length))
    batch = {"input_ids": ids, "input_mask": np.ones_like(ids), "segment_ids": 0 * ids,
             "masked_lm_positions": np.arange(8)[None], "masked_lm_ids": ids[:, :8],
             "masked_lm_weights": np.ones((1, 8))}  # fmt: skip
    if family == "longformer":
        batch["global_attention_mask"] = (np.arange(length) < 1).astype(int)[None]
    buffers.release()
    tracemalloc.start()
    model.loss_backward(model.loss(batch)[1])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def memory(lengths: list[int], window: int, most_full: int) -> dict[str, Any]:
    """Peaks by length, and the power of the length by which the last doubling grows."""
    found: dict[str, Any] = {}
    for family, fields in (("longformer", {"attention_window": window}), ("roberta", {})):
        known = [length for length in lengths if family == "longformer" or length <= most_full]
        peaks = {length: peak(family, length, **fields) for length in known}
        powers = [float(np.log2(peaks[b] / peaks[a]) / np.log2(b / a)) for a, b in itertools.pairwise(known)]
        found[family] = {"bytes": peaks, "powers": powers}
        print(f"{family:<11}" + "".join(f"{length:>7}: {size / 1e6:>6.1f} MB" for length, size in peaks.items()))
        print(f"{'':<11}as the length to the power of {', '.join(f'{power:.2f}' for power in powers)}")
    return found


# ---- Text ------------------------------------------------------------------------------------------------------------
def passages(parts: int, length: int) -> tuple[Any, list[str], list[tuple[list[int], int, bool]]]:
    """(tokenizer, names of the parts, (ids, part, whether it is held out) of each passage of so many tokens)."""
    root, texts = Path(sysconfig.get_path("stdlib")), {}
    for path, found in corpus.docstrings(root):
        inner = path.relative_to(root).parts
        if len(inner) > 1:
            texts.setdefault(inner[0], []).append("\n\n".join(found))
    sizes = Counter({part: sum(map(len, held)) for part, held in texts.items() if len(held) >= 8})
    names = sorted(part for part, _ in sizes.most_common(parts))
    held = {(part, i): i % 4 == 3 for part in names for i in range(len(texts[part]))}
    learnt = [texts[part][i] for (part, i), out in held.items() if not out]
    kind = tokenizers.tokenizer("byte_level")
    tokenizer = kind.train([line for text in learnt for line in text.splitlines()], 1000)
    found = []
    for (part, i), out in held.items():
        ids = tokenizer.ids(texts[part][i])
        room = length - 2
        for at in range(0, len(ids) - room // 2, room):
            found.append(([tokenizer.cls_id, *ids[at : at + room], tokenizer.sep_id], names.index(part), out))
    return tokenizer, names, found


def batch(rows: list[tuple[list[int], int, bool]], length: int, pad: int, family: str) -> dict[str, np.ndarray]:
    """Inputs and labels of passages, cut to so many tokens."""
    cut = [row[0][:length] for row in rows]
    most = max(map(len, cut))
    ids = np.array([[*row, *[pad] * (most - len(row))] for row in cut])
    made = {"input_ids": ids, "attention_mask": np.array([[1] * len(r) + [0] * (most - len(r)) for r in cut])}
    if family == "longformer":
        made["global_attention_mask"] = np.broadcast_to(np.arange(most) < 1, ids.shape).astype(int)
    return {**made, "labels": np.array([row[1] for row in rows])}


def trained(family: str, length: int, data: tuple, steps: int, size: int, seed: int, **fields: Any) -> dict[str, float]:
    """{accuracy on what was held out, CPU seconds} of a model that begins at random."""
    tokenizer, names, rows = data
    learnt, held = [row for row in rows if not row[2]], [row for row in rows if row[2]]
    own = {"vocab_size": len(tokenizer.tokens), "max_position_embeddings": length + 2, **fields}
    own = {**families.family(family).QUICK, **own}
    model = minibert.create(family, seed, tasks={"classify": {"classes": len(names)}}, **own)
    rng, state, begun = np.random.default_rng(seed), optim.adamw_state(model.params), time.process_time()
    decay = optim.decay_rates(model.names(), DECAY, ())
    for step in range(steps):
        chosen = [learnt[i] for i in rng.choice(len(learnt), size, replace=False)]
        grads = model.loss_backward(model.loss(batch(chosen, length, tokenizer.pad_id, family))[1])
        scale, _ = optim.clipping(grads, NORM)
        rate = RATE * min(1, (step + 1) / (0.1 * steps)) * (1 - step / steps)
        optim.adamw(model.params, grads, state, lr=rate, decay=decay, scale=scale)
    right = 0
    for at in range(0, len(held), size):
        asked = batch(held[at : at + size], length, tokenizer.pad_id, family)
        right += int((model.predict(asked)["logits"].argmax(-1) == asked["labels"]).sum())
    return {"accuracy": right / len(held), "seconds": time.process_time() - begun}


def text(
    parts: int, length: int, cut: int, window: int, steps: int, size: int, seeds: int, full: bool, reformer: bool
) -> dict[str, Any]:
    """Held-out accuracies of each arm and seed."""
    data = passages(parts, length)
    held = Counter(part for _, part, out in data[2] if out)
    majority = max(held.values()) / sum(held.values())
    print(f"{', '.join(data[1])}: {sum(not row[2] for row in data[2])} passages of up to {length} tokens, "
          f"{sum(held.values())} held out, majority {majority:.1%}; {steps} updates of {size}")  # fmt: skip
    arms = {f"longformer, {length} tokens, window {window}": ("longformer", length, {"attention_window": window}),
            f"roberta, cut to {cut} tokens": ("roberta", cut, {})}  # fmt: skip
    arms |= {f"roberta, {length} tokens": ("roberta", length, {})} if full else {}
    if reformer:
        chunks = {f"{kind}_attn_chunk_length": window // 2 for kind in ("local", "lsh")}
        chunks |= {f"{kind}_num_chunks_after": 1 for kind in ("local", "lsh")}
        own = {**chunks, "axial_pos_embds": False, "hidden_size": 64, "attention_head_size": 16,
               "feed_forward_size": 256, "initializer_range": 0.1}  # fmt: skip
        arms[f"reformer, {length} tokens, chunks of {window // 2}"] = "reformer", length, own
    found: dict[str, Any] = {"majority": majority}
    for label, (family, most, fields) in arms.items():
        runs = [trained(family, most, data, steps, size, seed, **fields) for seed in range(seeds)]
        every = [run["accuracy"] for run in runs]
        spread = statistics.stdev(every) if seeds > 1 else 0.0
        print(f"{label:<38}{statistics.mean(every):>7.1%} ± {spread:.1%}   {', '.join(f'{a:.1%}' for a in every)}   "
              f"{sum(run['seconds'] for run in runs):.0f} CPU s")  # fmt: skip
        found[label] = runs
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["memory", "text"])
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048, 4096])
    parser.add_argument("--most-full", type=int, default=2048, help="the longest row of full attention")
    parser.add_argument("--window", type=int, help="both sides together; default 32, of memory 64")
    parser.add_argument("--parts", type=int, default=6)
    parser.add_argument("--length", type=int, default=256, help="tokens of a passage")
    parser.add_argument("--cut", type=int, default=32, help="tokens of a passage that is cut")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="full attention over the whole passage, too")
    parser.add_argument("--reformer", action="store_true", help="attention by hashing over the whole passage, too")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    window = given.window or (64 if given.what == "memory" else 32)
    if given.what == "memory":
        found = memory(given.lengths, window, given.most_full)
    else:
        sizes = given.parts, given.length, given.cut, window, given.steps, given.batch_size, given.seeds
        found = text(*sizes, given.full, given.reformer)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
