"""Mistakes in which token is written next: settings ignored, penalties, narrowing, beams, ends.

Each stands in the place of `generation.written`: writes(step, begun, uniforms=…) -> Written.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minibert import generation
from minibert.generation import Begun, Settings, Step, Written
from minibert.mistakes.catalogue import entry

SECTION = {"W": "Writing on"}

Array = np.ndarray
Writes = Callable[..., Written]


# ---- Settings --------------------------------------------------------------------------------------------------------
def otherwise(**fields: Any) -> Writes:
    """Settings at other values."""
    return edited(lambda s: replace(s, **fields))


def edited(edit: Callable[[Settings], Settings]) -> Writes:
    """Other settings: edit(those of the run)."""
    return lambda step, begun, **given: generation.written(step, _with(begun, edit(begun.settings)), **given)


def _with(begun: Begun, settings: Settings) -> Begun:
    return begun._replace(settings=settings)


# ---- The length of beams ---------------------------------------------------------------------------------------------
class _Penalty(float):
    """An exponent of length_penalty, whose base is another number: of(tokens written)."""

    of: Callable[[int], float]

    def __rpow__(self, written: Any, _: Any = None) -> float:
        return float(self.of(written)) ** float(self)


def counted(of: Callable[[int, int, int], float]) -> Writes:
    """Scores of beams divided by of(tokens written, tokens of the prompt, the most that may be written)^penalty."""

    def writes(step: Step, begun: Begun, **given: Any) -> Written:
        length, penalty = begun.ids.shape[1], _Penalty(begun.settings.length_penalty)
        penalty.of = lambda n: of(n, length, begun.settings.max_length - length)
        return generation.written(step, _with(begun, replace(begun.settings, length_penalty=penalty)), **given)

    return writes


# ---- Which are drawn from --------------------------------------------------------------------------------------------
def narrowed(rule: Callable[[Array, Settings], Array]) -> Writes:
    """Sampling from other tokens: rule(logits (N, V), settings) -> the scores of (3), of which some are -inf."""

    def writes(step: Step, begun: Begun, **given: Any) -> Written:
        s, seen = begun.settings, []
        if not s.do_sample:
            return generation.written(step, begun, **given)

        def wrong(ids: Array, state: Any) -> tuple[Array, Any]:
            logits, state = step(ids, state)
            seen.append(logits)
            return rule(logits, s), state

        plain = replace(s, temperature=1.0, top_k=0, top_p=1.0)
        got = generation.written(wrong, _with(begun, plain), **given)
        return got._replace(scores=_scores(seen, got, begun.ids.shape[1]))

    return writes


def _scores(logits: list[Array], got: Written, length: int) -> Array:
    """What was written scores by the logits as they are."""
    total = np.zeros(len(got.ids))
    for number, z in enumerate(logits):
        z = z - z.max(1, keepdims=True)
        logp = z - np.log(np.exp(z).sum(1, keepdims=True))
        there = number < got.lengths
        total += np.where(there, logp[np.arange(len(z)), np.where(there, got.ids[:, length + number], 0)], 0)
    return total


def _cooled_last(logits: Array, s: Settings) -> Array:
    return generation.narrowed(logits, replace(s, temperature=1.0)) / s.temperature


def _of_nucleus(gone: Callable[[Array, Array, float], Array]) -> Callable[[Array, Settings], Array]:
    """Another top-p: gone(probabilities, largest first, their sums, top_p) -> which go."""

    def rule(logits: Array, s: Settings) -> Array:
        scores = generation.narrowed(logits, replace(s, top_p=1.0))
        if s.top_p == 1:
            return scores
        order = np.argsort(-scores, axis=1, kind="stable")
        e = np.exp(np.take_along_axis(scores, order, 1) - scores.max(1, keepdims=True))
        p = e / e.sum(1, keepdims=True)
        leaves = gone(p, p.cumsum(1), s.top_p)
        leaves[:, 0] = False
        removed = np.empty_like(leaves)
        np.put_along_axis(removed, order, leaves, 1)
        return np.where(removed, -np.inf, scores)

    return rule


def _one_more(p: Array, sums: Array, most: float) -> Array:
    """The one behind the nucleus, too."""
    before = np.pad(sums, ((0, 0), (2, 0)))[:, : p.shape[1]]
    return before >= most


# ---- The end ---------------------------------------------------------------------------------------------------------
def going_on(step: Step, begun: Begun, **given: Any) -> Written:
    """Rows of one sequence go on behind their end until all have ended."""
    s, length = begun.settings, begun.ids.shape[1]
    if s.num_beams > 1:
        return generation.written(step, begun, **given)
    got = generation.written(step, _with(begun, replace(s, eos_token_id=())), **given)
    ended = np.isin(got.ids[:, length:], s.eos_token_id)
    last = np.where(ended.any(1), ended.argmax(1) + 1, ended.shape[1]).max()
    return got._replace(ids=got.ids[:, : length + last])


# ---- Entries ---------------------------------------------------------------------------------------------------------
entry(
    "W01", "beams' sums divided by the length with the prompt", "by the tokens written, to the power of length_penalty",
    "vllm-project/vllm#2606; HF#26624, #27351, #25455", "output", "GEN-5",
    writing={
        "the prompt is counted": counted(lambda n, prompt, most: n + prompt),
        "the prompt is counted, the last token not": counted(lambda n, prompt, most: n + prompt - 1),
    },
)  # fmt: skip
entry(
    "W02", "length_penalty left out or another formula", "sum / (tokens written)^length_penalty; 0 divides by nothing",
    "HF#16930, #19006, #14768", "output", "GEN-5",
    writing={
        "not divided": otherwise(length_penalty=0.0),
        "divided by the length, whatever the setting": otherwise(length_penalty=1.0),
        "multiplied by it": edited(lambda s: replace(s, length_penalty=-s.length_penalty)),
        "GNMT's ((5 + n)/6)^α": counted(lambda n, prompt, most: (5 + n) / 6),
    },
)  # fmt: skip
entry(
    "W03", "the end token not counted in a sequence's length", "the tokens written, the end token, too",
    "HF#8890, #8722; vllm-project/vllm#2606", "output", "GEN-5",
    writing={
        "one less": counted(lambda n, prompt, most: max(n - 1, 1)),
        "one less, but of the longest": counted(lambda n, prompt, most: n if n == most else max(n - 1, 1)),
    },
)  # fmt: skip
entry(
    "W04", "early_stopping ignored, or another rule for the end of beams", "false, true and \"never\" are three rules",
    "HF#21368, #20901, #38778; ottokart/beam_search#1", "output", "GEN-6",
    writing={f"always {value}": otherwise(early_stopping=value) for value in (False, True, "never")},
)  # fmt: skip
entry(
    "W05", "no_repeat_ngram_size ignored", "no n-gram of the row, the prompt's too, twice",
    "microsoft/onnxruntime-genai#2241; facebookresearch/fairseq#5206; NVIDIA/TensorRT-LLM#690", "output", "GEN-1",
    when="over the prompt or what was written alone it is told by the first divergence",
    writing={"ignored": otherwise(no_repeat_ngram_size=0), "one longer": edited(
        lambda s: replace(s, no_repeat_ngram_size=s.no_repeat_ngram_size and s.no_repeat_ngram_size + 1))},
)  # fmt: skip
entry(
    "W06", "temperature after top-p, ignored, or multiplied", "scores / temperature, then top_k, then top_p",
    "HF#8686; mlc-ai/mlc-llm#951; vllm-project/tpu-inference#1385; fishaudio/fish-speech#1150", "output", "GEN-3",
    writing={
        "after top_p": narrowed(_cooled_last),
        "ignored": otherwise(temperature=1.0),
        "multiplied": edited(lambda s: replace(s, temperature=1 / s.temperature)),
    },
)  # fmt: skip
entry(
    "W07", "top-p keeps one too few or too many", "the fewest most probable tokens whose probabilities reach top_p",
    "fishaudio/fish-speech#1171; rasbt/reasoning-from-scratch#164; Biohub/esm#360; thu-nics/C2C#21; "
    "lucidrains/x-transformers#184", "output", "GEN-3",
    writing={
        "the one that reaches it goes": narrowed(_of_nucleus(lambda p, sums, most: sums > most)),
        "the one behind it stays": narrowed(_of_nucleus(_one_more)),
        "1 - top_p": edited(lambda s: replace(s, top_p=1 - s.top_p if s.top_p < 1 else 1.0)),
        "ignored": otherwise(top_p=1.0),
    },
)  # fmt: skip
entry(
    "W08", "top-k keeps one too few or too many", "the k largest, equals of the k-th too",
    "kingoflolz/mesh-transformer-jax#164", "output", "GEN-3", when="of equals no case has any",
    writing={
        "one too many": edited(lambda s: replace(s, top_k=s.top_k and s.top_k + 1)),
        "one too few": edited(lambda s: replace(s, top_k=max(s.top_k - 1, min(s.top_k, 1)))),
        "ignored": otherwise(top_k=0),
    },
)  # fmt: skip
entry(
    "W09", "the end token ignored, or ended rows going on", "a row ends with it; behind it stands the fill",
    "Dao-AILab/flash-attention#2784; mistralai/mistral-inference#270; lucidrains/h-transformer-1d#9; HF#31261",
    "output", "GEN-9",
    writing={"no end": otherwise(eos_token_id=()), "rows go on until all have ended": going_on},
)  # fmt: skip
entry(
    "W10", "beams' probabilities summed, not their logarithms", "the sum of log probabilities",
    "own knowledge", "output", "GEN-5",
    reason="not made: no logits have these sums; told by the first divergence, the ids that a run with beams writes",
)  # fmt: skip
entry(
    "W11", "the most probable token where sampling or beams are asked for", "as do_sample and num_beams say",
    "own knowledge", "output", "GEN-2",
    writing={"do_sample ignored": otherwise(do_sample=False), "num_beams ignored": otherwise(num_beams=1)},
)  # fmt: skip
