"""Coverage of the critical batch size on simulated sets of runs."""

import numpy as np
import pytest

from ultraslow.analysis.scores.hyperbola import fit_hyperbola
from ultraslow.diffusion.scaling import steps_to_target

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
