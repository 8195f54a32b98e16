"""What is added to scores within windows that are cut from a rolled grid: 0 within a region, -100 between two.

Y rows, X columns, size M, shift s -> (W)(M M)(M M), query by key. Either way three regions begin at 0, at the last
window and at what came round, Y - s. Liu et al. 2021 (2103.14030), figure 4; SPEC SWIN-SHIFT.
"""

from .windows import places


def regions(height, width, size, shift):
    """Of each window what is added to the score of each query (down) for each key: 0, or -100."""
    down, across = (-(-length // size) * size for length in (height, width))

    def region(k, length):
        return 0 if k < length - size else 1 if k < length - shift else 2

    found = []
    for cells in places(down, across, size, 0):  # of the grid that is rolled
        own = [(region(k // across, down), region(k % across, across)) for k in cells]
        found.append([[0 if shift == 0 or a == b else -100 for b in own] for a in own])
    return found
