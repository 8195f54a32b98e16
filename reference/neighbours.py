"""Chunks with those about them: chunk n of x, in a ring, with the `before` in front of it and the `after` behind it.

x (b, h, t, K) -> (b, h, t / chunk, (before + 1 + after) chunk, K); a neighbour beyond the ring is the chunk itself.
Kitaev et al. 2020 (2001.04451), section 2; SPEC OP-LSH.
"""


def chunks_about(count, before, after):
    """For each of so many chunks which stand about it, in order."""
    return [[(n + d) % count if abs(d) < count else n for d in range(-before, after + 1)] for n in range(count)]


def neighbours(x, chunk, before, after):
    def head(rows):
        chunks = [rows[i:i + chunk] for i in range(0, len(rows), chunk)]
        return [[row for m in about for row in chunks[m]] for about in chunks_about(len(chunks), before, after)]

    return [[head(rows) for rows in heads] for heads in x]


def neighbours_backward(dy, x, chunk, before, after):
    """Each row of x stands in several places: it gets the sum of their slopes."""
    dx = [[[[0 * a for a in row] for row in rows] for rows in heads] for heads in x]
    for own, heads in zip(dx, dy, strict=True):
        for rows, slopes in zip(own, heads, strict=True):
            for about, around in zip(chunks_about(len(slopes), before, after), slopes, strict=True):
                places = [chunk * m + s for m in about for s in range(chunk)]
                for place, slope in zip(places, around, strict=True):
                    rows[place] = [a + d for a, d in zip(rows[place], slope, strict=True)]
    return {"x": dx}
