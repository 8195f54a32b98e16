"""Pictures without a library: grids of numbers as images inside SVG, and the frame of a page that stands alone."""

import base64
import html
import struct
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from minibert.errors import printable

Array = np.ndarray

SHADE, BELOW = (37, 99, 235), (217, 70, 40)  # red, green, blue of what is above 0, and of what is below
STYLE = """
:root { --ink: #1c2330; --dim: #5b6474; --line: #d9dee7; --paper: #fff; --soft: #f5f7fa; --link: #1d4ed8 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --dim: #a3adbd; --line: #384152; --paper: #151a23; --soft: #1d2430; --link: #8fb4ff } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  overflow-wrap: anywhere; font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif }
h1 { font-size: 1.5rem; margin: 0 0 .4rem }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem }
p { margin: .3rem 0; max-width: 46rem }
a { color: var(--link) }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 3px solid var(--link); outline-offset: 2px }
code, pre, .n { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .86em }
.dim, figcaption, caption { color: var(--dim); font-size: .86em; text-align: left }
.maps { display: flex; flex-wrap: wrap; gap: 1rem }
.maps figure { margin: 0; flex: 0 1 17rem; min-width: 0 }
.scroll { overflow-x: auto; max-width: 100% }
table { border-collapse: collapse; margin: .3rem 0 }
td, th { padding: .1rem .4rem; border-bottom: 1px solid var(--line); text-align: right; font-weight: 400 }
th { color: var(--dim); text-align: left; white-space: nowrap }
summary { cursor: pointer; color: var(--link) }
svg { display: block; max-width: 100%; height: auto }
svg text { font: 10px ui-monospace, "DejaVu Sans Mono", monospace; fill: var(--ink) }
svg image { image-rendering: pixelated }
svg rect { fill: none; stroke: var(--line) }
"""


def text(value: object) -> str:
    """Foreign text as it may stand in HTML and SVG."""
    return html.escape(printable(str(value)))


def page(title: str, body: Iterable[str], style: str = "") -> str:
    """A page of HTML that needs nothing else."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{text(title)}</title>'
    lines = [f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{STYLE}{style}</style></head>', "<body>"]
    return "\n".join([*lines, *filter(None, body), "</body></html>", ""])


def image(grid: Array) -> str:
    """A grid (rows, columns) from -1 to 1 as the address of a picture with a pixel a number.

    How opaque a pixel is, is the root of the number's size, so that small ones are seen too; below 0 it has another
    colour.
    """
    opaque = np.sqrt(np.minimum(np.abs(np.nan_to_num(grid)), 1)) * 255
    pixels = np.empty((*grid.shape, 4), np.uint8)
    pixels[..., :3] = np.where((grid < 0)[..., None], BELOW, SHADE)
    pixels[..., 3] = np.rint(opaque)
    rows, columns = grid.shape
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)  # 0: no filter

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 6, 0, 0, 0)  # 8 bits of red, green, blue and opacity
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


CELL, LETTER, MOST = 14, 6.2, 14  # of a grid with names: a cell's size, a letter's width, letters of a name


def named_grid(
    grid: Array, down: Sequence[str], across: Sequence[str], x: float = 0, y: float = 0
) -> tuple[str, float, float]:
    """(SVG of a grid with the names of its rows and columns, width, height), with its corner at x, y."""
    rows, columns = grid.shape
    left, top = (LETTER * max([0, *(min(len(name), MOST) for name in names)]) + 6 for names in (down, across))
    x, y = x + left, y + top
    place = f'x="{x:.1f}" y="{y:.1f}" width="{columns * CELL}" height="{rows * CELL}"'
    parts = [f'<image {place} preserveAspectRatio="none" href="{image(grid)}"/><rect {place}/>']
    for i, name in enumerate(down):
        parts.append(f'<text x="{x - 3:.1f}" y="{y + (i + 0.75) * CELL:.1f}" text-anchor="end">{_cut(name)}</text>')
    for i, name in enumerate(across):
        at = f"translate({x + (i + 0.75) * CELL:.1f} {y - 3:.1f}) rotate(-90)"
        parts.append(f'<text transform="{at}">{_cut(name)}</text>')
    return "".join(parts), left + columns * CELL, top + rows * CELL


def _cut(name: str) -> str:
    return text(name if len(name) <= MOST else name[: MOST - 1] + "…")


Names = tuple[Sequence[str], Sequence[str] | None]  # of rows and columns; None: their places


def figure(label: str, caption: str, grid: Array, names: Names, numbers: bool) -> str:
    """A grid, scaled to its largest number, with a caption below it, and the numbers behind it where it is said so."""
    most = float(np.abs(grid).max()) if grid.size else 0.0
    inner, wide, high = named_grid(grid / most if most else grid, names[0], names[1] or ())
    said = f"<figcaption>{text(caption)}; largest {most:.6g}</figcaption>"
    more = f"<details><summary>numbers</summary>{table(grid, names, label)}</details>" if numbers else ""
    return f"<figure>{svg(inner, wide, high, label)}{said}{more}</figure>"


def bars(title: str, shares: dict[str, float]) -> str:
    """A picture by itself: a bar for each name, as long as its share of 1, with the number behind it."""
    left, long = LETTER * max(map(len, shares)) + 12, 240
    parts = [f'<text class="title" x="4" y="14">{text(title)}</text>']
    for i, (name, share) in enumerate(shares.items()):
        y = 26 + 20 * i
        parts.append(f'<text x="{left - 6:.1f}" y="{y + 11}" text-anchor="end">{text(name)}</text>')
        parts.append(f'<path d="M{left:.1f} {y}h{share * long:.1f}v14h{-share * long:.1f}z" fill="rgb{SHADE}"/>')
        parts.append(f'<text x="{left + share * long + 5:.1f}" y="{y + 11}">{share:.2f}</text>')
    wide = max(left + long + 50, LETTER * len(title) + 12)
    return svg("".join(parts), wide, 32 + 20 * len(shares), title, alone=True)


def captioned(inner: str, wide: float, high: float, title: str, scale: float = 1) -> str:
    """A picture by itself, so many times as large, with its title above it."""
    moved = f'<text class="title" x="4" y="14">{text(title)}</text>'
    moved += f'<g transform="translate(4 24) scale({scale:g})">{inner}</g>'
    size = max(scale * wide + 12, LETTER * len(title) + 12), scale * high + 32
    return svg(moved, *size, title, alone=True)


COLOURS = ("#2563eb", "#d94628", "#15803d", "#9333ea", "#b45309", "#0e7490")  # of what is told apart, over again
PANEL = 170  # of a cloud of points: its width and height


def clouds(title: str, names: Sequence[str], panels: Sequence[tuple[str, Sequence[Array], Array]]) -> str:
    """A picture by itself: of each panel (name, the points (N, 2) of each of these names, their means (K, 2)) points,
    small, and means, large, scaled alike in both directions.
    """
    parts, x = [f'<text class="title" x="4" y="14">{text(title)}</text>'], 8.0
    for n, name in enumerate(names):
        colour = COLOURS[n % len(COLOURS)]
        parts.append(f'<circle cx="{x + 4:.1f}" cy="28" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 12:.1f}" y="32">{_cut(name)}</text>')
        x += 24 + LETTER * min(len(name), MOST)
    for i, (name, points, means) in enumerate(panels):
        left, top = 8 + i * (PANEL + 10), 58
        every = np.concatenate([*points, means])
        low, high = every.min(0), every.max(0)
        scale = (PANEL - 16) / max(1e-30, float((high - low).max()))
        middle = np.array([left + PANEL / 2, top + PANEL / 2])

        def at(place: Array, scale: float = scale, zero: Array = (low + high) / 2, to: Array = middle) -> str:
            across, down = (place - zero) * scale * np.array([1, -1]) + to
            return f'cx="{across:.1f}" cy="{down:.1f}"'

        parts.append(f'<text x="{left}" y="{top - 5}">{text(name)}</text>')
        parts.append(f'<rect x="{left}" y="{top}" width="{PANEL}" height="{PANEL}"/>')
        for n, own in enumerate(points):
            dots = "".join(f'<circle {at(place)} r="1.5"/>' for place in own)
            parts.append(f'<g fill="{COLOURS[n % len(COLOURS)]}" fill-opacity="0.45">{dots}</g>')
        for n, mean in enumerate(means):
            parts.append(f'<circle {at(mean)} r="6" fill="{COLOURS[n % len(COLOURS)]}" stroke="#fff"/>')
    wide = max(8 + len(panels) * (PANEL + 10), LETTER * len(title) + 12, x)
    return svg("".join(parts), wide, 66 + PANEL, title, alone=True)


def table(grid: Array, names: Names, caption: str) -> str:
    """The numbers of a grid, six digits each, with the names of its rows and columns."""
    down, across = names
    heads = "".join(f'<th scope="col">{text(name)}' for name in across or range(grid.shape[1]))
    lines = [f'<tr><th scope="row">{text(name)}' + "".join(f"<td>{number:.6g}" for number in row)
             for name, row in zip(down, grid.tolist(), strict=True)]  # fmt: skip
    return scrolled([f"<caption>{text(caption)}</caption><tr><td>{heads}", *lines])


def scrolled(lines: Iterable[str]) -> str:
    """A table of these lines, which moves sideways where it is too wide."""
    return f'<div class="scroll" tabindex="0"><table class="n">{"".join(lines)}</table></div>'


def svg(inner: str, width: float, height: float, label: str, alone: bool = False) -> str:
    """A picture with its description; alone: a file by itself."""
    space = f' xmlns="http://www.w3.org/2000/svg"><style>{_ALONE}</style>' if alone else ">"
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f'<svg {size} role="img" aria-label="{text(label)}"{space}{inner}</svg>'


_ALONE = """svg { background: #fff } text { font: 10px ui-monospace, "DejaVu Sans Mono", monospace; fill: #1c2330 }
.title { font-weight: bold } image { image-rendering: pixelated } rect { fill: none; stroke: #d9dee7 }"""
