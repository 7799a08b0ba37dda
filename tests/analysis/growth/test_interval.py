"""Intervals against a scan of the likelihood ratio, and their edge cases."""

import numpy as np
import pytest

from ultraslow.analysis.growth.family import frame
from ultraslow.analysis.growth.interval import Asymptotic, invert, ratio, told_from_log
from ultraslow.analysis.growth.noise_models import NoiseModel, menu, simulate_noise
from ultraslow.analysis.growth.surface import maximum, products, profile, standard_error, surface

TIMES = np.geomspace(10, 1e5, 40)
FRAME = frame(TIMES, menu(TIMES), onsets=(0.0, 1e4))
FIXED = frame(TIMES, (NoiseModel("white"),), onsets=(0.0, 0.0))
LIMIT = 3.841458820694124  # 95 % quantile of χ² with one degree of freedom


TEST = Asymptotic(0.95)


def held(at, exponent):
    """The surfaces held at exponents, from the lattice's onset nearest to each."""
    column = np.abs(at.scan.exponents - exponent[:, None]).argmin(axis=1)
    return profile(at, exponent, at.scan.shift[np.arange(column.size), column])


def surfaces(shared, scale, count=20):
    noise = simulate_noise(NoiseModel("white"), TIMES, count, rng=np.random.default_rng(0))
    return surface(shared, np.log(TIMES) / 9 + scale * noise, 0.0)


@pytest.mark.parametrize("scale", [0.001, 0.01, 0.05])
def test_ends_are_where_the_ratio_crosses_its_limit(scale):
    at = surfaces(FIXED, scale)
    low, high = invert(at, TEST)[:2]
    for end, inward in ((low, 1), (high, -1)):
        inside = ratio(held(at, end + inward * 1e-3 * (high - low)))
        outside = ratio(held(at, end - inward * 1e-3 * (high - low)))
        assert np.all(inside < LIMIT)
        assert np.all(outside > LIMIT)


def test_interval_of_a_quiet_curve_is_the_wald_interval():
    at = surfaces(FIXED, 1e-4)
    low, high = invert(at, TEST)[:2]
    # The REML ratio of one parameter and n − 2 = 38: (n − 2) ln(1 + z²/(n − 3)), close to z².
    assert (high - low) / 2 == pytest.approx(
        1.96 * standard_error(at, invert(at, TEST).sigma), rel=0.03
    )


def test_interval_is_unbounded_where_there_is_no_growth():
    noise = simulate_noise(NoiseModel("white"), TIMES, 40, rng=np.random.default_rng(1))
    at = surface(FRAME, noise, 0.0)
    low, high = invert(at, TEST)[:2]
    assert np.mean(np.isinf(low) & np.isinf(high)) > 0.7
    assert np.all(low <= high)


def test_signal_and_scale_are_those_of_the_simulation():
    at = surfaces(FIXED, 0.01, count=400)
    # p̂ takes one more degree of freedom than σ̂ allows for.
    expected = 0.01 * np.sqrt(37 / 38)
    assert invert(at, TEST).sigma.mean() == pytest.approx(expected, rel=0.02)
    # ln t / 9 has length √Σ(L − L̄)²/9 = 1.94 over these times, 194 times the noise.
    log_time = np.log(TIMES)
    expected = np.linalg.norm(log_time - log_time.mean()) / 9 / 0.01
    assert np.median(invert(at, TEST).signal) == pytest.approx(expected, rel=0.05)


def test_standard_error_is_the_spread_of_estimates():
    at = surfaces(FIXED, 0.01, count=400)
    error = standard_error(at, invert(at, TEST).sigma)
    assert np.median(error) == pytest.approx(at.peak.exponent.std(), rel=0.1)


def test_constraining_never_leaves_a_point_above_the_peak():
    noise = simulate_noise(NoiseModel("white"), TIMES, 20, rng=np.random.default_rng(0))
    values = np.log(TIMES) / 9 + 0.05 * noise
    found = maximum(FRAME, products(FRAME, values), surface(FRAME, values, 0.0).scan)
    for exponent in (-1.0, 0.0, 0.3):
        at = surface(FRAME, values, exponent)
        assert np.all(at.held.exponent == exponent)
        assert np.all(at.peak.value >= at.held.value)
        assert np.all(at.peak.value >= found.value)


def test_what_can_be_told_grows_with_the_root_of_the_critical_value():
    one, four = (told_from_log(np.ones(3), np.full(3, c), 0.95) for c in (3.841459, 4 * 3.841459))
    np.testing.assert_allclose(four, 2 * one, rtol=1e-9)
