"""What a decoder reads to answer labels (b, s): the labels one place later behind the start id, -100 as padding.

SPEC OP-DEC-3.
"""


def shifted_right(labels, start, pad):
    return [[start, *(pad if label == -100 else label for label in row[:-1])] for row in labels]
