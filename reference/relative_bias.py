"""What relative positions add to the scores: the table's entry of the bucket and the head.

p {weight (buckets, h)}, buckets (t, s) -> (1, h, t, s), or (b, t, s) -> (b, h, t, s).
Raffel et al. 2019 (1910.10683), section 2.1; SPEC OP-REL.
"""


def relative_bias(p, buckets):
    heads = range(len(p["weight"][0]))
    tables = buckets if isinstance(buckets[0][0], list) else [buckets]
    return [[[[p["weight"][bucket][head] for bucket in row] for row in table] for head in heads] for table in tables]
