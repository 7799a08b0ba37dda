import numpy as np
import pytest

from ultraslow.probes.buffer.schedule import schedule_of


def test_the_default_never_ends():
    schedule = schedule_of(None)
    assert all(map(schedule.due, range(17)))
    assert schedule.due(10**8)
    assert not schedule.beyond(5)


def test_a_schedule_of_the_users():
    schedule = schedule_of(np.array([0, 5, 10]))
    assert [schedule.due(iteration) for iteration in (4, 5, 6)] == [False, True, False]
    assert schedule.beyond(9)
    assert not schedule.beyond(10)


@pytest.mark.parametrize("wrong", [[2, 2], [[1, 2]], ["a"], [1.5]])
def test_anything_else_is_refused(wrong):
    with pytest.raises(ValueError, match="schedule: found"):
        schedule_of(wrong)
