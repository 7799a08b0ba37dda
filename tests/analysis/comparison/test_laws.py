"""Candidate laws: what θ means in each, against formulas written out here.

Fits of the candidate laws: exact curves, and a search by another method.
"""

import numpy as np
import pytest
from scipy.optimize import least_squares

from ultraslow.analysis.comparison.laws import CANDIDATES, candidate, fit_law

TIMES = np.array([2.0, 5.0, 10.0, 100.0, 1000.0])


def curve_of(law, times, shape):
    """The curve of one θ."""
    return law.curves(times, np.asarray(shape, dtype=float)[None])[0]


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
    found = curve_of(candidate(name), TIMES, shape)
    np.testing.assert_allclose(ratio(found), ratio(formula(TIMES)), rtol=1e-9)


def modes(shape):
    """Thirty curvatures ηh, even in their logarithm."""
    return np.exp(np.linspace(*shape, 30))


def test_quadratics_are_sums_over_modes():
    shape = np.log([1e-3, 0.3])
    left = [(1 - rate) ** TIMES for rate in modes(shape)]
    descent = np.sqrt(sum((1 - one) ** 2 for one in left))
    np.testing.assert_allclose(
        curve_of(candidate("N1 quadratic"), TIMES, shape), descent, rtol=1e-9
    )
    # From the minimum, with noise ∝ curvature: (1 − (1 − ηh)^{2t})/(2 − ηh) a mode.
    spread = sum((1 - one**2) / (2 - rate) for one, rate in zip(left, modes(shape), strict=True))
    found = curve_of(candidate("N2 noisy quadratic"), TIMES, shape)
    np.testing.assert_allclose(ratio(found), ratio(np.sqrt(spread)), rtol=1e-9)


def test_the_separable_law_solves_its_equation():
    # dy/dt = e^{−y}/(1 + e^{−y}) in units of τ, that is e^y + y − 1 = t/τ.
    y = curve_of(candidate("N5 separable"), TIMES, [np.log(5.0)])
    np.testing.assert_allclose(np.exp(y) + y - 1, TIMES / 5, rtol=1e-9)


def test_decay_that_sets_in_late_leaves_the_law_without_it():
    plain = curve_of(candidate("N3 scale-invariant"), TIMES, np.log([20.0]))
    late = curve_of(candidate("N4 scale-invariant with decay"), TIMES, np.log([20.0, 1e12]))
    np.testing.assert_allclose(late, plain, rtol=1e-6)
    # After the time 1/(ηλ) the norm is stationary, and the law with decay is left behind.
    early = curve_of(candidate("N4 scale-invariant with decay"), TIMES, np.log([20.0, 100.0]))
    assert early[-1] < 0.9 * plain[-1]


# (1 − ηh)^t counts iterations.
UNITLESS = [law for law in CANDIDATES if "quadratic" not in law.name]


@pytest.mark.parametrize("law", UNITLESS, ids=lambda law: law.name)
def test_a_unit_of_time_drops_out(law):
    first, other = (law.curves(times, law.starts(times)) for times in (TIMES, 1000 * TIMES))
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


@pytest.mark.parametrize("law", CANDIDATES, ids=lambda law: law.name)
def test_every_law_fits_its_own_curves(law):
    rng = np.random.default_rng(0)
    low, high = law.bounds(LAW_FITS_TIMES)
    shapes = low + rng.uniform(0.25, 0.75, (5, low.size)) * (high - low)
    curves = law.curves(LAW_FITS_TIMES, shapes)
    values = 3 + 2 * curves / np.ptp(curves, axis=1, keepdims=True)
    found = fit_law(law, LAW_FITS_TIMES, values).predict(law, LAW_FITS_TIMES)
    # Two shapes of one law can be all but the same curve: the curve is asked for, not θ.
    assert found == pytest.approx(values, abs=1e-3), (law.name, shapes)


@pytest.mark.parametrize("law", CANDIDATES, ids=lambda law: law.name)
def test_every_law_grows_and_is_finite_wherever_it_is_searched(law):
    curves = law.curves(LAW_FITS_TIMES, law.starts(LAW_FITS_TIMES))
    assert np.isfinite(curves).all()
    assert (curves[:, -1] > curves[:, 0]).all()


@pytest.mark.parametrize("law", CANDIDATES, ids=lambda law: law.name)
def test_curves_of_many_shapes_are_those_of_each(law):
    shapes = law.starts(LAW_FITS_TIMES)[::3]
    each = np.stack([curve_of(law, LAW_FITS_TIMES, shape) for shape in shapes])
    np.testing.assert_allclose(law.curves(LAW_FITS_TIMES, shapes), each, rtol=1e-13)


def left_of(law, values, shape):
    """What a law leaves of a curve at given θ, with a and b by least squares, b ≥ 0."""
    curve = curve_of(law, LAW_FITS_TIMES, shape)
    slope = max(np.polyfit(curve, values, 1)[0], 0.0)
    left = values - slope * curve
    return left - left.mean()


@pytest.mark.parametrize("law", CANDIDATES, ids=lambda law: law.name)
def test_fits_leave_no_more_than_another_search_does(law):
    """scipy's least squares from six places, on curves that no law describes, with noise."""
    rng = np.random.default_rng(1)
    smooth = [np.log(LAW_FITS_TIMES), LAW_FITS_TIMES**0.4, np.log(LAW_FITS_TIMES) ** 2]
    values = np.stack([s / np.ptp(s) for s in smooth])
    values = 1 + values + 0.02 * rng.standard_normal(values.shape)
    found = fit_law(law, LAW_FITS_TIMES, values)
    low, high = law.bounds(LAW_FITS_TIMES)
    for row, shape in zip(values, found.shapes, strict=True):
        mine = (left_of(law, row, shape) ** 2).sum()
        if not low.size:
            continue
        others = [
            2
            * least_squares(
                lambda x, row=row: left_of(law, row, x),
                low + share * (high - low),
                bounds=(low, high),
                x_scale=high - low,
            ).cost
            for share in np.linspace(0.1, 0.9, 6)
        ]
        # With two shapes the floor of the valley is all but flat.
        assert mine <= min(others) * (1 + (1e-6 if low.size == 1 else 1e-4)), (law.name, shape)
        assert (shape >= low).all() and (shape <= high).all()


@pytest.mark.parametrize("law", CANDIDATES, ids=lambda law: law.name)
def test_a_curve_is_fitted_as_it_is_alone(law):
    rng = np.random.default_rng(2)
    values = 1 + np.log(LAW_FITS_TIMES) * np.array([[1.0], [2.0]])
    values = values + 0.1 * rng.standard_normal(values.shape)
    both = fit_law(law, LAW_FITS_TIMES, values).predict(law, LAW_FITS_TIMES)
    alone = fit_law(law, LAW_FITS_TIMES, values[1:]).predict(law, LAW_FITS_TIMES)
    np.testing.assert_allclose(both[1], alone[0], rtol=1e-6)


def test_slopes_are_not_negative_and_a_constant_is_itself():
    falling = -np.log(LAW_FITS_TIMES)[None]
    found = fit_law(candidate("log"), LAW_FITS_TIMES, falling)
    assert (found.slopes[0], found.offsets[0]) == (0.0, pytest.approx(falling.mean()))
    for law in CANDIDATES:
        still = fit_law(law, LAW_FITS_TIMES, np.full((1, LAW_FITS_TIMES.size), 3.0))
        np.testing.assert_allclose(still.predict(law, LAW_FITS_TIMES), 3.0, rtol=1e-12)


def test_parameters_are_counted():
    counts = {law.name: law.parameters for law in CANDIDATES}
    assert (counts["log"], counts["power"], counts["N1 quadratic"]) == (2, 3, 4)
