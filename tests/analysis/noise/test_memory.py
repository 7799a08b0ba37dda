"""Intervals of a ratio of means of one run."""

import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.noise import memory
from ultraslow.analysis.noise.memory import Stretch, ratio_spread
from ultraslow.diffusion.memory import fading_sum_variance, window_covariance


def stretch(rng, *, blocks=40, size=10.0, g=1.0, s=200.0, noise=0.1, inside=None):
    updates = np.full(blocks, size)
    return Stretch(
        g * (1 + noise * rng.standard_normal(blocks)),
        s * (1 + noise * rng.standard_normal(blocks)),
        updates,
        np.ones(blocks, bool) if inside is None else inside,
    )


@pytest.fixture
def white(monkeypatch):
    """A menu of independent noise of constant size alone."""
    monkeypatch.setattr(memory, "FADING", (0.0,))
    monkeypatch.setattr(memory, "_memories", lambda updates: [(0.0, None, 1.0)])
    memory._models.cache_clear()
    yield
    memory._models.cache_clear()


def test_of_independent_noise_the_interval_is_that_of_a_regression(white):
    """Twin: ends B where t of the intercept-free mean of s − B g has Student's quantile."""
    given = stretch(np.random.default_rng(1))
    low, high = ratio_spread([given]).interval(0.95)
    middle = (np.arange(40) + 0.5) / 40
    trend = np.stack([np.ones(40), middle, np.log(middle), np.log(middle) ** 2], axis=1)
    for end in (low, high):
        values = given.noise_trace - end * given.gradient_sq
        rest = values - trend @ np.linalg.lstsq(trend, values, rcond=None)[0]
        error = np.sqrt((rest**2).sum() / 36 / 40)
        assert abs(values.mean()) / error == pytest.approx(stats.t.ppf(0.975, 36), rel=1e-6)


def test_the_interval_mixes_models_by_their_restricted_likelihoods(monkeypatch):
    """Twin: two models, each by generalized least squares, their p-values mixed by hand."""
    given = stretch(np.random.default_rng(2), blocks=30)
    menu = [(0.0, None, 0.25), (1.0, lambda h: fading_sum_variance(h, 25.0), 0.75)]
    monkeypatch.setattr(memory, "FADING", (0.5,))
    monkeypatch.setattr(memory, "_memories", lambda updates: menu)
    memory._models.cache_clear()
    low, _ = ratio_spread([given]).interval(0.9)
    memory._models.cache_clear()
    middle = (np.arange(30) + 0.5) / 30
    trend = np.stack([np.ones(30), middle, np.log(middle), np.log(middle) ** 2], axis=1)
    scale = np.diag(middle**-0.5 / np.sqrt(np.mean(1 / middle)))
    values = given.noise_trace - low * given.gradient_sq
    likely, p_values = [], []
    for prior, shape in (
        (0.25, np.eye(30) / 10),
        (0.75, window_covariance(np.arange(31) * 10.0, lambda h: fading_sum_variance(h, 25.0))),
    ):
        covariance = scale @ shape @ scale
        inverse = np.linalg.inv(covariance)
        normal = trend.T @ inverse @ trend
        rest = values - trend @ np.linalg.solve(normal, trend.T @ inverse @ values)
        square = rest @ inverse @ rest
        volume = np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(normal)[1]
        likely.append(prior * np.exp(-volume / 2) * square ** (-26 / 2))
        error = np.sqrt(square / 26 * covariance.mean())
        p_values.append(2 * stats.t.sf(abs(values.mean()) / error, 26))
    assert np.average(p_values, weights=likely) == pytest.approx(0.1, rel=1e-6)


def test_runs_add_what_each_of_them_tells(white):
    """Twin: two runs of unlike length under independent noise, as one regression."""
    rng = np.random.default_rng(3)
    runs = [stretch(rng, blocks=20), stretch(rng, blocks=30, size=5.0)]
    low, high = ratio_spread(runs).interval(0.95)
    total = sum(one.updates.sum() for one in runs)
    for end in (low, high):
        squares, mean = 0.0, 0.0
        for one in runs:
            count, size = one.updates.size, one.updates[0]
            middle = (np.arange(count) + 0.5) / count
            trend = np.stack([np.ones(count), middle, np.log(middle), np.log(middle) ** 2], axis=1)
            values = one.noise_trace - end * one.gradient_sq
            rest = values - trend @ np.linalg.lstsq(trend, values, rcond=None)[0]
            squares += size * (rest**2).sum()
            mean += size * values.sum() / total
        error = np.sqrt(squares / (50 - 8) / total)
        assert abs(mean) / error == pytest.approx(stats.t.ppf(0.975, 42), rel=1e-6)


@pytest.mark.parametrize("shape", ["line", "logarithm", "its square"])
def test_a_trend_of_the_usual_shapes_is_no_noise(shape):
    """The interval is hardly longer than without it, beside what it is about."""
    rng = np.random.default_rng(4)
    given = stretch(rng, noise=0.02)
    middle = (np.arange(40) + 0.5) / 40
    drawn = {"line": middle, "logarithm": np.log(middle), "its square": np.log(middle) ** 2}[shape]
    grown = Stretch(
        given.gradient_sq, given.noise_trace + 100 * drawn, given.updates, given.inside
    )
    ends = [ratio_spread([one]).interval(0.95) for one in (given, grown)]
    lengths = [np.log(high / low) for low, high in ends]
    assert lengths[1] < 2 * lengths[0]
    assert ratio_spread([grown]).slow_share < 0.5


def test_the_estimate_may_be_about_a_part_of_the_run():
    """tr Σ grows from 200 to 400; over the last quarter it is 375."""
    rng = np.random.default_rng(5)
    late = np.arange(40) >= 30
    whole = stretch(rng)
    grown = whole.noise_trace * (1 + (np.arange(40) + 0.5) / 40)
    part = Stretch(whole.gradient_sq, grown, whole.updates, late)
    low, high = ratio_spread([part]).interval(0.95)
    assert 300 < low < 375 < high


def test_a_slow_part_that_a_run_holds_little_of_is_told():
    """Of a correlation over 300 updates a run of 1,000 has 1.7 independent stretches."""
    rng = np.random.default_rng(6)
    told = {"independent": 0, "slow": 0}
    for _ in range(40):
        given = stretch(rng, blocks=100, noise=0.01)
        told["independent"] += ratio_spread([given]).slow_share > 0.5
        fading = np.exp(-np.arange(600) / 30)
        slow = given.noise_trace + 10 * np.convolve(rng.standard_normal(699), fading, "valid")
        wandering = Stretch(given.gradient_sq, slow, given.updates, given.inside)
        told["slow"] += ratio_spread([wandering]).slow_share > 0.5
    assert told["independent"] <= 2
    assert told["slow"] >= 10


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_units_of_both_moments_drop_out(unit):
    given = stretch(np.random.default_rng(7), noise=0.5)
    scaled = unit * given.gradient_sq, 10 * unit * given.noise_trace
    other = Stretch(*scaled, given.updates, given.inside)
    np.testing.assert_allclose(
        10 * np.array(ratio_spread([given]).interval(0.95)),
        ratio_spread([other]).interval(0.95),
        rtol=1e-9,
    )


def test_a_higher_level_makes_a_longer_interval():
    given = stretch(np.random.default_rng(8))
    ends = [ratio_spread([given]).interval(level) for level in (0.8, 0.95, 0.99)]
    lows, highs = zip(*ends, strict=True)
    assert lows[0] > lows[1] > lows[2] and highs[0] < highs[1] < highs[2]
