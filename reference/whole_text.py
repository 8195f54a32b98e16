"""What stands for a text among a layer's outputs h (b, t, n): the last; both: of two directions the halves, the last of
that from the left and the first of that from the right. Hochreiter and Schmidhuber 1997; SPEC QT-ENC, ST-ENC.
"""


def whole_text(h, *, both):
    half = len(h[0][0]) // 2
    return [row[-1][:half] + row[0][half:] if both else row[-1] for row in h]
