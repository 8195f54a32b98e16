"""BERT's learning rate: peak step / warmup while step < warmup, else peak (1 - step / total), 0 from `total` on.

`step` counts the updates already made, so the first update has rate 0. The decay runs from step 0: the rate drops by
warmup / total where the warm-up ends. google-research/bert optimization.py create_optimizer; SPEC OPT-SCHED.
"""


def schedule(step, *, peak, warmup, total):
    if step < warmup:
        return peak * step / warmup
    return peak * (total - min(step, total)) / total
