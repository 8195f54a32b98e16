"""The mean square of states, order 0, or of their changes to the next token, order 1, where that token is asked.

h (b, t, d), labels (b, t), -100: not asked. Merity et al. 2017 (1708.02182), section 4.7; SPEC AWD-AR.
"""


def activation_penalty(h, labels, order):
    total, count = 0, 0
    for row, ids in zip(h, labels, strict=True):
        for t in range(len(ids) - 1):
            if ids[t + 1] != -100:
                entries = [b - a for a, b in zip(row[t], row[t + 1], strict=True)] if order else row[t]
                total, count = total + sum(e * e for e in entries), count + len(entries)
    return total / count
