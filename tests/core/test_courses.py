"""Which task a step is of."""

import numpy as np
import pytest

from minibert.corruption import courses


@pytest.mark.parametrize(("tasks", "steps"), [(4, 200), (7, 1000), (5, 23), (1, 9)])
def test_after_each_stage_every_task_has_had_what_it_is_allotted(tasks, steps):
    if (tasks, steps) == (4, 200):  # the paper's table, in thousands
        assert courses.allotted(4, 200) == [[20, 0, 0, 0], [10, 30, 0, 0], [10, 10, 40, 0], [10, 10, 10, 50]]
    for course in courses.COURSES:
        stages, order = courses.allotted(tasks, steps, course), courses.turns(tasks, steps, course)
        assert len(order) == steps
        assert max(totals := np.sum(stages, 0)) - min(totals) <= 1
        ends = np.cumsum(np.sum(stages, 1))
        for end, due in zip(ends, np.cumsum(stages, 0), strict=True):
            assert np.bincount(order[:end], minlength=tasks).tolist() == due.tolist()
