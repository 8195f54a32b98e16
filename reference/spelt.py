"""What fastText makes a word of: the sum of its own row and of its parts' rows, how many of them is `rows_of`.

p {"word", "piece"}, ids (b, t), parts (b, g, t), -100 no part, unknown: the id without a row -> (b, t, d). Bojanowski
et al. 2016 (1607.04606), section 3.2; SPEC FT-WORD.
"""


def spelt(p, *, ids, parts, unknown):
    return [
        [total(rows_of(p, i, [part[t] for part in of], unknown), p) for t, i in enumerate(row)]
        for row, of in zip(ids, parts, strict=True)
    ]


def rows_of(p, i, parts, unknown):
    own = [] if i == unknown else [p["word"]["weight"][i]]
    return own + [p["piece"]["weight"][g] for g in parts if g != -100]


def total(rows, p):
    return [sum(column) for column in zip(*rows, strict=True)] if rows else [0 * v for v in p["word"]["weight"][0]]
