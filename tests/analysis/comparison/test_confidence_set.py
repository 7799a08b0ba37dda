"""Confidence sets: known laws, a second way to the p-value, and what is refused."""

import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.comparison.confidence_set import TOLERANCES, confidence_set
from ultraslow.analysis.comparison.forecast import forecasts
from ultraslow.analysis.comparison.laws import CANDIDATES, candidate

TIMES = np.geomspace(1, 3000, 50)


def runs(curve, *, count=4, noise=0.01, seed=0):
    rng = np.random.default_rng(seed)
    curve = curve / np.ptp(curve)
    own = 1 + 0.05 * rng.standard_normal((count, 1))
    return 0.3 + own * curve + noise * rng.standard_normal((count, TIMES.size))


def test_a_logarithm_survives_and_diffusion_does_not():
    found = confidence_set(TIMES, runs(np.log(TIMES)))
    assert {"log", "log with onset"} <= set(found.surviving)
    assert "N7 diffusion and drift" not in found.surviving
    assert found.tolerance == 0


@pytest.mark.parametrize("seed", range(3))
def test_diffusion_excludes_the_logarithm_with_three_runs(seed):
    found = confidence_set(TIMES, runs(np.sqrt(TIMES), count=3, seed=seed))
    assert "power" in found.surviving
    assert found.p_values["log"] < 0.01


def test_the_p_value_of_a_law_without_shapes_is_that_of_its_t_tests():
    values = runs(np.log(TIMES), seed=3)
    found = confidence_set(TIMES, values, candidates=[candidate("log")]).p_values["log"]
    clock, each = np.log10(TIMES), []
    for one in forecasts(TIMES):
        places = np.linspace(-0.2, 0, 21) + np.log10(one.origin) + one.ahead
        off = []
        for series in values:
            line = np.polynomial.Polynomial.fit(clock[: one.fitted], series[: one.fitted], 1)
            off.append(line(places).mean() / np.interp(places, clock, series).mean() - 1)
        each.append(stats.ttest_1samp(off, 0).pvalue)
    assert found == pytest.approx(min(1, len(each) * min(each)), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "curve"),
    [
        ("power", TIMES**0.3),
        ("log with onset", np.log1p(TIMES / 20)),
        ("N1 quadratic", np.log1p(TIMES / 20) ** 2),
    ],
)
def test_the_p_value_is_the_largest_over_shapes(name, curve):
    law = candidate(name)
    values = runs(curve, seed=5, noise=0.02)
    chosen = confidence_set(TIMES, values, candidates=[law])
    found = chosen.p_values[name]
    assert chosen.tolerance == 0
    low, high = law.bounds(TIMES)
    rng = np.random.default_rng(1)
    shapes = [low + rng.random(low.size) * (high - low) for _ in range(1000)]
    asked, best = forecasts(TIMES), np.inf
    actual = values @ np.array([one.weights for one in asked]).T
    for shape in shapes:
        curve = law.curves(TIMES, np.atleast_1d(shape)[None])[0]
        largest = 0.0
        for k, one in enumerate(asked):
            design = np.stack([np.ones(one.fitted), curve[: one.fitted]], axis=1)
            a, b = np.linalg.lstsq(design, values[:, : one.fitted].T, rcond=None)[0]
            off = (a + b * (curve @ one.weights)) / actual[:, k] - 1
            largest = max(largest, abs(stats.ttest_1samp(off, 0).statistic))
        best = min(best, largest)
    tried = min(1, 2 * len(asked) * stats.t.sf(best, len(values) - 1))
    assert found >= tried * (1 - 1e-6)
    assert found <= 1.2 * tried + 0.01


def test_what_no_law_describes_holds_to_within_a_tolerance():
    wave = np.sqrt(TIMES) * (1 + 0.02 * np.sin(3 * np.log(TIMES)))
    chosen = [candidate("log"), candidate("power")]
    exact = confidence_set(TIMES, runs(wave, count=8, noise=1e-4), candidates=chosen)
    assert exact.surviving == ("power",)
    assert exact.tolerance in TOLERANCES[1:]


def test_what_nothing_describes_has_an_empty_set():
    step = 1 + (TIMES > 500) * 5 + 0.01 * np.log(TIMES)
    found = confidence_set(TIMES, runs(step, count=8, noise=1e-4), candidates=CANDIDATES[:1])
    assert (found.surviving, found.tolerance) == ((), TOLERANCES[-1])


def test_neither_order_nor_scale_of_runs_matters():
    values = runs(TIMES**0.3)
    chosen = [candidate("log"), candidate("power")]
    first = confidence_set(TIMES, values, candidates=chosen).p_values
    second = confidence_set(10 * TIMES, 7 * values[::-1], candidates=chosen).p_values
    assert first == pytest.approx(second, rel=1e-6)


def test_runs_without_noise_keep_their_law():
    found = confidence_set(TIMES, np.sqrt(TIMES) * np.array([[1.0], [1.1], [1.2]]))
    assert "power" in found.surviving
    assert "log" not in found.surviving


def test_one_run_is_refused():
    with pytest.raises(ValueError, match="values: found one run"):
        confidence_set(TIMES, np.sqrt(TIMES)[None])
