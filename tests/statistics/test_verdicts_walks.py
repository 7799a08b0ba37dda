"""Verdicts on walkers on random potentials: what the theory is about is not judged against it.

Over the four decades that a training run has, such walkers are on their way to the asymptotic
laws. A verdict may stay open; it may not contradict what is true of the walker by construction.
"""

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis.predictions.growth.aging import aging
from ultraslow.analysis.predictions.growth.noise_off import noise_off
from ultraslow.analysis.predictions.growth.straightness import random_motion
from ultraslow.analysis.predictions.landscape.closure import closed_loop
from ultraslow.analysis.predictions.landscape.roughness import landscape_growth
from ultraslow.analysis.predictions.landscape.temperature import activation
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording import contract
from ultraslow.diffusion.recording.schedule import log_spaced
from ultraslow.diffusion.walks.field import Spectrum, fourier_field
from ultraslow.diffusion.walks.langevin import langevin

SEEDS, DIMENSION, STEP, DATA_SIZE = 5, 10, 0.05, 4096
TIMES = log_spaced(10_000, per_decade=12)
UPDATES = np.diff(TIMES, prepend=0).astype(float)
BAND = Spectrum(1.0, DIMENSION, 1.6, 3e-3, 3.0, 100)
RADII, DIRECTIONS = np.geomspace(0.5, 60, 12), 24


def walk(seed, temperature, batch_size):
    """A walker on the landscape of its seed, as a recording."""
    field = fourier_field(BAND, fields=1, rng=np.random.default_rng([seed, 0]))
    rng = np.random.default_rng([seed, 1, batch_size])
    found = langevin(field, TIMES, step=STEP, temperature=temperature, rng=rng)
    position = found.position[:, 0, 0]
    trace = 2 * temperature * batch_size * DIMENSION / STEP / max(1 - batch_size / DATA_SIZE, 1e-9)
    values = {
        "iteration": TIMES,
        "tensor": ["w"],
        "tensor_size": [DIMENSION],
        "distance_sq": found.distance_sq[:, 0],
        "weight_sq": found.distance_sq[:, 0],
        "overlap": np.zeros((TIMES.size, 1)),
        "learning_rate": np.full(TIMES.size, STEP),
        "learning_rate_sum": STEP * TIMES,
        "step_sq": np.diff(found.path_sq[:, 0], axis=0, prepend=0.0),
        "noise_trace": np.full((TIMES.size, 1), trace),
        "noise_updates": UPDATES.astype(int),
        "sketch": position - position[0],
        "run": f"T{temperature}-s{seed}",
        "batch_size": batch_size,
        "data_size": DATA_SIZE,
        **({"gradient_difference": 0.0} if batch_size == DATA_SIZE else {}),
        "seed": seed,
        **scans(field, position, rng),
    }
    return xr.Dataset.from_dict(contract.pack(values))


def scans(field, position, rng):
    """Loss differences at the end along random directions and along displacements."""
    values = np.full((TIMES.size, 2, RADII.size, DIRECTIONS), np.nan)
    pairs = rng.integers(TIMES.size // 2, TIMES.size - 1, DIRECTIONS)
    for kind, raw in enumerate(
        (rng.standard_normal((DIRECTIONS, DIMENSION)), position[-1] - position[pairs])
    ):
        length = np.linalg.norm(raw, axis=1, keepdims=True)
        unit = raw / np.maximum(length, 1e-12)  # a walker at rest has no direction
        places = position[-1] + RADII[:, None, None] * unit
        heights = field.value(places.reshape(1, -1, DIMENSION)).reshape(RADII.size, DIRECTIONS)
        values[-1, kind] = heights - field.value(position[-1][None, None])[0, 0]
    return {
        "loss_difference": values,
        "ensemble": ["isotropic", "trajectory"],
        "direction": np.arange(DIRECTIONS),
        "radius": RADII,
    }


@pytest.fixture(scope="module")
def walkers():
    """Walkers at three temperatures and without noise, five landscapes each."""
    arms = {64: 0.8, 128: 0.4, 256: 0.2, DATA_SIZE: 0.0}
    return {
        f"b{size}-s{seed}": walk(seed, temperature, size)
        for size, temperature in arms.items()
        for seed in range(SEEDS)
    }


@pytest.mark.slow
@pytest.mark.parametrize("judge", [activation, aging, closed_loop, random_motion])
def test_what_holds_of_the_walker_is_not_contradicted(walkers, judge):
    warm = {name: run for name, run in walkers.items() if f"b{DATA_SIZE}" not in name}
    found = judge(Study(warm))
    assert found.verdict != "contradicted", found.reason


@pytest.mark.slow
def test_without_noise_the_walker_rests(walkers):
    found = noise_off(Study(walkers))
    assert found.verdict != "contradicted", found.reason
    assert abs(found.effect) < 0.1


@pytest.mark.slow
def test_a_landscape_of_exponent_one_half_is_told_from_one(walkers):
    small = {name: run for name, run in walkers.items() if "b64" in name}
    found = landscape_growth(Study(small))
    assert found.verdict == "contradicted", found.reason
    assert 0.3 < found.effect < 0.8
