"""Orders of segments as classes, and pairs of passages by how far apart they are."""

import itertools

import numpy as np
import pytest
from draws import NOT_DRAWN

from minibert.corruption import structure

DRAWS = 100_000


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_classes_of_orders_are_a_bijection_onto_the_sum_of_factorials(most):
    assert structure.classes(most) == (1, 3, 9, 33)[most - 1]
    orders = [structure.order_of(label) for label in range(structure.classes(most))]
    assert len({*orders}) == len(orders)
    assert [structure.order_class(order) for order in orders] == [*range(len(orders))]
    assert {len(order) for order in orders} == {*range(1, most + 1)}


@NOT_DRAWN
def test_segments_can_be_put_back_by_their_class():
    """Undone by the order of the label the passage reads as the text does; the number of segments is uniform."""
    rng, passage, starts = np.random.default_rng(1), [*range(40)], [*range(0, 40, 2)]
    found = [structure.reordered(passage, starts, rng, 3) for _ in range(DRAWS)]
    for parts, label in found[:6000]:
        order = structure.order_of(label)
        assert [*itertools.chain.from_iterable(parts[order.index(i)] for i in range(len(parts)))] == passage
        assert all(part[0] % 2 == 0 for part in parts)
    share = np.bincount([label for _, label in found], minlength=9) / DRAWS
    due = np.array([1 / 3, *[1 / 6] * 2, *[1 / 18] * 6])
    assert (np.abs(share - due) < 4.5 * np.sqrt(due * (1 - due) / DRAWS)).all()


@NOT_DRAWN
def test_distances_are_those_of_the_text_and_equally_frequent():
    """0 neighbours, 1 of one document and no neighbours, 2 of two; each sentence is half a row."""
    documents = [[[d, s, 1, 1] for s in range(6)] for d in range(DRAWS // 5)]
    found = [*structure.distances(documents, np.random.default_rng(0), 4)]
    assert len(found) == DRAWS
    for ((d, s, *_), (e, t, *_)), label in found:
        assert label == (2 if d != e else 0 if t == s + 1 else 1)
        assert d != e or abs(s - t) > 1 or label == 0
    share = np.bincount([label for _, label in found]) / len(found)
    assert np.abs(share - 1 / 3).max() < 4 * np.sqrt(2 / 9 / len(found))


def test_what_stands_about_a_passage_is_as_long_at_the_ends_of_a_text():
    passages = [[n, n + 1] for n in range(7)]
    found = [[p[0] for p in structure.about(passages, n, 4)] for n in range(7)]
    assert found == [[0, 1, 2, 3, 4]] * 3 + [[1, 2, 3, 4, 5]] + [[2, 3, 4, 5, 6]] * 3
    assert structure.about(passages[:2], 1, 4) == passages[:2]
    assert structure.elsewhere(structure.about(passages, 0, 2), passages[0]) == [0, 1]
    assert structure.elsewhere(structure.about(passages, 3, 2), passages[3]) == [1, 1]
