"""Phases of constant learning rate, and the scan over first iterations."""

import numpy as np
import pytest
import xarray as xr

from analysis.phases import longest, phases, start_scan, within

TIMES = np.unique(np.geomspace(1, 1e4, 50).astype(int))


def test_phases_follow_the_recorded_rate():
    rates = np.where(TIMES < 10, 0.05, np.where(TIMES < 3000, 0.1, 0.01))
    found = phases(TIMES, rates)
    assert [phase.learning_rate for phase in found] == [0.05, 0.1, 0.01]
    assert sum(phase.records for phase in found) == TIMES.size
    best = longest(found)
    assert best.learning_rate == 0.1
    assert best.decades == pytest.approx(np.log10(best.last / best.first))


def test_rounding_to_float32_is_no_change():
    rates = np.full(TIMES.size, 0.1)
    rates[::2] = np.float32(0.1)
    assert len(phases(TIMES, rates)) == 1


def test_missing_rates_and_iteration_0_belong_to_no_phase():
    assert phases([0, 1, 2], [0.1, np.nan, 0.1])[0].first == 2
    assert phases([0], [0.1]) == []
    assert longest([]) is None


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"learning_rate: found shape \(1,\)"):
        phases([1, 2], [0.1])


def test_within_keeps_the_phase_only():
    distance = xr.DataArray(np.log(TIMES), {"iteration": TIMES}, ["iteration"])
    phase = phases(TIMES, np.where(TIMES < 100, 0.1, 0.01))[1]
    kept = within(distance, phase)
    assert (kept.iteration.min(), kept.iteration.max()) == (phase.first, phase.last)


def test_scan_finds_where_the_early_law_ends():
    # Ballistic up to iteration 100, logarithmic after: only late starts give p = 0.
    times = np.unique(np.geomspace(1, 1e5, 100).astype(int))
    curve = np.where(times < 100, times / 100, 1 + np.log(times / 100))
    distance = xr.DataArray(curve, {"iteration": times}, ["iteration"])
    found = start_scan(distance, [1, 100, 99000], calibrate=False)
    assert abs(found.exponent.sel(start=100)) < 1e-6
    assert abs(found.exponent.sel(start=1)) > 0.01
    assert found.status.sel(start=99000) == "too_few_points"
