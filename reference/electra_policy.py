"""The adversarial generator's terms: REINFORCE with a learned baseline, one sample a position.

logits (N, V), x (N, D) the generator's outputs, p {weight (1, D), bias (1)} the baseline, samples and rewards (N):
policy = mean (R - b) (-log softmax(logits)[sample]), b = -log sigmoid(u), u = w x + c; baseline = mean cross-entropy of
sigmoid(u) with e^-R. R and b are constants in policy, x in baseline. Clark et al. 2020 (2003.10555), appendix F; SPEC
ELEC-ADV.
"""

from .binary_cross_entropy import binary_cross_entropy
from .linear import linear
from .log_softmax import log_softmax
from .scalars import exp, log


def electra_policy(logits, x, p, *, samples, rewards):
    u = [row[0] for row in linear(x, **p)]
    advantages = [r - log(1 + exp(-a)) for r, a in zip(rewards, u, strict=True)]
    log_p = [row[i] for row, i in zip(log_softmax(logits), samples, strict=True)]
    policy = -sum(a * lp for a, lp in zip(advantages, log_p, strict=True)) / len(samples)
    return {"policy": policy, "baseline": binary_cross_entropy(u, labels=[exp(-r) for r in rewards])}
