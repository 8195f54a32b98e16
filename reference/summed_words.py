"""The sum of the words up to each token, x (b, t, d) -> (b, t, d); seen (b, t): what is not there adds nothing.

Logeswaran and Lee 2018 (1803.02893), its bag of words; SPEC QT-ENC.
"""


def summed_words(x, *, seen):
    return [
        [[sum(row[k][d] for k in range(t + 1) if bits[k]) for d in range(len(row[0]))] for t in range(len(row))]
        for row, bits in zip(x, seen, strict=True)
    ]
