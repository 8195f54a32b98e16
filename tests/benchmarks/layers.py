"""Attention against recurrence and convolution: python tests/benchmarks/layers.py [--svg FILE] [--lengths N …]

What a layer over n tokens of width d costs (Vaswani et al. 2017, arXiv 1706.03762, table 1), as formulas and measured:

- multiplications, of the layer's matrix products alone;
- sequential operations: how many products have to wait for one another, as n grows;
- path: how many steps lie between the two tokens that are furthest apart, in layers, or in a recurrence in tokens.

Attention restricted to a neighbourhood reads the tokens of its own block and of the two beside it, r tokens in all. The
layers are the engine's, float32, one thread; forward and backward are timed together, in processor time, the fastest of
several; the memory is the most that NumPy holds at once.
"""

import argparse
import math
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before NumPy is imported

import numpy as np  # noqa: E402

from minibert import convolutional, layers, ops, recurrent  # noqa: E402
from minibert.analysis import pictures  # noqa: E402
from minibert.lengths import multiplications  # noqa: E402

Array = np.ndarray
Tree = dict[str, Any]
WIDTH, HEADS, KERNEL, NEAR = 64, 4, 3, 96  # d, heads, k, r (three blocks of 32)
LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)


class Layer(NamedTuple):
    """forward(x, p) -> (y, c), backward(dy, c); shapes of p; of n tokens of width d: multiplications, sequential
    operations, path; what all these are called; colour: of its line.
    """

    forward: Callable
    backward: Callable
    shapes: Tree
    work: Callable[[int, int], int]
    sequential: Callable[[int], int]
    path: Callable[[int], int]
    said: tuple[str, str, str]
    colour: str


# ---- Attention to a neighbourhood ------------------------------------------------------------------------------------
def restricted(x: Array, p: Tree, *, near: int = NEAR) -> tuple[Array, Tree]:
    """Each token of x (B, T, D) attends to its own block of near/3 tokens and to those beside it; T a multiple."""
    block, c = near // 3, {"near": near}
    heads = []
    for name in ("query", "key", "value"):
        y, own = layers.projected(x, p, name, heads=HEADS)
        heads.append(y.reshape(*y.shape[:2], -1, block, y.shape[-1]))  # (B, H, blocks, block, K)
        c |= own
    q, k, v = (a.swapaxes(1, 2).reshape(-1, HEADS, *a.shape[3:]) for a in (heads[0], *map(_beside, heads[1:])))
    count = heads[0].shape[2]
    there = np.repeat(np.pad(np.ones(count, bool), 1), block)
    there = np.lib.stride_tricks.sliding_window_view(there, near)[::block]  # (blocks, near)
    mask = np.tile(there, (len(x), 1))[:, None, None]
    y, c["attention"] = ops.attention(q, k, v, mask=mask)
    c["shape"] = heads[0].shape
    y = y.reshape(len(x), count, HEADS, block, -1).swapaxes(1, 2).reshape(len(x), HEADS, -1, y.shape[-1])
    y, c["merge"] = ops.merge_heads(y)
    y, c["output"] = ops.linear(y, **p["output"])
    return y, c


def _beside(a: Array) -> Array:
    """Of each block its own, the one before and the one behind, zeros beyond the ends: (B, H, blocks, 3·block, K)."""
    wide = np.pad(a, ((0, 0), (0, 0), (1, 1), (0, 0), (0, 0)))
    made = np.stack([wide[:, :, i : i + a.shape[2]] for i in range(3)], 3)
    return made.reshape(*a.shape[:3], 3 * a.shape[3], a.shape[4])


def _beside_backward(d: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of `_beside`."""
    b, h, count, block, k = shape
    parts, wide = d.reshape(b, h, count, 3, block, k), np.zeros((b, h, count + 2, block, k), d.dtype)
    for i in range(3):
        wide[:, :, i : i + count] += parts[:, :, :, i]
    return wide[:, :, 1:-1]


def restricted_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    b, h, count, block, k = c["shape"]
    g: Tree = {}
    dy, g["output"] = ops.linear_backward(dy, c["output"])
    dy = ops.merge_heads_backward(dy, c["merge"]).reshape(b, h, count, block, k).swapaxes(1, 2)
    slopes = ops.attention_backward(dy.reshape(b * count, h, block, k), c["attention"])
    blocks = [d.reshape(b, count, h, -1, k).swapaxes(1, 2) for d in slopes]
    blocks = [blocks[0], *(_beside_backward(d, c["shape"]) for d in blocks[1:])]
    dx: Any = 0
    for name, d in zip(("query", "key", "value"), blocks, strict=True):
        own, g[name] = layers.projected_backward(d.reshape(b, h, count * block, k), c, name)
        dx = dx + own
    return dx, g


# ---- The four layers -------------------------------------------------------------------------------------------------
def _dense(d: int) -> Tree:
    return {name: {"weight": (d, d), "bias": (d,)} for name in ("query", "key", "value", "output")}


def known(d: int = WIDTH, kernel: int = KERNEL, near: int = NEAR) -> dict[str, Layer]:
    """The layers of width d."""
    reach, block = (kernel - 1) // 2, near // 3
    return {
        "attention": Layer(
            lambda x, p: layers.self_attention(x, p, width=d // HEADS), layers.self_attention_backward, _dense(d),
            lambda n, d: 4 * n * d * d + 2 * n * n * d, lambda n: 1, lambda n: 1,
            ("2 n² d + 4 n d²", "1", "1"), "#2563eb",
        ),
        "restricted attention": Layer(
            lambda x, p: restricted(x, p, near=near), restricted_backward, _dense(d),
            lambda n, d: 4 * n * d * d + 2 * n * near * d, lambda n: 1, lambda n: max(1, math.ceil(n / block) - 1),
            ("2 r n d + 4 n d²", "1", "⌈3 n/r⌉ - 1"), "#0891b2",
        ),
        "recurrence (LSTM)": Layer(
            recurrent.lstm_layer, recurrent.lstm_layer_backward, recurrent.shapes(d, d),
            lambda n, d: 8 * n * d * d, lambda n: n, lambda n: n - 1, ("8 n d²", "n", "n - 1"), "#d94628",
        ),
        "convolution": Layer(
            lambda x, p: convolutional.convolution_layer(x, p, eps=1e-12), convolutional.convolution_layer_backward,
            convolutional.shapes(d, kernel), lambda n, d: kernel * n * d * d, lambda n: 1,
            lambda n: math.ceil((n - 1) / reach), ("k n d²", "1", "⌈2(n - 1)/(k - 1)⌉"), "#7c3aed",
        ),
    }  # fmt: skip


def drawn(shapes: Tree, rng: np.random.Generator, dtype: Any = np.float32) -> Tree:
    if isinstance(shapes, dict):
        return {name: drawn(own, rng, dtype) for name, own in shapes.items()}
    return (rng.standard_normal(shapes) / math.sqrt(shapes[-1] if len(shapes) > 1 else 10)).astype(dtype)


# ---- Measured --------------------------------------------------------------------------------------------------------
class Row(NamedTuple):
    """Of a layer over so many tokens: milliseconds and megabytes of forward and backward together, multiplications."""

    layer: str
    length: int
    milliseconds: float
    megabytes: float
    multiplications: int


def measured(lengths: tuple[int, ...], repeats: int) -> Iterator[Row]:
    for name, layer in known().items():
        for n in lengths:
            rng = np.random.default_rng(n)
            p, x = drawn(layer.shapes, rng), rng.standard_normal((1, n, WIDTH), np.float32)

            def both(layer: Layer = layer, x: Array = x, p: Tree = p) -> None:
                y, c = layer.forward(x, p)
                layer.backward(y, c)

            both()
            took = []
            while len(took) < repeats and (len(took) < 2 or sum(took) < 1):
                began = time.process_time()
                both()
                took.append(time.process_time() - began)
            tracemalloc.start()
            both()
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            work = multiplications(lambda layer=layer, x=x, p=p: layer.forward(x, p))
            yield Row(name, n, min(took) * 1e3, most / 1e6, work)


def formulas() -> Iterator[str]:
    yield "| layer | multiplications | sequential operations | path |"
    yield "|---|---|---|---|"
    for name, layer in known().items():
        yield f"| {name} | {' | '.join(layer.said)} |"


def table(rows: list[Row], lengths: tuple[int, ...]) -> Iterator[str]:
    yield f"| milliseconds, megabytes | {' | '.join(f'n {n:,}' for n in lengths)} |"
    yield "|---" * (len(lengths) + 1) + "|"
    for name in known():
        own = [row for row in rows if row.layer == name]
        yield f"| {name} | {' | '.join(f'{row.milliseconds:.2f}, {row.megabytes:.2f}' for row in own)} |"


# ---- The picture -----------------------------------------------------------------------------------------------------
WIDE, HIGH, LEFT, TOP = 300, 220, 56, 34


def chart(rows: list[Row], field: str, title: str, x: float) -> str:
    """One line a layer over n, both axes in powers of ten or two."""
    values = [getattr(row, field) for row in rows]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    first, last = math.log2(min(row.length for row in rows)), math.log2(max(row.length for row in rows))

    def at(n: float, value: float) -> str:
        across = x + LEFT + (math.log2(n) - first) / max(last - first, 1) * WIDE
        return f"{across:.1f},{TOP + (high - math.log10(value)) / max(high - low, 1) * HIGH:.1f}"

    parts = [f'<text class="title" x="{x + LEFT}" y="{TOP - 14}">{pictures.text(title)}</text>',
             f'<rect x="{x + LEFT}" y="{TOP}" width="{WIDE}" height="{HIGH}"/>']  # fmt: skip
    for power in range(low, high + 1):
        across, down = at(2**first, 10.0**power).split(",")
        place = f'x="{float(across) - 5:.1f}" y="{float(down) + 3:.1f}" text-anchor="end"'
        parts.append(f"<text {place}>{10.0**power:g}</text>")
    for n in sorted({row.length for row in rows}):
        across = at(n, 10.0**low).split(",")[0]
        parts.append(f'<text x="{across}" y="{TOP + HIGH + 14}" text-anchor="middle">{n}</text>')
    for name, layer in known().items():
        points = " ".join(at(row.length, getattr(row, field)) for row in rows if row.layer == name)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{layer.colour}" stroke-width="2"/>')
    return "".join(parts)


def picture(rows: list[Row]) -> str:
    """Time and memory beside each other, and which line is whose."""
    inner = chart(rows, "milliseconds", "milliseconds over n", 0) + chart(rows, "megabytes", "megabytes over n", 380)
    for i, (name, layer) in enumerate(known().items()):
        x, y = LEFT + i * 180, TOP + HIGH + 38
        inner += f'<polyline points="{x},{y - 4} {x + 18},{y - 4}" stroke="{layer.colour}" stroke-width="2"/>'
        inner += f'<text x="{x + 24}" y="{y}">{pictures.text(name)}</text>'
    label = "time and memory of a layer of attention, restricted attention, recurrence and convolution over its length"
    return pictures.svg(inner, 2 * 380, TOP + HIGH + 50, label, alone=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    lengths = tuple(args.lengths)
    print("\n".join(formulas()), end="\n\n")
    rows = list(measured(lengths, args.repeats))
    print("\n".join(table(rows, lengths)))
    if args.svg:
        args.svg.write_text(picture(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
