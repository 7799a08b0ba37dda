import numpy as np
import pytest

from diffusion.noise import noise_scale, unit_estimates


def sums(contributions):
    """S and Big of unit contributions `(update, unit, weight)`."""
    return (contributions**2).sum((1, 2)), (contributions.sum(1) ** 2).sum(1)


@pytest.mark.parametrize(
    ("sizes", "weights"),
    [
        ([8, 8], [0.5, 0.5]),
        ([4] * 8, [1 / 8] * 8),
        ([2, 6, 24], [2 / 32, 6 / 32, 24 / 32]),  # weighted by size: the mean over all samples
        ([2, 6, 24], [1 / 3, 1 / 3, 1 / 3]),  # mean of unit means
    ],
)
def test_unbiased_for_any_sizes_and_weights(sizes, weights):
    """Gaussian per-sample gradients with |G|² = 4 and tr Σ = 64 in 256 dimensions."""
    rng = np.random.default_rng(1)
    n, a, d, updates = np.array(sizes), np.array(weights), 256, 1500
    mean = np.full(d, (4 / d) ** 0.5)
    deviations = rng.normal(size=(updates, len(n), d)) * (64 / d / n[:, None]) ** 0.5
    s, big = sums(a[:, None] * (mean + deviations))
    found = unit_estimates(s, big, np.sum(a**2), np.sum(a**2 / n))
    for estimate, truth in ((found.gradient_sq, 4), (found.noise_trace, 64)):
        error = estimate.std() / updates**0.5
        assert abs(estimate.mean() - truth) < 4 * error
        assert error < 0.02 * truth  # sharp enough to notice the equal-size formula


def test_equal_units_give_the_pair_mean_and_the_sample_covariance():
    """Twin: |G|² is the mean of G_k·G_l over pairs, tr Σ is b times the trace of the
    covariance."""
    gradients = np.random.default_rng(2).normal(size=(5, 7)) + 1
    units, size = 5, 12
    found = unit_estimates(*sums(gradients[None] / units), 1 / units, 1 / (units * size))
    products = gradients @ gradients.T
    pairs = products[~np.eye(units, dtype=bool)].mean()
    assert found.gradient_sq.item() == pytest.approx(pairs)
    assert found.noise_trace.item() == pytest.approx(size * np.trace(np.cov(gradients.T)))


def test_one_unit_is_no_information():
    found = unit_estimates([1.0, 1.0], [2.0, 2.0], [1.0, 0.5], 0.1)
    assert np.isnan(found.gradient_sq).tolist() == [True, False]
    assert np.isnan(found.noise_trace).tolist() == [True, False]


def test_noise_scale_is_the_ratio_of_means_and_nothing_is_clamped():
    gradient_sq, noise_trace = np.array([-8.0, 16.0]), np.array([64.0, 64.0])
    assert noise_scale(gradient_sq, noise_trace) == 16
    assert np.isnan(noise_scale(-gradient_sq, noise_trace))
    assert np.isnan(noise_scale([], []))
    assert noise_scale([4.0, np.nan], [64.0, 1e9]) == 16
    assert noise_scale([4.0, 1e9], [64.0, np.nan]) == 16
    assert np.isnan(noise_scale([-2.0, 2.0], [64.0, 64.0]))
