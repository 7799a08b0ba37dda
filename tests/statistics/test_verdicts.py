"""Verdicts on simulated sets whose truth is known: right as often as promised, rarely wrong."""

from collections import Counter

import numpy as np
import pytest
import xarray as xr

from analysis.collapse import collapse
from analysis.growth import fit_growth
from analysis.log_law import log_growth
from diffusion import recording
from diffusion.schedule import log_spaced

SETS, SEEDS = 100, 5
LAST = 10_000
TIMES = log_spaced(LAST, per_decade=15)[1:]


def trajectories(exponent, count, *, noise, rng):
    """Distances 2 + (t^p − 1)/p with noise that is autoregressive in ln t, and a random slope."""
    log_time = np.log(TIMES)
    growth = log_time if exponent == 0 else np.expm1(exponent * log_time) / exponent
    slope = 1 + 0.02 * rng.standard_normal((count, 1))
    values = np.empty((count, TIMES.size))
    values[:, 0] = rng.standard_normal(count)
    for k in range(1, TIMES.size):
        kept = np.exp(-(log_time[k] - log_time[k - 1]))
        values[:, k] = kept * values[:, k - 1]
        values[:, k] += np.sqrt(1 - kept**2) * rng.standard_normal(count)
    return 2 + slope * growth + noise * (growth[-1] - growth[0]) * values


def as_recording(distance, *, batch_size, seed):
    """The recording of one trajectory."""
    rate = 0.01 * np.sqrt(batch_size / 64)
    values = {
        "iteration": TIMES,
        "tensor": ["w"],
        "tensor_size": [100],
        "distance_sq": distance[:, None] ** 2,
        "weight_sq": np.full((TIMES.size, 1), 100.0),
        "overlap": np.full((TIMES.size, 1), 100.0),
        "learning_rate": np.full(TIMES.size, rate),
        "learning_rate_sum": rate * TIMES,
        "run": f"b{batch_size}-s{seed}",
        "batch_size": batch_size,
        "seed": seed,
        "scaling": "sqrt",
    }
    return xr.Dataset.from_dict(recording.pack(values))


def fitted(distances):
    """Fits as `fit_totals` gives them; across seeds, no interval within a run is needed."""
    table = xr.DataArray(distances, {"iteration": TIMES}, ["node", "iteration"])
    fits = fit_growth(table, calibrate=False)
    onset = fits["onset"].fillna(0.0)
    names = [f"n{k}" for k in range(len(distances))]
    fits = fits.assign_coords(node=names, run=("node", names))
    whole = {"first": 1, "last": LAST, "decades": np.log10(LAST)}
    fits = fits.assign({k: ("node", np.full(len(names), v)) for k, v in whole.items()})
    return fits.assign(grown_decades=np.log10((LAST + onset) / (1 + onset)))


# exponent, noise over the whole change, least share of each verdict
GROWTH = {
    "log, quiet": (0.0, 0.003, {"supported": 0.9}),
    "power, quiet": (0.25, 0.003, {"contradicted": 0.9}),
    "diffusion, noisy": (0.5, 0.01, {"contradicted": 0.9}),
    "log, beyond the data's power": (0.0, 0.1, {"undecidable": 0.9}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", GROWTH)
def test_verdicts_on_log_growth(case):
    exponent, noise, least = GROWTH[case]
    rng = np.random.default_rng(2017)
    distances = trajectories(exponent, SETS * SEEDS, noise=noise, rng=rng)
    fits = fitted(distances)
    found = Counter()
    for k in range(SETS):
        rows = range(k * SEEDS, (k + 1) * SEEDS)
        runs = {f"n{row}": as_recording(distances[row], batch_size=64, seed=row) for row in rows}
        found[log_growth(runs, fits.sel(node=list(runs))).verdict] += 1
    wrong = "supported" if exponent else "contradicted"
    assert found[wrong] <= 0.02 * SETS, found
    for verdict, share in least.items():
        assert found[verdict] >= share * SETS, found


# ratio of the largest batch size's distances, spread between seeds, least share of each verdict
COLLAPSE = {
    "together": (1.0, 0.005, {"supported": 0.9}),
    "apart": (1.3, 0.01, {"contradicted": 0.9}),
    "beyond the data's power": (1.0, 0.2, {"undecidable": 0.9}),
}


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("case", COLLAPSE)
def test_verdicts_on_collapse(case, seeds):
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
                runs[name] = as_recording(scale * distances[seed], batch_size=size, seed=seed)
        found[collapse(runs).verdict] += 1
    wrong = "supported" if ratio != 1 else "contradicted"
    assert found[wrong] <= 0.02 * SETS, found
    for verdict, share in least.items():
        assert found[verdict] >= share * SETS, found
