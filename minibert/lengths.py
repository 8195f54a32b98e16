"""Short sequences first: which rows a run reads at which step, and what that saves.

BERT's rule (Devlin et al. 2019, appendix A.2) is "128:0.9,512:0.1": rows of 128 tokens for 90 % of the steps, then rows
of 512, from which the positions beyond 128 are learnt. Attention multiplies with the square of the length, so that the
short rows cost less than their share of the tokens. ALBERT (Lan et al. 2020, section 4.1) has rows of 512 throughout,
of which it cuts 10 % to a random length (`short_rate`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from minibert.config import require, shown
from minibert.options import LONGEST
from minibert.pairs import observing


class Phase(NamedTuple):
    """Steps from `start` on, with rows of `length` tokens."""

    start: int
    length: int


def phases(said: str, steps: int) -> list[Phase]:
    """The phases of a run of so many steps, from LENGTH:SHARE,…; InputError for what nobody can follow."""
    found, before = [], 0.0
    for text in said.split(","):
        length, colon, share = text.strip().partition(":")
        fits = bool(colon) and length.isascii() and length.isdigit() and 8 <= int(length[:9]) <= LONGEST
        require(fits, f"lengths is {shown(said)}: write LENGTH:SHARE,…, lengths from 8 to {LONGEST:,} tokens, as in "
                "128:0.9,512:0.1")  # fmt: skip
        try:
            part = float(share)
        except ValueError:
            part = 0.0
        above = f"lengths is {shown(said)}: {shown(share)} is no share of the steps, above 0 and at most 1"
        require(0 < part <= 1, above)
        longer = not found or int(length) > found[-1].length
        require(longer, f"lengths is {shown(said)}: each has to be longer than the one before")
        found.append(Phase(round(before * steps), int(length)))
        before += part
    require(abs(before - 1) < 1e-6, f"lengths is {shown(said)}: the shares come to {before:g}, not 1")
    return found


def at(found: list[Phase], step: int) -> int:
    """The number of the phase that a step, counted from 0, is in."""
    return max(i for i, phase in enumerate(found) if phase.start <= step)


def said(found: list[Phase], steps: int, costs: list[int]) -> str:
    """What is done when, and what share of the multiplications of the longest rows throughout that takes; costs: of a
    step of each phase.
    """
    ends = [phase.start for phase in found[1:]] + [steps]
    spans = [end - phase.start for phase, end in zip(found, ends, strict=True)]
    each = ", then ".join(f"{span:,} steps of {phase.length} tokens" for phase, span in zip(found, spans, strict=True))
    if not costs[-1]:  # no layers
        return each
    share = sum(span * cost for span, cost in zip(spans, costs, strict=True)) / (steps * costs[-1])
    return f"{each}: {share:.1%} of the multiplications of {found[-1].length} throughout"


_RECURRENT = ("lstm", "projected_lstm", "gru", "reset_first_gru")
_WEIGHTS = ("weight_ih", "weight_hh", "weight_hr")


def multiplications(f: Callable[[], Any]) -> int:
    """How many f() makes in linear layers, attention, recurrences and convolutions, forward; a backward pass makes
    twice as many. Of padding a layer computes what it does of other tokens, and so it is counted.
    """
    total = 0

    def around(pair: Any, args: tuple, constants: dict) -> Any:
        nonlocal total
        if pair.__name__ == "linear":
            total += args[0].size * len(constants["weight"] if "weight" in constants else args[1])
        elif pair.__name__ == "attention":
            total += 2 * args[0].size * args[1].shape[2]
        elif pair.__name__ in _RECURRENT:  # of each token every weight once
            given = {**dict(zip(("x", "state", *_WEIGHTS), args, strict=False)), **constants}
            weights = _WEIGHTS if pair.__name__ == "projected_lstm" else _WEIGHTS[:2]
            total += args[0].shape[0] * args[0].shape[1] * sum(given[name].size for name in weights)
        elif pair.__name__ == "convolution":  # of each window
            weight = constants["weight"] if "weight" in constants else args[1]
            windows = args[0].shape[1] - (0 if constants.get("same") else weight.shape[-1] - 1)
            total += args[0].shape[0] * max(0, windows) * weight.size
        return pair(*args, **constants)

    with observing(around):
        f()
    return total
