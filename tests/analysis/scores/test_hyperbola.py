import math

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import null_space
from statsmodels.stats.multivariate import test_mvmean as mean_test

from ultraslow.analysis.scores.hyperbola import (
    _Error,
    _misfit,
    fit_hyperbola,
    profile_hyperbola,
)
from ultraslow.diffusion.scaling import steps_to_target

SIZES = np.array([64.0, 256.0, 1024.0, 4096.0])
CRITICAL = 600.0


def logs(*, seeds=5, own=0.05, shared=0.05, critical=CRITICAL, rng):
    """ln S of a set whose seeds are fast or slow at all batch sizes alike."""
    truth = np.log(steps_to_target(SIZES, fewest_steps=200.0, critical_batch_size=critical))
    luck = shared * rng.standard_normal(seeds)
    return truth[:, None] + luck + own * rng.standard_normal((SIZES.size, seeds))


def fit(table, *, level=0.95, seed=0):
    rates = [row[None] if row.ndim == 1 else row for row in table]
    return fit_hyperbola(SIZES, rates, level=level, rng=np.random.default_rng(seed))


def test_exact_steps_give_the_critical_batch_size_back():
    found = fit(logs(own=0.0, shared=0.0, rng=np.random.default_rng(0)))
    assert found.critical.value == pytest.approx(CRITICAL, rel=1e-3)
    assert found.fewest_steps == pytest.approx(200.0, rel=1e-3)


def test_the_best_fit_is_that_of_a_plain_search():
    table = logs(rng=np.random.default_rng(1))
    means = table.mean(axis=1)

    def residual(critical):
        rest = means - np.log1p(critical / SIZES)
        return np.sum((rest - rest.mean()) ** 2)

    grid = np.geomspace(100, 5000, 20_001)
    assert fit(table).critical.value == pytest.approx(
        grid[np.argmin([*map(residual, grid)])], rel=2e-3
    )


def test_the_interval_covers_the_truth():
    rng = np.random.default_rng(2)
    found = [fit(logs(rng=rng)) for _ in range(60)]
    covered = np.mean([one.critical.low <= CRITICAL <= one.critical.high for one in found])
    # 95 % less three standard errors of 60 sets.
    assert covered >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 60)


@pytest.mark.parametrize(("critical", "side"), [(200_000.0, "above"), (0.5, "below")])
def test_sizes_far_from_the_critical_one_leave_an_end_open(critical, side):
    found = fit(logs(critical=critical, rng=np.random.default_rng(3)))
    assert math.isinf(found.critical.high) == (side == "above")
    assert (found.critical.low == 0.0) == (side == "below")


def test_steps_that_follow_no_hyperbola_are_a_misfit():
    """Iterations that rise again at the largest batch, as with a learning rate too large."""
    table = logs(own=0.02, rng=np.random.default_rng(4), seeds=8)
    table[-1] += 1.0
    found = fit(table)
    assert found.misfit < 0.01


def test_true_hyperbolas_are_rarely_called_misfits():
    rng = np.random.default_rng(6)
    found = [fit(logs(rng=rng, seeds=8)).misfit for _ in range(60)]
    # 1 % each: four or more of 60 have a probability of 0.3 %.
    assert sum(p < 0.01 for p in found) < 4


def test_the_interval_covers_where_rates_are_nearly_tied():
    """Three rates a batch size, equally fast: their choice varies with the seeds."""
    rng = np.random.default_rng(8)
    found = []
    for _ in range(60):
        tables = [logs(shared=0.0, rng=rng) for _ in range(3)]
        found.append(fit(np.stack(tables, axis=1)))
    covered = np.mean([one.critical.low <= CRITICAL <= one.critical.high for one in found])
    assert covered >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 60)


@pytest.mark.parametrize(("critical", "seeds"), [(200_000.0, 4), (1.0, 4)])
def test_a_bound_beyond_the_sizes_holds_as_often_as_it_says(critical, seeds):
    rng = np.random.default_rng(11)
    found = [fit(logs(critical=critical, seeds=seeds, rng=rng)) for _ in range(40)]
    covered = np.mean([one.critical.low <= critical <= one.critical.high for one in found])
    assert covered >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 40)
    edges = [one for one in found if math.isnan(one.critical.value)]
    assert edges and all(one.critical.low == 0.0 or math.isinf(one.critical.high) for one in edges)
    # The data bound it on the other side, inside of what is sought.
    told = [one.critical.low > 64 if critical > 64 else one.critical.high < 4096 for one in edges]
    assert np.mean(told) > 0.9


@pytest.mark.parametrize("power", [-1.3, 0.3])
def test_steps_steeper_or_flatter_than_any_hyperbola_are_told(power):
    rng = np.random.default_rng(12)
    found = fit(power * np.log(SIZES)[:, None] + 0.02 * rng.standard_normal((4, 4)))
    assert math.isnan(found.critical.value) and found.beyond < 0.01
    assert math.isnan(found.fewest_steps) == (power < 0)


def test_seeds_fewer_than_sizes_cannot_tell_a_misfit():
    found = fit(logs(seeds=3, rng=np.random.default_rng(13)))
    assert math.isnan(found.misfit)
    assert not math.isnan(fit(logs(seeds=4, rng=np.random.default_rng(13))).misfit)


def test_errors_of_bootstrap_draws_are_those_of_so_many_seeds():
    # Draws 0 and 2 have the standard deviation √2; four seeds make it √(4/3) larger.
    found = _Error(4, 0.95).of(np.array([[0.0], [2.0]]))
    np.testing.assert_allclose(found, np.sqrt(2 * 4 / 3))
    # t of 3 degrees of freedom at 97.5 % (tables).
    assert _Error(4, 0.95).quantile == pytest.approx(3.1824, abs=1e-4)


def test_the_misfit_is_hotellings_test_of_what_the_parameters_leave():
    """Five sizes and two parameters leave three directions; statsmodels tests their mean."""
    rng, sizes = np.random.default_rng(8), np.array([16.0, 64.0, 256.0, 1024.0, 4096.0])
    fitted = np.log(100 * (1 + 600 / sizes))
    table = (
        fitted[:, None] + 0.05 * rng.standard_normal((5, 9)) + 0.02 * np.arange(5)[:, None] ** 2
    )
    spanned = np.stack([np.ones(5), 1 - 100 / np.exp(fitted)])
    left = null_space(spanned).T @ (table - fitted[:, None])
    expected = mean_test(left.T, np.zeros(3)).pvalue
    assert _misfit(table, fitted, spanned[1]) == pytest.approx(expected, rel=1e-9)
    assert np.isnan(_misfit(table[:, :4], fitted, spanned[1]))


def profile(table, *, level=0.95, sizes=SIZES):
    return profile_hyperbola(sizes, [np.atleast_1d(row) for row in table], level=level)


def test_one_run_a_size_is_fitted_like_seeds_and_its_interval_is_that_of_the_f_test():
    table = logs(seeds=1, rng=np.random.default_rng(21))
    found = profile(table)
    assert found.critical.value == pytest.approx(
        fit(np.repeat(table, 2, axis=1)).critical.value, rel=2e-3
    )
    assert (found.basis, found.critical.n) == ("misfit", 4)

    def residual(critical):
        rest = table[:, 0] - np.log1p(critical / SIZES)
        return np.sum((rest - rest.mean()) ** 2)

    least = residual(found.critical.value)
    # F of 1 and 2 degrees of freedom at 95 % is 18.513 (tables); s² = R/2.
    for end in (found.critical.low, found.critical.high):
        assert (residual(end) - least) / (least / 2) == pytest.approx(18.513, rel=1e-4)


def test_repeated_runs_have_the_interval_of_their_own_spread():
    table = logs(seeds=3, rng=np.random.default_rng(22))
    found = profile(table)
    assert (found.basis, found.critical.n) == ("runs", 12)
    own = table.var(axis=1, ddof=1).mean()  # 4 × 2 degrees of freedom

    def residual(critical):
        rest = table.mean(axis=1) - np.log1p(critical / SIZES)
        return 3 * np.sum((rest - rest.mean()) ** 2)

    least = residual(found.critical.value)
    for end in (found.critical.low, found.critical.high):
        # F of 1 and 8 degrees of freedom at 95 % is 5.3177 (tables).
        assert (residual(end) - least) / own == pytest.approx(5.3177, rel=1e-4)
    assert found.misfit == pytest.approx(stats.f.sf(least / 2 / own, 2, 8), rel=1e-6)


def test_runs_that_agree_off_the_curve_have_the_interval_of_the_misfit():
    exact = np.log(steps_to_target(SIZES, fewest_steps=200.0, critical_batch_size=CRITICAL))
    off = exact + [0.1, -0.15, 0.12, -0.1]
    table = off[:, None] + 1e-3 * np.random.default_rng(23).standard_normal((4, 4))
    found = profile(table)
    assert found.basis == "misfit" and found.misfit < 0.01
    assert found.critical.low == pytest.approx(profile(off).critical.low, rel=0.02)
    copies = profile(np.repeat(off[:, None], 3, axis=1))
    assert copies.basis == "misfit"
    assert copies.critical.low == pytest.approx(profile(off).critical.low, rel=1e-6)


def test_the_curvature_is_that_of_another_power_of_the_batch_size():
    """F of S_min·(1 + (M_crit/M)^κ) against κ = 1, by another search."""
    sizes = np.geomspace(16, 16384, 8)
    rng = np.random.default_rng(24)
    table = np.log1p((600 / sizes) ** 0.7) + 0.03 * rng.standard_normal(8)

    def least(power):
        places = np.linspace(np.log(10), np.log(1e5), 4001)
        rest = table - np.log1p((np.exp(places)[:, None] / sizes) ** power)
        return (rest - rest.mean(axis=1, keepdims=True)).var(axis=1).min() * 8

    best = min(map(least, np.geomspace(0.4, 1.1, 701)))
    f = (least(1.0) - best) / best * 5
    found = profile(table, sizes=sizes)
    assert found.misfit == pytest.approx(stats.f.sf(f, 1, 5), rel=0.01)
    assert found.misfit < 0.01
    assert math.isnan(profile(table[:3], sizes=sizes[:3]).misfit)


def test_a_power_of_the_batch_size_is_no_hyperbola():
    sizes = np.array([16.0, 64, 256, 1024, 4096])
    table = -0.5 * np.log(sizes) + 0.01 * np.random.default_rng(3).standard_normal(5)
    assert profile(table, sizes=sizes).misfit < 0.01


@pytest.mark.parametrize(("critical", "side"), [(200_000.0, "above"), (0.5, "below")])
def test_one_run_a_size_far_from_the_critical_one_leaves_an_end_open(critical, side):
    found = profile(logs(seeds=1, critical=critical, rng=np.random.default_rng(3)))
    assert math.isinf(found.critical.high) == (side == "above")
    assert (found.critical.low == 0.0) == (side == "below")


@pytest.mark.parametrize(("power", "repeats"), [(-1.3, 1), (0.3, 1), (-1.3, 3), (0.3, 3)])
def test_one_run_a_size_steeper_or_flatter_than_any_hyperbola_is_told(power, repeats):
    rng = np.random.default_rng(12)
    table = power * np.log(SIZES)[:, None] + 0.02 * rng.standard_normal((4, repeats))
    found = profile(table)
    assert math.isnan(found.critical.value) and found.beyond < 0.01
    assert math.isnan(found.fewest_steps) == (power < 0)
    # Iterations ∝ 1/M or constant are no hyperbola of these sizes, and not beyond one either.
    level = profile(np.round(power) * np.log(SIZES)[:, None] + 0.02 * rng.standard_normal((4, 1)))
    assert level.beyond >= 0.01


@pytest.mark.parametrize("noise", [0.0, 0.001])
def test_constant_iterations_are_the_limit_of_small_critical_sizes_and_no_misfit(noise):
    sizes = 32.0 * 2 ** np.arange(8)
    draws = noise * np.random.default_rng(0).standard_normal((8, 12))
    for logs in ([row[:1] for row in draws], [row[:3] for row in draws]):
        found = profile_hyperbola(sizes, [math.log(1000) + one for one in logs], level=0.95)
        assert found.misfit >= 0.01 and found.beyond >= 0.01
        assert math.isnan(found.critical.value) and found.critical.low == 0
        assert found.fewest_steps == pytest.approx(1000, rel=max(1e-9, noise))
        assert found.departure <= 3 * noise + 1e-9
    seeds = math.log(1000) + draws[:, None, :]
    found = fit_hyperbola(sizes, list(seeds), level=0.95, rng=np.random.default_rng(1))
    assert not found.misfit < 0.01 and found.fewest_steps == pytest.approx(1000, rel=0.001)
    steep = [row - np.log(sizes[k]) for k, row in enumerate(seeds)]
    assert not fit_hyperbola(sizes, steep, level=0.95, rng=np.random.default_rng(1)).misfit < 0.01
