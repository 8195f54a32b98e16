"""What a step of Reformer holds, and how long it takes, over its depth: python tests/benchmarks/reversible.py

For each depth the memory at its peak over one loss and its gradient (tracemalloc, which counts NumPy's arrays, less the
gradient of the parameters, which grows with them) and the seconds of processor time: with the caches of all layers
kept, with each layer's input, and with inputs that are made again of outputs.
"""

import argparse
import time
import tracemalloc

import numpy as np

import minibert
from minibert import buffers, tree
from minibert.families import reformer


def measured(depth: int, length: int, keep: str) -> tuple[float, float]:
    """(MB at the peak beside the gradient, seconds of processor time) of one loss and its gradient."""
    rows = 1 << (length.bit_length() // 2)
    fields = {**reformer.QUICK, "attn_layers": ("local", "lsh") * (depth // 2), "vocab_size": 500, "is_decoder": True,
              "max_position_embeddings": length, "axial_pos_shape": (-(-length // rows), rows),
              "axial_pos_embds_dim": (64, 64)}  # fmt: skip
    model, rng = minibert.create("reformer", **fields), np.random.default_rng(0)
    ids = rng.integers(0, 500, (2, length))
    batch = {"input_ids": ids, "labels": ids}
    batch |= reformer.sample(rng, {}, model.config, batch)
    buffers.release()
    tracemalloc.start()
    begun = time.process_time()
    gradient = model.loss_backward(model.loss(batch, keep=keep)[1])
    seconds, peak = time.process_time() - begun, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return (peak - sum(array.nbytes for array in tree.leaves(gradient))) / 1e6, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 4, 8, 16], help="layers, even numbers")
    parser.add_argument("--length", type=int, default=512, help="tokens a row, two rows")
    args = parser.parse_args()
    print(f"{'layers':>6}" + "".join(f"{keep:>22}" for keep in ("caches", "inputs", "rebuilt")))
    for depth in args.depths:
        found = [measured(depth, args.length, keep) for keep in ("caches", "inputs", "rebuilt")]
        print(f"{depth:>6}" + "".join(f"{peak:>11.1f} MB {seconds:>6.2f} s" for peak, seconds in found), flush=True)


if __name__ == "__main__":
    main()
