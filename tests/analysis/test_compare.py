"""Rolling origins: exact laws predict exactly, wrong ones do not, and runs decide."""

import numpy as np
import pytest

from analysis.compare import CANDIDATES, Forecasts, predictions, rolling_origin, surviving_laws

TIMES = np.geomspace(1, 1e4, 60)
EXACT = {
    "log": np.log(TIMES),
    "power": TIMES**0.3,
    "saturating power": 1 - TIMES**-0.5,
    "power of the log": np.log1p(TIMES) ** 2,
}


@pytest.mark.parametrize("name", EXACT)
def test_the_true_law_predicts_exactly(name):
    found = rolling_origin(TIMES, 1 + 2 * EXACT[name][None])
    errors = dict(zip(found.laws, found.errors[:, 0], strict=True))
    assert errors[name][0] < 1e-3
    # The laws with a shape of their own contain the logarithm at the edge of their grids.
    assert errors[name][1] < min(law[1] for law in errors.values()) + 1e-9


def test_a_logarithm_misses_a_small_power_far_ahead_more_than_close_by():
    found = rolling_origin(TIMES, (TIMES**0.1)[None])
    errors = found.errors[found.laws.index("log"), 0]
    assert errors[2] > 2 * errors[0]


def test_predictions_are_least_squares_over_the_grid():
    rng = np.random.default_rng(0)
    curves = np.stack([TIMES**p for p in (0.2, 0.4, 0.6)])
    values = 1 + 2 * TIMES[:40] ** 0.4 + rng.standard_normal((3, 40))
    found = predictions(curves, values)
    for row, series in enumerate(values):
        fits = [np.polyfit(curve[:40], series, 1) for curve in curves]
        costs = [
            np.sum((np.polyval(fit, curve[:40]) - series) ** 2)
            for fit, curve in zip(fits, curves, strict=True)
        ]
        best = int(np.argmin(costs))
        assert found[row] == pytest.approx(np.polyval(fits[best], curves[best]))


def test_runs_exclude_laws_that_predict_worse():
    rng = np.random.default_rng(1)
    values = np.log(TIMES) + 0.02 * rng.standard_normal((6, TIMES.size))
    found = surviving_laws(rolling_origin(TIMES, values), horizon=10.0)
    assert "log" in found.surviving
    assert "exponential saturation" not in found.surviving
    assert "diffusion and drift" not in found.surviving


def test_one_run_excludes_nothing():
    found = surviving_laws(rolling_origin(TIMES, np.log(TIMES)[None]), horizon=2.0)
    assert len(found.surviving) == len(CANDIDATES)


def test_holm_by_hand():
    # Three laws, two runs each: excess of the second 1.0 ± 0.01, of the third 0.1 ± 1.
    errors = np.array([[0.0, 0.0, 0.0], [1.0, 1.01, 0.99], [1.0, -0.9, 0.2]])[:, :, None]
    found = surviving_laws(Forecasts(("a", "b", "c"), (2.0,), errors, np.ones(1)), horizon=2.0)
    assert (found.best, found.surviving) == ("a", ("a", "c"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rolling_origin(TIMES[:5], np.ones((1, 5))), "times: found 5 records"),
        (lambda: rolling_origin(TIMES, np.ones((1, 60)), horizons=(1.0,)), "horizons: found 1"),
        (
            lambda: surviving_laws(rolling_origin(TIMES, np.log(TIMES)[None]), horizon=7.0),
            "horizon: found 7",
        ),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()
