"""Jumps, changes and rest: known answers, and curves that do none of it."""

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.growth.departures import at_rest, beside, find_breaks, is_shape, jumps
from ultraslow.analysis.growth.fit import fit_growth
from ultraslow.analysis.growth.grids import time_grid
from ultraslow.analysis.growth.status import Settings

TIMES = np.unique(np.geomspace(1, 2e4, 80).round())
EARLY, LATE = np.minimum(TIMES, 1500) / 1500, np.maximum(TIMES / 1500, 1.0)


def noisy(curve, share=0.002, seed=0):
    rng = np.random.default_rng(seed)
    return curve / np.ptp(curve) + share * rng.standard_normal((1, TIMES.size))


def broken(values):
    frame = time_grid(TIMES, Settings(calibrate=False)).frame
    return find_breaks(frame, values)[0]


def fit(values, **options):
    curve = xr.DataArray(values[0], {"iteration": TIMES}, ["iteration"])
    return fit_growth(curve, calibrate=False, **options)


@pytest.mark.parametrize("size", [0.08, -0.08])
def test_a_jump_that_lasts_is_found_where_it_is(size):
    values = noisy(np.log(TIMES)) + size * (TIMES >= 1000)
    found = broken(values)
    assert TIMES[found.place - 1] < 1000 <= TIMES[found.place]
    assert found.jump == pytest.approx(size / np.ptp(values), abs=0.02)


def test_a_spike_that_goes_back_is_no_jump():
    spike = 0.15 * np.exp(-np.maximum(TIMES - 1000, 0) / 150) * (TIMES >= 1000)
    assert broken(noisy(np.log(TIMES)) + spike) is None


@pytest.mark.parametrize("exponent", [-1.0, -0.5, 0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    "times", [TIMES, np.arange(1.0, 121.0)], ids=["even in ln t", "even in t"]
)
def test_no_member_of_the_family_leaves_it(exponent, times):
    curve = np.log(times) if exponent == 0 else times**exponent / exponent
    frame = time_grid(times, Settings(calibrate=False)).frame
    assert find_breaks(frame, curve[None]) == [None]


def test_a_change_of_law_is_found_about_where_it_is():
    found = broken(noisy(np.log(np.minimum(TIMES, 1500)) + LATE - 1))
    assert 1000 < TIMES[found.place] < 2500
    assert not found.rests and not found.jump
    assert found.two_left < 0.5 * found.left


def test_rest_is_found_and_told_with_what_is_added():
    found = broken(noisy(EARLY))
    assert found.rests
    assert abs(found.added) < 0.05
    told = fit(noisy(EARLY))
    assert told.status.item() == "saturated"
    assert "the distance comes to rest at about iteration" in told.reason.item()
    assert 900 < told.break_at.item() < 2000


def test_two_phases_are_told_with_their_exponents():
    values = noisy(np.log(TIMES), 0.0005) + 0.3 * (TIMES >= 500)
    told = fit(values)
    assert told.status.item() == "two_phases"
    assert told.break_at.item() == TIMES[TIMES >= 500][0]
    assert told.exponent_before.item() == pytest.approx(0.0, abs=0.1)
    place = np.flatnonzero(TIMES >= 500)[0]
    before, after = values[0, place - 1 : place + 1]
    share = 100 * (after / before - 1)
    said = f"jumps up by {share:.0f}%, from {before:.4g} to {after:.4g} at iteration"
    assert said in told.reason.item()
    assert f"p before it {told.exponent_before.item():.2f}" in told.reason.item()


def test_phases_that_are_not_asked_for_change_nothing_else():
    values = noisy(np.log(np.minimum(TIMES, 1500)) + LATE - 1)
    whole, bare = fit(values), fit(values, phases=False)
    assert bare.reason.item() == whole.reason.item().partition("; p before it")[0]
    assert np.isnan(bare.exponent_before) and np.isnan(bare.exponent_after)
    told = ["reason", "exponent_before", "exponent_after"]
    xr.testing.assert_identical(bare.drop_vars(told), whole.drop_vars(told))


def test_a_clock_is_named_where_a_curve_breaks_on_it():
    values = noisy(np.log(TIMES)) + 0.3 * (TIMES >= 500)
    told = fit(values, clock=xr.DataArray(TIMES * 0.01, {"iteration": TIMES}, ["iteration"]))
    assert f"at clock = {0.01 * TIMES[TIMES >= 500][0]:.4g};" in told.reason.item()


def test_saturation_beyond_the_exponents_considered_is_called_so():
    rng = np.random.default_rng(3)
    values = (2 - np.exp(-TIMES / 300))[None] + 0.01 * rng.standard_normal((1, TIMES.size))
    told = fit(values)
    assert told.status.item() == "saturated"
    assert told.exponent_low.item() == -np.inf
    assert "comes to rest" in told.reason.item()


def test_spikes_are_told_and_not_called_rest():
    rng = np.random.default_rng(3)
    values = 40 * (1 - np.exp(-TIMES / 300))[None] + 0.4 * rng.standard_normal((1, TIMES.size))
    values[0, -12::5] += 20
    values = np.abs(values)
    told = fit(values)
    assert told.status.item() == "saturated"
    assert f"but for spikes of up to {values.max():.3g} the distance stays near 39" in (
        told.reason.item()
    )
    assert "rest" not in told.reason.item()


def test_few_records_tell_of_no_break():
    frame = time_grid(TIMES[:19], Settings(calibrate=False)).frame
    assert find_breaks(frame, (TIMES[:19] > 9)[None].astype(float)) == [None]


def test_a_curve_at_rest_may_have_spikes():
    rest = np.minimum(TIMES, 300.0)
    rest[-20::4] += 200
    assert at_rest(TIMES, rest[None]).tolist() == [True]
    assert at_rest(TIMES, np.log(TIMES)[None]).tolist() == [False]


@pytest.mark.parametrize("times", [TIMES, np.arange(1.0, 481.0)], ids=["in ln t", "in t"])
def test_rest_is_no_matter_of_how_records_lie(times):
    share = times / times[-1]
    curves = np.stack([np.log(times), 1 - np.exp(-15 * share), -(share**-0.2), share**0.5])
    assert at_rest(times, curves).tolist() == [False, True, False, False]


def test_what_turns_up_at_its_end_is_not_at_rest():
    turned = 1 - np.exp(-TIMES / 100) + 0.02 * np.maximum(TIMES / 6000, 1.0) ** 1.5
    assert at_rest(TIMES, turned[None]).tolist() == [False]


def test_of_several_jumps_the_largest_is_told():
    values = np.log(TIMES) / 10 + 0.05 * (TIMES >= 200) + 0.1 * (TIMES >= 2000)
    (size,) = jumps(TIMES, values[None] / np.ptp(values))
    first, last = TIMES[np.searchsorted(TIMES, [200, 2000])]
    assert TIMES[np.flatnonzero(size)].tolist() == [first, last]
    assert 0 < size[size > 0][0] < size[size > 0][1]
    reason = fit(noisy(values, 0.0005)).reason.item()
    assert f"at iteration {last:.4g}; it also jumps up by" in reason
    assert f"at iteration {first:.4g}; p before it" in reason


def test_a_law_beside_its_records_is_told_with_the_closest_one():
    values = (np.log(TIMES) + 0.05 * np.sin(TIMES))[None]
    frame = time_grid(TIMES, Settings(calibrate=False)).frame
    assert beside(frame, values, np.log(TIMES)[None]) == [None]
    ((left, closest),) = beside(frame, values, np.log(TIMES)[None] - 1.5)
    assert left == pytest.approx(1.5 / np.ptp(values), rel=0.02)
    assert closest < left / 2


def test_what_rises_and_falls_is_a_shape_and_no_lack_of_growth():
    values = 1 + noisy(EARLY - 0.6 * np.log(LATE), 0.01)
    told = fit(values)
    assert told.status.item() == "two_phases"
    walks = np.random.default_rng(5).standard_normal((100, TIMES.size)).cumsum(axis=1)
    frame = time_grid(TIMES, Settings(calibrate=False)).frame
    found = [one for one in find_breaks(frame, walks) if one is not None]
    assert found and not any(map(is_shape, found))
