import math

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.cli.live.schedule import next_iteration, next_record, speed
from ultraslow.diffusion.recording import log_spaced
from ultraslow.diffusion.recording.schedule import every


def test_the_default_schedule_is_known_at_every_record():
    whole = log_spaced(10**7)[:-1]
    for count in range(1, whole.size):
        assert next_iteration(whole[:count]) == whole[count]


def test_records_of_evaluations_between_are_no_other_schedule():
    whole = log_spaced(3000)[:-1]
    more = np.union1d(whole, [77, 1234, 2000])
    for count in (40, 70, more.size - 1):
        assert next_iteration(more[:count]) == whole[whole > more[count - 1]][0]


def test_a_resumed_part_alone_has_the_default_schedule_as_well():
    whole = log_spaced(10**5)
    assert next_iteration(whole[60:70]) == whole[70]


def test_another_schedule_is_even_or_unknown():
    assert next_iteration(every(1000, 50)[:7]) == 350
    assert next_iteration(np.array([0, 100, 250, 700])) == 0


def timed(iterations, seconds):
    wall = ("iteration", np.asarray(seconds, dtype=float))
    return xr.Dataset({"wall_time": wall}, {"iteration": np.asarray(iterations)})


def test_speed_is_that_of_the_last_records():
    """Two updates a second at first, then five."""
    made = [0, 20, 40, 90, 140, 190]
    assert speed(timed(made, [0, 10, 20, 30, 40, 50])) == pytest.approx(5.0)
    assert speed(timed([0, 5], [0.0, 2.5])) == pytest.approx(2.0)
    assert math.isnan(speed(timed([0], [0.0])))
    assert math.isnan(speed(timed([0, 1], [1.0, 1.0])))
    assert math.isnan(speed(timed([0, 1, 2], [math.nan] * 3)))
    assert math.isnan(speed(timed([0], [0.0]).drop_vars("wall_time")))


def test_when_the_next_record_is_due():
    recorded = log_spaced(1000)[:-1]  # up to 912
    due = next_record(recorded, speed=0.5, written=1e9, flush_seconds=10)
    assert (due.iteration, due.at) == (1000, 1e9 + 88 / 0.5)
    assert not due.overdue(due.at + 100)
    assert due.overdue(1e9 + 1.5 * 176 + 20 + 61)
    unknown = next_record(recorded, speed=math.nan, written=1e9, flush_seconds=10)
    assert unknown.iteration == 1000
    assert not unknown.overdue(1e12)
    assert next_record(np.array([0, 3, 50]), speed=1, written=0, flush_seconds=1).iteration == 0
