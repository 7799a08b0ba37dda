import numpy as np
import pytest
from scipy import stats

from ultraslow.analysis.intervals import t_quantile
from ultraslow.analysis.noise.scale import (
    Blocks,
    block_covariance,
    fieller_scale,
    in_blocks,
    independent_blocks,
    jackknife_error,
    neighbour_correlation,
    noise_interval,
)


def moments(rng, *, blocks=18, noise=0.3, size=None):
    updates = rng.integers(5, 50, blocks).astype(float) if size is None else np.full(blocks, size)
    spread = noise / np.sqrt(updates)
    return Blocks(
        2.0 * (1 + spread * rng.standard_normal(blocks)),
        100.0 * (1 + spread * rng.standard_normal(blocks)),
        updates,
    )


def test_the_estimate_is_the_ratio_of_means_weighted_by_updates():
    # By hand: Σ n s = 1·10 + 3·30 = 100, Σ n g = 1·2 + 3·1 = 5.
    assert noise_interval([2.0, 1.0], [10.0, 30.0], [1, 3]).interval.value == 20.0


def test_merging_keeps_sums_and_order_and_leaves_out_what_is_not_finite():
    rng = np.random.default_rng(0)
    g, s, n = rng.normal(size=60), rng.normal(size=60), rng.integers(0, 9, 60)
    g[7], s[9] = np.nan, np.inf
    kept = np.isfinite(g) & np.isfinite(s) & (n > 0)
    merged = in_blocks(g, s, n)
    assert merged.updates.sum() == n[kept].sum()
    assert merged.updates.size <= 20
    np.testing.assert_allclose(np.sum(merged.updates * merged.gradient_sq), np.sum((g * n)[kept]))
    np.testing.assert_allclose(np.sum(merged.updates * merged.noise_trace), np.sum((s * n)[kept]))


def test_equal_windows_make_blocks_of_equal_size():
    merged = in_blocks(np.ones(100), np.ones(100), np.full(100, 3))
    assert merged.updates.tolist() == [15.0] * 20


def test_jackknife_equals_leaving_out_blocks_one_by_one():
    given = moments(np.random.default_rng(1), size=10.0)
    g, s = given.gradient_sq, given.noise_trace
    left_out = [np.delete(s, j).sum() / np.delete(g, j).sum() for j in range(g.size)]
    # With equal blocks the delete-m_j jackknife is the ordinary one, (J − 1)/J Σ (B_j − B̄)².
    count = g.size
    expected = np.sqrt((count - 1) / count * np.sum((left_out - np.mean(left_out)) ** 2))
    np.testing.assert_allclose(jackknife_error(given), expected, rtol=1e-10)


def test_covariance_equals_its_definition_block_by_block():
    given = moments(np.random.default_rng(2))
    n = given.updates
    mean_g, mean_s = (
        np.average(given.gradient_sq, weights=n),
        np.average(given.noise_trace, weights=n),
    )
    expected = np.zeros((2, 2))
    for weight, g, s in zip(n, given.gradient_sq, given.noise_trace, strict=True):
        step = np.array([g - mean_g, s - mean_s])
        expected += weight * np.outer(step, step)
    np.testing.assert_allclose(block_covariance(given), expected / ((n.size - 1) * n.sum()))


@pytest.mark.parametrize("seed", range(5))
def test_the_ends_of_fiellers_interval_solve_its_equation(seed):
    given = moments(np.random.default_rng(seed), noise=3.0)
    found, t = fieller_scale(given, level=0.9), t_quantile(17, 0.9)
    c = block_covariance(given)
    g = np.average(given.gradient_sq, weights=given.updates)
    s = np.average(given.noise_trace, weights=given.updates)
    for b in filter(np.isfinite, (found.interval.low, found.interval.high)):
        left = (s - b * g) ** 2
        np.testing.assert_allclose(left, t**2 * (c[1, 1] - 2 * b * c[0, 1] + b**2 * c[0, 0]))


def test_both_methods_agree_where_the_gradient_is_precise():
    given = moments(np.random.default_rng(3), blocks=20, noise=0.1, size=40.0)
    jackknife = noise_interval(given.gradient_sq, given.noise_trace, given.updates)
    assert jackknife.method == "jackknife"
    exact = fieller_scale(given, level=0.95)
    np.testing.assert_allclose(
        [jackknife.interval.low, jackknife.interval.high],
        [exact.interval.low, exact.interval.high],
        rtol=2e-3,
    )


@pytest.mark.parametrize("mean", [0.5, -0.5])
def test_a_gradient_that_may_be_zero_leaves_a_lower_bound_only(mean):
    rng = np.random.default_rng(4)
    g = mean + 5 * rng.standard_normal(40)
    s = 100 + rng.standard_normal(40)
    found = noise_interval(g, s, np.full(40, 10))
    assert found.interval.high == np.inf
    assert found.interval.low > 0
    assert str(found).startswith("B ≥ ")
    assert "cannot be told from 0" in found.interval.reason


@pytest.mark.parametrize("windows", [0, 1, 3])
def test_too_few_windows_give_a_reason_and_no_interval(windows):
    found = noise_interval(np.ones(windows), np.ones(windows), np.ones(windows))
    assert np.isnan(found.interval.low)
    assert found.interval.reason == f"{windows} windows with gradient noise, 4 needed"


def test_correlated_blocks_are_merged_further():
    rng = np.random.default_rng(5)
    walk = np.repeat(rng.standard_normal(10), 20)  # constant over 20 updates
    g, s, n = 10 + walk, 100 + walk, np.ones(200)
    fine = in_blocks(g, s, n)
    assert fine.updates.size == 20
    assert neighbour_correlation(fine.gradient_sq) > 0.3
    assert noise_interval(g, s, n).interval.n < 20


@pytest.mark.parametrize("mean", [0.0, 0.05, 0.1])
def test_noise_that_can_hardly_be_told_from_none_keeps_its_coverage(mean):
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        gradient_sq = 1 + 0.01 * rng.standard_normal(200)
        found = noise_interval(gradient_sq, mean + rng.standard_normal(200), np.ones(200))
        assert 0 <= found.interval.low <= found.interval.value <= found.interval.high < np.inf
        covered += found.interval.low <= mean <= found.interval.high
    assert covered >= 180


def test_updates_without_any_noise_have_a_noise_scale_of_zero():
    found = noise_interval(np.ones(40), np.zeros(40), np.ones(40))
    assert (found.interval.value, found.interval.low, found.interval.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("noise", [0.1, 3.0])
def test_the_interval_is_students_at_the_level_asked_for(level, noise):
    given = moments(np.random.default_rng(3), blocks=20, noise=noise, size=40.0)
    windows = given.gradient_sq, given.noise_trace, given.updates
    found = noise_interval(*windows, level=level)
    blocks = independent_blocks(*windows)
    t = stats.t.ppf((1 + level) / 2, blocks.updates.size - 1)
    if noise > 1:
        assert found == fieller_scale(blocks, level=level)
    else:
        half = np.log(found.interval.high / found.interval.low) / 2
        assert half == pytest.approx(t * jackknife_error(blocks) / found.interval.value)


def test_the_jackknife_of_unequal_blocks_equals_busings_loop():
    """Busing, Meijer and van der Leeden (1999): pseudo-values h B − (h − 1) B_(−j), h = Σn/n_j."""
    given = moments(np.random.default_rng(6), blocks=7)
    n, count = given.updates, 7
    g, s = given.gradient_sq, given.noise_trace
    whole = np.average(s, weights=n) / np.average(g, weights=n)
    left_out = [
        np.average(np.delete(s, j), weights=np.delete(n, j))
        / np.average(np.delete(g, j), weights=np.delete(n, j))
        for j in range(count)
    ]
    centre = count * whole - sum((1 - n[j] / n.sum()) * left_out[j] for j in range(count))
    variance = 0.0
    for j in range(count):
        h = n.sum() / n[j]
        variance += (h * whole - (h - 1) * left_out[j] - centre) ** 2 / (h - 1) / count
    assert jackknife_error(given) == pytest.approx(np.sqrt(variance), rel=1e-12)


def test_a_correlation_above_one_standard_error_asks_for_longer_blocks():
    rng = np.random.default_rng(0)
    while True:
        values = 10 + np.convolve(rng.standard_normal(21), [0.4, 1.0], "valid")
        if 1 / np.sqrt(20) < neighbour_correlation(values) < 2 / np.sqrt(20):
            break
    assert independent_blocks(values, values, np.ones(20)).updates.size == 10


def test_a_squared_gradient_below_0_bounds_nothing_above():
    rng = np.random.default_rng(7)
    found = noise_interval(-1 + 0.01 * rng.standard_normal(40), 5 + np.zeros(40), np.ones(40))
    assert np.isnan(found.interval.value)
    assert found.interval.high == np.inf


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_units_of_gradients_drop_out(unit):
    given = moments(np.random.default_rng(8), noise=3.0)
    windows = given.gradient_sq, given.noise_trace
    one = noise_interval(*windows, given.updates)
    other = noise_interval(*(unit * x for x in windows), given.updates)
    ends = [
        [found.interval.value, found.interval.low, found.interval.high] for found in (one, other)
    ]
    np.testing.assert_allclose(*ends, rtol=1e-9)


def test_no_ratio_of_two_negative_means_bounds_the_scale():
    """Both estimates are unbiased and may fall below 0; −100/−2 is no noise scale of 50."""
    rng = np.random.default_rng(4)
    both = moments(rng, noise=0.01)
    negative = Blocks(-both.gradient_sq, -both.noise_trace, both.updates)
    found = fieller_scale(negative, level=0.95)
    assert np.isnan(found.interval.value)
    assert (found.interval.low, found.interval.high) == (0.0, np.inf)
    assert found.interval.reason == "the squared gradient cannot be told from 0"


def test_windows_that_correlate_are_told_of():
    """A memory longer than half a block is; independent windows seldom look so."""
    rng = np.random.default_rng(5)
    told = {0.0: 0, 0.95: 0}
    for memory in told:
        for _ in range(200):
            noise = rng.standard_normal((2, 40))
            for k in range(1, 40):
                noise[:, k] += memory * noise[:, k - 1]
            g, s = 1.0 + 0.05 * noise[0], 16.0 + noise[1]
            told[memory] += noise_interval(g, s, np.ones(40)).correlated
    assert told[0.0] < 15
    assert told[0.95] > 150
