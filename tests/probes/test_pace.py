import time

import pytest

from probes.pace import Pace


def test_the_first_flush_is_early_and_later_ones_follow_the_time_of_an_update():
    pace = Pace(60.0)
    assert [rows for rows in range(10) if pace.due(rows)][0] == 4
    for update_seconds, rows in ((1.0, 60), (0.5, 120), (1e-4, 256), (0.0, 256), (1e4, 1)):
        pace.adapt(update_seconds)
        assert (pace.due(rows - 1), pace.due(rows)) == (False, True)


def test_laps_are_measured_from_the_last_one():
    pace = Pace(60.0)
    time.sleep(0.02)
    assert pace.lap() == pytest.approx(0.02, abs=0.02)
    assert pace.lap() < 0.01
