"""Simulated recordings with known truth."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import settings

from ultraslow.diffusion.recording import contract
from ultraslow.diffusion.recording.schedule import log_spaced

# A busy machine makes any example slow now and then, and no property depends on time.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

SHARES = np.array([0.6, 0.3, 0.1])
B_SIMPLE = 200.0


def simulate(
    *,
    run="run",
    batch_size=64,
    seed=0,
    last=3000,
    exponent=0.0,
    slope=1.0,
    noise=0.002,
    scaling="sqrt",
    records=None,
    rate=None,
    **more,
):
    """A recording whose total distance is 1 + slope·(t^p − 1)/p plus noise."""
    rng = np.random.default_rng([seed, batch_size])
    iteration = log_spaced(last) if records is None else np.asarray(records)
    distance = _growth(iteration, exponent, slope)
    distance = distance * np.exp(noise * rng.standard_normal(iteration.size))
    squares = distance[:, None] ** 2 * SHARES
    base = 0.01 * np.sqrt(batch_size / 64) if rate is None else rate
    values = {
        "iteration": iteration,
        "tensor": ["conv.weight", "linear.weight", "linear.bias"],
        "tensor_size": [600, 300, 10],
        "distance_sq": squares,
        "weight_sq": 100 + squares,
        "overlap": np.full(squares.shape, 100.0),
        "learning_rate": np.full(iteration.size, base),
        "learning_rate_sum": base * iteration,
        "loss": 2.3 / (1 + 0.1 * iteration),
        "run": run,
        "batch_size": batch_size,
        "seed": seed,
        "scaling": scaling,
        "model": "resnet8",
        "data": "digits",
        **_noise(iteration, rng),
        **more,
    }
    kept = {name: value for name, value in values.items() if value is not None}
    kept["distance_sq"] = _of_its_own(np.asarray(kept["distance_sq"]), iteration, seed)
    return xr.Dataset.from_dict(contract.pack(kept, {"config": '{"depth": 8}'}))


def _of_its_own(distance_sq, iteration, seed):
    """Without noise seeds would be copies of one another; their first record tells them apart."""
    found = distance_sq.astype(float)
    found[int(np.argmax(iteration > 0))] *= 1 + 1e-5 * ((seed or 0) % 97)
    return found


def _growth(iteration, exponent, slope):
    time = np.maximum(iteration, 1).astype(float)
    grown = np.log(time) if exponent == 0 else (time**exponent - 1) / exponent
    return np.where(iteration == 0, 0.0, 1.0 + slope * grown)


def _noise(iteration, rng):
    updates = np.diff(iteration, prepend=0)
    spread = 1 / np.sqrt(np.maximum(updates, 1))
    gradient = 4.0 * (1 + 0.3 * spread * rng.standard_normal(iteration.size))
    trace = 4.0 * B_SIMPLE * (1 + 0.1 * spread * rng.standard_normal(iteration.size))
    gradient[updates == 0] = trace[updates == 0] = np.nan
    return {
        "gradient_sq": gradient[:, None] * SHARES,
        "noise_trace": trace[:, None] * SHARES,
        "noise_updates": updates,
    }


@pytest.fixture(scope="session")
def make():
    """The function that simulates a recording."""
    return simulate


@pytest.fixture
def save(tmp_path):
    """A function that writes a simulated recording and returns its path."""

    def write(name="run", folder=tmp_path, **options):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.nc"
        simulate(**{"run": name, **options}).to_netcdf(path, engine="netcdf4")
        return path

    return write


@pytest.fixture
def tree():
    """A function that makes a tree of simulated recordings, as `load` would."""

    def plant(*datasets):
        return xr.DataTree.from_dict({f"r{k}": dataset for k, dataset in enumerate(datasets)})

    return plant


# Best learning rates of the simulated trainings, ∝ √M.
BEST_RATE = {64: 0.1, 256: 0.2, 1024: 0.4, 4096: 0.8}


def simulate_training(
    *, gap=0.0, sd=0.003, factor=1.0, updates=1000, metric="accuracy", rng, **options
):
    """A run of `updates` with a held-out value at its end.

    Its accuracy is 0.9 − gap − 0.02·(ln(rate/best)/ln 2)² plus noise between seeds.
    """
    size = options.get("batch_size", 64)
    value = 0.9 - gap - 0.02 * np.log2(factor) ** 2 + sd * rng.standard_normal()
    held_out = np.full((4, 1), np.nan)
    held_out[-1] = value if metric == "accuracy" else 1 - value
    rate = BEST_RATE[size] * factor
    more = {"metric": [metric], "held_out": held_out, "base_learning_rate": rate, "rate": rate}
    return simulate(**{"records": [0, 1, 2, updates], "data_size": 1024, **more, **options})


@pytest.fixture
def train():
    """The function that simulates an evaluated training."""
    return simulate_training
