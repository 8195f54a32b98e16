"""Which keys token i of a row sees, and which factor of dropout is whose: pairs (j, slot).

there, everywhere: bits of the row; window w on either side, d apart. A global token sees all, slot (j - i) mod t;
another |i - j| <= w d with d dividing i - j, slot (j - i) / d + w, and global ones, slot (j - i + w) mod (2 w + 1); one
that is not there sees none. Beltagy et al. 2020 (2004.05150), section 3.1; SPEC LON-ATT, LON-DROP.
"""


def sliding_keys(i, there, everywhere, window, d):
    seen = [j for j, bit in enumerate(there) if bit]
    if not there[i]:
        return []
    if everywhere[i]:
        return [(j, (j - i) % len(there)) for j in seen]
    near = [j for j in seen if everywhere[j] or (abs(i - j) <= window * d and (i - j) % d == 0)]
    return [(j, (j - i + window) % (2 * window + 1) if everywhere[j] else (j - i) // d + window) for j in near]
