"""Writing on, token by token, with any family that has `start` and `step`: greedy, sampled, with beams, forced.

    step(ids (N, n), state) -> (logits (N, V) of what follows the last of them, the state that has read them, too)

A state is a tree of arrays with rows in front (`families`). The functions below get rows of ids (N, T) and a state that
has read all of them but the last column, and go on from there; what they write is behind it. Which tokens they choose
is, token for token, what `generate` of transformers 5.23 chooses (generation/logits_process.py, generation/utils.py):

    scores       the logits, with beams their log softmax; then, in this order, `repetition_penalty` (divides what is
                 above 0 and multiplies what is below, for tokens that the row has, without the padding in front),
                 `no_repeat_ngram_size` (padding counts as any token), `min_length`, `forced_bos_token_id`,
                 `forced_eos_token_id`, `suppress_tokens`: what is forbidden has -inf                               (1)
    greedy       the largest score, of equals the smallest id                                                       (2)
    sampled      scores / temperature; those below the k-th largest go (equals of it stay); then, from the smallest up,
                 of equals by id, those whose probabilities add up to at most 1 - top_p (Fan et al. 2018, arXiv
                 1805.04833; Holtzman et al. 2019, arXiv 1904.09751); of the rest the first id at which the sum of the
                 probabilities of all ids up to it is above u times their total, u a number from [0, 1) that is given,
                 as no two libraries draw alike                                                                     (3)
    beams        of W sequences a row, the (1 + end ids)·W best continuations by the sum of their scores; those of them
                 that end within the first W are finished, with sum / (tokens written)^length_penalty; the W best that
                 have not ended go on (Wu et al. 2016, arXiv 1609.08144, section 7, has another penalty)             (4)
    the end      of a row: `max_length`; with beams also when no sequence could become better than the worst of W
                 finished ones: by the length so far (early_stopping false), by `max_length` where length_penalty is
                 above 0 ("never"), or when there are W (true)                                                      (5)
    nothing left a row of which every token is forbidden ends with what was written; with beams the best sequence that
                 was running, where none is finished                                                                (6)

Two exceptions: at (6) transformers writes id 0 (greedy), fails (sampled) or takes any (beams); and where there are more
beams than ids that do not end, it counts ended sequences that it fills the beams up with for (5, true).

All numbers are in the precision of the logits, but the sums of (3) and the scores of (4), in float64. transformers
takes float32.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minibert import signatures, tree
from minibert.config import nearest, real, require, shown, whole

Array = np.ndarray
State = Any
Step = Callable[[Array, State], tuple[Array, State]]
Progress = Callable[[Array], object]


class Written(NamedTuple):
    """ids (N, T + n): the rows with what was written, filled up behind the end. scores (N,): the sum of the log
    probabilities (before (1)) of what was written, the end too; of beams that of (4), by which the best was chosen.
    lengths (N,): tokens written, the end too.
    """

    ids: Array
    scores: Array
    lengths: Array


# ---- Settings --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Settings:
    """How to go on, under the published names. max_length, min_length: tokens of a row with those given."""

    max_length: int = 20
    min_length: int = 0
    do_sample: bool = False
    num_beams: int = 1
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    no_repeat_ngram_size: int = 0
    repetition_penalty: float = 1.0
    bos_token_id: int | None = None
    eos_token_id: tuple[int, ...] = ()
    pad_token_id: int | None = None
    decoder_start_token_id: int | None = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: tuple[int, ...] = ()
    suppress_tokens: tuple[int, ...] = ()

    @property
    def fill(self) -> int:
        """What stands behind the end of a row."""
        if self.pad_token_id is None:
            return self.eos_token_id[0] if self.eos_token_id else 0
        return self.pad_token_id


def _flag(name: str, value: Any, allowed: str = "true or false") -> bool:
    require(isinstance(value, bool | np.bool_), f"{name} {shown(value)}: expected {allowed}")
    return bool(value)


def _early(name: str, value: Any) -> bool | str:
    return value if isinstance(value, str) and value == "never" else _flag(name, value, 'true, false or "never"')


MOST, MOST_BEAMS, MOST_ENDS, MOST_NEVER = 2**31 - 1, 1024, 64, 1 << 20


def _ids(name: str, value: Any, most: int = MOST_ENDS) -> tuple[int, ...]:
    value = value.tolist() if isinstance(value, np.ndarray) else value
    several = value if isinstance(value, list | tuple) else [value]
    require(len(several) <= most, f"{name} {shown(value)}: expected at most {most} ids")
    return tuple(whole(name, one, 0, MOST) for one in several)


_COUNT, _FROM_1 = (partial(whole, least=least, most=MOST) for least in (0, 1))
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "max_length": _FROM_1, "min_length": _COUNT, "max_new_tokens": _FROM_1, "min_new_tokens": _COUNT,
    "do_sample": _flag, "num_beams": partial(whole, least=1, most=MOST_BEAMS), "early_stopping": _early,
    "temperature": partial(real, most=1e6), "top_k": _COUNT, "top_p": partial(real, most=1),
    "length_penalty": partial(real, least=-20, most=20), "no_repeat_ngram_size": _COUNT,
    "repetition_penalty": partial(real, least=1e-6, most=1e6), "bos_token_id": _COUNT, "eos_token_id": _ids,
    "pad_token_id": _COUNT, "decoder_start_token_id": _COUNT, "forced_bos_token_id": _COUNT,
    "forced_eos_token_id": _ids, "suppress_tokens": partial(_ids, most=MOST_NEVER),
}  # fmt: skip

# Published settings that change no token, whatever they say: of the library itself, of speed, of what else is returned.
_LIBRARY = """_from_model_config transformers_version _commit_hash use_cache cache_implementation cache_config
    max_cache_len return_dict_in_generate output_attentions output_hidden_states output_scores output_logits
    compile_config disable_compile continuous_batching_config prefill_chunk_size low_memory remove_invalid_values"""
_ASSISTANTS = """is_assistant num_assistant_tokens num_assistant_tokens_schedule assistant_confidence_threshold
    assistant_early_exit assistant_lookbehind target_lookbehind assistant_ensemble_weight speculation_type
    prompt_lookup_num_tokens max_matching_ngram_size use_mtp"""
HARMLESS = frozenset(f"{_LIBRARY} {_ASSISTANTS}".split())
# Those that do, and are not implemented: with the values for which they don't. null is always one.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "num_return_sequences": (1,), "num_beam_groups": (1,), "diversity_penalty": (0,), "penalty_alpha": (0,),
    "typical_p": (1,), "min_p": (0,), "top_h": (), "epsilon_cutoff": (0,), "eta_cutoff": (0,),
    "encoder_repetition_penalty": (1,), "encoder_no_repeat_ngram_size": (0,), "bad_words_ids": (), "sequence_bias": (),
    "renormalize_logits": (False,), "exponential_decay_length_penalty": (),
    "begin_suppress_tokens": ([],), "token_healing": (False,), "guidance_scale": (1,), "watermarking_config": (),
    "constraints": (), "force_words_ids": (), "dola_layers": (), "max_time": (), "stop_strings": (),
    "generation_kwargs": ({},),
}  # fmt: skip
_DRAWING = "temperature top_k top_p typical_p min_p top_h epsilon_cutoff eta_cutoff"
DRAWING = frozenset(_DRAWING.split())  # what nobody reads who does not sample
NAMES = tuple(_CHECKS)
DEFAULT_NEW = 20  # tokens, where nothing says how many


def stated(file: Mapping[str, Any] | None, config: Any) -> dict[str, Any]:
    """What counts where the caller says nothing: generation_config.json, without it (None) the config's fields of these
    names.
    """
    return {name: getattr(config, name, None) for name in NAMES} if file is None else dict(file)


def settled(
    given: Mapping[str, Any], file: Mapping[str, Any] | None, config: Any, length: int
) -> tuple[Settings, str | None]:
    """(the settings for rows of `length` tokens, what the caller said of how many tokens there may be: its name).

    given: what the caller said, which wins; None: nothing, and of an id that there is none. file: what
    generation_config.json says (`stated`). max_new_tokens and min_new_tokens win over max_length and min_length that
    come from the same place. A max_length that nobody gave and rows have already counts as none. InputError for what is
    unknown, out of range, or would change tokens and is not implemented.
    """
    where, known = "" if file is None else "generation_config.json: ", stated(file, config)
    said = _checked(given, "")
    known = {name: value for name, value in known.items() if name not in given}
    drawing = {**_checked({"do_sample": known.get("do_sample")}, where), **said}["do_sample"]
    known = _checked({name: value for name, value in known.items() if drawing or name not in DRAWING}, where)
    merged = {**known, **said}
    for new, whole_length in (("max_new_tokens", "max_length"), ("min_new_tokens", "min_length")):
        more = merged.pop(new, None)
        if more is not None and (said.get(new) is not None or said.get(whole_length) is None):
            merged[whole_length] = length + more
    limit = next((name for name in ("max_new_tokens", "max_length") if said.get(name) is not None), None)
    most = merged.get("max_length")
    if most is None or (limit is None and most <= length):
        merged["max_length"] = length + DEFAULT_NEW
    chosen = Settings(**{name: value for name, value in merged.items() if value is not None})
    many = f"num_beams {chosen.num_beams} with do_sample: beams that sample are not implemented; choose one of the two"
    require(chosen.num_beams == 1 or not chosen.do_sample, many)
    divides = f"temperature {chosen.temperature:g}: scores are divided by it; to take the most probable token each time"
    require(chosen.temperature >= 1e-6 or not chosen.do_sample, f"{divides}, do not sample")
    short = f"max_length {chosen.max_length}: the rows have {length} tokens already; max_new_tokens counts new ones"
    require(chosen.max_length > length, short)
    return chosen, limit


def _checked(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Each setting by its check; without those that change nothing."""
    kept = {}
    for name, value in values.items():
        if name in _CHECKS:
            kept[name] = None if value is None else _CHECKS[name](f"{where}{name}", value)
        elif name not in HARMLESS and value is not None:
            about = (not where and nearest(name, NAMES)) or f"; {_passed(name)}"
            require(name in NEUTRAL, f"{where}unknown setting {shown(name)}{about}")
            neutral = isinstance(value, bool | int | float | list | dict) and value in NEUTRAL[name]
            require(neutral, f"{where}{name} {shown(value)}: not implemented; {_passed(name)}")
    return kept


def _passed(name: str) -> str:
    return f"{shown(name)[1:-1]}=None passes it over, on the command line --pass-over {shown(name)[1:-1]}"


# ---- Which tokens may come, (1) --------------------------------------------------------------------------------------
def allowed(scores: Array, ids: Array, settings: Settings, begins: Array | None = None) -> Array:
    """(1): the scores (N, V) of what follows the ids (N, T); begins (N,): where each row's padding in front ends."""
    s, (rows, length) = settings, ids.shape
    vocabulary, scores = scores.shape[1], scores.copy()
    if s.repetition_penalty != 1:
        row, place = np.nonzero(np.arange(length) >= (np.zeros(rows) if begins is None else begins)[:, None])
        there = np.zeros(scores.shape, bool)
        there[row, ids[row, place]] = True
        penalised = np.where(scores < 0, scores * s.repetition_penalty, scores / s.repetition_penalty)
        scores = np.where(there, penalised, scores)
    if 0 < (size := s.no_repeat_ngram_size) <= length:
        windows = np.lib.stride_tricks.sliding_window_view(ids, size, axis=1)
        again = (windows[..., :-1] == ids[:, None, length + 1 - size :]).all(-1)
        row, place = np.nonzero(again)
        scores[row, windows[row, place, -1]] = -np.inf
    if length < s.min_length:
        scores[:, [end for end in s.eos_token_id if end < vocabulary]] = -np.inf
    if s.forced_bos_token_id is not None and length == 1:
        scores = _only((s.forced_bos_token_id,), scores)
    if s.forced_eos_token_id and length == s.max_length - 1:
        scores = _only(s.forced_eos_token_id, scores)
    scores[:, [never for never in s.suppress_tokens if never < vocabulary]] = -np.inf
    return scores


def _only(ids: Iterable[int], scores: Array) -> Array:
    forced = np.full_like(scores, -np.inf)
    forced[:, list(ids)] = 0
    return forced


def narrowed(scores: Array, settings: Settings) -> Array:
    """The scores (N, V) of (3), with -inf for the tokens that are not drawn from."""
    s = settings
    if s.temperature != 1:
        scores = scores / s.temperature
    if 0 < s.top_k < scores.shape[1]:
        least = np.partition(scores, -s.top_k, axis=1)[:, -s.top_k, None]
        scores = np.where(scores < least, -np.inf, scores)
    if s.top_p < 1:
        order = np.argsort(scores, axis=1, kind="stable")
        p = np.exp(_log_softmax(np.take_along_axis(scores, order, 1)))
        gone = p.cumsum(1) <= 1 - s.top_p
        gone[:, -1] = False  # one token stays
        removed = np.empty_like(gone)
        np.put_along_axis(removed, order, gone, 1)
        scores = np.where(removed, -np.inf, scores)
    return scores


def drawn(scores: Array, u: Array) -> Array:
    """The ids (N,) of (3) for numbers u (N,) from [0, 1)."""
    sums = np.exp((scores - scores.max(1, keepdims=True)).astype(np.float64)).cumsum(1)
    return (sums <= u[:, None] * sums[:, -1:]).sum(1)


def _log_softmax(z: Array) -> Array:
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def drawn_uniforms(seed: int, rows: Iterable[int], steps: int) -> Array:
    """Numbers (steps, N) from [0, 1) for `sampled`; a row's, by its number, depend on no other row and no length."""
    return np.stack([np.random.default_rng([seed, row]).random(steps) for row in rows], 1)


# ---- One sequence a row, (2), (3) ------------------------------------------------------------------------------------
def greedy(
    step: Step, state: State, ids: Array, settings: Settings, begins: Array | None = None,
    progress: Progress | None = None,
) -> Written:  # fmt: skip
    """(2). progress: called with the ids (N,) of each step, as they are written."""
    return _written(step, state, ids, settings, begins, progress, lambda scores, _: scores.argmax(1))


def sampled(
    step: Step, state: State, ids: Array, settings: Settings, uniforms: Array, begins: Array | None = None,
    progress: Progress | None = None,
) -> Written:  # fmt: skip
    """(3) with the numbers uniforms (steps, N) from [0, 1), of which each step takes a row."""

    def choose(scores: Array, number: int) -> Array:
        return drawn(narrowed(scores, settings), uniforms[number])

    return _written(step, state, ids, settings, begins, progress, choose)


def _written(
    step: Step, state: State, ids: Array, settings: Settings, begins: Array | None, progress: Progress | None,
    choose: Callable[[Array, int], Array],
) -> Written:  # fmt: skip
    rows, length = ids.shape
    new, done = ids[:, -1:], np.zeros(rows, bool)
    scores, lengths = np.zeros(rows), np.zeros(rows, np.int64)
    for number in range(settings.max_length - length):
        logits, state = step(new, state)
        may = allowed(logits, np.minimum(ids, logits.shape[1] - 1), settings, begins)  # the fill may be beyond
        stuck = may.max(1) == -np.inf  # (6)
        done = done | stuck
        if done.all():
            break
        chosen = choose(np.where(stuck[:, None], 0, may), number)
        scores = scores + np.where(done, 0, _log_softmax(logits)[np.arange(rows), chosen])
        written = np.where(done, settings.fill, chosen)
        ids = np.concatenate([ids, written[:, None]], 1)
        new = np.where(done, 0, chosen)[:, None]
        lengths = lengths + ~done
        done = done | np.isin(chosen, settings.eos_token_id)
        if progress is not None:
            progress(written)
        if done.all():
            break
    return Written(ids, scores, lengths)


def forced(step: Step, state: State, ids: Array) -> Array:
    """Logits (N, n, V): those after each of the ids (N, n), which are read one by one."""
    logits = []
    for column in range(ids.shape[1]):
        z, state = step(ids[:, column : column + 1], state)
        logits.append(z)
    return np.stack(logits, 1)


# ---- Beams, (4), (5) -------------------------------------------------------------------------------------------------
class _Beams(NamedTuple):
    """Sequences of each row: ids (N, W, T), scores (N, W), which count (N, W)."""

    ids: Array
    scores: Array
    there: Array

    def best(self, count: int) -> tuple["_Beams", Array]:
        """(those with the largest scores, (N, count), largest first, of equals the first; their places)."""
        places = _largest(self.scores, count)
        return self.taken(places), places

    def taken(self, places: Array) -> "_Beams":
        ids = np.take_along_axis(self.ids, places[..., None], 1)
        return _Beams(ids, *(np.take_along_axis(a, places, 1) for a in (self.scores, self.there)))

    def longer(self) -> "_Beams":
        """With room for one more token."""
        return self._replace(ids=np.pad(self.ids, ((0, 0), (0, 0), (0, 1)), constant_values=_NONE))

    def ended(self, which: Array, written: int, s: Settings) -> "_Beams":
        """As finished ones; those that are not: -inf."""
        return _Beams(self.ids, np.where(which, _scored(self.scores, written, s), -np.inf), which)


def beam(step: Step, state: State, ids: Array, settings: Settings, begins: Array | None = None) -> Written:
    """(4): the best sequence of each row. The prompt is read once a row; its state is repeated for the beams then."""
    s, (rows, length) = settings, ids.shape
    width, candidates = s.num_beams, max(2, 1 + len(s.eos_token_id)) * s.num_beams
    first = np.arange(width) == 0  # the others are not there yet
    running = _Beams(np.repeat(ids[:, None], width, 1), np.where(first, 0.0, -np.inf) + np.zeros((rows, 1)),
                     np.ones((rows, width), bool))  # fmt: skip
    finished = _Beams(running.ids, np.full((rows, width), -np.inf), np.zeros((rows, width), bool))
    better = np.ones(rows, bool)  # whether a running sequence may become better than the finished ones
    new = ids[:, -1:]
    for now in range(length + 1, s.max_length + 1):  # tokens of a row with the one that is chosen
        logits, state = step(new, state)
        scores = _log_softmax(logits)
        if now == length + 1:
            scores, begins = np.repeat(scores, width, 0), None if begins is None else np.repeat(begins, width)
            state = tree.map(lambda a: np.repeat(a, width, 0), state)
        scores = allowed(scores, running.ids.reshape(rows * width, -1), s, begins)
        vocabulary = scores.shape[1]
        total = (scores.reshape(rows, width, -1) + running.scores[..., None].astype(scores.dtype)).reshape(rows, -1)
        best = _largest(total, min(candidates, total.shape[1]))
        of, chosen = np.divmod(best, vocabulary)
        grown = np.concatenate([np.take_along_axis(running.ids, of[..., None], 1), chosen[..., None]], 2)
        sums = np.take_along_axis(total, best, 1)
        ended = np.isin(chosen, s.eos_token_id) | (now == s.max_length)

        just = ended & (np.arange(best.shape[1]) < width) & np.isfinite(sums) & better[:, None]
        if s.early_stopping is True:
            just &= ~finished.there.all(1, keepdims=True)
        stuck = np.isfinite(running.scores) & (sums[:, :1] == -np.inf) & ~finished.there.any(1, keepdims=True)  # (6)
        finished, _ = _Beams(*(np.concatenate(parts, 1) for parts in zip(
            finished.longer(), running.longer().ended(stuck, now - 1 - length, s),
            _Beams(grown, sums, ended).ended(just, now - length, s), strict=True))).best(width)  # fmt: skip

        running, places = _Beams(grown, np.where(ended, -np.inf, sums), ~ended).best(width)
        better &= _may_improve(running, finished, now, length, s)
        full = s.early_stopping is True and finished.there.all()
        if ended.all() or full or not better.any():
            break
        order = (np.arange(rows)[:, None] * width + np.take_along_axis(of, places, 1)).reshape(-1)
        state = tree.map(lambda a: a[order], state)  # noqa: B023 - called here
        new = running.ids[..., -1].reshape(-1, 1)
    return _filled(finished, length, s)


_NONE = -1  # no token: behind the end


def _may_improve(running: _Beams, finished: _Beams, now: int, length: int, s: Settings) -> Array:
    """(5), (N,): whether the best running sequence, as long as it may count, is better than the worst finished one,
    which is -inf while there are fewer than W.
    """
    most = s.max_length if s.early_stopping == "never" and s.length_penalty > 0 else now
    return _scored(running.scores[:, 0], most - length, s) > finished.scores.min(1)


def _scored(sums: Array, written: int, s: Settings) -> Array:
    """(4) of sums of log probabilities; in float64 at least, whose range holds every power of a length."""
    return sums.astype(np.result_type(sums, np.float64)) / float(max(written, 1)) ** s.length_penalty


def _filled(finished: _Beams, length: int, s: Settings) -> Written:
    """The first of each row, filled up behind its end to the longest."""
    ids = finished.ids[:, 0]
    there = ids != _NONE
    ids = np.where(there, ids, s.pad_token_id or (s.eos_token_id or (0,))[0])  # as published: not by a pad id 0
    return Written(ids[:, : there.sum(1).max()], finished.scores[:, 0], there.sum(1) - length)


def _largest(scores: Array, count: int) -> Array:
    """The places (N, count) of the largest scores of each row (N, M), largest first, of equals the first."""
    if count >= scores.shape[1]:
        return np.argsort(-scores, axis=1, kind="stable")
    least = np.partition(scores, -count, axis=1)[:, -count]
    places = np.empty((len(scores), count), np.int64)
    for row, (line, bound) in enumerate(zip(scores, least, strict=True)):  # equals of the bound: more than count
        found = np.flatnonzero(line >= bound)
        places[row] = found[np.argsort(-line[found], kind="stable")[:count]]
    return places


# ---- Of a family -----------------------------------------------------------------------------------------------------
PROMPT, MASK = "input_ids", "attention_mask"  # of a decoder
WRITTEN = "decoder_input_ids"  # of one with a source, which `start` reads: the rows that are written


class Begun(NamedTuple):
    """Rows to go on with: ids (N, T), the state that has read all but the last of them, where each row begins (N,)."""

    ids: Array
    state: State
    begins: Array
    settings: Settings


def rows_of(specs: Mapping[str, str]) -> str:
    """The input whose rows are written on."""
    return WRITTEN if WRITTEN in specs else PROMPT


def padded(specs: Mapping[str, str]) -> bool:
    """Whether prompts may be padded: there is a mask of their tokens."""
    return MASK in specs and signatures.parse(specs[MASK]).dims == signatures.parse(specs[PROMPT]).dims


def begun(
    network: ModuleType, p: Any, config: Any, arrays: Mapping[str, Array], said: Mapping[str, Any],
    file: Mapping[str, Any] | None, going: tuple[Callable, Callable] | None = None,
) -> Begun:  # fmt: skip
    """What a family's network has read of its inputs, which are checked: the prompt, or the source. said, file: as
    given and file of `settled`; going: start and step in the place of the network's own. InputError for settings, and
    for rows longer than the position table.
    """
    start, step = going or (network.start, network.step)
    specs = network.inputs(config)
    name, sourced = rows_of(specs), WRITTEN in specs
    ids = arrays.get(name)
    settings, limit = settled(said, file, config, 1 if ids is None else ids.shape[1])
    first = settings.decoder_start_token_id if sourced and ids is not None else None
    if first is not None and (ids[:, 0] != first).all():  # what is written begins with it, as in ports
        ids = np.pad(ids, ((0, 0), (1, 0)), constant_values=first)
        settings, limit = settled(said, file, config, ids.shape[1])
    bound = getattr(config, signatures.parse(specs[name]).bound)
    for setting in ("forced_bos_token_id", "forced_eos_token_id"):
        for one in _ids(setting, getattr(settings, setting) or ()):
            _below(setting, one, bound)
    if ids is None:
        kinds = ("decoder_start_token_id", "bos_token_id") if sourced else ("bos_token_id",)
        kind = next((kind for kind in kinds if getattr(settings, kind) is not None), None)
        require(kind is not None, f"no {name} are given, and no {kinds[0]} to begin with: give one of them")
        rows = len(next(iter(arrays.values()))) if sourced else 1
        ids = np.full((rows, 1), _below(kind, getattr(settings, kind), bound))
    if sourced:
        settings = _within(network, config, settings, limit, ids, ids.shape[1])
        state = start(p, config, {key: array for key, array in arrays.items() if key != name})
        if ids.shape[1] > 1:
            _, state = step(p, config, ids[:, :-1], state)
        return Begun(ids, state, np.zeros(len(ids), np.int64), settings)
    taken = (name, MASK) if padded(specs) else (name,)
    for key in arrays:
        require(key in taken, f"generate goes on from {' and '.join(taken)}; it does not take {key}")
    mask = arrays.get(MASK, np.ones_like(ids))
    behind = np.flatnonzero(mask[:, -1] == 0)
    require(not behind.size, f"{MASK}: row {behind[:1].sum()} ends in padding; pad prompts on the left")
    settings, begins = _within(network, config, settings, limit, ids, int(mask.sum(1).max())), mask.argmax(1)
    read = slice(int(begins.min()), -1)  # nothing attends to padding in front of every row
    prompt = {key: {name: ids, MASK: mask}[key][:, read] for key in taken}
    return Begun(ids, start(p, config, prompt if prompt[name].size else {}), begins, settings)


def written(
    step: Step, start: Begun, seed: int = 0, first: int = 0, uniforms: Any = None, progress: Progress | None = None
) -> Written:
    """`beam`, `greedy` or `sampled`, as the settings say. uniforms: else they are drawn from the seed, as those of the
    rows first, first + 1, … of all that are.
    """
    ids, state, begins, settings = start
    require(progress is None or callable(progress), f"progress {shown(progress)}: expected a function of ids (B,)")
    if settings.num_beams > 1:
        return beam(step, state, ids, settings, begins)
    if not settings.do_sample:
        return greedy(step, state, ids, settings, begins, progress)
    steps, rows = settings.max_length - ids.shape[1], len(ids)
    if uniforms is None:
        u = drawn_uniforms(whole("seed", seed), range(whole("first", first), first + rows), steps)
    else:
        u = signatures.array("uniforms", uniforms)
        fits = u.ndim == 2 and u.shape[1] == rows and len(u) >= steps and bool(((u >= 0) & (u < 1)).all())
        require(fits, f"uniforms: expected numbers from [0, 1), at least {steps} x {rows}, got shape {u.shape}")
    return sampled(step, state, ids, settings, u, begins, progress)


def _below(name: str, one: int, bound: int) -> int:
    require(one < bound, f"{name} {one}: there are {bound} ids")
    return one


def _within(network: ModuleType, config: Any, s: Settings, limit: str | None, ids: Array, longest: int) -> Settings:
    """The settings for rows that the position table holds, the last token, which nobody reads, beside it."""
    letter = signatures.parse(network.inputs(config)[rows_of(network.inputs(config))]).dims[1]
    _, most = network.lengths(config).get(letter, (None, None))
    if most is None:
        return s
    new = s.max_length - ids.shape[1]
    room = most - longest + 1
    table = getattr(network, "FIELDS", {}).get("max_position_embeddings", "max_position_embeddings")
    require(room > 0, f"a row of {longest} tokens is longer than {table}, which is {most}; shorten it")
    if new <= room:
        return s
    many = f"{new} new tokens after {longest} are more than {table}, {most}, has places for: at most {room} are new"
    require(limit is None, f"{many} ({limit})")
    return replace(s, max_length=ids.shape[1] + room)
