"""Laws of chance for tests: what a fixed seed may deviate, and what counts as rejected."""

from collections import Counter

import numpy as np

Z = 3.2905  # a share lies within Z standard deviations of its probability in 99.9 % of all samples


def frozen(*arrays):
    for array in arrays:
        array.flags.writeable = False
    return arrays if len(arrays) > 1 else arrays[0]


def deviation(successes: int, draws: int, probability: float) -> float:
    """Of a share from its probability, in standard deviations; beyond Z the 99.9 % interval excludes it."""
    return abs(successes - draws * probability) / np.sqrt(draws * probability * (1 - probability))


def chi_square(observed, expected) -> float:
    """Excess of the chi-square statistic over its mean, in standard deviations; rejected above 5."""
    observed, expected = np.asarray(observed, float), np.asarray(expected, float)
    used = expected > 0
    assert observed[~used].sum() == 0
    degrees = used.sum() - 1
    statistic = ((observed - expected)[used] ** 2 / expected[used]).sum()
    return (statistic - degrees) / np.sqrt(2 * degrees)


def two_samples(first: Counter, second: Counter) -> float:
    """The same for two samples of one size; outcomes seen fewer than 20 times together are pooled."""
    keys = [k for k in first | second if first[k] + second[k] >= 20]
    a, b = (np.array([s[k] for k in keys] + [s.total() - sum(s[k] for k in keys)], float) for s in (first, second))
    used = a + b > 0
    degrees = used.sum() - 1
    return (((a - b)[used] ** 2 / (a + b)[used]).sum() - degrees) / np.sqrt(2 * degrees)
