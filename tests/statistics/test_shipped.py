"""Critical values that come with the package reject true logarithms as often as simulated ones."""

from dataclasses import replace

import numpy as np
import pytest

from ultraslow.analysis.growth import Settings
from ultraslow.analysis.growth.fit import fit_grid
from ultraslow.analysis.growth.grids import time_grid
from ultraslow.analysis.growth.noise_models import NoiseModel, simulate_noise
from ultraslow.diffusion.recording import log_spaced

DRAWS = 600
# The standard error of a share near 0.05 is 0.009; of two on the same series the difference has
# less.
OFF = 0.025


@pytest.mark.slow
@pytest.mark.parametrize("last", [1000, 20_000, 100_000])
@pytest.mark.parametrize(
    "noise",
    [NoiseModel("ar_log_t", 1.0), NoiseModel("walk_log_t"), NoiseModel("white")],
    ids=str,
)
def test_a_true_logarithm_is_rejected_as_often(last, noise):
    times = log_spaced(last)[1:].astype(float)
    law = np.log(times) / np.log(times[-1])
    drawn = simulate_noise(noise, times, DRAWS, rng=np.random.default_rng(0))
    rejected = []
    for shipped in (True, False):
        grid = time_grid(times, replace(Settings(), shipped=shipped))
        fit = fit_grid(grid, law + 0.01 * drawn)
        rejected.append(np.mean(fit.log_p_value < 0.05))
    assert abs(rejected[0] - rejected[1]) < OFF
