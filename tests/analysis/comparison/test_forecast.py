"""Rolling origins: exact laws predict exactly, wrong ones do not, and runs decide."""

import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.comparison.forecast import Forecasts, rolling_origin, surviving_laws
from ultraslow.analysis.comparison.laws import CANDIDATES, candidate

TIMES = np.geomspace(1, 1e4, 60)
LOG = np.log(TIMES)[None]
EXACT = {
    "log": np.log(TIMES),
    "log with onset": np.log1p(TIMES / 30),
    "power": TIMES**0.3,
    "saturating power": 1 - TIMES**-0.5,
    "exponential saturation": np.sqrt(-np.expm1(-TIMES / 2000)),
    "power of the log": np.log1p(TIMES) ** 2,
    "N3 scale-invariant": np.sqrt(np.sqrt(1 + TIMES / 50) - 1),
    "N7 diffusion and drift": np.sqrt(TIMES + TIMES**2 / 500),
}


@pytest.mark.parametrize("name", EXACT)
def test_the_true_law_predicts_exactly(name):
    laws = [candidate(law) for law in EXACT]
    found = rolling_origin(TIMES, 1 + 2 * EXACT[name][None], candidates=laws, origins=4)
    # The first origins lie before the curve's own time scale, where a law is not told from others.
    late = dict(zip(found.laws, found.by_origin[:, 0, 2, 0], strict=True))
    assert late[name] < 1e-3
    assert late[name] < min(late.values()) + 1e-3


def test_a_logarithm_misses_a_small_power_far_ahead_more_than_close_by():
    found = rolling_origin(TIMES, (TIMES**0.1)[None], candidates=[candidate("log")])
    errors = found.errors[0, 0]
    assert errors[2] > 2 * errors[0]


def test_errors_are_those_of_a_loop_over_origins():
    rng = np.random.default_rng(0)
    values = np.log(TIMES) + 0.05 * rng.standard_normal((2, TIMES.size))
    found = rolling_origin(TIMES, values, candidates=[candidate("log")], horizons=(3.0,))
    for run, series in enumerate(values):
        for column, origin in enumerate(found.origins):
            past, ahead = origin >= TIMES, (origin < TIMES) & (3 * origin * (1 + 1e-9) >= TIMES)
            line = np.polyfit(np.log(TIMES[past]), series[past], 1)
            missed = series[ahead] - np.polyval(line, np.log(TIMES[ahead]))
            expected = np.sqrt(np.mean(missed**2)) / np.ptp(series[past])
            assert found.by_origin[0, run, column, 0] == pytest.approx(expected)
    assert found.errors[0, :, 0] == pytest.approx(found.by_origin[0, :, :, 0].mean(axis=1))


def test_horizons_that_the_records_do_not_fill_are_unknown():
    found = rolling_origin(TIMES, np.log(TIMES)[None], candidates=[candidate("log")], origins=12)
    late = found.origins > TIMES[-1] / 9
    assert late.any()
    assert np.isnan(found.by_origin[0, 0, late, 2]).all()
    assert np.isfinite(found.errors).all()


def test_runs_exclude_laws_that_predict_worse():
    rng = np.random.default_rng(1)
    values = np.log(TIMES) + 0.02 * rng.standard_normal((6, TIMES.size))
    laws = [law for law in CANDIDATES if law.parameters < 4]
    found = surviving_laws(rolling_origin(TIMES, values, candidates=laws, origins=3), horizon=10.0)
    assert "log" in found.surviving
    assert "exponential saturation" not in found.surviving
    assert "N7 diffusion and drift" not in found.surviving


def test_one_run_excludes_nothing():
    data = rolling_origin(TIMES, np.log(TIMES)[None], origins=2)
    assert len(surviving_laws(data, horizon=2.0).surviving) == len(CANDIDATES)


def test_holm_by_hand():
    # Three laws, two runs each: excess of the second 1.0 ± 0.01, of the third 0.1 ± 1.
    errors = np.array([[0.0, 0.0, 0.0], [1.0, 1.01, 0.99], [1.0, -0.9, 0.2]])[:, :, None, None]
    found = surviving_laws(Forecasts(("a", "b", "c"), (2.0,), errors, np.ones(1)), horizon=2.0)
    assert (found.best, found.surviving) == ("a", ("a", "c"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rolling_origin(TIMES[:5], np.ones((1, 5))), "times: found 5 records"),
        (lambda: rolling_origin(TIMES, LOG, horizons=(1.0,)), "horizons: found 1"),
        (lambda: rolling_origin(TIMES, np.ones(60)), r"values: found shape \(60,\)"),
        (lambda: rolling_origin(TIMES, np.full((1, 60), np.nan)), "values: found 60 that are not"),
        (lambda: rolling_origin(TIMES[::-1], np.ones((1, 60))), "times: expected positive"),
        (lambda: rolling_origin(TIMES, np.ones((2, 60))), "values: run 0 does not change"),
        (lambda: rolling_origin(TIMES, np.ones((0, 60))), r"values: found shape \(0, 60\)"),
        (lambda: rolling_origin(TIMES, np.ones((1, 60)), origins=0), "expected at least one of"),
        (lambda: candidate("parabola"), "name: found 'parabola'"),
        (
            lambda: surviving_laws(
                rolling_origin(TIMES, np.log(TIMES)[None], candidates=CANDIDATES[:1]), horizon=7.0
            ),
            "horizon: found 7",
        ),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("p_values", "surviving"),
    [
        # One-sided p-values against 0.05/2 for the smallest and 0.05 for the other.
        ((0.02, 0.04), ("a",)),
        ((0.02, 0.06), ("a", "c")),
        ((0.03, 0.04), ("a", "b", "c")),
        ((0.04, 0.02), ("a",)),
    ],
)
def test_holms_steps_on_one_sided_p_values(p_values, surviving):
    shape = np.array([-1.5, -0.5, 0.5, 1.5])
    error = shape.std(ddof=1) / 2
    worse = [shape + error * stats.t.isf(p, 3) for p in p_values]
    errors = np.array([np.zeros(4), *worse])[:, :, None, None]
    data = Forecasts(("a", "b", "c"), (2.0,), errors, np.ones(1))
    assert surviving_laws(data, horizon=2.0).surviving == surviving
