"""The restricted likelihood against textbook matrices, one series at a time."""

import numpy as np
import pytest

from analysis.likelihood import frame, log_likelihood, moments
from analysis.noise_models import covariance, handicap, label, menu
from diffusion.laws import growth_regressor

TIMES = np.geomspace(2, 2e3, 25)
MODELS = menu(TIMES)
FRAME = frame(TIMES, MODELS, onsets=(0.0, 200.0))


def textbook(model, values, exponent, onset):
    """ℓ from inverses and determinants, with the projection matrix spelt out."""
    design = np.stack(
        [np.ones_like(TIMES), growth_regressor(np.log(TIMES + onset), np.array(exponent))], axis=1
    )
    shape = covariance(model, TIMES)
    inverse = np.linalg.inv(shape)
    gram = design.T @ inverse @ design
    residual = values - design @ np.linalg.solve(gram, design.T @ inverse @ values)
    log_det = [np.linalg.slogdet(matrix)[1] for matrix in (shape, gram, design.T @ design)]
    rss = residual @ inverse @ residual
    return -0.5 * ((TIMES.size - 2) * np.log(rss) + log_det[0] + log_det[1] - log_det[2])


@pytest.mark.parametrize("exponent, onset", [(0.0, 0.0), (-1.7, 150.0), (0.5, 3.0), (1.2, 0.0)])
def test_every_model_agrees_with_the_textbook(exponent, onset):
    values = np.log(TIMES) + 0.05 * np.random.default_rng(0).standard_normal(TIMES.size)
    shift = np.log(TIMES[:1] + onset)
    curve = FRAME.basis.coordinates(np.array([exponent]), shift)
    found = log_likelihood(FRAME, moments(FRAME, values[None]), curve)[0]
    # The family is scaled by a power of its time unit, which shifts nothing in ℓ.
    for model, value in zip(MODELS, found, strict=True):
        expected = textbook(model, values, exponent, onset) - handicap(model)
        assert value == pytest.approx(expected, abs=1e-5), label(model)


def test_likelihood_does_not_depend_on_offset_or_unit_of_time():
    values = np.log(TIMES) + 0.05 * np.random.default_rng(1).standard_normal(TIMES.size)
    shifted = moments(FRAME, np.stack([values, values + 1000.0]))
    exponent, shift = np.full(2, 0.3), np.full(2, np.log(TIMES[0]))
    found = log_likelihood(FRAME, shifted, FRAME.basis.coordinates(exponent, shift))
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_moments_of_rows_are_rows_of_moments():
    values = np.random.default_rng(2).standard_normal((5, TIMES.size))
    whole, part = moments(FRAME, values), moments(FRAME, values[[3, 1]])
    rows = np.array([3, 1])
    assert whole[rows].power == pytest.approx(part.power)
    assert whole[rows].loads == pytest.approx(part.loads)
