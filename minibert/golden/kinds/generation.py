"""What a family writes on: prompts in; logits token by token, and ids by every way of choosing, out.

text.json says how each run chooses, by the names of `model.generate`: {"runs": {"beams": {"num_beams": 3, …}, …}}; of
an encoder that fills masks, too, which ids are its mask and its end: {"fills": {"mask": 3, "end": 2}}.
inputs hold the prompts, padded on the left, or for a decoder with a source the sources, padded at the end (input_ids,
attention_mask), what is read token by token behind them (forced; behind a source it begins with the start id), and the
numbers that sampling takes, one for each token and row (uniforms). forward holds

    logits            (B, n, V) of what follows each of the forced tokens, which are read one by one behind the prompts
    RUN, RUN.scores   (B, T + n) the prompts, or the start id, with what was written, filled behind the end, and what it
                      scores (`generation.Written`). A candidate's rows may be shorter: they are filled alike
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from minibert import families, generation, tree
from minibert.checkpoint.names import to_published
from minibert.checkpoint.numpy_files import Stored
from minibert.config import to_fields
from minibert.filling import Filling
from minibert.golden import cases, noise
from minibert.golden.draws import Draws
from minibert.golden.kinds import Made
from minibert.golden.kinds.family import probe_weights, single
from minibert.golden.recipe import CaseRecipe
from minibert.golden.subject import Tensors, entered

LEVELS, WHOLE = None, False
NEW = 8  # tokens written, or read one by one
Going = tuple[Callable, Callable]  # start and step, as a family has them


def made(recipe: CaseRecipe) -> Made:
    """The family's probe weights and drawn prompts, each shorter than the one before."""
    config, draws = cases.config(recipe.family, recipe.config), Draws(recipe.seed, "prompts")
    module, (rows, length) = writer(recipe.family, recipe.fills), (recipe.dims["B"], recipe.dims["T"])
    params = tree.map(single, probe_weights(recipe.family, config, recipe.seed, recipe.std))
    params = tree.map(lambda a: a.astype(recipe.dtype), params)
    shorter, along = np.arange(rows)[:, None], np.arange(length)
    sourced = generation.WRITTEN in module.inputs(config)
    mask = along[::-1] >= shorter if sourced else along >= shorter
    given = {
        "inputs/input_ids": draws.integers(0, config.vocab_size, (rows, length)),
        "inputs/attention_mask": mask.astype(np.int64),
        "inputs/forced": draws.integers(0, config.vocab_size, (rows, NEW)),
        "inputs/uniforms": draws.random((NEW, rows)),
    }
    if sourced:
        given["inputs/forced"][:, 0] = config.decoder_start_token_id
    flat = to_published(params, families.family(recipe.family).names(config))
    facts = {"family": recipe.family, "config": to_fields(config), "weights": {"file": "weights.safetensors"}}
    text = {"runs": {name: {"max_new_tokens": NEW, **settings} for name, settings in recipe.runs.items()}}
    text |= {"fills": dict(recipe.fills)} if recipe.fills else {}
    return Made(
        facts,
        {**{f"weights/{name}": array for name, array in flat.items()}, **given},
        partial(computed, module, params, config, given, text["runs"]),
        ("logits", *text["runs"]),
        text,
    )


def writer(family: str, fills: Mapping[str, int]) -> Any:
    """What goes on from token to token: the family's file, or with these ids `filling.Filling` of it."""
    module = families.family(family)
    return Filling(module, fills["mask"], (), {"eos_token_id": fills["end"]}) if fills else module


def evaluate(
    case: Any, weights: Any = None, going: Going | None = None, write: Callable = generation.written
) -> noise.Evaluation:
    """Of a case that was read; going: in the place of the family's own start and step; write: of `written`."""
    given = {key: case.tensor(key) for key in case.entries if key.startswith("inputs/")}
    text = case.text()
    module, runs = writer(case.facts["family"], text.get("fills", {})), text["runs"]
    return partial(computed, module, case.params(weights), case.config(), given, runs, going=going, write=write)


def widened(case: Any, key: str, held: Stored) -> Stored:
    """A candidate's tensor; rows of ids that end before the case's, filled as the case's are."""
    due, fill = case.entries[key].shape, _fill(case.config())
    short = len(held.shape) == 2 and key.partition("/")[2] in case.text()["runs"] and held.shape[1] < due[1]
    if not short:
        return held
    more = due[1] - held.shape[1]
    return held._replace(shape=(held.shape[0], due[1]),
                         load=lambda: np.pad(held.load(), ((0, 0), (0, more)), constant_values=fill))  # fmt: skip


def _fill(config: Any) -> int:
    """What stands behind the end of a row (`generation.Settings.fill`)."""
    return next((i for i in (config.pad_token_id, getattr(config, "eos_token_id", None)) if i is not None), 0)


def computed(
    module: ModuleType, params: Any, config: Any, given: Mapping[str, np.ndarray], runs: Mapping[str, Any],
    dtype: np.dtype, around: tuple, going: Going | None = None, write: Callable = generation.written,
) -> Tensors:  # fmt: skip
    """Every tensor under `forward`, in this precision, through these observers."""
    start, step = going or (module.start, module.step)
    p = tree.map(lambda a: a.astype(dtype, copy=False), params)
    prompts = {name: given[f"inputs/{name}"] for name in ("input_ids", "attention_mask")}

    def going_on(ids: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        return step(p, config, ids, state)

    found: Tensors = {}
    with ExitStack() as stack:
        entered(stack, around)
        found["logits"] = generation.forced(going_on, start(p, config, prompts), given["inputs/forced"])
        for name, settings in runs.items():
            settings = {**getattr(module, "settings", {}), **settings}
            begun = generation.begun(module, p, config, prompts, settings, None, (start, step))
            uniforms = given["inputs/uniforms"] if settings.get("do_sample") else None
            written = write(going_on, begun, uniforms=uniforms)
            more = begun.ids.shape[1] + NEW - written.ids.shape[1]
            ids = np.pad(written.ids, ((0, 0), (0, more)), constant_values=_fill(config))
            found |= {name: ids, f"{name}.scores": written.scores}
    return {f"forward/{name}": array for name, array in found.items()}
