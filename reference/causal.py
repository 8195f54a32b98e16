"""Which keys a causal query sees: itself and those before it, as far as `seen` lets it.

The last `length` of `total` tokens ask, seen (b, total) bits, 1 = there -> bits (b, 1, length, total); one row where
`seen` is None. Radford et al. 2018, section 3.1, eq. 1 (the context of a token is what precedes it); SPEC GPT2-ATT.
"""


def causal(length, total, seen=None):
    rows = [[1] * total] if seen is None else seen
    first = total - length
    return [[[[int(key <= first + query and row[key] != 0) for key in range(total)] for query in range(length)]]
            for row in rows]
