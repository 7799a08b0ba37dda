"""The growth family, its derivatives and its basis."""

import numpy as np
import pytest

from ultraslow.analysis.growth.family import family_basis, tangent
from ultraslow.diffusion.laws.growth import growth_regressor

TIMES = np.geomspace(3, 3e4, 40)
EXPONENTS = [-2.0, -0.7, -1e-5, 0.0, 1e-9, 1e-4, 0.5, 1.5]


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_slopes_are_derivatives(exponent):
    step, log_time = 1e-4, np.log(TIMES)
    above, below = (growth_regressor(log_time, np.array(exponent + d)) for d in (step, -step))
    found = tangent(log_time, np.array([exponent]))
    assert found.curve == pytest.approx(growth_regressor(log_time, np.array(exponent)), rel=1e-10)
    assert found.exponent == pytest.approx((above - below) / (2 * step), rel=1e-5)
    moved = [growth_regressor(np.log(TIMES + d), np.array(exponent)) for d in (1e-4, -1e-4)]
    assert found.onset == pytest.approx((moved[0] - moved[1]) / 2e-4, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("onsets", [(0.0, 3e3), (0.0, 0.0), (50.0, 50.0)])
def test_basis_spans_the_family_and_its_tangent(onsets):
    basis = family_basis(TIMES, onsets)
    rng = np.random.default_rng(0)
    exponent = rng.uniform(-2, 1.5, 50)
    shift = rng.uniform(basis.shift_low, basis.shift_high, 50)
    curves = growth_regressor(basis.log_time(shift), exponent[:, None])
    slopes = tangent(basis.log_time(shift), exponent[:, None]).exponent
    coordinates = basis.tangent(exponent, shift)
    for exact, found in ((curves, coordinates[0]), (slopes, coordinates[1])):
        centred = exact - exact.mean(axis=1, keepdims=True)
        missed = np.linalg.norm(centred - found @ basis.vectors.T, axis=1)
        assert np.all(missed < 1e-5 * np.linalg.norm(centred, axis=1))
    assert basis.coordinates(exponent, shift) == pytest.approx(coordinates[0])


def test_basis_is_orthonormal_and_orthogonal_to_the_constant():
    vectors = family_basis(TIMES, (0.0, 3e3)).vectors
    assert vectors.T @ vectors == pytest.approx(np.eye(vectors.shape[1]), abs=1e-10)
    assert vectors.sum(axis=0) == pytest.approx(0, abs=1e-5)
