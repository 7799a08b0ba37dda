"""Intervals against a scan of the likelihood ratio and against p-values, and their edge cases."""

import numpy as np
import pytest

from ultraslow.analysis.growth.critical_values import NullRatios
from ultraslow.analysis.growth.family import frame
from ultraslow.analysis.growth.interval import Asymptotic, Calibrated, invert, told_from_log
from ultraslow.analysis.growth.noise_models import NoiseModel, menu, simulate_noise
from ultraslow.analysis.growth.surface import (
    maximum,
    products,
    profile,
    standard_error,
    surface,
)
from ultraslow.diffusion.laws.growth import growth_regressor

TIMES = np.geomspace(10, 1e5, 40)
FRAME = frame(TIMES, menu(TIMES), onsets=(0.0, 1e4))
FIXED = frame(TIMES, (NoiseModel("white"),), onsets=(0.0, 0.0))
FEW = frame(TIMES, menu(TIMES)[::6], onsets=(0.0, 1e4))
SIMULATED = NullRatios(FEW, draws=200)
LIMIT = 3.841458820694124  # 95 % quantile of χ² with one degree of freedom


TEST = Asymptotic(0.95)


def held(at, exponent):
    """The surfaces held at exponents, from the lattice's onset nearest to each."""
    column = np.abs(at.scan.exponents - exponent[:, None]).argmin(axis=1)
    return profile(at, exponent, at.scan.shift[np.arange(column.size), column])


def ratio(at):
    return at.root**2


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


def many_curves(count=400):
    """Curves of all kinds over TIMES: with and without growth, onset, wander and misfit."""
    rng = np.random.default_rng(2)
    exponents, onsets = rng.normal(0, 0.2, count), 10 ** rng.uniform(0, 4.5, count)
    log_time = np.log(TIMES + onsets[:, None])
    curves = growth_regressor(log_time - log_time[:, -1:], exponents[:, None])
    curves = (curves - curves[:, :1]) / np.ptp(curves, axis=1)[:, None]
    curves[::10] *= 0.02
    curves[1::10] = np.cumsum(curves[1::10] * (1 + np.sin(np.log(TIMES))), axis=1)
    kinds = NoiseModel("white"), NoiseModel("ar_log_t", 0.5), NoiseModel("walk_log_t")
    parts = [simulate_noise(kind, TIMES, count, rng=rng) for kind in kinds]
    noise = np.choose(rng.integers(3, size=count)[:, None], parts)
    return curves + 10 ** rng.uniform(-4, -1, count)[:, None] * noise


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_the_interval_holds_0_where_the_p_value_of_0_exceeds_what_the_level_leaves(level):
    values = many_curves()
    at = surface(FEW, values / values.std(axis=1, keepdims=True), 0.0)
    for test in (Calibrated(level, SIMULATED), Asymptotic(level)):
        found = invert(at, test)
        held = (found.low <= 0) & (found.high >= 0)
        assert np.array_equal(held, found.log_p_value > 1 - level)
        assert 0.1 < held.mean() < 0.9
        assert np.all((found.low <= at.peak.exponent) & (at.peak.exponent <= found.high))


class InPieces:
    """Rejects exponents of a stretch that holds 0, and none beside it."""

    level = 0.95

    def deviate(self, at):
        away = np.abs(at.held.exponent - at.peak.exponent)
        return np.where((away > 0.05) & (np.abs(at.held.exponent) < 0.1), 3.0, 1.0 + 0.5 * away)

    def critical(self, at):
        return np.full(at.held.value.shape, LIMIT)


def test_a_rejected_0_between_two_accepted_pieces_has_the_p_value_of_the_farther_one():
    noise = simulate_noise(NoiseModel("white"), TIMES, 5, rng=np.random.default_rng(3))
    at = surface(FIXED, TIMES**0.3 / TIMES[-1] ** 0.3 + 0.1 * noise, 0.0)
    found = invert(at, InPieces())
    held = (found.low <= 0) & (found.high >= 0)
    assert np.array_equal(held, found.log_p_value > 0.05)
