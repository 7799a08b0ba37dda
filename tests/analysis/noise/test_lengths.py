"""How long intervals within one run are, against one that knew of the independence of its noise.

These are the figures of docs/decide/batch-sizes.md: runs of 1500 and 10,000 updates, recorded on
the default schedule, with noise that is independent between updates.
"""

import numpy as np
import pytest

from ultraslow.analysis.noise.scale import Windows, noise_interval
from ultraslow.diffusion.recording.schedule import log_spaced

SCALE = 200.0
RUNS = 60


def lengths(last, known):
    """ln(high/low) of runs whose mean |G|² is known so well, over that of one that knew it."""
    rng, updates = np.random.default_rng(5), np.diff(log_spaced(last)).astype(float)
    spread = known * np.sqrt(updates.sum() / updates)
    found, held = [], 0
    for _ in range(RUNS):
        squares = 1 + spread * rng.standard_normal(updates.size)
        traces = SCALE * (1 + 0.1 * spread * rng.standard_normal(updates.size))
        interval = noise_interval([Windows(squares, traces, updates)]).interval
        held += interval.contains(SCALE)
        closed = interval.low > 0 and np.isfinite(interval.high)
        found.append(np.log(interval.high / interval.low) if closed else np.inf)
    return np.array(found) / (2 * 1.96 * known), held / RUNS


@pytest.mark.parametrize("last", [1500, 10_000])
def test_where_the_gradient_is_known_they_are_two_to_four_times_as_long(last):
    for known in (0.01, 0.04, 0.06):
        ratios, held = lengths(last, known)
        assert 2 <= np.median(ratios) <= 4.2
        assert np.isinf(ratios).mean() <= 0.1
        assert held >= 0.95


@pytest.mark.parametrize(("known", "least", "most"), [(0.12, 0.2, 0.5), (0.2, 0.4, 0.8)])
def test_where_it_is_known_to_a_tenth_many_are_open(known, least, most):
    for last in (1500, 10_000):
        ratios, held = lengths(last, known)
        assert least <= np.isinf(ratios).mean() <= most
        assert held >= 0.95
