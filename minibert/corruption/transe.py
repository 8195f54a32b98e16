"""TransE: vectors of entities and relations in which a head and a relation add up to the tail.

Bordes, Usunier, García-Durán, Weston, Yakhnenko, 2013, "Translating Embeddings for Modeling Multi-relational Data".

    d(h, r, t) = Σ_i (e_h + w_r - e_t)_i²                                                                           (1)
    L = Σ over triples of max(0, γ + d(h, r, t) - d(h', r, t')), one of h', t' drawn, the other as it is            (2)
    each step of gradient descent begins with e := e/|e|; w is normed once, at the start, as e                      (3)

The paper has (1) or the sum of |·|; it draws so that a corrupted triple is not among the known ones, nor here.
"""

import numpy as np

from minibert import kernels

Array = np.ndarray

MARGIN, RATE, BATCH = 1.0, 0.05, 512


def loss(entities: Array, relations: Array, triples: Array, corrupted: Array, margin: float) -> tuple[Array, dict]:
    """(1), (2): entities (N, E), relations (R, E); triples and corrupted (M, 3) of numbers of head, relation, tail."""
    differences, distances = [], []
    for head, relation, tail in (triples.T, corrupted.T):
        differences.append(entities[head] + relations[relation] - entities[tail])  # (1)
        distances.append((differences[-1] ** 2).sum(1))
    excess = margin + distances[0] - distances[1]
    c = {"differences": differences, "active": excess > 0, "triples": (triples, corrupted),
         "sizes": (len(entities), len(relations))}  # fmt: skip
    return np.maximum(excess, 0).sum(), c  # (2)


def loss_backward(dloss: Array, c: dict) -> tuple[Array, Array]:
    """(dentities, drelations): ∂d/∂e_h = ∂d/∂w_r = 2 (e_h + w_r - e_t) = -∂d/∂e_t; of a corrupted triple turned."""
    active, (count, relations) = 2 * dloss * c["active"][:, None], c["sizes"]
    slopes = [sign * active * difference for sign, difference in zip((1, -1), c["differences"], strict=True)]
    entities = [(slope, triples.T) for slope, triples in zip(slopes, c["triples"], strict=True)]
    places = np.concatenate([at for _, (head, _, tail) in entities for at in (head, tail)])
    dentities = kernels.scatter_add(places, np.concatenate([d for slope in slopes for d in (slope, -slope)]), count)
    places = np.concatenate([relation for _, (_, relation, _) in entities])
    return dentities, kernels.scatter_add(places, np.concatenate(slopes), relations)


def step(entities: Array, relations: Array, triples: Array, corrupted: Array, margin: float, rate: float) -> tuple:
    """(entities, relations, loss) after a step of (3)."""
    entities = normed(entities)
    value, c = loss(entities, relations, triples, corrupted, margin)
    dentities, drelations = loss_backward(np.ones_like(value), c)
    return entities - rate * dentities, relations - rate * drelations, value


def normed(vectors: Array) -> Array:
    """Each of length 1."""
    return vectors / np.sqrt((vectors**2).sum(1, keepdims=True))


def corrupt(triples: Array, known: Array, count: int, relations: int, rng: np.random.Generator) -> Array:
    """Triples with another head or tail, half and half; those whose number is known (sorted) are drawn again, ten times
    at most.
    """
    made = triples.copy()
    wrong = np.arange(len(made))
    for _ in range(10):
        side = np.where(rng.random(len(wrong)) < 0.5, 0, 2)
        made[wrong] = triples[wrong]
        made[wrong, side] = rng.integers(0, count, len(wrong))
        number = keys(made[wrong], count, relations)
        wrong = wrong[known[np.searchsorted(known, number) % len(known)] == number]
        if not len(wrong):
            break
    return made


def keys(triples: Array, count: int, relations: int) -> Array:
    """A number for each triple."""
    head, relation, tail = triples.astype(np.int64).T
    return (head * relations + relation) * count + tail


def learnt(triples: Array, count: int, relations: int, size: int, passes: int, seed: int = 0) -> Array:
    """(count, size) float32 of length 1: the entities' vectors after so many passes over the triples (M, 3)."""
    rng = np.random.default_rng([seed, 0x7E])
    bound = 6 / np.sqrt(size)
    entities = rng.uniform(-bound, bound, (count, size))
    w = normed(rng.uniform(-bound, bound, (max(1, relations), size)))
    known = np.sort(keys(triples, count, relations))
    for _ in range(passes if len(triples) else 0):
        order = rng.permutation(len(triples))
        for begin in range(0, len(order), BATCH):
            some = triples[order[begin : begin + BATCH]]
            wrong = corrupt(some, known, count, relations, rng)
            used, places = np.unique(np.stack([some, wrong])[..., ::2], return_inverse=True)  # the others stay normed
            both = np.stack([some, wrong])
            both[..., ::2] = places.reshape(both[..., ::2].shape)
            entities[used], w, _ = step(entities[used], w, *both, MARGIN, RATE)
    return normed(entities).astype(np.float32)
