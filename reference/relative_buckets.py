"""T5's bucket of the distance from a query to a key, key - query: near distances one each, farther ones by logarithms.

both: keys behind the query have the upper half of the buckets, else all behind it share bucket 0; count: buckets;
most: the distance from which on all share the last. A table (t, s) of them for queries first ... first + t - 1.
Raffel et al. 2019 (1910.10683), section 2.1, and the released code; SPEC OP-REL.
"""


def relative_buckets(queries, keys, *, both, count, most, first=0):
    return [[bucket(key - query, both, count, most) for key in range(keys)] for query in range(first, first + queries)]


def bucket(offset, both, count, most):
    half = count // 2 if both else count
    behind = half if both and offset > 0 else 0
    distance, exact = abs(offset) if both else max(-offset, 0), half // 2
    if distance < exact:
        return behind + distance
    rest = half - exact  # the greatest step below it with step <= rest log(distance / exact) / log(most / exact)
    reached = [step for step in range(rest) if most**step * exact**rest <= distance**rest * exact**step]
    return behind + exact + max(reached)
