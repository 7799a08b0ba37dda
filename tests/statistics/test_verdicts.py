"""Verdicts on simulated sets whose truth is known: right as often as promised, rarely wrong."""

from collections import Counter

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.growth.decade_ratio import ratios
from ultraslow.analysis.growth.fit import fit_growth
from ultraslow.analysis.growth.late_logarithm import advantage
from ultraslow.analysis.predictions.batch_size.collapse import collapse
from ultraslow.analysis.predictions.growth.log_growth import log_growth
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording.schedule import log_spaced

SETS, SEEDS = 100, 5
LAST = 10_000
TIMES = log_spaced(LAST, per_decade=15)[1:]


def trajectories(exponent, count, *, noise, rng, times=TIMES, spread=0.02, memory=1.0):
    """Distances 2 + (t^p − 1)/p with noise that is autoregressive in ln t, and a random slope."""
    log_time = np.log(times)
    growth = log_time if exponent == 0 else np.expm1(exponent * log_time) / exponent
    slope = 1 + spread * rng.standard_normal((count, 1))
    values = np.empty((count, times.size))
    values[:, 0] = rng.standard_normal(count)
    for k in range(1, times.size):
        kept = np.exp(-(log_time[k] - log_time[k - 1]) / memory)
        values[:, k] = kept * values[:, k - 1]
        values[:, k] += np.sqrt(1 - kept**2) * rng.standard_normal(count)
    return 2 + slope * growth + noise * (growth[-1] - growth[0]) * values


def of_size(single, distance, times, *, size, seed):
    """The recording of one trajectory under the √M rule."""
    rate = 0.01 * np.sqrt(size / 64)
    return single(distance, times, batch_size=size, seed=seed, rate=rate)


def fitted(distances, times=TIMES):
    """Fits as `fit_totals` gives them; across seeds, no interval within a run is needed."""
    last = int(times[-1])
    above = distances - min(distances.min(), 0.0)  # a distance is not negative
    table = xr.DataArray(above, {"iteration": times}, ["node", "iteration"])
    fits = fit_growth(table, calibrate=False)
    names = [f"n{k}" for k in range(len(distances))]
    same = np.full(len(names), "")
    fits = fits.assign_coords(node=names, run=("node", names), arm=("node", same))
    whole = {"first": 1, "last": last, "decades": np.log10(last)}
    fits = fits.assign({k: ("node", np.full(len(names), v)) for k, v in whole.items()})
    better, added = advantage(times, distances), ratios(times, distances)
    late = {"faster_advantage": better.faster, "slower_advantage": better.slower}
    return fits.assign(
        {name: ("node", values) for name, values in {**late, "decade_ratio": added}.items()}
    )


# exponent, noise over the whole change, least share of each verdict
GROWTH = {
    "log, quiet": (0.0, 0.003, {"supported": 0.9}),
    "power, quiet": (0.25, 0.003, {"contradicted": 0.9}),
    "diffusion, noisy": (0.5, 0.01, {"contradicted": 0.9}),
    "log, beyond the data's power": (0.0, 0.1, {"undecidable": 0.9}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", GROWTH)
def test_verdicts_on_log_growth(case, single):
    exponent, noise, least = GROWTH[case]
    rng = np.random.default_rng(2017)
    distances = trajectories(exponent, SETS * SEEDS, noise=noise, rng=rng)
    fits = fitted(distances)
    found = Counter()
    for k in range(SETS):
        rows = range(k * SEEDS, (k + 1) * SEEDS)
        runs = {f"n{row}": single(distances[row], TIMES, seed=row) for row in rows}
        found[log_growth(Study(runs, fitted=fits)).verdict] += 1
    wrong = "supported" if exponent else "contradicted"
    assert found[wrong] <= 0.02 * SETS, found
    for verdict, share in least.items():
        assert found[verdict] >= share * SETS, found


# Designs that the rule was not tuned on: seeds an arm, arms, last iteration, records a decade,
# noise over the whole change, its correlation length in ln t, exponent.
DESIGNS = {
    "four seeds, five batch sizes": (4, 5, 3000, 25, 0.02, 0.5, 0.0),
    "eight seeds, long runs": (8, 1, 100_000, 10, 0.02, 2.0, 0.0),
    "ten seeds, noisy": (10, 2, 10_000, 12, 0.1, 1.0, 0.0),
    "four seeds, short and noisy": (4, 2, 1000, 25, 0.05, 0.3, 0.0),
    "small power": (6, 2, 30_000, 15, 0.005, 1.0, 0.15),
    "saturation": (5, 2, 10_000, 20, 0.005, 0.5, -0.3),
    "diffusion, noisy": (4, 3, 10_000, 15, 0.05, 1.0, 0.5),
}


@pytest.mark.slow
@pytest.mark.parametrize("design", DESIGNS)
def test_log_growth_is_rarely_judged_wrongly_on_other_designs(design, single):
    seeds, arms, last, per_decade, noise, memory, exponent = DESIGNS[design]
    times = log_spaced(last, per_decade=per_decade)[1:]
    rng = np.random.default_rng([2026, len(design)])
    options = {"noise": noise, "times": times, "memory": memory, "spread": 0.05}
    distances = trajectories(exponent, SETS * arms * seeds, rng=rng, **options)
    fits = fitted(distances, times)
    found = Counter()
    for k in range(SETS):
        rows = range(k * seeds * arms, (k + 1) * seeds * arms)
        runs = {
            f"n{row}": of_size(
                single, distances[row], times, size=64 * 2 ** (row % arms), seed=row
            )
            for row in rows
        }
        found[log_growth(Study(runs, fitted=fits)).verdict] += 1
    assert found["supported" if exponent else "contradicted"] <= 0.02 * SETS, found


# ratio of the largest batch size's distances, spread between seeds, least share of each verdict
COLLAPSE = {
    "together": (1.0, 0.005, {"supported": 0.9}),
    "apart": (1.3, 0.01, {"contradicted": 0.9}),
    "beyond the data's power": (1.0, 0.2, {"undecidable": 0.9}),
}


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("case", COLLAPSE)
def test_verdicts_on_collapse(case, seeds, single):
    ratio, spread, least = COLLAPSE[case]
    rng = np.random.default_rng(2017)
    found = Counter()
    for _ in range(SETS):
        runs = {}
        for size, factor in ((64, 1.0), (256, np.sqrt(ratio)), (1024, ratio)):
            distances = trajectories(0.0, seeds, noise=0.002, rng=rng)
            for seed in range(seeds):
                scale = factor * np.exp(spread * rng.standard_normal())
                name = f"b{size}-s{seed}"
                runs[name] = of_size(single, scale * distances[seed], TIMES, size=size, seed=seed)
        found[collapse(Study(runs)).verdict] += 1
    wrong = "supported" if ratio != 1 else "contradicted"
    assert found[wrong] <= 0.02 * SETS, found
    for verdict, share in least.items():
        assert found[verdict] >= share * SETS, found
