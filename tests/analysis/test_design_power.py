import math

import numpy as np
import pytest
from scipy import stats

from analysis.design_power import (
    exponent_error,
    exponents,
    seeds_power,
    simulated,
)
from analysis.noise_models import NoiseModel
from analysis.pilot import Pilot, stated


def rng():
    return np.random.default_rng(1)


def test_power_across_seeds_is_that_of_the_t_test():
    """Normal exponents, mean one standard deviation: the noncentral t gives the power."""
    fitted = 0.1 + 0.1 * rng().standard_normal(200_000)
    found = seeds_power(fitted, 6, spread=0.0, level=0.95, rng=rng())
    critical = stats.t.ppf(0.975, 5)
    shift = math.sqrt(6)
    expected = stats.nct.sf(critical, 5, shift) + stats.nct.cdf(-critical, 5, shift)
    assert found == pytest.approx(expected, abs=0.02)


def test_spread_between_seeds_costs_power():
    fitted = 0.1 + 0.02 * rng().standard_normal(2000)
    powers = [seeds_power(fitted, 4, spread=s, level=0.95, rng=rng()) for s in (0.0, 0.05, 0.2)]
    assert powers[0] > powers[1] > powers[2]


def test_the_error_agrees_with_the_formula_for_a_known_onset():
    """se(p̂) = √720·(σ/D)/(Λ·√n) for records even in ln t and white noise; an onset that is
    fitted as well about doubles it, more so where the records start at the onset."""
    of = Pilot(np.geomspace(1, 1e4, 60), NoiseModel("white"), 0.01)
    formula = math.sqrt(720) * 0.01 / (math.log(1e4) * math.sqrt(60))
    found = exponent_error(of, of.times, 0.0)
    assert formula < found < 4 * formula


def test_fitted_exponents_spread_as_the_error_says():
    of = stated(0.01, correlation=0.0, onset=20.0)
    fitted = exponents(simulated(of, of.times, 0.2, draws=200, rng=rng()))
    assert fitted.mean() == pytest.approx(0.2, abs=0.05)
    expected = exponent_error(of, of.times, 0.2)
    # Noise models that the fit has to choose among add to the asymptotic error.
    assert 0.8 * expected < fitted.std() < 1.6 * expected
