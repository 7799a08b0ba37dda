"""The growth family, its derivatives and its basis.

The restricted likelihood against textbook matrices, one series at a time.
"""

import numpy as np
import pytest

from ultraslow.analysis.growth.likelihood import (
    family_basis,
    frame,
    log_likelihood,
    moments,
    tangent,
)
from ultraslow.analysis.growth.noise_models import covariance, handicap, label, menu
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


LIKELIHOOD_TIMES = np.geomspace(2, 2e3, 25)
MODELS = menu(LIKELIHOOD_TIMES)
FRAME = frame(LIKELIHOOD_TIMES, MODELS, onsets=(0.0, 200.0))


def textbook(model, values, exponent, onset):
    """ℓ from inverses and determinants, with the projection matrix spelt out."""
    design = np.stack(
        [
            np.ones_like(LIKELIHOOD_TIMES),
            growth_regressor(np.log(LIKELIHOOD_TIMES + onset), np.array(exponent)),
        ],
        axis=1,
    )
    shape = covariance(model, LIKELIHOOD_TIMES)
    inverse = np.linalg.inv(shape)
    gram = design.T @ inverse @ design
    residual = values - design @ np.linalg.solve(gram, design.T @ inverse @ values)
    log_det = [np.linalg.slogdet(matrix)[1] for matrix in (shape, gram, design.T @ design)]
    rss = residual @ inverse @ residual
    return -0.5 * (
        (LIKELIHOOD_TIMES.size - 2) * np.log(rss) + log_det[0] + log_det[1] - log_det[2]
    )


@pytest.mark.parametrize("exponent, onset", [(0.0, 0.0), (-1.7, 150.0), (0.5, 3.0), (1.2, 0.0)])
def test_every_model_agrees_with_the_textbook(exponent, onset):
    values = np.log(LIKELIHOOD_TIMES) + 0.05 * np.random.default_rng(0).standard_normal(
        LIKELIHOOD_TIMES.size
    )
    shift = np.log(LIKELIHOOD_TIMES[:1] + onset)
    curve = FRAME.basis.coordinates(np.array([exponent]), shift)
    found = log_likelihood(FRAME, moments(FRAME, values[None]), curve)[0]
    # The family is scaled by a power of its time unit, which shifts nothing in ℓ.
    for model, value in zip(MODELS, found, strict=True):
        expected = textbook(model, values, exponent, onset) - handicap(model)
        assert value == pytest.approx(expected, abs=1e-5), label(model)


def test_likelihood_does_not_depend_on_offset_or_unit_of_time():
    values = np.log(LIKELIHOOD_TIMES) + 0.05 * np.random.default_rng(1).standard_normal(
        LIKELIHOOD_TIMES.size
    )
    shifted = moments(FRAME, np.stack([values, values + 1000.0]))
    exponent, shift = np.full(2, 0.3), np.full(2, np.log(LIKELIHOOD_TIMES[0]))
    found = log_likelihood(FRAME, shifted, FRAME.basis.coordinates(exponent, shift))
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_moments_of_rows_are_rows_of_moments():
    values = np.random.default_rng(2).standard_normal((5, LIKELIHOOD_TIMES.size))
    whole, part = moments(FRAME, values), moments(FRAME, values[[3, 1]])
    rows = np.array([3, 1])
    assert whole[rows].power == pytest.approx(part.power)
    assert whole[rows].loads == pytest.approx(part.loads)
