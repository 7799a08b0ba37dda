"""Candidate laws: what θ means in each, against formulas written out here.

Fits of the candidate laws: exact curves, a brute-force twin, and the metric of the noise.
"""

import numpy as np
import pytest

from ultraslow.analysis.comparison.laws import (
    CANDIDATES,
    candidate,
    fit_law,
    search,
    whitened_residuals,
)
from ultraslow.analysis.growth.noise_models import NoiseModel, noise_covariance

TIMES = np.array([2.0, 5.0, 10.0, 100.0, 1000.0])


def ratio(values):
    """A law up to the factor that b takes up."""
    return values / values[-1]


FORMULAS = {
    "log": ((), np.log),
    "log with onset": ((np.log(7.0),), lambda t: np.log(1 + t / 7)),
    "power": ((0.3,), lambda t: ((t / 2) ** 0.3 - 1) / 0.3),
    "saturating power": ((-0.4,), lambda t: (1 - (t / 2) ** -0.4) / 0.4),
    "exponential saturation": ((np.log(50.0),), lambda t: np.sqrt(1 - np.exp(-t / 50))),
    "power of the log": ((1.5,), lambda t: np.log(1 + t / 2) ** 1.5),
    # ‖w‖⁴ = n⁴ (1 + t/τ) with n = 1, and d² = ‖w‖² − n² for steps across w.
    "N3 scale-invariant": ((np.log(20.0),), lambda t: np.sqrt(np.sqrt(1 + t / 20) - 1)),
    # d² = t + t²/τ: at t = τ drift and diffusion have gone equally far.
    "N7 diffusion and drift": ((np.log(30.0),), lambda t: np.sqrt(t + t**2 / 30)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_shapes_mean_what_they_are_said_to(name):
    shape, formula = FORMULAS[name]
    found = candidate(name).curve(TIMES, np.array(shape))
    np.testing.assert_allclose(ratio(found), ratio(formula(TIMES)), rtol=1e-9)


def modes(shape):
    """Thirty curvatures ηh, even in their logarithm."""
    return np.exp(np.linspace(*shape, 30))


def test_quadratics_are_sums_over_modes():
    shape = np.log([1e-3, 0.3])
    left = [(1 - rate) ** TIMES for rate in modes(shape)]
    descent = np.sqrt(sum((1 - one) ** 2 for one in left))
    np.testing.assert_allclose(candidate("N1 quadratic").curve(TIMES, shape), descent, rtol=1e-9)
    # From the minimum, with noise ∝ curvature: (1 − (1 − ηh)^{2t})/(2 − ηh) a mode.
    spread = sum((1 - one**2) / (2 - rate) for one, rate in zip(left, modes(shape), strict=True))
    found = candidate("N2 noisy quadratic").curve(TIMES, shape)
    np.testing.assert_allclose(ratio(found), ratio(np.sqrt(spread)), rtol=1e-9)


def test_the_separable_law_solves_its_equation():
    # dy/dt = e^{−y}/(1 + e^{−y}) in units of τ, that is e^y + y − 1 = t/τ.
    y = candidate("N5 separable").curve(TIMES, np.array([np.log(5.0)]))
    np.testing.assert_allclose(np.exp(y) + y - 1, TIMES / 5, rtol=1e-9)


def test_decay_that_sets_in_late_leaves_the_law_without_it():
    plain = candidate("N3 scale-invariant").curve(TIMES, np.log([20.0]))
    late = candidate("N4 scale-invariant with decay").curve(TIMES, np.log([20.0, 1e12]))
    np.testing.assert_allclose(late, plain, rtol=1e-6)
    # After the time 1/(ηλ) the norm is stationary, and the law with decay is left behind.
    early = candidate("N4 scale-invariant with decay").curve(TIMES, np.log([20.0, 100.0]))
    assert early[-1] < 0.9 * plain[-1]


# (1 − ηh)^t counts iterations.
UNITLESS = [law for law in CANDIDATES if "quadratic" not in law.name]


@pytest.mark.parametrize("law", UNITLESS, ids=lambda law: law.name)
def test_a_unit_of_time_drops_out(law):
    first, other = (
        np.array([law.curve(times, shape) for shape in law.starts(times)])
        for times in (TIMES, 1000 * TIMES)
    )
    # What differs is the offset a and the scale b.
    spans = [(c - c[:, :1]) / (c[:, -1:] - c[:, :1]) for c in (first, other)]
    np.testing.assert_allclose(*spans, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("law", CANDIDATES, ids=lambda law: law.name)
def test_bounds_enclose_the_starts(law):
    low, high = law.bounds(TIMES)
    starts = law.starts(TIMES)
    assert starts.shape[1] == low.size == law.parameters - 2
    assert (starts >= low).all() and (starts <= high).all()
    assert len(np.unique(starts, axis=0)) == len(starts)


LAW_FITS_TIMES = np.geomspace(2, 2e4, 40)
NOISE = NoiseModel("ar_log_t", 0.5)


def whitener():
    return np.linalg.inv(np.linalg.cholesky(noise_covariance(NOISE, LAW_FITS_TIMES)))


@pytest.mark.parametrize("law", CANDIDATES, ids=lambda law: law.name)
def test_every_law_fits_its_own_curves(law):
    of, rng = search(law, LAW_FITS_TIMES), np.random.default_rng(0)
    low, high = law.bounds(LAW_FITS_TIMES)
    for _ in range(5):
        shape = low + rng.uniform(0.25, 0.75, low.size) * (high - low)
        curve = law.curve(LAW_FITS_TIMES, shape)
        values = 3 + 2 * curve / np.ptp(curve)
        found = fit_law(of, values).predict(law, LAW_FITS_TIMES)
        # Two shapes of one law can be all but the same curve: the curve is asked for, not θ.
        assert found == pytest.approx(values, abs=1e-3), (law.name, shape)


@pytest.mark.parametrize("law", CANDIDATES, ids=lambda law: law.name)
def test_every_law_grows_and_is_finite_wherever_it_is_searched(law):
    for shape in law.starts(LAW_FITS_TIMES):
        curve = law.curve(LAW_FITS_TIMES, shape)
        assert np.isfinite(curve).all()
        assert curve[-1] > curve[0]


@pytest.mark.parametrize("name", ["power", "N3 scale-invariant"])
def test_fits_are_generalized_least_squares_over_all_shapes(name):
    law, white = candidate(name), whitener()
    values = np.log(LAW_FITS_TIMES) + 0.1 * np.random.default_rng(1).standard_normal(
        LAW_FITS_TIMES.size
    )
    of = search(law, LAW_FITS_TIMES, white)
    low, high = law.bounds(LAW_FITS_TIMES)
    costs = []
    for shape in np.linspace(low, high, 400):
        design = white @ np.stack(
            [np.ones(LAW_FITS_TIMES.size), law.curve(LAW_FITS_TIMES, shape)], axis=1
        )
        costs.append(np.linalg.lstsq(design, white @ values, rcond=None)[1][0])
    left = whitened_residuals(of, values, fit_law(of, values).shape)
    assert left @ left <= min(costs) * (1 + 1e-6)
    assert left @ left >= min(costs) * (1 - 1e-2)


def test_slopes_are_not_negative():
    found = fit_law(search(candidate("log"), LAW_FITS_TIMES), -np.log(LAW_FITS_TIMES))
    assert (found.slope, found.offset) == (0.0, pytest.approx(-np.log(LAW_FITS_TIMES).mean()))


def test_parameters_are_counted():
    counts = {law.name: law.parameters for law in CANDIDATES}
    assert (counts["log"], counts["power"], counts["N1 quadratic"]) == (2, 3, 4)
