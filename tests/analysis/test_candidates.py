"""Candidate laws: what θ means in each, against formulas written out here."""

import numpy as np
import pytest

from analysis.candidates import CANDIDATES, candidate

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
