"""Clocks of recordings and of distances, and what is said where there is none."""

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.runs.clocks import (
    clocks_of,
    followed,
    rate_changes,
    read_clock,
    series_clocks,
    summed_rate,
    ticks,
)

RECORDS = np.array([0, 1, 2, 5, 10, 20, 50, 100])


def curve(times=RECORDS, **coords):
    values = {name: ("iteration", one) for name, one in coords.items()}
    return xr.DataArray(np.sqrt(times), {"iteration": times, **values}, ["iteration"])


def test_a_clock_that_stands_still_is_read_once():
    readings = np.array([0.0, 0.0, 0.3, 0.1 + 0.2, np.nan, 0.5, 0.5, 0.9])
    assert ticks(readings).tolist() == [False, False, True, False, False, True, False, True]


def test_the_summed_rate_is_the_integral_of_a_rate_that_goes_in_lines():
    # A linear warm-up to 0.5 at iteration 10 and a constant rate: its integral in closed form.
    times = np.array([0.0, 4.0, 10.0, 30.0])
    rates = np.minimum(times / 10, 1) * 0.5
    found = summed_rate(times, rates)
    np.testing.assert_allclose(found, [0, 0.5 * 16 / 20, 2.5, 12.5])
    rates[1] = np.nan
    np.testing.assert_allclose(summed_rate(times, rates), found)


def test_clocks_of_a_recording_are_those_it_holds(make):
    run = make(records=RECORDS, step_sq=np.outer(np.arange(8.0), np.ones(3)))
    found = clocks_of(run)
    np.testing.assert_allclose(found["update_sq"], 3 * np.cumsum(np.arange(8.0)))
    np.testing.assert_allclose(found["samples"], 64 * RECORDS)
    np.testing.assert_array_equal(found["learning_rate_sum"], run["learning_rate_sum"].values)
    bare = make(records=RECORDS, learning_rate_sum=None)
    np.testing.assert_allclose(clocks_of(bare)["learning_rate_sum"], 0.01 * RECORDS)


def test_a_clock_that_was_not_recorded_is_named_with_those_that_were(make):
    run = make(records=RECORDS)
    with pytest.raises(
        ValueError,
        match=r"found no update_sq, .* there \(iteration, learning_rate_sum, samples\)",
    ):
        read_clock(run, "update_sq")


def test_a_distance_is_followed_to_where_it_ceases_to_be_a_number(make):
    run = make(records=RECORDS)
    run["distance_sq"].values[-2:] = np.nan
    distance, fitted = followed(run, "samples")
    assert distance["iteration"].values.tolist() == [1, 2, 5, 10, 20]
    assert distance["samples"].values.tolist() == [64, 128, 320, 640, 1280]
    assert fitted == 0


def test_a_rate_that_changes_is_noticed(make):
    run = make(records=RECORDS)
    assert not rate_changes(run)
    run["learning_rate"].values[-1] *= 0.9
    assert rate_changes(run)
    assert not rate_changes(make(records=RECORDS, learning_rate=None))


def test_series_have_the_summed_rate_where_their_own_rate_changes():
    rates = xr.DataArray(
        np.stack([np.full(8, 0.1), np.where(RECORDS < 20, 0.1, 0.01)]),
        {"iteration": RECORDS},
        ["run", "iteration"],
    )
    distance = xr.concat([curve(), curve()], dim="run")
    steady, changed = series_clocks(distance, None, rates)
    assert steady.name == "iteration" and steady.change == ""
    assert changed.name == "learning_rate_sum"
    assert "from 0.1 to 0.01 by iteration 20" in changed.change
    np.testing.assert_allclose(changed.values, summed_rate(RECORDS, rates.values[1]))


def test_a_sum_that_stands_beside_the_distance_goes_before_one_of_rates():
    rate = xr.DataArray(np.where(RECORDS < 20, 0.1, 0.01), {"iteration": RECORDS}, ["iteration"])
    exact = np.linspace(0, 1, 8)
    (found,) = series_clocks(curve(learning_rate_sum=exact), None, rate)
    np.testing.assert_array_equal(found.values, exact)


@pytest.mark.parametrize(
    ("clock", "message"),
    [
        (
            "samples",
            r"no samples beside the distance \(iteration, seen\), expected .* run\['samples'\]",
        ),
        (np.ones(3), r"clock: found shape \(3,\), expected \(8,\)"),
        (-RECORDS, "clock: clock falls from 0 to -1 at iteration 1"),
        (curve().rename(iteration="time"), "clock: found dimensions time"),
    ],
)
def test_a_clock_that_is_none_is_told(clock, message):
    with pytest.raises(ValueError, match=message):
        series_clocks(curve(seen=RECORDS * 2.0), clock, None)


def test_what_is_no_clock_at_all_is_told():
    with pytest.raises(TypeError, match="clock: found dict, expected a name or numbers"):
        series_clocks(curve(), {}, None)
