import numpy as np
import pytest

from ultraslow.diffusion import noise, noise as noise_theory
from ultraslow.diffusion.noise import noise_scale, unit_estimates


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


GRADIENT = np.array([0.4, -0.3, 0.2, 0.1, 0.05])
SD = np.array([1.0, 0.8, 0.5, 0.3, 2.0])
PROJECTED = float(GRADIENT**2 @ SD**2)
SQ_TRACE = float(np.sum(SD**4))


def simulated_estimates(weights, sizes, updates, seed):
    rng = np.random.default_rng(seed)
    a, n = np.asarray(weights), np.asarray(sizes)
    xi = rng.standard_normal((updates, len(a), len(SD)))
    h = a[:, None] * (GRADIENT + SD * xi / np.sqrt(n)[:, None])
    unit_sq = np.sum(h**2, axis=(1, 2))
    total_sq = np.sum(h.sum(axis=1) ** 2, axis=1)
    return noise.unit_estimates(unit_sq, total_sq, a @ a, np.sum(a**2 / n))


@pytest.mark.parametrize(
    ("weights", "sizes"),
    [
        ([0.5, 0.5], [4, 4]),
        ([0.25] * 4, [2] * 4),
        ([0.5, 0.3, 0.2], [5, 3, 2]),
        ([0.7, 0.2, 0.1], [1, 6, 3]),
    ],
    ids=["two equal", "four equal", "by size", "any weights"],
)
def test_variances_equal_monte_carlo_within_three_percent(weights, sizes):
    # 200,000 updates put the standard error of a variance of these skewed estimates below 0.8 %
    estimates = simulated_estimates(weights, sizes, updates=200_000, seed=2)
    simulated = np.cov(estimates.gradient_sq, estimates.noise_trace)
    found = noise_theory.estimate_covariance(
        weights, sizes, projected_noise=PROJECTED, noise_sq_trace=SQ_TRACE
    )
    assert found.gradient_sq_var == pytest.approx(simulated[0, 0], rel=0.03)
    assert found.noise_trace_var == pytest.approx(simulated[1, 1], rel=0.03)
    assert found.covariance == pytest.approx(simulated[0, 1], rel=0.03)


def test_equal_units_give_the_textbook_variances():
    k, b = 6, 5
    found = noise_theory.estimate_covariance(
        np.full(k, 1 / k), np.full(k, b), projected_noise=PROJECTED, noise_sq_trace=SQ_TRACE
    )
    m = k * b
    expected = 4 * PROJECTED / m + 2 * SQ_TRACE / (b**2 * k * (k - 1))
    assert found.gradient_sq_var == pytest.approx(expected, rel=1e-12)
    assert found.noise_trace_var == pytest.approx(2 * SQ_TRACE / (k - 1), rel=1e-12)
    assert found.covariance == pytest.approx(-2 * SQ_TRACE / (m * (k - 1)), rel=1e-12)


def test_ratio_error_equals_repeated_measurements():
    weights, sizes, updates = [0.25] * 4, [2] * 4, 400
    means = []
    for seed in range(8):  # in parts, for the memory
        one = simulated_estimates(weights, sizes, updates=updates * 500, seed=seed)
        pair = np.stack([one.noise_trace, one.gradient_sq])
        means.append(pair.reshape(2, -1, updates).mean(axis=2))
    trace, gradient = np.concatenate(means, axis=1)
    ratio = trace / gradient
    covariance = noise_theory.estimate_covariance(
        weights, sizes, projected_noise=PROJECTED, noise_sq_trace=SQ_TRACE
    )
    g, s = GRADIENT @ GRADIENT, float(SD @ SD)
    found = noise_theory.ratio_error(g, s, covariance, updates=updates)
    assert found.gradient_cv == pytest.approx(gradient.std() / g, rel=0.05)
    assert found.relative_sd == pytest.approx(ratio.std() / (s / g), rel=0.1)
    # the expansion leaves out terms of order CV⁴ = 5e-4; the bias itself is 0.025
    error = 3 * ratio.std() / (s / g) / np.sqrt(len(ratio)) + 4 * found.gradient_cv**4
    assert found.bias_factor == pytest.approx(ratio.mean() / (s / g), abs=error)
    assert error < 0.6 * (found.bias_factor - 1)


def covariance(weights, sizes):
    return noise_theory.estimate_covariance(
        weights, sizes, projected_noise=PROJECTED, noise_sq_trace=SQ_TRACE
    )


def test_the_order_of_units_does_not_matter():
    one, two = covariance([0.5, 0.3, 0.2], [5, 3, 2]), covariance([0.2, 0.5, 0.3], [2, 5, 3])
    for name in ("gradient_sq_var", "noise_trace_var", "covariance"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), rel=1e-12)


def test_more_units_of_the_same_batch_are_never_worse():
    found = [covariance(np.full(k, 1 / k), np.full(k, 64 / k)) for k in (2, 4, 8, 64)]
    assert (np.diff([one.gradient_sq_var for one in found]) < 0).all()
    assert (np.diff([one.noise_trace_var for one in found]) < 0).all()


def test_variances_have_the_unit_of_the_gradient_to_the_fourth():
    small = covariance([0.5, 0.5], [4, 4])
    large = noise_theory.estimate_covariance(
        [0.5, 0.5], [4, 4], projected_noise=81 * PROJECTED, noise_sq_trace=81 * SQ_TRACE
    )
    assert large.gradient_sq_var == pytest.approx(81 * small.gradient_sq_var)
    assert large.covariance == pytest.approx(81 * small.covariance)


def test_a_unit_without_weight_changes_nothing():
    one, two = covariance([0.5, 0.5], [4, 4]), covariance([0.5, 0.0, 0.5], [4, 9, 4])
    for name in ("gradient_sq_var", "noise_trace_var", "covariance"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), rel=1e-12)


def test_an_error_is_that_of_one_update_unless_told_otherwise():
    units = covariance([0.5, 0.5], [4, 4])
    found = noise_theory.ratio_error(0.3, 5.0, units)
    assert found == noise_theory.ratio_error(0.3, 5.0, units, updates=1)
    assert found.gradient_cv == pytest.approx(units.gradient_sq_var**0.5 / 0.3)


def test_more_updates_shrink_the_error_like_the_root():
    one = noise_theory.ratio_error(0.3, 5.0, covariance([0.5, 0.5], [4, 4]), updates=100)
    four = noise_theory.ratio_error(0.3, 5.0, covariance([0.5, 0.5], [4, 4]), updates=400)
    assert one.relative_sd == pytest.approx(2 * four.relative_sd)
    assert one.bias_factor - 1 == pytest.approx(4 * (four.bias_factor - 1))


def test_crossover_is_where_drift_equals_diffusion():
    gradient_sq, noise_trace, batch = 0.5, 200.0, 16.0
    t = float(noise_theory.drift_crossover(noise_trace / gradient_sq, batch))
    assert t**2 * gradient_sq == pytest.approx(t * noise_trace / batch, rel=1e-12)


def test_increment_excess_equals_the_ratio_of_squared_updates_under_the_sqrt_rule():
    from ultraslow.diffusion import scaling

    m, base = np.array([64.0, 512.0, 4096.0]), 64.0
    eta = scaling.scaled_learning_rate("sqrt", 0.1, batch_size=m, base_batch_size=base)
    update = eta**2 * (0.02 + 12.0 / m)  # η²(|G|² + S/M)
    found = noise_theory.increment_excess(12.0 / 0.02, m, base)
    np.testing.assert_allclose(found, update / update[0], rtol=1e-12)


def test_expected_straightness_equals_a_simulated_drifting_walk():
    rng = np.random.default_rng(6)
    drift, batch, steps = 0.3, 4.0, 60
    moves = drift + rng.standard_normal((steps, 20_000)) / np.sqrt(batch)
    path = np.cumsum(moves, axis=0)
    simulated = (path**2).mean(axis=1) / np.cumsum((moves**2).mean(axis=1))
    found = noise_theory.expected_straightness(np.arange(1, steps + 1), 1 / drift**2, batch)
    np.testing.assert_allclose(found, simulated, rtol=0.05)
    straight = noise_theory.expected_straightness([1, 7, 60], 0.0, batch)
    np.testing.assert_array_equal(straight, [1, 7, 60])  # without noise R = t


@pytest.mark.parametrize(
    ("weights", "sizes", "message"),
    [
        ([1.0], [4], "expected two units or more"),
        ([0.5, 0.4], [4, 4], "weights: found the sum 0.9"),
        ([0.5, 0.5], [4, 0], "sizes: found 0"),
        ([0.9, 0.4, -0.3], [4, 4, 4], r"expected values in \[0, 1\)"),
        ([0.5, 0.5], [4, 4, 4], r"found shapes \(2,\), \(3,\)"),
    ],
)
def test_bad_units_are_named(weights, sizes, message):
    with pytest.raises(ValueError, match=message):
        noise_theory.estimate_covariance(weights, sizes, projected_noise=1.0, noise_sq_trace=1.0)


def test_scales_out_of_range_are_named():
    with pytest.raises(ValueError, match="noise_scale: found 0"):
        noise_theory.drift_crossover(0.0, 8)
    with pytest.raises(ValueError, match="batch_size: found -8"):
        noise_theory.drift_crossover(5.0, [8, -8])
