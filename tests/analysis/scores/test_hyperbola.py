import math

import numpy as np
import pytest
from scipy.linalg import null_space
from statsmodels.stats.multivariate import test_mvmean as mean_test

from ultraslow.analysis.scores.hyperbola import _Error, _misfit, fit_hyperbola
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
    assert _misfit(table, fitted) == pytest.approx(expected, rel=1e-9)
    assert np.isnan(_misfit(table[:, :4], fitted))
