"""What the backwards share: lists of 0, rows one after the other, leaves put back, sums over what was broadcast."""

from .lists import broadcast, each, leaves, shape


def zeros(x):
    """0 at every leaf of nested lists."""
    return [zeros(part) for part in x] if isinstance(x, list) else 0 * x


def rows_of(x) -> list:
    """The rows of nested lists, in order, whatever stands before the last dimension."""
    return [row for part in x for row in rows_of(part)] if isinstance(x[0], list) else [x]


def refilled(x, values: list):
    """Nested lists of the shape of x with these leaves."""
    values = iter(values)
    return each(0, lambda _: next(values), x)


def gathered(x, slopes):
    """The gradient of x from that of x broadcast to the shape of `slopes`: each entry gets the sum of its copies."""
    count = len(leaves(x))
    places = leaves(broadcast(refilled(x, list(range(count))), shape(slopes)))
    sums = [0 * leaf for leaf in leaves(x)]
    for place, slope in zip(places, leaves(slopes), strict=True):
        sums[place] += slope
    return refilled(x, sums)
