"""Coverage of the exponents of log-slopes on simulated recordings of known x and y."""

import numpy as np
import pytest

from ultraslow.analysis.predictions.batch_size.slope_law import slope_law
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording.schedule import log_spaced

X, Y = 0.8, 0.3
TIMES = log_spaced(1000, per_decade=10)[1:]
# Batch size, rate, rule, and how far the log-slopes of single runs spread.
ARMS = (
    (64, 0.05, "sqrt", 0.02),
    (256, 0.1, "sqrt", 0.05),
    (1024, 0.2, "sqrt", 0.1),
    (1024, 0.05, "fixed", 0.05),
    (256, 0.2, "linear", 0.1),
)
SETS = 300


def runs(single, seeds, *, shared, rng):
    """Distances 1 + b·ln t with a random walk in ln t; part of each seed's luck is in all arms."""
    found = {}
    for seed in range(seeds):
        luck = shared * rng.standard_normal()
        for size, rate, rule, spread in ARMS:
            b = (rate / 0.05) ** X * (64 / size) ** Y
            b *= np.exp((0.5 + 5 * spread) * luck + spread * rng.standard_normal())
            walk = 0.02 * b * np.cumsum(rng.standard_normal(TIMES.size))
            distance = 1 + b * np.log(TIMES) + walk
            labels = {"batch_size": size, "seed": seed, "scaling": rule}
            found[f"{rule}{size}-s{seed}"] = single(distance, TIMES, rate=rate, **labels)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 0.2])
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_intervals_of_x_and_y_cover_the_truth(seeds, shared, single):
    rng = np.random.default_rng([2017, seeds, int(10 * shared)])
    truth, held = np.array([X, Y, X / 2 - Y, X - Y]), np.zeros(4)
    for _ in range(SETS):
        law = slope_law(Study(runs(single, seeds, shared=shared, rng=rng)))
        ends = (law.rate, law.size, law.combined[0.5], law.combined[1.0])
        held += [one.low <= value <= one.high for one, value in zip(ends, truth, strict=True)]
    print(f"\n{seeds} seeds, shared {shared}: x, y, x/2 − y, x − y covered {held / SETS}")
    error = 3 * np.sqrt(0.95 * 0.05 / SETS)
    assert np.all(np.abs(held / SETS - 0.95) <= error)
