"""The bucket of each token in each round: of x R its largest entry, of [x R; -x R], for each factor its own columns.

x (b, h, t, K), rotations (b, h, K, R, columns), factors (even) whose halves are the columns; seen (b, t): what is not
there has a bucket behind all others -> (b, h, R, t). Kitaev et al. 2020 (2001.04451), section 2; SPEC OP-LSH.
"""


def hash_buckets(x, rotations, factors, seen=None):
    def one(row, columns):  # columns (K, columns)
        bucket, step, at = 0, 1, 0
        for factor in factors:
            turned = [sum(a * own[c] for a, own in zip(row, columns, strict=True)) for c in range(at, at + factor // 2)]
            both = [*turned, *(-a for a in turned)]
            bucket += step * both.index(max(both))
            step, at = step * factor, at + factor // 2
        return bucket, step

    def there(b, t):
        return seen is None or seen[b][t]

    def head(b, rows, turns):
        own = [[column[r] for column in turns] for r in range(len(turns[0]))]
        return [[one(row, columns)[0 if there(b, t) else 1] for t, row in enumerate(rows)] for columns in own]

    return [[head(b, *both) for both in zip(x[b], rotations[b], strict=True)] for b in range(len(x))]
