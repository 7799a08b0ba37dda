import numpy as np
import pytest

from ultraslow.diffusion.recording.schedule import every, log_spaced


@pytest.mark.parametrize("last", [0, 1, 2, 15, 16, 17, 99, 1000, 12345, 10**9])
def test_properties_of_every_log_schedule(last):
    schedule = log_spaced(last)
    assert schedule[0] == 0
    assert schedule[-1] == last
    assert np.all(np.diff(schedule) > 0)
    assert set(range(min(last, 16) + 1)) <= set(schedule.tolist())


def test_records_are_evenly_spaced_in_log_time():
    late = log_spaced(10**6)
    late = late[(late > 1000) & (late < 10**6)]
    np.testing.assert_allclose(np.diff(np.log10(late)), 1 / 25, atol=1e-3)


@pytest.mark.parametrize("last", [10, 99, 1000])
def test_the_default_is_dense_up_to_16_and_has_25_records_a_decade_from_there(last):
    spaced = (round(10 ** (k / 25)) for k in range(76))
    expected = {*range(17), *(t for t in spaced if t > 16), last}
    assert log_spaced(last).tolist() == sorted(t for t in expected if t <= last)


def test_longer_runs_share_the_records_of_shorter_ones():
    assert set(log_spaced(1000)) <= set(log_spaced(50_000))


def test_every():
    assert every(0, 3).tolist() == [0]
    assert every(9, 3).tolist() == [0, 3, 6, 9]
    assert every(3, 1).tolist() == [0, 1, 2, 3]


def test_faults_name_argument_and_value():
    with pytest.raises(ValueError, match="last: found -1"):
        log_spaced(-1)
    with pytest.raises(ValueError, match="dense_until, per_decade: found 16, 0"):
        log_spaced(10, per_decade=0)
    with pytest.raises(ValueError, match="dense_until, per_decade: found 0, 25"):
        log_spaced(10, dense_until=0)
    with pytest.raises(ValueError, match="last, interval: found 10, 0"):
        every(10, 0)
    with pytest.raises(ValueError, match="last, interval: found -1, 1"):
        every(-1, 1)
