"""The learning rate of BERT: it rises in a straight line, then falls in one.

    step < warmup:  peak · step / warmup
    else:           peak · (1 - step / total)

step 0, 1, …; warmup and total are numbers of steps. The fall counts from step 0, so that the rate jumps down at
warmup; behind the last step it is 0, never less. -> a number.
"""

import math

ORDER, CLAUSE, CASE = 14, "OPT-SCHED-1", "bert/published"


def warm_up(step, peak, warmup, total):
    if step < warmup:
        return peak * step / warmup
    return peak * max(0.0, 1 - step / total)


def calls(rng):
    for step in (1, 0, 4, 5, 12, 20, 25):
        yield {"step": step, "peak": 0.5, "warmup": 5, "total": 20}
    yield {"step": 3, "peak": 1.0, "warmup": 0, "total": 10}
    yield {"step": 4, "peak": 0.5, "warmup": 5, "total": 6}


WRONG = {
    "O06: the rise counts from 1": lambda step, peak, warmup, total: (
        peak * (step + 1) / warmup if step < warmup else warm_up(step, peak, warmup, total)
    ),
    "O06: the fall counts from the end of the rise: no jump, as in most libraries": lambda step, peak, warmup, total: (
        peak * step / warmup if step < warmup else peak * max(0.0, (total - step) / (total - warmup))
    ),
    "O09: less than 0 behind the last step": lambda step, peak, warmup, total: (
        peak * step / warmup if step < warmup else peak * (1 - step / total)
    ),
    "O27: it stays at the peak behind the rise": lambda step, peak, warmup, total: (
        peak * step / warmup if step < warmup else peak
    ),
    "O27: there is no rise": lambda step, peak, warmup, total: peak * max(0.0, 1 - step / total),
    "both are multiplied: the rate falls while it rises": lambda step, peak, warmup, total: (
        peak * min(1.0, step / warmup if warmup else 1.0) * max(0.0, 1 - step / total)
    ),
    "the peak is missing": lambda step, peak, warmup, total: warm_up(step, 1.0, warmup, total),
    "step = warmup belongs to the fall": lambda step, peak, warmup, total: (
        peak * step / warmup if warmup and step <= warmup else peak * max(0.0, 1 - step / total)
    ),
    "it falls along a cosine": lambda step, peak, warmup, total: (
        peak * step / warmup if step < warmup else peak * (1 + math.cos(math.pi * min(step, total) / total)) / 2
    ),
    "the rise is a share of total, not of warmup": lambda step, peak, warmup, total: (
        peak * step / total if step < warmup else warm_up(step, peak, warmup, total)
    ),
    "integers are divided with //": lambda step, peak, warmup, total: (
        peak * (step // warmup) if step < warmup else peak * max(0, 1 - step // total)
    ),
    "the fall is missing its end: 1 / step": lambda step, peak, warmup, total: (
        peak * step / warmup if step < warmup else peak * warmup / max(step, 1)
    ),
    "the smaller of both lines: they are to be read one behind the other": lambda step, peak, warmup, total: (
        peak * max(0.0, min(step / warmup if warmup else 1.0, 1 - step / total))
    ),
    "the fall counts from the end of the rise, over total": lambda step, peak, warmup, total: (
        peak * step / warmup if step < warmup else peak * max(0.0, 1 - (step - warmup) / total)
    ),
    "the fall counts from 1": lambda step, peak, warmup, total: warm_up(step + (step >= warmup), peak, warmup, total),
    "the peak is missing in the rise": lambda step, peak, warmup, total: (
        step / warmup if step < warmup else warm_up(step, peak, warmup, total)
    ),
}


def parts(answer):
    """The schedule of the golden steps."""
    return {"rate": lambda step, peak, warmup, total: float(answer(step=step, peak=peak, warmup=warmup, total=total))}
