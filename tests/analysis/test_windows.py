"""Windows: the scan over first iterations, and the average over them."""

import numpy as np
import pytest
import xarray as xr

from analysis.noise_models import NoiseModel, simulate
from analysis.windows import average, start_scan


def test_scan_finds_where_the_early_law_ends():
    # Ballistic up to iteration 100, logarithmic after: only late starts give p = 0.
    times = np.unique(np.geomspace(1, 1e5, 100).astype(int))
    curve = np.where(times < 100, times / 100, 1 + np.log(times / 100))
    distance = xr.DataArray(curve, {"iteration": times}, ["iteration"])
    found = start_scan(distance, [1, 100, 99000], calibrate=False)
    assert abs(found.exponent.sel(start=100)) < 1e-6
    assert abs(found.exponent.sel(start=1)) > 0.01
    assert found.status.sel(start=99000) == "too_few_points"


def curve(values, times):
    return xr.DataArray(values, {"iteration": times}, ["iteration"])


def noisy(values, times, scale, seed=0):
    noise = simulate(NoiseModel("white"), times, 1, rng=np.random.default_rng(seed))[0]
    return curve(values + scale * noise, times)


def test_average_leaves_out_windows_that_begin_in_another_regime():
    times = np.geomspace(1, 1e5, 60)
    law = np.where(times < 100, times / 100, 1 + np.log(np.maximum(times, 100) / 100))
    distance = noisy(law, times, 0.02)
    starts = [1.0, 3.0, 10.0, 100.0, 300.0, 1000.0]
    found = average(distance, start_scan(distance, starts, calibrate=False))
    assert found.weights[:3].sum() < 0.01
    assert found.weights.sum() == pytest.approx(1.0)
    assert abs(found.exponent) < 0.03


def test_average_prefers_the_longest_of_windows_that_all_fit():
    times = np.geomspace(1, 1e5, 60)
    distance = noisy(np.log(times), times, 0.05)
    found = average(distance, start_scan(distance, [1.0, 10.0, 100.0], calibrate=False))
    assert found.weights[0] > 0.9
    assert found.low < found.exponent < found.high


def test_weights_are_those_of_the_definition():
    # White noise: χ² is RSS over the variance of the shortest window.
    times = np.geomspace(1, 1e4, 50)
    distance = noisy(np.log(times), times, 0.05, seed=2)
    scan = start_scan(distance, [1.0, 2.0], calibrate=False, onset=0.0)
    assert set(scan.noise_kind.values) == {"white"}
    costs = []
    for row, start in enumerate((1.0, 2.0)):
        used = times >= start
        fit = scan.isel(start=row)
        p = fit.exponent.item()
        model = fit.offset.item() + fit.slope.item() * (times[used] ** p - 1) / p
        costs.append((np.sum((distance.values[used] - model) ** 2), np.sum(~used)))
    variance = costs[1][0] / (times.size - costs[1][1] - 4)
    expected = np.exp([-0.5 * square / variance - cut for square, cut in costs])
    found = average(distance, scan).weights
    assert found == pytest.approx(expected / expected.sum(), rel=1e-6)


def test_without_a_bounded_window_there_is_no_average():
    times = np.geomspace(1, 1e4, 30)
    distance = curve(np.zeros(30), times)
    found = average(distance, start_scan(distance, [1.0], calibrate=False))
    assert np.isnan(found.exponent)
    assert found.reason == "no window has a bounded interval"


def test_the_average_does_not_depend_on_the_order_of_the_starts():
    times = np.geomspace(1, 1e4, 50)
    distance = noisy(np.log(times), times, 0.1)
    starts = [1.0, 10.0, 100.0, 400.0]
    found = average(distance, start_scan(distance, starts, calibrate=False))
    turned = average(distance, start_scan(distance, starts[::-1], calibrate=False))
    assert turned.exponent == pytest.approx(found.exponent, rel=1e-9)
    assert turned.weights[::-1] == pytest.approx(found.weights, rel=1e-9)


def test_messages():
    times = np.geomspace(1, 1e4, 50)
    distance = noisy(np.log(times), times, 0.1)
    with pytest.raises(ValueError, match="starts: found shape"):
        start_scan(distance, [])
    scan = start_scan(distance, 10.0, calibrate=False)
    assert scan.sizes["start"] == 1
    several = xr.concat([distance, distance], "seed")
    with pytest.raises(ValueError, match="expected those of one series"):
        average(several, scan)


def test_the_interval_is_made_of_errors_and_differences_between_windows():
    times = np.geomspace(1, 1e4, 50)
    distance = noisy(np.log(times), times, 0.1, seed=3)
    scan = start_scan(distance, [1.0, 5.0, 20.0], calibrate=False)
    z = {0.8: 1.281552, 0.95: 1.959964}
    errors = (scan["exponent_high"] - scan["exponent_low"]).values / (2 * z[0.95])
    for level in z:
        found = average(distance, scan, level=level)
        mean, variance = 0.0, 0.0
        for weight, p in zip(found.weights, scan["exponent"].values, strict=True):
            mean += weight * p
        for weight, p, error in zip(found.weights, scan["exponent"].values, errors, strict=True):
            variance += weight * (error**2 + (p - mean) ** 2)
        half = z[level] * np.sqrt(variance)
        assert found.exponent == pytest.approx(mean)
        assert (found.low, found.high) == pytest.approx((mean - half, mean + half))
