"""Coverage of the noise-scale interval on simulated, autocorrelated moments.

Beside the interval in use, the table of `python tests/statistics/test_noise_coverage.py` has its
two methods each by itself, a block bootstrap and the delta method, all on the same blocks.
"""

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from ultraslow.analysis.noise.scale import (
    block_covariance,
    fieller_scale,
    independent_blocks,
    jackknife_error,
    noise_interval,
)
from ultraslow.diffusion.recording.schedule import log_spaced

TRUTH = 200.0
SETS = 1000
BOOTSTRAPS = 400


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
    coverage = np.mean([scale.interval.contains(TRUTH) for scale in found])
    # Two standard errors of a coverage of 95 % over SETS sets.
    error = 2 * np.sqrt(0.95 * 0.05 / SETS)
    assert least - error <= coverage <= 0.97 + error


def methods(gradient_sq, noise_trace, updates, *, rng):
    """Intervals of each method on the same blocks; an unbounded one ends at infinity."""
    moments = independent_blocks(gradient_sq, noise_trace, updates)
    n, g, s = moments.updates, moments.gradient_sq, moments.noise_trace
    t = stats.t.ppf(0.975, n.size - 1)
    used = noise_interval(gradient_sq, noise_trace, updates).interval
    exact = fieller_scale(moments, level=0.95).interval
    mean_g, mean_s = np.average(g, weights=n), np.average(s, weights=n)
    found = {"in use": (used.low, used.high), "fieller": (exact.low, exact.high)}
    if mean_g <= 0 or mean_s <= 0:  # the others divide by the mean and have nothing to say
        return found | dict.fromkeys(("jackknife", "bootstrap", "delta"), (np.nan, np.nan))
    ratio = mean_s / mean_g
    width = t * jackknife_error(moments) / ratio
    found["jackknife"] = ratio * np.exp(-width), ratio * np.exp(width)
    drawn = rng.integers(0, n.size, (BOOTSTRAPS, n.size))
    tops, bottoms = (np.sum((n * x)[drawn], axis=1) for x in (s, g))
    ratios = np.where(bottoms > 0, tops / np.where(bottoms > 0, bottoms, 1.0), np.inf)
    found["bootstrap"] = tuple(np.quantile(ratios, [0.025, 0.975], method="nearest"))
    c = block_covariance(moments)
    error = ratio * np.sqrt(
        c[0, 0] / mean_g**2 + c[1, 1] / mean_s**2 - 2 * c[0, 1] / (mean_g * mean_s)
    )
    found["delta"] = ratio - t * error, ratio + t * error
    return found


def table():
    """Shares of 1000 sets whose interval holds the truth, one line a case."""
    names = ("in use", "jackknife", "fieller", "bootstrap", "delta")
    lines = ["| updates | correlation | spread of \\|G\\|² | " + " | ".join(names) + " |"]
    lines.append("|" + "---|" * (3 + len(names)))
    for last, correlation, spread, _ in CASES:
        rng = np.random.default_rng(2017)
        gradient_sq, noise_trace, updates = simulate(last, correlation, spread, rng=rng)
        held = dict.fromkeys(names, 0)
        for g, s in zip(gradient_sq, noise_trace, strict=True):
            for name, (low, high) in methods(g, s, updates, rng=rng).items():
                held[name] += low <= TRUTH <= high
        shares = " | ".join(f"{held[name] / SETS:.1%}" for name in names)
        lines.append(f"| {last} | {correlation:g} | {spread:g} | {shares} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
