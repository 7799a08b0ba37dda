"""Coverage of the critical batch size on simulated sets of runs."""

import numpy as np
import pytest

from ultraslow.analysis.scores.best_rates import best_rates
from ultraslow.analysis.scores.hyperbola import fit_hyperbola, profile_hyperbola
from ultraslow.diffusion.scaling import optimal_learning_rate, steps_to_target

SIZES = np.array([64.0, 256.0, 1024.0, 4096.0])
TRUTH = 600.0
SETS = 400


def logs(seeds, own, *, rng):
    """ln S whose seeds are fast or slow at all batch sizes alike, and each run on its own."""
    truth = np.log(steps_to_target(SIZES, fewest_steps=200.0, critical_batch_size=TRUTH))
    luck = 0.05 * rng.standard_normal(seeds)
    return truth[:, None] + luck + own * rng.standard_normal((SIZES.size, seeds))


# Seeds, spread of ln S of single runs, and learning rates a batch size that are equally fast; the
# interval allows for the choice among these and is then longer than it need be.
@pytest.mark.slow
@pytest.mark.parametrize("rates", [1, 3])
@pytest.mark.parametrize("own", [0.03, 0.1, 0.2])
@pytest.mark.parametrize("seeds", [4, 5, 10])
def test_the_interval_covers_the_true_critical_batch_size(seeds, own, rates):
    rng = np.random.default_rng(2018)
    held, misfits = 0, 0
    for _ in range(SETS):
        tables = np.stack([logs(seeds, own, rng=rng) for _ in range(rates)], axis=1)
        found = fit_hyperbola(SIZES, list(tables), level=0.95, rng=rng)
        held += found.critical.contains(TRUTH)
        misfits += found.misfit < 0.01
    error = 2 * np.sqrt(0.95 * 0.05 / SETS)
    assert held / SETS >= 0.93 - error
    assert rates > 1 or held / SETS <= 0.97 + error
    assert misfits / SETS <= 0.03


# Batch sizes, M_crit as a share of their middle, runs a size and spread of ln S; the shares of
# 1000 sets stand in scores_table.md.
DESIGNS = [
    (count, share, runs, spread)
    for count in (5, 10)
    for share in (0.25, 1.0)
    for runs, spread in ((1, 0.05), (1, 0.2), (3, 0.1))
]
MORE = 1000


@pytest.mark.slow
@pytest.mark.parametrize(("count", "share", "runs", "spread"), DESIGNS)
def test_runs_without_shared_seeds_cover_the_true_critical_batch_size(count, share, runs, spread):
    rng = np.random.default_rng([2505, count, runs, int(100 * spread)])
    sizes = 64.0 * 2.0 ** np.arange(count)
    truth = share * float(np.exp(np.log(sizes).mean()))
    exact = np.log(steps_to_target(sizes, fewest_steps=200.0, critical_batch_size=truth))
    held, misfits, beyond = 0, 0, 0
    for _ in range(MORE):
        table = exact[:, None] + spread * rng.standard_normal((count, runs))
        found = profile_hyperbola(sizes, list(table), level=0.95)
        held += found.critical.contains(truth)
        misfits += found.misfit < 0.01
        beyond += found.beyond < 0.01
    print(
        f"| {count} | {share:g} | {runs} | {spread:g} | {held / MORE:.1%} | {misfits / MORE:.1%} |"
    )
    error = 2 * np.sqrt(0.95 * 0.05 / MORE)
    assert 0.93 - error <= held / MORE <= 0.97 + error
    assert misfits / MORE <= 0.02 and beyond / MORE <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("apart", [2.0, 4.0])
@pytest.mark.parametrize("luck", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0])
def test_best_rates_that_were_tried_in_steps_cover_the_true_noise_scale(factor, luck, apart):
    """Best rates off by luck, then rounded to a grid of such a factor, of six sizes."""
    rng, sizes = np.random.default_rng(1812), 16.0 * apart ** np.arange(6)
    held, misfits = 0, 0
    for _ in range(SETS):
        truth = float(np.exp(rng.uniform(np.log(30), np.log(sizes[-1]))))
        logs = np.log(optimal_learning_rate(sizes, largest_rate=0.4, noise_scale=truth))
        logs += luck * rng.standard_normal(sizes.size)
        step, start = np.log(factor), rng.uniform(0, np.log(factor))
        logs = start + step * np.round((logs - start) / step)
        found = best_rates(dict(zip(sizes.tolist(), np.exp(logs).tolist(), strict=True)))
        held += found.noise_scale.contains(truth) or np.isnan(found.noise_scale.low)
        misfits += found.status == "misfit"
    print(f"| {apart:g} | {luck:g} | {factor:g} | {held / SETS:.1%} | {misfits / SETS:.1%} |")
    assert held / SETS >= 0.93 - 2 * np.sqrt(0.95 * 0.05 / SETS)
    assert misfits / SETS <= 0.02
