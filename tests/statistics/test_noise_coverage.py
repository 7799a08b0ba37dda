"""Coverage of the noise-scale interval on simulated, autocorrelated moments."""

import numpy as np
import pytest
from scipy.signal import lfilter

from analysis.noise import noise_interval
from diffusion.schedule import log_spaced

TRUTH = 200.0
SETS = 1000


def simulate(last, correlation, spread, *, rng):
    """Window means of |G|² (mean 1) and tr Σ (mean TRUTH) whose updates are autoregressive."""
    records = log_spaced(last)
    updates = np.diff(records)
    drive = rng.standard_normal((SETS, 2, last))
    drive[..., 0] /= np.sqrt(1 - correlation**2)  # starts in the stationary state
    noise = lfilter([np.sqrt(1 - correlation**2)], [1, -correlation], drive, axis=-1)
    gradient_sq = 1 + spread * noise[:, 0]
    noise_trace = TRUTH * (1 + 0.3 * (0.3 * noise[:, 0] + np.sqrt(0.91) * noise[:, 1]))
    sums = (np.add.reduceat(x, records[:-1], axis=-1) for x in (gradient_sq, noise_trace))
    return *(total / updates for total in sums), updates


# last iteration, correlation of neighbouring updates, relative spread of |G|² per update, and the
# coverage to reach. In the last case a block of 16 updates is shorter than the correlation
# time of 19 updates, so its interval is known to be too short; it may not get worse.
CASES = [
    (3000, 0.0, 0.3, 0.93),
    (3000, 0.0, 10.0, 0.93),
    (3000, 0.9, 0.3, 0.93),
    (3000, 0.9, 3.0, 0.93),
    (3000, 0.9, 10.0, 0.93),
    (300, 0.0, 3.0, 0.93),
    (300, 0.5, 0.3, 0.93),
    (300, 0.9, 0.3, 0.88),
]


@pytest.mark.slow
@pytest.mark.parametrize(("last", "correlation", "spread", "least"), CASES)
def test_the_interval_covers_the_true_noise_scale(last, correlation, spread, least):
    rng = np.random.default_rng(2017)
    gradient_sq, noise_trace, updates = simulate(last, correlation, spread, rng=rng)
    found = [noise_interval(g, s, updates) for g, s in zip(gradient_sq, noise_trace, strict=True)]
    coverage = np.mean([scale.low <= TRUTH <= scale.high for scale in found])
    # Two standard errors of a coverage of 95 % over SETS sets.
    error = 2 * np.sqrt(0.95 * 0.05 / SETS)
    assert least - error <= coverage <= 0.97 + error
