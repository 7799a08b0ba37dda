"""Coverage of the exponents of log-slopes on simulated recordings of known x and y."""

import numpy as np
import pytest

from ultraslow.analysis.predictions.batch_size.optimizer_exponents import optimizer_exponents
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


def far(single, seeds, spread, rng):
    """Distances ∝ η^x·M^−y with luck of each seed, and of each run as `spread` says."""
    found = {}
    for seed in range(seeds):
        luck = 0.1 * rng.standard_normal()
        for size, rate, rule, own in ARMS:
            factor = (rate / 0.05) ** X * (64 / size) ** Y
            factor *= np.exp(luck + spread * own * rng.standard_normal())
            walk = 0.01 * np.cumsum(rng.standard_normal(TIMES.size))
            distance = factor * (1 + np.log(TIMES) + walk)
            labels = {"batch_size": size, "seed": seed, "scaling": rule, "optimizer": "sgd"}
            found[f"{rule}{size}-s{seed}"] = single(distance, TIMES, rate=rate, **labels)
    return found


# x/2 − y is 0.1 and x − y is 0.5 here: √M leaves 1.32 times the distance at 16 times the batch.
@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_exponents_of_distances_cover_the_truth_and_the_nearer_rule_is_told(
    seeds, spread, single
):
    rng = np.random.default_rng([2020, seeds, int(10 * spread)])
    truth, held, words = np.array([X, Y, X / 2 - Y, X - Y, Y / X]), np.zeros(5), []
    for _ in range(SETS):
        found = optimizer_exponents(Study(far(single, seeds, spread, rng)))
        (one,) = (one for one in found if (one.of, one.clock) == ("distance", "iteration"))
        law = one.law
        ends = (law.rate, law.size, law.combined[0.5], law.combined[1.0])
        held[:4] += [end.low <= value <= end.high for end, value in zip(ends, truth, strict=False)]
        held[4] += law.power is None or law.power.contains(truth[4])
        words.append(one.better)
    counts = {word: words.count(word) / SETS for word in sorted(set(words))}
    print(f"\n{seeds} seeds, spread {spread}: x, y, x/2 − y, x − y, y/x {held / SETS}; {counts}")
    assert np.all(np.abs(held / SETS - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / SETS))
    assert sum(word in ("M", "M, nearer", "both", "√M") for word in words) / SETS <= 0.02
