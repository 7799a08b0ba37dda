"""Fits of the candidate laws: exact curves, a brute-force twin, and the metric of the noise."""

import numpy as np
import pytest

from analysis.candidates import CANDIDATES, candidate
from analysis.law_fits import fit_law, residuals, search
from analysis.noise_models import NoiseModel, covariance

TIMES = np.geomspace(2, 2e4, 40)
NOISE = NoiseModel("ar_log_t", 0.5)


def whitener():
    return np.linalg.inv(np.linalg.cholesky(covariance(NOISE, TIMES)))


@pytest.mark.parametrize("law", CANDIDATES, ids=lambda law: law.name)
def test_every_law_fits_its_own_curves(law):
    of, rng = search(law, TIMES), np.random.default_rng(0)
    low, high = law.bounds(TIMES)
    for _ in range(5):
        shape = low + rng.uniform(0.25, 0.75, low.size) * (high - low)
        curve = law.curve(TIMES, shape)
        values = 3 + 2 * curve / np.ptp(curve)
        found = fit_law(of, values).predict(law, TIMES)
        # Two shapes of one law can be all but the same curve: the curve is asked for, not θ.
        assert found == pytest.approx(values, abs=1e-3), (law.name, shape)


@pytest.mark.parametrize("law", CANDIDATES, ids=lambda law: law.name)
def test_every_law_grows_and_is_finite_wherever_it_is_searched(law):
    for shape in law.starts(TIMES):
        curve = law.curve(TIMES, shape)
        assert np.isfinite(curve).all()
        assert curve[-1] > curve[0]


@pytest.mark.parametrize("name", ["power", "N3 scale-invariant"])
def test_fits_are_generalized_least_squares_over_all_shapes(name):
    law, white = candidate(name), whitener()
    values = np.log(TIMES) + 0.1 * np.random.default_rng(1).standard_normal(TIMES.size)
    of = search(law, TIMES, white)
    low, high = law.bounds(TIMES)
    costs = []
    for shape in np.linspace(low, high, 400):
        design = white @ np.stack([np.ones(TIMES.size), law.curve(TIMES, shape)], axis=1)
        costs.append(np.linalg.lstsq(design, white @ values, rcond=None)[1][0])
    left = residuals(of, values, fit_law(of, values).shape)
    assert left @ left <= min(costs) * (1 + 1e-6)
    assert left @ left >= min(costs) * (1 - 1e-2)


def test_slopes_are_not_negative():
    found = fit_law(search(candidate("log"), TIMES), -np.log(TIMES))
    assert (found.slope, found.offset) == (0.0, pytest.approx(-np.log(TIMES).mean()))


def test_parameters_are_counted():
    counts = {law.name: law.parameters for law in CANDIDATES}
    assert (counts["log"], counts["power"], counts["N1 quadratic"]) == (2, 3, 4)
