"""`explanation.Walk` as a page that stands alone: no script, no network, each number behind its picture."""

import html
import inspect
import re
from collections.abc import Iterable
from itertools import groupby

import numpy as np

from minibert.analysis import pictures
from minibert.analysis.explanation import Stop, Walk
from minibert.analysis.pictures import text
from minibert.errors import InputError
from minibert.golden import clauses
from minibert.model import Model

Array = np.ndarray
LARGEST = 1_000_000  # bytes of a page
NUMBERS = (30_000, 20_000, 10_000, 5_000, 1)  # that stand on it, as many as fit
COLUMNS = (2, 16)  # of a stop's, from and to
STYLE = """
nav ol { columns: 12rem; padding-left: 1.4rem; max-width: 46rem }
.stop { border-left: 3px solid var(--line); padding-left: .8rem; margin: 1rem 0 }
.formula { font-style: italic }
td.bar { width: 40%; text-align: left } td.bar span { display: block; height: .6rem; background: var(--link) }
"""


def page(found: Walk, model: Model, said: str) -> str:
    """The page of a text; InputError where even its pictures are more than fits on one."""
    for numbers in NUMBERS:
        held = _page(found, model, said, *_shares(found.stops, numbers))
        if len(held.encode()) <= LARGEST:
            return held
    counted = f"{len(found.tokens)} tokens at {len(found.stops)} stops"
    raise InputError(f"{counted} are more than a page of {LARGEST:,} bytes holds: give a shorter text")


def _page(found: Walk, model: Model, said: str, columns: int, heads: int) -> str:
    places = [(place, list(stops)) for place, stops in groupby(found.stops, key=lambda stop: stop.place)]
    stated = [(id, c.section) for id, c in clauses.clauses().items() if c.page == "spec/operations"]
    body = [
        f"<h1>A text through {text(model.family)}</h1><p>{text(said)}</p>", _outcome(found),
        f"<nav><h2>On the way</h2><ol>{''.join(_link(place) for place, _ in places)}{_link('the way back')}</ol></nav>",
        _tokens(found),
        f"<details><summary>the equations of {text(model.family)}</summary>"
        f"<pre>{html.escape(inspect.getdoc(model.module) or '')}</pre></details>",
    ]  # fmt: skip
    for place, stops in places:
        body.append(f'<section id="{_id(place)}"><h2>{text(place)}</h2>')
        body += [_stop(stop, columns, heads, [id for id, section in stated if stop.op in re.findall(r"\w+", section)])
                 for stop in stops]  # fmt: skip
        body.append("</section>")
    return pictures.page(f"{model.family}: {said}", [*body, _back(found)], STYLE)


def _shares(stops: list[Stop], numbers: int) -> tuple[int, int]:
    """How many columns of a stop, and heads of attention, a page of so many numbers has."""
    rows = sum(len(stop.value) * (1 if stop.back is None else 2) for stop in stops)
    maps = [stop.weights for stop in stops if stop.weights is not None]
    squares = sum(one[0].size for one in maps)
    most = max([0, *(len(one) for one in maps)])
    heads = min(most, max(1, numbers // 3 // max(squares, 1)))
    return int(np.clip((numbers - heads * squares) // max(rows, 1), *COLUMNS)), heads


def _outcome(found: Walk) -> str:
    if found.loss is None:
        return "<p>One text does not say what this family is asked for in training: the walk has no way back.</p>"
    asked = "" if found.hidden is None else f" The token {text(found.hidden[1])} in place {found.hidden[0]} is hidden."
    terms = ", ".join(f"{text(name.replace('_', ' '))} {value:.6g}" for name, value in found.terms.items())
    best = ", ".join(f"{text(guess.token)} {guess.probability:.2%}" for guess in found.guesses)
    guesses = f"<p>The likeliest there: {best}.</p>" if best else ""
    return f"<p>The loss is {found.loss:.6g} ({terms}).{asked}</p>{guesses}"


def _tokens(found: Walk) -> str:
    rows = [f'<tr><th scope="row">{i}<td>{text(token)}' for i, token in enumerate(found.tokens)]
    return f"<section><h2>Tokens</h2>{pictures.scrolled(['<tr><th>place<th>token', *rows])}</section>"


def _stop(stop: Stop, columns: int, heads: int, tags: Iterable[str]) -> str:
    shown = min(columns, stop.value.shape[1])
    part = "" if shown == stop.value.shape[1] else f", the first {shown} of {stop.value.shape[1]} columns"
    grids = {f"what it gives{part}": stop.value, f"d loss / d that{part}": stop.back}
    values = [_figure(stop, what, grid[:, :shown], None) for what, grid in grids.items() if grid is not None]
    maps = [] if stop.weights is None else stop.weights[:heads]
    drawn = [_figure(stop, f"weights of head {i}", weights, stop.asked) for i, weights in enumerate(maps)]
    if stop.weights is not None and len(stop.weights) > heads:
        drawn.append(f'<p class="dim">The first {heads} of {len(stop.weights)} heads.</p>')
    norm = "" if stop.back is None else f"; norm of the gradient that comes back: {np.linalg.norm(stop.back):.6g}"
    return "".join([
        f'<div class="stop"><h3>{text(_short(stop.path))}: {text(stop.op)} <span class="dim">{", ".join(tags)}</span>',
        f'</h3><p class="formula">{text(stop.formula)}</p>',
        f'<p class="dim">{" × ".join(map(str, stop.value.shape))}{norm}</p>',
        *(f'<div class="maps">{"".join(figures)}</div>' for figures in (drawn, values) if figures),
        "</div>",
    ])  # fmt: skip


def _figure(stop: Stop, what: str, grid: Array, across: list[str] | None) -> str:
    return pictures.figure(f"{_short(stop.path)}, {what}", what, grid, (stop.names, across), numbers=True)


def _short(path: str) -> str:
    return path.removeprefix("encode.")


def _back(found: Walk) -> str:
    """The norm of the gradient at each stop, from the loss to the tables, and of each parameter's."""
    back = [(_short(stop.path), float(np.linalg.norm(stop.back)))
            for stop in reversed(found.stops) if stop.back is not None]  # fmt: skip
    if not back:
        return ""
    lead = "<p>Norms of d loss / d each stop, from the loss back to the embeddings, then by each parameter.</p>"
    tables = [_norms("stop", back), _norms("parameter", list(found.gradients.items()))]
    return f'<section id="{_id("the way back")}"><h2>The way back</h2>{lead}{"".join(tables)}</section>'


def _norms(what: str, norms: list[tuple[str, float]]) -> str:
    most = max(norm for _, norm in norms) or 1.0
    rows = [f'<tr><th scope="row">{text(name)}<td>{norm:.6g}'
            f'<td class="bar"><span style="width:{norm / most:.1%}"></span>' for name, norm in norms]  # fmt: skip
    return pictures.scrolled([f"<tr><th>{what}<th>norm<th>", *rows])


def _link(place: str) -> str:
    return f'<li><a href="#{_id(place)}">{text(place)}</a></li>'


def _id(place: str) -> str:
    return text(place.replace(" ", "-"))
