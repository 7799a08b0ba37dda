import numpy as np
import pytest

from analysis.activation import activation
from diffusion.schedule import log_spaced

TIMES = log_spaced(3000, per_decade=10)
RADII = np.geomspace(0.1, 6, 9)


def grid(make, power, *, sizes=(32, 64, 256), seeds=4, gamma=None, **options):
    """Runs of log-slope (64/M)^power and no noise records."""
    runs = {}
    for size in sizes:
        for seed in range(seeds):
            slope = (64 / size) ** (power + 0.01 * (seed - 1.5))
            run = make(
                batch_size=size,
                seed=seed,
                slope=slope,
                rate=0.1,
                noise=0.0,
                records=TIMES,
                noise_trace=None,
                scaling="fixed",
                **(landscape(gamma, seed) if gamma else {}),
                **options,
            )
            runs[f"b{size}-s{seed}"] = run
    return runs


def landscape(gamma, seed):
    values = np.full((TIMES.size, 1, RADII.size, 8), np.nan)
    signs = np.where(np.arange(8) % 2, 1.0, -1.0)
    values[0, 0] = RADII[:, None] ** (gamma + 0.005 * seed) * signs
    axes = {"ensemble": ["isotropic"], "direction": np.arange(8), "radius": RADII}
    return {"loss_difference": values, **axes}


@pytest.mark.parametrize(
    ("power", "gamma", "word"),
    [
        (2.0, 0.5, "supported"),
        (1.0, 0.5, "contradicted"),
        (3.5, 0.5, "contradicted"),
        (1.315, 0.5, "undecidable"),
        (0.2, None, "contradicted"),
        (1.0, None, "undecidable"),
    ],
)
def test_the_exponent_is_set_against_the_landscape(make, power, gamma, word):
    found = activation(grid(make, power, gamma=gamma))
    assert found.effect == pytest.approx(power, abs=0.01)
    assert found.verdict == word


def test_without_a_landscape_scans_are_asked_for(make):
    assert "landscape scans" in activation(grid(make, 1.0)).needed


def test_missing_temperatures_and_seeds_are_named(make):
    close = activation(grid(make, 1.0, sizes=(64, 128)))
    assert close.reason == "The temperatures differ by a factor of 2 only."
    assert "injected noise" in close.needed
    few = activation(grid(make, 1.0, seeds=3))
    assert few.reason.startswith("3 seeds in every arm")


def test_full_batches_have_no_temperature(make):
    runs = grid(make, 1.0, data_size=256)
    assert activation(runs).sample.batch_sizes == (32, 64)


def test_a_run_at_rest_has_no_log_slope(make):
    runs = grid(make, 1.0)
    runs["b256-s0"]["distance_sq"][10:] = 1.0
    assert activation(runs).reason.startswith("The distance of 1 run does not grow")
