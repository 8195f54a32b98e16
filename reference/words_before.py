"""What a decoder reads to write labels (b, s): zeros, then the words before; zeros for a label of -100; p the table.

Kiros et al. 2015 (1506.06726), as released; SPEC ST-DEC.
"""


def words_before(p, *, labels):
    nothing = [0 * a for a in p["weight"][0]]
    return [[nothing if i == -100 else p["weight"][i] for i in [-100, *row[:-1]]] for row in labels]
