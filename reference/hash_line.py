"""The line of all rounds, each with its tokens sorted by bucket, then by place, in a ring of chunks.

buckets (R, t) -> {(round, token): (its chunk, its place there, the (round, token) about it)}. A line of one round that
is no longer than a chunk is one chunk, with nothing about it. Kitaev et al. 2020 (2001.04451), section 2; SPEC OP-LSH.
"""

from .neighbours import chunks_about


def hash_line(buckets, chunk, before, after):
    whole = len(buckets[0]) <= chunk
    chunk, before, after = (len(buckets[0]), 0, 0) if whole else (chunk, before, after)
    row = [(r, i) for r, own in enumerate(buckets) for i in sorted(range(len(own)), key=lambda i: own[i])]
    chunks = [row[i:i + chunk] for i in range(0, len(row), chunk)]
    about = [[e for m in near for e in chunks[m]] for near in chunks_about(len(chunks), before, after)]
    return {entry: (n, s, about[n]) for n, own in enumerate(chunks) for s, entry in enumerate(own)}
