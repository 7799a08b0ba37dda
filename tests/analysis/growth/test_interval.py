"""Intervals against a scan of the likelihood ratio, and their edge cases."""

import numpy as np
import pytest

from ultraslow.analysis.growth.critical_values import Asymptotic, ratio
from ultraslow.analysis.growth.interval import (
    constrained,
    interval,
    residual_scale,
    signal,
    standard_error,
    surface,
)
from ultraslow.analysis.growth.likelihood import frame, moments
from ultraslow.analysis.growth.maximum import lattice
from ultraslow.analysis.growth.noise_models import NoiseModel, menu, simulate

TIMES = np.geomspace(10, 1e5, 40)
FRAME = frame(TIMES, menu(TIMES), onsets=(0.0, 1e4))
FIXED = frame(TIMES, (NoiseModel("white"),), onsets=(0.0, 0.0))
LIMIT = 3.841458820694124  # 95 % quantile of χ² with one degree of freedom


def limits(at, point):
    return Asymptotic().critical(at, point, 0.95)


def surfaces(shared, scale, count=20):
    noise = simulate(NoiseModel("white"), TIMES, count, rng=np.random.default_rng(0))
    return surface(shared, lattice(shared), moments(shared, np.log(TIMES) / 9 + scale * noise))


@pytest.mark.parametrize("scale", [0.001, 0.01, 0.05])
def test_ends_are_where_the_ratio_crosses_its_limit(scale):
    at = surfaces(FIXED, scale)
    low, high = interval(at, limits)
    for end, inward in ((low, 1), (high, -1)):
        inside = ratio(*constrained(at, end + inward * 1e-3 * (high - low)))
        outside = ratio(*constrained(at, end - inward * 1e-3 * (high - low)))
        assert np.all(inside < LIMIT)
        assert np.all(outside > LIMIT)


def test_interval_of_a_quiet_curve_is_the_wald_interval():
    at = surfaces(FIXED, 1e-4)
    low, high = interval(at, limits)
    # The REML ratio of one parameter and n − 2 = 38: (n − 2) ln(1 + z²/(n − 3)), close to z².
    assert (high - low) / 2 == pytest.approx(1.96 * standard_error(at, at.peak), rel=0.03)


def test_interval_is_unbounded_where_there_is_no_growth():
    noise = simulate(NoiseModel("white"), TIMES, 40, rng=np.random.default_rng(1))
    at = surface(FRAME, lattice(FRAME), moments(FRAME, noise))
    low, high = interval(at, limits)
    assert np.mean(np.isinf(low) & np.isinf(high)) > 0.7
    assert np.all(low <= high)


def test_signal_and_scale_are_those_of_the_simulation():
    at = surfaces(FIXED, 0.01, count=400)
    # p̂ takes one more degree of freedom than σ̂ allows for.
    expected = 0.01 * np.sqrt(37 / 38)
    assert residual_scale(at, at.peak).mean() == pytest.approx(expected, rel=0.02)
    # ln t / 9 has length √Σ(L − L̄)²/9 = 1.94 over these times, 194 times the noise.
    log_time = np.log(TIMES)
    expected = np.linalg.norm(log_time - log_time.mean()) / 9 / 0.01
    assert np.median(signal(at, at.peak)) == pytest.approx(expected, rel=0.05)


def test_standard_error_is_the_spread_of_estimates():
    at = surfaces(FIXED, 0.01, count=400)
    assert np.median(standard_error(at, at.peak)) == pytest.approx(at.peak.exponent.std(), rel=0.1)


def test_constraining_never_leaves_a_point_above_the_peak():
    at = surfaces(FRAME, 0.05)
    for exponent in (-1.0, 0.0, 0.3):
        raised, point = constrained(at, np.full(20, exponent))
        assert np.all(raised.peak.value >= point.value)
        assert np.all(raised.peak.value >= at.peak.value)
